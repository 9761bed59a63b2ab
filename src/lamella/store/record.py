"""One object on disk: a checked head with a row for each chunk, then the chunks' payloads.

The head comes first and is complete in itself, so a reader learns everything about the object in one read, and a
scanner that lost its place finds the next object by its magic and its checksum. Byte tables: `docs/spec/pack.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.ids import CHECK_NBYTES, ID_NBYTES, ObjectId, check
from lamella.core.limits import MAX_CHUNK_SHIFT, MAX_HEAD_NBYTES, MAX_READ_DEPTH, MAX_TENSOR_NBYTES, STRIPE_NBYTES
from lamella.store.recipe import Recipe, check_recipe, unpack_recipe
from lamella.store.sketch import SKETCH, size_class

MAGIC = b"\x93LamObj\n"
FIXED = struct.Struct("<8sIBBBBQQ32s32sII")
ROW = struct.Struct("<B3xI8s")
HEAD_CHECK_NBYTES = 16
HEAD_LENGTH_END = 12
"""Where the magic and the head's length end: what a scanner reads first."""
MIN_HEAD_NBYTES = FIXED.size + HEAD_CHECK_NBYTES
NO_BASE = bytes(ID_NBYTES)
DERIVED = 1
"""The flag of a head whose parameters are a recipe: it has no rows and no payloads, and sources in place of a base."""
RESIZED = 2
"""The flag of a head whose base has another length: a chunk of that is cut, or filled up with zeros, to the length of
the chunk that leans on it."""
SKETCHED = 4
"""The flag of a head that has a sketch; `Head.flags` does not have it."""


class ChunkRow(NamedTuple):
    """Where one chunk's payload lies, counted from the first payload byte, and how it was encoded."""

    code: int
    offset: int
    nbytes: int
    check: bytes


NO_ROW = ChunkRow(0, 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Head:
    """Everything about a stored object except its payload.

    `nbytes` is the decoded length, `payload_nbytes` the encoded one; a chunk has `1 << chunk_shift` items of
    `item_nbytes` bytes, the last one fewer. `depth` counts the bases below and falls by at least one at each of them.
    `parameters` are what a codec has to know once an object, or the recipe of a derived one; `sketch` is what relatives
    are found by, empty where there is none.
    """

    id: ObjectId
    base: ObjectId | None
    depth: int
    item_nbytes: int
    chunk_shift: int
    nbytes: int
    payload_nbytes: int
    rows: tuple[ChunkRow, ...]
    parameters: bytes = b""
    flags: int = 0
    sketch: bytes = b""

    @property
    def recipe(self) -> Recipe | None:
        """How the object is made of others, None for one that has payloads."""
        return unpack_recipe(self.parameters) if self.flags & DERIVED else None

    @property
    def leans_on(self) -> tuple[ObjectId, ...]:
        """Every object that is needed to read this one: its base, or the sources of a derived one."""
        recipe = self.recipe
        if recipe is not None:
            return tuple(source.id for source in recipe.sources)
        return () if self.base is None else (self.base,)

    @property
    def chunks(self) -> int:
        """The number of chunks; a derived object has them too, without rows."""
        return chunk_count(self.nbytes, self.item_nbytes, self.chunk_shift)

    @property
    def chunk_nbytes(self) -> int:
        """The decoded length of every chunk but the last."""
        return self.item_nbytes << self.chunk_shift

    @property
    def head_nbytes(self) -> int:
        """The length of the head on disk."""
        return head_nbytes_for(len(self.rows), len(self.parameters), len(self.sketch))

    @property
    def size_class(self) -> int:
        """What objects have in common whose sketches can be compared."""
        return size_class(self.nbytes, self.item_nbytes)

    def finished(self, rows: tuple[ChunkRow, ...], payload_nbytes: int) -> Head:
        """Return the head with its rows, made in one go: `dataclasses.replace` looks at every field."""
        return Head(
            self.id, self.base, self.depth, self.item_nbytes, self.chunk_shift, self.nbytes, payload_nbytes, rows,
            self.parameters, self.flags, self.sketch,
        )  # fmt: skip

    def serves(self, chunk: int, above: Head) -> bool:
        """Say whether this base has a chunk numbered `chunk` that the same chunk of `above` can lean on."""
        same = chunk < self.chunks and self.decoded_nbytes(chunk) == above.decoded_nbytes(chunk)
        return same or (chunk < self.chunks and bool(above.flags & RESIZED))

    def decoded_nbytes(self, chunk: int) -> int:
        """Return the decoded length of the chunk numbered `chunk`."""
        return min(self.chunk_nbytes, self.nbytes - chunk * self.chunk_nbytes)


def chunk_count(nbytes: int, item_nbytes: int, chunk_shift: int) -> int:
    """Return how many chunks an object of `nbytes` has; an empty object has none."""
    return -(-nbytes // (item_nbytes << chunk_shift))


def stripes(chunks: int, chunk_nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield the (first, last) chunk numbers of pieces that are worth a task each; one of no chunks where empty."""
    step = max(1, STRIPE_NBYTES // chunk_nbytes)
    for first in range(0, max(chunks, 1), step):
        yield first, min(first + step, chunks)


def head_nbytes_for(chunks: int, parameters_nbytes: int, sketch_nbytes: int) -> int:
    """Return the length on disk of the head of an object with `chunks` chunks."""
    return MIN_HEAD_NBYTES + ROW.size * chunks + parameters_nbytes + sketch_nbytes


def pack_head(head: Head) -> bytes:
    """Return the bytes of `head` as they stand on disk."""
    parts = [
        FIXED.pack(
            MAGIC, head.head_nbytes, head.item_nbytes, head.depth, head.chunk_shift,
            head.flags | (SKETCHED if head.sketch else 0),
            head.nbytes, head.payload_nbytes, head.id, head.base or NO_BASE, len(head.rows),
            len(head.parameters),
        ),
        *(ROW.pack(row.code, row.nbytes, row.check) for row in head.rows),
        head.parameters,
        head.sketch,
    ]  # fmt: skip
    body = b"".join(parts)
    return body + check(body, HEAD_CHECK_NBYTES)


def damaged(reason: str) -> IntegrityError:
    """Return the error for a record that is not what was written."""
    return IntegrityError(
        f"stored object is damaged: {reason}", kind="object-damaged", hint="run `lamella fsck --repair`"
    )


def is_head_length(nbytes: int) -> bool:
    """Say whether a head may be `nbytes` long, as far as that alone can tell."""
    return MIN_HEAD_NBYTES <= nbytes <= MAX_HEAD_NBYTES


def head_nbytes_at(data: Buffer) -> int:
    """Return the head length that the first bytes of a record state; raise IntegrityError where they cannot be one."""
    if len(data) < HEAD_LENGTH_END or data[: len(MAGIC)] != MAGIC:
        raise damaged("no record starts here")
    nbytes = int.from_bytes(data[len(MAGIC) : HEAD_LENGTH_END], "little")
    if not is_head_length(nbytes):
        raise damaged("its head has an impossible length")
    return nbytes


def unpack_head(data: Buffer) -> Head:
    """Parse a whole head; raise IntegrityError (object-damaged) unless every byte is as it was written."""
    if len(data) < MIN_HEAD_NBYTES or head_nbytes_at(data) != len(data):
        raise damaged("its head is cut")
    view = memoryview(data)
    if check(view[:-HEAD_CHECK_NBYTES], HEAD_CHECK_NBYTES) != view[-HEAD_CHECK_NBYTES:]:
        raise damaged("the checksum of its head does not match")
    fields = FIXED.unpack_from(view)
    _, _, item_nbytes, depth, chunk_shift, flags, nbytes, payload_nbytes, identity, base, chunks, parameters = fields
    if flags & ~(DERIVED | RESIZED | SKETCHED):
        raise IntegrityError(
            "stored object uses a feature of a newer version", kind="payload-malformed", hint="upgrade lamella"
        )
    sane = item_nbytes in (1, 2, 4, 8) and chunk_shift <= MAX_CHUNK_SHIFT and nbytes <= MAX_TENSOR_NBYTES
    derived = bool(flags & DERIVED)
    if not sane or depth > MAX_READ_DEPTH or (depth > 0 and not derived) != (base != NO_BASE):
        raise damaged("its head contradicts itself")
    if flags & RESIZED and base == NO_BASE:
        raise damaged("it resizes a base that it does not have")
    expected = 0 if derived else chunk_count(nbytes, item_nbytes, chunk_shift)
    told_nbytes = head_nbytes_for(chunks, parameters, SKETCH.size if flags & SKETCHED else 0)
    if chunks != expected or told_nbytes != len(data):
        raise damaged("its chunk table does not fit its length")
    rows_end = FIXED.size + ROW.size * chunks
    parameters_end = rows_end + parameters
    rows = _unpack_rows(view[FIXED.size : rows_end])
    last = rows[-1] if rows else NO_ROW
    if last.offset + last.nbytes != payload_nbytes:
        raise damaged("its chunk table does not add up")
    head = Head(
        ObjectId(identity), ObjectId(base) if base != NO_BASE else None, depth, item_nbytes, chunk_shift, nbytes,
        payload_nbytes, rows, bytes(view[rows_end:parameters_end]), flags & ~SKETCHED,
        bytes(view[parameters_end:-HEAD_CHECK_NBYTES]),
    )  # fmt: skip
    longest = max([row.nbytes for row in rows], default=0)
    if longest > head.chunk_nbytes or (rows and last.nbytes > head.decoded_nbytes(chunks - 1)):
        raise damaged("a payload is longer than its chunk")
    if derived:
        _check_derived(head)
    return head


def _check_derived(head: Head) -> None:
    recipe = unpack_recipe(head.parameters)
    check_recipe(recipe, head.nbytes, head.item_nbytes)
    if (head.depth > 0) != bool(recipe.sources):
        raise damaged("its head contradicts itself")


def _unpack_rows(table: memoryview) -> tuple[ChunkRow, ...]:
    rows = []
    offset = 0
    for code, nbytes, digest in ROW.iter_unpack(table):
        rows.append(ChunkRow(code, offset, nbytes, digest))
        offset += nbytes
    return tuple(rows)


def verify_chunk(head: Head, chunk: int, payload: Buffer) -> None:
    """Raise IntegrityError (chunk-damaged) unless `payload` is what was written for the chunk."""
    row = head.rows[chunk]
    if len(payload) != row.nbytes or check(payload, CHECK_NBYTES) != row.check:
        raise IntegrityError(
            f"chunk {chunk} of object {head.id.hex()} is damaged",
            kind="chunk-damaged",
            hint="run `lamella fsck --repair`",
        )
