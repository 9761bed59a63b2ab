"""What a tensor may be made of: sources that begin as it does, and where in them it may lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set
from functools import partial
from itertools import islice
from typing import NamedTuple

from lamella.codec.casts import CASTS, cast_code
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.limits import MAX_PIECES, MAX_ROW_PIECES, OBJECT_COST_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.store.chain import Chain
from lamella.store.kin import Allowance, Beginnings, Family, Place, Relative, Shape, key_along
from lamella.store.recipe import COPY, FILL, Block, Piece
from lamella.store.record import Head

LEAST_NBYTES = 512
"""A shorter object takes hardly more than a recipe."""
LEAST_CONSTANT_CHUNKS = 4
"""With fewer chunks, planes of one item again and again are not longer than a recipe."""
LOOKED_AT_ITEMS = 16
"""Items that are compared to find a source: floats that agree in so many agree in all, or have to be read anyway."""
MOST_ALIKE = 8
"""Sources that begin alike, with zeros perhaps, of which each is tried."""
MOST_OFFSETS = 64
"""Places in a source at which a part of it is looked for: the shards of one matrix."""

Places = Callable[[], Iterator[tuple[bytes, Place]]]
Open = Callable[[Relative], Chain | None]
"""Gives a relative opened for reading; None where it cannot serve as a source."""


class Proposal(NamedTuple):
    """Blocks that may make an object; the sources of their pieces are numbers of `chains`, which may repeat."""

    blocks: tuple[Block, ...]
    chains: tuple[Chain, ...]


class Proposals:
    """Ways to make one object, whose lengths `head` states (it has no rows yet), the likeliest first."""

    def __init__(self, head: Head, read_at: Callable[[int, int], Buffer], opened: Open) -> None:
        self._head, self._read_at, self._opened = head, read_at, opened

    def proposed(self, spec: TensorSpec | None, family: Family | None) -> Iterator[Proposal]:
        """Yield ways that agree with the first items; raise IntegrityError where a source is damaged.

        What an earlier version of the family has is only cast anew, or one item.
        """
        head = self._head
        if head.nbytes < max(LEAST_NBYTES, LOOKED_AT_ITEMS * head.item_nbytes) or head.nbytes % head.item_nbytes:
            return
        yield from self._constant()
        if spec is None or family is None or spec.dtype.item_nbytes * 8 != spec.dtype.bits:
            return
        yield from self._casts(spec, family)
        if not family.settles(spec):
            yield from self._parts(spec, family)
            yield from self._transposed(spec, family)
            yield from self._joined(spec, family)

    def _items(self, first: int, count: int) -> bytes:
        width = self._head.item_nbytes
        return bytes(self._read_at(first * width, count * width))

    def _constant(self) -> Iterator[Proposal]:
        head = self._head
        if head.chunks >= LEAST_CONSTANT_CHUNKS:
            start, item = self._start(0), self._items(0, 1)
            if start == LOOKED_AT_ITEMS * item:
                fill = Piece(0, FILL, int.from_bytes(item, "little"), head.nbytes // head.item_nbytes, 0, 0)
                yield Proposal((Block(1, (fill,)),), ())

    def _casts(self, spec: TensorSpec, family: Family) -> Iterator[Proposal]:
        """Propose to cast a tensor of the same shape: that of the same name, or one that begins alike."""
        items = math.prod(spec.shape)
        named = [one for one in family.named(spec.name) if one.spec.shape == spec.shape]
        places = [Place(one, 0) for one in named if one.spec.dtype != spec.dtype][:MOST_ALIKE]
        if not named:
            places = self._beginning(spec, family.beginnings(*self._shaped(spec, family, spec.shape)), self._start(0))
        # Whatever was spent: these are few for each tensor, and hardly larger.
        for source, _ in self._sources(places, spec, Allowance(nbytes=spec.nbytes)):
            yield Proposal((Block(1, (source.piece(0, 0, items),)),), (source.chain,))

    def _transposed(self, spec: TensorSpec, family: Family) -> Iterator[Proposal]:
        if len(spec.shape) != 2 or min(spec.shape) < LOOKED_AT_ITEMS:
            return
        rows, columns = spec.shape
        column = b"".join(self._items(row * columns, 1) for row in range(LOOKED_AT_ITEMS))
        beginnings = family.beginnings(*self._shaped(spec, family, (columns, rows)))
        for source, _ in self._sources(self._beginning(spec, beginnings, column), spec, family.near):
            yield Proposal((Block(rows, (Piece(0, source.code, source.first, columns, rows, 1),)),), (source.chain,))

    def _parts(self, spec: TensorSpec, family: Family) -> Iterator[Proposal]:
        """Propose to cut the tensor out of a longer one, along any axis, or out of a stack."""
        for shape in (spec.shape, (1, *spec.shape)):
            for axis, extent in enumerate(shape):
                inner, rows = math.prod(shape[axis + 1 :]), math.prod(shape[:axis])
                longest = MOST_OFFSETS * extent
                wider = {whole for whole in family.extents(shape, axis) if extent < whole <= longest}
                if not wider or extent * inner < LOOKED_AT_ITEMS:
                    continue
                for source, at in self._wider(spec, family, shape, axis, wider):
                    stride = source.relative.spec.shape[axis] * inner
                    piece = source.piece(0, at * inner, extent * inner, stride)
                    yield Proposal((Block(rows, (piece,)),), (source.chain,))

    def _wider(
        self, spec: TensorSpec, family: Family, shape: Shape, axis: int, wider: Set[int]
    ) -> Iterator[tuple[_Source, int]]:
        """Yield where a part begins as the tensor does: in tensors of the same name, which may do, then in others."""
        extent, start, key = shape[axis], self._start(0), key_along(shape, axis)
        named = (one for one in family.named(spec.name) if len(one.spec.shape) == len(shape))
        named = (one for one in named if key_along(one.spec.shape, axis) == key and one.spec.shape[axis] in wider)
        found = (place for first, place in self._places(spec, named, family.near, axis, extent) if first == start)
        yield from self._sources(islice(found, MOST_ALIKE), spec, family.near)
        others = (one for one in family.along(shape, axis) if one.spec.shape[axis] in wider)
        beginnings = family.beginnings(
            ("part", spec.dtype, extent, key), partial(self._places, spec, others, family.far, axis, extent)
        )
        yield from self._sources(self._beginning(spec, beginnings, start), spec, family.near)

    def _joined(self, spec: TensorSpec, family: Family) -> Iterator[Proposal]:
        """Propose to put the tensor together of shorter ones, along any axis; the end may be one item repeated."""
        for axis, extent in enumerate(spec.shape):
            inner, rows = math.prod(spec.shape[axis + 1 :]), math.prod(spec.shape[:axis])
            alike = family.along(spec.shape, axis)
            keys: list[tuple[Hashable, Places]] = [
                (("start", spec.dtype, key_along(spec.shape, axis)), partial(self._places, spec, alike, family.far))
            ]
            if axis == 0:
                keys.append(self._shaped(spec, family, spec.shape[1:]))
            if rows * inner == 0 or not (alike or family.shaped(spec.shape[1:])):
                continue
            beginnings = [family.beginnings(*key) for key in keys]
            pieces, chains, at = self._covered(spec, extent * inner, rows, beginnings, family.near)
            if not chains:
                continue
            if at < extent * inner:
                item = int.from_bytes(self._items(at, 1), "little")
                pieces.append(Piece(0, FILL, item, extent * inner - at, 0, 0))
            if axis == 0 and len(pieces) <= MAX_PIECES:
                yield Proposal(tuple(Block(1, (piece,)) for piece in pieces), tuple(chains))
            elif len(pieces) <= MAX_ROW_PIECES:
                yield Proposal((Block(rows, tuple(pieces)),), tuple(chains))

    def _covered(
        self, spec: TensorSpec, width: int, rows: int, beginnings: Sequence[Beginnings], allowance: Allowance
    ) -> tuple[list[Piece], list[Chain], int]:
        """Cover a row of so many items with whole tensors, by how they begin, as far as that goes."""
        pieces: list[Piece] = []
        chains: list[Chain] = []
        at = 0
        while at + LOOKED_AT_ITEMS <= width and len(pieces) < MAX_PIECES:
            start = self._start(at)
            places = [place for one in beginnings for place in self._beginning(spec, one, start)]
            for source, _ in self._sources(places, spec, allowance):
                run = math.prod(source.relative.spec.shape) // rows
                if run <= min(width - at, width - 1):
                    pieces.append(source.piece(len(chains), 0, run))
                    chains.append(source.chain)
                    at += run
                    break
            else:
                break
        return pieces, chains, at

    def _start(self, at: int) -> bytes:
        return self._items(at, LOOKED_AT_ITEMS)

    def _shaped(self, spec: TensorSpec, family: Family, shape: tuple[int, ...]) -> tuple[Hashable, Places]:
        return ("shape", spec.dtype, shape), partial(self._places, spec, family.shaped(shape), family.far)

    def _places(
        self, spec: TensorSpec, relatives: Iterable[Relative], allowance: Allowance, axis: int = 0, extent: int = 0
    ) -> Iterator[tuple[bytes, Place]]:
        """Yield how relatives begin, as far as the allowance goes.

        With an `extent`, yield also how parts of theirs do that are so long along an axis.
        """
        for source, _ in self._sources((Place(relative, 0) for relative in relatives), spec, allowance):
            shape = source.relative.spec.shape
            inner = math.prod(shape[axis + 1 :])
            for at in _offsets(extent, shape[axis]) if extent else (0,):
                if not allowance.spend(source.cost_nbytes(at * inner)):
                    return
                try:
                    start = source.items(at * inner, LOOKED_AT_ITEMS)
                except IntegrityError:
                    break  # it is damaged, and cannot serve
                if len(start) == LOOKED_AT_ITEMS * self._head.item_nbytes:
                    yield start, Place(source.relative, at)

    def _beginning(self, spec: TensorSpec, beginnings: Beginnings, start: bytes) -> list[Place]:
        """Return the places that begin so, those in a tensor of the same name first."""
        found = beginnings.get(start, ())
        return sorted(found, key=lambda place: place.relative.spec.name != spec.name)[:MOST_ALIKE]

    def _sources(
        self, places: Iterable[Place], spec: TensorSpec, allowance: Allowance
    ) -> Iterator[tuple[_Source, int]]:
        """Open what can be read and has or can be cast to the dtype of the tensor, as far as the allowance goes."""
        for relative, at in places:
            code = cast_code(relative.spec.dtype.name, spec.dtype.name)
            if code is None:
                continue
            if not allowance.spend(OBJECT_COST_NBYTES):
                return
            chain = self._opened(relative)
            origin = None if chain is None else _origin(chain, code)
            if origin is not None:
                yield _Source(relative, *origin, self._head.item_nbytes), at


def _origin(chain: Chain, code: int) -> tuple[Chain, int, int] | None:
    """Return what is to be read for an object, how it is cast, and from which item on; None where it cannot serve.

    That is the object itself, or what it was cast from or cut out of, since what is derived is no source.
    """
    if not chain.sources:
        return chain, code, 0
    recipe = chain.head.recipe
    if code != COPY or recipe is None or len(recipe.blocks) > 1:
        return None
    block = recipe.blocks[0]
    piece = block.pieces[0]
    if block.rows > 1 or len(block.pieces) > 1 or piece.step > 1:
        return None
    return chain.sources[piece.source], piece.transform, piece.start


class _Source:
    """A relative that is looked at, its items cast to those of the object; the chunk that was read last is kept."""

    def __init__(self, relative: Relative, chain: Chain, code: int, first: int, item_nbytes: int) -> None:
        self.relative, self.chain, self.code, self.first = relative, chain, code, first
        self._width = item_nbytes if code == COPY else CASTS[code].source
        self._chunk, self._number = bytearray(), -1

    def cost_nbytes(self, first: int) -> int:
        """Return how many bytes are decoded to read a few items from the one numbered `first`."""
        head = self.chain.head
        kept = (self.first + first) * self._width // head.chunk_nbytes == self._number
        return 0 if kept else min(head.nbytes, head.chunk_nbytes) * len(self.chain.links)

    def items(self, first: int, count: int) -> bytes:
        """Return `count` items from the one numbered `first`, fewer at the end of the source, cast."""
        head = self.chain.head
        start = min((self.first + first) * self._width, head.nbytes)
        stop = min(start + count * self._width, head.nbytes)
        number, at = divmod(start, head.chunk_nbytes)
        if stop > (number + 1) * head.chunk_nbytes or start == stop:
            data = self.chain.part(start, stop)
        else:
            if number != self._number:
                self._chunk, self._number = self.chain.decode(number, number + 1), number
            data = self._chunk[at : at + stop - start]
        if self.code == COPY:
            return bytes(data)
        import numpy

        return CASTS[self.code].convert(numpy.frombuffer(data, f"<u{self._width}")).tobytes()

    def piece(self, number: int, start: int, run: int, stride: int | None = None) -> Piece:
        """Return the piece that takes `run` consecutive items of each row of this source."""
        return Piece(number, self.code, self.first + start, run, 1, run if stride is None else stride)


def _offsets(extent: int, whole: int) -> list[int]:
    """Return where in a longer axis a part may begin: at each multiple of it, and counted from the end."""
    if not extent:
        return []
    from_start = range(0, whole - extent + 1, extent)[:MOST_OFFSETS]
    from_end = (at for at in (whole - extent, whole - 2 * extent) if at >= 0)
    return list(dict.fromkeys((*from_start, *from_end)))
