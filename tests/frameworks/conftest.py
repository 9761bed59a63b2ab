"""A repository that sees nothing of the machine's Git, and keeps the files that a module names in PATTERNS."""

from __future__ import annotations

import pytest

from lamella.repo.git import Git
from tests.e2e.workbench import Workbench


@pytest.fixture(autouse=True)
def _alone(git_environment):
    """Hide the machine's Git from every test, also from those that make a repository of their own."""


@pytest.fixture
def bench(git_repository: Git, request: pytest.FixtureRequest) -> Workbench:
    """Return an empty repository in which Lamella keeps the files that the test's module names."""
    made = Workbench(git_repository.root)
    made.lamella("init")
    made.lamella("track", *request.module.PATTERNS)
    return made
