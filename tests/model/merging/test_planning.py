"""What a plan says before a byte is written: dtypes, ties, strangers, statistics, and who decided what."""

from __future__ import annotations

import ml_dtypes
import numpy
import pytest

from lamella.core.errors import UsageError
from lamella.model.merging.rules import Choice, Rules
from tests.model.merging.edited import changed, merged, planned, same

DRAW = numpy.random.default_rng(0)
BASE = {f"layer.{number}.weight": DRAW.standard_normal((12, 12), dtype="f4") for number in range(4)}
FIRST = "layer.0.weight"


def moved(arrays, *names, by=0.5):
    return {name: (array + by).astype(array.dtype) if name in names else array for name, array in arrays.items()}


def recast(arrays, dtype):
    return {name: array.astype(dtype) for name, array in arrays.items()}


def kinds(plan):
    return {one.name: one.conflict.kind for one in plan.conflicts}


def test_states_say_who_changed_what():
    base = BASE | {"new": numpy.ones(3, "f4")}
    ours = moved(BASE, FIRST, "layer.1.weight") | {"ours.weight": numpy.arange(30, dtype="f4")}
    theirs = moved(base, "layer.1.weight", "layer.2.weight")
    theirs["layer.1.weight"] = ours["layer.1.weight"]
    plan = planned(base, ours, theirs)
    assert {one.name: (one.state, one.changed_by) for one in (*plan.tensors, *plan.removed)} == {
        FIRST: ("one-sided", (0,)),
        "layer.1.weight": ("agreed", (0, 1)),
        "layer.2.weight": ("one-sided", (1,)),
        "layer.3.weight": ("unchanged", ()),
        "new": ("removed", (0,)),
        "ours.weight": ("added", (0,)),
    }


def test_a_cast_on_one_side_and_a_change_on_the_other_wait_for_a_decision():
    ours, theirs = recast(BASE, "f2"), moved(BASE, FIRST)
    plan = planned(BASE, ours, theirs)
    assert kinds(plan) == {FIRST: "dtypes"}
    assert plan.conflicts[0].conflict.reason == "it has the dtypes f16 and f32"


@pytest.mark.parametrize("dtype", ["f2", ml_dtypes.bfloat16, "f8"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_strategy_chosen_by_name_merges_what_was_cast_and_keeps_the_cast(dtype, mirrored):
    sides = [recast(BASE, dtype), moved(BASE, FIRST)]
    rules = Rules(choices=(("layer.*", Choice("three-way")),))
    found = merged(BASE, *(reversed(sides) if mirrored else sides), rules=rules)
    assert {array.dtype for array in found.values()} == {numpy.dtype(dtype)}
    assert abs(found[FIRST].astype("f4") - BASE[FIRST] - 0.5).max() < 0.02
    other = "layer.1.weight"
    assert found[other].tobytes() == sides[0][other].tobytes()


def test_what_two_sides_merely_cast_is_taken_from_the_first():
    rules = Rules(choices=(("*", Choice("three-way")),))
    found = merged(BASE, recast(BASE, "f2"), recast(BASE, ml_dtypes.bfloat16), rules=rules)
    assert same(found, recast(BASE, "f2"))


def test_two_casts_are_computed_in_what_holds_both_and_end_as_ours():
    ours, theirs = recast(moved(BASE, FIRST), "f2"), recast(moved(BASE, FIRST, by=0.25), ml_dtypes.bfloat16)
    rules = Rules(choices=(("*", Choice("linear")),))
    found = merged(BASE, ours, theirs, rules=rules)
    assert found[FIRST].dtype == numpy.dtype("f2")
    assert abs(found[FIRST].astype("f4") - BASE[FIRST] - 0.375).max() < 0.02


def test_floats_and_integers_are_not_mixed_whoever_asks():
    ours = BASE | {FIRST: (BASE[FIRST] * 100).astype("i1")}
    rules = Rules(choices=(("*", Choice("linear")),))
    assert kinds(planned(BASE, ours, moved(BASE, FIRST), rules=rules)) == {FIRST: "dtypes"}


def test_a_strategy_that_takes_a_side_needs_no_equal_dtypes():
    ours, theirs = recast(BASE, "f2"), moved(BASE, FIRST)
    found = merged(BASE, ours, theirs, rules=Rules(choices=((FIRST, Choice("theirs")),)))
    assert same({FIRST: found[FIRST]}, {FIRST: theirs[FIRST]})
    assert found["layer.1.weight"].dtype == numpy.dtype("f2")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("layers[0].w", "layers[0].w", True),
        ("layers[01].w", "layers1.w", True),
        ("layers[!01].w", "layers1.w", False),
        ("layers.?.w", "layers.7.w", True),
        ("layers.?.w", "layers.17.w", False),
        ("*.w", "Layers.W", False),
    ],
)
def test_a_pattern_fits_its_own_name_and_what_shells_take_it_for(pattern, name, fits):
    rules = Rules(choices=((pattern, Choice("theirs")),))
    assert rules.chosen(name) == ((Choice("theirs"), True) if fits else (Choice("three-way"), False))


TIED = BASE | {"lm_head.weight": BASE[FIRST]}


def test_what_is_tied_stays_tied():
    ours, theirs = moved(TIED, FIRST, "lm_head.weight"), moved(TIED, FIRST, "lm_head.weight", by=0.25)
    plan = planned(TIED, ours, theirs)
    assert not plan.warnings
    found = merged(TIED, ours, theirs)
    assert found[FIRST].tobytes() == found["lm_head.weight"].tobytes()


def test_a_strategy_for_one_of_two_tied_tensors_is_one_for_both():
    ours, theirs = moved(TIED, FIRST, "lm_head.weight"), moved(TIED, FIRST, "lm_head.weight", by=-0.25)
    rules = Rules(choices=(("lm_head.*", Choice("theirs")),))
    found = merged(TIED, ours, theirs, rules=rules)
    assert found[FIRST].tobytes() == found["lm_head.weight"].tobytes() == theirs[FIRST].tobytes()


def test_two_strategies_for_two_tied_tensors_are_refused():
    ours, theirs = moved(TIED, FIRST, "lm_head.weight"), moved(TIED, FIRST, "lm_head.weight", by=-0.25)
    rules = Rules(choices=(("lm_head.*", Choice("theirs")), (FIRST, Choice("ours"))))
    with pytest.raises(UsageError, match="are one tensor, and are given the strategies"):
        planned(TIED, ours, theirs, rules=rules)


def test_a_decision_about_one_of_two_tied_tensors_goes_before_a_pattern_that_fits_both():
    ours, theirs = moved(TIED, FIRST, "lm_head.weight"), moved(TIED, FIRST, "lm_head.weight", by=-0.25)
    for name in (FIRST, "lm_head.weight"):
        rules = Rules(choices=(("*", Choice("linear")),), resolutions={name: Choice("theirs")})
        found = merged(TIED, ours, theirs, rules=rules)
        assert found[FIRST].tobytes() == found["lm_head.weight"].tobytes() == theirs[FIRST].tobytes()
    with pytest.raises(UsageError, match="are one tensor, and are given the strategies ours and theirs"):
        planned(
            TIED, ours, theirs, rules=Rules(resolutions={FIRST: Choice("ours"), "lm_head.weight": Choice("theirs")})
        )


def test_tied_tensors_that_one_side_changed_apart_are_told():
    ours, theirs = moved(TIED, "lm_head.weight"), moved(TIED, FIRST, "lm_head.weight", by=0.25)
    (warning,) = planned(TIED, ours, theirs).warnings
    assert FIRST in warning
    assert "lm_head.weight" in warning
    assert warning.endswith("ours")
    rules = Rules(choices=(("lm_head.*", Choice("theirs")), (FIRST, Choice("ours"))))
    found = merged(TIED, ours, theirs, rules=rules)
    assert found["lm_head.weight"].tobytes() == theirs["lm_head.weight"].tobytes()


def test_biases_that_happen_to_be_zero_are_not_tied():
    zeros = {f"layer.{number}.bias": numpy.zeros(20, "f4") for number in range(3)}
    base = BASE | zeros
    ours, theirs = moved(base, "layer.0.bias"), moved(base, "layer.0.bias", "layer.1.bias", by=0.25)
    rules = Rules(choices=(("layer.0.bias", Choice("ours")), ("layer.1.bias", Choice("theirs"))))
    plan = planned(base, ours, theirs, rules=rules)
    assert not plan.warnings
    assert not plan.conflicts


@pytest.mark.parametrize("name", ["bn.running_mean", "bn/moving_mean/.ATTRIBUTES/VARIABLE_VALUE", "bn/moving_mean:0"])
def test_merged_running_statistics_are_told(name):
    base = BASE | {name: numpy.arange(20, dtype="f4"), "bn.running_var": numpy.ones(20, "f4")}
    ours, theirs = moved(base, name, "bn.running_var"), moved(base, name, by=0.25)
    (warning,) = planned(base, ours, theirs).warnings
    assert name in warning
    assert "1 running statistics" in warning


STRANGER = {f"conv{number}.kernel": DRAW.standard_normal((3, 3, 7), dtype="f4") for number in range(5)}


def test_strangers_are_refused_in_one_sentence():
    for sides in ((STRANGER, moved(BASE, FIRST)), (moved(BASE, FIRST), STRANGER)):
        with pytest.raises(UsageError, match=r"shares 0 of 5 tensors .* different architectures"):
            planned(BASE, *sides)
    with pytest.raises(UsageError, match="theirs shares 0 of 5 tensors with ours"):
        planned(None, BASE, STRANGER, rules=Rules(Choice("linear")))


def test_strangers_that_nobody_else_changed_are_taken():
    assert same(merged(BASE, STRANGER, BASE), STRANGER)
    assert same(merged(BASE, BASE, STRANGER), STRANGER)
    assert same(merged(BASE, STRANGER, STRANGER), STRANGER)


def test_a_tensor_that_two_sides_added_may_be_merged_by_what_needs_no_base():
    ours, theirs = BASE | {"x.w": numpy.ones((4, 5), "f4")}, BASE | {"x.w": numpy.full((4, 5), 3, "f4")}
    assert kinds(planned(BASE, ours, theirs)) == {"x.w": "added-twice"}
    found = merged(BASE, ours, theirs, rules=Rules(resolutions={"x.w": Choice("linear")}))
    assert numpy.array_equal(found["x.w"], numpy.full((4, 5), 2, "f4"))


def test_every_problem_is_in_one_plan():
    base = BASE | {"ids": numpy.arange(9), "gone": numpy.arange(40, dtype="f4"), "shape": numpy.arange(60, dtype="f4")}
    ours = {name: array for name, array in moved(base, "ids").items() if name != "gone"}
    ours |= {"shape": numpy.ones((3, 7), "f4"), "new": numpy.ones(9, "f4")}
    theirs = changed(base, "gone") | {"ids": base["ids"] + 2, "shape": base["shape"] + 1, "new": numpy.zeros(9, "f4")}
    ours["ids"] = base["ids"] + 1
    assert kinds(planned(base, ours, theirs)) == {
        "ids": "not-averaged",
        "gone": "changed-and-removed",
        "shape": "shapes",
        "new": "added-twice",
    }


def test_without_settling_what_one_side_changed_goes_to_the_strategy_and_what_it_dropped_is_gone():
    ours = {name: array for name, array in moved(BASE, FIRST).items() if name != "layer.3.weight"}
    rules = Rules(Choice("linear"), settles=False)
    found = merged(BASE, ours, BASE, rules=rules)
    assert numpy.allclose(found[FIRST], BASE[FIRST] + 0.25, atol=1e-6)
    assert "layer.3.weight" not in found
