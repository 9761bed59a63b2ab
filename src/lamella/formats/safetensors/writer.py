"""Writing safetensors: the header that `safetensors_header` makes, then the tensors, back to back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import METADATA, build_header
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.formats.writer import Contents, Pieces, encoded


class SafetensorsWriter:
    """Files as the reference library writes them, the tensors with the widest elements first, then by name."""

    name = "safetensors"
    suffixes: tuple[str, ...] = (".safetensors",)
    formats: tuple[str, ...] = ("safetensors",)

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors in an order in which each is aligned, the same whatever order they came in."""
        return sorted(specs, key=lambda spec: (-spec.dtype.item_nbytes, spec.name))

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the file; raise UsageError for what no reader of the format could load."""
        for spec in specs:
            if encoded(self.name, spec.name) == METADATA.encode():
                hint = "--rename changes it"
                raise UsageError(
                    f"no tensor of a safetensors file is called {METADATA}", kind="bad-argument", hint=hint
                )
        header = build_header(specs, dict(metadata) or None)
        try:
            SafetensorsFormat().layout(_Header(header, len(header) + sum(spec.nbytes for spec in specs)))
        except FormatError as error:
            message = f"nobody could load the file: {error.message}"
            raise UsageError(message, kind="bad-argument", hint="--rename and --select change what goes in") from error
        yield 0, header
        offset = len(header)
        for pieces in contents:
            for piece in pieces:
                yield offset, piece
                offset += len(piece)


@dataclass(frozen=True, slots=True)
class _Header:
    """The file of a header, to be read back before the tensors are there."""

    header: bytes
    nbytes: int

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        return memoryview(self.header)[offset : offset + nbytes]
