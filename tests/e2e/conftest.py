"""Repositories in which Lamella is set up."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.ops.init import init
from lamella.repo.git import Git
from tests.e2e.workbench import PROGRAM, Workbench

MakeBench = Callable[..., Workbench]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Keep a repository for each set of options, to be copied: making one takes a dozen processes."""
    return {}


@pytest.fixture
def make_bench(
    git_environment: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    templates: dict[tuple[str, ...], Path],
) -> MakeBench:
    """Return a function that makes a repository in which Lamella keeps `*.safetensors`, with options of `git init`."""

    def make(name: str = "work", *options: str) -> Workbench:
        if options not in templates:
            templates[options] = _prepare(tmp_path_factory.mktemp("template") / "work", options)
        shutil.copytree(templates[options], tmp_path / name)
        return Workbench(tmp_path / name)

    return make


def _prepare(root: Path, options: tuple[str, ...]) -> Path:
    Git.init(root, *options)
    init(root, shlex.quote(PROGRAM))
    (root / ".gitattributes").write_text("*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench = Workbench(root)
    bench.git("add", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "start")
    return root


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
