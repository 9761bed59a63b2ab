"""`log`: the history, and for each commit what it changed in the model files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lamella.core.errors import FormatError
from lamella.ops.changes import FileChange, compare
from lamella.repo.git import GitOid
from lamella.repo.manifest import PREFIX, Manifest, parse_manifest
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository

_FORMAT = "%x01%H%x00%P%x00%an%x00%ae%x00%aI%x00%D%x00%B%x00"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit. `date` is the author's, ISO 8601 with its zone; `files` are the model files that it changed."""

    commit: str
    parents: tuple[str, ...]
    author: str
    email: str
    date: str
    refs: str
    message: str
    files: tuple[FileChange, ...]

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.split("\n", 1)[0]


def log(
    repository: Repository, revisions: Sequence[str] = (), paths: Sequence[str] = (), limit: int | None = None
) -> Iterator[LogEntry]:
    """Yield commits, newest first, from `revisions` (HEAD where none is given), only those that touch `paths`.

    A merge is compared with its first parent. Raises NotFoundError (revision-unknown) and yields nothing in a
    repository without commits.
    """
    git = repository.git
    for revision in revisions:
        if not revision.startswith(("-", "^")) and ".." not in revision:
            git.resolve(revision)
    if not revisions and not git.run("rev-parse", "--verify", "--quiet", "HEAD", check=False):
        return
    options = ["--raw", "-z", "--no-abbrev", "--no-renames", "--diff-merges=first-parent", f"--format={_FORMAT}"]
    if limit is not None:
        options.append(f"--max-count={limit}")
    where = ("-C", str(git.directory)) if git.worktree else ()
    with git.start(*where, "log", *options, *revisions, "--", *paths) as running, repository.reader() as reader:
        manifests = _Manifests(reader)
        for record in _records(iter(lambda: running.stdout.read(1 << 16), b"")):
            yield _entry(record, manifests)


def _records(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what stands between two marks, each commit with the paths it touched."""
    pending = b""
    for block in blocks:
        *complete, pending = (pending + block).split(b"\x01")
        yield from (record for record in complete if record)
    if pending:
        yield pending


def _entry(record: bytes, manifests: _Manifests) -> LogEntry:
    commit, parents, author, email, date, refs, message, *raw = record.split(b"\0")
    return LogEntry(
        commit=commit.decode(),
        parents=tuple(parents.decode().split()),
        author=os.fsdecode(author),
        email=os.fsdecode(email),
        date=date.decode(),
        refs=os.fsdecode(refs),
        message=os.fsdecode(message).strip(),
        files=tuple(_files([field.lstrip(b"\n") for field in raw], manifests)),
    )


def _files(raw: list[bytes], manifests: _Manifests) -> Iterator[FileChange]:
    fields = iter(field for field in raw if field)
    for field in fields:
        _, _, before, after, _ = field.decode().split(" ")
        path = os.fsdecode(next(fields))
        sides = manifests.read(GitOid(before)), manifests.read(GitOid(after))
        change = None if sides == (None, None) else compare(path, *sides)
        if change is not None:
            yield change


class _Manifests:
    """Reads manifests by blob, remembering the last few: a version is one commit's newer and the next one's older."""

    KEPT = 16

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._recent: dict[str, Manifest | None] = {}

    def read(self, oid: GitOid) -> Manifest | None:
        if not oid.strip("0"):
            return None
        if oid not in self._recent:
            found = self._reader.read(oid, prefix=PREFIX)
            self._recent[oid] = self._parse(found.data) if found is not None and found.data else None
            while len(self._recent) > self.KEPT:
                del self._recent[next(iter(self._recent))]
        return self._recent[oid]

    @staticmethod
    def _parse(data: bytes) -> Manifest | None:
        # History may hold a file that only begins as a manifest does, or one of a later version: it is no reason to
        # hide the rest of the log.
        try:
            return parse_manifest(data)
        except FormatError:
            return None
