"""A folder that Orbax wrote: the arrays that its OCDBT database has, or its files of Zarr, by the names of the tree."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, NotFoundError
from lamella.core.graphs import Graph
from lamella.core.limits import (
    IO_NBYTES,
    MAX_DERIVED_NBYTES,
    MAX_FOLDER_ENTRIES,
    MAX_NAME_NBYTES,
    MAX_OCDBT_KEYS,
    MAX_OCDBT_NBYTES,
    MAX_WEIGHT_MAP_NBYTES,
)
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.ocdbt.database import MANIFEST, Run, Value, read_database
from lamella.formats.zarr import MAX_ZARRAY_NBYTES
from lamella.formats.zarr_array import ARRAY, read_array
from lamella.repo.located import LocatedTensors
from lamella.repo.manifest import Manifest, naming
from lamella.repo.model_file import ModelFile
from lamella.repo.model_folders import FolderFile, ModelFolder
from lamella.repo.zarr_tensors import StoredArray, ZarrTensors

FORMAT = "orbax"

_METADATA = "_METADATA"
_TOLD_BY = ("_CHECKPOINT_METADATA", MANIFEST)
_OF_ONE_PROCESS = "ocdbt.process_"
_ARRAY_OF_VERSION_3 = "zarr.json"
_ALL_ARE_WRITTEN = "store_array_data_equal_to_fill_value"

_MAX_EXPANSION = 64
"""What arrays may hold for each byte that is stored of them, from MAX_DERIVED_NBYTES on."""


def is_orbax(paths: Iterable[str]) -> bool:
    """Say whether a folder is a checkpoint of Orbax, or has one."""
    return any(os.path.basename(path) in _TOLD_BY for path in paths)


def orbax_arrays(
    folder: ModelFolder, label: str, paths: Collection[str]
) -> tuple[Sequence[ZarrTensors], Sequence[ModelFile]]:
    """Return the arrays of each checkpoint in a folder, called as in the tree: `params.dense.kernel`; and their files.

    Raises NotFoundError (path-unknown) where files are not there, and FormatError for what is not understood.
    """
    if len(paths) >= MAX_FOLDER_ENTRIES:
        hint = "name the folder of one checkpoint; one of many small files is written with OCDBT"
        raise FormatError(f"{label} has {MAX_FOLDER_ENTRIES} files or more", kind="too-many-tensors", hint=hint)
    roots = sorted({os.path.dirname(path) for path in paths if _is_root(path)})
    found = [_Checkpoint(folder, root, frozenset(paths), {}) for root in roots]
    holders = [holder for one in found if (holder := one.tensors()).specs]
    if not holders:
        raise NotFoundError(
            f"{label} is an Orbax checkpoint of which the arrays are not here, or not yet in one {MANIFEST}",
            kind="path-unknown",
            hint="copy all files of a checkpoint that was written to its end",
        )
    return holders, [OrbaxPart(path, file) for one in found for path, file in sorted(one.files.items())]


def _is_root(path: str) -> bool:
    within = os.path.basename(os.path.dirname(path))
    return os.path.basename(path) in (MANIFEST, _METADATA) and not within.startswith(_OF_ONE_PROCESS)


class OrbaxPart(LocatedTensors):
    """A file that has something of the arrays of a checkpoint, and so no tensors of its own. For `ModelFile`."""

    format = FORMAT
    manifest = Manifest(FORMAT, None, ())

    def __init__(self, path: str, file: FolderFile) -> None:
        super().__init__(path, {})
        self._file = file

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Raise KeyError: it has no tensor of any name."""
        raise KeyError(name)

    def pieces(self) -> Iterator[Buffer]:
        """Yield the file itself, in order."""
        opened = self._file.open()
        for at in range(0, self._file.nbytes, IO_NBYTES):
            yield opened.read_at(at, min(IO_NBYTES, self._file.nbytes - at))

    def metadata(self) -> Mapping[str, str]:
        """Return nothing: what Orbax says of a checkpoint is in other files of the folder."""
        return {}

    def graph(self) -> Graph | None:
        """Return None: it describes no computation."""
        return None

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """One checkpoint: the files at and below `root`, and `files`, those of them that arrays are in."""

    folder: ModelFolder
    root: str
    paths: frozenset[str]
    files: dict[str, FolderFile]

    def tensors(self) -> ZarrTensors:
        """Return its arrays."""
        database = self._at(MANIFEST)
        with naming(self.root or database):
            values = self._database(database) if database in self.paths else self._chunk_files()
            arrays = self._arrays(values)
            _check_expansion(arrays.values())
        return ZarrTensors(self.root or database, arrays, self.files)

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path

    def _file(self, path: str) -> FolderFile:
        if path not in self.paths:
            hint = "copy all files of the checkpoint"
            raise NotFoundError(f"there is no file {path[:80]!r}, which has arrays", kind="path-unknown", hint=hint)
        if path not in self.files:
            self.files[path] = self.folder.file(path)
        return self.files[path]

    def _database(self, manifest: str) -> Mapping[str, Value]:
        """Return what the database has, each run within its file."""

        def read(run: Run) -> Buffer:
            return self._file(self._at(run.path)).open().read_at(run.offset, run.nbytes)

        found = read_database(self.folder.text(manifest, MAX_OCDBT_NBYTES), read)
        self._file(manifest)
        return {key: self._placed(value) for key, value in found.items()}

    def _placed(self, value: Value) -> Value:
        if not isinstance(value, Run):
            return value
        placed = replace(value, path=self._at(value.path))
        held = self._file(placed.path).nbytes
        if placed.offset + placed.nbytes > held:
            reason = f"{placed.path} has {held} bytes, and a chunk should end at byte {placed.offset + placed.nbytes}"
            raise FormatError(reason, kind="file-truncated", hint="copy all files of the checkpoint again")
        return placed

    def _chunk_files(self) -> Mapping[str, Value]:
        """Return the files of a checkpoint that has each chunk as one, by their paths within it."""
        start = len(self._at(""))
        below = sorted(path for path in self.paths if path.startswith(self._at("")))
        folders = {os.path.dirname(path) for path in below if os.path.basename(path) in (ARRAY, _ARRAY_OF_VERSION_3)}
        return {
            path[start:]: Run(path, 0, self._file(path).nbytes)
            for path in below
            if any(one in folders for one in _parents(path))
        }

    def _arrays(self, values: Mapping[str, Value]) -> dict[str, StoredArray]:
        zeros_are_left_out = not self._metadata().get(_ALL_ARE_WRITTEN)
        found: dict[str, StoredArray] = {}
        chunks = 0
        for key in values:
            name, _, last = key.rpartition("/")
            if last == _ARRAY_OF_VERSION_3:
                raise _not_read(f"{name[:80]!r} is an array of Zarr version 3")
            if last != ARRAY:
                continue
            if not name or len(name.encode()) > MAX_NAME_NBYTES:
                raise _not_read("it has an array without a name, or with a very long one")
            array = read_array(name, self._text(values[key]))
            chunks += array.chunk_count
            if chunks > MAX_OCDBT_KEYS:
                raise _not_read(f"its arrays are in more than {MAX_OCDBT_KEYS} chunks")
            held = tuple(values.get(f"{name}/{one}") for one, _ in array.chunks())
            if None in held and not (array.zeros and zeros_are_left_out):
                hint = "copy all files of the checkpoint"
                raise NotFoundError(f"a chunk of {name[:80]!r} is not here", kind="path-unknown", hint=hint)
            found[name] = StoredArray(array, held)
        return found

    def _text(self, value: Value) -> bytes:
        if not isinstance(value, Run):
            return value
        if value.nbytes > MAX_ZARRAY_NBYTES:
            raise _not_read(f"an array is described in {value.nbytes} bytes")
        return bytes(self._file(value.path).open().read_at(value.offset, value.nbytes))

    def _metadata(self) -> Mapping[str, object]:
        """Return what Orbax says of how the arrays were written, nothing where that is not here."""
        path = self._at(_METADATA)
        if path not in self.paths:
            return {}
        try:
            held = json.loads(self.folder.text(path, MAX_WEIGHT_MAP_NBYTES))
        except (ValueError, RecursionError) as exc:
            raise _not_read(f"its {_METADATA} is not JSON") from exc
        return held if isinstance(held, dict) else {}


def _parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _check_expansion(arrays: Iterable[StoredArray]) -> None:
    """Raise FormatError where arrays hold far more than is stored of them: chunks that many share, or nobody wrote."""
    listed = list(arrays)
    held = sum(one.array.chunk.nbytes * len(one.chunks) for one in listed)
    runs = {value for one in listed for value in one.chunks if isinstance(value, Run)}
    stored = sum(run.nbytes for run in runs)
    if held > max(MAX_DERIVED_NBYTES, _MAX_EXPANSION * stored):
        raise _not_read(f"its arrays should hold {held} bytes, and {stored} are stored")


def _not_read(reason: str) -> FormatError:
    hint = "its files are kept as they are; save the weights as safetensors to have them read"
    return FormatError(f"this Orbax checkpoint is not read: {reason}", kind="header-malformed", hint=hint)
