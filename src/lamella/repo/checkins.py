"""The model files of a history on their way into the store: each once for a path, and remembered until all is done."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lamella.core.errors import FormatError, LamellaError
from lamella.core.progress import SILENT, Progress
from lamella.formats.base import Beside
from lamella.repo.checkin import check_in
from lamella.repo.commit_neighbours import CommitNeighbours
from lamella.repo.contents import Content
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.manifest import Manifest, is_manifest, parse_manifest, write_manifest
from lamella.repo.repository import Repository
from lamella.repo.trees import FILE, entries_of, find

CHECKED_IN_REF = "refs/lamella/migrate/checked-in"
"""Names a tree with a manifest for each file that was checked in: Git and `lamella gc` keep what it holds."""

SAVE_SECONDS = 5.0
"""What a killed process has to check in again, at the most, beside the file that it was at."""

_RECENT = 8


@dataclass(frozen=True, slots=True)
class Absent:
    """A file that could not be had: its path, what it is called where it came from, and why."""

    path: str
    name: str
    nbytes: int
    kind: str
    message: str


class Around(Protocol):
    """What a file of a commit is looked at together with, found where it is asked for."""

    def parents(self) -> Sequence[GitOid]:
        """Return the trees of the versions before, whose files the new one leans on."""
        ...

    def beside(self, path: bytes) -> Mapping[str, Content]:
        """Return the files of the folder of `path` in the same commit, by name."""
        ...


class Intake(Protocol):
    """Where the model files of a history go."""

    @property
    def absent(self) -> Sequence[Absent]:
        """The files that could not be had, each once."""
        ...

    def blob(self, path: bytes, content: Content, around: Around) -> GitOid | None:
        """Return the blob that stands for a file at `path` from now on, None where the file cannot be had."""
        ...


class Survey:
    """Counts what would go into the store. The blobs it gives are none, and differ where manifests would."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._known: dict[tuple[bytes, str], GitOid | None] = {}
        self.absent: list[Absent] = []
        self.nbytes = 0
        self.files = 0

    def blob(self, path: bytes, content: Content, around: Around) -> GitOid | None:  # noqa: ARG002
        """Count a file the first time it is seen. See `Intake.blob`."""
        key = (path, content.name)
        if key not in self._known:
            self._known[key] = self._look(path, content)
        return self._known[key]

    def _look(self, path: bytes, content: Content) -> GitOid | None:
        if not content.is_here():
            message = f"{content.name} is not here"
            kind = "object-missing"
            self.absent.append(Absent(os.fsdecode(path), content.name, max(0, content.nbytes), kind, message))
            return None
        self.files += 1
        self.nbytes += max(0, content.nbytes)
        return self._writer.name("blob", path + b"\0" + content.name.encode())


class CheckIns:
    """Stores each file once for a path. Every few seconds Git learns of what was done, so that it is not done again."""

    def __init__(self, repository: Repository, writer: ObjectWriter, progress: Progress = SILENT) -> None:
        self._repository = repository
        self._writer = writer
        self._progress = progress
        self._known = _remembered(repository.git, writer)
        self._recent: deque[Manifest] = deque(maxlen=_RECENT)
        self._refused: dict[tuple[bytes, str], None] = {}
        self._saved = time.monotonic()
        self.absent: list[Absent] = []
        self.stored_nbytes = 0
        self.again = 0

    def blob(self, path: bytes, content: Content, around: Around) -> GitOid | None:
        """Store a file the first time it is seen, as what lies beside it there describes it. See `Intake.blob`."""
        key = hashlib.sha256(path + b"\0" + content.name.encode()).hexdigest().encode()
        if (path, content.name) in self._refused:
            return None
        if key not in self._known:
            try:
                self._known[key] = FILE, self._check_in(path, content, around)
            except LamellaError as error:
                if error.kind not in ("object-missing", "object-wrong-id"):
                    raise
                self._refused[path, content.name] = None
                shown = os.fsdecode(path)
                self.absent.append(Absent(shown, content.name, max(0, content.nbytes), error.kind, error.message))
                return None
            if time.monotonic() - self._saved >= SAVE_SECONDS:
                self.save()
        return self._known[key][1]

    def _check_in(self, path: bytes, content: Content, around: Around) -> GitOid:
        store = self._repository.store
        with content.opened(store.temporary) as file:
            if not file.nbytes:
                return self._writer.add("blob", b"")
            earlier = [one for tree in around.parents() if (one := _manifest(self._writer, tree, path)) is not None]
            recent = list(reversed(self._recent))
            with CommitNeighbours(around.beside(path), store.temporary) as neighbours:
                beside = Beside(os.fsdecode(path.rpartition(b"/")[2]), neighbours)
                checked = check_in(store, file, earlier, _Advancing(self._progress), lambda: recent, beside)
        self._recent.append(checked.manifest)
        self.stored_nbytes += checked.added.stored_nbytes
        return self._writer.add("blob", write_manifest(checked.manifest))

    def save(self) -> None:
        """Make what was checked in so far durable, for a process that comes after this one."""
        rows = (b"%s %s\0" % (FILE, key) + bytes.fromhex(oid) for key, (_, oid) in sorted(self._known.items()))
        tree = self._writer.add("tree", b"".join(rows))
        self._writer.flush()
        self._repository.git.run("update-ref", CHECKED_IN_REF, tree)
        self._saved = time.monotonic()


def _remembered(git: Git, writer: ObjectWriter) -> dict[bytes, tuple[bytes, GitOid]]:
    oid = git.run("rev-parse", "--verify", "--quiet", CHECKED_IN_REF, check=False).decode().strip()
    return entries_of(writer, GitOid(oid)) if oid else {}


def _manifest(writer: ObjectWriter, tree: GitOid, path: bytes) -> Manifest | None:
    blob = find(writer, tree, path)
    if blob is None:
        return None
    with contextlib.suppress(FormatError):
        _, data = writer.read(blob)
        return parse_manifest(data) if is_manifest(data) else None
    return None


class _Advancing:
    """Passes on how many bytes are done, and not what the store calls each of its steps."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._encoding = False

    def start(self, label: str, total_nbytes: int) -> None:  # noqa: ARG002 -- a step of a larger work
        self._encoding = label != "hashing"

    def advance(self, nbytes: int) -> None:
        if not self._encoding:
            self._progress.advance(nbytes)

    def finish(self) -> None:
        pass
