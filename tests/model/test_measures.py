"""What `Measures` says of two runs of elements: the numbers, and what is made of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lamella.model import _native, measure_reference
from lamella.model.measures import Measures
from lamella.model.survey import Survey

TWINS = pytest.mark.parametrize("twin", [_native, measure_reference], ids=["native", "reference"])
NAN, INFINITY = math.nan, math.inf


def measured(before, after, kind="<f4", dtype="f32", epsilon=0.0, twin=_native) -> Measures:
    sides = [np.array(side, kind).tobytes() for side in (before, after)]
    return Measures(*twin.measure(sides[0], dtype, sides[1], dtype, len(before), epsilon))


@TWINS
def test_the_worked_example(twin):
    found = measured([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.5, 0.4], "<f8", "f64", epsilon=0.1, twin=twin)
    assert found.mean_absolute == pytest.approx(0.05, rel=1e-15)
    assert found.max_absolute == pytest.approx(0.2, rel=1e-15)
    assert (found.count, found.changed, found.above, found.finite) == (4, 1, 1, 4)
    assert found.norm_difference == pytest.approx(0.2)
    assert found.relative == pytest.approx(0.2 / math.sqrt(0.30))
    assert found.cosine_distance == pytest.approx(1 - 0.36 / math.sqrt(0.30 * 0.46))
    assert (found.share_changed, found.share_above) == (0.25, 0.25)


@TWINS
def test_what_is_not_finite_is_counted_and_not_summed(twin):
    before = [1.0, NAN, INFINITY, -INFINITY, 2.0, NAN, 3.0, INFINITY]
    after = [1.5, NAN, INFINITY, INFINITY, NAN, 4.0, 3.0, NAN]
    found = measured(before, after, twin=twin)
    assert (found.count, found.finite, found.both, found.special) == (8, 2, 2, 4)
    assert (found.changed, found.above) == (5, 5)
    assert (found.nan_before, found.nan_after, found.infinite_before, found.infinite_after) == (2, 3, 3, 2)
    assert (found.sum_absolute, found.squares_before, found.dot) == (0.5, 10.0, 10.5)
    assert sum(found.ulps) == 2


@TWINS
def test_zeros_of_both_signs_are_the_same(twin):
    found = measured([0.0, -0.0], [-0.0, 0.0], twin=twin)
    assert (found.changed, found.ulp_max, found.ulps) == (0, 0, (2,))
    assert (found.relative, found.cosine_distance) == (0.0, 0.0)


@TWINS
@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_distances_are_counted_by_their_powers_of_two(twin, dtype):
    nbytes = int(dtype[1:]) // 8
    kind, bits = f"<f{nbytes}", f"<u{nbytes}"
    one = int(np.array(1.0, kind).view(bits))
    after = np.array([one, one + 1, one + 2, one + 3, one + 4, one - 1], bits).view(kind)
    found = measured([1.0] * 6, after, kind, dtype, twin=twin)
    assert found.ulps == (1, 2, 2, 1)
    assert found.ulp_max == 4


@TWINS
def test_the_parts_of_a_complex_number_have_distances_of_their_own(twin):
    up = np.nextafter(np.float32(1.0), np.float32(2.0))
    sides = [np.array(side, "<c8").tobytes() for side in ([1 + 1j, 1 + 1j], [complex(up, 1), 1 + 1j])]
    found = Measures(*twin.measure(sides[0], "c64", sides[1], "c64", 4, 0.0))
    assert (found.ulps, found.ulp_max) == ((3, 1), 1)


@TWINS
def test_what_is_beyond_the_largest_number_lies_one_unit_behind_it(twin):
    wide, narrow = np.array([448.0, 1e30], "<f4").tobytes(), bytes([0x7E, 0x7E])
    assert Measures(*twin.measure(wide, "f32", narrow, "f8_e4m3", 2, 0.0)).ulp_max == 1


@TWINS
@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        (b"\x8f", "i4", [-1, -8]),
        (b"\x8f", "u4", [15, 8]),
        (b"\xe4", "i2", [0, 1, -2, -1]),
        (b"\xe4", "u2", [0, 1, 2, 3]),
    ],
)
def test_packed_integers_begin_at_the_low_bits_and_have_signs(twin, data, dtype, expected):
    out = np.zeros(len(expected), "<f8")
    twin.decode(data, dtype, len(expected), out)
    assert out.tolist() == expected


@TWINS
def test_values_are_counted_by_the_upper_half_of_their_float32(twin):
    counts = np.zeros(1 << 16, "<u8")
    twin.count_values(np.array([1.0, NAN, 1e300, -1e300], "<f8").tobytes(), "f64", 4, counts)
    assert {int(code): int(counts[code]) for code in np.flatnonzero(counts)} == {
        **dict.fromkeys((0x3F80, 0x7F80, 0x7FC0, 0xFF80), 1)
    }


@TWINS
def test_the_smallest_numbers_on_both_sides_of_zero_are_two_units_apart(twin):
    tiny = np.array([1], "<u4").view("<f4")[0]
    assert measured([-tiny], [tiny], twin=twin).ulp_max == 2


@TWINS
def test_a_cast_has_no_distance_in_the_coarser_dtype(twin):
    import ml_dtypes

    wide = np.random.default_rng(0).standard_normal(5000).astype("<f4")
    narrow = wide.astype(ml_dtypes.bfloat16)
    for sides in (((wide, "f32"), (narrow, "bf16")), ((narrow, "bf16"), (wide, "f32"))):
        (one, dtype_one), (other, dtype_other) = sides
        found = Measures(*twin.measure(one.tobytes(), dtype_one, other.tobytes(), dtype_other, 5000, 0.0))
        assert found.changed > 4900
        assert found.ulps == (5000,)


@TWINS
def test_integers_have_no_units_of_the_last_place(twin):
    found = measured([1, 2], [1, 200], "<i4", "i32", twin=twin)
    assert (found.ulps, found.ulp_max, found.changed, found.max_absolute) == ((), 0, 1, 198.0)


def test_a_side_of_zeros_has_no_direction():
    found = measured([0.0, 0.0], [1.0, 0.0])
    assert found.relative is None
    assert found.cosine_distance is None
    assert measured([0.0], [0.0]).relative == 0.0


def test_nearly_parallel_sides_keep_their_digits():
    before = np.full(1000, 1.0)
    after = before.copy()
    after[0] += 1e-9
    found = measured(before, after, "<f8", "f64")
    assert found.cosine_distance == pytest.approx(0.5e-18 * (1 / 1000 - 1 / 1000**2), rel=1e-2)


def test_squares_that_overflow_or_vanish_are_no_reason_for_a_wrong_number():
    huge = measured([1e200, 1.0], [-1e200, 1.0], "<f8", "f64")
    assert huge.relative is None
    assert huge.cosine_distance is None
    tiny = measured([1e-200], [2e-200], "<f8", "f64")
    assert tiny.relative is None
    assert tiny.mean_absolute == 1e-200


@pytest.mark.parametrize("places", [[0], [5], [1, 2, 2], [2048, 4096], [3, 2048, 2500]])
def test_runs_one_after_another_are_one_run(places):
    draw = np.random.default_rng(1)
    before = draw.standard_normal(5000)
    after = before + draw.standard_normal(5000) * draw.integers(0, 2, 5000)
    after[[7, 4000]] = NAN, INFINITY
    cut = [0, *places, 5000]
    runs = [measured(before[a:b], after[a:b]) for a, b in itertools.pairwise(cut)]
    total = runs[0]
    for run in runs[1:]:
        total += run
    whole = measured(before, after)
    assert total.ulps == whole.ulps
    assert (total.count, total.changed, total.special) == (whole.count, whole.changed, whole.special)
    assert total.max_absolute == whole.max_absolute
    assert total.sum_absolute == pytest.approx(whole.sum_absolute, rel=1e-13)


def surveyed(values, twin=_native) -> Survey:
    return Survey(*twin.survey(np.array(values, "<f4").tobytes(), "f32", len(values)))


@TWINS
def test_a_survey_counts_and_sums(twin):
    tiny = float(np.array([5], "<u4").view("<f4")[0])
    found = surveyed([1.0, -3.0, 0.0, -0.0, NAN, INFINITY, -INFINITY, tiny, 2.0], twin)
    assert (found.count, found.nan, found.infinite, found.zeros, found.subnormal) == (9, 1, 2, 2, 1)
    assert (found.minimum, found.maximum, found.max_absolute, found.finite) == (-3.0, 2.0, 3.0, 6)
    assert found.total == pytest.approx(0.0, abs=1e-40)
    assert found.squares == 14.0
    assert found.norm == pytest.approx(math.sqrt(14))


def test_surveys_one_after_another_are_one():
    special = surveyed([NAN, INFINITY])
    assert (special.minimum, special.maximum, special.mean) == (0.0, 0.0, 0.0)
    assert special + surveyed([2.0, 3.0]) == surveyed([NAN, INFINITY, 2.0, 3.0])
    assert surveyed([2.0, 3.0]) + special == surveyed([NAN, INFINITY, 2.0, 3.0])
    assert special + special == surveyed([NAN, INFINITY] * 2)
