"""`log`: the history, and for each commit what it changed in the model files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from lamella.core.errors import FormatError
from lamella.ops.changes import FileChange, compare
from lamella.ops.repackaged import Repackaged, find_repackaged
from lamella.repo.git import GitOid
from lamella.repo.manifest import PREFIX, Manifest, parse_manifest
from lamella.repo.objects import GitObject, ObjectReader
from lamella.repo.repository import Repository

_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%D%x00%B%x00"
_OPTIONS = (
    *("--raw", "-z", "--no-abbrev", "--no-renames", "--no-relative", "--diff-merges=first-parent"),
    *("--no-show-signature", "--encoding=UTF-8", f"--format={_FORMAT}"),
)
"""The same output whatever the user's settings say."""

_BLOCK_NBYTES = 1 << 16
_COMMITS_AT_ONCE = 100
"""What is read at once: few enough commits that the first ones are shown soon."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit. `date` is the author's, ISO 8601 with its zone; `files` are the model files that it changed.

    `repackaged` says which of them only came under another path, or in another container, or in several.
    """

    commit: str
    parents: tuple[str, ...]
    author: str
    email: str
    date: str
    refs: str
    message: str
    files: tuple[FileChange, ...]
    repackaged: tuple[Repackaged, ...] = ()

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.split("\n", 1)[0]


@dataclass(frozen=True, slots=True)
class _Commit:
    """What Git says of a commit: seven fields, and path, older blob and newer blob of each change."""

    heading: list[bytes]
    changes: list[tuple[str, GitOid, GitOid]]


def log(
    repository: Repository, revisions: Sequence[str] = (), paths: Sequence[str] = (), limit: int | None = None
) -> Iterator[LogEntry]:
    """Yield commits, newest first, from `revisions` (HEAD where none is given), only those that touch `paths`.

    A merge is compared with its first parent. Raises NotFoundError (revision-unknown), also for what would be an option
    of Git's, and yields nothing in a repository without commits.
    """
    git = repository.git
    for revision in revisions:
        if not revision.startswith("^") and ".." not in revision:
            git.resolve(revision)
    if not revisions and not git.run("rev-parse", "--verify", "--quiet", "HEAD", check=False):
        return
    options = (*_OPTIONS, *(() if limit is None else (f"--max-count={limit}",)))
    where = ("-C", str(git.directory)) if git.worktree else ()
    command = (*where, "-c", "log.showRoot=true", "log", *options, "--end-of-options", *revisions, "--", *paths)
    with git.start(*command) as running, repository.reader() as reader:
        blocks = iter(lambda: running.stdout.read(_BLOCK_NBYTES), b"")
        yield from _entries(_commits(_fields(blocks)), reader)


def _fields(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what stands between zeros, which nothing that Git shows can hold."""
    pending = b""
    for block in blocks:
        *complete, pending = (pending + block).split(b"\0")
        yield from complete
    if pending:
        yield pending


def _commits(fields: Iterator[bytes]) -> Iterator[_Commit]:
    """Yield the commits: seven fields each, then two for each path, of which the first begins with a colon."""
    commit: _Commit | None = None
    for field in fields:
        begin = field.lstrip(b"\n")
        if begin.startswith(b":"):
            assert commit is not None
            _, _, before, after, _ = begin.decode().split(" ")
            commit.changes.append((os.fsdecode(next(fields)), GitOid(before), GitOid(after)))
        elif begin:
            if commit is not None:
                yield commit
            commit = _Commit([begin, *islice(fields, 6)], [])
    if commit is not None:
        yield commit


def _entries(commits: Iterator[_Commit], reader: ObjectReader) -> Iterator[LogEntry]:
    manifests = _Manifests(reader)
    while group := list(islice(commits, _COMMITS_AT_ONCE)):
        manifests.expect(oid for commit in group for _, *sides in commit.changes for oid in sides)
        for commit in group:
            sides = [(path, manifests.read(before), manifests.read(after)) for path, before, after in commit.changes]
            changes = (compare(*side) for side in sides if side[1:] != (None, None))
            gone = {path: before for path, before, after in sides if before is not None and after is None}
            new = {path: after for path, before, after in sides if before is None and after is not None}
            found = [change for change in changes if change]
            yield _entry(commit.heading, found, find_repackaged(gone, new))


def _entry(heading: list[bytes], files: list[FileChange], repackaged: tuple[Repackaged, ...]) -> LogEntry:
    commit, parents, author, email, date, refs, message = heading
    return LogEntry(
        commit=commit.decode(),
        parents=tuple(parents.decode().split()),
        author=os.fsdecode(author),
        email=os.fsdecode(email),
        date=date.decode(),
        refs=os.fsdecode(refs),
        message=os.fsdecode(message).strip(),
        files=tuple(files),
        repackaged=repackaged,
    )


class _Manifests:
    """Reads manifests by blob, remembering the last few: a version is one commit's newer and the next one's older."""

    KEPT = 16

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._recent: dict[GitOid, Manifest | None] = {}
        self._expected: Iterator[GitObject | None] = iter(())

    def expect(self, oids: Iterable[GitOid]) -> None:
        """Have the blobs read ahead that `read` will be asked for, every one of them and in this order."""
        self._expected = self._reader.read_each(list(self._forgotten(oids)), prefix=PREFIX)

    def _forgotten(self, oids: Iterable[GitOid]) -> Iterator[GitOid]:
        remembered = dict(self._recent)
        for oid in oids:
            if oid.strip("0") and oid not in remembered:
                yield oid
                self._remember(remembered, oid, None)

    def read(self, oid: GitOid) -> Manifest | None:
        if not oid.strip("0"):
            return None
        if oid not in self._recent:
            found = next(self._expected)
            self._remember(self._recent, oid, self._parse(found.data) if found is not None and found.data else None)
        return self._recent[oid]

    @classmethod
    def _remember(cls, recent: dict[GitOid, Manifest | None], oid: GitOid, manifest: Manifest | None) -> None:
        recent[oid] = manifest
        while len(recent) > cls.KEPT:
            del recent[next(iter(recent))]

    @staticmethod
    def _parse(data: bytes) -> Manifest | None:
        # History may hold a file that only begins as a manifest does, or one of a later version: it is no reason to
        # hide the rest of the log.
        try:
            return parse_manifest(data)
        except FormatError:
            return None
