"""Several files as one model: what an index names, or all model files of a folder, at a revision or on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path

from lamella.core.errors import BackendError, NotFoundError, UsageError
from lamella.core.limits import MAX_FOLDER_ENTRIES, MAX_WEIGHT_MAP_NBYTES
from lamella.repo.disk_model_file import look_at
from lamella.repo.distributed import check_described, with_whole_tensors
from lamella.repo.joined_model import Model, joined
from lamella.repo.manifest import OPAQUE, naming
from lamella.repo.model_file import ModelFile
from lamella.repo.model_folders import CommittedFolder, DiskFolder, ModelFolder, committed_blobs
from lamella.repo.model_parts import (
    DATA_FORMAT,
    GRAPH_FORMAT,
    VARIABLES,
    VARIABLES_FORMAT,
    external_files,
    is_plain,
    missing_data,
)
from lamella.repo.orbax import is_orbax, orbax_arrays
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.weight_map import SUFFIX, check_shards, chosen_index, parse_weight_map
from lamella.store.objects import ObjectStore


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
        found = committed_blobs(repository, revision, folder)
        if not found:
            return joined(label, [StoredModelFile(path, repository.manifest(revision, path), store)], ())
        wanted = os.path.basename(path) if path.endswith(SUFFIX) else ""
        folder_of = CommittedFolder(reader, found, store)
        return _model_in(folder_of, label, wanted)


def model_on_disk(where: Path, label: str, store: Callable[[], ObjectStore], threads: int) -> Model:
    """Return the model that a file, a folder or the index of shards on disk is, called `label`. Close it.

    `store` is asked for where a manifest stands in the place of a file that is to be read. Raises NotFoundError
    (path-unknown), FormatError where a file is not what it claims to be, and BackendError (unreadable).
    """
    if where.name.endswith(SUFFIX):
        return _model_in(DiskFolder(where.parent, store, threads), label, where.name)
    if where.is_dir():
        return _model_in(DiskFolder(where, store, threads), label, "")
    folder = DiskFolder(where.parent, store, threads)

    def look(name: str) -> ModelFile | None:
        try:
            return folder.look(name)
        except (NotFoundError, UsageError, BackendError):
            return None  # what cannot be opened is told as missing

    return _with_data(label, look_at(where.name, where, store, threads), look)


def _with_data(label: str, file: ModelFile, look: Callable[[str], ModelFile | None]) -> Model:
    """Return the model that one file is, together with the files that an ONNX model says its tensors are in."""
    files = [file]
    for location in external_files(file) or ():
        found = look(location) if is_plain(location) else None
        if found is not None and found.format == DATA_FORMAT:
            files.append(found)
    return replace(joined(label, files, ()), missing=tuple(missing_data(files)))


def _model_in(folder: ModelFolder, label: str, index: str) -> Model:
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
    orbax = is_orbax(paths)
    for candidates, rest in ((direct, nested), (nested, direct)):
        looked = (folder.look(path) for path in candidates[:MAX_FOLDER_ENTRIES])
        files = [file for file in looked if file is not None and file.format != OPAQUE]
        if any(file.specs for file in files) or (files and not orbax):
            files, holders = with_whole_tensors(folder, _with_variables(folder, files, candidates, rest), set(paths))
            taken = {file.path for file in files}
            others = [path for path in candidates if path not in taken]
            missing = tuple(missing_data(files))
            if candidates is nested:
                return replace(joined(label, files, sorted(others + rest), holders), missing=missing)
            unread = _unread(folder, nested, taken)
            return replace(joined(label, files, others, holders), unread=unread, missing=missing)
    if orbax:
        arrays, parts = orbax_arrays(folder, label, paths)
        taken = {part.path for part in parts}
        return joined(label, parts, [path for path in paths if path not in taken], arrays)
    check_described(paths, set(paths))
    raise NotFoundError(
        f"there is no model in {label}",
        kind="path-unknown",
        hint="`lamella ls-files` lists the model files that lamella keeps",
    )


def _with_variables(
    folder: ModelFolder, files: list[ModelFile], candidates: Sequence[str], rest: Sequence[str]
) -> list[ModelFile]:
    """Return the files with the variables of a SavedModel in place of its graph."""
    found = {file.path: file for file in files}
    for graph in [file for file in files if file.format == GRAPH_FORMAT]:
        below = os.path.join(os.path.dirname(graph.path), VARIABLES)
        names = [path for path in (*candidates, *rest) if os.path.dirname(path) == below]
        looked = (found.get(path) or folder.look(path) for path in names[:MAX_FOLDER_ENTRIES])
        variables = [file for file in looked if file is not None and file.format == VARIABLES_FORMAT]
        if variables:
            del found[graph.path]
            found |= {file.path: file for file in variables}
    return list(found.values())


def _unread(folder: ModelFolder, nested: Sequence[str], taken: Container[str] = ()) -> tuple[str, ...]:
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


def _sharded(folder: ModelFolder, label: str, index: str, direct: Sequence[str]) -> Model:
    if index not in direct:
        raise NotFoundError(f"there is no file {index} in {label}", kind="path-unknown", hint="check the spelling")
    text = folder.text(index, MAX_WEIGHT_MAP_NBYTES)
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
