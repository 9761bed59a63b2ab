"""`status`: where the branch stands, and what changed in the model files since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lamella.core.errors import ConflictError, LamellaError
from lamella.core.progress import SILENT, Progress
from lamella.ops.changes import FileChange, compare
from lamella.ops.diff import identify
from lamella.ops.repackaged import Repackaged, find_repackaged
from lamella.repo.attributes import WITHOUT_FILTER, filtered
from lamella.repo.filling import unfilled
from lamella.repo.git import GitOid
from lamella.repo.manifest import Manifest
from lamella.repo.objects import IndexEntry, ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.unmerged import under_way, unmerged
from lamella.repo.worktree import record_stat


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The branch (None when HEAD is detached) with its commit (None before the first), and what differs.

    `staged` differ between HEAD and the index, `unstaged` between the index and the worktree. `others` are all other
    paths, models of which only the name or the mode differs, or that cannot be read, included, as (two letters of `git
    status --short`, path).
    `unfilled` are model files of which only the manifest is in the worktree, `conflicts` those that a merge left
    unresolved, or whose file has its markers. `repackaged` says which of the staged files only came under another path,
    or in another container, or in several, and `unstaged_repackaged` where some of it is only in the worktree. Files
    that Git does not track are not looked into for it.
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
    repackaged: tuple[Repackaged, ...] = ()
    unstaged_repackaged: tuple[Repackaged, ...] = ()
    under_way: str | None = None
    undecided: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.staged or self.unstaged or self.untracked_models or self.others or self.conflicts)


@dataclass(frozen=True, slots=True)
class _Line:
    """One path of `git status --porcelain=v2`; `modes` are those in HEAD, in the index and in the worktree."""

    letters: str
    path: str
    modes: tuple[str, ...] = ()
    oid: str = ""
    earlier: str | None = None
    unmerged: bool = False

    @property
    def changes_entry(self) -> bool:
        """Whether the file got another name or became executable, or no longer is."""
        return self.earlier is not None or len({mode for mode in self.modes if mode != "000000"}) > 1


def status(repository: Repository, progress: Progress = SILENT) -> StatusReport:
    """Return what `git status` would, model files in tensors. Changed model files are hashed and not stored."""
    listing = repository.git.run(*WITHOUT_FILTER, "status", "--porcelain=v2", "-z", "--branch")
    fields = listing.split(b"\0")[:-1]
    header = dict(os.fsdecode(field)[2:].split(" ", 1) for field in fields if field.startswith(b"# "))
    lines = list(_lines(fields))
    kept = set(filtered(repository.git, (line.path for line in lines)))
    models = [line for line in lines if line.path in kept]
    comparison = _Comparison(repository, progress)
    with repository.reader() as reader:
        for line in models:
            comparison.add(reader, line)
    comparison.record()
    others = [line for line in lines if line.path not in kept] + comparison.others
    ahead, behind = header.get("branch.ab", "+0 -0").split(" ")
    return StatusReport(
        None if header["branch.head"] == "(detached)" else header["branch.head"],
        None if header["branch.oid"] == "(initial)" else header["branch.oid"],
        int(ahead), -int(behind), tuple(comparison.staged), tuple(comparison.unstaged),
        tuple(line.path for line in models if line.letters == "??"),
        tuple((line.letters.replace(".", " "), line.path) for line in others),
        tuple(item.entry.path for item in unfilled(repository)), tuple(comparison.conflicts),
        *comparison.repackaged(), under_way(repository.git), _undecided(repository, comparison.conflicts),
    )  # fmt: skip


def _undecided(repository: Repository, paths: Sequence[str]) -> dict[str, int]:
    if not paths:
        return {}
    from lamella.repo.merge_state import read_state

    waiting = unmerged(repository.git, paths)
    found = {one.path: read_state(repository.git, one.path, one.blobs) for one in waiting}
    return {path: len(one.open) for path, one in found.items() if one is not None and one.failure is None}


def _lines(fields: list[bytes]) -> Iterator[_Line]:
    remaining = iter(fields)
    for entry in remaining:
        text = os.fsdecode(entry)
        kind, *parts = text.split(" ", 10)
        if kind == "1":
            yield _Line(parts[0], text.split(" ", 8)[8], tuple(parts[2:5]), parts[6])
        elif kind == "2":
            yield _Line(parts[0], text.split(" ", 9)[9], tuple(parts[2:5]), parts[6], os.fsdecode(next(remaining)))
        elif kind == "u":
            yield _Line(parts[0], parts[9], unmerged=True)
        elif kind == "?":
            yield _Line("??", text[2:])


class _Comparison:
    """What becomes of the model files that Git lists: changes, conflicts, and files that only look changed."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository = repository
        self._progress = progress
        self._same: list[tuple[IndexEntry, os.stat_result]] = []
        self.staged: list[FileChange] = []
        self.unstaged: list[FileChange] = []
        self.conflicts: list[str] = []
        self.others: list[_Line] = []
        self._gone: dict[str, Manifest] = {}
        self._new: dict[str, Manifest] = {}
        self._gone_unstaged: dict[str, Manifest] = {}
        self._new_unstaged: dict[str, Manifest] = {}

    def add(self, reader: ObjectReader, line: _Line) -> None:
        """Compare one file as far as its letters say that it may have changed."""
        if line.unmerged:
            self.conflicts.append(line.path)
        elif line.letters != "??":
            try:
                self._compare(reader, line)
            except LamellaError as error:
                if error.kind not in ("unreadable", "manifest-malformed"):
                    raise
                self.others.append(line)

    def _compare(self, reader: ObjectReader, line: _Line) -> None:
        found = len(self.staged) + len(self.unstaged) + len(self.conflicts)
        if line.letters[0] != ".":
            before = manifest_at(reader, f"HEAD:{line.earlier or line.path}")
            after = manifest_at(reader, f":0:{line.path}")
            self.staged += _changes(line.path, before, after)
            if before != after and (line.earlier or before is None or after is None):
                self._gone |= {} if before is None else {line.earlier or line.path: before}
                self._new |= {} if after is None else {line.path: after}
        if line.letters[1] != ".":
            self._compare_worktree(reader, line)
        if line.changes_entry and found == len(self.staged) + len(self.unstaged) + len(self.conflicts):
            self.others.append(line)

    def _compare_worktree(self, reader: ObjectReader, line: _Line) -> None:
        kept = manifest_at(reader, f":0:{line.path}")
        try:
            identified = identify(self._repository, line.path, self._progress)
        except ConflictError:
            self.conflicts.append(line.path)
            return
        if identified is not None and identified.manifest == kept:
            self._same.append((IndexEntry(line.path, int(line.modes[1], 8), GitOid(line.oid), 0), identified.state))
            return
        found = None if identified is None else identified.manifest
        self.unstaged += _changes(line.path, kept, found)
        if found is None and kept is not None and line.path not in self._new:
            self._gone_unstaged[line.path] = kept
        elif kept is None and found is not None:
            self._new_unstaged[line.path] = found

    def repackaged(self) -> tuple[tuple[Repackaged, ...], tuple[Repackaged, ...]]:
        """Return what only came in other files: among those that are staged, and where some are not."""
        staged = find_repackaged(self._gone, self._new)
        known = {path for one in staged for path in (*one.before, *one.after)}
        gone = {path: one for path, one in {**self._gone, **self._gone_unstaged}.items() if path not in known}
        new = {path: one for path, one in {**self._new, **self._new_unstaged}.items() if path not in known}
        return staged, find_repackaged(gone, new)

    def record(self) -> None:
        """Spare the next command the comparison of the files that are what the index says."""
        with contextlib.suppress(LamellaError):
            record_stat(self._repository, self._same)


def _changes(path: str, before: Manifest | None, after: Manifest | None) -> list[FileChange]:
    change = None if before is None and after is None else compare(path, before, after)
    return [] if change is None else [change]
