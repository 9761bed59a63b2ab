"""`lamella filter-process`: the long-running filter that Git starts for model files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lamella.cli.faults import printable
from lamella.core.errors import LamellaError, UsageError
from lamella.repo.filter import serve
from lamella.repo.modelfilter import Clean, ModelFilter, Smudge
from lamella.repo.repository import Repository


def run(arguments: list[str]) -> int:
    """Serve Git until it closes the pipe, and return 0."""
    if arguments:
        raise UsageError("filter-process takes no arguments", kind="bad-argument", hint="Git calls it by itself")
    clean = Clean(os.environ.get("LAMELLA_CLEAN") or Clean.STORE.value)
    smudge = Smudge(os.environ.get("LAMELLA_SMUDGE") or Smudge.FILL.value)
    with Repository.open(Path.cwd()) as repository:
        serve(0, 1, ModelFilter(repository, clean, smudge, _warn), _complain)
    return 0


def _warn(path: str, sentence: str) -> None:
    print(f"lamella: warning: {printable(path)}: {printable(sentence)}", file=sys.stderr)


def _complain(path: str, error: LamellaError) -> None:
    print(f"lamella: {printable(path)}: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"lamella: hint: {printable(error.hint)}", file=sys.stderr)
