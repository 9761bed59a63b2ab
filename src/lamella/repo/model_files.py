"""Several files as one model: what an index names, or all model files of a folder, at a revision or on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lamella.core.errors import BackendError, FormatError, NotFoundError, UsageError
from lamella.core.fsio import translated
from lamella.core.ids import digest
from lamella.core.limits import MAX_FOLDER_ENTRIES, MAX_WEIGHT_MAP_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.repo.manifest import OPAQUE, PREFIX, Manifest, Row, is_manifest, naming, parse_manifest
from lamella.repo.model_file import ModelFile, StoredModelFile, look_at
from lamella.repo.model_parts import (
    DATA_FORMAT,
    GRAPH_FORMAT,
    ORBAX,
    VARIABLES,
    VARIABLES_FORMAT,
    external_files,
    is_plain,
)
from lamella.repo.objects import ObjectReader, list_tree, tracked
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.weight_map import SUFFIX, check_shards, chosen_index, parse_weight_map
from lamella.store.objects import ObjectStore

SEVERAL = "several-files"
"""The format, so to speak, of a model that is more than one file."""


@dataclass(frozen=True)
class Model:
    """One model, called `path`: its files, and `others`, the rest of the folder that it is.

    `unread` are folders within it, each with a slash, whose model files are no part of it. `missing` are files that it
    names and that are not there, or its header, which names them: their tensors are not among its own.

    `names` are its tensors: where each is and what it is called there. A name that two files have for different tensors
    gets the file's path before it.
    """

    path: str
    files: tuple[ModelFile, ...]
    others: tuple[str, ...]
    names: Mapping[str, tuple[ModelFile, str]]
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def spec(self, name: str) -> TensorSpec:
        """Return a tensor's spec under the name that it has in this model; raise NotFoundError (tensor-unknown)."""
        file, inner = self.find(name)
        return replace(file.specs[inner], name=name)

    def find(self, name: str) -> tuple[ModelFile, str]:
        """Return the file of a tensor and its name there; raise NotFoundError (tensor-unknown)."""
        try:
            return self.names[name]
        except KeyError:
            self.check_whole()
            raise NotFoundError(
                f"{self.path} has no tensor {name!r}", kind="tensor-unknown", hint="`lamella ls` lists the tensors"
            ) from None

    def check_whole(self) -> None:
        """Raise NotFoundError (path-unknown) where a file that belongs to the model is missing."""
        if self.missing:
            raise NotFoundError(
                f"{self.path} takes {self.missing[0][:80]!r}, which is not there, or not as it says",
                kind="path-unknown",
                hint="put it beside the model under this name, or add it as the model was added",
            )

    @cached_property
    def tensors(self) -> Mapping[str, tuple[Manifest, Row]]:
        """Each tensor's manifest and row, by the name that it has in this model; files on disk are hashed for it."""
        rows = {id(file): {row.spec.name: row for row in file.manifest.tensors} for file in self.files}
        return {name: (file.manifest, rows[id(file)][inner]) for name, (file, inner) in self.names.items()}

    def manifest(self) -> Manifest:
        """Return the manifest of the one file, or one that tells this model from others and stands for no file."""
        if len(self.files) == 1:
            return self.files[0].manifest
        rows = tuple(replace(row, spec=self.spec(name)) for name, (_, row) in self.tensors.items())
        parts = "".join(f"{file.path}\0{file.manifest.format}\0{file.manifest.skeleton!r}\n" for file in self.files)
        return Manifest(SEVERAL, digest(os.fsencode(parts)), rows)

    def model_id(self) -> str:
        """Return the id that the same weights have in any container, in one file or in many."""
        return self.manifest().model_id()

    def close(self) -> None:
        """Close the files on disk."""
        for file in self.files:
            file.close()


def joined(path: str, files: Sequence[ModelFile], others: Sequence[str]) -> Model:
    """Return files as one model; raise FormatError (name-duplicate) where their tensors cannot all be named."""
    having: dict[str, list[ModelFile]] = {}
    for file in files:
        for name in file.specs:
            having.setdefault(name, []).append(file)
    names: dict[str, tuple[ModelFile, str]] = {}
    for name, owners in having.items():
        told = {name: owners[0]} if _alike(name, owners) else {f"{file.path}/{name}": file for file in owners}
        for full, file in told.items():
            if full in names or (full != name and full in having):
                raise FormatError(f"two files have a tensor {full[:80]!r}", kind="name-duplicate")
            names[full] = (file, name)
    return Model(path, tuple(files), tuple(others), names)


def _alike(name: str, owners: Sequence[ModelFile]) -> bool:
    first, *rest = owners
    return all(first.specs[name] == other.specs[name] for other in rest) and all(
        first.content(name) == other.content(name) for other in rest
    )


def model_at(repository: Repository, revision: str, path: str) -> Model:
    """Return the model that a file, a folder or the index of shards is at a revision, which is "" for Git's index.

    `path` is relative to the root, which is "" itself. Raises NotFoundError (revision-unknown, path-unknown), also for
    what holds no model that Lamella keeps, and FormatError for an index that its shards contradict.
    """
    label, path = f"{revision}:{path}", "" if os.path.normpath(path) == "." else path
    store = repository.existing_store
    with repository.reader() as reader:
        manifest = manifest_at(reader, f"{revision or ':0'}:{path}") if path else None
        if manifest is not None:

            def look(name: str) -> ModelFile | None:
                beside = manifest_at(reader, f"{revision or ':0'}:{os.path.join(os.path.dirname(path), name)}")
                return None if beside is None else StoredModelFile(name, beside, store)

            return _with_data(label, StoredModelFile(os.path.basename(path), manifest, store), look)
        folder = os.path.dirname(path) if path.endswith(SUFFIX) else path.rstrip("/")
        found = _listed(repository, revision, folder)
        if not found:
            return joined(label, [StoredModelFile(path, repository.manifest(revision, path), store)], ())
        wanted = os.path.basename(path) if path.endswith(SUFFIX) else ""
        folder_of = _CommittedFolder(reader, found, store)
        return _model_in(folder_of, label, wanted)


def _listed(repository: Repository, revision: str, folder: str) -> dict[str, str]:
    """Return the blobs at and below a folder, by their path within it."""
    paths = [folder] if folder else []
    entries: list[tuple[str, int, str]]
    if revision in ("", ":0"):
        entries = [(one.path, one.mode, one.oid) for one in tracked(repository.git, paths or None) if one.stage == 0]
    else:
        repository.git.resolve(revision)
        entries = [(one.path, one.mode, one.oid) for one in list_tree(repository.git, revision, *paths)]
    prefix = f"{folder}/" if folder else ""
    return {
        path.removeprefix(prefix): oid for path, mode, oid in entries if stat.S_ISREG(mode) and path.startswith(prefix)
    }


@dataclass(frozen=True)
class _CommittedFolder:
    """A folder as Git has it: the blobs by their path within it."""

    reader: ObjectReader
    blobs: Mapping[str, str]
    store: Callable[[], ObjectStore]

    def paths(self) -> list[str]:
        return list(self.blobs)

    def look(self, path: str) -> ModelFile | None:
        found = self.reader.read(self.blobs[path], prefix=PREFIX)
        if found is None or found.data is None or not is_manifest(found.data):
            return None
        with naming(path):
            return StoredModelFile(path, parse_manifest(found.data), self.store)

    def text(self, path: str) -> bytes:
        found = self.reader.read(self.blobs[path])
        if found is None or found.data is None:
            raise FormatError(f"{path} cannot be read", kind="header-too-large")
        return found.data


@dataclass(frozen=True)
class _DiskFolder:
    """A folder on disk."""

    where: Path
    store: Callable[[], ObjectStore]
    threads: int

    def paths(self) -> list[str]:
        """Return the files at and below, hidden folders left out."""
        found: list[str] = []
        waiting = [""]
        while waiting and len(found) < MAX_FOLDER_ENTRIES:
            folder = waiting.pop()
            with translated(self.where / folder, reading=True), os.scandir(self.where / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                        waiting.append(path)
                    elif entry.is_file():
                        found.append(path)
        return sorted(found)

    def look(self, path: str) -> ModelFile | None:
        try:
            file = look_at(path, self.where / path, self.store, self.threads)
        except FormatError:
            return None
        return None if file.format == OPAQUE else file

    def text(self, path: str) -> bytes:
        """Return a file, or as much of it as tells that it is too long."""
        with translated(self.where / path, reading=True), (self.where / path).open("rb") as file:
            return file.read(MAX_WEIGHT_MAP_NBYTES + 1)


def model_on_disk(where: Path, label: str, store: Callable[[], ObjectStore], threads: int) -> Model:
    """Return the model that a file, a folder or the index of shards on disk is, called `label`. Close it.

    `store` is asked for where a manifest stands in the place of a file that is to be read. Raises NotFoundError
    (path-unknown), FormatError where a file is not what it claims to be, and BackendError (unreadable).
    """
    if where.name.endswith(SUFFIX):
        return _model_in(_DiskFolder(where.parent, store, threads), label, where.name)
    if where.is_dir():
        return _model_in(_DiskFolder(where, store, threads), label, "")
    folder = _DiskFolder(where.parent, store, threads)

    def look(name: str) -> ModelFile | None:
        try:
            return folder.look(name)
        except (NotFoundError, UsageError, BackendError):
            return None  # what cannot be opened is told as missing

    return _with_data(label, look_at(where.name, where, store, threads), look)


def _with_data(label: str, file: ModelFile, look: Callable[[str], ModelFile | None]) -> Model:
    """Return the model that one file is, together with the files that an ONNX model says its tensors are in."""
    files, missing = [file], []
    locations = external_files(file)
    if locations is None:
        missing.append(f"the header of {file.path}")
    for location in locations or ():
        found = look(location) if is_plain(location) else None
        if found is not None and found.format == DATA_FORMAT:
            files.append(found)
        else:
            missing.append(location)
    return replace(joined(label, files, ()), missing=tuple(missing))


def _model_in(folder: _CommittedFolder | _DiskFolder, label: str, index: str) -> Model:
    """Return the model in a folder: what its index names, else its model files, else those of its subfolders.

    Where the graph of a SavedModel is among them, its variables come in its place.
    """
    paths = folder.paths()
    direct = [path for path in paths if "/" not in path]
    chosen = index or chosen_index(direct)
    nested = [path for path in paths if "/" in path]
    if chosen is not None:
        found = _sharded(folder, label, chosen, direct)
        return found if index else replace(found, unread=_unread(folder, nested))
    orbax = any(path.rpartition("/")[2] in ORBAX for path in paths)
    for candidates, rest in ((direct, nested), (nested, direct)):
        looked = (folder.look(path) for path in candidates[:MAX_FOLDER_ENTRIES])
        files = [file for file in looked if file is not None and file.format != OPAQUE]
        if any(file.specs for file in files) or (files and not orbax):
            files, others = _with_variables(folder, files, candidates, rest)
            if candidates is nested:
                return joined(label, files, sorted(others + rest))
            taken = {file.path for file in files}
            return replace(joined(label, files, others), unread=_unread(folder, nested, taken))
    if orbax:
        raise NotFoundError(
            f"{label} is an Orbax checkpoint, whose compressed files are kept as bytes and not read by their tensors",
            kind="path-unknown",
            hint="`lamella track 'FOLDER/**'` keeps all of it, and restores it bit for bit",
        )
    raise NotFoundError(
        f"there is no model in {label}",
        kind="path-unknown",
        hint="`lamella ls-files` lists the model files that lamella keeps",
    )


def _with_variables(
    folder: _CommittedFolder | _DiskFolder, files: list[ModelFile], candidates: Sequence[str], rest: Sequence[str]
) -> tuple[list[ModelFile], list[str]]:
    """Return the files with the variables of a SavedModel in place of its graph, and the other `candidates`."""
    found = {file.path: file for file in files}
    for graph in [file for file in files if file.format == GRAPH_FORMAT]:
        below = os.path.join(os.path.dirname(graph.path), VARIABLES)
        names = [path for path in (*candidates, *rest) if os.path.dirname(path) == below]
        looked = (found.get(path) or folder.look(path) for path in names[:MAX_FOLDER_ENTRIES])
        variables = [file for file in looked if file is not None and file.format == VARIABLES_FORMAT]
        if variables:
            del found[graph.path]
            found |= {file.path: file for file in variables}
    return list(found.values()), [path for path in candidates if path not in found]


def _unread(
    folder: _CommittedFolder | _DiskFolder, nested: Sequence[str], taken: Container[str] = ()
) -> tuple[str, ...]:
    """Return the folders directly within that have model files, save where these are `taken`."""
    found: dict[str, None] = {}
    for path in nested[:MAX_FOLDER_ENTRIES]:
        name = path.partition("/")[0] + "/"
        if name not in found and path not in taken:
            file = folder.look(path)
            if file is not None and file.format != OPAQUE:
                found[name] = None
                file.close()
    return tuple(found)


def _sharded(folder: _CommittedFolder | _DiskFolder, label: str, index: str, direct: Sequence[str]) -> Model:
    if index not in direct:
        raise NotFoundError(f"there is no file {index} in {label}", kind="path-unknown", hint="check the spelling")
    text = folder.text(index)
    with naming(index):
        weight_map = parse_weight_map(text)
    files: list[ModelFile] = []
    for name in sorted(set(weight_map.values())):
        file = folder.look(name) if name in direct else None
        if file is None:
            raise NotFoundError(
                f"{index} names {name[:80]!r}, which is no model file here",
                kind="path-unknown",
                hint="add all shards of the model, or name its files one by one",
            )
        files.append(file)
    with naming(index):
        check_shards(weight_map, {file.path: file.specs for file in files})
    taken = {file.path for file in files}
    return joined(label, files, [path for path in direct if path not in taken])
