"""A program that passes 256 MiB through a store and prints by how much its memory grew: `large.py STORE THREADS`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from lamella.core.config import StoreConfig
from lamella.core.ids import ObjectId
from lamella.core.limits import MIB
from lamella.store.objects import ObjectStore
from lamella.store.reader import stream_objects, verify_object
from lamella.store.writer import Source, add_objects
from lamella.testing.codecs import weights
from lamella.testing.packs import changed

NBYTES = 256 * MIB
PAGE = weights(1 << 15, 2, 1)
STATUS = Path("/proc/self/status")


def repeated(page: bytes, *bases: ObjectId) -> Source:
    """Return 256 MiB that consist of `page` over and over."""

    def read_at(offset: int, nbytes: int) -> bytes:
        start = offset % len(page)
        return (page * (nbytes // len(page) + 2))[start : start + nbytes]

    return Source(NBYTES, 2, read_at, bases)


def peak_nbytes() -> int:
    """Return the most memory that this process has had."""
    if STATUS.exists():
        return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(directory: str, threads: str) -> None:
    """Add a tensor and a tuned one, read both, and print the growth in bytes."""
    with ObjectStore(Path(directory), StoreConfig(threads=int(threads)), create=True) as store:
        add_objects(store, [Source(1000, 1, lambda offset, nbytes: bytes(nbytes))])
        before = peak_nbytes()
        (one,), _ = add_objects(store, [repeated(PAGE)])
        (two,), _ = add_objects(store, [repeated(changed(PAGE, 999), one)])
        assert store.open(two).head.depth == 1
        assert verify_object(store, two) == NBYTES
        assert sum(len(piece.data) for piece in stream_objects(store, [one, two])) == 2 * NBYTES
        sys.stdout.write(f"{peak_nbytes() - before}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
