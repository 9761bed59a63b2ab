"""`lamella filter-process`: the long-running filter that Git starts for model files."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import TypeVar

from lamella.core.errors import LamellaError, UsageError
from lamella.core.text import printable
from lamella.repo.filter import serve
from lamella.repo.modelfilter import Clean, ModelFilter, Smudge
from lamella.repo.repository import Repository

Setting = TypeVar("Setting", bound=Enum)


def run(arguments: list[str]) -> int:
    """Serve Git until it closes the pipe, and return 0."""
    if arguments:
        raise UsageError("filter-process takes no arguments", kind="bad-argument", hint="Git calls it by itself")
    clean = _setting(Clean, "LAMELLA_CLEAN", Clean.STORE)
    smudge = _setting(Smudge, "LAMELLA_SMUDGE", Smudge.FILL)
    with Repository.open(Path.cwd(), environment=dict(os.environ)) as repository:
        if os.environ.get("LAMELLA_INSIDE") == os.fspath(repository.git.git_dir):
            smudge = Smudge.MANIFEST
        serve(0, 1, ModelFilter(repository, clean, smudge, _warn), _complain)
    return 0


def _setting(kind: type[Setting], name: str, usual: Setting) -> Setting:
    value = os.environ.get(name) or usual.value
    try:
        return kind(value)
    except ValueError:
        known = " or ".join(member.value for member in kind)
        hint = f"set it to {known}, or not at all"
        raise UsageError(f"{name} is {value!r}", kind="bad-argument", hint=hint) from None


def _warn(path: str, sentence: str) -> None:
    print(f"lamella: warning: {_naming(path, sentence)}", file=sys.stderr)


def _complain(path: str, error: LamellaError) -> None:
    print(f"lamella: {_naming(path, error.message)}", file=sys.stderr)
    if error.hint:
        print(f"lamella: hint: {printable(error.hint)}", file=sys.stderr)


def _naming(path: str, sentence: str) -> str:
    return printable(sentence if sentence.startswith(path) else f"{path}: {sentence}")
