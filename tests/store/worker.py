"""One of several processes at work on a store: `worker.py ROLE STORE SEED COUNT`; it prints what was acknowledged.

`add` stores a few objects at a time, most of which its siblings store too, each leaning on an earlier version where
one is stored, and prints the ids, one line an acknowledgement. `tidy` stores rubbish, drops it again without any grace
period, rolls up, repacks and checks until it is killed.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from pathlib import Path

from lamella.core.config import StoreConfig
from lamella.core.ids import digest
from lamella.store.check import check_store
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.repack import repack
from lamella.store.rollup import roll_up
from lamella.store.series import Series
from lamella.store.writer import Source, add_objects
from lamella.testing.codecs import noise, weights

CONFIG = StoreConfig(threads=1, grace_seconds=0, roll_up_packs=4)
EAGER = dataclasses.replace(CONFIG, roll_up_packs=2)
VERSIONS = 400


def content(number: int) -> bytes:
    """Return version `number`: every eighth is new, the others differ in an element from the one before."""
    data = bytearray(weights(600, 2, number // 8))
    for at in range(number % 8):
        data[40 * at] ^= 0xFF
    return bytes(data)


def _source(number: int) -> Source:
    data = content(number)
    bases = (digest(content(number - 1)), digest(content(number - 2))) if number > 1 else ()
    return Source(len(data), 2, lambda offset, nbytes: data[offset : offset + nbytes], bases)


def add(store: ObjectStore, seed: int, count: int) -> None:
    """Store versions in an order of this worker's own."""
    choices = random.Random(seed)
    for _ in range(count):
        numbers = choices.sample(range(VERSIONS), 3)
        ids, _ = add_objects(store, [_source(number) for number in numbers])
        for number, identity in zip(numbers, ids, strict=True):
            sys.stdout.write(f"{number} {identity.hex()}\n")
        sys.stdout.flush()


def tidy(store: ObjectStore, seed: int) -> None:
    """Do all that drops packs, in turns."""
    everything = {digest(content(number)) for number in range(VERSIONS)}
    families = [
        Series(tuple(digest(content(number)) for number in range(first + 7, first - 1, -1)))
        for first in range(0, VERSIONS, 8)
    ]
    for number in range(seed, 1 << 30):
        if number % 4 == 0:
            rubbish = noise(300, number)
            add_objects(
                store, [Source(len(rubbish), 1, lambda offset, nbytes, data=rubbish: data[offset : offset + nbytes])]
            )
            collect(store, lambda: everything)
        elif number % 4 == 1:
            with ObjectStore(store.directory, EAGER) as other:
                roll_up(other)
        elif number % 4 == 2:
            repack(store, lambda: families, lambda: everything)
        else:
            checked = check_store(store)
            assert (checked.damage, checked.unreadable) == ((), frozenset())


def main(role: str, directory: str, seed: str, count: str) -> None:
    """Work."""
    with ObjectStore(Path(directory), CONFIG, create=True) as store:
        if role == "add":
            add(store, int(seed), int(count))
        else:
            tidy(store, int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
