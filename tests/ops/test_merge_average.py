"""A running average on a branch: what it becomes, what it takes as it is, and that it moves alone."""

from __future__ import annotations

import re

import ml_dtypes
import numpy
import pytest

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.ops.commit import commit
from lamella.ops.merge_average import merge_average
from lamella.repo.merge_recording import find_record
from tests.ops.merging import MODEL, START, arrays, assert_clean, branches, restore

TRAINED = {"a": START["a"] + 100}


def test_a_branch_moves_by_its_decay_and_the_worktree_stays(bench, repository):
    branches(bench, START, main=TRAINED)
    bench.git("branch", "prod", "main~1")
    done = merge_average(repository, "main", "prod", 0.75)
    assert numpy.array_equal(arrays(repository, "prod")["a"], START["a"] + 25)
    assert bench.git("rev-parse", "prod^@") == bench.git("rev-parse", "prod@{1}", "main")
    assert (done.before, done.commit) == tuple(bench.git("rev-parse", "prod@{1}", "prod").split())
    assert [(file.path, file.taken, file.stalled) for file in done.files] == [(MODEL, (), 0.0)]
    assert bench.git("log", "-1", "--format=%(trailers:key=Lamella-Strategy,valueonly)", "prod").strip() == "ema 0.75"
    assert_clean(bench)
    again = merge_average(repository, "main", "prod", 0.75)
    assert (again.commit, again.files) == (done.commit, ())


def test_every_update_has_its_own_record_and_the_tree_does_not_grow(bench, repository):
    branches(bench, START)
    bench.git("branch", "prod")
    for step in range(1, 4):
        commit(repository, {**START, "a": START["a"] + step}, MODEL, "trains")
        merge_average(repository, "main", "prod", 0.5)
    assert numpy.array_equal(arrays(repository, "prod")["a"], START["a"] + 2.125)
    for back in range(3):
        listed = bench.git("ls-tree", "-r", "--name-only", f"prod~{back}", ".lamella/merges").split()
        with repository.reader() as reader:
            found = find_record(repository.git, reader, repository.git.resolve(f"prod~{back}"))
        assert found is not None
        assert listed == [found.path]


def test_integers_are_taken_as_they_are_now_and_quantised_ones_refused(bench, repository):
    start = {**START, "steps": numpy.int64(3), "mask[0]": numpy.array([True, False])}
    branches(bench, start, main={**TRAINED, "steps": numpy.int64(9), "mask[0]": numpy.array([True, True])})
    bench.git("branch", "prod", "main~1")
    done = merge_average(repository, "main", "prod", 0.5)
    found = arrays(repository, "prod")
    assert (found["steps"], list(found["mask[0]"])) == (9, [True, True])
    assert numpy.array_equal(found["a"], START["a"] + 50)
    assert sorted(done.files[0].taken) == ["mask[0]", "steps"]
    for name in ("old", "new"):
        commit(repository, {"q": numpy.full(4, len(name) + ord(name[0]) % 9, "i1")}, MODEL, name, branch=name)
    with pytest.raises(ConflictError, match=r"q of old:model\.safetensors is i8, which has no running average"):
        merge_average(repository, "new", "old", 0.5)


def test_steps_that_are_too_small_for_the_dtype_are_measured(bench, repository):
    ones = {"w": numpy.ones(1000, ml_dtypes.bfloat16)}
    branches(bench, ones, main={"w": numpy.where(numpy.arange(1000) < 10, 3, 1.0078125).astype(ml_dtypes.bfloat16)})
    bench.git("branch", "prod", "main~1")
    done = merge_average(repository, "main", "prod", 0.99)
    assert done.files[0].stalled == 0.99


def test_what_cannot_be_averaged_is_refused_and_the_branch_stays(bench, repository):
    branches(bench, START, other={"d": START["a"]}, wide={"a": numpy.ones(9, "f4")}, main=TRAINED)
    before = bench.git("rev-parse", "other", "wide")
    for branch, shown in (("other", "d f32 [8] and nothing"), ("wide", "a f32 [9] and a f32 [8]")):
        with pytest.raises(ConflictError, match=re.escape(f"are not alike: {shown}")):
            merge_average(repository, "main", branch, 0.99)
    for decay in (0, 1, -1, float("nan")):
        with pytest.raises(UsageError, match="the decay of a running average cannot be"):
            merge_average(repository, "main", "other", decay)
    with pytest.raises(NotFoundError, match="there is no branch 'none'"):
        merge_average(repository, "main", "none", 0.5)
    with pytest.raises(NotFoundError, match="no revision is called 'none'"):
        merge_average(repository, "none", "other", 0.5)
    assert bench.git("rev-parse", "other", "wide") == before


def test_the_branch_that_is_checked_out_has_its_files_follow(bench, repository):
    branches(bench, START, other=TRAINED)
    bench.write(MODEL, b"mine")
    head = bench.git("rev-parse", "HEAD")
    with pytest.raises(ConflictError, match="has changes that are not committed"):
        merge_average(repository, "other", "main", 0.5)
    assert bench.git("rev-parse", "HEAD") == head
    restore(bench)
    done = merge_average(repository, "other", "main", 0.5)
    assert done.filled.paths == (MODEL,)
    assert numpy.array_equal(arrays(repository)["a"], START["a"] + 50)
    assert_clean(bench)
    bench.git("worktree", "add", "--quiet", "-b", "apart", str(bench.root.parent / "apart"), head)
    with pytest.raises(UsageError, match="'apart' is checked out at"):
        merge_average(repository, "other", "apart", 0.5)


def test_a_branch_that_moves_meanwhile_is_not_overwritten(bench, repository, monkeypatch):
    branches(bench, START, main=TRAINED)
    bench.git("branch", "prod", "main~1")
    from lamella.ops import merge_average as module

    written = module.write_merge

    def moving(*args):
        bench.git("branch", "--force", "prod", "main")
        return written(*args)

    monkeypatch.setattr(module, "write_merge", moving)
    with pytest.raises(ConflictError, match="refs/heads/prod moved meanwhile"):
        merge_average(repository, "main", "prod", 0.5)
    assert bench.git("rev-parse", "prod") == bench.git("rev-parse", "main")
