"""What a format finds in a file, as values that can be compared."""

from __future__ import annotations

from lamella.formats.base import Format
from lamella.formats.file import BytesFile
from lamella.formats.strided import read_view


def values(reader: Format, data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return dtype, shape and row-major little-endian bytes of every tensor that `reader` finds in a file."""
    layout = reader.layout(BytesFile(data))
    spans = [(span.spec, data[span.offset :][: span.spec.nbytes]) for span in layout.tensors if not span.part]
    views = [(view.spec, b"".join(read_view(BytesFile(data), view))) for view in layout.views]
    return {spec.name: (spec.dtype.name, spec.shape, content) for spec, content in [*spans, *views]}
