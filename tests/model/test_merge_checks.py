"""What is found in merged models: norms against bounds that are worked out by hand, ties, and statistics."""

from __future__ import annotations

from math import sqrt

import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.health import NOTE, WARNING
from lamella.model.merging.checks import (
    Squares,
    averaged_statistics,
    broken_ties,
    measure_squares,
    norm_shrink,
)

DRAW = numpy.random.default_rng(5)


def squares(merged, sides, base=None):
    arrays = [merged, *([] if base is None else [base]), *sides]
    buffers = [array.astype("<f4").tobytes() for array in arrays]
    rest = buffers[1 + (base is not None) :]
    return measure_squares(merged.size, ["f32"] * len(arrays), buffers[0], None if base is None else buffers[1], rest)


@pytest.mark.parametrize("has_base", [True, False])
def test_sums_are_those_of_numpy_and_runs_add_up(has_base):
    base, merged, *sides = (DRAW.standard_normal(1000).astype("f4") for _ in range(4))
    given = base if has_base else None
    found = squares(merged, sides, given)
    assert found.merged == pytest.approx(numpy.dot(merged.astype("f8"), merged))
    assert found.sides == pytest.approx([numpy.dot(side.astype("f8"), side) for side in sides])
    halves = [
        squares(merged[cut], [side[cut] for side in sides], None if given is None else given[cut])
        for cut in (slice(0, 400), slice(400, 1000))
    ]
    total = halves[0] + halves[1]
    assert total.sides == pytest.approx(found.sides)
    assert total.merged == pytest.approx(found.merged)
    if has_base:
        assert found.moved == pytest.approx(((merged.astype("f8") - base) ** 2).sum())
        assert total.sides_moved == pytest.approx([((side.astype("f8") - base) ** 2).sum() for side in sides])
    else:
        assert (found.moved, found.sides_moved) == (None, ())


def changed(cosine, count=4096):
    """A base and two sides whose changes have one length and this cosine."""
    base = DRAW.standard_normal(count)
    one, other = numpy.linalg.qr(DRAW.standard_normal((count, 2)))[0].T
    return base, base + one, base + cosine * one + sqrt(1 - cosine**2) * other


@pytest.mark.parametrize(("cosine", "warned"), [(0.9, False), (0.0, False), (-0.4, False), (-0.6, True), (-1.0, True)])
def test_the_mean_of_two_changes_is_too_short_from_a_cosine_of_minus_a_half_on(cosine, warned):
    base, *sides = changed(cosine)
    found = list(norm_shrink({"w": squares((sides[0] + sides[1]) / 2, sides, base)}))
    assert bool(found) == warned
    if warned:
        assert (found[0].check, found[0].severity, found[0].where) == ("norm-shrink", WARNING, "w")
        assert found[0].evidence["ratio"] == pytest.approx(sqrt((1 + cosine) / 2), abs=1e-3)
        assert found[0].evidence["bound"] == 0.5


def test_the_mean_of_unrelated_changes_of_any_number_of_sides_is_no_finding():
    for sides in (2, 3, 8):
        assert not list(norm_shrink({"w": Squares(1.0, (1.0,) * sides, 1 / sides, (1.0,) * sides)}))
        assert list(norm_shrink({"w": Squares(1.0, (1.0,) * sides, 0.49 / sides, (1.0,) * sides)}))


def test_a_side_that_left_the_tensor_alone_does_not_count():
    assert not list(norm_shrink({"w": Squares(1.0, (1.0, 1.0), 0.01, (1.0, 0.0))}))


def test_weights_of_other_origin_shrink_and_are_told():
    one, other = DRAW.standard_normal(4096), DRAW.standard_normal(4096)
    found = list(norm_shrink({"w": squares((one + other) / 2, [one, other])}))
    assert [round(one.evidence["bound"], 3) for one in found] == [0.854]
    assert found[0].evidence["ratio"] == pytest.approx(1 / sqrt(2), abs=0.03)
    zeros = numpy.zeros(4096)  # a bias that training has only begun to move
    assert not list(norm_shrink({"b": squares((one + other) / 2, [one, other], zeros)}))
    near = one + 0.1 * other
    assert not list(norm_shrink({"w": squares((one + near) / 2, [one, near])}))


def test_zeros_are_no_finding():
    assert not list(norm_shrink({"w": Squares(0.0, (0.0, 0.0), 0.0, (0.0, 0.0))}))


def content(number, *shape):
    return bytes([number]) * 32, "f32", shape or (100, 8)


TIED = {"emb.weight": content(1), "head.weight": content(1), "other.weight": content(9)}


@pytest.mark.parametrize(
    ("others", "severity"),
    [
        ([TIED, TIED, TIED], WARNING),
        ([TIED, TIED, TIED | {"head.weight": content(3)}], NOTE),
        ([TIED, {"emb.weight": content(4)}], WARNING),
        ([{"emb.weight": content(4)}, TIED], WARNING),
    ],
)
def test_a_tie_that_is_gone_is_told_once(others, severity):
    apart = TIED | {"head.weight": content(2)}
    found = list(broken_ties(apart, others))
    assert [(one.check, one.severity, one.where) for one in found] == [("untied", severity, "head.weight")]
    assert not list(broken_ties(TIED, others))


@pytest.mark.parametrize(
    "model",
    [
        {"a.bias": content(1, 100), "b.bias": content(1, 100)},
        {"a.weight": content(1, 2, 2), "b.weight": content(1, 2, 2)},
        {"h.1.weight": content(1), "h.2.weight": content(1)},
        {"x.lora_B": content(1), "y.lora_B": content(1)},
        {"a.exp_avg": content(1), "b.exp_avg": content(1)},
    ],
)
def test_what_is_the_same_by_chance_or_in_every_block_is_no_tie(model):
    first, second = model
    assert not list(broken_ties(model | {second: content(2, *model[first][2])}, [model]))


def test_running_statistics_are_told():
    names = ("bn.running_mean", "bn.running_var", "bn/moving_variance:0", "bn.weight", "opt.exp_avg.running_var")
    specs = [TensorSpec(name, DTYPES["f32"], (8,)) for name in names]
    found = list(averaged_statistics(specs))
    assert [one.where for one in found] == list(names[:3])
    assert {one.severity for one in found} == {WARNING}
