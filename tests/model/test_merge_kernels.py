"""What the kernels that merge promise: rounding, weighted sums, ordered means, elections and what they count."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.model import _native, elect_reference, merge_reference
from lamella.model.measure_reference import UNITS
from lamella.model.merge_reference import INFINITE, NANS
from tests.model.element_runs import nbytes, numbers_of, width

FLOATS = list(UNITS)
REFERENCE = SimpleNamespace(
    encode=merge_reference.encode,
    weighted_sum=merge_reference.weighted_sum,
    ordered_mean=merge_reference.ordered_mean,
    elect=elect_reference.elect,
    gram=elect_reference.gram,
    count_magnitudes=elect_reference.count_magnitudes,
)
TWINS = pytest.mark.parametrize("twin", [_native, REFERENCE], ids=["native", "reference"])
MODULES = {
    "f4_e2m1": "float4_e2m1fn", "f6_e2m3": "float6_e2m3fn", "f6_e3m2": "float6_e3m2fn", "f8_e4m3": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2", "f8_e4m3fnuz": "float8_e4m3fnuz", "f8_e5m2fnuz": "float8_e5m2fnuz", "bf16": "bfloat16",
}  # fmt: skip


def encoded(twin, numbers, dtype: str) -> bytes:
    out = bytearray(nbytes(dtype, len(numbers)))
    twin.encode(np.array(numbers, "<f8").tobytes(), dtype, len(numbers), out)
    return bytes(out)


def values(data: bytes, dtype: str) -> list[float]:
    return numbers_of(data, dtype, len(data) * 8 // width(dtype)).tolist()


def finite_values(dtype: str) -> np.ndarray:
    """Return all finite values of a dtype of 16 bits and less, ascending, of zeros the positive one."""
    bits = width(dtype)
    codes = np.arange(1 << bits, dtype="<u2") if bits == 16 else np.arange(1 << bits, dtype="u1")
    packed = np.packbits((codes[:, None] >> np.arange(bits)) & 1, bitorder="little").tobytes()
    numbers = numbers_of(packed, dtype, codes.size)
    return np.unique(numbers[np.isfinite(numbers)] + 0.0)


@TWINS
@pytest.mark.parametrize("dtype", [name for name in FLOATS if width(name) <= 16])
def test_doubles_are_rounded_once_to_the_nearest_and_in_the_middle_to_the_even_one(twin, dtype):
    """Held against all values of the dtype and their exact middles, and doubles just beside these."""
    kept = finite_values(dtype)
    low, high = kept[:-1], kept[1:]
    halves = (low + high) / 2
    assert all(Fraction(h) * 2 == Fraction(a) + Fraction(b) for h, a, b in zip(halves, low, high, strict=True))
    assert np.array_equal(numbers_of(encoded(twin, kept, dtype), dtype, kept.size), kept)
    for beside, expected in ((np.nextafter(halves, -np.inf), low), (np.nextafter(halves, np.inf), high)):
        assert np.array_equal(numbers_of(encoded(twin, beside, dtype), dtype, low.size), expected)
    steps = np.rint(np.ldexp(abs(low), UNITS[dtype].mantissa - np.maximum(np.frexp(low)[1] - 1, UNITS[dtype].exponent)))
    even = np.where((low != 0) & (steps % 2 == 1), high, low)
    assert np.array_equal(numbers_of(encoded(twin, halves, dtype), dtype, low.size), even)


@TWINS
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_too_large_becomes_an_infinity_or_the_largest_number(twin, dtype):
    given_ = [1e308 * 10, -1e308 * 10] + ([1e300, -1e300] if dtype not in ("f64", "c128") else [])
    found = numbers_of(encoded(twin, given_, dtype), dtype, len(given_))
    largest = math.inf if dtype in INFINITE else finite_values(dtype)[-1]
    assert found.tolist() == [largest, -largest] * (len(given_) // 2)


@TWINS
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_nan_stays_one_where_there_is_one_and_has_no_sign(twin, dtype):
    found = encoded(twin, [math.nan, -math.nan] * 4, dtype)
    assert found == encoded(twin, [math.nan] * 8, dtype)
    assert all(map(math.isnan, values(found, dtype))) == (dtype in NANS)
    assert dtype in NANS or set(found) == {0}


@TWINS
def test_zeros_keep_their_sign_where_there_are_two(twin):
    for dtype in FLOATS:
        found = np.signbit(numbers_of(encoded(twin, [-0.0, 0.0, -1e-320, 1.0], dtype), dtype, 4)).tolist()
        assert found == ([True, False, True, False] if not dtype.endswith("fnuz") else [False] * 4)


@TWINS
@pytest.mark.parametrize("dtype", [*MODULES, "f16", "f32"])
@given(seed=st.integers(0, 1 << 32))
def test_what_is_a_float32_is_rounded_as_ml_dtypes_and_numpy_round_it(twin, dtype, seed):
    """Only what is too large for a dtype without infinities is not: there the largest number is taken, not NaN."""
    random = np.random.default_rng(seed)
    numbers = random.standard_normal(500) * 2.0 ** random.integers(-150, 128, 500)
    with np.errstate(over="ignore"):
        numbers = np.concatenate([numbers, random.standard_normal(500)]).astype("<f4").astype("<f8")
    if dtype in MODULES and dtype not in INFINITE:
        numbers = numbers[abs(numbers) <= finite_values(dtype)[-1]]
    kind = (
        np.dtype(getattr(ml_dtypes, MODULES[dtype]))
        if dtype in MODULES
        else np.dtype(f"<{dtype[0]}{width(dtype) // 8}")
    )
    with np.errstate(all="ignore"):
        expected = numbers.astype(kind).astype("<f8")
    found = numbers_of(encoded(twin, numbers, dtype), dtype, numbers.size)
    assert np.array_equal(found, expected)
    assert np.array_equal(np.signbit(found), np.signbit(expected))


def of(dtype: str, *numbers: float) -> bytes:
    return encoded(REFERENCE, numbers, dtype)


@TWINS
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_a_weighted_sum_is_that_of_the_values_rounded_once(twin, dtype):
    one, other = of(dtype, 1.0, -2.0, 0.5, 3.0), of(dtype, 2.0, 4.0, 0.25, 3.0)
    out = bytearray(len(one))
    assert twin.weighted_sum([one, other], [0.25, 0.5], dtype, 4, out, False) == 0
    assert values(bytes(out), dtype) == [1.25, 1.5, 0.25, 2.25]


@TWINS
def test_what_is_the_same_on_all_sides_is_kept_bit_for_bit(twin):
    same = bytes.fromhex("80ff 817f c5ff 0080 cd3d".replace(" ", "")) * 300
    out = bytearray(len(same))
    assert twin.weighted_sum([same] * 3, [0.1, 0.2, 0.7], "bf16", 1500, out, True) == 0
    assert out == same
    assert twin.ordered_mean([same] * 3, 0, "bf16", 1500, out) == 0
    assert out == same
    assert twin.weighted_sum([same] * 3, [1.0, 1.0, 1.0], "bf16", 1500, out, False) == 0
    assert out != same


@TWINS
def test_results_that_are_not_finite_are_counted_where_sides_differ(twin):
    one, other = of("f16", math.inf, 1.0, 60000.0, math.nan), of("f16", math.inf, -math.inf, 60000.0, 2.0)
    out = bytearray(8)
    assert twin.weighted_sum([one, other], [0.5, 0.5], "f16", 4, out, True) == 2
    assert twin.weighted_sum([one, other], [1.0, 1.0], "f16", 4, out, False) == 2
    assert values(bytes(out), "f16")[2] == math.inf
    assert twin.ordered_mean([one, other], 0, "f16", 4, out) == 2


@TWINS
def test_a_median_is_the_middle_side_and_a_trimmed_mean_that_of_the_rest(twin):
    sides = [of("f32", *row) for row in ((5.0, -0.0, 1.0), (1.0, 0.0, math.nan), (100.0, -0.0, 3.0), (2.0, 7.0, 2.0))]
    out = bytearray(12)
    assert twin.ordered_mean(sides[:3], 1, "f32", 3, out) == 0
    assert bytes(out) == of("f32", 5.0, -0.0, 3.0)
    assert twin.ordered_mean(sides, 1, "f32", 3, out) == 0
    assert values(bytes(out), "f32") == [3.5, 0.0, 2.5]


@TWINS
def test_a_nan_of_any_sign_and_payload_comes_last(twin):
    nan = bytes.fromhex("4523c1ff")
    out = bytearray(4)
    assert twin.ordered_mean([nan, of("f32", 1.0), of("f32", 2.0)], 1, "f32", 1, out) == 0
    assert values(bytes(out), "f32") == [2.0]
    counts = np.zeros(1 << 16, np.uint64)
    twin.count_magnitudes(None, nan, "f32", 1, None, counts)
    assert counts.nonzero()[0].tolist() == [0x7FC0]
    twin.count_magnitudes(None, nan, "f32", 1, 0x7FC0, counts)
    assert counts[0] == 1


def election(twin, base, sides, dtype="f32", weights=None, thresholds=None, scale=1.0, normalize=True):
    count = len(base) * 8 // width(dtype)
    out = bytearray(len(base))
    n = len(sides)
    found = twin.elect(base, sides, weights or [1.0] * n, thresholds or [0.0] * n, scale, normalize, dtype, count, out)
    return bytes(out), found


@TWINS
def test_the_sign_with_more_weight_wins_and_its_moves_are_averaged(twin):
    base = of("f32", 1.0, 1.0, 1.0, 1.0, 1.0)
    sides = [of("f32", 3.0, 1.0, 0.0, 2.0, 1.5), of("f32", 2.0, 1.25, 4.0, 0.0, 1.5)]
    out, found = election(twin, base, sides)
    assert values(out, "f32") == [2.5, 1.25, 4.0, 1.0, 1.5]
    assert found[:5] == ((4, 5), 5, 4, 2, 0)
    assert found[5] == (6.25, -1.75, -1.75, 11.3125)


@TWINS
def test_weights_thresholds_and_scale_do_what_the_formula_says(twin):
    base, sides = of("f64", 1.0, 0.0), [of("f64", 3.0, 0.5), of("f64", 0.0, 4.0)]
    assert values(election(twin, base, sides, "f64", [1.0, 3.0], None, 0.5, False)[0], "f64") == [-0.5, 6.25]
    assert values(election(twin, base, sides, "f64", None, [1.0, 1.5], 1.0, True)[0], "f64") == [3.0, 4.0]
    assert values(election(twin, base, sides, "f64", None, [2.5, 1.0], 1.0, True)[0], "f64") == [0.0, 4.0]
    assert values(election(twin, base, sides, "f64", [0.0, 1.0])[0], "f64") == [0.0, 4.0]


@TWINS
def test_a_magnitude_of_its_threshold_is_kept_and_one_of_less_dropped(twin):
    limit = float(np.float32(0.1))
    half = (float(np.nextafter(np.float32(0.1), np.float32(0))) + limit) / 2
    moves = [limit, np.nextafter(limit, 0), half, np.nextafter(half, 0), np.nextafter(half, 1), -limit]
    base, side = of("f64", *[0.0] * 6), of("f64", *moves)
    expected = [float(move) if abs(np.float32(move)) >= np.float32(0.1) else 0.0 for move in moves]
    assert values(election(twin, base, [side], "f64", None, [0.1])[0], "f64") == expected
    assert 0.0 in expected


@TWINS
@pytest.mark.parametrize("dtype", FLOATS)
@given(seed=st.integers(0, 1 << 32))
def test_an_element_that_one_side_moved_is_that_side_and_an_agreed_one_is_the_agreed(twin, dtype, seed):
    """Any bits: infinities, NaNs with payloads and zeros of both signs too. All weights are there, some are odd."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (2, 192), dtype="u1")
    base, moved = noise[0].tobytes(), np.where(random.random(192) < 0.5, *noise).tobytes()
    for sides in ([base, moved], [moved, base], [moved, moved], [base, moved, base, moved]):
        out, found = election(twin, base, sides, dtype, [0.3, 0.7, 1e-3, 5.0][: len(sides)])
        assert out == moved
        assert found[3] == 0
    assert election(twin, base, [base, base], dtype)[0] == base
    assert election(twin, base, [base, base], dtype)[1][:5] == ((0, 0), 0, 0, 0, 0)


@TWINS
def test_a_mask_of_infinities_survives_and_counts_as_no_move(twin):
    base = of("bf16", -math.inf, 1.0)
    sides = [base, of("bf16", -math.inf, 3.0)]
    out, found = election(twin, base, sides, "bf16", None, None, 0.5, False)
    assert values(out, "bf16") == [-math.inf, 2.0]
    assert found == ((0, 1), 1, 0, 0, 0, (0.0, 0.0, 0.0, 4.0))


@TWINS
def test_dot_products_are_exact_where_sums_are_and_leave_out_what_is_not_finite(twin):
    random = np.random.default_rng(5)
    rows = random.integers(-50, 50, (3, 5000)).astype("<f4")
    sides = [row.tobytes() for row in rows]
    assert twin.gram(None, sides, "f32", 5000) == tuple((rows.astype("f8") @ rows.astype("f8").T).ravel())
    moves = rows[1:].astype("f8") - rows[0]
    assert twin.gram(sides[0], sides[1:], "f32", 5000) == tuple((moves @ moves.T).ravel())
    rows[1, 7], rows[2, 9] = math.nan, -math.inf
    moves = np.where(np.isfinite(rows[1:]), rows[1:], rows[0]).astype("f8") - rows[0]
    sides = [row.tobytes() for row in rows]
    assert twin.gram(sides[0], sides[1:], "f32", 5000) == tuple((moves @ moves.T).ravel())


@TWINS
def test_two_passes_over_magnitudes_find_the_one_of_any_rank(twin):
    random = np.random.default_rng(7)
    base, side = (random.standard_normal(5000).astype("<f4") for _ in range(2))
    sizes = np.sort(abs(side.astype("f8") - base).astype("f4"))
    upper, lower = np.zeros(1 << 16, np.uint64), np.zeros(1 << 16, np.uint64)
    twin.count_magnitudes(base.tobytes(), side.tobytes(), "f32", 5000, None, upper)
    for rank in (0, 17, 2500, 4999):
        prefix = int(np.searchsorted(np.cumsum(upper), rank, side="right"))
        lower[:] = 0
        twin.count_magnitudes(base.tobytes(), side.tobytes(), "f32", 5000, prefix, lower)
        rest = rank - int(upper[:prefix].sum())
        low = int(np.searchsorted(np.cumsum(lower), rest, side="right"))
        assert np.uint32(prefix << 16 | low).view(np.float32) == sizes[rank]
    assert upper.sum() == 5000


@TWINS
def test_magnitudes_of_nans_are_the_largest_and_of_what_did_not_move_nothing(twin):
    base, side = of("f32", math.inf, 0.0, 0.0, 1.0), of("f32", math.inf, math.nan, -math.inf, 0.0)
    counts = np.zeros(1 << 16, np.uint64)
    twin.count_magnitudes(base, side, "f32", 4, None, counts)
    assert {int(at): int(counts[at]) for at in counts.nonzero()[0]} == {0: 1, 0x7FC0: 1, 0x7F80: 1, 0x3F80: 1}
    twin.count_magnitudes(None, side, "f32", 4, 0x7FC0, counts)
    assert counts[0] == 2


ROOM = np.zeros(1 << 16, np.uint64)
FITTING = {
    "encode": {"doubles": bytes(16), "dtype": "f32", "count": 2, "out": bytearray(8)},
    "weighted_sum": {
        "sides": [bytes(8)], "weights": [1.0], "dtype": "f32", "count": 2, "out": bytearray(8), "keep_equal": True,
    },
    "ordered_mean": {"sides": [bytes(8)], "dropped": 0, "dtype": "f32", "count": 2, "out": bytearray(8)},
    "elect": {
        "base": bytes(8), "sides": [bytes(8)], "weights": [1.0], "thresholds": [0.0], "scale": 1.0, "normalize": True,
        "dtype": "f32", "count": 2, "out": bytearray(8),
    },
    "gram": {"base": None, "sides": [bytes(8)], "dtype": "f32", "count": 2},
    "count_magnitudes": {
        "base": None, "side": bytes(8), "dtype": "f32", "count": 2, "prefix": None, "counts": ROOM,
    },
}  # fmt: skip
WRONG = {
    "dtype": ("f31", "q4_0", "i32", "bool", "f8_e8m0"),
    "count": (1, 3),
    "doubles": (bytes(15), bytes(24)),
    "out": (bytearray(7), bytearray(9), bytes(8)),
    "sides": ([], [bytes(7)], [bytes(8), bytes(9)]),
    "side": (bytes(7),),
    "base": (bytes(7), bytes(9)),
    "weights": ([], [1.0, 1.0], [math.inf], [math.nan]),
    "thresholds": ([], [1.0, 1.0], [-1.0], [math.nan]),
    "scale": (math.inf, math.nan),
    "dropped": (1, -1),
    "prefix": (1 << 16, -1),
    "counts": (np.zeros(9, np.uint64), bytes(8 << 16)),
}


@TWINS
@pytest.mark.parametrize("name", FITTING)
def test_what_does_not_fit_together_is_refused(twin, name):
    kernel, arguments = getattr(twin, name), FITTING[name]
    kernel(*arguments.values())
    for place in set(arguments) & set(WRONG):
        for wrong in WRONG[place]:
            with pytest.raises(ValueError, match=r"must|has no elements"):
                kernel(*{**arguments, place: wrong}.values())


@TWINS
def test_moves_of_more_than_64_sides_are_not_compared(twin):
    sides = [bytes(8)] * 65
    assert len(twin.gram(None, sides[:64], "f32", 2)) == 64 * 64
    with pytest.raises(ValueError, match="64"):
        twin.gram(None, sides, "f32", 2)
    with pytest.raises(ValueError, match="64"):
        twin.elect(sides[0], sides, [1.0] * 65, [0.0] * 65, 1.0, True, "f32", 2, bytearray(8))
