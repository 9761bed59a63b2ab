"""The record that a merge of two branches leaves, made at once or after its conflicts were resolved."""

from __future__ import annotations

import numpy
import pytest

from lamella.ops.commit import commit
from lamella.ops.merge_replay import merge_replay
from lamella.repo.merge_recording import find_record
from tests.e2e.workbench import Workbench
from tests.ops.merging import MODEL, START, branches

STEPS = {**START, "steps": numpy.arange(3)}


@pytest.fixture
def bench(make_bench) -> Workbench:
    return make_bench()


def recorded(bench: Workbench):
    with bench.repository() as repository, repository.reader() as reader:
        return find_record(repository.git, reader, repository.git.resolve("HEAD"))


def assert_replayed(bench: Workbench) -> None:
    with bench.repository() as repository:
        report = merge_replay(repository, "HEAD")
    assert report.same
    assert [file.path for file in report.files] == [MODEL]
    assert bench.git("status", "--porcelain") == ""


def test_a_merge_without_conflicts_has_its_record(bench):
    branches(bench, START, one={"a": START["a"] + 2}, main={"a": START["a"] + 4})
    bench.lamella("merge", "one", "--strategy", "linear", "--weights", "0.25,0.75", "-m", "merges one")
    found = recorded(bench)
    assert found is not None
    assert found.record.strategy == "linear weights=0.25,0.75"
    assert list(found.record.sides) == bench.git("rev-parse", "HEAD^@").split()
    assert bench.git("log", "-1", "--format=%s%n%b").split("\n\n") == [
        f"merges one\nLamella-Merge: {found.path}\nLamella-Strategy: linear weights=0.25,0.75"
    ]
    assert_replayed(bench)


def test_what_was_resolved_stands_in_the_record_and_a_hook_that_refuses_leaves_none(bench):
    branches(bench, STEPS, one={"steps": STEPS["steps"] + 1}, main={"steps": STEPS["steps"] + 2})
    assert bench.try_lamella("merge", "one").code == 4
    bench.lamella("resolve", "steps", "--theirs")
    hook = bench.root / ".git/hooks/pre-merge-commit"
    for name in ("pre-merge-commit", "pre-commit"):
        hook = bench.root / ".git/hooks" / name
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    assert bench.try_lamella("merge", "--continue").code != 0
    assert bench.git("status", "--porcelain") == f"M  {MODEL}"
    for name in ("pre-merge-commit", "pre-commit"):
        (bench.root / ".git/hooks" / name).unlink()
    bench.lamella("merge", "--continue")
    found = recorded(bench)
    assert found is not None
    (path,) = found.record.paths
    assert {name: one.strategy for name, one in path.rules.resolutions.items()} == {"steps": "theirs"}
    assert_replayed(bench)


def test_what_one_side_alone_changed_needs_no_record(bench):
    branches(bench, START, one={"a": START["a"] + 2})
    bench.write("note", b"x")
    bench.git("add", "note")
    bench.git("commit", "--quiet", "--message", "note")
    bench.lamella("merge", "one")
    assert recorded(bench) is None
    assert len(bench.git("rev-parse", "HEAD^@").split()) == 2
    assert_replayed(bench)


def test_a_file_that_both_sides_added_is_made_again_as_it_was_decided(bench):
    branches(bench, START)
    with bench.repository() as repository:
        for name, step in (("one", 1), ("main", 2)):
            commit(repository, {"x": START["a"] + step}, "other.safetensors", "adds", branch=name)
    bench.git("reset", "--quiet", "--hard")
    assert bench.try_lamella("merge", "one").code == 4
    bench.lamella("resolve", "x", "--theirs")
    bench.lamella("merge", "--continue")
    with bench.repository() as repository:
        report = merge_replay(repository, "HEAD")
    assert report.same
    assert [file.path for file in report.files] == ["other.safetensors"]


@pytest.mark.parametrize("renaming", [("one",), ("main",), ("one", "main")])
@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_a_model_that_a_side_renamed_is_made_again(bench, renaming, verb):
    branches(bench, START, one={"a": START["a"] + 2}, main={"a": START["a"] + 4})
    for branch in renaming:
        bench.git("switch", "--quiet", branch)
        bench.git("mv", MODEL, "net.safetensors")
        bench.git("commit", "--quiet", "--message", "renamed")
    bench.git("switch", "--quiet", "main")
    if verb == "git":
        bench.git("merge", "--no-edit", "one")
    else:
        bench.lamella("merge", "one", "--strategy", "linear", "--weights", "1,3")
        found = recorded(bench)
        assert found is not None
        assert [path.path for path in found.record.paths] == ["net.safetensors"]
    with bench.repository() as repository:
        report = merge_replay(repository, "HEAD")
    assert [(file.path, file.same) for file in report.files] == [("net.safetensors", True)]
    assert (report.files[0].committed, report.record is None) == (report.files[0].made, verb == "git")


def test_what_the_rules_did_not_make_has_no_record(bench):
    branches(bench, START, one={"a": START["a"] + 2}, main={"a": START["a"] + 4})
    bench.lamella("merge", "one", "--no-commit")
    bench.git("checkout", "one", "--", MODEL)
    bench.lamella("merge", "--continue")
    assert recorded(bench) is None
