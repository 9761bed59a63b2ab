"""A file that is put together from skeleton and tensors, as far as these are at hand."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.graphs import Graph
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Format, GraphFormat, Layout, RandomAccess, TensorSpan
from lamella.formats.runs import Runs
from lamella.formats.skeleton import Skeleton, build_skeleton

ReadTensor = Callable[[int, int, int], Buffer]
"""Returns the bytes of the tensor of that number from the second number to the third."""


class HollowFile:
    """The file that `skeleton` and tensors of these lengths make.

    What a tensor holds is read by `read_tensor`, for the numbers in `at_hand`; reading of others raises FormatError
    (file-truncated).
    """

    def __init__(
        self,
        skeleton: Skeleton,
        tensor_nbytes: Sequence[int],
        read_tensor: ReadTensor | None = None,
        at_hand: Callable[[int], bool] = lambda _number: True,
    ) -> None:
        self._nbytes = skeleton.file_nbytes(tensor_nbytes)
        self._read_tensor = read_tensor
        self._at_hand = at_hand
        self.tensor_offsets: list[int] = []
        self._starts: list[int] = []
        self._pieces: list[memoryview | int] = []
        for offset, part in skeleton.pieces(tensor_nbytes):
            if isinstance(part, int):
                self.tensor_offsets.append(offset)
            if not isinstance(part, int) or tensor_nbytes[part]:
                self._starts.append(offset)
                self._pieces.append(part)

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) for those that are not at hand."""
        if not 0 <= offset <= offset + nbytes <= self._nbytes:
            raise _beyond(offset, nbytes)
        stop = offset + nbytes
        number = max(0, bisect_right(self._starts, offset) - 1)
        found: list[Buffer] = []
        while offset < stop:
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self._nbytes
            until = min(stop, end)
            start = self._starts[number]
            found.append(self._read(self._pieces[number], offset - start, until - start))
            offset, number = until, number + 1
        return found[0] if len(found) == 1 else b"".join(found)

    def read_ahead(self, offset: int, nbytes: int) -> Buffer:
        """Return the bytes from `offset` on that are at hand, `nbytes` at most."""
        stop = min(offset + nbytes, self._nbytes)
        number = bisect_right(self._starts, offset) - 1
        until = offset
        while until < stop and self._has(self._pieces[number]):
            number += 1
            until = min(stop, self._starts[number]) if number < len(self._starts) else stop
        return self.read_at(offset, until - offset)

    def _has(self, piece: memoryview | int) -> bool:
        return not isinstance(piece, int) or (self._read_tensor is not None and self._at_hand(piece))

    def _read(self, piece: memoryview | int, start: int, stop: int) -> Buffer:
        if not isinstance(piece, int):
            return piece[start:stop]
        if self._read_tensor is None or not self._at_hand(piece):
            raise _beyond(start, stop - start)
        return self._read_tensor(piece, start, stop)


def _beyond(offset: int, nbytes: int) -> FormatError:
    return FormatError(f"the {nbytes} bytes at byte {offset} are not at hand", kind="file-truncated")


def layout_of(container: str, file: HollowFile) -> Layout | None:
    """Return what the reader of the format `container` finds in a file; None where this version has no such reader.

    Raises FormatError where it finds that the file is no such file.
    """
    reader = _reader(container)
    return None if reader is None else reader.layout(file)


def metadata_of(container: str, file: RandomAccess) -> Mapping[str, str]:
    """Return what a file of the format `container` says beside its tensors, nothing where no reader here knows.

    Raises FormatError where it is no such file.
    """
    reader = _reader(container)
    return {} if reader is None else reader.metadata(file)


def graph_of(container: str, file: RandomAccess) -> Graph | None:
    """Return the computation graph that a file of the format `container` describes.

    None where it describes none, or no reader here knows. Raises FormatError where it is no such file.
    """
    reader = _reader(container)
    return reader.graph(file) if isinstance(reader, GraphFormat) else None


def _reader(container: str) -> Format | None:
    from lamella.formats import builtin

    return next((one for one in builtin.FORMATS if one.name == container), None)


class WatchedFile:
    """A file that notes in `reads` what is read of it."""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self.reads = Runs()

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return self._file.nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, as the file does."""
        data = self._file.read_at(offset, nbytes)
        self.reads.note(offset, offset + nbytes)
        return data


def reads_again(file: RandomAccess, layout: Layout) -> bool:
    """Say whether the reader of a file finds the same in it where of its tensors only the lengths are at hand.

    So it is read before it is restored: one of which this is not so could never be.
    """
    spans = layout.tensors

    def read_part(number: int, start: int, stop: int) -> Buffer:
        return file.read_at(spans[number].offset + start, stop - start)

    sizes = [span.spec.nbytes for span in spans]
    hollow = HollowFile(Skeleton.parse(build_skeleton(file, layout)), sizes, read_part, lambda n: spans[n].part)
    return agrees(layout.format, hollow, spans, [view.spec for view in layout.views])


def agrees(container: str, file: HollowFile, spans: Sequence[TensorSpan], views: Sequence[TensorSpec]) -> bool:
    """Say whether a file of the format `container` has exactly these tensors, where they are put.

    Parts that only divide the skeleton are passed over. Of a format that this version cannot read, nothing is compared.
    """
    try:
        found = layout_of(container, file)
    except FormatError:
        return False
    if found is None:
        return True
    here = {span for span in spans if span.part}
    return (
        tuple(span for span in spans if not span.part) == tuple(span for span in found.tensors if not span.part)
        and all(span in here for span in found.tensors if span.part)
        and list(views) == [view.spec for view in found.views]
    )
