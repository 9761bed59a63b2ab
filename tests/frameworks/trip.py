"""The way of a folder of model files into a repository and back."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.workbench import Workbench


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def folder_round_trip(bench: Workbench, folder: str, model: str) -> str:
    """Commit the files of a folder, remove and restore them, check that all are as they were; return a manifest."""
    before = _files(bench.root / folder)
    bench.lamella("add", folder)
    bench.git("add", "--all")
    bench.git("commit", "--quiet", "--message", "add")
    for path in before:
        (bench.root / folder / path).unlink()
    if folder != ".":
        shutil.rmtree(bench.root / folder)
    bench.git("checkout", "--quiet", "HEAD", "--", folder)
    bench.lamella("checkout", folder)
    assert _files(bench.root / folder) == before
    assert bench.git("status", "--porcelain") == ""
    return bench.blob(f"HEAD:{model}").decode()
