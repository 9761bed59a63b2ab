"""The moments of Adam in a store: each as the store chooses, alone or against the step before, beside ZipNN."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from benchmarks import coders, models
from benchmarks.coders import Tensor
from benchmarks.report import Row
from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core.config import StoreConfig
from lamella.core.ids import ObjectId
from lamella.store.objects import ObjectStore
from lamella.store.writer import ReadAt, Source, add_objects

KINDS = {"exp_avg": "first", "exp_avg_sq": "second"}
"""How PyTorch ends the names of the first and second moments, and what they are called here."""
MOST_OF_ZIPNN = 0.95

Sizes = dict[tuple[str, str], int]
"""Bytes by contender and kind."""


def files(folder: Path) -> list[tuple[int, Path]]:
    """Return the steps and paths of the adam-STEP.safetensors in `folder`, in order."""
    named = ((re.fullmatch(r"adam-(\d+)\.safetensors", path.name), path) for path in folder.iterdir())
    return sorted((int(found[1]), path) for found, path in named if found)


def rows(folder: Path) -> list[Row]:
    """Return what share each kind takes at each step and in all, of ours and of ZipNN, and the ratio of the two."""
    found: list[Row] = []
    totals: Sizes = {}
    before: dict[str, ObjectId] = {}
    with tempfile.TemporaryDirectory() as work, ObjectStore(Path(work) / "store", StoreConfig(), create=True) as store:
        for step, path in files(folder):
            tensors = {name: data for name, (_, data) in models.read(path).items()}
            sizes, before = _stored(store, tensors, before)
            sizes |= _alone(tensors)
            found += _rows(f"step {step}", sizes)
            totals = {key: totals.get(key, 0) + nbytes for key, nbytes in sizes.items()}
    return [*found, *_rows("all", totals)]


def _kind(name: str) -> str:
    return KINDS[name.rpartition(".")[2]]


def _stored(
    store: ObjectStore, tensors: dict[str, memoryview], before: dict[str, ObjectId]
) -> tuple[Sizes, dict[str, ObjectId]]:
    """Store the tensors, each with the one of the same name before as a candidate, and return what they take."""
    sources = [
        Source(len(data), 4, _reader(data), (before[name],) if name in before else (), LAYOUT_OF_DTYPE["f32"])
        for name, data in tensors.items()
    ]
    ids, _ = add_objects(store, sources)
    sizes: Sizes = {}
    for name, identity in zip(tensors, ids, strict=True):
        links = store.open(identity).links
        for key, nbytes in (("lamella", links[0].entry.nbytes), ("bytes", len(tensors[name]))):
            sizes[key, _kind(name)] = sizes.get((key, _kind(name)), 0) + nbytes
    return sizes, dict(zip(tensors, ids, strict=True))


def _reader(data: memoryview) -> ReadAt:
    return lambda offset, nbytes: data[offset : offset + nbytes]


def _alone(tensors: dict[str, memoryview]) -> Sizes:
    """Return what ZipNN makes of all tensors of a kind in one piece, which is the best for it."""
    zipnn = coders.zipnn()
    if zipnn is None:
        return {}
    sizes: Sizes = {}
    for kind in KINDS.values():
        joined = memoryview(b"".join(data for name, data in tensors.items() if _kind(name) == kind))
        sizes["ZipNN", kind] = zipnn.encode(Tensor("f32", 4, joined, joined))[1]
    return sizes


def _rows(when: str, sizes: Sizes) -> list[Row]:
    found = []
    for what, kinds in (*((f"{kind} moment", [kind]) for kind in KINDS.values()), ("both", list(KINDS.values()))):
        taken = {name: sum(sizes.get((name, kind), 0) for kind in kinds) for name in ("lamella", "ZipNN", "bytes")}
        measure = f"{what}, {when}"
        found.append(Row("moments", "lamella", measure, taken["lamella"] / taken["bytes"], "of original"))
        if taken["ZipNN"]:
            bound = MOST_OF_ZIPNN if what == "both" else None
            found += [
                Row("moments", "ZipNN", measure, taken["ZipNN"] / taken["bytes"], "of original"),
                Row("moments", "lamella / ZipNN", measure, taken["lamella"] / taken["ZipNN"], "of original", bound),
            ]
    return found
