"""A project that the real DVC made is taken over, and DVC is not needed any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.cli import main as dvc

from lamella.testing.models import network
from tests.e2e.workbench import Workbench

pytestmark = pytest.mark.filterwarnings("ignore")
"""What the other program says of its own libraries is not ours to mend."""


def test_a_project_of_dvc_is_taken_over(git_environment: Path, tmp_path: Path, monkeypatch):
    bench = Workbench(tmp_path / "work")
    bench.root.mkdir()
    bench.git("init", "--quiet")
    monkeypatch.chdir(bench.root)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    assert dvc(["init", "--quiet"]) == 0
    versions = [network(layer_0_bias=number) for number in range(3)]
    for number, version in enumerate(versions):
        bench.write("model.safetensors", version)
        bench.write("data/a/b.safetensors", version)
        bench.write("data/text.txt", b"1\r\n2\r\n")
        assert dvc(["add", "--quiet", "model.safetensors", "data"]) == 0
        bench.git("add", ".")
        bench.git("commit", "--quiet", "--message", f"version {number}")
    bench.lamella("import", ".")
    assert bench.git("status", "--porcelain") == ""
    assert not [path for path in bench.git("ls-files").splitlines() if path.endswith(".dvc")]
    for number, version in enumerate(reversed(versions)):
        bench.lamella("checkout", "--quiet", f"main~{number}")
        assert bench.read("model.safetensors") == bench.read("data/a/b.safetensors") == version
        assert bench.read("data/text.txt") == b"1\r\n2\r\n"
        assert bench.git("status", "--porcelain") == ""
