"""Repositories for the use cases, called in this process."""

from __future__ import annotations

import pytest

from lamella.ops.init import init
from lamella.repo.git import Git
from lamella.repo.repository import Repository
from tests.e2e.workbench import Workbench


@pytest.fixture
def bench(git_repository: Git) -> Workbench:
    """Return a repository whose models no filter touches: only what the use cases do is done."""
    init(git_repository.root, "true")
    git_repository.run("config", "--unset", "filter.lamella.process")
    git_repository.run("config", "--unset", "filter.lamella.required")
    bench = Workbench(git_repository.root)
    bench.write(".gitattributes", b"*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench.git("add", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "start")
    return bench


@pytest.fixture
def repository(bench: Workbench) -> Repository:
    """Return the repository, opened."""
    with bench.repository() as repository:
        yield repository
