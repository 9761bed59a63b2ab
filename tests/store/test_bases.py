"""A base is chosen where it saves, the cheapest of those that are allowed."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.codec.alone import Alone
from lamella.codec.builtin import PALETTE
from lamella.codec.delta import LAYOUT_OF_DTYPE, Delta
from lamella.core.config import StoreConfig
from lamella.core.ids import digest
from lamella.core.limits import CHUNK_SHIFT
from lamella.store.bases import ALONE, Choice, choose
from lamella.store.objects import ObjectStore
from lamella.store.record import Head
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise, weights
from lamella.testing.packs import changed
from tests.store.scenarios import source

DATA = weights(5000, 2, 1)
NEAR, FAR, OTHER = changed(DATA, 900), changed(DATA, 9), weights(5000, 2, 2)


@pytest.fixture
def store(tmp_path: Path):
    with ObjectStore(tmp_path / "store", StoreConfig(threads=1), create=True) as opened:
        add_objects(opened, [source(data) for data in (NEAR, FAR, OTHER, DATA[:400], b"")])
        add_objects(opened, [source(NEAR[:-2] + b"ab", 2, NEAR)])
        yield opened


def chosen(
    store: ObjectStore,
    data: bytes,
    *candidates: bytes,
    item_nbytes: int = 2,
    shift: int = CHUNK_SHIFT,
    layout: int | None = None,
) -> Choice:
    head = Head(digest(data), None, 0, item_nbytes, shift, len(data), 0, ())

    def read_chunk(number: int) -> bytes:
        return data[number * head.chunk_nbytes : (number + 1) * head.chunk_nbytes]

    return choose(head, layout, read_chunk, [store.open(digest(candidate)) for candidate in candidates])


def base_of(choice: Choice) -> bytes | None:
    return None if choice.chain is None else choice.chain.read()


def test_without_candidates_an_object_is_stored_alone(store):
    assert chosen(store, DATA) == ALONE


def test_the_nearest_candidate_is_chosen_whatever_the_order(store):
    assert base_of(chosen(store, DATA, NEAR, FAR, OTHER)) == NEAR
    assert base_of(chosen(store, DATA, OTHER, FAR, NEAR)) == NEAR
    assert chosen(store, DATA, NEAR).depth == 1


def test_floats_get_a_codec_of_their_own_alone_and_against_a_base(store):
    drawn = random.Random(1)
    values = [drawn.gauss(0, 0.02) for _ in range(5000)]
    normal = b"".join(struct.pack("<f", value)[2:] for value in values)
    moved = b"".join(struct.pack("<f", value + drawn.gauss(0, 1e-4))[2:] for value in values)
    add_objects(store, [source(normal)])
    alone = chosen(store, normal, layout=1)
    assert (alone.chain, alone.depth, alone.codec.code) == (None, 0, Alone.code)
    against = chosen(store, moved, OTHER, normal, layout=1)
    assert (base_of(against), against.depth, against.codec.code) == (normal, 1, Delta.code)


def test_floats_that_repeat_themselves_are_left_to_the_planes(store):
    assert chosen(store, DATA[:1200] * 50, layout=1) == ALONE
    assert chosen(store, bytes(10_000), layout=1) == ALONE


def test_floats_that_were_quantised_are_left_to_the_palette(store):
    drawn = random.Random(1)
    factors = [round(drawn.gauss(0, 30)) for _ in range(6400)]
    for row in (6400, 640, 64):
        steps = [drawn.randrange(1 << 20, 1 << 24) * 2.0**-34 for _ in range(6400 // row)]
        values = struct.pack("<6400f", *(factor * steps[at // row] for at, factor in enumerate(factors)))
        choice = chosen(store, values, OTHER, item_nbytes=4, layout=3)
        assert choice == Choice(None, 0, PALETTE)
        add_objects(store, [replace(source(values, 4), layout=3)])
        chain = store.open(digest(values))
        assert {row.code for row in chain.head.rows} == {PALETTE.code}
        assert chain.read() == values
        near = values[:-4] + bytes(4)
        assert base_of(chosen(store, near, values, item_nbytes=4, layout=3)) == values


def test_narrow_floats_in_wide_items_keep_the_planes_of_their_difference(store):
    drawn = random.Random(1)
    values = [drawn.gauss(0, 0.02) for _ in range(5000)]
    base, moved = (
        b"".join(b"\0\0" + struct.pack("<f", value + step * drawn.gauss(0, 1e-4))[2:] for value in values)
        for step in (0, 1)
    )
    add_objects(store, [source(base, 4)])
    choice = chosen(store, moved, base, item_nbytes=4, layout=3)
    assert (base_of(choice), choice.codec) == (base, None)


def test_a_few_floats_do_not_pay_for_tables(store):
    assert chosen(store, DATA[:64], layout=1) == ALONE


def test_items_that_are_not_whole_are_no_floats(store):
    assert chosen(store, DATA[:-1], NEAR, layout=1).codec is None


def test_a_candidate_that_does_not_save_is_not_chosen(store):
    assert chosen(store, DATA, OTHER) == ALONE
    assert chosen(store, noise(10_000, 5), NEAR, FAR, OTHER) == ALONE


def test_an_empty_object_leans_on_nothing_and_nothing_leans_on_one(store):
    assert chosen(store, b"", NEAR) == ALONE
    assert chosen(store, DATA, b"") == ALONE


def test_a_candidate_on_another_grid_is_not_chosen(store):
    assert chosen(store, DATA, NEAR, item_nbytes=1) == ALONE
    assert chosen(store, DATA, NEAR, shift=CHUNK_SHIFT + 1) == ALONE


def test_a_candidate_at_the_deepest_allowed_is_not_chosen(store):
    leaning = NEAR[:-2] + b"ab"
    assert store.open(digest(leaning)).head.depth == 1
    assert chosen(store, DATA, leaning).depth == 2
    deepest = leaning[:-4] + b"cdef"
    add_objects(store, [source(deepest, 2, leaning)])
    assert store.open(digest(deepest)).head.depth == 2
    assert chosen(store, DATA, deepest) == ALONE


def test_a_candidate_too_short_for_the_sample_counts_as_no_help(store):
    assert chosen(store, DATA, DATA[:400]) == ALONE


def test_a_chain_whose_deltas_are_dearer_than_the_object_alone_is_not_continued(tmp_path):
    versions = [weights(20_000, 4, 1)]
    for step in (2, 2, 2, 2):
        versions.append(changed(versions[-1], step))
    with ObjectStore(tmp_path / "store", StoreConfig(threads=1), create=True) as store:
        for number, data in enumerate(versions):
            add_objects(store, [source(data, 4, *versions[:number][::-1])])
        for data in versions:
            chain = store.open(digest(data))
            alone = chosen(store, data, item_nbytes=4)
            assert alone == ALONE
            assert chain.delta_nbytes <= len(data)


def test_a_version_that_left_all_behind_that_may_be_leaned_on_is_stored_alone(tmp_path):
    drawn = random.Random(5)
    values = [drawn.gauss(0, 0.02) for _ in range(20_000)]
    moving = [drawn.gauss(0, 1e-4) for _ in values]
    versions: list[bytes] = []
    depths = []
    with ObjectStore(tmp_path / "store", StoreConfig(threads=1), create=True) as store:
        for _ in range(12):
            versions.append(b"".join(struct.pack("<f", value)[2:] for value in values))
            given = replace(source(versions[-1], 2, *versions[-2:-1]), layout=LAYOUT_OF_DTYPE["bf16"])
            add_objects(store, [given])
            depths.append(store.open(digest(versions[-1])).head.depth)
            values = [value + step for value, step in zip(values, moving, strict=True)]
    assert depths[:3] == [0, 1, 2]
    assert 2 <= depths.count(0) <= 6
    assert max(depths) == 2
