"""`lamella merge-driver`: what Git starts for a model file that both sides of a merge changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lamella.core.errors import LamellaError, UsageError
from lamella.core.text import printable
from lamella.repo.repository import Repository

_ARGUMENTS = 5
_HEADS = "GITHEAD_"
"""How the variables begin by which `git merge` names the commits that it merges. No other verb of Git's sets them."""

_CONFLICT, _FAILED = 1, 129
"""What Git is told: that somebody has to decide, or, by more than 128, that there is no result at all."""


def run(arguments: list[str]) -> int:
    """Merge one file and return the status that Git understands."""
    if len(arguments) != _ARGUMENTS:
        raise UsageError("merge-driver takes %O %A %B %L %P", kind="bad-argument", hint="Git calls it by itself")
    *files, marker_size, path = arguments
    try:
        return _merged([Path(file) for file in files], path, marker_size)
    except LamellaError as error:
        _say(error.message if error.message.startswith(path) else f"{path}: {error.message}")
        if error.hint:
            _say(f"hint: {error.hint}")
        return _FAILED


def _merged(files: list[Path], path: str, marker_size: str) -> int:
    from lamella.ops.merge_driver import drive, is_between_bases, make_base
    from lamella.ops.merge_file import usual_rules
    from lamella.repo.merge_rules import VARIABLE, rules_from_json
    from lamella.repo.unmerged import merged_again

    with Repository.open(Path.cwd(), environment=dict(os.environ)) as repository:
        given = os.environ.get(VARIABLE)
        heads = [name.removeprefix(_HEADS) for name in os.environ if name.startswith(_HEADS)]
        again = None if heads else merged_again(repository.git)
        heads = heads if again is None else [again]
        if is_between_bases(repository.git, path, marker_size):
            return _made_base(make_base(repository, files, path), path)
        rules = rules_from_json(given) if given else usual_rules(repository.git.worktree, merging=bool(heads))
        commit = heads[0] if len(heads) == 1 else None
        found = drive(repository, files, path, rules, commit=commit, reporting=bool(given))
    if found.failure is not None:
        _say(f"{path}: {found.failure}; ours stands in the worktree")
        return _CONFLICT
    from lamella.cli.merge_text import in_words

    _say(f"{path}: {in_words(found)}{'; see `lamella conflicts`' if found.conflicts else ''}")
    for sentence in found.warnings:
        _say(f"{path}: warning: {sentence}")
    return _CONFLICT if found.conflicts else 0


def _made_base(reason: str | None, path: str) -> int:
    """Say why versions that both sides come from were not merged, and what follows from it."""
    if reason is not None:
        _say(f"{path}: the versions that both sides come from cannot be merged: {reason}; what differs is in conflict")
    return 0


def _say(sentence: str) -> None:
    print(f"lamella: {printable(sentence)}", file=sys.stderr)
