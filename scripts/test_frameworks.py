"""Run the tests of tests/frameworks, each file in a process of its own: frameworks do not bear each other in one."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path("tests", "frameworks")
AT_ONCE = 2
NOTHING_COLLECTED = 5
"""What pytest returns where `-k` leaves nothing of a file."""


def run(path: Path, arguments: list[str]) -> tuple[str, int]:
    """Run one file with pytest and return what it printed and how it ended."""
    command = [sys.executable, "-m", "pytest", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, str(path), *arguments], capture_output=True, text=True, errors="replace", check=False
    )
    return ended.stdout + ended.stderr, ended.returncode


def main(arguments: list[str]) -> int:
    """Run all files, print what each said when it ends, and return 1 where one failed."""
    began = time.monotonic()
    paths = sorted(FOLDER.glob("test_*.py"))
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path, (text, code) in zip(paths, pool.map(lambda path: run(path, arguments), paths), strict=True):
            print(text, flush=True)
            if code not in (0, NOTHING_COLLECTED):
                failed.append(f"FAILED {path} ended with {code}")
    print(*failed, sep="\n")
    outcome = f"{len(failed)} of {len(paths)} files failed" if failed else f"{len(paths)} files passed"
    print(f"=== {outcome} in {time.monotonic() - began:.2f}s ===")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
