"""Folders in memory, for formats that are described by a file beside them, and what a layout finds in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from lamella.formats.base import Beside, Layout
from lamella.formats.file import BytesFile
from lamella.formats.strided import read_view

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"


class MemoryNeighbours:
    """The files of a folder, by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def names(self) -> list[str]:
        return sorted(self._files)

    def open(self, name: str) -> BytesFile | None:
        return BytesFile(self._files[name]) if name in self._files else None


def beside(name: str, files: Mapping[str, bytes]) -> Beside:
    return Beside(name, MemoryNeighbours(files))


def folder_of(path: Path) -> dict[str, bytes]:
    """Return the files of the folder of `path`, by name."""
    return {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}


def contents(data: bytes, layout: Layout) -> dict[str, list[object]]:
    """Return dtype, shape and digest of every tensor of the model, by name, as the golden files list them."""
    spans = [(span.spec, data[span.offset :][: span.spec.nbytes]) for span in layout.tensors if not span.part]
    views = [(view.spec, b"".join(read_view(BytesFile(data), view))) for view in layout.views]
    return {spec.name: [spec.dtype.name, list(spec.shape), blake3(held).hexdigest()] for spec, held in [*spans, *views]}
