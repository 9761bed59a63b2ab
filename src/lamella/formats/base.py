"""The Format protocol: a file is a skeleton and tensors, and a reader says only where the tensors lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec


class RandomAccess(Protocol):
    """A file that is read by ranges, from any thread. It does not change while it is read."""

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        ...

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) where the file ends before them."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """A tensor and the offset of its first byte in the file; it takes `spec.nbytes` bytes from there."""

    spec: TensorSpec
    offset: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A file as spans. `tensors` are in file order, inside the file, and do not overlap; the rest is the skeleton."""

    format: str
    nbytes: int
    tensors: tuple[TensorSpan, ...]


class Format(Protocol):
    """A container that can be read as spans.

    Whatever the reader does not fully understand stays in the skeleton, so every file that `layout` accepts is
    restored bit for bit. Readers run nothing that a file contains, check every length before they believe it, and take
    memory of at most 64 MB and twice the header.
    """

    name: str
    """Written in manifests; never reused."""

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Say from the first 4,096 bytes and the length whether the file claims to be of this format."""
        ...

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError, and nothing else, where the file is not what it claims."""
        ...
