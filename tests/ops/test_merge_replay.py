"""A merge made again: the same bits from its record, or from its parents, and what is told where they are not."""

from __future__ import annotations

import json

import numpy
import pytest

from lamella.core.errors import FormatError, NotFoundError, UsageError
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.commit import commit
from lamella.ops.merge_average import merge_average
from lamella.ops.merge_many import merge_many
from lamella.ops.merge_replay import REST, merge_replay
from lamella.repo.merge_record import record_path
from lamella.repo.repository import Repository
from tests.e2e.workbench import Workbench
from tests.ops.merging import MODEL, START, arrays, branches, restore

AVERAGE = Rules(Choice("linear"), weights=(0.25, 0.75))
SIDES = {"one": {"a": START["a"] + 4}, "two": {"a": START["a"] * 3, "b": START["b"] + 1}}


def merged(bench: Workbench, repository: Repository) -> None:
    """Merge two branches into main."""
    branches(bench, START, **SIDES)
    merge_many(repository, ["one", "two"], AVERAGE)


def amended(bench: Workbench, files: dict[str, bytes], *options: str) -> None:
    """Make HEAD's merge again by hand, with other files and the same parents."""
    for path, content in files.items():
        bench.write(path, content)
    bench.git("add", "--", *files)
    bench.git("commit", "--quiet", "--amend", "--no-edit", *options)


def test_every_merge_gives_the_same_bits_again(bench, repository):
    merged(bench, repository)
    merge_average(repository, "HEAD", "one", 0.9)
    state = bench.git("for-each-ref"), bench.git("status", "--porcelain")
    for revision, base, strategy in (("main", "two~1", "linear weights=0.25,0.75"), ("one", "one~1", "ema 0.9")):
        report = merge_replay(repository, revision)
        assert report.same
        assert [(file.path, file.strategy, file.differing) for file in report.files] == [(MODEL, strategy, ())]
        assert report.base == bench.git("rev-parse", base)
        assert report.record is not None
    assert (bench.git("for-each-ref"), bench.git("status", "--porcelain")) == state


def test_a_merge_of_git_s_own_is_made_again_from_its_parents_and_settings(bench, repository):
    branches(bench, START)
    bench.write(".lamella/config.toml", b'[merge]\nstrategy = "linear"\n')
    bench.git("add", ".lamella")
    bench.git("commit", "--quiet", "--message", "settles how models are merged")
    for name, changed in SIDES.items():
        commit(repository, {**START, **changed}, MODEL, name, branch=name)
    restore(bench, "one")
    would = merge_many(repository, ["two"], Rules(Choice("linear")), message="x")
    tree = bench.git("rev-parse", "HEAD^{tree}")
    plain = bench.git("commit-tree", tree, "-p", would.sides.commits[0], "-p", would.sides.commits[1], "-m", "by git")
    report = merge_replay(repository, plain)
    assert (report.same, report.record) == (True, None)
    assert [file.strategy for file in report.files] == ["linear"]


def test_what_was_changed_after_the_merge_is_named(bench, repository):
    merged(bench, repository)
    mine = {**arrays(repository), "b": START["b"] * 7}
    commit(repository, mine, MODEL, "mine")
    bench.git("reset", "--quiet", "--soft", "HEAD~1")
    bench.git("commit", "--quiet", "--amend", "--no-edit")
    report = merge_replay(repository, "HEAD")
    assert not report.same
    assert [file.differing for file in report.files] == [("b",)]
    commit(repository, arrays(repository, "HEAD^1"), MODEL, "noted", metadata={"note": "x"})


def test_a_record_that_was_edited_or_belongs_elsewhere_is_refused(bench, repository):
    merged(bench, repository)
    path = bench.git("log", "-1", "--format=%(trailers:key=Lamella-Merge,valueonly)").strip()
    text = bench.blob(f"HEAD:{path}")
    head = bench.git("rev-parse", "HEAD")

    def refusal(files: dict[str, bytes], named: str, error: type[Exception], match: str) -> None:
        message = bench.git("log", "-1", "--format=%B", head).replace(path, named)
        amended(bench, files, "--message", message)
        with pytest.raises(error, match=match):
            merge_replay(repository, "HEAD")
        bench.git("reset", "--quiet", "--soft", head)

    refusal({path: text.replace(b"0.25", b"0.35")}, path, FormatError, "it was edited after the merge")
    for before, after, match in (
        (b'"lamella merge": 1', b'"lamella merge": 2', "is of version 2, which this program does not read"),
        (bench.git("rev-parse", "one").encode(), b"0" * 40, "is the record of a merge of other commits"),
        (bench.git("rev-parse", f"one:{MODEL}").encode(), b"0" * 40, "has other blobs of model.safetensors"),
    ):
        other = text.replace(before, after)
        assert other != text
        refusal({record_path(other): other}, record_path(other), FormatError, match)
    refusal({"x": b"x"}, ".lamella/merges/none.json", NotFoundError, "names .lamella/merges/none.json, and has no such")
    assert json.loads(text)["base"] == bench.git("rev-parse", "one~1")


def test_what_is_no_merge_or_lacks_a_parent_is_refused(bench, repository, tmp_path):
    merged(bench, repository)
    with pytest.raises(UsageError, match="one is no merge"):
        merge_replay(repository, "one")
    bench.git("clone", "--quiet", "--depth=1", f"file://{bench.root}", str(tmp_path / "shallow"))
    with Repository.open(tmp_path / "shallow") as shallow, pytest.raises(NotFoundError, match="is not in this clone"):
        merge_replay(shallow, "HEAD")
    bench.git("clone", "--quiet", str(bench.root), str(tmp_path / "empty"))
    with Repository.open(tmp_path / "empty") as empty, pytest.raises(NotFoundError, match="has no lamella store"):
        merge_replay(empty, "HEAD")


def test_a_tensor_that_is_the_same_in_another_file_is_told_of_the_file(bench, repository):
    merged(bench, repository)
    commit(repository, arrays(repository), MODEL, "noted", metadata={"note": "x"})
    bench.git("reset", "--quiet", "--soft", "HEAD~1")
    bench.git("commit", "--quiet", "--amend", "--no-edit")
    assert [file.differing for file in merge_replay(repository, "HEAD").files] == [(REST,)]
    assert numpy.array_equal(arrays(repository)["b"], START["b"] + 1)
