"""The power goes, or the disk is full, at any change that merging and resolving make: nothing is half done."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from lamella.core.errors import BackendError
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.fsck import fsck
from lamella.ops.merge_driver import drive
from lamella.ops.resolve import resolve
from lamella.ops.status import status
from lamella.repo.manifest import parse_manifest
from lamella.repo.merge_state import forget_states
from lamella.repo.repository import Repository
from lamella.testing.faults import power_cut, recorded, refused
from tests.e2e.mergebench import MODEL, OPPOSED, branch_off
from tests.e2e.test_conflicts import TWO
from tests.e2e.workbench import Workbench

SIDES = ("o", "a", "b")


def moments(bench: Workbench, operation: Callable[[Repository], object]) -> range:
    with bench.repository() as repository, recorded() as changes:
        operation(repository)
    assert len(changes) > 3
    return range(len(changes))


def merged_by_hand(bench: Workbench) -> Callable[[Repository], object]:
    """Return what merges the three versions of a model in files beside it, as Git has the driver do it."""
    files = [bench.root / name for name in SIDES]
    for file, revision in zip(files, ("main~1", "main", "other"), strict=True):
        file.write_bytes(bench.blob(f"{revision}:{MODEL}"))
    return lambda repository: drive(repository, files, MODEL, Rules(Choice("linear")), reporting=True)


def assert_sound(bench: Workbench) -> None:
    with bench.repository() as repository:
        assert fsck(repository).sound


@pytest.mark.parametrize("fault", ["power", "disk"])
def test_a_merge_that_is_cut_leaves_ours_or_the_whole_result(bench, fault):
    branch_off(bench, *TWO)
    act = merged_by_hand(bench)
    ours = (bench.root / "a").read_bytes()
    first = None
    for moment in moments(bench, act):
        (bench.root / "a").write_bytes(ours)
        with power_cut(moment) if fault == "power" else refused(moment, errno.ENOSPC), bench.repository() as repository:
            try:
                act(repository)
            except BackendError as error:
                assert error.kind in ("no-space", "io-failed")
        left = (bench.root / "a").read_bytes()
        if left != ours:
            with bench.repository() as repository:
                assert not repository.store.missing(parse_manifest(left).objects())
        (bench.root / "a").write_bytes(ours)
        with bench.repository() as repository:
            act(repository)
        first = first or (bench.root / "a").read_bytes()
        assert (bench.root / "a").read_bytes() == first != ours
    assert_sound(bench)


@pytest.mark.parametrize("fault", ["power", "disk"])
def test_a_resolution_that_is_cut_is_finished_by_doing_it_again(bench, fault):
    branch_off(bench, *OPPOSED)

    def act(repository: Repository) -> object:
        return resolve(repository, ["h.0"], Choice("theirs"))

    def in_conflict() -> None:
        bench.git("reset", "--quiet", "--hard")
        with bench.repository() as repository:
            forget_states(repository.git)  # as the driver would, which is kept from running
        assert bench.try_git("merge", "other").code == 1
        bench.write(MODEL, OPPOSED[0])

    bench.git("config", "merge.lamella.driver", "false")
    in_conflict()
    for moment in moments(bench, act):
        in_conflict()
        with power_cut(moment) if fault == "power" else refused(moment, errno.ENOSPC), bench.repository() as repository:
            try:
                act(repository)
            except BackendError as error:
                assert error.kind in ("no-space", "io-failed")
        if bench.git("ls-files", "--unmerged"):
            assert bench.read(MODEL) in OPPOSED
            with bench.repository() as repository:
                act(repository)
        assert bench.read(MODEL) == OPPOSED[1]
        assert bench.git("diff", "--cached", "--name-only") == MODEL
        with bench.repository() as repository:
            assert [one.path for one in status(repository).staged] == [MODEL]
    assert_sound(bench)
