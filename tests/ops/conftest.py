"""Repositories for the use cases, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.ops.init import init
from lamella.repo.git import Git
from lamella.repo.repository import Repository
from tests.e2e.workbench import Workbench


@pytest.fixture
def bench(copy_of: Callable[..., Path]) -> Workbench:
    """Return a repository whose models no filter touches: only what the use cases do is done."""
    return Workbench(copy_of(_prepare))


def _prepare(root: Path) -> None:
    git = Git.init(root)
    init(root, "true")
    git.run("config", "--unset", "filter.lamella.process")
    git.run("config", "--unset", "filter.lamella.required")
    bench = Workbench(root)
    bench.write(".gitattributes", b"*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench.git("add", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "start")


@pytest.fixture
def repository(bench: Workbench) -> Repository:
    """Return the repository, opened."""
    with bench.repository() as repository:
        yield repository
