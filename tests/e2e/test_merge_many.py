"""`lamella merge` of several branches, into a running average, and made again, from the command line."""

from __future__ import annotations

import json
import sys

import ml_dtypes
import numpy
import pytest

from lamella.repo.merge_recording import find_record
from tests.e2e.workbench import Workbench
from tests.ops.merging import MODEL, START, arrays, branches

ROUND = {name: {"a": START["a"] + step} for name, step in (("one", 3), ("two", 6), ("three", 12))}


def printed(bench: Workbench, *command: str) -> dict:
    return json.loads(bench.lamella(*command, "--json"))


def test_a_round_is_merged_told_and_made_again(bench):
    branches(bench, START, **ROUND)
    bench.lamella("checkout")
    asked = ("merge", *ROUND, "--strategy", "linear", "--weights", "0.5,0.25,0.25")
    would = bench.lamella(*asked, "--dry-run").splitlines()
    assert would == [f"{MODEL}: 3 tensors: 1 merged, 2 unchanged", "would merge one, two, three"]
    head = bench.git("rev-parse", "HEAD")
    wrong = bench.try_lamella("merge", *ROUND, "--strategy", "linear", "--weights", "1,1")
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "error: there are 2 weights for 3 sides: one, two, three")
    assert bench.git("rev-parse", "HEAD") == head
    done = printed(bench, *asked)
    assert done["commit"] == bench.git("rev-parse", "HEAD")
    assert [side["name"] for side in done["sides"]] == list(ROUND)
    assert done["files"][0]["tensors"] == {"merged": 1, "unchanged": 2}
    assert bench.git("status", "--porcelain") == ""
    with bench.repository() as repository:
        assert numpy.array_equal(arrays(repository)["a"], START["a"] + 6)
    assert bench.lamella("merge", *ROUND) == "already up to date"
    again = bench.lamella("merge", "--replay", "HEAD").splitlines()
    assert again[0] == f"{MODEL}: the same bits, by linear weights=0.5,0.25,0.25"
    assert printed(bench, "merge", "--replay", "HEAD")["same"]


def test_a_clone_with_the_store_makes_the_merge_again(bench, make_bench, elsewhere):
    branches(bench, START, **ROUND)
    bench.lamella("merge", *ROUND, "--strategy", "linear")
    bench.git("clone", "--quiet", str(bench.root), str(elsewhere / "clone"))
    clone = Workbench(elsewhere / "clone")
    assert clone.try_lamella("merge", "--replay", "HEAD").code == 3
    (clone.root / ".git/lamella").mkdir()
    (clone.root / ".git/lamella/packs").symlink_to(bench.root / ".git/lamella/packs")
    assert clone.try_lamella("merge", "--replay", "HEAD").code == 0


def test_a_merge_that_was_altered_ends_with_one(bench):
    branches(bench, START, **ROUND)
    bench.lamella("merge", *ROUND, "--strategy", "linear")
    bench.git("checkout", "--quiet", "one", "--", MODEL)
    bench.git("commit", "--quiet", "--amend", "--no-edit")
    altered = bench.try_lamella("merge", "--replay", "HEAD")
    assert altered.code == 1
    assert altered.out.splitlines()[0] == f"{MODEL}: not the same: a"
    found = bench.try_lamella("merge", "--replay", "HEAD", "--json")
    assert (found.code, json.loads(found.out)["files"][0]["differing"]) == (1, ["a"])


def test_a_running_average_is_told_and_warns_where_it_stalls(bench):
    start = {"w": numpy.ones(8, ml_dtypes.bfloat16), "steps": numpy.int64(1)}
    branches(bench, start, main={"w": numpy.full(8, 1.0078125, ml_dtypes.bfloat16), "steps": numpy.int64(7)})
    bench.git("branch", "prod", "main~1")
    done = bench.try_lamella("merge", "--into", "prod", "--ema", "0.99")
    assert done.code == 0
    prod = bench.git("rev-parse", "--short=10", "prod")
    assert done.out.splitlines() == [f"{MODEL}: no floats, so taken as they are in HEAD: steps", f"prod is {prod}"]
    assert f"warning: {MODEL}: 100 % of what differs did not move" in done.err
    assert bench.lamella("merge", "main", "--into", "prod", "--ema", "0.99") == "prod has main already"
    for wrong in (("--into", "prod"), ("--ema", "0.9"), ("--into", "prod", "--ema", "0.9", "--strategy", "ties")):
        assert bench.try_lamella("merge", *wrong).code == 2


@pytest.mark.parametrize("merged", [("one",), ("one", "two")])
def test_statistics_and_ties_are_told_once(bench, merged):
    embedding = numpy.arange(64, dtype=numpy.float32).reshape(8, 8)
    start = {"bn.running_mean": numpy.ones(2, numpy.float32), "embed.weight": embedding, "head.weight": embedding}
    apart = {"bn.running_mean": numpy.full(2, 3, numpy.float32), "head.weight": embedding + 1}
    branches(bench, start, one=apart, two={}, main={"bn.running_mean": numpy.full(2, 2, numpy.float32)})
    bench.lamella("checkout")
    told = bench.try_lamella("merge", *merged)
    assert told.code == 0, told
    said = told.out + told.err
    assert (said.count("bn.running_mean"), said.count("embed.weight")) == (1, 1), said
    assert "embed.weight and head.weight were one tensor" in said
    with bench.repository() as repository, repository.reader() as reader:
        found = find_record(repository.git, reader, repository.git.resolve("HEAD"))
    assert found is not None
    assert [one.split(": ")[1] for one in found.record.checks] == ["bn.running_mean", "head.weight"]


JUDGE = """import os, sys
import lamella

with lamella.load(os.environ["LAMELLA_MODEL"]) as model:
    print(f"level: {model['a'][0]:g}")
    sys.exit(bool(model["a"][0] > 5))
"""


def test_what_an_evaluation_refuses_is_not_merged_and_what_it_says_is_recorded(bench):
    branches(bench, START, **ROUND)
    bench.lamella("checkout")
    bench.write("judge.py", JUDGE.encode())
    bench.git("config", "lamella.evaluate", f"{sys.executable} {bench.root}/judge.py")
    bench.git("branch", "prod", "one")
    refs = bench.git("for-each-ref")
    for wrong in (("two", "three", "--strategy", "linear"), ("three", "--into", "prod", "--ema", "0.1")):
        refused = bench.try_lamella("merge", *wrong)
        assert (refused.code, refused.err.splitlines()[0]) == (
            4,
            f"error: the merge is not committed: {MODEL} failed with status 1: level: {9 if 'two' in wrong else 11.1}",
        )
        assert bench.git("for-each-ref") == refs
    assert len(bench.git("worktree", "list").splitlines()) == 1
    bench.git("config", "lamella.evaluateMetric", "level")
    bench.lamella("merge", "one", "two", "--strategy", "linear")
    bench.lamella("merge", "two", "--into", "prod", "--ema", "0.5")
    for revision, value in (("HEAD", 4.5), ("prod", 4.5)):
        with bench.repository() as repository, repository.reader() as reader:
            found = find_record(repository.git, reader, repository.git.resolve(revision))
        assert found is not None
        assert found.record.evaluation is not None
        assert (found.record.evaluation.metric, found.record.evaluation.value) == ("level", value)
    bench.lamella("merge", "three", "one", "--no-evaluate", "--strategy", "linear")
    assert bench.git("status", "--porcelain") == "?? judge.py"
