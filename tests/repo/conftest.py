"""A repository that keeps the files that a module names in PATTERNS, and whose filter changes none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.repo.git import Git
from tests.e2e.workbench import Workbench


@pytest.fixture
def bench(copy_of: Callable[..., Path], request: pytest.FixtureRequest) -> Workbench:
    """Return a repository with one commit and no model."""
    return Workbench(copy_of(_prepare, "repository", *request.module.PATTERNS))


def _prepare(root: Path, *patterns: str) -> None:
    Git.init(root)
    made = Workbench(root)
    with made.repository() as repository:
        assert repository.store
    made.git("config", "filter.lamella.clean", "cat")
    made.write(".gitattributes", "".join(f"{one} filter=lamella\n" for one in patterns).encode())
    made.git("add", ".gitattributes")
    made.git("commit", "--quiet", "--message", "start")
