"""`fsck`: check every stored byte, say exactly what is damaged, and repair it from what another place still has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lamella.core.buffers import Buffer
from lamella.core.errors import LamellaError, NotFoundError, UsageError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.ops.gc import reachable_manifests
from lamella.repo.checkin import file_sources
from lamella.repo.checkout import load_skeleton
from lamella.repo.manifest import Manifest
from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries, open_file
from lamella.store.check import Checked, Damage, check_store, salvage
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, hash_source

_MOST_REVISIONS = 100
_MOST_STRUCTURES = 1000


@dataclass(frozen=True, slots=True)
class DamagedTensor:
    """A tensor of one file version that cannot be restored. `revisions` are the commits that brought that version in.

    `tensor` is None for the skeleton, the part of the file that belongs to no tensor; `state` is damaged or missing.
    """

    path: str
    tensor: str | None
    object: str
    state: str
    revisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BrokenManifest:
    """A file version of which no file can be made, whatever is stored: `kind` and `message` say why.

    `revisions` are the commits that brought that version in.
    """

    path: str
    kind: str
    message: str
    revisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was checked, the faults of the store, the tensors that they hit, and the manifests that stand for no file.

    `repaired` counts objects; `unread` are files of the worktree that a repair could not read, each with the reason.
    """

    packs: int
    objects: int
    nbytes: int
    damage: tuple[Damage, ...]
    tensors: tuple[DamagedTensor, ...]
    manifests: tuple[BrokenManifest, ...]
    repaired: int
    unread: tuple[tuple[str, str], ...]

    @property
    def sound(self) -> bool:
        """Whether every version can be restored and no stored byte is damaged."""
        return not self.damage and not self.tensors and not self.manifests


def fsck(
    repository: Repository, *, decode: bool = True, repair: bool = False, progress: Progress = SILENT
) -> FsckReport:
    """Check the store and every version that Git reaches.

    With `repair`, damaged packs are set aside, their sound records are kept, and objects that the files of the
    worktree still hold are stored again; what stays damaged is reported after that.
    """
    checked = check_store(repository.store, decode=decode, progress=progress)
    tensors, manifests = _hit(repository, checked)
    repaired, unread = 0, list[tuple[str, str]]()
    if repair and (checked.damage or tensors):
        wanted = {bytes.fromhex(tensor.object) for tensor in tensors} | checked.unreadable
        copies = _Copies(repository, {ObjectId(identity) for identity in wanted})
        repaired = len(salvage(repository.store, list(copies), progress))
        unread = copies.unread
        checked = check_store(repository.store, decode=decode, progress=progress)
        tensors, manifests = _hit(repository, checked)
    return FsckReport(
        checked.packs, checked.objects, checked.nbytes, checked.damage, tensors, manifests, repaired, tuple(unread)
    )


def _hit(repository: Repository, checked: Checked) -> tuple[tuple[DamagedTensor, ...], tuple[BrokenManifest, ...]]:
    structures = _Structures(repository.store)
    hit: list[tuple[str, str, str | None, ObjectId, str]] = []
    broken: list[tuple[str, str, LamellaError]] = []
    for blob, path, manifest in reachable_manifests(repository):
        if isinstance(manifest, LamellaError):
            broken.append((blob, path, manifest))
            continue
        named: list[tuple[str | None, ObjectId]] = [(row.spec.name, row.object) for row in manifest.rows]
        if manifest.skeleton is not None:
            named.insert(0, (None, manifest.skeleton))
        states = [(name, identity, _state(repository, checked, identity)) for name, identity in named]
        hit += [(blob, path, name, identity, state) for name, identity, state in states if state is not None]
        readable = manifest.skeleton is None or states[0][2] is None
        fault = structures.fault(manifest) if readable else None
        if fault is not None:
            broken.append((blob, path, fault))
    revisions = _revisions(repository, {blob for blob, *_ in hit} | {blob for blob, *_ in broken})
    return (
        tuple(
            DamagedTensor(path, name, identity.hex(), state, revisions[blob])
            for blob, path, name, identity, state in hit
        ),
        # A merge that is going on has texts with markers where nobody committed them.
        tuple(
            BrokenManifest(path, error.kind, error.message, revisions[blob])
            for blob, path, error in broken
            if revisions[blob] or error.kind != "manifest-conflict"
        ),
    )


class _Structures:
    """Whether skeletons and manifests agree, remembered, since a history repeats most from version to version."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._agreed: dict[tuple[str, ObjectId | None], list[TensorSpec]] = {}

    def fault(self, manifest: Manifest) -> LamellaError | None:
        """Return what keeps a manifest whose skeleton can be read from being that of a file."""
        key, specs = (manifest.format, manifest.skeleton), [row.spec for row in (*manifest.rows, *manifest.views)]
        if self._agreed.get(key) == specs:
            return None
        try:
            load_skeleton(self._store, manifest)
        except LamellaError as error:
            return error
        if len(self._agreed) >= _MOST_STRUCTURES:
            self._agreed.clear()
        self._agreed[key] = specs
        return None


def _state(repository: Repository, checked: Checked, identity: ObjectId) -> str | None:
    if identity in checked.unreadable:
        return "damaged"
    return None if repository.store.contains(identity) else "missing"


def _revisions(repository: Repository, blobs: set[str]) -> dict[str, tuple[str, ...]]:
    """Return for each blob the newest commits that brought it in, newest first."""
    found: dict[str, dict[str, None]] = {blob: {} for blob in blobs}
    if not blobs:
        return {}
    with repository.git.start(
        *("-c", "log.showRoot=true", "log", "--all", "--reflog", "-m", "--raw", "--no-abbrev", "--no-renames"),
        *("--no-show-signature", "--format=%H"),
    ) as listing:
        commit = ""
        for line in listing.stdout:
            if line.startswith(b":"):
                commits = found.get(line.split(b" ", 4)[3].decode())
                if commits is not None and len(commits) < _MOST_REVISIONS:
                    commits[commit] = None
            elif line != b"\n":
                commit = line.decode("ascii", "replace").rstrip("\n")
    return {blob: tuple(commits) for blob, commits in found.items()}


@dataclass(frozen=True, slots=True)
class _ClosedFile:
    """A file of the worktree that is opened for each range that is read, so that any number can be at hand."""

    worktree: Path
    path: str
    nbytes: int

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        with open_file(self.worktree, self.path) as opened:
            return opened.source.read_at(offset, nbytes)


class _Copies:
    """Those of the `wanted` objects that the worktree has, each once; what could not be read is `unread`."""

    def __init__(self, repository: Repository, wanted: set[ObjectId]) -> None:
        self._repository = repository
        self._wanted = set(wanted)
        self.unread: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Source]:
        if self._repository.git.worktree is None:
            return
        for entry in model_entries(self._repository):
            try:
                for source in self._sources(entry.path):
                    identity = hash_source(source)
                    if identity in self._wanted:
                        self._wanted.remove(identity)
                        yield source
            except (NotFoundError, UsageError):  # gone, or no regular file
                continue
            except LamellaError as error:
                self.unread.append((entry.path, error.message))

    def _sources(self, path: str) -> list[Source]:
        worktree = self._repository.worktree
        with open_file(worktree, path) as opened:
            if opened.manifest_text() is not None:
                return []
            nbytes = opened.state.st_size
            return file_sources(_ClosedFile(worktree, path, nbytes), opened.beside)
