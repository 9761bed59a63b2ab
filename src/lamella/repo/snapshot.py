"""A model at a revision: a TensorSource, and a mapping of name to array that reads only what is asked for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError, NotFoundError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.hollow import HollowFile
from lamella.formats.strided import contiguous, read_view
from lamella.repo.arrays import to_array
from lamella.repo.checkout import load_skeleton, stored_views
from lamella.repo.manifest import OPAQUE, Manifest, Row
from lamella.repo.object_file import ObjectFile
from lamella.store.chain import Chain
from lamella.store.objects import ObjectStore
from lamella.store.reader import stream_objects

if TYPE_CHECKING:
    import numpy


class Snapshot(Mapping[str, "numpy.ndarray[Any, Any]"]):
    """The tensors of one model file at one revision.

    As a mapping it gives NumPy arrays, each read when it is looked up and verified against its id; `read` gives raw
    bytes of any range. An opaque file has no tensors. Reading raises ConflictError (manifest-mixed) where a merge mixed
    two structures, which is not looked into where `rows_alone` are asked for, one by one. Safe for several threads, and
    usable as long as the repository it came from is open.
    """

    def __init__(self, store: ObjectStore, manifest: Manifest, label: str, *, rows_alone: bool = False) -> None:
        self._store = store
        self.manifest = manifest
        self.label = label
        self._checked = rows_alone
        rows = () if manifest.format == OPAQUE else manifest.tensors
        self._rows: dict[str, Row] = {row.spec.name: row for row in rows}
        self._views = {row.spec.name for row in manifest.views}

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in file order."""
        return [row.spec for row in self._rows.values()]

    @property
    def model_id(self) -> str:
        """The id that the same weights have in any container."""
        return self.manifest.model_id()

    def _row(self, name: str) -> Row:
        try:
            return self._rows[name]
        except KeyError:
            raise NotFoundError(
                f"{self.label} has no tensor {name!r}",
                kind="tensor-unknown",
                hint="`lamella show REV:PATH` lists its tensors",
            ) from None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor, decoding only the chunks they touch."""
        row = self._row(name)
        if name in self._views and not self._store.contains(row.object):
            return self._read_view(row, start, stop)
        return self._open(row).read(start, stop)

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return a file, decoded as it is read, and where in it the elements of a tensor lie."""
        row = self._row(name)
        if name in self._views and not self._store.contains(row.object):
            file, views = self._gatherable
            return file, views[name]
        return ObjectFile(self._open(row)), contiguous(row.spec, 0)

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named, in that order, its bytes in pieces, decoded over the threads.

        Each is gone through to its end before the next is asked for. Raises IntegrityError at the end of a tensor that
        is not what was stored.
        """
        self._check_once()
        rows = [self._row(name) for name in names]
        apart = [row.spec.name in self._views and not self._store.contains(row.object) for row in rows]
        stored = [row.object for row, gathered in zip(rows, apart, strict=True) if not gathered]
        tensors = itertools.groupby(stream_objects(self._store, stored), key=lambda piece: piece.number)
        for row, gathered in zip(rows, apart, strict=True):
            if gathered:
                yield self._gathered(row)
            else:
                yield self._whole(row, (piece.data for piece in next(tensors)[1]))

    def _whole(self, row: Row, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        nbytes = 0
        for piece in pieces:
            nbytes += len(piece)
            yield piece
        if nbytes != row.spec.nbytes:
            raise self._other_length(row)

    def __getitem__(self, name: str) -> numpy.ndarray[Any, Any]:
        return to_array(self._rows[name].spec, self.read(name))

    def _read_view(self, row: Row, start: int, stop: int | None) -> bytearray:
        """Gather a tensor that has no bytes of its own; a whole one is held against its id."""
        if start < 0:
            raise UsageError(f"cannot read from byte {start}", kind="bad-argument")
        return bytearray().join(self._gathered(row, start, stop))

    @cached_property
    def _gatherable(self) -> tuple[HollowFile, dict[str, TensorView]]:
        return stored_views(self._store, self.manifest)

    def _gathered(self, row: Row, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield bytes of a view; raise behind the last of a whole one that is not what its id says."""
        file, views = self._gatherable
        hasher, nbytes = blake3(), 0
        for piece in read_view(file, views[row.spec.name], start, stop):
            hasher.update(piece)
            nbytes += len(piece)
            yield piece
        if nbytes == row.spec.nbytes and hasher.digest() != row.object:
            raise IntegrityError(
                f"view {row.spec.name!r} of {self.label} does not hold what its id says",
                kind="object-wrong-id",
                hint="the manifest was altered; take it from another revision",
            )

    def _check_once(self) -> None:
        """Refuse a manifest in which a merge mixed two structures; what cannot be read of it is no reason to."""
        if not self._checked:
            with contextlib.suppress(NotFoundError, IntegrityError):
                load_skeleton(self._store, self.manifest)
            self._checked = True

    def _open(self, row: Row) -> Chain:
        self._check_once()
        chain = self._store.open(row.object)
        if chain.head.nbytes != row.spec.nbytes:
            raise self._other_length(row)
        return chain

    def _other_length(self, row: Row) -> IntegrityError:
        return IntegrityError(
            f"tensor {row.spec.name!r} of {self.label} and its object differ in length",
            kind="object-damaged",
            hint="the manifest was altered; take it from another revision",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Snapshot {self.label}: {len(self)} tensors, {self.manifest.nbytes} bytes>"
