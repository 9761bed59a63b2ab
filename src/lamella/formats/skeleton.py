"""The skeleton: a file less its tensors, and where they go; `docs/spec/skeleton.md` specifies its bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_SKELETON_NBYTES, MAX_TENSORS
from lamella.formats.base import Layout, RandomAccess

MAGIC = b"LSK\x01"
"""Three letters and the version."""

_MAX_VARINT_NBYTES = 4
"""Enough for MAX_SKELETON_NBYTES, the largest number a skeleton can hold."""

MAX_FILE_NBYTES = (1 << 63) - 1
"""The largest file offset there is."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A parsed skeleton: literal bytes in `tensor_count + 1` runs, one before each tensor and one behind the last."""

    _literal: memoryview
    _ends: Sequence[int]

    @classmethod
    def parse(cls, data: Buffer) -> Skeleton:
        """Return the skeleton that `data` encodes, which it keeps a view of.

        Raises FormatError (skeleton-malformed) for bytes that `build_skeleton` cannot have made.
        """
        view = memoryview(data).toreadonly().cast("B")
        if len(view) > MAX_SKELETON_NBYTES or view[: len(MAGIC)] != MAGIC:
            raise _malformed("it does not begin as a skeleton of version 1 does, or is too long")
        run_count, at = _read_varint(view, len(MAGIC))
        if not 1 <= run_count <= min(MAX_TENSORS + 1, len(view) - at):
            raise _malformed(f"it cannot hold {run_count} runs")
        ends = array("Q", bytes(8 * run_count))
        end = 0
        for run in range(run_count):
            nbytes, at = _read_varint(view, at)
            end += nbytes
            ends[run] = end
        if end != len(view) - at:
            raise _malformed(f"its runs take {end} bytes and {len(view) - at} are there")
        return cls(view[at:], ends)

    @classmethod
    def plain(cls, tensor_count: int) -> Skeleton:
        """Return the skeleton of a file that is nothing but its tensors."""
        return cls(memoryview(b""), array("Q", bytes(8 * (tensor_count + 1))))

    @property
    def tensor_count(self) -> int:
        """The number of tensors that go into the file."""
        return len(self._ends) - 1

    def literals(self, run: int) -> memoryview:
        """Return the bytes before tensor `run`, or behind the last where `run` is `tensor_count`."""
        return self._literal[self._ends[run - 1] if run else 0 : self._ends[run]]

    def file_nbytes(self, tensor_nbytes: Sequence[int]) -> int:
        """Return the length of the file whose tensors, in file order, take `tensor_nbytes`.

        Raises FormatError (skeleton-malformed) where they are not as many as the skeleton wants, or too long.
        """
        if len(tensor_nbytes) != self.tensor_count:
            raise _malformed(f"it wants {self.tensor_count} tensors and {len(tensor_nbytes)} are given")
        nbytes = len(self._literal) + sum(tensor_nbytes)
        if nbytes > MAX_FILE_NBYTES:
            raise _malformed("its tensors make a file longer than any can be")
        return nbytes

    def pieces(self, tensor_nbytes: Sequence[int]) -> Iterator[tuple[int, memoryview | int]]:
        """Yield what the file consists of, in file order: an offset with literal bytes, or with a tensor's index.

        Every tensor is yielded once, empty ones too; empty runs are not. Raises FormatError as `file_nbytes` does,
        before the first piece.
        """
        self.file_nbytes(tensor_nbytes)
        offset = 0
        for run in range(self.tensor_count + 1):
            literal = self.literals(run)
            if literal:
                yield offset, literal
                offset += len(literal)
            if run < self.tensor_count:
                yield offset, run
                offset += tensor_nbytes[run]


def build_skeleton(file: RandomAccess, layout: Layout) -> bytes:
    """Return the skeleton of `file`, encoded.

    Raises FormatError: skeleton-too-large; span-overlap for a layout that breaks its own rules; file-truncated.
    """
    skeleton = BytesIO()
    skeleton.write(_table(layout))
    for offset, nbytes in _runs(layout):
        for start in range(offset, offset + nbytes, IO_NBYTES):
            skeleton.write(file.read_at(start, min(IO_NBYTES, offset + nbytes - start)))
    return skeleton.getvalue()


def check_size(layout: Layout) -> None:
    """Raise FormatError (skeleton-too-large) where `build_skeleton` would, without reading the file."""
    _table(layout)


def _table(layout: Layout) -> bytes:
    """Return everything that stands before the literal bytes."""
    table = bytearray(MAGIC + _varint(len(layout.tensors) + 1))
    literal_nbytes = 0
    for _, nbytes in _runs(layout):
        table += _varint(nbytes)
        literal_nbytes += nbytes
    if len(table) + literal_nbytes > MAX_SKELETON_NBYTES:
        raise FormatError(
            f"{literal_nbytes} bytes of the file belong to no tensor",
            kind="skeleton-too-large",
            hint="the file is kept as plain bytes instead",
        )
    return bytes(table)


def _runs(layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield (offset, nbytes) of the run before each tensor and of the one behind the last."""
    end = 0
    for span in layout.tensors:
        yield _run(end, span.offset)
        end = span.offset + span.spec.nbytes
    yield _run(end, layout.nbytes)


def _run(start: int, stop: int) -> tuple[int, int]:
    if stop < start:
        raise FormatError(f"layout is wrong: tensors overlap at byte {stop}, or leave the file", kind="span-overlap")
    return start, stop - start


def _varint(number: int) -> bytes:
    """Encode seven bits a byte, least significant first, the high bit set on all bytes but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at` and the position behind it; only the shortest encoding of a number is one."""
    number = 0
    for index, byte in enumerate(view[at : at + _MAX_VARINT_NBYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if index and not byte:
                break
            return number, at + index + 1
    raise _malformed(f"there is no number at byte {at}")


def _malformed(reason: str) -> FormatError:
    return FormatError(
        f"skeleton is malformed: {reason}",
        kind="skeleton-malformed",
        hint="restore the object from another copy of the store",
    )
