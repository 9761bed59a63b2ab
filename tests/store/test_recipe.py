"""Recipes come back as they were written, and one that lies is refused before a source is read."""

from __future__ import annotations

import dataclasses
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import MAX_DERIVED_NBYTES, MAX_PIECES, MAX_ROW_PIECES, MAX_TRANSPOSED_NBYTES, MIB
from lamella.store.recipe import (
    BLOCK,
    COPY,
    FILL,
    FIXED,
    INGREDIENT,
    Block,
    Ingredient,
    Piece,
    Recipe,
    check_recipe,
    pack_recipe,
    unpack_recipe,
)
from lamella.store.record import DERIVED, RESIZED, Head, pack_head, unpack_head

SOURCE = Ingredient(digest(b"source"), 1200)
HUGE = (1 << 64) - 1
UNSIGNED = st.integers(0, HUGE)
PIECES = st.builds(Piece, st.integers(0, 5), st.integers(0, 255), UNSIGNED, UNSIGNED, UNSIGNED, UNSIGNED)
BLOCKS = st.builds(Block, UNSIGNED, st.lists(PIECES, min_size=1, max_size=4).map(tuple))
INGREDIENTS = st.builds(Ingredient, st.binary(min_size=32, max_size=32).map(ObjectId), UNSIGNED)
RECIPES = st.builds(
    Recipe, st.lists(INGREDIENTS, max_size=4).map(tuple), st.lists(BLOCKS, min_size=1, max_size=4).map(tuple)
)


def one(piece: Piece, rows: int = 1, *sources: Ingredient) -> Recipe:
    return Recipe(sources or (SOURCE,), (Block(rows, (piece,)),))


def refused(recipe: Recipe, nbytes: int, item_nbytes: int = 2) -> bool:
    try:
        check_recipe(recipe, nbytes, item_nbytes)
    except IntegrityError as error:
        assert error.kind == "payload-malformed"
        return True
    return False


@settings(deadline=None)
@given(RECIPES)
def test_a_recipe_comes_back_as_it_was_written(recipe):
    assert unpack_recipe(pack_recipe(recipe)) == recipe


@settings(deadline=None)
@given(RECIPES, st.integers(0, 1 << 62), st.sampled_from((1, 2, 4, 8)))
def test_any_numbers_are_judged_at_once(recipe, nbytes, item_nbytes):
    refused(recipe, nbytes, item_nbytes)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_recipe_or_refused(data):
    try:
        assert pack_recipe(unpack_recipe(data)) == data
    except IntegrityError as error:
        assert error.kind == "payload-malformed"


def test_a_recipe_cut_or_lengthened_anywhere_is_refused():
    data = pack_recipe(Recipe((SOURCE,), (Block(3, (Piece(0, COPY, 0, 5, 1, 9), Piece(0, FILL, 7, 2, 0, 0))),)))
    for wrong in (data + b"\0", *(data[:nbytes] for nbytes in range(len(data)))):
        with pytest.raises(IntegrityError) as caught:
            unpack_recipe(wrong)
        assert caught.value.kind == "payload-malformed"


@pytest.mark.parametrize(
    ("piece", "rows", "nbytes"),
    [
        (Piece(0, COPY, 0, 600, 1, 600), 1, 1200),
        (Piece(0, COPY, 599, 1, 1, 1), 1, 2),
        (Piece(0, COPY, 5, 10, 1, 50), 12, 240),
        (Piece(0, COPY, 0, 20, 30, 1), 30, 1200),
        (Piece(0, 1, 0, 300, 1, 300), 1, 600),
        (Piece(0, 7, 0, 300, 1, 300), 1, 600),
    ],
)
def test_what_a_writer_makes_is_accepted(piece, rows, nbytes):
    assert not refused(one(piece, rows), nbytes)


@pytest.mark.parametrize(
    ("piece", "rows", "nbytes"),
    [
        (Piece(0, COPY, 0, 600, 1, 600), 1, 1198),
        (Piece(0, COPY, 0, 601, 1, 601), 1, 1202),
        (Piece(0, COPY, 1, 600, 1, 600), 1, 1200),
        (Piece(0, COPY, HUGE, 1, 1, 1), 1, 2),
        (Piece(0, COPY, 0, 1 << 63, 1, 1), 2, 0),
        (Piece(0, COPY, 0, HUGE, 1, HUGE), HUGE, 1 << 62),
        (Piece(0, COPY, 0, 0, 1, 1), 1, 0),
        (Piece(0, COPY, 0, 1, 1, 1), 0, 0),
        (Piece(0, COPY, 0, 10, 0, 10), 1, 20),
        (Piece(0, COPY, 0, 10, 1, 0), 1, 20),
        (Piece(0, COPY, 0, 10, 1, 9), 5, 100),
        (Piece(0, COPY, 0, 10, 2, 1), 10, 200),
        (Piece(0, COPY, 0, 1, 1, 80), 8, 16),
        (Piece(1, COPY, 0, 600, 1, 600), 1, 1200),
        (Piece(0, 3, 0, 300, 1, 300), 1, 600),
        (Piece(0, 9, 0, 600, 1, 600), 1, 1200),
        (Piece(0, 254, 0, 600, 1, 600), 1, 1200),
        (Piece(0, 1, 0, 301, 1, 301), 1, 602),
        (Piece(0, FILL, 0, 600, 0, 0), 1, 1200),
    ],
    ids=str,
)
def test_a_recipe_that_lies_is_refused(piece, rows, nbytes):
    assert refused(one(piece, rows), nbytes)


@pytest.mark.parametrize(
    "piece", [Piece(0, FILL, 1 << 16, 9, 0, 0), Piece(1, FILL, 0, 9, 0, 0), Piece(0, FILL, 0, 9, 1, 1)]
)
def test_a_fill_is_one_item_and_nothing_else(piece):
    assert refused(Recipe((), (Block(1, (piece,)),)), 18)
    assert not refused(Recipe((), (Block(1, (Piece(0, FILL, 0xFFFF, 9, 0, 0),)),)), 18)


def test_what_a_few_bytes_make_is_bounded():
    items = MAX_DERIVED_NBYTES // 2
    assert not refused(Recipe((), (Block(1, (Piece(0, FILL, 0, items, 0, 0),)),)), 2 * items)
    assert refused(Recipe((), (Block(1, (Piece(0, FILL, 0, items + 1, 0, 0),)),)), 2 * items + 2)


def test_what_is_held_in_memory_is_bounded():
    rows, columns = 2, MAX_TRANSPOSED_NBYTES // 4
    large = Ingredient(digest(b"large"), 4 * rows * columns + MIB)
    assert not refused(one(Piece(0, COPY, 0, rows, columns, 1), columns, large), 2 * rows * columns)
    assert refused(one(Piece(0, COPY, 0, rows, columns + 1, 1), columns + 1, large), 2 * rows * (columns + 1))


def test_what_is_held_in_memory_is_bounded_for_all_pieces_together():
    rows, columns = 2, MAX_TRANSPOSED_NBYTES // 8
    large = Ingredient(digest(b"large"), 4 * rows * columns)
    piece = Piece(0, COPY, 0, rows, columns, 1)
    for count, accepted in ((2, True), (3, False)):
        recipe = Recipe((large,), (Block(columns, (piece,)),) * count)
        assert refused(recipe, 2 * rows * columns * count) is not accepted


def test_sources_stand_once_and_are_used():
    piece = Piece(0, COPY, 0, 600, 1, 600)
    assert refused(one(piece, 1, SOURCE, Ingredient(digest(b"other"), 5)), 1200)
    twice = Recipe((SOURCE, SOURCE), (Block(1, (piece, piece._replace(source=1))),))
    assert refused(twice, 2400)
    assert refused(one(piece, 1, dataclasses.replace(SOURCE, nbytes=HUGE)), 1200)


def test_there_are_not_too_many_parts():
    piece = Piece(0, FILL, 0, 1, 0, 0)
    for blocks in (1, MAX_PIECES):
        assert unpack_recipe(pack_recipe(Recipe((), (Block(1, (piece,)),) * blocks)))
    for parts in (
        (Block(1, (piece,)),) * (MAX_PIECES + 1),
        (Block(1, (piece,) * (MAX_ROW_PIECES + 1)),),
        (Block(1, ()),),
        (),
    ):
        with pytest.raises(IntegrityError):
            unpack_recipe(pack_recipe(Recipe((), parts)))


def test_lengths_that_are_not_there_cost_no_time():
    began = time.perf_counter()
    for data in (FIXED.pack(1000, 1) + bytes(50), FIXED.pack(0, 1024) + BLOCK.pack(1, 64), FIXED.pack(65535, 65535)):
        for _ in range(100):
            unpack_recipe.cache_clear()
            with pytest.raises(IntegrityError):
                unpack_recipe(data)
    assert time.perf_counter() - began < 1
    assert INGREDIENT.size == 40


def head_of(recipe: Recipe, depth: int, flags: int = DERIVED, base: ObjectId | None = None) -> Head:
    return Head(digest(b"x"), base, depth, 2, 16, 1200, 0, (), pack_recipe(recipe), flags)


def test_a_derived_head_comes_back_and_names_its_sources():
    head = head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 1)
    assert unpack_head(pack_head(head)) == head
    assert head.leans_on == (SOURCE.id,)
    assert (head.chunks, head.recipe) == (1, one(Piece(0, COPY, 0, 600, 1, 600)))
    constant = head_of(Recipe((), (Block(1, (Piece(0, FILL, 1, 600, 0, 0),)),)), 0)
    assert unpack_head(pack_head(constant)).leans_on == ()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 0), "object-damaged"),
        (head_of(Recipe((), (Block(1, (Piece(0, FILL, 1, 600, 0, 0),)),)), 1), "object-damaged"),
        (head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 1, DERIVED, SOURCE.id), "object-damaged"),
        (head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 1, DERIVED | RESIZED), "object-damaged"),
        (head_of(one(Piece(0, COPY, 0, 599, 1, 599)), 1), "payload-malformed"),
        (head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 17), "object-damaged"),
        (dataclasses.replace(head_of(one(Piece(0, COPY, 0, 600, 1, 600)), 1), parameters=b""), "payload-malformed"),
    ],
)
def test_a_derived_head_that_contradicts_itself_is_refused(head, kind):
    with pytest.raises(IntegrityError) as caught:
        unpack_head(pack_head(head))
    assert caught.value.kind == kind
