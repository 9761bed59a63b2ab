"""Git's objects by name: reading them from one long-lived process, writing blobs, listing trees and the index."""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from lamella.core.buffers import Buffer
from lamella.core.errors import LamellaError
from lamella.core.limits import IO_NBYTES
from lamella.repo.git import Git, GitOid, Running
from lamella.repo.gitfaults import damaged

_HEADER = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (blob|tree|commit|tag) ([0-9]{1,19})")
_SKIP_NBYTES = 16 * IO_NBYTES
"""An unread body longer than this is dropped by ending the process: inflating it would take longer."""

_ASKED_AT_ONCE = 30
"""Two such groups of the longest ids fit into one page, the least that a pipe holds: no side waits for the other."""

_PATHS_A_COMMAND = 1000


@dataclass(frozen=True, slots=True)
class GitObject:
    """An object of Git's. `matches` says whether its content begins with the prefix that was asked for.

    `data` is None where it does not, and where it is longer than the reader's limit.
    """

    oid: GitOid
    type: str
    nbytes: int
    matches: bool
    data: bytes | None


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A path in a revision, relative to the root; `mode` is Git's, `type` is blob, tree or commit (a submodule)."""

    path: str
    mode: int
    type: str
    oid: GitOid


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A path in the index; `stage` is 0 unless the path is in conflict."""

    path: str
    mode: int
    oid: GitOid
    stage: int


class ObjectReader:
    """One `git cat-file --batch`, started at the first read and kept until the `with` block ends.

    Content longer than `limit_nbytes` is not read into memory. With `replace` false, `git replace` is not honoured.
    Not for use by two threads at once.
    """

    def __init__(self, git: Git, *, limit_nbytes: int, replace: bool = True) -> None:
        self._git = git
        self._limit_nbytes = limit_nbytes
        self._args = (*(() if replace else ("--no-replace-objects",)), "cat-file", "--batch")
        self._running: Running | None = None

    def read(self, spec: str, *, prefix: bytes = b"") -> GitObject | None:
        """Return the object that `spec` names (`HEAD:path`, an id), or None where Git cannot give one.

        Raises BackendError (git-failed) where it finds an object damaged; Git calls some damaged ones missing.
        """
        self._ask([spec])
        return self._answer(prefix)

    def read_each(self, oids: Iterable[GitOid], *, prefix: bytes = b"") -> Iterator[GitObject | None]:
        """Yield what `read` returns for each of `oids`, asked for ahead so that Git works while the caller does.

        Nothing else may be read before the last was yielded. Raises as `read` does, and is then at its end.
        """
        remaining, asked = iter(oids), deque[GitOid]()
        try:
            while True:
                if len(asked) <= _ASKED_AT_ONCE:
                    group = list(islice(remaining, _ASKED_AT_ONCE))
                    self._ask(group)
                    asked.extend(group)
                if not asked:
                    return
                found = self._answer(prefix)
                asked.popleft()
                if self._running is None:
                    self._ask(asked)
                yield found
        finally:
            if asked:
                self.close()

    def _ask(self, specs: Iterable[str]) -> None:
        running = self._running or self._git.start(*self._args, stdin="pipe")
        self._running = running
        with contextlib.suppress(BrokenPipeError):
            running.stdin.writelines(self._line(spec) for spec in specs)
            running.stdin.flush()

    def _line(self, spec: str) -> bytes:
        if "\n" in spec:
            spec = self._git.run("rev-parse", "--verify", "--quiet", "--end-of-options", spec, check=False).decode()
        return os.fsencode(spec.removesuffix("\n")) + b"\n"

    def _answer(self, prefix: bytes) -> GitObject | None:
        assert self._running is not None
        line = self._running.stdout.readline()
        header = _HEADER.fullmatch(line.rstrip(b"\n"))
        if header is None:
            if not line:
                raise self._stopped()
            return None
        nbytes = int(header[3])
        head = self._take(min(len(prefix), nbytes))
        matches = head == prefix
        data = None
        if matches and nbytes <= self._limit_nbytes:
            data = head + self._take(nbytes - len(head))
            self._take(len(b"\n"))
        else:
            self._skip(nbytes - len(head) + len(b"\n"))
        return GitObject(GitOid(header[1].decode()), header[2].decode(), nbytes, matches, data)

    def _take(self, nbytes: int) -> bytes:
        assert self._running is not None
        data = self._running.stdout.read(nbytes)
        if len(data) < nbytes:
            raise self._stopped()
        return data

    def _skip(self, nbytes: int) -> None:
        if nbytes > _SKIP_NBYTES:
            self.close()
            return
        for offset in range(0, nbytes, IO_NBYTES):
            self._take(min(IO_NBYTES, nbytes - offset))

    def _stopped(self) -> LamellaError:
        """Return the reason why the process ended in the middle; the next read starts another."""
        running, self._running = self._running, None
        assert running is not None
        try:
            running.end()
        except LamellaError as error:
            return error
        return damaged("git cat-file ended too early")

    def close(self) -> None:
        """End the process; a later read starts another."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def write_blob(git: Git, data: Buffer) -> GitOid:
    """Store `data` as a blob, past all filters, and return its id."""
    return GitOid(git.run("hash-object", "-w", "--stdin", input=data).decode().strip())


def list_tree(git: Git, revision: str, *paths: str, recursive: bool = True) -> list[TreeEntry]:
    """Return every path of `revision`, or those at and below `paths`, which are taken literally.

    Without `recursive` only what is at `paths`, folders as they are. Raises NotFoundError (revision-unknown) where
    there is no such tree.
    """
    literally = {"GIT_LITERAL_PATHSPECS": "1"}
    options = ("-r", "-z", "--full-tree") if recursive else ("-z", "--full-tree")
    listing = git.run("ls-tree", *options, "--end-of-options", revision, *paths, env=literally)
    entries = []
    for row in listing.split(b"\0")[:-1]:
        what, _, path = row.partition(b"\t")
        mode, kind, oid = what.decode().split()
        entries.append(TreeEntry(os.fsdecode(path), int(mode, 8), kind, GitOid(oid)))
    return entries


def tracked(git: Git, paths: Iterable[str] | None = None, which: str = "--stage") -> list[IndexEntry]:
    """Return what the index holds, or only what it holds at and below `paths`, in Git's order.

    `which` may be ``--unmerged``, for paths in conflict alone.
    Paths are relative to the root of the worktree and are taken letter by letter, never as patterns.
    """
    if paths is None:
        return _index_entries(git.run("ls-files", which, "-z"))
    found: dict[tuple[str, int], IndexEntry] = {}
    remaining = iter(paths)
    while group := list(islice(remaining, _PATHS_A_COMMAND)):
        listing = git.run("ls-files", which, "-z", "--", *group, env={"GIT_LITERAL_PATHSPECS": "1"})
        found.update(((entry.path, entry.stage), entry) for entry in _index_entries(listing))
    return sorted(found.values(), key=lambda entry: (os.fsencode(entry.path), entry.stage))


def _index_entries(listing: bytes) -> list[IndexEntry]:
    entries = []
    for row in listing.split(b"\0")[:-1]:
        what, _, path = row.partition(b"\t")
        mode, oid, stage = what.decode().split()
        entries.append(IndexEntry(os.fsdecode(path), int(mode, 8), GitOid(oid), int(stage)))
    return entries
