"""Merging small packs, so that ten thousand commits do not leave ten thousand files.

Sizes are kept in geometric progression: the packs merged are the smallest ones, as many as needed for every pack that
stays to be at least as large as all smaller ones together. Each byte is then copied a logarithmic number of times.
"""

from __future__ import annotations

import contextlib

from lamella.core.errors import BackendError, ConflictError, IntegrityError
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter


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


def roll_up(store: ObjectStore) -> int:
    """Merge small packs where there are many, and return how many vanished.

    Nothing happens while another process holds the store, or where the store cannot be written: it is tried again
    after the next write. No object changes, none is dropped.
    """
    if len(store.index.pack_names()) < store.config.roll_up_packs:
        return 0
    with contextlib.suppress(ConflictError, BackendError), store.lock(exclusive=True, blocking=False):
        store.index.refresh()
        names = _progression(store.pack_sizes())
        if len(names) < 2:
            return 0
        return _merge(store, names)
    return 0


def _merge(store: ObjectStore, names: list[str]) -> int:
    merged: set[str] = set()
    with PackWriter(store.packs) as writer:
        for name in names:
            reader = store.pack(name)
            try:
                entries = reader.entries()
            except IntegrityError:
                continue
            for entry in entries:
                writer.copy(reader, entry)
            merged.add(name)
        if len(merged) < 2:
            return 0
        newest = max((store.packs / name).stat().st_mtime for name in merged)
        name = writer.publish(newest)
        store.index.add_pack(name, writer.entries)
    store.drop_packs(merged - {name})
    return len(merged) - 1
