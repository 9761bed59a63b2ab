"""A sketch of values tells how alike two tensors are, has the same bits everywhere, and bears anything."""

from __future__ import annotations

import math

import ml_dtypes
import numpy
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.sketch import (
    BUCKETS,
    RUN,
    SAMPLED,
    count_values,
    sample,
    starts,
    take_sketch,
    unit_buckets,
)
from lamella.repo.arrays import spec_of

NAMES = sorted(DTYPES)


def sketch(array):
    spec, contiguous = spec_of("a", numpy.asarray(array))
    data = contiguous.tobytes()
    return take_sketch(spec, lambda start, stop: data[start:stop])


def cosine(one, other):
    units = unit_buckets(numpy.stack([sketch(one), sketch(other)]))
    return float(units[0] @ units[1])


def drawn(seed, *shape):
    return numpy.random.default_rng(seed).standard_normal(shape, dtype="f4")


@pytest.mark.parametrize("size", [1000, 300_000])
def test_it_estimates_the_cosine(size):
    errors = []
    for seed in range(40):
        a, b = drawn(seed, size), drawn(seed + 1000, size)
        for share in (0.0, 0.2, 1.0, 5.0):
            errors.append(cosine(a, a + share * b) - 1 / math.hypot(1, share))
        errors.append(cosine(a, b))
    assert max(map(abs, errors)) < 5 / 16
    assert abs(sum(errors)) / len(errors) < 0.02
    assert math.sqrt(sum(error * error for error in errors) / len(errors)) < 1 / 16


def test_precision_and_scale_do_not_matter():
    a = drawn(0, 300, 300)
    for dtype in ("f2", "f8", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        assert cosine(a, a.astype(dtype)) > 0.99
    assert cosine(a, 1000 * a) > 0.9999
    assert cosine(a, -a) < -0.9999
    assert cosine(a, a.reshape(-1)) > 0.9999


def test_a_large_mean_hides_nothing():
    ones = numpy.ones(4096, "f4")
    a, b = ones + 0.01 * drawn(0, 4096), ones + 0.01 * drawn(1, 4096)
    assert abs(cosine(a, b)) < 0.25
    assert cosine(a, a + 0.001 * drawn(2, 4096)) > 0.9


def test_what_is_all_the_same_says_nothing():
    for array in (numpy.zeros(100, "f4"), numpy.full(70_000, 0.1, "f4"), numpy.float64(3), numpy.zeros((0, 3), "f4")):
        made = sketch(array)
        assert not made[1:].any()
    assert sketch(numpy.full(9, 0.1))[0] == numpy.float32(0.1)


def test_mean_and_deviation_come_first():
    a = 3 + 2 * drawn(0, 10_000)
    assert sketch(a)[:2] == pytest.approx([a.mean(), a.std()], rel=1e-5)


def test_every_part_of_a_large_tensor_is_looked_at():
    count = 1_000_003
    at = starts(count)
    assert at == sorted(at)
    assert len(at) * RUN == SAMPLED
    for number, start in enumerate(at):
        assert number * (count - RUN) // 64 <= start <= (number + 1) * (count - RUN) // 64
    assert starts(1 << 62)[-1] < 1 << 62
    array = drawn(0, count)
    looked = sample(spec_of("a", array)[0], lambda start, stop: array.tobytes()[start:stop])
    assert (looked == numpy.concatenate([array[start : start + RUN] for start in at])).all()


def test_only_a_little_of_a_large_tensor_is_read():
    spec, read = TensorSpec("a", DTYPES["bf16"], (1 << 20, 1 << 20)), []

    def lend(start, stop):
        read.append(stop - start)
        return bytes(stop - start)

    take_sketch(spec, lend)
    assert sum(read) == 2 * SAMPLED
    assert len(read) == 64


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_bytes_of_any_dtype_have_a_finite_sketch(name, data):
    elements = data.draw(st.integers(0, 300))
    spec = TensorSpec("a", DTYPES[name], (elements,))
    content = data.draw(st.binary(min_size=spec.nbytes, max_size=spec.nbytes))
    made = take_sketch(spec, lambda start, stop: content[start:stop])
    assert made.dtype == numpy.float32
    assert made.shape == (2 + BUCKETS,)
    assert numpy.isfinite(made).all()
    assert count_values(spec) >= elements * (spec.dtype.bits // 8 > 0) or spec.dtype.block_elements > 1


@settings(max_examples=50, deadline=None)
@given(arrays.arrays("f8", st.integers(1, 200), elements=st.floats()))
def test_no_float_is_too_large_or_too_small(array):
    made = sketch(array)
    assert numpy.isfinite(made).all()
    finite = numpy.where(numpy.isfinite(array), array, 0)
    assert bool(made[2:].any()) <= (finite.min() != finite.max())


def test_the_bits_stay_what_they_are():
    """What is stored is compared with what is made later, by other versions, on other machines."""
    numbers = numpy.frombuffer(blake3(b"values").digest(length=4 * 200_000), "<u4")
    array = ((numbers >> 8).astype("f4") / numpy.float32(1 << 24)) - numpy.float32(0.25)
    small, large = sketch(array[:1000]), sketch(array)
    digests = [blake3(made.astype("<f4").tobytes()).hexdigest()[:16] for made in (small, large)]
    assert digests == ["2fad4722bfa6e78c", "d042b7d121bdb4c6"]
