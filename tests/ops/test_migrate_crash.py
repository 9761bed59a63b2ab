"""A migration that is killed at any moment has changed nothing yet, or is finished by the next one."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamella.core.errors import BackendError
from lamella.ops.fsck import fsck
from lamella.ops.gc import gc
from lamella.ops.migrate import migrate
from lamella.repo import checkins
from lamella.repo.checkout import file_pieces
from lamella.repo.git import Git
from lamella.testing.faults import PowerCut, power_cut, recorded, refused
from lamella.testing.models import network
from tests.e2e.lfsbench import keep, lfs_bench
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
VERSIONS = [network(), network(layer_1_weight=1), network(layer_2_bias=2)]
WRITING = ("index-pack", "update-ref", "read-tree", "checkout-index", "update-index")


@pytest.fixture
def original(git_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Return a history of three versions, of which Git hears after each file that went into the store."""
    monkeypatch.setattr(checkins, "SAVE_SECONDS", 0.0)
    bench = lfs_bench(Git.init(tmp_path / "original").root)
    for number, version in enumerate(VERSIONS):
        keep(bench, {MODEL: version}, f"version {number}")
    bench.git("tag", "--annotate", "--message", "a tag", "tag")
    return bench


def copied(original: Workbench, name: str) -> Workbench:
    root = original.root.with_name(name)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original.root, root, symlinks=True)
    bench = Workbench(root)
    bench.git("update-index", "-q", "--refresh")
    return bench


def run(bench: Workbench) -> None:
    with bench.repository() as repository:
        migrate(repository)


def seen(bench: Workbench) -> str:
    """Return what a user has: the branches and tags, and what Git says of the files."""
    return bench.git("for-each-ref", "refs/heads", "refs/tags") + bench.git("status", "--porcelain")


def assert_untouched_or_moved(bench: Workbench, before: str) -> None:
    """Check that all references moved, or none did, and then nothing has changed at all."""
    if bench.git("for-each-ref", "refs/lamella/before-migrate") == "":
        assert seen(bench) == before
    assert bench.read(MODEL) == VERSIONS[-1]


def assert_finished(bench: Workbench) -> None:
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("for-each-ref", "refs/lamella/migrate") == ""
    assert bench.read(MODEL) == VERSIONS[-1]
    with bench.repository() as repository:
        assert fsck(repository).sound
        for number, version in enumerate(reversed(VERSIONS)):
            manifest = repository.manifest(f"tag~{number}", MODEL)
            assert b"".join(map(bytes, file_pieces(repository.store, manifest))) == version
        gc(repository)


@contextlib.contextmanager
def cut_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> Iterator[list[str]]:
    """Stop the world before or behind the writing command of Git's with this number; collect those that were met."""
    met: list[str] = []
    real: Callable[..., bytes] = Git.run

    def counted(self: Git, *args: str, **options: object) -> bytes:
        verb = next((arg for arg in args if arg in WRITING), None)
        if verb is None:
            return real(self, *args, **options)
        met.append(verb)
        if len(met) == number + 1 and not after:
            raise PowerCut(verb)
        answer = real(self, *args, **options)
        if len(met) == number + 1:
            raise PowerCut(verb)
        return answer

    with monkeypatch.context() as patching, contextlib.suppress(PowerCut):
        patching.setattr(Git, "run", counted)
        yield met


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_a_migration_cut_at_any_command_of_git_is_finished_by_the_next(original, monkeypatch, after):
    with cut_at(monkeypatch, -1, after=after) as met:
        run(copied(original, "undisturbed"))
    assert set(met) == set(WRITING)
    for moment in range(len(met)):
        bench = copied(original, "cut")
        before = seen(bench)
        with cut_at(monkeypatch, moment, after=after):
            run(bench)
        assert_untouched_or_moved(bench, before)
        run(bench)
        assert_finished(bench)


def test_a_migration_cut_at_any_change_of_the_disk_is_finished_by_the_next(original):
    with recorded() as changes:
        run(copied(original, "undisturbed"))
    for moment in range(0, len(changes), 3):
        bench = copied(original, "cut")
        before = seen(bench)
        with power_cut(moment):
            run(bench)
        assert_untouched_or_moved(bench, before)
        run(bench)
        assert_finished(bench)


def test_a_disk_that_refuses_is_told_and_costs_nothing(original):
    with recorded() as changes:
        run(copied(original, "undisturbed"))
    for moment in range(1, len(changes), 4):
        bench = copied(original, "refused")
        before = seen(bench)
        with refused(moment, errno.ENOSPC), contextlib.suppress(BackendError):
            run(bench)
        assert_untouched_or_moved(bench, before)
        run(bench)
        assert_finished(bench)


def test_what_was_checked_in_is_not_checked_in_again(original, monkeypatch):
    bench = copied(original, "cut")
    with cut_at(monkeypatch, 4, after=False):
        run(bench)
    saved = bench.git("ls-tree", "refs/lamella/migrate/checked-in").splitlines()
    assert 0 < len(saved) < len(VERSIONS)
    with bench.repository() as repository, recorded() as changes:
        gc(repository, grace_seconds=0)
        changes.clear()
        assert migrate(repository).stored_nbytes > 0
    packs = [path for operation, path in changes if operation == "rename" and path.endswith(".pack")]
    assert len(packs) == len(VERSIONS) - len(saved)
    assert_finished(bench)
