"""A model in a plain file: its tensors, read from where they lie when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.limits import IO_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Beside, TensorSpan, TensorView
from lamella.formats.builtin import FORMATS
from lamella.formats.file import DescriptorFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.sniff import read_layout
from lamella.formats.strided import read_view
from lamella.repo.arrays import to_array
from lamella.repo.checkin import identify_file
from lamella.repo.manifest import OPAQUE

if TYPE_CHECKING:
    import numpy


class FileModel(Mapping[str, "numpy.ndarray[Any, Any]"]):
    """The tensors of a file of any format. Close it, or use it in a `with` block.

    As a mapping it gives NumPy arrays, each read when it is looked up. Nothing vouches for the bytes: they are what the
    file holds at that moment. A file of no known format has no tensors, and `warning` says why where it claims one.
    """

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._closing = ExitStack()
        try:
            self.file, self._beside = self._opened(path)
            self.layout, self.warning = read_layout(self.file, self._beside)
        except BaseException:
            self.close()
            raise
        self.format = self.layout.format
        self._tensors: dict[str, TensorSpan | TensorView] = {}
        if self.format != OPAQUE:
            self._tensors = {span.spec.name: span for span in self.layout.tensors if not span.part}
            self._tensors |= {view.spec.name: view for view in self.layout.views}

    def _opened(self, path: Path) -> tuple[DescriptorFile, Beside]:
        try:
            file = self._closing.enter_context(path.open("rb"))
        except FileNotFoundError as exc:
            raise NotFoundError(f"there is no file {path}", kind="path-unknown", hint="check the spelling") from exc
        except OSError as exc:
            raise fsio.backend_error(exc, path, reading=True) from exc
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._closing.callback(os.close, folder)
        neighbours = self._closing.enter_context(FolderNeighbours(folder, path.parent))
        return DescriptorFile(file.fileno(), os.fstat(file.fileno()).st_size, path), Beside(path.name, neighbours)

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def __enter__(self) -> FileModel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in file order."""
        return [one.spec for one in self._tensors.values()]

    @cached_property
    def model_id(self) -> str:
        """The id that the same weights have in any container; the whole file is read for it."""
        return identify_file(self.file, DEFAULT.threads, beside=self._beside).model_id()

    def metadata(self) -> Mapping[str, str]:
        """Return what the file says beside its tensors, long values cut."""
        reader = next((one for one in FORMATS if one.name == self.format), None)
        return {} if reader is None else reader.metadata(self.file)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor."""
        one = self._tensor(name)
        stop = one.spec.nbytes if stop is None else min(stop, one.spec.nbytes)
        if start < 0:
            raise UsageError(f"cannot read from byte {start}", kind="bad-argument")
        made = bytearray(max(0, stop - start))
        at = 0
        pieces = self._span(one, start, stop) if isinstance(one, TensorSpan) else self._cut(one, start, stop)
        for piece in pieces:
            made[at : at + len(piece)] = piece
            at += len(piece)
        return made

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces."""
        for name in names:
            one = self._tensor(name)
            yield self._span(one, 0, one.spec.nbytes) if isinstance(one, TensorSpan) else read_view(self.file, one)

    def file_pieces(self) -> Iterator[Buffer]:
        """Yield the file itself, in order."""
        for start in range(0, self.file.nbytes, IO_NBYTES):
            yield self.file.read_at(start, min(IO_NBYTES, self.file.nbytes - start))

    def _tensor(self, name: str) -> TensorSpan | TensorView:
        if name not in self._tensors:
            raise NotFoundError(f"{self.label} has no tensor {name!r}", kind="tensor-unknown")
        return self._tensors[name]

    def _span(self, span: TensorSpan, start: int, stop: int) -> Iterator[Buffer]:
        for at in range(start, stop, IO_NBYTES):
            yield self.file.read_at(span.offset + at, min(IO_NBYTES, stop - at))

    def _cut(self, view: TensorView, start: int, stop: int) -> Iterator[Buffer]:
        at = 0
        for piece in read_view(self.file, view):
            yield piece[max(0, start - at) : max(0, stop - at)]
            at += len(piece)

    def __getitem__(self, name: str) -> numpy.ndarray[Any, Any]:
        return to_array(self._tensors[name].spec, self.read(name))

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<FileModel {self.label}: {len(self)} tensors>"
