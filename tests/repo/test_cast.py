"""Casts, and what is said of their loss."""

from __future__ import annotations

import bisect
import functools
import math
from fractions import Fraction

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.repo.cast import FLOATS, Loss, cast, check_cast
from lamella.testing.models import spec


def run(array: numpy.ndarray, name: str, target: str, cuts: int = 7) -> tuple[numpy.ndarray, Loss]:
    data, loss = array.astype(numpy_dtype(name)).tobytes(), Loss()
    pieces = (data[at : at + cuts] for at in range(0, len(data), cuts))
    made = b"".join(map(bytes, cast(pieces, spec("x", array.size, dtype=name), DTYPES[target], loss)))
    return numpy.frombuffer(made, numpy_dtype(target)), loss


@given(
    st.lists(st.floats(width=32), max_size=30),
    st.sampled_from(["f16", "bf16", "f64", "f8_e4m3", "f8_e5m2", "f8_e4m3fnuz"]),
    st.integers(1, 9),
)
def test_every_value_is_rounded_and_counted(numbers, target, cuts):
    before = numpy.array(numbers, "f4")
    after, loss = run(before, "f32", target, cuts)
    with numpy.errstate(all="ignore"):
        assert after.tobytes() == before.astype(numpy_dtype(target)).tobytes()
    pairs = [(float(a), float(b)) for a, b in zip(before, after, strict=True)]
    changed = [(a, b) for a, b in pairs if a != b and not math.isnan(a)]
    finite = [(a, b) for a, b in changed if math.isfinite(b)]
    assert (loss.elements, loss.changed) == (len(pairs), len(changed))
    assert loss.nans == sum(math.isnan(a) for a, _ in pairs)
    assert loss.overflows == sum(math.isfinite(a) and not math.isfinite(b) for a, b in changed)
    assert loss.flushed == sum(b == 0 for _, b in changed)
    assert loss.max_absolute == max((abs(a - b) for a, b in finite), default=0)
    assert loss.max_relative == max((abs(a - b) / abs(a) for a, b in finite), default=0)


@pytest.mark.parametrize(("source", "target"), [("f16", "f32"), ("bf16", "f32"), ("f32", "f64"), ("f8_e4m3", "bf16")])
def test_widening_loses_nothing(source, target):
    every = numpy.arange(256, dtype="u1").view(numpy_dtype("f8_e4m3")).astype("f4")
    after, loss = run(every, source, target)
    assert (loss.changed, loss.max_absolute, loss.overflows, loss.nans) == (0, 0, 0, 2)
    assert numpy.array_equal(after.astype("f8"), every, equal_nan=True)


NARROW = ("f16", "bf16", "f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz")


@functools.cache
def magnitudes(target: str) -> list[Fraction]:
    """Return the numbers of a dtype from 0 on, the index of each being its bits, and the one that would be next."""
    dtype = numpy_dtype(target)
    bits = numpy.arange(1 << (8 * dtype.itemsize - 1), dtype=f"u{dtype.itemsize}")
    with numpy.errstate(invalid="ignore"):
        every = bits.view(dtype).astype("f8")
    finite = [Fraction(one) for one in every[numpy.isfinite(every)].tolist()]
    return [*finite, 2 * finite[-1] - finite[-2]]


def nearest(number: Fraction, target: str) -> Fraction | None:
    """Return what is nearest, ties to even; None where that is no number any more."""
    found = magnitudes(target)
    below = bisect.bisect_right(found, abs(number)) - 1
    if below == len(found) - 1:
        return None
    low, high = abs(number) - found[below], found[below + 1] - abs(number)
    index = below + (low > high or (low == high and below % 2 == 1))
    return None if index == len(found) - 1 else found[index] * (-1 if number < 0 else 1)


@st.composite
def near_ties(draw, target: str) -> Fraction:
    """Draw what lies at a number of the dtype, or in the middle between two, or a little beside."""
    found = magnitudes(target)
    index = draw(st.integers(0, len(found) - 2))
    middle = found[index] + (found[index + 1] - found[index]) * draw(st.sampled_from([0, Fraction(1, 2), 1]))
    return (middle * (1 + draw(st.sampled_from([-1, 0, 1])) * Fraction(1, 1 << 40))) * draw(st.sampled_from([1, -1]))


@given(st.data(), st.sampled_from(NARROW))
def test_f64_is_rounded_once(data, target):
    some = st.one_of(near_ties(target).map(float), st.floats(allow_nan=False, allow_infinity=False))
    numbers = data.draw(st.lists(some, max_size=30))
    after, _ = run(numpy.array(numbers, "f8"), "f64", target)
    for number, made in zip(numbers, after.astype("f8").tolist(), strict=True):
        assert (Fraction(made) if math.isfinite(made) else None) == nearest(Fraction(number), target)


@given(st.data(), st.sampled_from(["i32", "u32", "i64", "u64"]), st.sampled_from(NARROW))
def test_integers_are_rounded_once(data, source, target):
    info = numpy.iinfo(numpy_dtype(source))
    some = st.one_of(near_ties(target).map(int), st.integers(info.min, info.max))
    numbers = [max(info.min, min(info.max, one)) for one in data.draw(st.lists(some, max_size=30))]
    after, _ = run(numpy.array(numbers, numpy_dtype(source)), source, target)
    for number, made in zip(numbers, after.astype("f8").tolist(), strict=True):
        assert (Fraction(made) if math.isfinite(made) else None) == nearest(Fraction(number), target)


def test_what_would_be_rounded_twice():
    assert run(numpy.array([1 + 2**-8 + 2**-40, math.inf, -math.inf]), "f64", "bf16")[0].tolist() == [
        *(1.0078125, math.inf, -math.inf)
    ]
    assert run(numpy.array([1 + 2**-4 + 2**-30]), "f64", "f8_e4m3")[0].tolist() == [1.125]
    for source in ("i32", "i64", "u32", "u64"):
        assert run(numpy.array([2**24 + 2**16 + 1]), source, "bf16")[0].astype("f8").tolist() == [16908288]


@pytest.mark.parametrize("source", ["i32", "u32", "i64", "u64"])
def test_the_ends_of_integers_are_rounded_as_others_are(source):
    info = numpy.iinfo(numpy_dtype(source))
    made = run(numpy.array([info.min, info.max], numpy_dtype(source)), source, "bf16")[0].astype("f8").tolist()
    assert made == [float(nearest(Fraction(one), "bf16")) for one in (info.min, info.max)]


def test_integers_that_become_floats_are_measured():
    after, loss = run(numpy.array([0, 1, -3, (1 << 53) + 1]), "i64", "f64")
    assert after.tolist() == [0, 1, -3, 1 << 53]
    assert (loss.changed, loss.max_absolute) == (1, 1)


def test_complex_numbers_become_complex_numbers():
    after, loss = run(numpy.array([1 + 1e-12j, 2j]), "c128", "c64")
    assert (after.dtype, loss.changed) == (numpy.complex64, 1)


def test_integers_keep_their_values_or_are_refused():
    assert run(numpy.array([-128, 127]), "i64", "i8")[0].tolist() == [-128, 127]
    assert run(numpy.array([0, 1]), "bool", "u8")[0].tolist() == [0, 1]
    for number, source, target in ((128, "i64", "i8"), (-1, "i8", "u8"), (-1, "i64", "u64"), (2, "u8", "bool")):
        with pytest.raises(UsageError, match="do not fit"):
            run(numpy.array([number]), source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [("f32", "i8"), ("f4_e2m1", "f32"), ("f32", "f4_e2m1"), ("f8_e8m0", "f32"), ("f32", "c64"), ("c64", "f32")],
)
def test_what_is_no_cast_is_refused(source, target):
    with pytest.raises(UsageError) as caught:
        check_cast(spec("x", 2, dtype=source), DTYPES[target])
    assert caught.value.kind == "dtype-unsupported"


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", FLOATS)
def test_floats_may_become_floats(source, target):
    check_cast(spec("x", dtype=source), DTYPES[target])
