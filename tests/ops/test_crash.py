"""The power goes at any change of the disk: what was acknowledged is there, and doing it again works."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

import pytest

from lamella.core import fsio
from lamella.core.errors import BackendError
from lamella.ops.add import add
from lamella.ops.commit import commit
from lamella.ops.doctor import doctor
from lamella.ops.fsck import fsck
from lamella.ops.gc import gc
from lamella.ops.init import init
from lamella.repo.checkout import file_pieces
from lamella.repo.filling import fill
from lamella.repo.repository import Repository
from lamella.testing.faults import power_cut, recorded, refused
from lamella.testing.models import model, network, spec
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
FIRST, SECOND, THIRD = network(), network(layer_1_weight=1), network(layer_2_bias=2)


def moments(bench: Workbench, operation: Callable[[Repository], object]) -> range:
    """Run an operation once undisturbed, and return the numbers of changes after which it can be cut."""
    with bench.repository() as repository, recorded() as changes:
        operation(repository)
    assert len(changes) > 3
    return range(len(changes))


def cut(bench: Workbench, operation: Callable[[Repository], object], moment: int) -> None:
    with power_cut(moment), bench.repository() as repository:
        operation(repository)


def restored(bench: Workbench, revision: str) -> bytes:
    with bench.repository() as repository:
        manifest = repository.manifest(revision, MODEL)
        return b"".join(bytes(piece) for piece in file_pieces(repository.store, manifest))


def assert_whole(bench: Workbench) -> None:
    """Check that Git and the store are sound, and that all that was committed can be restored."""
    with bench.repository() as repository:
        assert fsck(repository).sound
    assert bench.try_git("fsck", "--strict").code == 0
    for tag, content in (("first", FIRST), ("second", SECOND)):
        assert restored(bench, tag) == content


@pytest.fixture
def history(bench: Workbench) -> Workbench:
    """Return a repository with two tagged versions."""
    for name, content in (("first", FIRST), ("second", SECOND)):
        bench.commit(MODEL, content)
        bench.git("tag", name)
    return bench


def test_add_cut_anywhere_stages_the_whole_file_or_nothing(history):
    history.write(MODEL, THIRD)

    def stage(repository: Repository) -> None:
        add(repository, [MODEL])

    for moment in moments(history, stage):
        history.git("reset", "--quiet")
        history.write(MODEL, THIRD)
        with history.repository() as repository:
            gc(repository, grace_seconds=0)
        cut(history, stage, moment)
        assert_whole(history)
        assert restored(history, "") in (SECOND, THIRD)
        with history.repository() as repository:
            stage(repository)
        assert restored(history, "") == THIRD
    assert_no_leftovers_after_gc(history)


def test_a_commit_from_python_cut_anywhere_is_there_or_not(history):
    weights = model([spec("a", 8), spec("b", 40_000)])
    (history.root.parent / "weights").write_bytes(weights)
    head = history.git("rev-parse", "HEAD")

    def record(repository: Repository) -> None:
        commit(repository, history.root.parent / "weights", MODEL, "third")

    for moment in moments(history, record):
        history.git("reset", "--quiet", "--hard", head)
        with history.repository() as repository:
            gc(repository, grace_seconds=0)
        cut(history, record, moment)
        assert_whole(history)
        if history.git("rev-parse", "HEAD") != head:
            assert history.git("rev-parse", "HEAD~1") == head
            assert restored(history, "HEAD") == weights
        else:
            with history.repository() as repository:
                record(repository)
            assert restored(history, "HEAD") == weights
    assert_no_leftovers_after_gc(history)


def test_a_fill_cut_anywhere_is_finished_by_the_next(history):
    def refill(repository: Repository) -> None:
        fill(repository)

    def empty() -> None:
        for name in ("second", "first"):
            history.git("checkout", "--quiet", "--force", name)

    empty()
    for moment in moments(history, refill):
        empty()
        cut(history, refill, moment)
        assert_whole(history)
        assert history.read(MODEL) in (history.blob(f"first:{MODEL}"), FIRST)
        with history.repository() as repository:
            refill(repository)
        assert history.read(MODEL) == FIRST
    assert_no_leftovers_after_gc(history)


def test_gc_cut_anywhere_loses_nothing_that_is_reached(history):
    def lose() -> None:
        for version in range(3):
            history.commit(MODEL, network(layer_3_weight=version + 1))
        history.git("reset", "--quiet", "--hard", "second")
        history.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        (history.root / ".git/ORIG_HEAD").unlink(missing_ok=True)

    def drop(repository: Repository) -> None:
        gc(repository, grace_seconds=0)

    lose()
    for moment in moments(history, drop):
        lose()
        cut(history, drop, moment)
        assert_whole(history)
        with history.repository() as repository:
            drop(repository)
            assert repository.store.index.count() == 10
    assert_no_leftovers_after_gc(history)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_refuses_any_change_of_add_is_told_and_leaves_the_index_whole(history, error):
    history.write(MODEL, THIRD)

    def stage(repository: Repository) -> None:
        add(repository, [MODEL])

    for moment in moments(history, stage):
        history.git("reset", "--quiet")
        history.write(MODEL, THIRD)
        with history.repository() as repository:
            gc(repository, grace_seconds=0)
        with history.repository() as repository, refused(moment, error), contextlib.suppress(BackendError):
            stage(repository)
        assert restored(history, "") in (SECOND, THIRD)
        with history.repository() as repository:
            stage(repository)
        assert restored(history, "") == THIRD
    assert_no_leftovers_after_gc(history)


def test_init_cut_anywhere_is_finished_by_the_next(make_repository):
    with recorded() as changes:
        init(make_repository("undisturbed").root, "true")
    for moment in range(len(changes)):
        git = make_repository(f"cut-{moment}")
        with power_cut(moment):
            init(git.root, "true")
        init(git.root, "true")
        assert init(git.root, "true").steps == ()
        with Repository.open(git.root) as repository:
            assert doctor(repository).healthy
            gc(repository)
        assert not list(git.root.rglob(f"{fsio.TEMPORARY_PREFIX}*"))


def assert_no_leftovers_after_gc(bench: Workbench) -> None:
    with bench.repository() as repository:
        gc(repository)
    assert not list(bench.root.rglob(f"{fsio.TEMPORARY_PREFIX}*"))
