"""How a derived object is made of others: rows of pieces, each a regular selection of a source's items, cast or not.

One block of one row and one piece is a cast, or a slice; several blocks are a concatenation along the first axis, and
several pieces of a block one along a later axis; a piece whose items lie apart is a transposition, and one without a
source is one item again and again. Byte tables and rules: `docs/spec/pack.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from lamella.codec.casts import CASTS
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.limits import (
    MAX_DERIVED_NBYTES,
    MAX_PIECES,
    MAX_ROW_PIECES,
    MAX_SPAN_FACTOR,
    MAX_TENSOR_NBYTES,
    MAX_TRANSPOSED_NBYTES,
)

FIXED = struct.Struct("<HH")
INGREDIENT = struct.Struct("<32sQ")
BLOCK = struct.Struct("<QH")
PIECE = struct.Struct("<HBQQQQ")
COPY = 0
FILL = 255
"""The transforms that are no casts: items as they are, and one item that stands in the recipe itself."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """An object that a recipe uses, and how long it is."""

    id: ObjectId
    nbytes: int


class Piece(NamedTuple):
    """What one source gives to each row of a block.

    The item in column c of row r is the source's item number `start` + r * `stride` + c * `step`; there are `run`
    columns. `transform` is the code of a cast, COPY or FILL; where it is FILL, `start` is the item itself, `source`,
    `step` and `stride` are 0.
    """

    source: int
    transform: int
    start: int
    run: int
    step: int
    stride: int

    def stop(self, rows: int) -> int:
        """Return the number behind the last item that so many rows use."""
        return self.start + (rows - 1) * self.stride + (self.run - 1) * self.step + 1

    def width(self, item_nbytes: int) -> int:
        """Return the bytes of an item of the source, `item_nbytes` being those of the derived object."""
        return item_nbytes if self.transform in (COPY, FILL) else CASTS[self.transform].source


@dataclass(frozen=True, slots=True)
class Block:
    """So many rows, each of all the pieces one behind the other."""

    rows: int
    pieces: tuple[Piece, ...]

    @property
    def width(self) -> int:
        """The items of a row."""
        return sum(piece.run for piece in self.pieces)

    @property
    def items(self) -> int:
        """The items of all rows."""
        return self.rows * self.width


@dataclass(frozen=True, slots=True)
class Recipe:
    """The blocks that make up an object, one behind the other, and the sources that they use, each once."""

    sources: tuple[Ingredient, ...]
    blocks: tuple[Block, ...]

    def spans(self, item_nbytes: int) -> Iterator[tuple[Block, Piece, int]]:
        """Yield each piece that has a source with its block and the bytes of the source between its ends."""
        for block in self.blocks:
            for piece in block.pieces:
                if piece.transform != FILL:
                    yield block, piece, (piece.stop(block.rows) - piece.start) * piece.width(item_nbytes)


def malformed(reason: str) -> IntegrityError:
    """Return the error for a recipe that no writer made."""
    return IntegrityError(
        f"the recipe of a derived object is malformed: {reason}",
        kind="payload-malformed",
        hint="restore the object from another copy of the store",
    )


def pack_recipe(recipe: Recipe) -> bytes:
    """Return the bytes of a recipe, a record's parameters."""
    blocks = (
        BLOCK.pack(block.rows, len(block.pieces))
        + b"".join(
            PIECE.pack(piece.source, piece.transform, piece.start, piece.run, piece.step, piece.stride)
            for piece in block.pieces
        )
        for block in recipe.blocks
    )
    table = (INGREDIENT.pack(source.id, source.nbytes) for source in recipe.sources)
    return FIXED.pack(len(recipe.sources), len(recipe.blocks)) + b"".join(chain(table, blocks))


@lru_cache(maxsize=256)
def unpack_recipe(data: bytes) -> Recipe:
    """Parse the parameters of a derived record; raise IntegrityError (payload-malformed) where they are no recipe.

    What they say of the object and its sources is left to `check_recipe`.
    """
    try:
        return _parsed(data)
    except struct.error:
        raise malformed("it is cut") from None


def _parsed(data: Buffer) -> Recipe:
    sources, count = FIXED.unpack_from(data)
    if sources > MAX_PIECES or not 0 < count <= MAX_PIECES:
        raise malformed("it has too many parts, or none")
    at = FIXED.size
    table = []
    for _ in range(sources):
        identity, nbytes = INGREDIENT.unpack_from(data, at)
        table.append(Ingredient(ObjectId(identity), nbytes))
        at += INGREDIENT.size
    blocks, left = [], MAX_PIECES
    for _ in range(count):
        rows, pieces = BLOCK.unpack_from(data, at)
        at += BLOCK.size
        left -= pieces
        if left < 0 or not 0 < pieces <= MAX_ROW_PIECES or at + pieces * PIECE.size > len(data):
            raise malformed("it has too many pieces, or none")
        parts = tuple(Piece(*PIECE.unpack_from(data, at + number * PIECE.size)) for number in range(pieces))
        blocks.append(Block(rows, parts))
        at += pieces * PIECE.size
    if at != len(data):
        raise malformed("something follows it")
    return Recipe(tuple(table), tuple(blocks))


def check_recipe(recipe: Recipe, nbytes: int, item_nbytes: int) -> None:
    """Raise IntegrityError (payload-malformed) unless a recipe makes an object of `nbytes` in bounded time and memory.

    No item is outside of its source as the recipe states that, and no piece passes over its source more than once.
    """
    if nbytes > MAX_DERIVED_NBYTES:
        raise malformed("it makes more than may be derived")
    if len({source.id for source in recipe.sources}) < len(recipe.sources):
        raise malformed("a source stands in it twice")
    if any(source.nbytes > MAX_TENSOR_NBYTES for source in recipe.sources):
        raise malformed("a source is impossibly large")
    for block in recipe.blocks:
        if not block.rows:
            raise malformed("a block is empty")
        for piece in block.pieces:
            _check_piece(piece, block.rows, recipe.sources, item_nbytes)
    if sum(block.items for block in recipe.blocks) * item_nbytes != nbytes:
        raise malformed("its blocks do not add up to the object")
    if sum(span for _, piece, span in recipe.spans(item_nbytes) if piece.step > 1) > MAX_TRANSPOSED_NBYTES:
        raise malformed("what it transposes is too large")
    if sum(span for *_, span in recipe.spans(item_nbytes)) > MAX_SPAN_FACTOR * nbytes:
        raise malformed("it passes over far more than it takes")
    if {piece.source for _, piece, _ in recipe.spans(item_nbytes)} != set(range(len(recipe.sources))):
        raise malformed("a source is not used")


def _check_piece(piece: Piece, rows: int, sources: tuple[Ingredient, ...], item_nbytes: int) -> None:
    if not piece.run:
        raise malformed("a piece is empty")
    if piece.transform == FILL:
        if piece.source or piece.step or piece.stride or piece.start >> (8 * item_nbytes):
            raise malformed("a piece of one item is more than that")
        return
    if piece.transform != COPY and piece.transform not in CASTS:
        raise IntegrityError(
            f"an object is derived in a way that this version does not know (code {piece.transform})",
            kind="payload-malformed",
            hint="upgrade lamella; if it is the newest version, restore the object from another copy of the store",
        )
    if piece.transform != COPY and CASTS[piece.transform].target != item_nbytes:
        raise malformed("a cast makes items of another width")
    width = piece.width(item_nbytes)
    if piece.source >= len(sources) or piece.stop(rows) * width > sources[piece.source].nbytes:
        raise malformed("a piece lies outside of its source")
    if not piece.step or not piece.stride:
        raise malformed("a piece repeats an item")
    if max(piece.step, piece.stride) > MAX_TENSOR_NBYTES // 8:
        raise malformed("its items lie impossibly far apart")
    if piece.step == 1:
        if rows > 1 and piece.stride < piece.run:
            raise malformed("the rows of a piece overlap")
    elif rows * piece.run > piece.stop(rows) - piece.start:
        raise malformed("a piece has more items than it spans")
