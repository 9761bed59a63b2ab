"""The compiled kernels that measure against their NumPy twins, on every dtype and every pair of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.model import _native, measure_reference
from lamella.model.measure_reference import UNITS
from tests.model.element_runs import COUNTS, numbers_of, runs, width

NAMES = [name for name, dtype in DTYPES.items() if dtype.block_elements == 1]
LARGEST_SUM = 6


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, str, bytes, str, int]:
    """Draw two runs of the same number of elements, often of one dtype, and then often nearly the same."""
    count = draw(st.sampled_from(COUNTS))
    one = draw(st.sampled_from(NAMES))
    other = draw(st.just(one) | st.sampled_from(NAMES))
    before = draw(runs(count, one))
    if one != other or draw(st.booleans()):
        return before, one, draw(runs(count, other)), other, count
    after = bytearray(before)
    for place in draw(st.lists(st.integers(0, max(0, len(after) - 1)), max_size=20 if after else 0)):
        after[place] ^= draw(st.sampled_from([1, 2, 0x80, 0xFF]))
    return before, one, bytes(after), other, count


def magnitudes(pair: tuple[bytes, str, bytes, str, int]) -> list[float]:
    """Return for each sum that of the magnitudes of what is added."""
    before, one, after, other, count = pair
    sides = [numbers_of(*side, count) for side in ((before, one), (after, other))]
    finite = np.isfinite(sides[0]) & np.isfinite(sides[1])
    with np.errstate(all="ignore"):
        a, b = (abs(side[finite]) for side in sides)
        return [float(x.sum()) for x in (a + b, a * b, a * a, b * b, (a + b) ** 2)]


def assert_close(found: float, expected: float, magnitude: float) -> None:
    """Sums agree, or overflow to the same; where they overflow in one order only, their magnitudes nearly do."""
    if np.isfinite(magnitude):
        assert abs(found - expected) <= 1e-12 * magnitude
    else:
        assert not np.isfinite(found) or not np.isfinite(expected) or found == pytest.approx(expected, rel=1e-9)


@given(pair=pairs(), epsilon=st.sampled_from([0.0, 1e-6, 1.0, 1e300]))
def test_native_measures_are_those_of_the_reference(pair, epsilon):
    found, expected = (twin.measure(*pair, epsilon) for twin in (_native, measure_reference))
    assert [*found[:5], found[LARGEST_SUM], *found[11:]] == [*expected[:5], expected[LARGEST_SUM], *expected[11:]]
    sums = [
        (one, two) for place, (one, two) in enumerate(zip(found, expected, strict=True)) if place in (5, 7, 8, 9, 10)
    ]
    for (one, two), magnitude in zip(sums, magnitudes(pair), strict=True):
        assert_close(one, two, magnitude)


@given(pair=pairs(), row=st.sampled_from([1, 2, 3, 8, 100, 1000, 5000]), place=st.floats(0, 0.999))
def test_native_sums_of_rows_are_those_of_the_reference(pair, row, place):
    begin, count = int(row * place), pair[-1]
    touched = (begin + count - 1) // row + 1 if count else 0
    sums = [np.ones(touched), np.ones(touched)]
    for twin, rows in zip((_native, measure_reference), sums, strict=True):
        twin.measure(*pair, 0.0, rows, row, begin)
    largest = magnitudes(pair)[0]
    for one, two in zip(*sums, strict=True):
        assert_close(one, two, 1 + largest)


@given(dtype=st.sampled_from(NAMES), count=st.sampled_from(COUNTS), data=st.data())
def test_native_surveys_are_those_of_the_reference(dtype, count, data):
    run = data.draw(runs(count, dtype))
    found, expected = (twin.survey(run, dtype, count) for twin in (_native, measure_reference))
    assert found[:7] == expected[:7]
    numbers = numbers_of(run, dtype, count)
    numbers = abs(numbers[np.isfinite(numbers)])
    with np.errstate(all="ignore"):
        assert_close(found[7], expected[7], float(numbers.sum()))
        assert_close(found[8], expected[8], float((numbers * numbers).sum()))


@given(dtype=st.sampled_from(NAMES), count=st.sampled_from(COUNTS), data=st.data())
def test_native_values_and_their_counts_are_those_of_the_reference(dtype, count, data):
    run = data.draw(runs(count, dtype))
    decoded, counted = [], []
    for twin in (_native, measure_reference):
        out, counts = np.zeros(count), np.ones(1 << 16, np.uint64)
        twin.decode(run, dtype, count, out)
        twin.count_values(run, dtype, count, counts)
        decoded.append(out)
        counted.append(counts)
    assert np.array_equal(*decoded, equal_nan=True)
    assert np.array_equal(*counted)
    assert counted[0].sum() == count + (1 << 16)


def test_every_code_of_eight_bits_and_less_has_the_same_value():
    codes = bytes(range(256))
    for dtype in NAMES:
        if width(dtype) <= 8:
            count = 256 * 8 // width(dtype)
            out = np.zeros(count)
            _native.decode(codes, dtype, count, out)
            assert np.array_equal(out, numbers_of(codes, dtype, count), equal_nan=True)


@pytest.mark.parametrize("dtype", [name for name in UNITS if width(name) <= 16])
def test_a_value_is_rounded_to_the_place_that_its_own_dtype_gives_it(dtype):
    """Every value of a small dtype lies as many units from 0 as its bits say, and so does f64 between two of them."""
    bits = width(dtype)
    codes = np.arange(1 << bits, dtype="<u2") if bits == 16 else np.arange(1 << bits, dtype="u1")
    packed = np.packbits((codes[:, None] >> np.arange(bits)) & 1, bitorder="little").tobytes()
    numbers = numbers_of(packed, dtype, codes.size)
    places = np.where(codes >> (bits - 1), -(codes & ((1 << (bits - 1)) - 1)).astype("i8"), codes.astype("i8"))
    finite = np.isfinite(numbers)
    assert np.array_equal(measure_reference.ordinals(numbers[finite], UNITS[dtype]), places[finite])
    order = np.argsort(places[finite], kind="stable")
    ordered, kept = numbers[finite][order], places[finite][order]
    halves = (ordered[1:] + ordered[:-1]) / 2
    rounded = measure_reference.ordinals(halves, UNITS[dtype])
    assert np.array_equal(rounded, np.where(kept[1:] % 2 == 0, kept[1:], kept[:-1]))


@contextmanager
def using(instruction_set: str) -> Iterator[None]:
    _native.use_instruction_set(instruction_set)
    try:
        yield
    finally:
        _native.use_instruction_set(_native.instruction_sets()[0])


def said_of(pair: tuple[bytes, str, bytes, str, int]) -> list[bytes]:
    """Return all that the kernels say, to the last bit; of NaNs only that they are."""
    before, one, _, _, count = pair
    rows, out, counts = np.zeros((count + 9) // 10), np.zeros(count), np.zeros(1 << 16, np.uint64)
    found = _native.measure(*pair, 1e-3, rows, 10, 0), _native.survey(before, one, count)
    _native.decode(before, one, count, out)
    _native.count_values(before, one, count, counts)
    out[np.isnan(out)] = np.nan
    return [repr(found).encode(), rows.tobytes(), out.tobytes(), counts.tobytes()]


@given(pair=pairs())
def test_every_instruction_set_says_the_same_to_the_last_bit(pair):
    said = []
    for name in _native.instruction_sets():
        with using(name):
            said.append(said_of(pair))
    assert all(one == said[0] for one in said)


@given(pair=pairs())
def test_the_slowest_instruction_set_measures_as_the_reference_does(pair):
    with using("baseline"):
        found = _native.measure(*pair, 0.0)
    expected = measure_reference.measure(*pair, 0.0)
    assert [*found[:5], found[LARGEST_SUM], *found[11:]] == [*expected[:5], expected[LARGEST_SUM], *expected[11:]]


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="instruction set"):
        _native.use_instruction_set("abacus")


TWINS = pytest.mark.parametrize("twin", [_native, measure_reference], ids=["native", "reference"])


@TWINS
def test_an_integer_of_64_bits_is_subtracted_as_such(twin):
    before, after = struct.pack("<2q", 1 << 62, -(1 << 63)), struct.pack("<2q", (1 << 62) + 1, (1 << 63) - 1)
    found = twin.measure(before, "i64", after, "i64", 2, 0.5)
    assert found[1] == found[2] == 2
    assert (found[5], found[6]) == (1 + 2.0**64, 2.0**64)


@TWINS
@pytest.mark.parametrize(
    "arguments",
    [
        (b"1234", "f32", b"123", "f32", 1, 0.0),
        (b"1234", "f32", b"1234", "f32", 2, 0.0),
        (b"1234", "f32", b"1234", "f32", 1, -1.0),
        (b"1234", "f32", b"1234", "f32", 1, float("nan")),
        (b"1234", "q4_0", b"1234", "f32", 1, 0.0),
        (b"1234", "f31", b"1234", "f32", 1, 0.0),
        (b"1234", "f32", b"1234", "f32", 1, 0.0, np.zeros(1), 0, 0),
        (b"1234", "f32", b"1234", "f32", 1, 0.0, np.zeros(1), 4, 4),
        (b"1234", "f32", b"1234", "f32", 1, 0.0, np.zeros(2), 4, 0),
        (b"1234", "f32", b"1234", "f32", 1, 0.0, np.zeros(0), 4, 0),
    ],
)
def test_what_does_not_fit_together_is_refused(twin, arguments):
    with pytest.raises(ValueError, match=r"must|has no elements"):
        twin.measure(*arguments)


@TWINS
def test_room_of_another_size_is_refused(twin):
    with pytest.raises(ValueError, match="must"):
        twin.decode(b"1234", "f32", 1, np.zeros(2))
    with pytest.raises(ValueError, match="must"):
        twin.count_values(b"1234", "f32", 1, np.zeros(9, np.uint64))
    with pytest.raises(ValueError, match="must"):
        twin.survey(b"1234", "f32", 2)
