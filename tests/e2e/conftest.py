"""Repositories in which Lamella is set up."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.ops.init import init
from lamella.repo.git import Git
from tests.e2e.workbench import PROGRAM, Workbench

MakeBench = Callable[..., Workbench]


@pytest.fixture
def make_bench(copy_of: Callable[..., Path]) -> MakeBench:
    """Return a function that makes a repository in which Lamella keeps `*.safetensors`, with options of `git init`."""
    return lambda name="work", *options: Workbench(copy_of(_prepare, name, *options))


def _prepare(root: Path, *options: str) -> None:
    Git.init(root, *options)
    init(root, shlex.quote(PROGRAM))
    (root / ".gitattributes").write_text("*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench = Workbench(root)
    bench.git("add", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "start")


@pytest.fixture
def bench(make_bench: MakeBench) -> Workbench:
    """Return a repository in which Lamella keeps `*.safetensors`, with one commit and no model."""
    return make_bench()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return an empty directory beside the repository."""
    path = tmp_path / "elsewhere"
    path.mkdir()
    return path
