"""Looking for what a tensor may be made of ends when its allowance is spent, and never hides what is likely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.core.ids import ObjectId, digest
from lamella.core.limits import MIB, OBJECT_COST_NBYTES
from lamella.store import kin
from lamella.store.chain import Chain
from lamella.store.kin import Allowance, Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, add_objects
from lamella.testing.codecs import noise
from lamella.testing.models import spec
from tests.store.test_derivation import TWO_THREADS, Shelf, cast, is_derived, numbers


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", TWO_THREADS, create=True) as store:
        yield store


class Spy:
    """Counts the objects that are opened and the bytes that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = self.nbytes = 0
        opened, decode = ObjectStore.open, Chain.decode

        def counted_open(store: ObjectStore, identity: ObjectId) -> Chain:
            self.opened += 1
            return opened(store, identity)

        def counted_decode(chain: Chain, first: int, last: int, *, verified: bool = True) -> bytearray:
            data = decode(chain, first, last, verified=verified)
            self.nbytes += len(data)
            return data

        monkeypatch.setattr(ObjectStore, "open", counted_open)
        monkeypatch.setattr(Chain, "decode", counted_decode)


def stored(store: ObjectStore, count: int, *shape: int) -> list[Relative]:
    """Store so many tensors of noise, and return them."""
    what = [spec(f"other.{number}", *shape) for number in range(count)]
    data = [noise(one.nbytes, number) for number, one in enumerate(what)]
    add_objects(store, [Source(len(one), 4, lambda at, nbytes, one=one: one[at : at + nbytes]) for one in data])
    return [Relative(one, digest(content)) for one, content in zip(what, data, strict=True)]


def test_an_allowance_that_is_spent_gives_nothing_any_more():
    allowance = Allowance(tensors=1, nbytes=5)
    whole = kin.LEAST_ALLOWED_NBYTES + kin.OPENED_PER_TENSOR * OBJECT_COST_NBYTES + 5
    assert [allowance.spend(nbytes) for nbytes in (whole - 10, 9, 2, 0, 1)] == [True, True, False, False, False]


def test_of_many_unrelated_tensors_a_few_are_opened(store, monkeypatch):
    monkeypatch.setattr(kin, "LEAST_ALLOWED_NBYTES", MIB)
    family = Family((), stored(store, 300, 300), tensors=10)
    spy = Spy(monkeypatch)
    data = [noise(1200, 1000 + number) for number in range(10)]
    add_objects(store, [
        Source(1200, 4, lambda at, nbytes, one=one: one[at : at + nbytes], (), None, spec(f"new.{number}", 300), family)
        for number, one in enumerate(data)
    ])  # fmt: skip
    assert 20 < spy.opened <= MIB // OBJECT_COST_NBYTES + 10 * kin.OPENED_PER_TENSOR


def test_a_small_tensor_beside_large_ones_has_little_of_them_decoded(store, monkeypatch):
    monkeypatch.setattr(kin, "LEAST_ALLOWED_NBYTES", 2 * MIB)
    shelf = Shelf(store)
    whole = numbers(spec("w", 2048, 64), 99)
    shelf.put(spec("w", 2048, 64), whole)
    shelf.relatives = [*stored(store, 20, 2048, 64), *shelf.relatives]
    spy = Spy(monkeypatch)
    family = Family((), shelf.relatives)
    small, part = noise(64 * 256, 77), whole[-64 * 256 :]
    sources = [
        Source(len(data), 4, lambda at, nbytes, data=data: data[at : at + nbytes], (), None, what, family)
        for what, data in ((spec("adapter", 64, 64), small), (spec("w", 64, 64), part))
    ]
    ids, _ = add_objects(store, sources)
    assert spy.nbytes < 4 * MIB
    assert [is_derived(store.open(identity)) for identity in ids] == [False, True]


def test_a_cast_of_the_same_name_is_found_whatever_was_spent(store, monkeypatch):
    monkeypatch.setattr(kin, "LEAST_ALLOWED_NBYTES", 2 * OBJECT_COST_NBYTES)
    shelf = Shelf(store)
    wide = numbers(spec("a", 300))
    shelf.put(spec("a", 300), wide)
    family = Family((), [*stored(store, 30, 300), *shelf.relatives])
    assert not (family.far.spend(MIB) or family.near.spend(MIB))
    narrow = cast(wide, "f32", "bf16")
    source = Source(600, 2, lambda at, nbytes: narrow[at : at + nbytes], (), None, spec("a", 300, dtype="bf16"), family)
    ids, _ = add_objects(store, [source])
    assert is_derived(store.open(ids[0]))


def test_a_recipe_that_is_no_shorter_than_what_it_makes_is_not_taken(store):
    shelf = Shelf(store)
    ones = (0x3F800000).to_bytes(4, "little") * 4096
    shelf.put(spec("norm", 4096), ones)
    chain = shelf.put(spec("norm", 4096, dtype="bf16"), cast(ones, "f32", "bf16"))
    assert (is_derived(chain), chain.head.leans_on) == (False, ())
    many = [noise(64, number) for number in range(40)]
    for number, one in enumerate(many):
        shelf.put(spec(f"bias.{number}", 16), one)
    assert not is_derived(shelf.put(spec("biases", 640), b"".join(many)))
