"""The protocol of one model file to look into, at a revision or on disk: its tensors, and what it says itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.graphs import Graph
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorView
from lamella.repo.manifest import Manifest


class TensorHolder(Protocol):
    """Tensors that lie together. `path` tells them from others of the same names."""

    @property
    def path(self) -> str:
        """Where they are, relative to what they were looked for in."""
        ...

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The tensors by name, in file order, views behind the others."""
        ...

    def object_ids(self, names: Sequence[str]) -> Sequence[ObjectId]:
        """Return the ids of what tensors hold; of what is on disk, no other tensor is hashed."""
        ...

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie, for `formats.strided.read_view`."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor."""
        ...

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces; each is gone through before the next is asked for."""
        ...


class ModelFile(TensorHolder, Protocol):
    """A model file, wherever it is; an opaque one has no tensors."""

    @property
    def format(self) -> str:
        """The container."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What stands for the file in Git; a file on disk is hashed for it, once."""
        ...

    def pieces(self) -> Iterator[Buffer]:
        """Yield the file itself, in order."""
        ...

    def metadata(self) -> Mapping[str, str] | None:
        """Return what the file says beside its tensors, None where that is not at hand."""
        ...

    def graph(self) -> Graph | None:
        """Return the computation graph that the file describes, None where it describes none or that is not at hand.

        Raises FormatError where it describes one that is larger than is read.
        """
        ...

    def close(self) -> None:
        """Close what was opened for reading."""
        ...
