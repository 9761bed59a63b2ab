"""Small packs with one of everything in them, and what a single flipped bit of one must lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lamella.codec.builtin import encode
from lamella.core import fsio
from lamella.core.config import StoreConfig
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.store.check import check_store
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackReader, PackWriter
from lamella.store.recipe import COPY, FILL, Block, Ingredient, Piece, Recipe, pack_recipe
from lamella.store.record import DERIVED, Head
from lamella.testing.codecs import noise, weights

ONE_THREAD = StoreConfig(threads=1)


@dataclass(frozen=True, slots=True)
class Content:
    """An object to store: its bytes, the width of its items, and the bytes of its base or the recipe that makes it.

    `identity`, `depth` and `sketch` are what its head claims; a hostile one lies. Chunks are of 64 items by default, so
    that a pack of a few KiB has objects of many chunks.
    """

    data: bytes
    item_nbytes: int = 1
    base: bytes | None = None
    depth: int = 0
    identity: ObjectId | None = None
    chunk_shift: int = 6
    sketch: bytes = b""
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A pack as it lies on disk, what its objects decode to, and which object each one leans on."""

    name: str
    data: bytes
    entries: tuple[Entry, ...]
    contents: dict[ObjectId, bytes]
    leans_on: dict[ObjectId, tuple[ObjectId, ...]]

    def hit_by(self, offset: int) -> set[ObjectId]:
        """Return the objects that cannot be read where the byte at `offset` is damaged."""
        hit = {entry.id for entry in self.entries if entry.offset <= offset < entry.offset + entry.nbytes}
        while leaning := {identity for identity, below in self.leans_on.items() if not hit.isdisjoint(below)} - hit:
            hit |= leaning
        return hit


def changed(data: bytes, step: int) -> bytes:
    """Return `data` with the lowest bit of every `step`-th byte flipped."""
    other = bytearray(data)
    other[::step] = bytes(byte ^ 1 for byte in other[::step])
    return bytes(other)


def one_of_everything(seed: int = 0) -> list[Content]:
    """Return some KiB of objects: alone, leaning, constant, derived, odd, sketched, and of every width of item."""
    half, single = weights(400, 2, seed), weights(150, 4, seed + 1) + b"\x01\x02\x03"
    tuned = changed(half[:256], 50) + half[256:]
    made, recipe = derived_sample(half, tuned)
    return [
        Content(half, 2),
        Content(tuned, 2, half, 1),
        Content(changed(tuned, 90), 2, tuned, 2),
        Content(bytes([seed % 251]) * 300),
        Content(noise(77, seed + 2), 8, sketch=noise(64, seed + 3)),
        Content(single, 4),
        Content(changed(single, 200), 4, single, 1),
        Content(made, 2, None, 2, recipe=recipe),
        Content(changed(made, 60), 2, made, 3),
    ]


def derived_sample(one: bytes, other: bytes) -> tuple[bytes, Recipe]:
    """Return an object and how it is made of two others of 800 bytes: a slice, a fill, and rows of both.

    Every chunk of both is read for it.
    """
    rows = (one[40 * row : 40 * row + 20] + other[40 * row : 40 * row + 10] for row in range(20))
    pieces = Piece(0, COPY, 0, 10, 1, 20), Piece(1, COPY, 0, 5, 1, 20)
    blocks = (
        Block(1, (Piece(0, COPY, 100, 300, 1, 300),)),
        Block(1, (Piece(0, FILL, 0x3F80, 20, 0, 0),)),
        Block(20, pieces),
    )
    sources = Ingredient(digest(one), len(one)), Ingredient(digest(other), len(other))
    return one[200:800] + b"\x80\x3f" * 20 + b"".join(rows), Recipe(sources, blocks)


def write_pack(directory: Path, contents: Iterable[Content]) -> Sample:
    """Publish a pack of `contents` in `directory`, each encoded as the store would."""
    found: dict[ObjectId, bytes] = {}
    leans_on: dict[ObjectId, tuple[ObjectId, ...]] = {}
    with PackWriter(directory) as writer:
        for content in contents:
            identity = content.identity or digest(content.data)
            base = None if content.base is None else digest(content.base)
            found[identity] = content.data
            recipe = content.recipe
            head = Head(
                identity, base, content.depth, content.item_nbytes, content.chunk_shift, len(content.data), 0, (),
                b"" if recipe is None else pack_recipe(recipe), 0 if recipe is None else DERIVED, content.sketch,
            )  # fmt: skip
            if head.leans_on:
                leans_on[identity] = head.leans_on
            writer.add(head, () if recipe is not None else _encoded(content))
        entries = writer.entries
        name = writer.publish()
    pack = PackReader(directory / name)
    return Sample(name, pack.read_at(0, pack.nbytes), entries, found, leans_on)


def _encoded(content: Content) -> Iterator[tuple[int, bytes]]:
    size = content.item_nbytes << content.chunk_shift
    for start in range(0, len(content.data), size):
        chunk = content.data[start : start + size]
        base = None if content.base is None else content.base[start : start + size]
        yield encode(chunk, content.item_nbytes, base if base is not None and len(base) == len(chunk) else None)


def check_flip(directory: Path, sample: Sample, bit: int) -> list[str]:
    """Flip one bit of the only pack of the store in `directory` and return every promise that this breaks.

    The flip must be found, the report must name exactly the objects hit, those must raise IntegrityError when they
    are read, and all others must be what they were.
    """
    data = bytearray(sample.data)
    data[bit // 8] ^= 1 << bit % 8
    fsio.write_file(directory / "packs" / sample.name, data, durable=False)
    hit = sample.hit_by(bit // 8)
    wrong = []
    with ObjectStore(directory, ONE_THREAD) as store:
        checked = check_store(store)
        if not checked.damage:
            wrong.append(f"bit {bit}: not found")
        if checked.unreadable != hit:
            wrong.append(f"bit {bit}: {len(checked.unreadable)} objects reported, {len(hit)} hit")
        for identity, content in sample.contents.items():
            try:
                if store.read(identity) != content:
                    wrong.append(f"bit {bit}: wrong bytes read")
                elif identity in hit:
                    wrong.append(f"bit {bit}: a damaged object was read")
            except IntegrityError:
                if identity not in hit:
                    wrong.append(f"bit {bit}: a sound object was not read")
    return wrong
