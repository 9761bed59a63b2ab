"""Casts, and what is said of their loss."""

from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.repo.arrays import numpy_dtype
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
