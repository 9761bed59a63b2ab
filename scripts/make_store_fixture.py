"""Make the fixture store of the current pack version: `make_store_fixture.py DIRECTORY`, which must not exist.

A fixture is made once for each version of the format and never edited: the tests read every one of them for ever. The
contents are computed here, so that a test can compute them again; `expected.json` has their ids and lengths.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from blake3 import blake3

from lamella.core.config import StoreConfig
from lamella.core.ids import ObjectId, digest
from lamella.store.objects import ObjectStore
from lamella.store.pack import VERSION
from lamella.store.writer import Source, add_objects

Content = tuple[str, int, bytes, tuple[str, ...]]
"""A name, the width of its items, its bytes, and the names of candidates for its base."""


def stream(name: str, nbytes: int) -> bytes:
    """Return bytes that do not compress, the same ones on every machine."""
    return blake3(name.encode()).digest(length=nbytes)


def weights(name: str, count: int, item_nbytes: int) -> bytes:
    """Return elements whose highest byte is one of four values, as weights have it."""
    elements = bytearray(stream(name, count * item_nbytes))
    elements[item_nbytes - 1 :: item_nbytes] = bytes(
        0x3C | byte & 3 for byte in elements[item_nbytes - 1 :: item_nbytes]
    )
    return bytes(elements)


def tuned(data: bytes, step: int) -> bytes:
    """Return `data` with a bit flipped in every `step`-th byte."""
    other = bytearray(data)
    other[::step] = bytes(byte ^ 2 for byte in other[::step])
    return bytes(other)


def contents() -> list[list[Content]]:
    """Return what the fixture holds, one list a pack: every width of item, chains of two, odd ends, several chunks."""
    half, single = weights("half", 1200, 2), weights("single", 300, 4)
    long = tuned(bytes(150_000), 9_973)
    return [
        [
            ("half", 2, half, ()),
            ("single", 4, single, ()),
            ("double", 8, weights("double", 90, 8) + b"odd", ()),
            ("byte", 1, stream("byte", 333), ()),
            ("empty", 1, b"", ()),
            ("long", 1, long, ()),
        ],
        [
            ("half tuned", 2, tuned(half, 400), ("half",)),
            ("single tuned", 4, tuned(single, 500) + b"longer", ("single",)),
            ("long tuned", 1, tuned(long, 20_011), ("long",)),
            ("constant", 2, b"\x80\x3f" * 5000, ()),
        ],
        [("half again", 2, tuned(tuned(half, 400), 350), ("half tuned",))],
    ]


def main(directory: str) -> None:
    """Write the store and what it must give back."""
    root = Path(directory)
    if root.exists():
        sys.exit(f"{root} exists: a fixture is never made twice")
    ids = {name: digest(data) for pack in contents() for name, _, data, _ in pack}
    with ObjectStore(root, StoreConfig(threads=1), create=True) as store:
        for pack in contents():
            add_objects(store, [_source(content, tuple(ids[base] for base in content[3])) for content in pack])
        depths = {name: store.open(identity).head.depth for name, identity in ids.items()}
    for path in [*root.glob("index.db*"), root / "lock"]:
        path.unlink()
    (root / "tmp").rmdir()
    objects = {
        name: {"id": ids[name].hex(), "nbytes": len(data), "item_nbytes": item_nbytes, "depth": depths[name]}
        for pack in contents()
        for name, item_nbytes, data, _ in pack
    }
    (root / "expected.json").write_text(json.dumps({"version": VERSION, "objects": objects}, indent=1) + "\n")


def _source(content: Content, candidates: tuple[ObjectId, ...]) -> Source:
    _, item_nbytes, data, _ = content
    return Source(len(data), item_nbytes, lambda offset, nbytes: data[offset : offset + nbytes], candidates)


if __name__ == "__main__":
    main(*sys.argv[1:])
