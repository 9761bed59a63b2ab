"""Flax's files: a tree of maps in MessagePack, and in it the tensors, as extensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_METADATA_NBYTES, MIB
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange, row_major
from lamella.formats.base import Box, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.file import BytesFile
from lamella.formats.flax.msgpack_walk import Item, Kind, malformed
from lamella.formats.flax.tree import COMPLEX, DTYPES, Array, Tree
from lamella.formats.names import TensorNames
from lamella.formats.safetensors.json_header import shown

_MAX_VALUES = 4096
_MAX_VALUES_NBYTES = 4 * MIB
"""Values that are shown of one file, and what they and their names take together."""


class FlaxMsgpackFormat:
    """Files that `flax.serialization.to_bytes` makes of a tree with at least one array.

    Names are the keys joined with points; the second of that name is `name#2`. Long arrays, which Flax cuts into
    chunks, are views.
    """

    name = "flax-msgpack"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with maps in which the first array comes early."""
        if not head or not (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
            return False
        tree = Tree(BytesFile(head), nbytes)
        with suppress(FormatError):  # the tree goes on behind the head
            any(leaf.array for leaf in tree.leaves())
        return tree.has_array

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is not such a tree."""
        tree = Tree(file, file.nbytes)
        layout = arrange(self.name, file.nbytes, _tensors(tree))
        return replace(layout, apart=all(map(tree.has_passed_over, layout.tensors)))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the numbers and texts of the tree, by name."""
        return dict(_values(Tree(file, file.nbytes)))


def _tensors(tree: Tree) -> Iterator[TensorSpan | TensorView]:
    """Yield the arrays of known dtypes."""
    names = TensorNames()
    for leaf in tree.leaves():
        if leaf.array is not None and leaf.array.dtype in DTYPES:
            yield _tensor(names.take(leaf.name, len(leaf.array.shape)), leaf.array)


def _values(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the names of numbers and texts, and what they are, cut to what a person reads."""
    count = nbytes = 0
    for leaf in tree.leaves():
        value = _value(tree, leaf.item) if count < _MAX_VALUES and nbytes < _MAX_VALUES_NBYTES else None
        if value is not None:
            count += 1
            nbytes += len(leaf.name) + len(value)
            yield leaf.name, value


def _value(tree: Tree, item: Item) -> str | None:
    """Return a number or text as text; None for what is neither."""
    walker = tree.walker
    if item.kind is Kind.PLAIN:
        return str(item.value)
    if item.kind is Kind.TEXT:
        text = bytes(walker.take(min(item.length, MAX_METADATA_NBYTES))).decode(errors="replace")
        return text if item.length <= MAX_METADATA_NBYTES else text + "..."
    if item.kind is Kind.EXTENSION and item.code == COMPLEX:
        walker.item()  # an array of two
        return f"{walker.item().value} + {walker.item().value}i"
    return None


def _tensor(name: str, array: Array) -> TensorSpan | TensorView:
    spec = TensorSpec(name, DTYPES[array.dtype], array.shape)
    runs = [run for run in array.runs if run[1]] or [array.runs[0]]
    if len(runs) == 1:
        return TensorSpan(spec, runs[0][0])
    boxes: list[Box] = []
    item_nbytes = spec.dtype.bits // 8
    start = 0
    for offset, nbytes in runs:
        if nbytes % item_nbytes:
            raise malformed(f"a chunk of tensor {shown(name)} ends inside an element")
        boxes += _boxes(spec, start, start + nbytes // item_nbytes, offset)
        start += nbytes // item_nbytes
    return TensorView(spec, tuple(boxes))


def _boxes(spec: TensorSpec, start: int, stop: int, offset: int) -> Iterator[Box]:
    """Yield what the elements from `start` to `stop`, in row-major order, are of a tensor; they lie at `offset`.

    They are whole rows, and before and behind these, whole rows of one axis less, and so on.
    """
    rows = [nbytes // (spec.dtype.bits // 8) for nbytes in row_major(spec)]
    at = start
    while at < stop:
        axis = next(axis for axis, row in enumerate(rows) if not at % row and at + row <= stop)
        row = rows[axis]
        index = tuple(at // one % n for one, n in zip(rows, spec.shape, strict=True))
        count = min(spec.shape[axis] - index[axis], (stop - at) // row)
        shape = (*(1 for _ in rows[:axis]), count, *spec.shape[axis + 1 :])
        yield Box(
            index, shape, offset + (at - start) * (spec.dtype.bits // 8), row_major(TensorSpec("", spec.dtype, shape))
        )
        at += count * row
