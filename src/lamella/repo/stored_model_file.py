"""A model file that a manifest stands for: what is read of it comes from the store, verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, FormatError, IntegrityError, NotFoundError
from lamella.core.graphs import Graph
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.hollow import graph_of, metadata_of
from lamella.repo.checkout import file_pieces, load_skeleton, stored_file
from lamella.repo.manifest import OPAQUE, Manifest
from lamella.repo.snapshot import Snapshot
from lamella.store.objects import ObjectStore


class StoredModelFile:
    """A model file of which the manifest is at hand; `store` is asked for only when something is read."""

    def __init__(self, path: str, manifest: Manifest, store: Callable[[], ObjectStore]) -> None:
        self.path = path
        self.manifest = manifest
        self.format = manifest.format
        self._store = store

    @cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The tensors by name, in file order, views behind the others."""
        rows = () if self.format == OPAQUE else self.manifest.tensors
        return {row.spec.name: row.spec for row in rows}

    @cached_property
    def snapshot(self) -> Snapshot:
        """The tensors, to be read."""
        return Snapshot(self._store(), self.manifest, self.path)

    def object_ids(self, names: Sequence[str]) -> Sequence[ObjectId]:
        """Return the ids of what tensors hold."""
        return [self._objects[name] for name in names]

    @cached_property
    def _objects(self) -> Mapping[str, ObjectId]:
        return {row.spec.name: row.object for row in self.manifest.tensors}

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie; raise as `Snapshot.read` does."""
        return self.snapshot.locate(name)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor, a whole one held against its id."""
        return self.snapshot.read(name, start, stop)

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces, decoded over the threads and held against its id."""
        return self.snapshot.stream(names)

    def pieces(self) -> Iterator[Buffer]:
        """Yield the file itself, in order, bit for bit what was added."""
        return file_pieces(self._store(), self.manifest)

    def metadata(self) -> Mapping[str, str] | None:
        """Return what the file says beside its tensors, None where the store does not have its skeleton."""
        return stored_metadata(self._store, self.manifest)

    def graph(self) -> Graph | None:
        """Return the computation graph that the file describes, None where the store does not have its skeleton."""
        if self.format == OPAQUE:
            return None
        try:
            store = self._store()
            file = stored_file(store, self.manifest, load_skeleton(store, self.manifest), only_parts=True)
        except (NotFoundError, ConflictError, FormatError, IntegrityError):
            return None
        return graph_of(self.format, file)

    def close(self) -> None:
        """Do nothing: the store is its owner's to close."""


def stored_metadata(store: Callable[[], ObjectStore], manifest: Manifest) -> Mapping[str, str] | None:
    """Return what a stored file says beside its tensors, None where that is not at hand or no longer readable."""
    if manifest.format == OPAQUE:
        return {}
    try:
        opened = store()
        file = stored_file(opened, manifest, load_skeleton(opened, manifest), only_parts=True)
        return metadata_of(manifest.format, file)
    except (NotFoundError, ConflictError, FormatError, IntegrityError):
        return None
