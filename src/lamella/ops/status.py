"""`status`: where the branch stands, and what changed in the model files since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lamella.core.progress import SILENT, Progress
from lamella.ops.changes import FileChange, compare
from lamella.ops.diff import worktree_manifest
from lamella.repo.attributes import filtered
from lamella.repo.manifest import Manifest
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.worktree import unfilled

IDENTIFY_ONLY = {"LAMELLA_CLEAN": "identify"}
"""Tells the filter that Git starts to hash a changed file without storing it."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The branch (None when HEAD is detached) with its commit (None before the first), and what differs.

    `staged` differ between HEAD and the index, `unstaged` between the index and the worktree. `others` are paths that
    are no model files, as (two letters of `git status --short`, path). `unfilled` are model files of which only the
    manifest is in the worktree, `conflicts` those that a merge left unresolved.
    """

    branch: str | None
    commit: str | None
    ahead: int
    behind: int
    staged: tuple[FileChange, ...]
    unstaged: tuple[FileChange, ...]
    untracked_models: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    unfilled: tuple[str, ...]
    conflicts: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.staged or self.unstaged or self.untracked_models or self.others or self.conflicts)


@dataclass(frozen=True, slots=True)
class _Line:
    letters: str
    path: str
    earlier: str | None = None


def status(repository: Repository, progress: Progress = SILENT) -> StatusReport:
    """Return what `git status` would, model files in tensors. Changed model files are hashed and not stored."""
    listing = repository.git.run("status", "--porcelain=v2", "-z", "--branch", env=IDENTIFY_ONLY)
    fields = listing.split(b"\0")[:-1]
    header = dict(field.decode()[2:].split(" ", 1) for field in fields if field.startswith(b"# "))
    lines = list(_lines(fields))
    kept = set(filtered(repository.git, (line.path for line in lines)))
    models = [line for line in lines if line.path in kept]
    conflicts = tuple(line.path for line in models if "U" in line.letters)
    tracked = [line for line in models if line.letters != "??" and "U" not in line.letters]
    with repository.reader() as reader:
        staged = [_staged(reader, line) for line in tracked if line.letters[0] != "."]
        unstaged = [_unstaged(repository, reader, line, progress) for line in tracked if line.letters[1] != "."]
    ahead, behind = header.get("branch.ab", "+0 -0").split(" ")
    return StatusReport(
        None if header["branch.head"] == "(detached)" else header["branch.head"],
        None if header["branch.oid"] == "(initial)" else header["branch.oid"],
        int(ahead), -int(behind),
        tuple(change for change in staged if change), tuple(change for change in unstaged if change),
        tuple(line.path for line in models if line.letters == "??"),
        tuple((line.letters.replace(".", " "), line.path) for line in lines if line.path not in kept),
        tuple(item.entry.path for item in unfilled(repository)) if repository.git.worktree else (), conflicts,
    )  # fmt: skip


def _lines(fields: list[bytes]) -> Iterator[_Line]:
    remaining = iter(fields)
    for field in remaining:
        text = os.fsdecode(field)
        kind = text[:2]
        if kind == "1 ":
            yield _Line(text[2:4], text.split(" ", 8)[8])
        elif kind == "2 ":
            yield _Line(text[2:4], text.split(" ", 9)[9], os.fsdecode(next(remaining)))
        elif kind == "u ":
            yield _Line("UU", text.split(" ", 10)[10])
        elif kind == "? ":
            yield _Line("??", text[2:])


def _staged(reader: ObjectReader, line: _Line) -> FileChange | None:
    before = manifest_at(reader, f"HEAD:{line.earlier or line.path}")
    return _compare(line.path, before, manifest_at(reader, f":{line.path}"))


def _unstaged(repository: Repository, reader: ObjectReader, line: _Line, progress: Progress) -> FileChange | None:
    after = worktree_manifest(repository, line.path, progress)
    return _compare(line.path, manifest_at(reader, f":{line.path}"), after)


def _compare(path: str, before: Manifest | None, after: Manifest | None) -> FileChange | None:
    return None if before is None and after is None else compare(path, before, after)
