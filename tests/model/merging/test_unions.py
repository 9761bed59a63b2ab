"""Tensors that grew by rows on several sides: whose rows come where, and what is one row."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import UsageError
from lamella.model.merging.engine import MergedTensors
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Stack
from lamella.model.merging.planning import plan_merge
from lamella.model.merging.rules import Choice, Rules
from tests.model.merging.edited import Side, merged, models, planned, same

DRAW = numpy.random.default_rng(0)
TABLE = DRAW.standard_normal((20, 8), dtype="f4")
OURS, THEIRS = DRAW.standard_normal((2, 6, 8), dtype="f4")
HEAD = DRAW.standard_normal(20, dtype="f4")
BODY = {"body.weight": DRAW.standard_normal((16, 16), dtype="f4")}


def grown(rows, change=None, table=TABLE):
    table = table.copy()
    if change is not None:
        table[change] += 1
    return {"emb.weight": numpy.concatenate([table, rows])} | BODY


BEFORE = {"emb.weight": TABLE} | BODY


def test_rows_of_both_sides_come_behind_those_of_the_base():
    found = merged(BEFORE, grown(OURS[:3], 1), grown(THEIRS[:2], 2))
    expected = TABLE.copy()
    expected[[1, 2]] += 1
    assert numpy.array_equal(found["emb.weight"], numpy.concatenate([expected, OURS[:3], THEIRS[:2]]))


def test_rows_that_only_one_side_changed_are_taken_whatever_the_strategy():
    rules = Rules(Choice("linear"))
    found = merged(BEFORE, grown(OURS, 1), grown(THEIRS), rules=rules)
    expected = TABLE.copy()
    expected[1] += 1
    assert numpy.array_equal(found["emb.weight"], numpy.concatenate([expected, OURS, THEIRS]))


def test_one_side_that_grew_and_one_that_only_trained():
    theirs = {"emb.weight": TABLE + 1} | BODY
    assert numpy.array_equal(merged(BEFORE, grown(OURS), theirs)["emb.weight"], numpy.concatenate([TABLE + 1, OURS]))
    assert numpy.array_equal(merged(BEFORE, theirs, grown(OURS))["emb.weight"], numpy.concatenate([TABLE + 1, OURS]))


def test_the_same_new_rows_are_there_once():
    found = merged(BEFORE, grown(OURS, 1), grown(OURS, 2), grown(THEIRS, 3))
    assert found["emb.weight"].shape == (20 + 6 + 6, 8)
    assert found["emb.weight"][20:].tobytes() == OURS.tobytes() + THEIRS.tobytes()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (TABLE[:15], TABLE + 1),
        (TABLE[:15], numpy.concatenate([TABLE, OURS])),
        (numpy.ones((20, 9), "f4"), TABLE + 1),
        (numpy.ones((20, 9), "f4"), numpy.concatenate([TABLE, OURS])),
        (numpy.ones((25, 9), "f4"), numpy.ones((26, 9), "f4")),
        (numpy.ones(20, "f4"), TABLE + 1),
    ],
)
def test_other_shapes_wait_for_a_decision(ours, theirs):
    sides = {"emb.weight": ours} | BODY, {"emb.weight": theirs} | BODY
    (found,) = planned(BEFORE, *sides).conflicts
    assert (found.name, found.conflict.kind) == ("emb.weight", "shapes")
    for strategy, expected in (("ours", sides[0]), ("theirs", sides[1]), ("base", BEFORE)):
        rules = Rules(resolutions={"emb.weight": Choice(strategy)})
        assert same(merged(BEFORE, *sides, rules=rules), expected)


def test_integers_that_grew_on_both_sides_wait_for_a_decision():
    base = {"ids": numpy.arange(20), "x": TABLE}
    sides = [base | {"ids": numpy.arange(20 + more) * more} for more in (2, 3)]
    (found,) = planned(base, *sides).conflicts
    assert found.conflict.kind == "not-averaged"


KNOWN = tuple(f"t{number}" for number in range(20))


def vocabularies(*added, known=KNOWN):
    return {BASE: known} | {number: (*known, *tokens) for number, tokens in enumerate(added)}


def test_a_token_that_both_added_is_one_row_and_the_rest_is_appended():
    names = vocabularies(("<a>", "<both>", "<b>"), ("<both>", "<c>"))
    ours, theirs = grown(OURS[:3], 1), grown(THEIRS[:2], 2)
    plan = planned(BEFORE, ours, theirs, vocabularies=names)
    assert plan.tokens == (*KNOWN, "<a>", "<both>", "<b>", "<c>")
    assert any("'<c>' is 23" in warning for warning in plan.warnings)
    table = merged(BEFORE, ours, theirs, vocabularies=names)["emb.weight"]
    assert numpy.array_equal(table[[20, 22, 23]], numpy.stack([OURS[0], OURS[2], THEIRS[1]]))
    assert numpy.allclose(table[21], (OURS[1] + THEIRS[0]) / 2)


def test_a_token_that_both_added_is_the_mean_where_the_changes_of_one_are_unlearned():
    names = vocabularies(("<both>",), ("<both>",))
    rules = Rules(Choice("task-arithmetic"), weights=(1, -1))
    table = merged(BEFORE, grown(OURS[:1], 1), grown(THEIRS[:1], 2), rules=rules, vocabularies=names)["emb.weight"]
    assert numpy.allclose(table[20], (OURS[0] + THEIRS[0]) / 2)
    assert numpy.allclose(table[[1, 2]], TABLE[[1, 2]] + [[1], [-1]])


def test_all_that_has_the_size_of_the_vocabulary_gets_the_same_rows():
    names = vocabularies(("<a>", "<both>"), ("<both>", "<c>"))
    base = BEFORE | {"lm_head.weight": TABLE * 2, "lm_head.bias": HEAD}
    sides = []
    for rows, shift in ((OURS[:2], 1), (THEIRS[:2], 2)):
        biases = numpy.concatenate([HEAD + shift, rows[:, 0]])
        sides.append(
            grown(rows, shift) | {"lm_head.weight": numpy.concatenate([TABLE * 2, rows * 2]), "lm_head.bias": biases}
        )
    found = merged(base, *sides, vocabularies=names)
    assert {name: len(array) for name, array in found.items() if name != "body.weight"} == dict.fromkeys(
        ("emb.weight", "lm_head.weight", "lm_head.bias"), 23
    )
    assert numpy.array_equal(found["lm_head.weight"][[20, 22]], numpy.stack([OURS[0] * 2, THEIRS[1] * 2]))
    assert found["lm_head.bias"][22] == THEIRS[1, 0]


def test_tokens_in_rows_that_the_base_kept_free_are_told_apart():
    base = {"emb.weight": numpy.concatenate([TABLE, numpy.zeros((2, 8), "f4")])} | BODY
    ours, theirs = grown(OURS[:2], 1), grown(THEIRS[:2], 2)
    names = vocabularies(("<a>", "<b>"), ("<c>", "<b>"))
    plan = planned(base, ours, theirs, vocabularies=names)
    assert plan.tokens[20:] == ("<a>", "<b>", "<c>")
    table = merged(base, ours, theirs, vocabularies=names)["emb.weight"]
    assert numpy.array_equal(table[[20, 22]], numpy.stack([OURS[0], THEIRS[0]]))


def test_rows_beyond_the_tokens_stay_where_they_are_needed():
    base = {"emb.weight": numpy.concatenate([TABLE, numpy.full((2, 8), 7, "f4")])} | BODY
    ours, theirs = grown(numpy.concatenate([OURS[:1], OURS[5:]]), 1), grown(THEIRS[:2], 2)
    names = vocabularies(("<a>",), ("<a>",)) | {0: (*KNOWN, "<a>")}
    found = merged(base, ours, theirs, vocabularies=names)
    assert len(found["emb.weight"]) == 22
    sides = grown(OURS[:3], 1), grown(THEIRS[:2], 2)
    assert planned(base, *sides, vocabularies=names).tokens == (*KNOWN, "<a>", None, None)
    assert numpy.array_equal(merged(base, *sides, vocabularies=names)["emb.weight"][21:], OURS[1:3])


@pytest.mark.parametrize("mirrored", [False, True])
def test_rows_that_one_side_only_padded_are_kept_where_they_are(mirrored):
    padded, theirs = grown(OURS[:2], 1), grown(THEIRS[:1], 2)
    names = {BASE: KNOWN, mirrored: KNOWN, not mirrored: (*KNOWN, "<a>")}
    sides = (theirs, padded) if mirrored else (padded, theirs)
    assert planned(BEFORE, *sides, vocabularies=names).tokens == (*KNOWN, "<a>", None)
    table = merged(BEFORE, *sides, vocabularies=names)["emb.weight"]
    assert table[20:].tobytes() == THEIRS[:1].tobytes() + OURS[1:2].tobytes()


def test_very_many_rows_are_one_part_of_each_side():
    base = {"emb": numpy.zeros((1, 0), "f4")} | BODY
    sides = [{"emb": numpy.zeros((rows, 0), "f4")} | BODY for rows in (1 << 40, 1 << 41)]
    found = next(one for one in planned(base, *sides).tensors if one.name == "emb")
    assert found.spec.shape == ((1 << 40) - 1 + (1 << 41), 0)


def test_a_vocabulary_numbered_anew_waits_for_a_decision():
    names = vocabularies(("<a>",), ("<b>",)) | {1: (*KNOWN[::-1], "<b>")}
    plan = planned(BEFORE, grown(OURS[:1], 1), grown(THEIRS[:1], 2), vocabularies=names)
    assert [one.conflict.kind for one in plan.conflicts] == ["shapes"]
    assert "row 0" in plan.conflicts[0].conflict.reason


def test_a_layer_of_another_size_is_not_taken_for_the_vocabulary():
    base = BEFORE | {"wide.weight": numpy.ones((64, 8), "f4")}
    names = vocabularies(("<a>",), ("<b>",))
    sides = [base | {"wide.weight": numpy.full((64 + more, 8), more, "f4")} for more in (1, 2)]
    plan = planned(base, *sides, vocabularies=names)
    assert plan.tokens == ()
    assert {one.name: one.spec.shape for one in plan.tensors}["wide.weight"] == (67, 8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6, unique=True), min_size=2, max_size=4),
    st.sampled_from(["f4", "f2", "f8"]),
    st.sampled_from([(), (1,), (3, 2)]),
    st.booleans(),
)
def test_every_token_has_its_row_whatever_sides_added(added, dtype, shape, told):
    def row(side, token):
        return numpy.full((1, *shape), 1000 * side + ord(token), dtype)

    head = numpy.arange(20).reshape(20, *[1] * len(shape)) * numpy.ones((20, *shape))
    base = {"emb": head.astype(dtype)} | BODY
    sides = [
        {"emb": numpy.concatenate([base["emb"], *(row(side, token) for token in tokens)])} | BODY
        for side, tokens in enumerate(added)
    ]
    plan = planned(base, *sides, vocabularies=vocabularies(*added) if told else {})
    table = merged(base, *sides, vocabularies=vocabularies(*added) if told else {})["emb"]
    assert numpy.array_equal(table[:20], base["emb"])
    if sum(map(bool, added)) < 2 or all(tokens == [] for tokens in added):
        return
    if told:
        assert sorted(plan.tokens[20:]) == sorted(set().union(*added))
        for number, token in enumerate(plan.tokens[20:], 20):
            owners = [side for side, tokens in enumerate(added) if token in tokens]
            mean = sum(1000 * side + ord(token) for side in owners) / len(owners)
            assert numpy.allclose(table[number].astype("f8"), mean, rtol=1e-3)
    else:
        assert len(table) == 20 + sum(map(len, added))


class Counted(Side):
    """A side that counts what is held of it at once."""

    most = 0

    def read(self, name, start=0, stop=None):
        found = super().read(name, start, stop)
        Counted.most = max(Counted.most, len(found) if stop is not None else 0)
        return found


def test_new_rows_are_read_in_pieces():
    rows = numpy.ones((1 << 15, 64), "f4")
    sides = [Counted({"emb": numpy.concatenate([TABLE.repeat(8, axis=1), rows * n])}) for n in (2, 3)]
    models = Models(Side({"emb": TABLE.repeat(8, axis=1)}), sides)
    plan = plan_merge(models, Rules())
    (found,) = plan.tensors
    assert isinstance(found.action, Stack)
    (pieces,) = MergedTensors(plan, models).stream(["emb"])
    assert sum(map(len, pieces)) == found.spec.nbytes
    assert 0 < Counted.most <= 4 << 20


def test_a_strategy_that_does_not_exist_is_refused_before_anything_is_read():
    with pytest.raises(UsageError, match="there is no merge strategy"):
        planned(BEFORE, grown(OURS), grown(THEIRS), rules=Rules(Choice("averge")))


def test_where_no_side_has_a_new_token_added_rows_are_kept_by_position():
    table = merged(BEFORE, grown(OURS[:2], 1), grown(THEIRS[:2], 2), vocabularies=vocabularies((), ()))["emb.weight"]
    assert numpy.array_equal(table[20:], numpy.concatenate([OURS[:2], THEIRS[:2]]))


def test_vocabularies_are_asked_for_once_and_not_for_what_one_side_changed():
    asked = []

    def tell():
        asked.append(1)
        return vocabularies(("<a>",), ("<b>",))

    tables = BEFORE | {"head.weight": TABLE}
    plan_merge(models(tables, tables | grown(OURS), tables), Rules(), tell)
    assert not asked
    sides = [
        tables | grown(rows[:1], 1) | {"head.weight": numpy.concatenate([TABLE, rows[:1]])} for rows in (OURS, THEIRS)
    ]
    plan = plan_merge(models(tables, *sides), Rules(), tell)
    assert asked == [1]
    assert plan.tokens == (*KNOWN, "<a>", "<b>")
