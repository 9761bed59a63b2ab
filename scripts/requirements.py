"""The command that lists what one purpose needs from pip: `build`, or an extra of pyproject.toml."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
BUILD_PROGRAMS = ["cmake>=3.26", "ninja>=1.11"]
"""What scikit-build-core runs; from pip, so that the system's own need not be there or be new."""


def requirements(purpose: str) -> list[str]:
    """Return the requirements of `purpose`; raise KeyError where pyproject.toml does not know it."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    if purpose == "build":
        return [*project["build-system"]["requires"], *BUILD_PROGRAMS]
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    return extras[purpose]


if __name__ == "__main__":
    print(*requirements(sys.argv[1]), sep="\n")
