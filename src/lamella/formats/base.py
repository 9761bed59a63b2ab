"""The Format protocol: a file is a skeleton and tensors, and a reader says only where the tensors lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from lamella.core.buffers import Buffer
from lamella.core.graphs import Graph
from lamella.core.tensors import TensorSpec


class RandomAccess(Protocol):
    """A file that is read by ranges, from any thread. It does not change while it is read."""

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        ...

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) where the file ends before them."""
        ...


@runtime_checkable
class Partial(RandomAccess, Protocol):
    """A file of which not every byte is at hand: to read others raises FormatError (file-truncated)."""

    def read_ahead(self, offset: int, nbytes: int) -> Buffer:
        """Return the bytes from `offset` on that are at hand, `nbytes` at most; none where the first is not."""
        ...


class Neighbours(Protocol):
    """The other files in the folder of a file, for containers that take several."""

    def names(self) -> Sequence[str]:
        """Return the names of the regular files, sorted, the file itself among them."""
        ...

    def open(self, name: str) -> RandomAccess | None:
        """Return the file of that name, readable as long as this is; None where there is none to be read.

        `name` comes from files that are not trusted: what is no plain name, a link or hard-linked is not opened.
        """
        ...


@dataclass(frozen=True, slots=True)
class Beside:
    """Where a file lies: its name, and the other files of its folder."""

    name: str
    neighbours: Neighbours


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """A run of the file that is kept as an object: `spec.nbytes` bytes from `offset`.

    It holds the elements of one tensor in row-major order, little-endian. A `part` is no tensor of the model: bytes
    that tensors are views of, or that nobody understands. Names of parts may repeat.
    """

    spec: TensorSpec
    offset: int
    part: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """Elements of a tensor that lie evenly: `shape` of them on each axis, from `origin` on.

    The first lies at byte `offset` of the file, its neighbours on each axis `strides` bytes behind, which is never
    negative. Of a dtype that is quantised by blocks, blocks are counted instead of elements.
    """

    origin: tuple[int, ...]
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor without bytes of its own: tied to another, transposed, a slice, cut into tiles, in the other byte order.

    `boxes` are disjoint and make up the tensor. Where `swapped`, the most significant byte of each item comes first.
    """

    spec: TensorSpec
    boxes: tuple[Box, ...]
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A file as spans. `tensors` are in file order, inside the file, and do not overlap; the rest is the skeleton.

    The tensors of the model are the spans that are no parts and the `views`; no two have one name. `foreign` are names
    of code that the file would have its own framework run, for people to read. A file is `sealed` where its rest says
    something of what its tensors hold, as checksums do: tensors of another version do not go with it. It is `apart`
    where its reader has made sure that nothing it went by lies in a tensor, whatever else it read ahead.
    """

    format: str
    nbytes: int
    tensors: tuple[TensorSpan, ...]
    views: tuple[TensorView, ...] = ()
    foreign: tuple[str, ...] = ()
    sealed: bool = False
    apart: bool = field(default=False, compare=False)


class Format(Protocol):
    """A container that can be read as spans.

    Whatever the reader does not fully understand stays in the skeleton, so every file that `layout` accepts is
    restored bit for bit. Readers run nothing that a file contains, check every length before they believe it, and take
    memory of at most 64 MB and twice the header. They read only bytes that belong to no tensor: a file is read again
    when of its tensors only the names are at hand.
    """

    name: str
    """Written in manifests; never reused. A reader that finds other tensors in a file than before takes another."""

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Say from the first 4,096 bytes and the length whether the file claims to be of this format."""
        ...

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError, and nothing else, where the file is not what it claims."""
        ...

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return what the file says beside its tensors, by key, for people to read and to compare.

        Raises FormatError as `layout` does. Values are cut to a line or two; there are at most some thousand.
        """
        ...


@runtime_checkable
class GraphFormat(Format, Protocol):
    """A container that also describes the computation that its tensors belong to."""

    def graph(self, file: RandomAccess) -> Graph | None:
        """Return the computation graph that a file describes, None where it describes none.

        Raises FormatError, and nothing else, where the file is not what it claims, or the graph is larger than
        MAX_GRAPH_NODES and its like allow. Nothing that the file contains is run. The same file has the same graph,
        also where of its tensors only the lengths are at hand. Tensors are called as `layout` calls them, and those
        that lie in other files as these files' layouts do. What nothing makes is "" in `inputs`. Time is in proportion
        to what the file has beside its tensors, and so is memory, below half a gigabyte.
        """
        ...


class DescribedFormat(Protocol):
    """A container whose files of tensors say nothing of themselves: a neighbour says where the tensors lie."""

    name: str
    """Written in manifests; never reused."""

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return where the tensors of a file lie, None where nothing beside it describes it.

        Raises FormatError, and nothing else, where one does and the file is not what it says.
        """
        ...
