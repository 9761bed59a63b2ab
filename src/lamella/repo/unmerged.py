"""What Git's index has of paths that a merge could not settle, and which verb of Git's is under way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.fsio import translated
from lamella.repo.git import Git, GitOid
from lamella.repo.objects import IndexEntry, tracked

BASE, OURS, THEIRS = 1, 2, 3
"""Git's numbers of the stages."""

_UNDER_WAY = (
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
)
"""What lies in a worktree's Git directory meanwhile. A rebase comes first: while it stops, others lie there too."""

_EMPTY = frozenset(hashlib.new(name, b"blob 0\0", usedforsecurity=False).hexdigest() for name in ("sha1", "sha256"))
"""The ids of an empty file, in repositories of either kind."""

_OID_NBYTES = 64
"""Letters of the longest id that Git has."""


@dataclass(frozen=True, slots=True)
class Unmerged:
    """A path in conflict, and the entries that the index has for it; `base`, `ours` or `theirs` is None for none."""

    path: str
    base: IndexEntry | None
    ours: IndexEntry | None
    theirs: IndexEntry | None

    @property
    def blobs(self) -> tuple[GitOid | None, GitOid | None, GitOid | None]:
        """The ids of base, ours and theirs, which tell this conflict from every other; None for empty files, too.

        An empty base is what Git writes where the versions that both sides come from cannot be merged.
        """
        entries = (self.base, self.ours, self.theirs)
        base, ours, theirs = (None if one is None or one.oid in _EMPTY else one.oid for one in entries)
        return base, ours, theirs


def unmerged(git: Git, paths: Sequence[str] | None = None) -> list[Unmerged]:
    """Return the paths in conflict, or those at and below `paths`, relative to the root, taken letter by letter."""
    found: dict[str, dict[int, IndexEntry]] = {}
    for entry in tracked(git, paths, "--unmerged"):
        found.setdefault(entry.path, {})[entry.stage] = entry
    return [Unmerged(path, *map(stages.get, (BASE, OURS, THEIRS))) for path, stages in found.items()]


def under_way(git: Git) -> str | None:
    """Return the verb of Git's that has stopped in the middle and waits to be continued or aborted, None for none."""
    return next((verb for name, verb in _UNDER_WAY if (git.git_dir / name).exists()), None) or _sequence(git)


def _sequence(git: Git) -> str | None:
    """Return the verb of a sequence of commits of which the user committed one that had stopped: others are left."""
    todo = git.git_dir / "sequencer" / "todo"
    with translated(todo, reading=True):
        if not todo.is_file():
            return None
        with todo.open("rb") as file:
            return "revert" if file.read(len(b"revert")) == b"revert" else "cherry-pick"


def merged_again(git: Git) -> GitOid | None:
    """Return the commit that a rebase is merging, as somebody had done before, None where it does no such thing now.

    Git writes MERGE_HEAD before it does that, and only after any other merge (`sequencer.c`, Git 2.18).
    """
    place = git.git_dir / "MERGE_HEAD"
    if not (git.git_dir / "rebase-merge").is_dir() or not place.is_file():
        return None
    with translated(place, reading=True), place.open(encoding="ascii", errors="replace") as file:
        return GitOid(file.read(_OID_NBYTES).strip())
