"""The check that this machine has what building Lamella takes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CXX20_PROGRAM = "#include <bit>\n#include <span>\nint main() { return std::bit_width(0u); }\n"


def runs(command: list[str], text: str = "") -> bool:
    """Say whether `command`, fed with `text`, exists and succeeds."""
    quiet = subprocess.DEVNULL
    try:
        return subprocess.run(command, input=text.encode(), stdout=quiet, stderr=quiet, check=False).returncode == 0
    except OSError:
        return False


def compiles(compiler: str) -> bool:
    """Say whether `compiler` accepts C++20."""
    return runs([*compiler.split(), "-std=c++20", "-fsyntax-only", "-x", "c++", "-"], CXX20_PROGRAM)


def has_venv() -> bool:
    """Say whether this Python can make virtual environments; some distributions ship that apart."""
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def faults() -> list[str]:
    """Return one sentence for each thing that is missing, with what to do about it."""
    found = []
    if not has_venv():
        found.append("this Python cannot make a virtual environment: install its venv module (python3-venv)")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        found.append("the headers of this Python are missing: install its development package (python3-dev)")
    given = os.environ.get("CXX")
    if not any(compiles(name) for name in ([given] if given else ["c++", "g++", "clang++"])):
        found.append("no C++20 compiler: install GCC 10, Clang 12 or later, or name one, as in `make CXX=clang++`")
    if not runs(["git", "--version"]):
        found.append("the git program is missing: install Git")
    return found


def main() -> int:
    """Print what is missing and return the exit status."""
    found = faults()
    for fault in found:
        print(f"cannot build Lamella: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
