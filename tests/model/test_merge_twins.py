"""The compiled kernels that merge against their NumPy twins, and every instruction set: the same to the last bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamella.model import _native, elect_reference, merge_reference
from lamella.model.measure_reference import UNITS
from tests.model.element_runs import COUNTS, nbytes, runs

FLOATS = list(UNITS)
REFERENCE = SimpleNamespace(**{**vars(merge_reference), **vars(elect_reference)})
WEIGHTS = (1.0, 0.5, 0.3, -1.0, 0.0, 1e-300, 7.0)
THRESHOLDS = (0.0, 0.0, 1e-3, 0.1, 1e-45, 1e38, math.inf)


@contextmanager
def using(instruction_set: str) -> Iterator[None]:
    _native.use_instruction_set(instruction_set)
    try:
        yield
    finally:
        _native.use_instruction_set(_native.instruction_sets()[0])


def assert_same(say: Callable[[Any], tuple[Any, ...]]) -> None:
    """What is said with the twins is said with every instruction set."""
    expected = repr(say(REFERENCE))
    for name in _native.instruction_sets():
        with using(name):
            assert repr(say(_native)) == expected, name


def altered(seed: random.Random, data: bytes) -> bytes:
    """Return bytes of which none, some or many are others."""
    made = bytearray(data)
    for _ in range(seed.choice([0, 1, 20, len(data)]) if data else 0):
        made[seed.randrange(len(data))] ^= seed.choice([1, 2, 0x80, 0xFF])
    return bytes(made)


@st.composite
def related(draw: st.DrawFn, least: int = 1, most: int = 9) -> tuple[list[bytes], str, int, random.Random]:
    """Draw some runs of one dtype, some of them nearly the same as the first."""
    dtype, count = draw(st.sampled_from(FLOATS)), draw(st.sampled_from(COUNTS))
    seed = random.Random(draw(st.integers(0, 1 << 32)))
    first = draw(runs(count, dtype))
    others = [draw(runs(count, dtype)) for _ in range(draw(st.integers(0, 2)))]
    number = draw(st.integers(least, most))
    sides = [first, *(altered(seed, seed.choice([first, *others])) for _ in range(number - 1))]
    return sides, dtype, count, seed


def made(count: int, dtype: str, action: Callable[[bytearray], Any]) -> tuple[str, Any]:
    out = bytearray(b"\xa5" * nbytes(dtype, count))
    found = action(out)
    return out.hex(), found


def picked(seed: random.Random, numbers: Sequence[float], count: int) -> list[float]:
    return [seed.choice(numbers) for _ in range(count)]


@given(dtype=st.sampled_from(FLOATS), doubles=runs(1025, "f64"), exponent=st.integers(-160, 130))
def test_doubles_are_rounded_the_same(dtype, doubles, exponent):
    with np.errstate(all="ignore"):
        values = np.random.default_rng(exponent + 200).standard_normal(1025) * 2.0**exponent
        near = values.astype("<f4").astype("<f8") * (1 + 2.0**-20)
    for given_ in (doubles, values.tobytes(), near.tobytes()):
        assert_same(lambda twin: made(1025, dtype, lambda out: twin.encode(given_, dtype, 1025, out)))  # noqa: B023


@given(drawn=related(), keep=st.booleans())
def test_weighted_sums_are_the_same(drawn, keep):
    sides, dtype, count, seed = drawn
    weights = picked(seed, WEIGHTS, len(sides))
    assert_same(lambda twin: made(count, dtype, lambda out: twin.weighted_sum(sides, weights, dtype, count, out, keep)))


@given(drawn=related())
def test_ordered_means_are_the_same(drawn):
    sides, dtype, count, seed = drawn
    dropped = seed.randint(0, (len(sides) - 1) // 2)
    assert_same(lambda twin: made(count, dtype, lambda out: twin.ordered_mean(sides, dropped, dtype, count, out)))


@given(drawn=related(2), scale=st.sampled_from([1.0, 0.5, -2.0]), normalize=st.booleans())
def test_elections_are_the_same(drawn, scale, normalize):
    (base, *sides), dtype, count, seed = drawn
    weights, thresholds = (picked(seed, numbers, len(sides)) for numbers in (WEIGHTS, THRESHOLDS))
    assert_same(
        lambda twin: made(
            count,
            dtype,
            lambda out: twin.elect(base, sides, weights, thresholds, scale, normalize, dtype, count, out),
        )
    )


@given(drawn=related(2), has_base=st.booleans())
def test_dot_products_are_the_same(drawn, has_base):
    (base, *sides), dtype, count, _ = drawn
    assert_same(lambda twin: twin.gram(base if has_base else None, sides, dtype, count))


@given(drawn=related(2, 2), has_base=st.booleans(), prefix=st.sampled_from([None, 0, 0x3F80, 0x7FC0, 0x7F80]))
def test_magnitudes_are_counted_the_same(drawn, has_base, prefix):
    (base, side), dtype, count, _ = drawn

    def say(twin: Any) -> tuple[bytes, int]:
        counts = np.ones(1 << 16, np.uint64)
        twin.count_magnitudes(base if has_base else None, side, dtype, count, prefix, counts)
        return counts.nonzero()[0].tobytes(), counts.tobytes()

    assert_same(say)


def test_magnitudes_of_a_long_run_are_counted_the_same():
    """So long a run that neighbours take turns among several counts."""
    draw = np.random.default_rng(3)
    count = (1 << 17) + 3
    base = draw.standard_normal(count).astype("<f4")
    side = np.where(draw.random(count) < 0.5, base, base + draw.standard_normal(count).astype("<f4") * 1e-3)
    counted = [np.zeros(1 << 16, np.uint64) for _ in range(2)]
    for twin, counts in zip((_native, REFERENCE), counted, strict=True):
        twin.count_magnitudes(base, side.astype("<f4"), "f32", count, None, counts)
    assert np.array_equal(*counted)


def test_the_most_sides_that_can_be_compared_are_elected_and_ordered_the_same():
    draw = np.random.default_rng(11)
    rows = draw.standard_normal((65, 700)).astype("<f4")
    base, *sides = (row.tobytes() for row in rows)
    weights, thresholds = draw.random(64).tolist(), (draw.random(64) * 0.5).tolist()
    assert_same(
        lambda twin: made(
            700, "f32", lambda out: twin.elect(base, sides, weights, thresholds, 1.0, True, "f32", 700, out)
        )
    )
    for number in (64, 63, 33, 17):
        assert_same(
            lambda twin: made(700, "f32", lambda out: twin.ordered_mean(sides[:number], 5, "f32", 700, out))  # noqa: B023
        )
