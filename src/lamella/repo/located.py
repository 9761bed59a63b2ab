"""Tensors that lie whole in no file: what is read of them is put together from where each says that it lies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from lamella.core.buffers import Buffer
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.strided import read_view
from lamella.repo.disk_model_file import hash_pieces
from lamella.repo.model_file import TensorHolder


class LocatedTensors(ABC):
    """Tensors that are read through `locate`. For `TensorHolder`."""

    def __init__(self, path: str, specs: Mapping[str, TensorSpec]) -> None:
        self.path = path
        self.specs = specs
        self.progress: Progress = SILENT

    @abstractmethod
    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie."""

    def find(self, name: str) -> tuple[TensorHolder, str]:
        """Return what has a tensor, and its name there: this, where no file has it whole."""
        return self, name

    def object_ids(self, names: Sequence[str]) -> Sequence[ObjectId]:
        """Return the ids of what tensors hold, for which those that lie in no file are read."""
        self.progress.start("hashing", sum(self.specs[name].nbytes for name in names))
        found = [self._object_id(name) for name in names]
        self.progress.finish()
        return found

    def _object_id(self, name: str) -> ObjectId:
        holder, inner = self.find(name)
        if holder is not self:
            return holder.object_ids([inner])[0]
        return hash_pieces(_advancing(read_view(*self.locate(name)), self.progress))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor."""
        return bytearray().join(read_view(*self.locate(name), start, stop))

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces."""
        for name in names:
            yield read_view(*self.locate(name))


def _advancing(pieces: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        progress.advance(len(piece))
