"""Flip every bit of a pack of 64 KiB, one at a time, and count the flips that break a promise.

Prints one line of JSON and exits with 1 where there is a violation. All flips, more than 524,288, take about an hour on
one core; `--stride` takes every n-th, `--jobs` runs several processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lamella.testing.codecs import noise, weights
from lamella.testing.packs import Content, Sample, changed, check_flip, one_of_everything, write_pack

NBYTES = 64 * 1024
CHUNK_SHIFT = 10
"""Chunks of 1024 items: enough of them in an object, and few enough to decode the pack half a million times."""


def contents() -> list[Content]:
    """Return one of everything, and chains of larger objects that fill the rest of the pack."""
    half, single = weights(9000, 2, 20), weights(4500, 4, 21)
    return [
        *one_of_everything(),
        Content(b""),
        Content(half, 2, chunk_shift=CHUNK_SHIFT),
        Content(changed(half, 700), 2, half, 1, chunk_shift=CHUNK_SHIFT),
        Content(changed(changed(half, 700), 900), 2, changed(half, 700), 2, chunk_shift=CHUNK_SHIFT),
        Content(single, 4, chunk_shift=CHUNK_SHIFT),
        Content(changed(single, 500), 4, single, 1, chunk_shift=CHUNK_SHIFT),
        Content(noise(33_000, 22), 8, chunk_shift=CHUNK_SHIFT),
    ]


def prepared(directory: Path) -> Sample:
    """Make a store of one pack, whose index lies in memory: its place on disk is taken."""
    (directory / "packs").mkdir()
    (directory / "index.db").mkdir()
    return write_pack(directory / "packs", contents())


def flip_share(first: int, step: int) -> tuple[int, list[str]]:
    """Flip every `step`-th bit from `first` on; return how many, and what that broke."""
    violations: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory() as directory:
        sample = prepared(Path(directory))
        for bit in range(first, 8 * len(sample.data), step):
            violations += check_flip(Path(directory), sample, bit)
            count += 1
    return count, violations


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        nbytes = len(prepared(Path(directory)).data)
    began = time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        firsts = [options.stride * job for job in range(options.jobs)]
        shares = list(pool.map(flip_share, firsts, [options.stride * options.jobs] * options.jobs))
    violations = [violation for _, found in shares for violation in found]
    report = {
        "pack_nbytes": nbytes,
        "flips": sum(count for count, _ in shares),
        "violations": len(violations),
        "examples": violations[:5],
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(report))
    sys.exit(bool(violations) or nbytes < NBYTES)


if __name__ == "__main__":
    main()
