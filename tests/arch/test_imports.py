"""Which imports may lead where, and how light `import lamella` stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.arch.source import ROOT, SOURCE

HEAVY = {"blake3", "click", "ml_dtypes", "numpy", "rich", "scipy", "sqlite3", "subprocess", "zstandard"}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter loads for `statement`."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in result.stdout.split()}


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the contracts in `root`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def copied(directory: Path) -> Path:
    """Copy the package and its contracts under another name, so that the installed one is not found in its place."""
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (directory / "pyproject.toml").write_text(contracts.replace("lamella", "copied"), encoding="utf-8")
    for path in SOURCE.rglob("*.py"):
        target = directory / str(path.relative_to(SOURCE)).replace("lamella", "copied")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8").replace("lamella", "copied"), encoding="utf-8")
    return directory / "copied"


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import lamella")
    assert "lamella" in loaded
    assert not loaded & HEAVY


def test_a_heavy_import_would_be_seen() -> None:
    assert "sqlite3" in loaded_by("import sqlite3")


def test_the_rooms_keep_their_layers() -> None:
    result = linted(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_copy_of_the_package_keeps_the_contracts(tmp_path: Path) -> None:
    copied(tmp_path)
    result = linted(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_upwards_breaks_a_contract(tmp_path: Path) -> None:
    limits = copied(tmp_path) / "core/limits.py"
    limits.write_text(limits.read_text(encoding="utf-8") + "\nimport copied.ops\n", encoding="utf-8")
    result = linted(tmp_path)
    assert result.returncode == 1
    assert "copied.core.limits -> copied.ops" in result.stdout


def test_a_room_without_a_place_breaks_a_contract(tmp_path: Path) -> None:
    room = copied(tmp_path) / "attic"
    room.mkdir()
    (room / "__init__.py").write_text('"""A room that nobody placed."""\n', encoding="utf-8")
    result = linted(tmp_path)
    assert result.returncode == 1
    assert "attic" in result.stdout
