"""The format of files that no other format understands: content-defined chunks, back to back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lamella.codec.kernels import find_cut
from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_TENSORS, OPAQUE_AVERAGE_NBYTES, OPAQUE_MAX_NBYTES, OPAQUE_MIN_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Layout, RandomAccess, TensorSpan

_WINDOW_CHUNKS = 4
"""Longest chunks in one read: the tail that is read again, at most one of them, stays a small part."""


@dataclass(frozen=True, slots=True)
class OpaqueFormat:
    """Any file as a row of parts named `bytes`, of dtype u8 and shape (nbytes,).

    Chunks end where the bytes before the end say so, so that an insertion moves the chunks behind it without changing
    them. An empty file has none, and no file has a skeleton.
    """

    minimum_nbytes: int = OPAQUE_MIN_NBYTES
    average_nbytes: int = OPAQUE_AVERAGE_NBYTES
    maximum_nbytes: int = OPAQUE_MAX_NBYTES

    name = "opaque"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim every file."""
        return True

    def layout(self, file: RandomAccess) -> Layout:
        """Return the chunks; read the file once, in windows of bounded size."""
        return Layout(self.name, file.nbytes, tuple(self.chunks(file, 0, file.nbytes)))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:  # noqa: ARG002
        """Return nothing: nobody knows what the file says."""
        return {}

    def chunks(self, file: RandomAccess, start: int, stop: int) -> Iterator[TensorSpan]:
        """Yield the chunks of a part of a file; raise FormatError (too-many-tensors) for a file too long to list."""
        u8 = dtype_named("u8")
        offset = start
        for number, nbytes in enumerate(self._chunks(file, start, stop)):
            if number == MAX_TENSORS:
                raise FormatError(
                    f"file has more than {MAX_TENSORS} chunks",
                    kind="too-many-tensors",
                    hint="split the file, or do not track it",
                )
            yield TensorSpan(TensorSpec("bytes", u8, (nbytes,)), offset, part=True)
            offset += nbytes

    def _chunks(self, file: RandomAccess, start: int, stop: int) -> Iterator[int]:
        window = memoryview(b"")
        rest = stop - start
        while rest:
            if len(window) < min(rest, self.maximum_nbytes):
                wanted = min(rest, _WINDOW_CHUNKS * self.maximum_nbytes)
                window = memoryview(b"")  # lets go of the old window before the new one is read
                window = memoryview(file.read_at(stop - rest, wanted))
            nbytes = find_cut(window, self.minimum_nbytes, self.average_nbytes, self.maximum_nbytes)
            yield nbytes
            window = window[nbytes:]
            rest -= nbytes
