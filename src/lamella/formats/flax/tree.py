"""The tree in one of Flax's files: maps of maps, and what lies at its ends, long arrays put together from chunks."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from lamella.core.dtypes import DType, dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES, MIB
from lamella.formats.base import RandomAccess, TensorSpan
from lamella.formats.flax.msgpack_walk import Item, Kind, Walker, malformed

_ARRAY, COMPLEX, _SCALAR = 1, 2, 3
"""The extensions that Flax defines."""

_CHUNKED = "__msgpack_chunked_array__"
"""The first key of a map that stands for an array too long for one extension."""

_MAX_DEPTH = 64
"""Trees of modules are some ten levels deep."""

_MAX_DTYPE_NBYTES = 64

_MEMORY_NBYTES = 48 * MIB
_TENSOR_NBYTES = 500
_BOX_NBYTES, _AXIS_NBYTES = 300, 120
"""What the tensors read from a file may take, beside as much as was read; what one takes beside its name; and what a
box takes, of which a chunk has two for each axis: it may begin and end inside a row."""

DTYPES: dict[str, DType] = {
    "bool": dtype_named("bool"),
    **{f"int{bits}": dtype_named(f"i{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": dtype_named(f"u{bits}") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": dtype_named(f"f{bits}") for bits in (16, 32, 64)},
    **{f"complex{bits}": dtype_named(f"c{bits}") for bits in (64, 128)},
    "bfloat16": dtype_named("bf16"),
    "float8_e4m3fn": dtype_named("f8_e4m3"),
    "float8_e8m0fnu": dtype_named("f8_e8m0"),
    **{f"float8_{name}": dtype_named(f"f8_{name}") for name in ("e5m2", "e4m3fnuz", "e5m2fnuz")},
}
"""The dtypes by NumPy's names. Nibbles take a byte each in Flax's files, and are left where they are."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array by NumPy's name of its dtype; its elements lie in `runs`, each an offset and a number of bytes."""

    dtype: str
    shape: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]


class Leaf(NamedTuple):
    """A value of the tree that has none below it, by the keys on the way to it."""

    prefix: str
    key: str
    item: Item
    array: Array | None = None

    @property
    def name(self) -> str:
        """The keys joined with points."""
        return f"{self.prefix}.{self.key}" if self.prefix else self.key


@dataclass(slots=True)
class _Level:
    """A map or an array, and how many of its items were walked through."""

    prefix: str
    item: Item
    done: int = 0


class Tree:
    """A reader that goes through the file once, from front to back; `has_array` once it came to the first array."""

    def __init__(self, file: RandomAccess, nbytes: int) -> None:
        self.walker = Walker(file, 0, nbytes)
        self.has_array = False
        self._charged_nbytes = 0
        self._starts, self._stops = array("Q"), array("Q")

    def has_passed_over(self, span: TensorSpan) -> bool:
        """Say whether the bytes of a span were passed over at once, as those of arrays are."""
        number = bisect_right(self._starts, span.offset) - 1
        end = span.offset + span.spec.nbytes
        return end == span.offset or (number >= 0 and end <= self._stops[number])

    def leaves(self) -> Iterator[Leaf]:
        """Yield the leaves in file order; what is not read of one until the next is asked for is passed over."""
        walker = self.walker
        levels = [_Level("", walker.item())]
        if levels[0].item.kind is not Kind.MAP:
            raise malformed("it does not begin with a map")
        while levels:
            level = levels[-1]
            if level.done == level.item.length:
                levels.pop()
                continue
            leaf = self._leaf(level)
            if leaf.array is not None or leaf.item.kind not in (Kind.MAP, Kind.ARRAY):
                yield leaf
                walker.skip(leaf.item.end)
                continue
            if len(levels) == _MAX_DEPTH:
                raise malformed(f"it nests deeper than {_MAX_DEPTH} levels", kind="header-too-deep")
            prefix = leaf.name
            if len(prefix) > MAX_NAME_NBYTES:
                raise malformed(f"a name is longer than {MAX_NAME_NBYTES} bytes")
            self._charge(len(prefix))
            levels.append(_Level(prefix, leaf.item))
        if walker.at != walker.stop:
            raise malformed(f"the tree ends at byte {walker.at} and the file at byte {walker.stop}")

    def _leaf(self, level: _Level) -> Leaf:
        """Return the next value of a map or an array."""
        key = str(level.done)
        if level.item.kind is Kind.MAP:
            key = self._key()
        level.done += 1
        item = self.walker.item()
        found = None
        if item.kind is Kind.EXTENSION and item.code in (_ARRAY, _SCALAR):
            found = self._array(item)
        elif item.kind is Kind.MAP and item.length == 3:
            found = self._chunked()
        return Leaf(level.prefix, key, item, found)

    def _key(self) -> str:
        """Return the key of a pair: a text or, as Flax allows, a number."""
        item = self.walker.item()
        if item.kind is Kind.PLAIN:
            return str(item.value)
        if item.kind is not Kind.TEXT or item.length > MAX_NAME_NBYTES:
            raise malformed(f"there is no key at byte {item.offset}")
        return self.walker.text(item)

    def _array(self, item: Item) -> Array:
        """Return the array in an extension: its shape, the name of its dtype, and its elements, to the end."""
        walker = self.walker
        if walker.item()[:2] != (Kind.ARRAY, 3):
            raise malformed(f"there is no array at byte {item.offset}")
        axes = walker.item()
        if axes.kind is not Kind.ARRAY or axes.length > MAX_DIMENSIONS:
            raise malformed(f"there is no shape at byte {axes.offset}")
        shape = self._shape(walker.item() for _ in range(axes.length))
        dtype = walker.item()
        if dtype.kind is not Kind.TEXT or dtype.length > _MAX_DTYPE_NBYTES:
            raise malformed(f"there is no dtype at byte {dtype.offset}")
        name = walker.text(dtype)
        data = walker.item()
        if data.kind is not Kind.BINARY or data.end != item.end:
            raise malformed(f"there are no elements at byte {data.offset}")
        found = self._checked(Array(name, shape, ((data.offset, data.length),)))
        self.has_array = True
        if found.dtype in DTYPES and data.length:
            self._starts.append(walker.at)
            self._stops.append(data.end)
        walker.skip(data.end)
        return found

    def _shape(self, items: Iterable[Item]) -> tuple[int, ...]:
        shape = tuple(item.value if type(item.value) is int and item.kind is Kind.PLAIN else -1 for item in items)
        if min(shape, default=0) < 0 or max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES:
            raise malformed(f"there is no shape before byte {self.walker.at}")
        return shape

    def _checked(self, array: Array) -> Array:
        dtype = DTYPES.get(array.dtype)
        nbytes = sum(nbytes for _, nbytes in array.runs)
        if dtype is not None and dtype.nbytes(array.shape) != nbytes:
            raise malformed(f"an array before byte {self.walker.at} does not take {nbytes} bytes")
        return array

    def _chunked(self) -> Array | None:
        """Return the array in a map of three, whose pairs come next; None, with nothing read, where it is no array."""
        walker, start = self.walker, self.walker.at
        if self._key() != _CHUNKED:
            walker.at = start
            return None
        walker.item()
        shape = self._shape(self._numbered("shape", MAX_DIMENSIONS))
        chunks = []
        for item in self._numbered("chunks", walker.stop):
            if item.kind is not Kind.EXTENSION or item.code != _ARRAY:
                raise malformed(f"there is no chunk at byte {item.offset}")
            chunks.append(self._array(item))
            self._charge(2 * len(shape) * (_BOX_NBYTES + _AXIS_NBYTES * len(shape)))
        if len({chunk.dtype for chunk in chunks}) != 1:
            raise malformed(f"the chunks before byte {walker.at} are of several dtypes")
        return self._checked(Array(chunks[0].dtype, shape, tuple(chunk.runs[0] for chunk in chunks)))

    def _numbered(self, name: str, maximum: int) -> Iterator[Item]:
        """Yield the values of the next pair, of that name, which is a map from `0`, `1` and so on."""
        if self._key() != name or (held := self.walker.item()).kind is not Kind.MAP or held.length > maximum:
            raise malformed(f"there is no {name} of chunks before byte {self.walker.at}")
        for number in range(held.length):
            if self._key() != str(number):
                raise malformed(f"the {name} of chunks before byte {self.walker.at} is not in order")
            yield self.walker.item()

    def _charge(self, nbytes: int) -> None:
        """Count what something that is kept takes."""
        self._charged_nbytes += nbytes + _TENSOR_NBYTES
        if self._charged_nbytes > _MEMORY_NBYTES + self.walker.at - self.walker.skipped_nbytes:
            raise FormatError(
                "file lists more than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )
