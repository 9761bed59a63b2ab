"""Ids, dtypes, tensors, settings and limits: small values with exact meanings."""

from __future__ import annotations

import math

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lamella.core import limits
from lamella.core.config import DEFAULT, StoreConfig
from lamella.core.dtypes import DTYPES, DType, dtype_named
from lamella.core.errors import FormatError, UsageError
from lamella.core.ids import CHECK_NBYTES, ID_NBYTES, check, digest, from_hex
from lamella.core.progress import SILENT
from lamella.core.tensors import TensorSpec


@given(st.binary(max_size=200))
def test_an_id_is_the_blake3_digest_whatever_lends_the_bytes(data):
    assert digest(data) == digest(bytearray(data)) == digest(memoryview(data)) == blake3(data).digest()
    assert len(digest(data)) == ID_NBYTES
    assert check(data) == digest(data)[:CHECK_NBYTES]
    assert check(data, 40)[:32] == digest(data)
    assert from_hex(digest(data).hex()) == digest(data)


def test_the_id_of_nothing_is_the_published_one():
    assert digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@pytest.mark.parametrize(
    "text", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, " " + "0" * 63, "0" * 62 + "é0", "0x" + "0" * 62]
)
def test_only_64_lower_case_digits_are_an_id(text):
    with pytest.raises(ValueError, match="not an object id"):
        from_hex(text)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_a_dtype_knows_how_many_bytes_a_shape_takes(dtype):
    assert dtype_named(dtype.name) is dtype
    assert dtype.item_nbytes in (1, 2, 4, 8)
    per_row = dtype.block_elements
    assert dtype.nbytes(()) == math.ceil(dtype.bits / 8)
    assert dtype.nbytes((0, 5)) == dtype.nbytes((5, 0)) == 0
    assert dtype.nbytes((3, 5 * per_row)) == math.ceil(15 * dtype.bits / 8)
    assert TensorSpec("x", dtype, (2, 3 * per_row)).nbytes == math.ceil(6 * dtype.bits / 8)


def test_blocks_are_never_divided():
    q4_0, f32 = DTYPES["q4_0"], DTYPES["f32"]
    assert (q4_0.grid((3, 64)), q4_0.nbytes((3, 64))) == ((3, 2), 3 * 2 * 18)
    assert (q4_0.grid((3, 33)), q4_0.nbytes((3, 33))) == ((3, 2), 3 * 2 * 18)
    assert (q4_0.grid(()), f32.grid((3, 5))) == ((), (3, 5))


def test_elements_that_share_bytes_are_rounded_up_once():
    assert DType("f4", 4, 1).nbytes((3,)) == 2
    assert DType("f6", 6, 1).nbytes((3,)) == 3


def test_an_unknown_dtype_is_refused_with_a_short_message():
    with pytest.raises(FormatError) as caught:
        dtype_named("f" * 5000)
    assert caught.value.kind == "dtype-unknown"
    assert len(caught.value.message) < 100


def test_settings_are_a_frozen_value_with_defaults_that_make_sense():
    assert StoreConfig() == DEFAULT
    assert DEFAULT.threads >= 1
    assert DEFAULT.grace_seconds == 14 * 86_400
    with pytest.raises(AttributeError):
        DEFAULT.threads = 2


def test_the_silent_listener_says_nothing_to_anything():
    for call in (lambda: SILENT.start("x", 1), lambda: SILENT.advance(1), SILENT.finish, SILENT.finish):
        assert call() is None


def test_sums_of_two_lengths_stay_below_the_largest_file_offset():
    assert 2 * limits.MAX_TENSOR_NBYTES <= 1 << 63


def test_limits_fit_together():
    assert limits.MAX_WRITTEN_DEPTH <= limits.MAX_READ_DEPTH < 256
    assert limits.CHUNK_SHIFT <= limits.MAX_CHUNK_SHIFT
    assert limits.OPAQUE_MIN_NBYTES <= limits.OPAQUE_AVERAGE_NBYTES <= limits.OPAQUE_MAX_NBYTES


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1])
def test_a_grace_that_is_no_length_of_time_is_refused(seconds):
    with pytest.raises(UsageError) as caught:
        StoreConfig(grace_seconds=seconds)
    assert caught.value.kind == "bad-argument"
