"""`fsck`: check every stored byte, say exactly what is damaged, and repair it from what another place still has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from lamella.core.errors import LamellaError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.ops.gc import reachable_manifests
from lamella.repo.checkin import file_sources
from lamella.repo.repository import Repository
from lamella.repo.worktree import OpenedFile, model_entries, open_file
from lamella.store.check import Checked, Damage, check_store, salvage
from lamella.store.writer import Source, hash_source

_MOST_REVISIONS = 100


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
class FsckReport:
    """What was checked, the faults of the store, and the tensors that they hit. `repaired` counts objects."""

    packs: int
    objects: int
    nbytes: int
    damage: tuple[Damage, ...]
    tensors: tuple[DamagedTensor, ...]
    repaired: int

    @property
    def sound(self) -> bool:
        """Whether every version can be restored and no stored byte is damaged."""
        return not self.damage and not self.tensors


def fsck(
    repository: Repository, *, decode: bool = True, repair: bool = False, progress: Progress = SILENT
) -> FsckReport:
    """Check the store and every version that Git reaches.

    With `repair`, damaged packs are set aside, their sound records are kept, and objects that the files of the
    worktree still hold are stored again; what stays damaged is reported after that.
    """
    checked = check_store(repository.store, decode=decode, progress=progress)
    tensors = _hit(repository, checked)
    repaired = 0
    if repair and (checked.damage or tensors):
        wanted = {bytes.fromhex(tensor.object) for tensor in tensors} | checked.unreadable
        repaired = _repair(repository, {ObjectId(identity) for identity in wanted}, progress)
        checked = check_store(repository.store, decode=decode, progress=progress)
        tensors = _hit(repository, checked)
    return FsckReport(checked.packs, checked.objects, checked.nbytes, checked.damage, tensors, repaired)


def _hit(repository: Repository, checked: Checked) -> tuple[DamagedTensor, ...]:
    hit = []
    for blob, path, manifest in reachable_manifests(repository):
        revisions: tuple[str, ...] | None = None
        named: list[tuple[str | None, ObjectId]] = [(row.spec.name, row.object) for row in manifest.rows]
        if manifest.skeleton is not None:
            named.insert(0, (None, manifest.skeleton))
        for name, identity in named:
            state = _state(repository, checked, identity)
            if state is not None:
                revisions = _revisions(repository, blob) if revisions is None else revisions
                hit.append(DamagedTensor(path, name, identity.hex(), state, revisions))
    return tuple(hit)


def _state(repository: Repository, checked: Checked, identity: ObjectId) -> str | None:
    if identity in checked.unreadable:
        return "damaged"
    return None if repository.store.contains(identity) else "missing"


def _revisions(repository: Repository, blob: str) -> tuple[str, ...]:
    """Return the newest commits that brought a version in, newest first."""
    listing = repository.git.run(
        *("-c", "log.showRoot=true", "log", "--all", "--reflog", "-m", f"--max-count={_MOST_REVISIONS}"),
        *("--raw", "-z", "--no-abbrev", "--no-renames", "--no-show-signature", "--format=%H", f"--find-object={blob}"),
    )
    found: dict[str, None] = {}
    fields = (field.lstrip(b"\n").decode("ascii", "replace") for field in listing.split(b"\0"))
    commit = ""
    for field in fields:
        if field.startswith(":"):
            if field.split(" ")[3] == blob:
                found[commit] = None
            next(fields)  # the path
        elif field:
            commit = field
    return tuple(found)


def _repair(repository: Repository, wanted: set[ObjectId], progress: Progress) -> int:
    with ExitStack() as opened:
        copies = [source for source, identity in _copies(repository, opened) if identity in wanted]
        return len(salvage(repository.store, copies, progress))


def _copies(repository: Repository, opened: ExitStack) -> Iterator[tuple[Source, ObjectId]]:
    """Yield the objects that the files of the worktree consist of."""
    if repository.git.worktree is None:
        return
    for entry in model_entries(repository):
        try:
            file: OpenedFile = opened.enter_context(open_file(repository.worktree, entry.path))
        except LamellaError:
            continue
        if file.manifest_text() is None:
            for source in file_sources(file.source):
                yield source, hash_source(source)
