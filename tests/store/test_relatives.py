"""An object that comes without a history finds its relative among all that is stored, and leans on it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from lamella.core.config import StoreConfig
from lamella.core.ids import ObjectId, digest
from lamella.store import relatives
from lamella.store.check import check_store
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackReader
from lamella.store.relatives import MOST_FOUND, search
from lamella.store.rollup import roll_up
from lamella.store.sketch import PLACES, SKETCH, take_sketch
from lamella.store.writer import add_objects
from tests.store.families import ARRAY_DTYPES, drawn, source, tensor, tuned

QUIET = StoreConfig(threads=1, grace_seconds=0, roll_up_packs=1000)
DECOYS = range(100, 130)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", QUIET, create=True) as opened:
        yield opened


def add(store: ObjectStore, data: bytes, dtype: str = "bf16", *candidates: ObjectId) -> ObjectId:
    (identity,), _ = add_objects(store, [source(data, dtype, *candidates)])
    return identity


def crowd(store: ObjectStore, dtype: str = "bf16", *, items: int = 16_384) -> None:
    """Store many unrelated tensors of one size, in several packs."""
    for start in range(0, len(DECOYS), 10):
        add_objects(store, [source(tensor(drawn(seed, items), dtype), dtype) for seed in DECOYS[start : start + 10]])


def base_of(store: ObjectStore, identity: ObjectId) -> ObjectId | None:
    return store.open(identity).head.base


@pytest.mark.parametrize("dtype", sorted(ARRAY_DTYPES))
def test_a_fine_tune_without_parents_finds_its_relative_among_many(store, dtype):
    weights = drawn(1, 16_384)
    origin = add(store, tensor(weights, dtype), dtype)
    crowd(store, dtype)
    near = tensor(tuned(weights, 0.01), dtype)
    identity = add(store, near, dtype)
    assert base_of(store, identity) == origin
    assert store.read(identity) == near


def test_a_stranger_stays_alone(store):
    crowd(store)
    assert base_of(store, add(store, tensor(drawn(1, 16_384)))) is None


def test_every_tensor_of_a_copied_model_finds_its_own_relative(store):
    model = [drawn(seed, items) for seed in range(8) for items in (8192, 20_000)]
    origins, _ = add_objects(store, [source(tensor(weights)) for weights in model])
    crowd(store)
    moved = [tensor(tuned(weights, 0.01, seed)) for seed, weights in enumerate(model)]
    ids, added = add_objects(store, [source(data) for data in reversed(moved)])
    assert [base_of(store, identity) for identity in ids] == origins[::-1]
    assert added.stored_nbytes < 0.4 * added.nbytes


def test_the_nearer_of_two_relatives_is_taken(store):
    weights = drawn(1, 16_384)
    near = add(store, tensor(tuned(weights, 0.01, 7)))
    for seed in (5, 6):
        assert base_of(store, add(store, tensor(tuned(weights, 0.1, seed)))) == near
    crowd(store)
    assert base_of(store, add(store, tensor(weights))) == near


def test_a_close_candidate_that_was_named_is_taken_without_a_search(store, monkeypatch):
    weights = drawn(1)
    origin = add(store, tensor(weights))
    monkeypatch.setattr(relatives, "search", lambda *_: pytest.fail("searched"))
    assert base_of(store, add(store, tensor(tuned(weights, 0.01)), "bf16", origin)) == origin


def test_a_relative_is_better_than_a_stranger_that_was_named(store):
    weights = drawn(1)
    origin, stranger = add(store, tensor(weights)), add(store, tensor(drawn(2)))
    assert base_of(store, add(store, tensor(tuned(weights, 0.01)), "bf16", stranger)) == origin


def test_a_grown_vocabulary_leans_on_what_it_was(store):
    rows = drawn(1, 70_000)
    origin = add(store, tensor(rows))
    grown = add(store, tensor(numpy.concatenate((tuned(rows, 0.01), drawn(2, 2000)))))
    assert base_of(store, grown) == origin


def test_what_is_stored_deep_leads_to_what_may_be_leaned_on(store):
    weights = drawn(1)
    chain = [add(store, tensor(weights))]
    for step in range(1, 6):
        chain.append(add(store, tensor(tuned(weights, 0.003 * step, step)), "bf16", *chain[::-1]))
    assert max(store.open(identity).head.depth for identity in chain) <= 2
    late = add(store, tensor(tuned(weights, 0.012, 50)))
    assert base_of(store, late) in chain
    assert store.open(late).head.depth <= 2


def test_what_is_stored_anew_stands_by_itself(store):
    weights = drawn(1)
    data = tensor(tuned(weights, 0.01))
    add(store, tensor(weights))
    add_objects(store, [source(data)], anew=True)
    assert base_of(store, digest(data)) is None


def without_index(store: ObjectStore) -> None:
    (store.directory / "index.db").unlink()


def with_other_sketches(store: ObjectStore) -> None:
    run(store, "UPDATE sketches SET sketches = zeroblob(length(sketches))", "UPDATE packs SET sketched = 0")


def run(store: ObjectStore, *statements: str) -> None:
    connection = sqlite3.connect(store.directory / "index.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def after_a_collection(store: ObjectStore) -> None:
    with ObjectStore(store.directory, QUIET) as other:
        kept = {digest(tensor(drawn(seed, 16_384))) for seed in (1, *DECOYS[::2])}
        assert collect(other, lambda: kept).dropped_objects


def after_a_roll_up(store: ObjectStore) -> None:
    with ObjectStore(store.directory, StoreConfig(threads=1, roll_up_packs=2)) as other:
        assert roll_up(other)


@pytest.mark.parametrize("happening", [without_index, with_other_sketches, after_a_collection, after_a_roll_up])
def test_a_relative_is_still_found_afterwards(tmp_path, happening: Callable[[ObjectStore], None]):
    weights = drawn(1, 16_384)
    with ObjectStore(tmp_path / "store", QUIET, create=True) as store:
        origin = add(store, tensor(weights))
        crowd(store)
        assert base_of(store, add(store, tensor(drawn(2, 16_384)))) is None
    happening(store)
    with ObjectStore(tmp_path / "store", QUIET) as store:
        assert base_of(store, add(store, tensor(tuned(weights, 0.01)))) == origin


SPOILERS = {
    "gone": ("DROP TABLE sketches",),
    "none": ("DELETE FROM sketches",),
    "cut": ("UPDATE sketches SET sketches = substr(sketches, 1, 70), ids = substr(ids, 1, 40)",),
    "odd": ("UPDATE sketches SET sketches = 7, ids = 'text'",),
    "other-ids": ("UPDATE sketches SET ids = zeroblob(length(ids))",),
    "other-packs": ("UPDATE sketches SET pack = pack + 1000",),
}


@pytest.mark.parametrize("statements", SPOILERS.values(), ids=SPOILERS)
def test_spoilt_rows_cost_a_base_at_most(tmp_path, statements):
    weights = drawn(1)
    with ObjectStore(tmp_path / "store", QUIET, create=True) as store:
        add(store, tensor(weights))
        add(store, tensor(drawn(2)))
        run(store, *statements)
        near = tensor(tuned(weights, 0.01))
        assert store.read(add(store, near)) == near
        assert check_store(store).damage == ()


def test_an_altered_sketch_is_damage_of_its_object_and_is_not_searched_by(store):
    weights = drawn(1)
    add(store, tensor(weights))
    ((name, entry),) = store.index.find(digest(tensor(weights)))
    path = store.packs / name
    data = bytearray(path.read_bytes())
    sketch = PackReader(path).head(entry).sketch
    data[data.index(sketch) + 9] ^= 4
    path.write_bytes(data)
    (damage,) = check_store(store).damage
    assert (damage.object, damage.kind) == (digest(tensor(weights)), "object-damaged")
    assert base_of(store, add(store, tensor(tuned(weights, 0.01)))) is None


def test_a_relative_whose_payload_is_damaged_keeps_nothing_out(store):
    weights = drawn(1)
    add(store, tensor(weights))
    ((name, entry),) = store.index.find(digest(tensor(weights)))
    path = store.packs / name
    data = bytearray(path.read_bytes())
    data[entry.offset + entry.nbytes - 5] ^= 1
    path.write_bytes(data)
    near = tensor(tuned(weights, 0.01))
    assert store.read(add(store, near)) == near
    assert base_of(store, digest(near)) is None


def numbers(*told: int) -> tuple[int, ...]:
    return (*told, *[0] * (PLACES - len(told)))


def test_a_search_gives_the_most_alike_first_and_the_first_of_equals():
    asked = {ObjectId(b"asked"): SKETCH.pack(*numbers(1, 2, 3, 4))}
    stored = [
        (b"one", numbers(1)),
        (b"zeros", numbers()),
        (b"asked", numbers(1, 2, 3, 4)),
        (b"two", numbers(1, 2)),
        (b"three", numbers(1, 2, 3, 9)),
        (b"three again", numbers(9, 2, 3, 4)),
        (b"elsewhere", numbers(2, 1, 4, 3)),
        (b"four", numbers(1, 2, 3, 4)),
    ]
    assert search(asked, iter(stored)) == {b"asked": [b"four", b"three", b"three again"]}
    assert search(asked, []) == {}
    assert MOST_FOUND == 3


def test_a_search_ends_where_very_much_is_alike(monkeypatch):
    monkeypatch.setattr(relatives, "MOST_COMPARED", 1000)
    alike = numbers(*range(1, PLACES + 1))
    asked = {ObjectId(b"%d" % number): SKETCH.pack(*alike) for number in range(1000)}
    looked_at = iter(range(10**9))
    found = search(asked, ((b"stored %d" % number, alike) for number in looked_at))
    assert len(found) == 1000
    assert next(looked_at) < 10
    strangers = ((b"stored %d" % number, numbers()) for number in looked_at)
    assert search(asked, strangers) == {}
    assert next(looked_at) < 1100


def test_a_model_is_searched_for_among_a_thousand_in_less_than_a_second():
    draw = numpy.random.default_rng(1)
    stored = [
        (b"%d" % number, tuple(row)) for number, row in enumerate(draw.integers(1, 1 << 13, (40_000, PLACES)).tolist())
    ]
    asked = {ObjectId(b"asked %d" % number): SKETCH.pack(*stored[1000 * number][1]) for number in range(40)}
    began = time.process_time()
    found = search(asked, stored)
    assert time.process_time() - began < 1
    assert [found[b"asked %d" % number][0] for number in range(40)] == [b"%d" % (1000 * number) for number in range(40)]


def test_many_objects_are_searched_for_in_turns(store, monkeypatch):
    monkeypatch.setattr(relatives, "ASKED_AT_ONCE", 3)
    model = [drawn(seed) for seed in range(10)]
    origins, _ = add_objects(store, [source(tensor(weights)) for weights in model])
    moved = [tensor(tuned(weights, 0.01)) for weights in model]
    named = [origins[number] if number in (0, 1, 4, 9) else digest(b"unknown") for number in range(10)]
    ids, _ = add_objects(store, [source(data, "bf16", base) for data, base in zip(moved, named, strict=True)])
    assert [base_of(store, identity) for identity in ids] == origins


def test_sketches_are_those_of_the_bytes(store):
    data = tensor(drawn(1))
    head = store.open(add(store, data)).head
    assert head.sketch == take_sketch(len(data), 2, 1, lambda offset, nbytes: data[offset : offset + nbytes])
    assert store.open(add(store, data[:1000])).head.sketch == b""


def test_several_at_once_find_their_relatives_while_packs_come_and_go(tmp_path):
    models = [drawn(seed) for seed in range(6)]
    config = StoreConfig(threads=1, roll_up_packs=3)
    with ObjectStore(tmp_path / "store", config, create=True) as store:
        origins = [add(store, tensor(weights)) for weights in models]

    def copied_in(number: int) -> ObjectId | None:
        with ObjectStore(tmp_path / "store", config) as store:
            return base_of(store, add(store, tensor(tuned(models[number], 0.01))))

    with ThreadPoolExecutor(len(models)) as pool:
        assert list(pool.map(copied_in, range(len(models)))) == origins
