"""Casts give the bits that NumPy and ml_dtypes give, of every number; NaNs follow the page."""

from __future__ import annotations

from itertools import pairwise

import ml_dtypes
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.codec.casts import CASTS, cast_code

FLOATS = {"bf16": ml_dtypes.bfloat16, "f16": numpy.float16, "f32": numpy.float32, "f64": numpy.float64}
PAIRS = [(one, other) for one in FLOATS for other in FLOATS if one != other and cast_code(one, other) is not None]
EVERY_PAIR = pytest.mark.parametrize(("source", "target"), PAIRS)


def width(name: str) -> int:
    return numpy.dtype(FLOATS[name]).itemsize


def words(name: str, values: list[int]) -> numpy.ndarray:
    return numpy.array(values, f"<u{width(name)}")


def cast(words: numpy.ndarray, source: str, target: str) -> numpy.ndarray:
    code = cast_code(source, target)
    assert code is not None
    assert (CASTS[code].source, CASTS[code].target) == (width(source), width(target))
    return CASTS[code].convert(words)


def expected(words: numpy.ndarray, source: str, target: str) -> numpy.ndarray:
    with numpy.errstate(all="ignore"):
        values = words.view(FLOATS[source])
        if width(source) == width(target) == 2:
            values = values.astype(numpy.float32)
        return values.astype(FLOATS[target]).view(f"<u{width(target)}")


def is_nan(words: numpy.ndarray, name: str) -> numpy.ndarray:
    with numpy.errstate(all="ignore"):
        return numpy.isnan(words.view(FLOATS[name]))


def edges(source: str, target: str) -> numpy.ndarray:
    """Return every number of the target or of all of 16 bits, and what lies just beside it and half-way to the next."""
    with numpy.errstate(all="ignore"):
        halves = numpy.arange(1 << 16, dtype="<u2").view(FLOATS[target if width(target) == 2 else "bf16"])
        numbers = halves.astype(FLOATS[source]).view(f"<u{width(source)}")
    middles = numpy.array([one // 2 + other // 2 for one, other in pairwise(numbers.tolist())], numbers.dtype)
    one = numbers.dtype.type(1)
    return numpy.concatenate([beside for found in (numbers, middles) for beside in (found, found + one, found - one)])


@EVERY_PAIR
def test_every_kind_of_number_is_rounded_as_elsewhere(source, target):
    given_words = numpy.arange(1 << 16, dtype="<u2") if width(source) == 2 else edges(source, target)
    numbers = given_words[~is_nan(given_words, source)]
    assert numpy.array_equal(cast(numbers, source, target), expected(numbers, source, target))


@EVERY_PAIR
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_bits_are_cast_as_elsewhere_and_nans_as_the_page_says(source, target, data):
    bits = 8 * width(source)
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=50))
    found, nans = cast(words(source, values), source, target), is_nan(words(source, values), source)
    assert numpy.array_equal(found[~nans], expected(words(source, values), source, target)[~nans])
    assert numpy.array_equal(is_nan(found, target), nans)
    signs = numpy.array([value >> (bits - 1) for value in values])
    assert numpy.array_equal(found >> (8 * width(target) - 1), signs)


@pytest.mark.parametrize(
    ("source", "target", "bits", "result"),
    [
        ("f32", "bf16", 0x7FC0DEAD, 0x7FC0),
        ("f32", "bf16", 0xFF800001, 0xFFC0),
        ("f32", "bf16", 0x7FA50000, 0x7FE5),
        ("f32", "f16", 0x7F800001, 0x7E00),
        ("f32", "f16", 0xFFFFFFFF, 0xFFFF),
        ("f64", "f32", 0x7FF0000000000001, 0x7FC00000),
        ("bf16", "f32", 0x7F81, 0x7F810000),
        ("f16", "f32", 0xFC01, 0xFF802000),
        ("f32", "f64", 0x7F800001, 0x7FF0000020000000),
        ("bf16", "f16", 0x7F81, 0x7E08),
        ("f16", "bf16", 0x7C01, 0x7FC0),
    ],
)
def test_a_nan_keeps_its_sign_and_what_fits_of_its_payload(source, target, bits, result):
    assert cast(words(source, [bits]), source, target).tolist() == [result]


def test_no_mode_of_the_machine_is_asked():
    """Integers alone: the least denormal of each width survives whatever a library set."""
    assert cast(words("f32", [0x33800000, 0x33000000, 0x33000001]), "f32", "f16").tolist() == [1, 0, 1]
    assert cast(words("f16", [1]), "f16", "f32").tolist() == [0x33800000]
    assert cast(words("f32", [1]), "f32", "f64").tolist() == [0x36A0000000000000]


def test_shapes_and_strides_are_kept():
    table = numpy.arange(60, dtype="<u4").reshape(6, 10) << 20
    found = cast(table[::2, 1::3], "f32", "bf16")
    assert numpy.array_equal(found, cast(table, "f32", "bf16")[::2, 1::3])


def test_more_than_a_block_is_cast_like_one():
    many = numpy.arange(100_000, dtype="<u4") * 40_503
    numbers = many[~is_nan(many, "f32")]
    assert numpy.array_equal(cast(numbers, "f32", "f16"), expected(numbers, "f32", "f16"))


def test_what_is_not_listed_is_not_cast():
    assert cast_code("f32", "f32") == cast_code("i8", "i8") == 0
    assert cast_code("f64", "bf16") is cast_code("i32", "f32") is cast_code("f32", "i32") is None
