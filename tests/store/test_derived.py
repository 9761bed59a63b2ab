"""Derived objects in a store: read like any other, kept with what they are made of, and refused where they lie."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.config import StoreConfig
from lamella.core.errors import IntegrityError, LamellaError, NotFoundError
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import CHUNK_SHIFT, MIB
from lamella.store import chain, rollup
from lamella.store.check import check_store, salvage
from lamella.store.derived import derive
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.reader import stream_objects, verify_object
from lamella.store.recipe import COPY, FILL, Block, Ingredient, Piece, Recipe, check_recipe, pack_recipe
from lamella.store.record import DERIVED, Head
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise, weights
from lamella.testing.packs import ONE_THREAD, Content, changed, derived_sample, write_pack
from tests.store.scenarios import STORE, age, source

NO_GRACE = StoreConfig(threads=1, grace_seconds=0, roll_up_packs=1000)
ONE, OTHER = weights(400, 2, 1), weights(400, 2, 2)
MADE, RECIPE = derived_sample(ONE, OTHER)
BASIS = [Content(ONE, 2), Content(OTHER, 2)]
DERIVATIVE = Content(MADE, 2, None, 1, recipe=RECIPE)


class Lent:
    """A source that lies in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def part(self, start: int, stop: int) -> bytearray:
        assert 0 <= start <= stop <= len(self.data)
        return bytearray(self.data[start:stop])


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    (tmp_path / STORE / "packs").mkdir(parents=True)
    return tmp_path / STORE / "packs"


def read(packs: Path, data: bytes) -> bytes:
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        return bytes(store.read(digest(data)))


def kind_of(packs: Path, identity: ObjectId) -> str:
    with ObjectStore(packs.parent, ONE_THREAD) as store, pytest.raises(LamellaError) as caught:
        store.read(identity)
    return caught.value.kind


@st.composite
def made(draw: st.DrawFn) -> tuple[Recipe, list[bytes], int, bytes]:
    """Return a recipe of copies and fills, its sources, the width of an item, and what it makes, item by item."""
    width = draw(st.sampled_from((1, 2, 4, 8)))
    lent = [noise(width * draw(st.integers(1, 200)), number) for number in range(draw(st.integers(1, 3)))]
    blocks, expected = [], bytearray()
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 6))
        pieces = []
        for _ in range(draw(st.integers(1, 3))):
            number = draw(st.integers(0, len(lent) - 1))
            items = len(lent[number]) // width
            run = draw(st.integers(1, max(1, items // rows)))
            step = draw(st.integers(1, max(1, items // (run * rows))))
            stride = draw(st.integers(run * step, max(run * step, items // rows)))
            piece = Piece(number, COPY, 0, run, step, stride)
            spare = items - piece.stop(rows)
            if spare < 0 or draw(st.booleans()):
                piece = Piece(0, FILL, draw(st.integers(0, (1 << 8 * width) - 1)), run, 0, 0)
            else:
                piece = piece._replace(start=draw(st.integers(0, spare)))
            pieces.append(piece)
        for row in range(rows):
            for piece in pieces:
                for column in range(piece.run):
                    at = (piece.start + row * piece.stride + column * piece.step) * width
                    fill = piece.start.to_bytes(width, "little") if piece.transform == FILL else b""
                    expected += fill or lent[piece.source][at : at + width]
        blocks.append(Block(rows, tuple(pieces)))
    sources = tuple(Ingredient(digest(data), len(data)) for data in lent)
    return Recipe(sources, tuple(blocks)), lent, width, bytes(expected)


@settings(max_examples=300, deadline=None)
@given(made(), st.data())
def test_any_range_of_any_recipe_is_what_it_says_item_by_item(case, data):
    recipe, lent, width, expected = case
    sources = [Lent(one) for one in lent]
    start, stop = sorted(data.draw(st.integers(0, len(expected) // width)) * width for _ in range(2))
    assert derive(recipe, width, sources, 0, len(expected)) == expected
    assert derive(recipe, width, sources, start, stop) == expected[start:stop]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 30), st.integers(1, 20), st.data())
def test_matrices_are_cast_cut_turned_and_joined_as_numpy_does(rows, columns, left, width, data):
    table = data.draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=rows * columns, max_size=rows * columns))
    words = numpy.array(table, "<u4").reshape(rows, columns)
    lent = [Lent(words.tobytes())]
    left, width = left % columns, min(width, columns - left % columns)

    def assert_makes(expected: numpy.ndarray, *blocks: Block, item_nbytes: int = 4) -> None:
        recipe = Recipe((Ingredient(digest(lent[0].data), len(lent[0].data)),), blocks)
        check_recipe(recipe, expected.nbytes, item_nbytes)
        assert derive(recipe, item_nbytes, lent, 0, expected.nbytes) == expected.tobytes()

    assert_makes(words[:, left : left + width], Block(rows, (Piece(0, COPY, left, width, 1, columns),)))
    assert_makes(words.T, Block(columns, (Piece(0, COPY, 0, rows, columns, 1),)))
    both = Block(rows, (Piece(0, COPY, 0, columns, 1, columns), Piece(0, COPY, left, width, 1, columns)))
    assert_makes(numpy.concatenate([words, words[:, left : left + width]], 1), both)
    half = words.astype("<u8") >> 16  # the upper half, as bf16 has it where nothing is rounded
    lent = [Lent((words & 0xFF7F0000).astype("<u4").tobytes())]
    upper = (half & 0xFF7F).astype("<u2").T
    assert_makes(upper, Block(columns, (Piece(0, 1, 0, rows, columns, 1),)), item_nbytes=2)


def test_what_is_transposed_is_read_once_for_all_stripes():
    class Counted(Lent):
        reads = 0

        def part(self, start: int, stop: int) -> bytearray:
            self.reads += 1
            return super().part(start, stop)

    lent = [Counted(noise(80_000, number)) for number in range(2)]
    pieces = tuple(Piece(number, COPY, 0, 100, 400, 1) for number in range(2))
    recipe = Recipe(tuple(Ingredient(digest(one.data), 80_000) for one in lent), (Block(400, pieces),))
    check_recipe(recipe, 160_000, 2)
    tables = [numpy.frombuffer(one.data, "<u2").reshape(100, 400).T for one in lent]
    expected = numpy.concatenate(tables, 1).tobytes()
    made = b"".join(bytes(derive(recipe, 2, lent, start, start + 20_000)) for start in range(0, 160_000, 20_000))
    assert (made == expected, [one.reads for one in lent]) == (True, [1, 1])


def test_a_derived_object_is_read_like_any_other(packs):
    write_pack(packs, [*BASIS, DERIVATIVE])
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        chain = store.open(digest(MADE))
        assert (bytes(chain.read()), verify_object(store, digest(MADE))) == (MADE, len(MADE))
        assert [source.head.id for source in chain.sources] == [digest(ONE), digest(OTHER)]
        for start, stop in itertools.product(range(0, len(MADE), 97), range(0, len(MADE), 89)):
            assert chain.read(start, stop) == MADE[start:stop]
        pieces = stream_objects(store, [digest(ONE), digest(MADE), digest(OTHER)])
        assert b"".join(bytes(piece.data) for piece in pieces) == ONE + MADE + OTHER


def test_a_delta_leans_on_a_derived_object_and_a_second_one_on_that(packs):
    first, second = changed(MADE, 60), changed(changed(MADE, 60), 70)
    write_pack(packs, [*BASIS, DERIVATIVE, Content(first, 2, MADE, 2), Content(second, 2, first, 3)])
    assert (read(packs, first), read(packs, second)) == (first, second)


def test_what_is_written_leans_on_a_derived_object_twice_and_no_third_time(tmp_path, packs):
    sources = [weights(3000, 2, 1), noise(6000, 2)]
    made = sources[0] + sources[1]
    blocks = tuple(Block(1, (Piece(number, COPY, 0, 3000, 1, 3000),)) for number in range(2))
    recipe = Recipe(tuple(Ingredient(digest(one), len(one)) for one in sources), blocks)
    contents = [Content(one, 2, chunk_shift=16) for one in sources]
    write_pack(packs, [*contents, Content(made, 2, None, 1, chunk_shift=16, recipe=recipe)])
    versions = [made]
    with ObjectStore(tmp_path / STORE, NO_GRACE) as store:
        for step in (900, 800, 700):
            versions.append(changed(versions[-1], step))
            add_objects(store, [source(versions[-1], 2, versions[-2])])
        assert [store.open(digest(one)).head.depth for one in versions[:3]] == [1, 2, 3]
        assert store.open(digest(versions[3])).deltas <= 2
        assert [bytes(store.read(digest(one))) for one in versions] == versions


def test_sources_are_kept_as_long_as_something_is_made_of_them(tmp_path, packs):
    last = changed(MADE, 60)
    write_pack(packs, [*BASIS, Content(noise(500, 9))])
    write_pack(packs, [DERIVATIVE, Content(noise(500, 8)), Content(last, 2, MADE, 2)])
    age(tmp_path)
    for kept, objects in ((last, 4), (MADE, 3), (ONE, 1)):
        with ObjectStore(tmp_path / STORE, NO_GRACE) as store:
            assert collect(store, lambda kept=kept: {digest(kept)}).kept_objects == objects
        age(tmp_path)
        assert read(packs, kept) == kept
    assert kind_of(packs, digest(MADE)) == "object-missing"


def test_a_collection_drops_no_copy_of_a_source_for_one_that_is_damaged(tmp_path, packs):
    """The copy that readers take is damaged, the other one is sound and would be dropped."""
    write_pack(packs, [Content(ONE, 2)])
    write_pack(packs, [Content(ONE, 1), Content(OTHER, 2), Content(noise(900, 7)), DERIVATIVE])
    with ObjectStore(tmp_path / STORE, ONE_THREAD) as store:
        used = store.open(digest(MADE)).sources[0].links[0]
    data = bytearray((packs / used.pack.name).read_bytes())
    data[used.entry.offset + used.entry.head_nbytes] ^= 1
    (packs / used.pack.name).write_bytes(data)
    age(tmp_path)
    with ObjectStore(tmp_path / STORE, NO_GRACE) as store, pytest.raises(IntegrityError) as caught:
        collect(store, lambda: {digest(MADE)})
    assert caught.value.kind == "store-damaged"


def test_a_source_that_is_gone_or_damaged_is_told_by_that_name(tmp_path, packs):
    alone = write_pack(packs, [BASIS[0]])
    write_pack(packs, [BASIS[1], DERIVATIVE])
    data = bytearray(alone.data)
    data[alone.entries[0].offset + alone.entries[0].head_nbytes + 3] ^= 1
    (packs / alone.name).write_bytes(data)
    assert kind_of(packs, digest(MADE)) == "chunk-damaged"
    with ObjectStore(tmp_path / STORE, ONE_THREAD) as store:
        assert (
            check_store(store).unreadable == check_store(store, decode=False).unreadable == {digest(ONE), digest(MADE)}
        )
        salvage(store, [source(ONE, 2)])
        assert check_store(store).unreadable == frozenset()
    (packs / alone.name).unlink(missing_ok=True)
    for path in packs.iterdir():
        with ObjectStore(tmp_path / STORE, ONE_THREAD) as store:
            holds = any(entry.id == digest(ONE) for entry in store.pack(path.name).entries())
        if holds:
            path.unlink()
    assert kind_of(packs, digest(MADE)) == "object-missing"


def test_merging_packs_changes_nothing(tmp_path, packs):
    write_pack(packs, [DERIVATIVE])
    write_pack(packs, BASIS)
    with ObjectStore(tmp_path / STORE, NO_GRACE) as store, store.lock(exclusive=True):
        assert rollup._merge(store, sorted(store.refresh())) == 1
    assert read(packs, MADE) == MADE


def derived_record(writer: PackWriter, identity: ObjectId, depth: int, recipe: Recipe, nbytes: int) -> None:
    writer.add(Head(identity, None, depth, 2, 16, nbytes, 0, (), pack_recipe(recipe), DERIVED), ())


def copy_of(identity: ObjectId, nbytes: int) -> Recipe:
    return Recipe((Ingredient(identity, nbytes),), (Block(1, (Piece(0, COPY, 0, nbytes // 2, 1, nbytes // 2),)),))


def test_a_circle_of_recipes_is_refused(packs):
    ids = [digest(b"one"), digest(b"two")]
    with PackWriter(packs) as writer:
        derived_record(writer, ids[0], 2, copy_of(ids[1], 100), 100)
        derived_record(writer, ids[1], 1, copy_of(ids[0], 100), 100)
        derived_record(writer, digest(b"self"), 1, copy_of(digest(b"self"), 100), 100)
        writer.publish()
    assert {kind_of(packs, identity) for identity in (*ids, digest(b"self"))} <= {"base-mismatch", "chain-too-deep"}


def test_a_source_that_is_not_shallower_is_refused(packs):
    write_pack(packs, [*BASIS, Content(changed(ONE, 100), 2, ONE, 1)])
    with PackWriter(packs) as writer:
        derived_record(writer, digest(b"flat"), 1, copy_of(digest(changed(ONE, 100)), 800), 800)
        writer.publish()
    assert kind_of(packs, digest(b"flat")) == "chain-too-deep"


def test_a_source_of_another_length_is_refused(packs):
    write_pack(packs, BASIS)
    with PackWriter(packs) as writer:
        derived_record(writer, digest(b"long"), 1, copy_of(digest(ONE), 900), 900)
        derived_record(writer, digest(b"short"), 1, copy_of(digest(ONE), 700), 700)
        writer.publish()
    assert kind_of(packs, digest(b"long")) == kind_of(packs, digest(b"short")) == "base-mismatch"


def test_a_source_that_is_made_of_others_is_refused_and_so_is_a_delta_on_one(packs):
    """Each level might multiply what the one below it costs."""
    last = changed(MADE, 60)
    write_pack(packs, [*BASIS, DERIVATIVE, Content(last, 2, MADE, 2)])
    with PackWriter(packs) as writer:
        derived_record(writer, digest(b"twice"), 2, copy_of(digest(MADE), len(MADE)), len(MADE))
        derived_record(writer, digest(b"delta"), 3, copy_of(digest(last), len(last)), len(last))
        writer.publish()
    assert kind_of(packs, digest(b"twice")) == kind_of(packs, digest(b"delta")) == "base-mismatch"


def test_a_recipe_under_a_wrong_name_is_found_by_the_id(packs):
    write_pack(packs, BASIS)
    with PackWriter(packs) as writer:
        derived_record(writer, digest(b"wrong"), 1, copy_of(digest(ONE), 800), 800)
        writer.publish()
    assert kind_of(packs, digest(b"wrong")) == "object-wrong-id"
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        assert check_store(store).unreadable == {digest(b"wrong")}


def test_another_copy_is_taken_where_a_source_is_missing(packs):
    write_pack(packs, [DERIVATIVE, Content(MADE, 2, OTHER, 2), Content(OTHER, 2)])
    assert read(packs, MADE) == MADE


def test_a_few_bytes_that_make_much_are_read_in_stripes(packs):
    item, items = 0x3F80, 200 * MIB // 2
    with PackWriter(packs) as writer:
        recipe = Recipe((), (Block(1, (Piece(0, FILL, item, items, 0, 0),)),))
        derived_record(writer, digest(b"much"), 0, recipe, 2 * items)
        writer.publish()
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        chain = store.open(digest(b"much"))
        assert len(chain.decode(0, 8)) == MIB
        with pytest.raises(IntegrityError):
            verify_object(store, digest(b"much"))
        with pytest.raises(NotFoundError):
            store.read(digest(b"other"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_recipe_with_any_bytes_changed_gives_what_the_id_says_or_is_refused(tmp_path_factory, data):
    recipe = bytearray(pack_recipe(RECIPE))
    for _ in range(data.draw(st.integers(1, 4))):
        recipe[data.draw(st.integers(0, len(recipe) - 1))] = data.draw(st.sampled_from((0, 1, 2, 127, 128, 255)))
    directory = tmp_path_factory.mktemp("store")
    (directory / "packs").mkdir()
    write_pack(directory / "packs", BASIS)
    with PackWriter(directory / "packs") as writer:
        writer.add(Head(digest(MADE), None, 1, 2, 6, len(MADE), 0, (), bytes(recipe), DERIVED), ())
        writer.publish()
    with ObjectStore(directory, ONE_THREAD) as store:
        try:
            assert store.read(digest(MADE)) == MADE
        except (IntegrityError, NotFoundError) as error:
            assert error.kind in (
                "payload-malformed",
                "base-mismatch",
                "object-wrong-id",
                "object-missing",
                "object-damaged",
            )
        check_store(store)


def test_an_impossible_step_is_refused(packs):
    recipe = Recipe((Ingredient(digest(ONE), len(ONE)),), (Block(1, (Piece(0, COPY, 0, 1, 1 << 63, 1),)),))
    write_pack(packs, [*BASIS, Content(ONE[:2], 2, None, 1, recipe=recipe)])
    assert kind_of(packs, digest(ONE[:2])) == "payload-malformed"


def test_the_smallest_chunks_cost_no_more_than_the_largest(packs, monkeypatch):
    calls = []
    monkeypatch.setattr(chain, "derive", lambda *args: calls.append(args) or derive(*args))
    data = b"\7" * MIB
    recipe = Recipe((), (Block(1, (Piece(0, FILL, 7, MIB, 0, 0),)),))
    write_pack(packs, [Content(data, 1, recipe=recipe, chunk_shift=0)])
    assert read(packs, data) == data
    assert len(calls) == 1


def test_a_source_with_chunks_larger_than_any_writer_makes_is_refused(packs):
    large = Content(ONE, 2, chunk_shift=CHUNK_SHIFT + 1)
    write_pack(packs, [large, Content(OTHER, 2), DERIVATIVE])
    assert kind_of(packs, digest(MADE)) == "base-mismatch"
