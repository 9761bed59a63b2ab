"""A repository that the real Git LFS made is taken over, and Git LFS is not needed any more."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lamella.testing.models import network
from tests.e2e.workbench import Workbench


def test_a_history_of_git_lfs_is_taken_over(git_environment: Path, tmp_path: Path):
    bench = Workbench(tmp_path / "work")
    bench.root.mkdir()
    bench.git("init", "--quiet")
    bench.git("lfs", "install", "--local")
    bench.git("lfs", "track", "*.safetensors", "*.bin")
    versions = [network(layer_0_bias=number) for number in range(4)]
    for number, version in enumerate(versions):
        bench.write("sub/model.safetensors", version)
        bench.write("data.bin", os.urandom(3000) if number else b"")
        bench.git("add", ".")
        bench.git("commit", "--quiet", "--message", f"version {number}")
    bench.git("tag", "--annotate", "--message", "tag", "v1")
    bench.lamella("migrate")
    assert bench.git("status", "--porcelain") == ""
    assert "everything is sound" in bench.lamella("fsck")
    bench.git("lfs", "uninstall", "--local")
    subprocess.run(["rm", "-r", bench.root / ".git/lfs"], check=True)
    for number, version in enumerate(reversed(versions)):
        bench.lamella("checkout", "--quiet", f"v1~{number}")
        assert bench.read("sub/model.safetensors") == version
        assert bench.git("status", "--porcelain") == ""
