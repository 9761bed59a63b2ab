"""A repository that keeps the files that a module names in PATTERNS, and whose filter changes none of them."""

from __future__ import annotations

import pytest

from lamella.repo.git import Git
from tests.e2e.workbench import Workbench


@pytest.fixture
def bench(git_repository: Git, request: pytest.FixtureRequest) -> Workbench:
    """Return a repository with one commit and no model."""
    made = Workbench(git_repository.root)
    with made.repository() as repository:
        assert repository.store
    made.git("config", "filter.lamella.clean", "cat")
    made.write(".gitattributes", "".join(f"{one} filter=lamella\n" for one in request.module.PATTERNS).encode())
    made.git("add", ".gitattributes")
    made.git("commit", "--quiet", "--message", "start")
    return made
