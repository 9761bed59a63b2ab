"""The program, called in this process on a small history."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from lamella.cli.main import main
from lamella.ops.init import init
from lamella.repo.git import Git
from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Outcome, Workbench

Call = Callable[..., Outcome]


@pytest.fixture
def bench(git_repository: Git) -> Workbench:
    """Return a repository with a model in two versions, a change of it, and a model that is not tracked yet."""
    bench = Workbench(git_repository.root)
    init(bench.root, shlex.quote(PROGRAM))
    bench.write(".gitattributes", b"*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench.git("add", ".gitattributes")
    bench.commit("model.safetensors", network(), "first")
    bench.commit("model.safetensors", network(layer_1_weight=1), "second")
    return bench


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
