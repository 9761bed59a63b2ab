"""A file of which only the skeleton is at hand: enough for a format to say which tensors the file would have."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.tensors import TensorSpec
from lamella.formats.base import TensorSpan
from lamella.formats.builtin import FORMATS, OPAQUE
from lamella.formats.skeleton import Skeleton


class HollowFile:
    """The file that `skeleton` and tensors of these lengths make; reading what a tensor holds raises FormatError."""

    def __init__(self, skeleton: Skeleton, tensor_nbytes: Sequence[int]) -> None:
        self._nbytes = skeleton.file_nbytes(tensor_nbytes)
        self.tensor_offsets: list[int] = []
        self._literals: list[tuple[int, memoryview]] = []
        for offset, part in skeleton.pieces(tensor_nbytes):
            if isinstance(part, int):
                self.tensor_offsets.append(offset)
            else:
                self._literals.append((offset, part))

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes that belong to no tensor; raise FormatError (file-truncated) for others."""
        data = b""
        for start, literal in self._literals:
            if start <= offset + len(data) < start + len(literal):
                data += literal[offset + len(data) - start : offset + nbytes - start]
        if len(data) != nbytes:
            raise FormatError(f"the {nbytes} bytes at byte {offset} belong to tensors", kind="file-truncated")
        return data


def agrees(container: str, skeleton: Skeleton, specs: Sequence[TensorSpec]) -> bool:
    """Say whether a file of the format `container`, put together so, has exactly these tensors where they are put.

    Of a format that this version cannot read, only the number of tensors is compared.
    """
    reader = next((one for one in FORMATS if one.name == container), None)
    try:
        file = HollowFile(skeleton, [spec.nbytes for spec in specs])
        if reader is None:
            return container != OPAQUE.name or skeleton == Skeleton.plain(len(specs))
        spans = (TensorSpan(spec, offset) for spec, offset in zip(specs, file.tensor_offsets, strict=True))
        return reader.layout(file).tensors == tuple(spans)
    except FormatError:
        return False
