"""The operations that change a store, each with what must hold before it, during it and after it."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from lamella.core import fsio
from lamella.core.config import StoreConfig
from lamella.core.dtypes import DTYPES
from lamella.core.errors import NotFoundError
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import MIB
from lamella.core.tensors import TensorSpec
from lamella.store import repack as repacking
from lamella.store.check import check_store, salvage
from lamella.store.gc import collect
from lamella.store.kin import Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.repack import Repacked, repack
from lamella.store.rollup import roll_up
from lamella.store.series import Series
from lamella.store.writer import Source, add_objects
from lamella.testing.codecs import noise, nudged, weights
from lamella.testing.packs import changed

STORE = "lamella"
LONG_AGO = 1_000_000_000
QUIET = StoreConfig(threads=1, grace_seconds=3600, roll_up_packs=1000)
MERGING = StoreConfig(threads=1, grace_seconds=3600, roll_up_packs=2)

BASE, TUNED, AGAIN = weights(900, 2, 1), changed(weights(900, 2, 1), 300), changed(weights(900, 2, 1), 200)
WALK = tuple(itertools.accumulate(range(2, 9), lambda data, seed: nudged(data, 2, seed), initial=weights(900, 2, 9)))
TURNED = b"".join(BASE[2 * item : 2 * item + 2] for row in range(30) for item in range(row, 900, 30))
SINGLE, WIDE, LARGE = weights(500, 4, 2), weights(200, 8, 3), noise(3 * MIB + 5, 4)


def source(data: bytes, item_nbytes: int = 2, *bases: bytes) -> Source:
    """Return `data` as something to store."""
    candidates = tuple(digest(base) for base in bases)
    return Source(len(data), item_nbytes, lambda offset, nbytes: data[offset : offset + nbytes], candidates)


def turned() -> Source:
    """Return the transpose of BASE, a matrix of 30 rows, as something that is found to be that."""
    matrix = TensorSpec("matrix", DTYPES["bf16"], (30, 30))
    family = Family((), [Relative(matrix, digest(BASE))])
    return replace(source(TURNED), spec=matrix, family=family)


def add(root: Path, *sources: Source, config: StoreConfig = QUIET) -> list[ObjectId]:
    """Store `sources` in the store below `root` and return their ids."""
    with ObjectStore(root / STORE, config, create=True) as store:
        return add_objects(store, sources)[0]


def age(root: Path) -> None:
    """Make every pack older than any grace period."""
    for path in (root / STORE / "packs").iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


@dataclass(frozen=True)
class Scenario:
    """An operation on a prepared store.

    `kept` can be read at any time, `gained` once the operation has returned, and `dropped` cannot be found then.
    Between the steps of an operation nothing is damaged, unless the store was `damaged` to begin with.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path], object]
    kept: tuple[bytes, ...]
    gained: tuple[bytes, ...] = ()
    dropped: tuple[bytes, ...] = ()
    packs_after: int | None = None
    damaged: bool = False
    finished_by: Callable[[Path], bool] = field(default=lambda root: True)


def _add_first(root: Path) -> None:
    add(root, source(BASE))


def _add_more(root: Path) -> object:
    return add(root, source(TUNED, 2, BASE), source(SINGLE, 4), source(b"", 1), source(BASE))


def _add_large(root: Path) -> object:
    return add(root, source(LARGE, 4), source(SINGLE, 4))


def _add_what_another_adds(root: Path) -> object:
    with not_flushed_yet():
        add(root, source(WIDE, 8))
    return add(root, source(WIDE, 8), source(BASE))


@contextlib.contextmanager
def not_flushed_yet() -> Iterator[None]:
    """Stop what another process does just before it flushes a directory."""
    with mock.patch.object(fsio, "sync_directory"):
        yield


def _several_packs(root: Path) -> None:
    add(root, source(BASE))
    add(root, source(TUNED, 2, BASE), source(SINGLE, 4))
    add(root, source(WIDE, 8))
    age(root)


def _derived_pack(root: Path) -> None:
    add(root, source(BASE), source(SINGLE, 4))
    add(root, turned())
    age(root)


def _collect_derived(root: Path) -> object:
    with ObjectStore(root / STORE, QUIET) as store:
        return collect(store, lambda: {digest(TURNED)})


def _add_turned(root: Path) -> object:
    identities = add(root, turned(), source(TUNED, 2, BASE))
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.open(identities[0]).sources
    return identities


def _roll_up(root: Path) -> object:
    with ObjectStore(root / STORE, MERGING) as store:
        return roll_up(store)


def _collect(root: Path) -> object:
    with ObjectStore(root / STORE, QUIET) as store:
        return collect(store, lambda: {digest(TUNED)})


def _leaning_pack(root: Path) -> None:
    add(root, source(BASE))
    add(root, source(TUNED, 2, BASE))
    age(root)


def _collect_what_another_replaced(root: Path) -> object:
    with not_flushed_yet(), ObjectStore(root / STORE, QUIET) as other:
        add_objects(other, [source(TUNED)], anew=True)
    with ObjectStore(root / STORE, QUIET) as store:
        return collect(store, lambda: {digest(TUNED)})


def walk_in_a_chain(root: Path) -> None:
    """Store the versions of `WALK`, each in a pack of its own and against those before it."""
    for number, data in enumerate(WALK):
        add(root, source(data, 2, *WALK[max(0, number - 1) : number]))
    age(root)


def versions(*contents: bytes, layout: int | None = 1) -> Series:
    """Return `contents`, the oldest first, as versions of one tensor."""
    return Series(tuple(digest(data) for data in reversed(contents)), layout)


def repack_all(store: ObjectStore, *series: Series, dry_run: bool = False) -> Repacked:
    """Repack a store in which everything is needed."""
    return repack(store, lambda: series, lambda: _everything(store), dry_run=dry_run)


def _everything(store: ObjectStore) -> set[ObjectId]:
    return {entry.id for name in store.refresh() for entry in store.pack(name).entries()}


def _repack(root: Path) -> object:
    with ObjectStore(root / STORE, QUIET) as store:
        return repack_all(store, versions(*WALK))


def _repack_in_rounds(root: Path) -> object:
    with mock.patch.object(repacking, "ROUND_NBYTES", 6000):
        return _repack(root)


def _is_repacked(root: Path) -> bool:
    with ObjectStore(root / STORE, QUIET) as store:
        report = repack_all(store, versions(*WALK), dry_run=True)
        copies = [len(store.index.find(digest(data))) for data in WALK]
    return report.costliest_before <= 2 and not report.repacked_objects and copies == [1] * len(WALK)


def _damaged_pack(root: Path) -> None:
    _several_packs(root)
    with ObjectStore(root / STORE, QUIET) as store:
        ((name, entry),) = store.index.find(digest(SINGLE))
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + entry.nbytes - 5] ^= 0x10
    path.write_bytes(data)


def _salvage(root: Path) -> object:
    with ObjectStore(root / STORE, QUIET) as store:
        return salvage(store, [source(SINGLE, 4)])


def _set_aside(root: Path) -> object:
    with ObjectStore(root / STORE, QUIET) as store:
        return salvage(store, [])


def _quarantined(root: Path) -> bool:
    aside = root / STORE / "quarantine"
    return aside.is_dir() and len(list(aside.iterdir())) == 1


SCENARIOS = {
    "add": Scenario(_add_first, _add_more, (BASE,), (TUNED, SINGLE, b"")),
    "add-to-nothing": Scenario(lambda root: None, _add_more, (), (TUNED, SINGLE, b"", BASE)),
    "add-what-another-adds": Scenario(_add_first, _add_what_another_adds, (BASE,), (WIDE,)),
    "collect-what-another-replaced": Scenario(
        _leaning_pack, _collect_what_another_replaced, (TUNED,), dropped=(BASE,), packs_after=1
    ),
    "add-large": Scenario(_add_first, _add_large, (BASE,), (LARGE, SINGLE)),
    "add-derived": Scenario(_add_first, _add_turned, (BASE,), (TURNED, TUNED)),
    "collect-derived": Scenario(_derived_pack, _collect_derived, (TURNED, BASE), dropped=(SINGLE,), packs_after=2),
    "roll-up": Scenario(_several_packs, _roll_up, (BASE, TUNED, SINGLE, WIDE), packs_after=1),
    "collect": Scenario(_several_packs, _collect, (BASE, TUNED), dropped=(SINGLE, WIDE), packs_after=2),
    "repack": Scenario(walk_in_a_chain, _repack, WALK, finished_by=_is_repacked),
    "repack-in-rounds": Scenario(walk_in_a_chain, _repack_in_rounds, WALK, finished_by=_is_repacked),
    "set-aside": Scenario(
        _damaged_pack, _set_aside, (BASE, TUNED, WIDE), dropped=(SINGLE,), damaged=True, finished_by=_quarantined
    ),
    "salvage": Scenario(
        _damaged_pack, _salvage, (BASE, TUNED, WIDE), (SINGLE,), damaged=True, finished_by=_quarantined
    ),
}


def faults_of(root: Path, scenario: Scenario, *, finished: bool, repeated: bool = False) -> list[str]:
    """Return what a fresh process finds wrong with the store below `root`.

    Packs are not counted where the operation was `repeated`: two copies of a pack may be left until the next `gc`.
    """
    wrong = []
    if not (root / STORE / "packs").is_dir():
        return ["the store is gone"] if scenario.kept or finished else []
    with ObjectStore(root / STORE, QUIET) as store:
        for data in scenario.kept + (scenario.gained if finished else ()):
            try:
                if store.read(digest(data)) != data:
                    wrong.append("wrong bytes")
            except NotFoundError:
                wrong.append("an object is lost")
        checked = check_store(store)
        if (finished or not scenario.damaged) and (checked.damage or checked.unreadable):
            wrong.append(f"damage: {checked.damage}, {len(checked.unreadable)} unreadable")
        if finished:
            wrong.extend("a dropped object is back" for data in scenario.dropped if store.contains(digest(data)))
            if (
                not repeated
                and scenario.packs_after is not None
                and len(store.index.pack_names()) != scenario.packs_after
            ):
                wrong.append(f"{len(store.index.pack_names())} packs")
            if not scenario.finished_by(root):
                wrong.append("not finished")
    return wrong
