"""The palette: what it lists, the steps it finds in floats that were quantised, and the payloads of an attacker."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.codec.builtin import PALETTE, PLANES, RAW, encode
from lamella.codec.palette import LISTED, MOST_BYTES, MOST_VALUES, MULTIPLES
from lamella.core.errors import IntegrityError
from lamella.core.limits import MIB
from lamella.testing.codecs import damaged, decoded, noise, weights

DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def quantised(shape: tuple[int, int], bits: int, dtype: str, seed: int = 1, *, cast: bool = True) -> np.ndarray:
    """Return Gaussian rows of `shape`, each of them quantised to `bits` with a scale of its own, as floats again.

    The product is made in fp32 and `cast`, or made in the dtype.
    """
    weight = np.random.default_rng(seed).normal(0, 0.05, shape).astype(np.float32)
    scale = (np.abs(weight).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)).astype(np.float32)
    integers = np.rint(weight / scale).astype(np.int8)
    if cast:
        return (integers * scale).astype(DTYPES[dtype])
    return integers.astype(DTYPES[dtype]) * scale.astype(DTYPES[dtype])


def share(array: np.ndarray) -> float:
    """Return what the palette takes of an array, after holding what it decodes to against it."""
    data = array.tobytes()
    payload = PALETTE.encode(data, array.itemsize, None)
    assert decoded(PALETTE, payload, len(data), array.itemsize, None) == data
    return len(payload) / len(data)


def form(array: np.ndarray) -> int:
    return PALETTE.encode(array.tobytes(), array.itemsize, None)[0]


# One scale for all, one for each row of 384, and one for each group of 64: the most of the original, by dtype.
MOST = {
    ("f32", 8, (1, 65536)): 0.23, ("f32", 8, (170, 384)): 0.25, ("f32", 4, (1024, 64)): 0.14,
    ("f16", 8, (1, 65536)): 0.45, ("f16", 8, (170, 384)): 0.49, ("f16", 4, (1024, 64)): 0.26,
    ("bf16", 8, (1, 65536)): 0.45, ("bf16", 8, (170, 384)): 0.49, ("bf16", 4, (1024, 64)): 0.26,
}  # fmt: skip


@pytest.mark.parametrize("case", MOST, ids=str)
@pytest.mark.parametrize("cast", [True, False], ids=["cast", "multiplied"])
def test_quantised_weights_take_what_their_integers_are_worth(case, cast):
    dtype, bits, shape = case
    array = quantised(shape, bits, dtype, cast=cast)
    assert share(array) < MOST[case]
    assert form(array) == (LISTED if shape[0] == 1 else MULTIPLES)
    assert share(array) < 0.9 * len(PLANES.encode(array.tobytes(), array.itemsize, None)) / array.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_end_within_a_block_leave_that_block_as_it_is(dtype):
    assert share(quantised((200, 300), 8, dtype)) < 0.65


def test_masks_and_ternary_weights_take_a_bit_or_two():
    draw = np.random.default_rng(1)
    assert share((draw.random(65536) < 0.5).astype(np.float32)) < 1 / 32 + 0.001
    assert share((draw.integers(-1, 2, 65536) * 0.0123).astype(ml_dtypes.bfloat16)) < 0.11
    assert share(draw.integers(0, 256, 65536).astype(np.int64)) < 1 / 8 + 0.04
    assert share(draw.choice(np.array([3, 7, 200], np.uint8), 65536)) < 0.22


def test_minus_zeros_infinities_and_other_patterns_among_multiples_come_back():
    array = quantised((64, 640), 8, "f32")
    array[array == 0] = -0.0
    assert share(array) < 0.27
    array[::7, 5] = [np.inf, -np.inf, np.nan, 1e-40, 3e38, -1e-45, 1.0, -0.0, 0.0, 7.0]
    assert share(array) < 0.32
    array[3] = 0
    assert share(array) < 0.32


@pytest.mark.parametrize("scale", [2.0**-126, 2.0**-130, 2.0**119, 2.0**121], ids=str)
def test_steps_at_the_ends_of_the_floats_come_back(scale):
    integers = np.random.default_rng(1).integers(-127, 128, 4096).astype(np.float32)
    with np.errstate(over="ignore"):
        share((integers * np.float32(scale)).reshape(-1))


@settings(deadline=None)
@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    bits=st.sampled_from([2, 3, 4, 8]),
    width=st.sampled_from([1, 32, 64, 100, 128, 300, 640]),
    rows=st.integers(1, 40),
    cut=st.integers(0, 9),
    touched=st.lists(st.integers(0, 10**6), max_size=4),
    cast=st.booleans(),
)
def test_what_was_quantised_comes_back_bit_for_bit(dtype, bits, width, rows, cut, touched, cast):
    data = bytearray(quantised((rows, width), bits, dtype, seed=rows, cast=cast).tobytes())
    for place in touched:
        data[place % len(data)] ^= 1 << place % 8
    chunk = bytes(data[: len(data) - cut])
    item_nbytes = np.dtype(DTYPES[dtype]).itemsize
    payload = PALETTE.encode(chunk, item_nbytes, None)
    assert len(payload) <= len(chunk)
    assert decoded(PALETTE, payload, len(chunk), item_nbytes, None) == chunk


@settings(deadline=None)
@given(
    item_nbytes=st.sampled_from([1, 2, 4, 8]),
    count=st.integers(1, 300),
    nbytes=st.integers(0, 5000),
    seed=st.integers(0, 100),
)
def test_few_values_come_back_bit_for_bit(item_nbytes, count, nbytes, seed):
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 2 ** (8 * item_nbytes), count, dtype=f"u{item_nbytes}", endpoint=False)
    chunk = draw.choice(values, nbytes).tobytes()[: max(0, nbytes - 3)]
    payload = PALETTE.encode(chunk, item_nbytes, None)
    assert decoded(PALETTE, payload, len(chunk), item_nbytes, None) == chunk
    if payload[:1] == bytes([LISTED]) and len(payload) < len(chunk):
        listed = np.frombuffer(payload, f"u{item_nbytes}", payload[1 + len(chunk) % item_nbytes] + 1,
                               2 + len(chunk) % item_nbytes).tolist()  # fmt: skip
        assert all(low < high for low, high in pairwise(listed))


@pytest.mark.parametrize("item_nbytes", [1, 2, 4, 8])
def test_the_most_values_are_listed_and_one_more_is_not(item_nbytes):
    most = MOST_BYTES if item_nbytes == 1 else MOST_VALUES
    for count, listed in ((most, True), (most + 1, False)):
        # The last value comes late, behind any sample.
        chunk = (np.arange(65536) % most).astype(f"u{item_nbytes}")
        chunk[-1] = count - 1
        payload = PALETTE.encode(chunk.tobytes(), item_nbytes, None)
        assert (payload[0] == LISTED and len(payload) < chunk.nbytes) is listed


@pytest.mark.parametrize("item_nbytes", [1, 2, 4, 8])
def test_a_chunk_without_a_palette_is_its_own_payload_and_is_written_as_planes(item_nbytes):
    for chunk in (noise(20_000, 1), weights(5000, item_nbytes, 1)[:-1] + noise(999, 2)):
        assert PALETTE.encode(chunk, item_nbytes, None) == chunk
        code, payload = encode(chunk, item_nbytes, None, PALETTE)
        assert (code, payload) in [(PLANES.code, PLANES.encode(chunk, item_nbytes, None)), (RAW.code, chunk)]


HOSTILE = [
    pytest.param(np.tile(np.arange(5, dtype="u2"), 40), id="listed"),
    pytest.param(quantised((3, 64), 4, "f32"), id="multiples of fp32"),
    pytest.param(quantised((3, 96), 4, "f16"), id="multiples of fp16, a block left as it is"),
    pytest.param(quantised((5, 64), 4, "bf16"), id="multiples of bf16"),
]


@pytest.mark.parametrize("array", HOSTILE)
def test_every_cut_and_every_flipped_bit_is_refused_or_decodes_within_bounds(array):
    data = array.tobytes()
    payload = PALETTE.encode(data, array.itemsize, None)
    assert len(payload) < len(data)
    refused = 0
    tracemalloc.start()
    try:
        for hostile in damaged(payload):
            try:
                decoded(PALETTE, hostile, len(data), array.itemsize, None)
            except IntegrityError as exc:
                assert exc.kind == "payload-malformed"
                assert exc.hint
                refused += 1
            else:
                # Cut or lengthened, nothing is accepted.
                assert len(hostile) == len(payload)
        _, peak_nbytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused > len(payload)
    assert peak_nbytes < MIB


@pytest.mark.parametrize("array", HOSTILE)
def test_a_payload_is_refused_for_items_of_another_width(array):
    payload = PALETTE.encode(array.tobytes(), array.itemsize, None)
    for item_nbytes in {1, 2, 4, 8} - {array.itemsize}:
        with pytest.raises(IntegrityError):
            decoded(PALETTE, payload, array.nbytes, item_nbytes, None)


def test_the_arithmetic_errors_of_a_caller_are_not_ours():
    integers = np.random.default_rng(1).integers(-8, 8, 65536)
    tiny = (integers * np.float32(3.01e-5)).astype(np.float16)
    with np.errstate(all="raise"):
        assert form(tiny) == MULTIPLES or form(tiny) == LISTED
        share(tiny)
        spread = (integers.reshape(-1, 64) * np.linspace(2e-5, 4e-5, 1024, dtype=np.float32)[:, None]).astype(
            np.float32
        )
        with np.errstate(under="ignore"):
            halves = spread.astype(np.float16)
        assert form(halves) == MULTIPLES
        share(halves)
