"""`track` and `untrack`: which files Lamella keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.repo import attributes
from lamella.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class TrackReport:
    """The patterns that changed, all patterns in force after that, and the file they stand in."""

    changed: tuple[str, ...]
    patterns: tuple[str, ...]
    file: str


def track(repository: Repository, patterns: Sequence[str]) -> TrackReport:
    """Let Lamella keep the files that match `patterns`, from the next `add` on; without patterns only list them.

    The patterns stand in the `.gitattributes` of the directory where the user is, as Git LFS does it.
    """
    return _change(repository, patterns, attributes.track)


def untrack(repository: Repository, patterns: Sequence[str]) -> TrackReport:
    """Stop keeping the files that match `patterns`; what is committed stays what it is."""
    return _change(repository, patterns, attributes.untrack)


def _change(repository: Repository, patterns: Sequence[str], change: Callable[[Path, str], bool]) -> TrackReport:
    inside = repository.git.directory.is_relative_to(repository.worktree)
    file = (repository.git.directory if inside else repository.worktree) / ".gitattributes"
    changed = tuple(pattern for pattern in patterns if change(file, pattern))
    return TrackReport(changed, tuple(attributes.patterns(file)), str(file))
