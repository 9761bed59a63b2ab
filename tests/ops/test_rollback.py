"""A process that goes back to a version is killed at any moment: it was done or not, and doing it again finishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from lamella.core.errors import BackendError, ConflictError
from lamella.ops.fsck import fsck
from lamella.ops.rollback import rollback
from lamella.repo.git import Git
from lamella.repo.repository import Repository
from lamella.testing.faults import PowerCut, power_cut, recorded
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)
CHANGING = {"index-pack", "commit-tree", "read-tree", "update-ref", "update-index"}
"""The commands of Git's that change something: between others it makes no difference when a process ends."""


@pytest.fixture
def history(bench: Workbench) -> Workbench:
    """Return a repository with two tagged versions of a model."""
    for name, content in (("first", FIRST), ("second", SECOND)):
        bench.commit(MODEL, content)
        bench.git("tag", name)
    return bench


@contextmanager
def stopped(monkeypatch: pytest.MonkeyPatch, number: int, fault: BaseException) -> Iterator[list[str]]:
    """Let the block run so many commands that change something; `fault` comes in place of the next."""
    seen: list[str] = []
    run = Git.run

    def counted(self: Git, *args: str, **options: object) -> bytes:
        if args[0] in CHANGING:
            seen.append(args[0])
            if len(seen) == number + 1:
                raise fault
        return run(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Git, "run", counted)
        yield seen


def back(repository: Repository) -> None:
    rollback(repository, [MODEL], "first")


def test_killed_anywhere_it_is_done_or_not_and_doing_it_again_finishes(history, monkeypatch):
    with stopped(monkeypatch, -1, PowerCut()) as commands, recorded() as changes, history.repository() as repository:
        back(repository)
    assert commands[:4] == ["index-pack", "commit-tree", "read-tree", "update-ref"]
    assert len(changes) > 2
    versions = [history.git("rev-parse", f"{name}:{MODEL}") for name in ("first", "second")]
    for moment in range(len(commands) + len(changes)):
        history.git("reset", "--quiet", "--hard", "second")
        history.lamella("checkout")
        later = moment - len(commands)
        cutting = power_cut(later) if later >= 0 else stopped(monkeypatch, moment, PowerCut())
        with suppress(PowerCut), cutting, history.repository() as repository:
            back(repository)
        assert history.git("rev-parse", f"HEAD:{MODEL}") in versions
        with history.repository() as repository:
            assert fsck(repository).sound
            back(repository)
        assert history.read(MODEL) == FIRST
        assert history.git("rev-parse", "HEAD~1") == history.git("rev-parse", "second")
        assert history.git("diff", "--cached", "--name-only") == ""


def test_a_branch_that_cannot_move_leaves_index_and_worktree_as_they_were(history, monkeypatch):
    fault = BackendError("no space left on device", kind="no-space", hint="free some space")
    with stopped(monkeypatch, 3, fault), history.repository() as repository, pytest.raises(BackendError):
        back(repository)
    assert history.read(MODEL) == SECOND
    assert history.git("diff", "--cached", "--name-only") == ""


def test_a_branch_that_somebody_else_moved_meanwhile_stays_theirs(history, monkeypatch):
    run = Git.run

    def raced(self: Git, *args: str, **options: object) -> bytes:
        if args[0] == "commit-tree":
            run(self, "update-ref", "HEAD", run(self, "rev-parse", "first").decode().strip())
        return run(self, *args, **options)

    monkeypatch.setattr(Git, "run", raced)
    with history.repository() as repository, pytest.raises(ConflictError) as caught:
        back(repository)
    assert caught.value.kind == "lock-held"
    assert history.git("rev-parse", "HEAD") == history.git("rev-parse", "first")
    assert history.read(MODEL) == SECOND
