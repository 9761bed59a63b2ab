"""The program, called in this process on a small history."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.cli.main import main
from lamella.ops.add import add
from lamella.ops.init import init
from lamella.repo.git import Git
from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Outcome, Workbench

Call = Callable[..., Outcome]
MODEL = "model.safetensors"


@pytest.fixture
def bench(copy_of: Callable[..., Path]) -> Workbench:
    """Return a repository with a model in two versions."""
    bench = Workbench(copy_of(_prepare))
    bench.write(MODEL, bench.read(MODEL))
    with bench.repository() as repository:
        add(repository, [MODEL])  # so that Git's index has the copy's times
    return bench


def _prepare(root: Path) -> None:
    Git.init(root)
    init(root, shlex.quote(PROGRAM))
    bench = Workbench(root)
    bench.write(".gitattributes", b"*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench.git("add", ".gitattributes")
    bench.commit(MODEL, network(), "first")
    bench.commit(MODEL, network(layer_1_weight=1), "second")


@pytest.fixture
def call(bench: Workbench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command in the repository."""
    monkeypatch.chdir(bench.root)

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = main(list(arguments))
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return run
