"""A repacked store holds the same objects, is smaller and cheap to restore, and is so after whatever happened to it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.codec.builtin import encode
from lamella.codec.casts import CASTS, cast_code
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.store import repack as repacking
from lamella.store import series as planning
from lamella.store import writer as writing
from lamella.store.check import check_store
from lamella.store.gc import collect
from lamella.store.kin import Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.repack import Repacked, repack
from lamella.store.series import Wish
from lamella.store.shelf import Standing
from lamella.store.writer import add_objects
from lamella.testing.codecs import nudged, weights
from lamella.testing.faults import power_cut
from lamella.testing.models import spec
from lamella.testing.packs import Content, changed, write_pack
from tests.store.scenarios import (
    BASE,
    QUIET,
    SINGLE,
    STORE,
    TUNED,
    WALK,
    add,
    age,
    repack_all,
    source,
    versions,
    walk_in_a_chain,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    walk_in_a_chain(tmp_path)
    return tmp_path


def repacked(root: Path, *contents: bytes, dry_run: bool = False) -> Repacked:
    with ObjectStore(root / STORE, QUIET) as store:
        return repack_all(store, versions(*contents), dry_run=dry_run)


def packs(root: Path) -> dict[str, tuple[bytes, float]]:
    found = sorted((root / STORE / "packs").iterdir())
    return {path.name: (path.read_bytes(), path.stat().st_mtime) for path in found}


def assert_all_there(root: Path, *contents: bytes, copies: int | None = 1) -> None:
    with ObjectStore(root / STORE, QUIET) as store:
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())
        for data in contents:
            assert store.read(digest(data)) == data
            assert copies in (None, len(store.index.find(digest(data))))


def test_a_series_gets_smaller_and_cheap_to_restore_and_stays_what_it_was(tmp_path):
    series = [weights(2000, 2, 1)]
    while len(series) < 50:
        series.append(nudged(series[-1], 2, len(series)))
    for start in range(0, 50, 5):
        add(tmp_path, *(source(data, 2) for data in series[start : start + 1]))
        for number in range(start + 1, start + 5):
            add(tmp_path, source(series[number], 2, series[number - 1]))
    said = repacked(tmp_path, *series, dry_run=True)
    report = repacked(tmp_path, *series)
    assert report.after_nbytes == sum(len(data) for data, _ in packs(tmp_path).values())
    assert report.after_nbytes < 0.95 * report.before_nbytes
    assert abs(said.after_nbytes - report.after_nbytes) < 0.1 * report.after_nbytes
    assert report.costliest_after <= 2
    assert_all_there(tmp_path, *series)


def test_what_is_encoded_anew_is_still_found_as_a_relative(tmp_path):
    series = [weights(20_000, 2, 1)]
    while len(series) < 6:
        series.append(nudged(series[-1], 2, len(series)))
    for number, data in enumerate(series):
        add(tmp_path, source(data, 2, *series[max(0, number - 1) : number]))
    age(tmp_path)
    assert repacked(tmp_path, *series).repacked_objects > 0
    with ObjectStore(tmp_path / STORE, QUIET) as store:
        assert all(store.open(digest(data)).head.sketch for data in series)


def test_a_repacked_store_is_left_as_it_is(root):
    assert repacked(root, *WALK).repacked_objects > 0
    before = packs(root)
    report = repacked(root, *WALK)
    assert packs(root) == before
    assert (report.repacked_objects, report.before_nbytes) == (0, report.after_nbytes)
    with ObjectStore(root / STORE, QUIET) as store:
        assert collect(store, lambda: {digest(data) for data in WALK}).dropped_objects == 0
    assert packs(root) == before


def test_a_version_that_many_tensors_have_connects_none(tmp_path, monkeypatch):
    nothing = bytes(4000)
    tensors = [[nothing, one := weights(2000, 2, seed), nudged(one, 2, seed)] for seed in range(1, 9)]
    add(tmp_path, source(nothing), *(source(data) for tensor in tensors for data in tensor[1:]))
    sizes, steps, totals = [], [], []
    solved = planning.solve_without

    def watched(problem: Any, *rest: Any) -> Any:
        sizes.append(len(problem.vertices))
        return solved(problem, *rest)

    progress = mock.Mock()
    progress.start.side_effect = lambda label, nbytes: totals.append(nbytes)
    progress.advance.side_effect = steps.append
    monkeypatch.setattr(planning, "solve_without", watched)
    with ObjectStore(tmp_path / STORE, QUIET) as store:
        series = [versions(*tensor) for tensor in tensors]
        report = repack(store, lambda: series, set, dry_run=True, progress=progress)
    assert sizes == [2] * 8
    assert report.repacked_objects == 8
    assert sum(steps) == totals[0] == 4000 * 17


def test_a_dry_run_changes_nothing(root):
    before = packs(root)
    report = repacked(root, *WALK, dry_run=True)
    assert packs(root) == before
    assert report.repacked_objects > 0
    assert report.after_nbytes < report.before_nbytes


def test_what_nobody_calls_a_version_keeps_its_base_and_loses_nothing(root):
    add(root, source(BASE), source(SINGLE, 4), source(b"", 1))
    add(root, source(TUNED, 2, BASE))
    repacked(root, *WALK, b"never stored")
    assert_all_there(root, *WALK, BASE, TUNED, SINGLE, b"")
    with ObjectStore(root / STORE, QUIET) as store:
        assert [base.id for base in store.open(digest(TUNED)).bases] == [digest(BASE)]


def test_what_only_served_as_a_base_is_dropped(tmp_path):
    root, needed = tmp_path, WALK[1:]
    for data in WALK:
        add(root, source(data, 2, *WALK[:1]))
    age(root)
    before = sum(len(data) for data, _ in packs(root).values())
    with ObjectStore(root / STORE, QUIET) as store:
        assert {base.id for data in needed for base in store.open(digest(data)).bases} == {digest(WALK[0])}
        report = repack(store, lambda: [versions(*needed)], lambda: {digest(data) for data in needed})
    assert_all_there(root, *needed)
    assert report.after_nbytes < before - 500
    with ObjectStore(root / STORE, QUIET) as store:
        assert not store.contains(digest(WALK[0]))


def test_what_serves_as_a_base_and_is_in_grace_is_not_dropped(root):
    needed = WALK[1:]
    for path in (root / STORE / "packs").iterdir():
        path.touch()
    with ObjectStore(root / STORE, QUIET) as store:
        repack(store, lambda: [versions(*needed)], lambda: {digest(data) for data in needed})
    assert_all_there(root, *WALK)


def test_the_newest_version_can_be_leaned_on(root):
    repacked(root, *WALK)
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.open(digest(WALK[-1])).head.depth <= 1


def test_a_store_without_objects_is_repacked(tmp_path):
    ObjectStore(tmp_path / STORE, QUIET, create=True).close()
    assert repacked(tmp_path) == Repacked(0, 0, 0, 0, 0, 1.0, 1.0)


@pytest.mark.parametrize("place", ["head", "payload"])
@pytest.mark.parametrize("number", [0, 3])
def test_damage_stops_a_repack(root, number, place):
    with ObjectStore(root / STORE, QUIET) as store:
        ((name, entry),) = store.index.find(digest(WALK[number]))
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + (70 if place == "head" else entry.nbytes - 3)] ^= 4
    path.write_bytes(data)
    age(root)
    before = packs(root)
    with pytest.raises(IntegrityError) as caught:
        repacked(root, *WALK)
    assert caught.value.kind == "store-damaged"
    assert packs(root) == before


def test_a_wrong_copy_under_a_right_name_is_refused(root):
    name = digest(WALK[3])
    write_pack(root / STORE / "packs", [Content(changed(WALK[3], 100), 2, identity=name, chunk_shift=16)])
    before = packs(root)
    with pytest.raises(IntegrityError) as caught:
        repacked(root, *WALK)
    assert caught.value.kind == "store-damaged"
    assert before.items() <= packs(root).items()


def test_an_encoder_that_errs_costs_nothing(root):
    before = packs(root)

    def wrongly(chunk: Buffer, *given: Any) -> tuple[int, bytes]:
        return encode(bytes(chunk[:-2]) + b"xy", *given)

    with mock.patch.object(writing, "encode", wrongly), pytest.raises(IntegrityError):
        repacked(root, *WALK)
    assert packs(root) == before
    assert_all_there(root, *WALK)


def test_what_is_in_grace_stays_in_grace(root):
    path = max((root / STORE / "packs").iterdir())
    moment = time.time() - 1000
    os.utime(path, (moment, moment))
    with ObjectStore(root / STORE, QUIET) as store:
        young = [data for data in WALK if any(name == path.name for name, _ in store.index.find(digest(data)))]
    repacked(root, *WALK)
    with ObjectStore(root / STORE, QUIET) as store:
        assert collect(store, set).kept_objects >= len(young)
        for data in young:
            assert store.read(digest(data)) == data


def test_a_young_copy_is_not_dropped_for_an_old_one(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add_objects(store, [source(WALK[0])], anew=True)
    repacked(root, *WALK)
    assert_all_there(root, *WALK)
    with ObjectStore(root / STORE, QUIET) as store:
        collect(store, set)
        assert store.read(digest(WALK[0])) == WALK[0]


def test_objects_on_another_grid_are_left_as_they_are(root):
    data = weights(900, 2, 5)
    write_pack(root / STORE / "packs", [Content(data, 2), Content(changed(data, 90), 2, data, 1)])
    with ObjectStore(root / STORE, QUIET) as store:
        before = [store.index.find(digest(one))[0][1].check for one in (data, changed(data, 90))]
    repacked(root, *WALK, data, changed(data, 90))
    assert_all_there(root, *WALK, data, changed(data, 90))
    with ObjectStore(root / STORE, QUIET) as store:
        assert [store.index.find(digest(one))[0][1].check for one in (data, changed(data, 90))] == before


def test_the_same_bytes_at_two_widths_are_read_as_they_were(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add_objects(store, [source(WALK[0], 4)], anew=True)
        add_objects(store, [source(changed(WALK[0], 100), 4, WALK[0])], anew=True)
    repacked(root, *WALK, changed(WALK[0], 100))
    assert_all_there(root, *WALK, changed(WALK[0], 100), copies=None)


def test_readers_read_on_while_a_store_is_repacked(root):
    ended = threading.Event()
    faults: list[BaseException] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        try:
            with ObjectStore(root / STORE, QUIET) as store:
                while not ended.is_set():
                    for data in WALK:
                        assert store.read(digest(data)) == data
                        reads += 1
        except BaseException as exc:
            faults.append(exc)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(4):
            with mock.patch.object(repacking, "ROUND_NBYTES", 1), as_wished(lambda one, n=number: (one + n) % 3):
                repacked(root, *WALK)
    finally:
        ended.set()
        reader.join()
    assert faults == []
    assert reads > 0


def as_wished(root_of: Callable[[int], int], parents: list[int | None] | None = None) -> mock._patch[object]:
    """Patch the planner: versions lean on `parents`, or each on the first one with the same `root_of` its number."""

    def wishes(standings: Mapping[ObjectId, Standing], *_: object) -> dict[ObjectId, Wish]:
        numbers = [number for number in range(len(WALK)) if digest(WALK[number]) in standings]
        wanted: dict[int, int | None] = {}
        for number in numbers:
            first = next(one for one in numbers if root_of(one) == root_of(number))
            wanted[number] = (None if first == number else first) if parents is None else parents[number]
        found: dict[ObjectId, Wish] = {}
        while len(found) < len(numbers):
            for number, base in wanted.items():
                if base is None or digest(WALK[base]) in found:
                    identity = digest(WALK[number])
                    leaning = None if base is None else digest(WALK[base])
                    is_new = standings[identity].form.base != leaning
                    found.setdefault(identity, Wish(leaning, 2, 1, is_new, 1, 1))
        return found

    return mock.patch.object(repacking, "wishes", wishes)


@st.composite
def forests(draw: st.DrawFn) -> list[int | None]:
    """Draw a base for each version of the walk, such that none has more than two below it."""
    order = draw(st.permutations(range(len(WALK))))
    parents: list[int | None] = [None] * len(WALK)
    depths: dict[int, int] = {}
    for number in order:
        base = draw(st.sampled_from([None, *(one for one, depth in depths.items() if depth < 2)]))
        parents[number] = base
        depths[number] = 0 if base is None else depths[base] + 1
    return parents


@given(before=forests(), after=forests(), round_nbytes=st.sampled_from([1, 4000, 1 << 30]), cut=st.integers(0, 120))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_plan_can_follow_any_other_whatever_interrupts_it(before, after, round_nbytes, cut, tmp_path_factory):
    root = tmp_path_factory.mktemp("repack")
    add(root, *map(source, WALK))
    age(root)
    for parents in (before, after):
        with mock.patch.object(repacking, "ROUND_NBYTES", round_nbytes), as_wished(int, parents):
            with power_cut(cut):
                repacked(root, *WALK)
            assert_all_there(root, *WALK, copies=None)
            repacked(root, *WALK)
        assert_all_there(root, *WALK)
        with ObjectStore(root / STORE, QUIET) as store:
            for data, base in zip(WALK, parents, strict=True):
                assert store.open(digest(data)).head.base == (None if base is None else digest(WALK[base]))


@pytest.mark.parametrize("gone", [False, True], ids=["all needed", "first version gone"])
def test_what_others_are_derived_from_stays_where_it_is(tmp_path, gone):
    drawn = numpy.random.default_rng(1)
    values = [drawn.normal(0, 0.02, 20_000).astype("<f4")]
    while len(values) < 5:
        values.append((values[-1] + drawn.normal(0, 2e-6, 20_000)).astype("<f4"))
    narrowed = CASTS[cast_code("f32", "bf16")].convert(values[0].view("<u4")).tobytes()
    versions_of = [value.tobytes() for value in values]
    for number, data in enumerate(versions_of):
        add(tmp_path, source(data, 4, *versions_of[max(0, number - 1) : number]))
    family = Family((), [Relative(spec("w", 20_000), digest(versions_of[0]))])
    add(tmp_path, replace(source(narrowed), spec=spec("w", 20_000, dtype="bf16"), family=family))
    age(tmp_path)
    kept = versions_of[gone:]
    needed = {digest(data) for data in (*kept, narrowed)}
    with ObjectStore(tmp_path / STORE, QUIET) as store:
        assert store.open(digest(narrowed)).sources
        first = repack(store, lambda: [versions(*kept, layout=3)], lambda: needed)
        second = repack(store, lambda: [versions(*kept, layout=3)], lambda: needed)
    assert first.after_nbytes <= first.before_nbytes
    assert (second.repacked_objects, second.after_nbytes) == (0, first.after_nbytes)
    assert_all_there(tmp_path, *kept, narrowed, copies=None)
