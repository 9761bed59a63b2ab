"""Merging many branches at once: who is a side, what the commit is, and what is refused with nothing changed."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy
import pytest

from lamella.core.errors import BackendError, ConflictError, UsageError
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.commit import commit
from lamella.ops.merge_many import merge_many
from lamella.ops.merge_replay import merge_replay
from lamella.repo.checkout import file_pieces
from lamella.repo.filling import fill
from lamella.repo.git import Git
from lamella.repo.merge_recording import find_record
from lamella.repo.repository import Repository
from lamella.testing.faults import PowerCut, power_cut, recorded
from lamella.testing.faults import refused as refused_by_disk
from tests.e2e.workbench import Workbench
from tests.ops.merging import MODEL, START, arrays, assert_clean, branches, restore

AVERAGE = Rules(Choice("linear"))


def weighted(*weights: float) -> Rules:
    return Rules(Choice("linear"), weights=weights)


def moved(step: float) -> dict[str, numpy.ndarray]:
    return {"a": START["a"] + numpy.float32(step)}


def on_branch(bench: Workbench, branch: str, path: str, content: bytes) -> None:
    """Commit a file that is no model on a branch, and come back."""
    bench.git("checkout", "--quiet", "--force", branch)
    bench.write(path, content)
    bench.git("add", path)
    bench.git("commit", "--quiet", "--message", f"{branch} has {path}")
    restore(bench)
    bench.git("checkout", "--quiet", "--force", "main")
    restore(bench)


def refused(bench: Workbench, repository: Repository, error: type[Exception], match: str, *revisions: str) -> None:
    """Check that a merge is refused, and that nothing has changed."""
    before = bench.git("rev-parse", "HEAD"), bench.git("status", "--porcelain"), bench.read(MODEL)
    with pytest.raises(error, match=match):
        merge_many(repository, revisions, AVERAGE)
    assert (bench.git("rev-parse", "HEAD"), bench.git("status", "--porcelain"), bench.read(MODEL)) == before


def test_a_federated_round_has_the_clients_as_parents_and_their_mean(bench, repository):
    branches(bench, START, one=moved(3), two=moved(6), three={**moved(9), "b": START["b"] * 2})
    merged = merge_many(repository, ["one", "two", "three"], AVERAGE)
    parents = bench.git("rev-parse", "one", "two", "three").split()
    assert bench.git("rev-parse", "HEAD^@").split() == parents
    assert bench.git("log", "-1", "--format=%s") == "Merge one, two and three into main"
    found = arrays(repository)
    assert numpy.array_equal(found["a"], START["a"] + 6)
    assert numpy.array_equal(found["b"], START["b"] * 2)
    assert merged.filled.paths == (MODEL,)
    assert_clean(bench)
    with repository.reader() as reader:
        kept = find_record(repository.git, reader, merged.commit)
    assert kept is not None
    assert kept.record == merged.record
    assert list(kept.record.sides) == parents
    assert kept.record.base == bench.git("rev-parse", "main@{1}")
    assert "Lamella-Strategy: linear" in bench.git("log", "-1", "--format=%B")


def test_weights_go_by_the_order_of_the_sides_and_head_is_the_first(bench, repository):
    branches(bench, START, one=moved(4), two=moved(8), main=moved(16))
    with pytest.raises(UsageError, match="there are 2 weights for 3 sides: HEAD, one, two"):
        merge_many(repository, ["one", "two"], weighted(0.5, 0.5))
    merge_many(repository, ["one", "two"], weighted(0.5, 0.25, 0.25), message="a round")
    assert numpy.array_equal(arrays(repository)["a"], START["a"] + 11)
    assert bench.git("rev-parse", "HEAD^1") == bench.git("rev-parse", "main@{1}")
    assert bench.git("log", "-1", "--format=%s") == "a round"
    assert bench.git("log", "-1", "--format=%(trailers:key=Lamella-Strategy,valueonly)").strip() == (
        "linear weights=0.5,0.25,0.25"
    )


def test_a_branch_that_another_contains_is_no_side(bench, repository):
    branches(bench, START, one=moved(4), two=moved(8))
    bench.git("branch", "old", "one~1")
    with pytest.raises(UsageError, match="3 weights for 2 sides: one, two; old is contained in another"):
        merge_many(repository, ["old", "one", "two"], weighted(1, 1, 1))
    bench.git("branch", "older", "one~1")
    with pytest.raises(UsageError, match="; old, older are contained in another"):
        merge_many(repository, ["old", "older", "one", "two"], weighted(1, 1, 1))
    merge_many(repository, ["old", "one", "two"], weighted(0.25, 0.75))
    assert numpy.array_equal(arrays(repository)["a"], START["a"] + 7)
    assert bench.git("rev-parse", "HEAD^@") == bench.git("rev-parse", "one", "two")


def test_what_head_contains_changes_nothing_and_what_only_goes_on_is_gone_to(bench, repository):
    branches(bench, START, one=moved(4))
    head = bench.git("rev-parse", "HEAD")
    assert merge_many(repository, [head, "HEAD~1"], AVERAGE).commit == head
    forward = merge_many(repository, ["HEAD~1", "one"], AVERAGE)
    assert forward.record is None
    assert bench.git("rev-parse", "HEAD") == bench.git("rev-parse", "one")
    assert forward.filled.paths == (MODEL,)
    assert_clean(bench)


def test_other_files_are_merged_by_git_and_what_it_cannot_merge_is_told(bench, repository):
    branches(bench, START, one=moved(2), two=moved(4), three=moved(6))
    lines = [f"line {number}\n" for number in range(12)]
    on_branch(bench, "main", "notes", "".join(lines).encode())
    for at, name in ((1, "one"), (6, "two"), (10, "three")):
        bench.git("checkout", "--quiet", "--force", name)
        bench.git("merge", "--quiet", "--no-edit", "main")
        bench.write("notes", "".join((*lines[:at], f"{name}\n", *lines[at + 1 :])).encode())
        bench.git("commit", "--quiet", "--all", "--message", name)
    bench.git("checkout", "--quiet", "--force", "main")
    restore(bench)
    bench.git("branch", "four", "three~1")
    on_branch(bench, "four", "notes", "".join((*lines[:10], "four\n", *lines[11:])).encode())
    refused(bench, repository, ConflictError, r"four and one, three disagree about notes$", "one", "three", "four")
    merge_many(repository, ["one", "two", "three"], AVERAGE)
    merged = bench.read("notes").decode().splitlines()
    assert [merged[at] for at in (1, 6, 10)] == ["one", "two", "three"]
    assert numpy.array_equal(arrays(repository)["a"], START["a"] + 4)
    assert_clean(bench)


def test_a_model_is_added_removed_and_kept_by_who_alone_did_so(bench, repository):
    branches(bench, START, one=moved(2), two=moved(4))
    with bench.repository() as other:
        commit(other, {"x": START["a"]}, "extra.safetensors", "adds", branch="one")
    merge_many(repository, ["one", "two"], AVERAGE)
    assert numpy.array_equal(arrays(repository, path="extra.safetensors")["x"], START["a"])
    bench.git("branch", "less")
    bench.git("checkout", "--quiet", "--force", "less")
    bench.git("rm", "--quiet", "extra.safetensors")
    bench.git("commit", "--quiet", "--message", "removes")
    bench.git("checkout", "--quiet", "--force", "main")
    restore(bench)
    with bench.repository() as other:
        commit(other, moved(1), MODEL, "goes on", branch="more")
        commit(other, {"x": START["a"] + 1}, "extra.safetensors", "changes", branch="other")
    merge_many(repository, ["less", "more"], AVERAGE)
    assert "extra.safetensors" not in bench.git("ls-files").split()
    assert_clean(bench)
    refused(bench, repository, ConflictError, "one side removed or renamed extra.safetensors, and another", "other")


def test_tensors_in_conflict_are_listed_and_a_choice_decides(bench, repository):
    counts = {**START, "steps": numpy.arange(4)}
    branches(bench, counts, one={"steps": counts["steps"] + 1}, two={"steps": counts["steps"] + 2})
    refused(bench, repository, ConflictError, "1 tensor is in conflict: steps of model.safetensors, ", "one", "two")
    choice = Rules(Choice("linear"), (("steps", Choice("theirs")),))
    merge_many(repository, ["one", "two"], choice)
    assert list(arrays(repository)["steps"]) == [2, 3, 4, 5]


def test_a_model_that_several_sides_added_has_to_be_decided_about(bench, repository):
    branches(bench, START)
    for name, step in (("one", 1), ("two", 2)):
        commit(repository, {"x": START["a"] + step}, "other.safetensors", "adds", branch=name)
    with pytest.raises(ConflictError, match=r"1 tensor is in conflict: x of other\.safetensors, several sides added"):
        merge_many(repository, ["one", "two"], Rules())
    merge_many(repository, ["one", "two"], Rules(choices=(("x", Choice("theirs")),)))
    assert numpy.array_equal(arrays(repository, path="other.safetensors")["x"], START["a"] + 2)
    assert merge_replay(repository, "HEAD").same


def test_local_changes_are_never_lost(bench, repository):
    branches(bench, START, one=moved(2), two=moved(4))
    bench.write(MODEL, b"mine")
    refused(bench, repository, ConflictError, "model.safetensors has changes that are not committed", "one", "two")
    restore(bench)
    bench.write("other", b"mine")
    merge_many(repository, ["one", "two"], AVERAGE)
    assert bench.read("other") == b"mine"


def test_unrelated_histories_are_merged_only_where_that_is_said(bench, repository):
    branches(bench, START, one=moved(2))
    bench.git("checkout", "--quiet", "--orphan", "apart")
    bench.git("commit", "--quiet", "--message", "another beginning")
    with bench.repository() as other:
        commit(other, {**START, **moved(6)}, MODEL, "apart", branch="apart")
    restore(bench)
    bench.git("checkout", "--quiet", "--force", "one")
    restore(bench)
    refused(bench, repository, UsageError, "the histories of HEAD and apart have nothing in common", "apart")
    merge_many(repository, ["apart"], AVERAGE, unrelated=True)
    assert numpy.array_equal(arrays(repository)["a"], START["a"] + 4)


def test_a_dry_run_changes_nothing(bench, repository):
    branches(bench, START, one=moved(2), two=moved(4))
    head = bench.git("rev-parse", "HEAD")
    would = merge_many(repository, ["one", "two"], AVERAGE, dry_run=True)
    assert would.record is not None
    assert [file.record.path for file in would.files] == [MODEL]
    assert bench.git("rev-parse", "HEAD") == head
    assert_clean(bench)


def assert_old_or_new(bench: Workbench, head: str) -> None:
    """Check after a merge that was killed: the old state or the new one, and the next command goes on from there."""
    with bench.repository() as repository:
        fill(repository)
        value = {head: 0.0}.get(bench.git("rev-parse", "HEAD"), 3.0)
        assert numpy.array_equal(arrays(repository)["a"], START["a"] + value)
        manifest = repository.manifest("HEAD", MODEL)
        assert bench.read(MODEL) == b"".join(map(bytes, file_pieces(repository.store, manifest)))
    if value:
        assert bench.git("rev-parse", "HEAD^@") == bench.git("rev-parse", "one", "two")
    assert bench.git("diff", "--cached", "--name-only") == ""
    assert bench.git("status", "--porcelain") in ("", f" M {MODEL}")  # no filter tells Git here what the file holds


@pytest.mark.parametrize("what", ["changes of the disk", "commands of Git", "a full disk"])
def test_a_merge_killed_anywhere_is_there_or_not(bench, monkeypatch, what):
    branches(bench, START, one=moved(2), two=moved(4))
    head = bench.git("rev-parse", "HEAD")

    def merge() -> None:
        with bench.repository() as repository:
            merge_many(repository, ["one", "two"], AVERAGE)

    with recorded() as changes, counted(monkeypatch) as commands:
        merge()
    cuts = len(commands) if what == "commands of Git" else len(changes)
    faults = {
        "changes of the disk": power_cut,
        "commands of Git": partial(killed, monkeypatch),
        "a full disk": partial(refused_by_disk, error=errno.ENOSPC),
    }
    assert cuts > 3
    for moment in range(cuts):
        restore(bench, head)
        with contextlib.suppress(BackendError), faults[what](moment):
            merge()
        assert_old_or_new(bench, head)


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the commands of Git's that run in the block."""
    commands: list[str] = []
    run = Git.run

    def running(git: Git, *args: str, **options: Any) -> bytes:
        commands.append(args[0])
        return run(git, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Git, "run", running)
        yield commands


@contextlib.contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Let the block run so many commands of Git's, and end it before the next."""
    with counted(monkeypatch) as commands:
        run = Git.run

        def running(git: Git, *args: str, **options: Any) -> bytes:
            if len(commands) >= number:
                raise PowerCut(args[0], "")
            return run(git, *args, **options)

        with monkeypatch.context() as patch, contextlib.suppress(PowerCut):
            patch.setattr(Git, "run", running)
            yield
