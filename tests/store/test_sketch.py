"""A sketch tells relatives from strangers, whatever the floats, and says nothing where there is nothing to say."""

from __future__ import annotations

import numpy
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.buffers import Buffer
from lamella.store.sketch import (
    CLOSE_SHARED,
    LEAST_SHARED,
    MIN_SKETCHED_NBYTES,
    NEIGHBOURS,
    PLACES,
    READ_WHOLE_NBYTES,
    SKETCH,
    shared,
    size_class,
    take_sketch,
)
from lamella.testing.codecs import noise
from tests.store.families import ARRAY_DTYPES, drawn, source, tensor, tuned

FLOATS = sorted(set(ARRAY_DTYPES) - {"i8"})


def sketch(data: bytes, dtype: str = "bf16") -> bytes:
    given_source = source(data, dtype)
    return take_sketch(len(data), given_source.item_nbytes, given_source.layout, given_source.read_at)


def items(dtype: str) -> int:
    return 2 * MIN_SKETCHED_NBYTES // numpy.dtype(ARRAY_DTYPES[dtype]).itemsize


@pytest.mark.parametrize("dtype", sorted(ARRAY_DTYPES))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_fine_tune_is_close_and_a_stranger_is_not(dtype, seed):
    weights = drawn(seed, items(dtype))
    own = sketch(tensor(weights, dtype), dtype)
    informative = PLACES - SKETCH.unpack(own).count(0)
    assert shared(own, own) == informative >= PLACES // 3
    assert shared(own, sketch(tensor(tuned(weights, 0.01), dtype), dtype)) >= CLOSE_SHARED
    assert shared(own, sketch(tensor(drawn(seed + 20_000, items(dtype)), dtype), dtype)) <= LEAST_SHARED


@pytest.mark.parametrize("dtype", FLOATS)
def test_most_distant_fine_tunes_are_told_from_strangers(dtype):
    found = 0
    for seed in range(40):
        weights = drawn(seed, items(dtype))
        near = sketch(tensor(tuned(weights, 0.1), dtype), dtype)
        found += shared(sketch(tensor(weights, dtype), dtype), near) >= LEAST_SHARED
    assert found >= 36


def test_strangers_share_less_than_the_least_in_nearly_all_cases():
    sketches = [sketch(tensor(drawn(seed))) for seed in range(150)]
    pairs = [(one, other) for number, one in enumerate(sketches) for other in sketches[:number]]
    assert sum(shared(one, other) >= LEAST_SHARED for one, other in pairs) <= len(pairs) / 1000


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), nbytes=st.integers(0, 5 * MIN_SKETCHED_NBYTES), layout=st.sampled_from((1, 2)))
def test_any_bytes_have_a_sketch_that_follows_from_them(seed, nbytes, layout):
    data = noise(nbytes, seed)

    def read_at(offset: int, nbytes: int) -> Buffer:
        assert 0 <= offset <= offset + nbytes <= len(data)
        return memoryview(data)[offset : offset + nbytes]

    taken = take_sketch(len(data), 2, layout, read_at)
    assert taken == take_sketch(len(data), 2, layout, lambda offset, nbytes: data[offset : offset + nbytes])
    assert len(taken) in (0, SKETCH.size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(MIN_SKETCHED_NBYTES),
        b"\x80\x3f" * MIN_SKETCHED_NBYTES,
        b"\x80\x3f\x00\x00" * MIN_SKETCHED_NBYTES,
        tensor(drawn(1))[: MIN_SKETCHED_NBYTES - 1],
    ],
    ids=["empty", "zeros", "ones", "half-zeros", "small"],
)
def test_what_would_be_alike_everywhere_has_no_sketch(data):
    assert sketch(data) == b""
    assert shared(sketch(data), sketch(data)) == 0
    assert shared(sketch(data), sketch(tensor(drawn(1)))) == 0


def test_wide_items_that_are_no_floats_have_no_sketch():
    data = tensor(drawn(1), "f32")
    assert sketch(data, "i8") != b""
    assert take_sketch(len(data), 4, None, lambda offset, nbytes: data[offset : offset + nbytes]) == b""


def test_large_objects_are_read_in_a_few_places_only():
    data = tensor(drawn(1, READ_WHOLE_NBYTES))
    assert len(data) > READ_WHOLE_NBYTES
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, nbytes: int) -> bytes:
        reads.append((offset, nbytes))
        return data[offset : offset + nbytes]

    whole = take_sketch(len(data), 2, 1, read_at)
    assert len(reads) == PLACES and {nbytes for _, nbytes in reads} == {2 * NEIGHBOURS}
    assert reads == sorted(reads)
    assert reads[0][0] < len(data) // 8 and reads[-1][0] > len(data) // 8 * 7
    assert shared(whole, whole) > CLOSE_SHARED


def test_a_vocabulary_that_grew_is_in_the_same_class_and_alike():
    weights = drawn(3, 20_000)
    grown = numpy.concatenate((weights, drawn(4, 500)))
    one, other = tensor(weights), tensor(grown)
    assert size_class(len(one), 2) == size_class(len(other), 2)
    assert sketch(one) == sketch(other)
    assert size_class(2 << 15, 2) != size_class((2 << 15) - 2, 2)
    assert size_class(2 << 15, 2) != size_class(4 << 15, 4)


@pytest.mark.parametrize(
    ("dtype", "exponent", "mantissa"), [("bf16", 8, 7), ("f16", 5, 10), ("f32", 8, 23), ("f64", 11, 52), ("i8", 4, 3)]
)
def test_a_sketch_is_what_the_specification_says(dtype, exponent, mantissa):
    data = tensor(drawn(1, 20_000), dtype)
    width = (1 + exponent + mantissa) // 8
    bits = (len(data) // width).bit_length()
    output = blake3(b"lamella sketch %d" % bits).digest(length=256)
    firsts = sorted(int.from_bytes(output[at : at + 8], "little") % (2 ** (bits - 1) - 2) for at in range(0, 256, 8))

    def code(item: int) -> int:
        value = int.from_bytes(data[item * width : (item + 1) * width], "little")
        return 16 * (value >> exponent + mantissa) + (value >> mantissa) % 16

    expected = []
    for first in firsts:
        x, y, z = code(first), code(first + 1), code(first + 2)
        expected.append(2**15 + 2**10 * x + 2**5 * y + z if len({x, y, z}) == 3 else 0)
    assert SKETCH.unpack(sketch(data, dtype)) == tuple(expected)
