"""A repository that sees nothing of the machine's Git, and keeps the files that a module names in PATTERNS."""

from __future__ import annotations

import shlex

import pytest

from lamella.ops.init import init
from lamella.ops.track import track
from lamella.repo.git import Git
from tests.e2e.workbench import PROGRAM, Workbench


@pytest.fixture(autouse=True)
def _alone(git_environment):
    """Hide the machine's Git from every test, also from those that make a repository of their own."""


@pytest.fixture
def bench(git_repository: Git, request: pytest.FixtureRequest) -> Workbench:
    """Return an empty repository in which Lamella keeps the files that the test's module names."""
    made = Workbench(git_repository.root)
    init(made.root, shlex.quote(PROGRAM))
    with made.repository() as repository:
        track(repository, request.module.PATTERNS)
    return made
