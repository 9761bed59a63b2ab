"""A model that is copied in finds its relative among a thousand: how long that takes, and how often it does.

The stored models are drawn at random, of small tensors, as many as a real one has. Strangers and fine-tunes of one of
them are added without a history. With a real series, a version is added in the same way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import codec, report
from benchmarks.models import Floats, bf16
from benchmarks.report import Row
from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core.ids import ObjectId
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, add_objects, identify

ITEMS = 8192
DISTANCES = (0.01, 0.05, 0.1, 0.2, 0.3)
"""How far a fine-tune is from its base, as a share of the standard deviation of the weights."""
MOST_SECONDS = 1.0


def model(seed: int, tensors: int) -> list[Floats]:
    """Return a model of its own."""
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(ITEMS, dtype=np.float32) * np.float32(0.02) for _ in range(tensors)]


def moved(weights: Sequence[Floats], distance: float) -> list[Floats]:
    """Return a fine-tune of a model."""
    draw = np.random.default_rng(int(1e6 * distance))
    scale = np.float32(0.02 * distance)
    return [tensor + scale * draw.standard_normal(len(tensor), dtype=np.float32) for tensor in weights]


def source(data: bytes | memoryview, dtype: str, item_nbytes: int, *candidates: ObjectId) -> Source:
    """Return a tensor as something to store."""
    return Source(
        len(data), item_nbytes, lambda start, nbytes: data[start : start + nbytes], candidates, LAYOUT_OF_DTYPE[dtype]
    )


def sources(weights: Sequence[Floats]) -> list[Source]:
    """Return a model as something to store."""
    return [source(bf16(tensor).tobytes(), "bf16", 2) for tensor in weights]


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def among(store: ObjectStore, models: int, tensors: int) -> list[Row]:
    """Return what adding to a store of so many models takes, and how many bases are found and wrong."""
    for seed in range(models):
        add_objects(store, sources(model(seed, tensors)), anew=True)
    origin = model(models // 2, tensors)
    section, rows = f"{models} models of {tensors} tensors", []
    strangers = [sources(model(models + number, tensors)) for number in range(3)]
    plain = timed(lambda: add_objects(store, strangers[0], anew=True))
    first = timed(lambda: add_objects(store, strangers[1]))
    second = timed(lambda: add_objects(store, strangers[2]))
    rows += [
        Row(section, "lamella", "a stranger, without a search", plain, "s"),
        Row(section, "lamella", "a stranger, at the first search", first, "s"),
        Row(section, "lamella", "a stranger, at the next search", second, "s", plain + MOST_SECONDS),
        Row(section, "lamella", "bases of strangers", based(store, strangers[2]), "of all", 0),
    ]
    for distance in DISTANCES:
        tuned = sources(moved(origin, distance))
        _, added = add_objects(store, tuned)
        rows += [
            Row(section, "lamella", f"bases found at a distance of {distance:g}", based(store, tuned), "of all"),
            Row(
                section, "lamella", f"size at a distance of {distance:g}", added.stored_nbytes / added.nbytes, "of all"
            ),
        ]
    return rows


def based(store: ObjectStore, listed: Sequence[Source]) -> float:
    """Return which share of objects leans on others."""
    ids = identify(listed, store.config.threads)
    return sum(store.open(one).head.base is not None for one in ids) / len(ids)


def real(directory: Path, old: Path, new: Path) -> list[Row]:
    """Return what a real version takes where its base was named, and where it had to be found."""
    listed = codec.tensors(old, new)
    rows = []
    for contender in ("named", "found"):
        with ObjectStore(directory / contender, create=True) as store:
            bases = [source(tensor.base, tensor.dtype, tensor.item_nbytes) for tensor in listed]
            ids, _ = add_objects(store, bases)
            named = [(one,) if contender == "named" else () for one in ids]
            versions = [
                source(tensor.data, tensor.dtype, tensor.item_nbytes, *base)
                for tensor, base in zip(listed, named, strict=True)
            ]
            began = time.perf_counter()
            _, added = add_objects(store, versions)
            rows += [
                Row(f"{old.stem} to {new.stem}", contender, "size", added.stored_nbytes / added.nbytes, "of original"),
                Row(f"{old.stem} to {new.stem}", contender, "time", time.perf_counter() - began, "s"),
            ]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relatives", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--tensors", type=int, default=40, help="large ones of each model; small ones are not searched")
    parser.add_argument("--series", type=Path, help="folder with DTYPE-STEP.safetensors at steps 0 and 40")
    parser.add_argument("--dtypes", nargs="+", default=["bf16", "fp16", "fp32"])
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        with ObjectStore(Path(made) / "many", create=True) as store:
            sections = [among(store, given.models, given.tensors)]
        for dtype in given.dtypes if given.series else ():
            paths = [given.series / f"{dtype}-{step}.safetensors" for step in (0, 40)]
            sections.append(real(Path(made) / dtype, *paths))
    for rows in sections:
        print(f"\n{rows[0].section}\n{report.table(rows)}", flush=True)
    options = {"models": given.models, "tensors": given.tensors, "series": "real" if given.series else "none"}
    return report.conclude("relatives", given.output, options, {}, [row for rows in sections for row in rows])


if __name__ == "__main__":
    sys.exit(main())
