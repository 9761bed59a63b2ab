"""Merging small packs, so that ten thousand commits do not leave ten thousand files.

Sizes are kept in geometric progression: the packs merged are the smallest ones, as many as needed for every small pack
that stays to be at least as large as all smaller ones together. Each byte is then copied a logarithmic number of times.
"""

from __future__ import annotations

import contextlib
import itertools

from lamella.core.errors import IntegrityError, LamellaError
from lamella.core.limits import MIB
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.reader import verify_record

SMALL_NBYTES = 16 * MIB
"""A larger pack stays as it is: a file more costs nothing beside it, and to copy it would be felt."""

MERGED_NBYTES = 64 * MIB
"""Bytes that one add copies at most, a moment's work: also where that fails, as on a full disk, each time."""


def _progression(sizes: dict[str, int]) -> list[str]:
    """Return the names of the smallest packs that have to become one."""
    ordered = sorted(sizes, key=lambda name: (sizes[name], name))
    total = 0
    split = 0
    for number, name in enumerate(ordered):
        if number and sizes[name] < total:
            split = number + 1
        total += sizes[name]
    return ordered[:split]


def _affordable(names: list[str], sizes: dict[str, int]) -> list[str]:
    """Return as many of `names`, from the first, as may be merged at once."""
    totals = itertools.accumulate(sizes[name] for name in names)
    return [name for name, total in zip(names, totals, strict=True) if total <= MERGED_NBYTES]


def roll_up(store: ObjectStore) -> int:
    """Merge small packs where there are many, and return how many vanished.

    Nothing happens while another process holds the store, or where the store cannot be written: it is tried again
    after the next write. No object changes, none is dropped, and a pack with any damage is left as it is.
    """
    with contextlib.suppress(LamellaError):
        if len(_small(store.pack_sizes())) < store.config.roll_up_packs:
            return 0
        with store.lock(exclusive=True, blocking=False):
            sizes = _small(store.refresh())
            return _merge(store, _affordable(_progression(sizes), sizes))
    return 0


def _small(sizes: dict[str, int]) -> dict[str, int]:
    return {name: nbytes for name, nbytes in sizes.items() if nbytes < SMALL_NBYTES}


def _merge(store: ObjectStore, names: list[str]) -> int:
    merged = [name for name in names if _is_sound(store, name)]
    if len(merged) < 2:
        return 0
    with PackWriter(store.packs) as writer:
        for pack in map(store.pack, merged):
            for entry in pack.entries():
                writer.copy(pack, entry)
        name = store.publish(writer, max(map(store.modified, merged)))
    store.drop_packs(set(merged) - {name})
    return len(merged) - 1


def _is_sound(store: ObjectStore, name: str) -> bool:
    pack = store.pack(name)
    try:
        for entry in pack.entries():
            verify_record(pack, entry)
    except IntegrityError:
        return False
    return True
