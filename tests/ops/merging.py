"""Repositories with several branches to be merged: arrays committed on each, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from lamella.ops.commit import commit
from lamella.repo.filling import fill
from lamella.repo.repository import Repository
from lamella.repo.snapshot import Snapshot
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
Arrays = Mapping[str, Any]

START: Arrays = {
    "a": numpy.arange(8, dtype="f4"),
    "b": numpy.ones((3, 4), "f4"),
    "c": numpy.zeros(5, "f4"),
}


def branches(bench: Workbench, start: Arrays, **sides: Arrays) -> None:
    """Commit `start` on main, and on a branch for each of `sides` what it changes; the worktree is that of main."""
    with bench.repository() as repository:
        commit(repository, start, MODEL, "start")
        for name, changed in sides.items():
            commit(repository, {**start, **changed}, MODEL, f"trains {name}", branch=name)
    restore(bench)


def restore(bench: Workbench, revision: str = "HEAD") -> None:
    """Let the worktree be that of a revision."""
    bench.git("reset", "--quiet", "--hard", revision)
    with bench.repository() as repository:
        fill(repository)


def arrays(repository: Repository, revision: str = "HEAD", path: str = MODEL) -> dict[str, Any]:
    """Return the tensors of a model at a revision."""
    snapshot = Snapshot(repository.store, repository.manifest(revision, path), revision)
    return {name: snapshot[name] for name in snapshot}


def assert_clean(bench: Workbench) -> None:
    """Check that index and worktree are what HEAD says."""
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("fsck", "--strict", "--no-dangling") == ""
