"""Local changes that another version of some files would overwrite: found, and refused, before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.repo.git import GitOid
from lamella.repo.objects import IndexEntry, TreeEntry, tracked
from lamella.repo.repository import Repository
from lamella.repo.worktree import open_file, put_entries

Versions = Mapping[str, TreeEntry]
"""Files of a revision by their paths from the root."""

_IDENTIFY = {"GIT_LITERAL_PATHSPECS": "1", "LAMELLA_CLEAN": "identify"}
_GONE = "D"


def refuse_local_changes(repository: Repository, head: Versions, target: Versions, paths: Sequence[str]) -> None:
    """Raise where the index or the worktree has something of `paths` that is neither in `head` nor in `target`.

    What is in `target` already is not lost with it, so a command that was killed half way can be run again: such a file
    is put into the index. Raises ConflictError: version-staged for what is staged, local-changes for what is not.
    """
    staged = {entry.path: entry for entry in tracked(repository.git, paths)}
    changed = _changed(repository, paths)
    there: list[IndexEntry] = []
    for path in paths:
        wanted, entry = target.get(path), staged.get(path)
        if not (_same(entry, head.get(path)) or _same(entry, wanted)):
            hint = f"commit it, or drop it with `git restore --staged -- {path}`"
            raise ConflictError(f"another version of {path} is staged", kind="version-staged", hint=hint)
        if _same(entry, wanted) or not (path in changed or (entry is None and _lies_there(repository, path))):
            continue
        if wanted is None or _content(repository, path) != wanted.oid:
            hint = f"commit it, or drop it with `lamella restore -- {path}`"
            if entry is None:
                hint = "move it away, or remove it"
            raise ConflictError(f"{path} has changes that are not committed", kind="local-changes", hint=hint)
        there.append(IndexEntry(path, wanted.mode, wanted.oid, 0))
    put_entries(repository, there)


def _same(entry: IndexEntry | None, version: TreeEntry | None) -> bool:
    if entry is None or version is None:
        return entry is None and version is None
    return entry.stage == 0 and (entry.mode, entry.oid) == (version.mode, version.oid)


def _changed(repository: Repository, paths: Sequence[str]) -> set[str]:
    """Return those of `paths` of which the worktree has something else than the index; what is gone is no loss."""
    options = ("--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=all")
    rows = repository.git.run("status", *options, "--", *paths, env=_IDENTIFY).split(b"\0")[:-1]
    states = {os.fsdecode(row[3:]): chr(row[1]) for row in rows}
    return {path for path, state in states.items() if state not in (" ", _GONE)}


def _lies_there(repository: Repository, path: str) -> bool:
    """Say whether there is a file or a link; Git itself refuses to lose what lies in a folder."""
    place = repository.worktree / path
    return os.path.lexists(place) and (place.is_symlink() or not place.is_dir())


def _content(repository: Repository, path: str) -> GitOid | None:
    """Return the blob that a file of the worktree would be in Git, None where it is no file."""
    try:
        open_file(repository.worktree, path).__exit__()
    except (NotFoundError, UsageError):
        return None
    return GitOid(repository.git.run("hash-object", "--", path, env=_IDENTIFY).decode().strip())
