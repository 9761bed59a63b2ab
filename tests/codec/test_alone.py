"""Floats alone: what the entropy coder takes, what it leaves, and that every twin does it alike."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.codec import _native, alone_reference
from lamella.codec.alone import Alone, alone_with, fit_alone
from lamella.codec.builtin import PLANES, encode
from lamella.core.errors import IntegrityError
from lamella.testing.codecs import ITEM_SIZES, decoded, noise, special_elements, weights

INSTRUCTION_SETS = _native.instruction_sets()
COUNTS_NBYTES = 4 * 256
EVERY_WIDTH = pytest.mark.parametrize("item_nbytes", ITEM_SIZES)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    """Draw a width, a chunk of whole items, and what its table is fitted to: itself, a part of it, or others."""
    item_nbytes, seed = draw(st.sampled_from(ITEM_SIZES)), draw(st.integers(0, 1000))
    count = draw(st.sampled_from([0, 1, 63, 64, 65, 255, 256, 257, 513]) | st.integers(0, 600))
    odd = b"".join(random.Random(seed).choices(special_elements(item_nbytes), k=count))
    chunk = draw(st.sampled_from([weights(count, item_nbytes, seed), noise(count * item_nbytes, seed), odd]))
    part = chunk[: count // 3 * item_nbytes]
    return item_nbytes, chunk, draw(st.sampled_from([chunk, part, weights(100, item_nbytes, seed + 1)]))


def counted(twin, item_nbytes: int, chunk: bytes) -> bytes:
    counts = bytearray(COUNTS_NBYTES)
    twin.count_alone(item_nbytes, chunk, counts)
    twin.count_alone(item_nbytes, chunk, counts)
    return bytes(counts)


def damaged(payload: bytes, seed: int) -> bytes:
    generator = random.Random(seed)
    changed = bytearray(payload)
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(generator.choice([changed, payload[: generator.randrange(len(payload))], payload + b"\0\0"]))


@given(case=chunks(), seed=st.integers(0, 1000))
def test_every_twin_and_every_instruction_set_does_the_same(case, seed):
    item_nbytes, chunk, fitted_to = case
    counts = counted(alone_reference, item_nbytes, fitted_to)
    frequencies = alone_reference.fit_alone(counts)
    reference = alone_reference.AloneModel(item_nbytes, frequencies)
    payload = reference.encode(chunk)
    hostile = damaged(payload, seed)
    verdict = reference.decode(hostile, bytearray(len(chunk)))
    out = bytearray(len(chunk))
    assert reference.decode(payload, out)
    assert out == chunk
    try:
        for name in INSTRUCTION_SETS:
            _native.use_instruction_set(name)
            assert counted(_native, item_nbytes, fitted_to) == counts
            assert _native.fit_alone(counts) == frequencies
            model = _native.AloneModel(item_nbytes, frequencies)
            assert model.encode(chunk) == payload
            out = bytearray(len(chunk))
            assert model.decode(payload, out)
            assert out == chunk
            assert model.decode(hostile, bytearray(len(chunk))) == verdict
    finally:
        _native.use_instruction_set(INSTRUCTION_SETS[0])


@pytest.mark.parametrize("twin", [_native, alone_reference], ids=["native", "reference"])
@pytest.mark.parametrize(
    "mistake",
    [
        lambda twin: twin.AloneModel(3, twin.fit_alone(bytes(COUNTS_NBYTES))),
        lambda twin: twin.AloneModel(2, bytes(512)),
        lambda twin: twin.AloneModel(2, b"\0\x08" + bytes(510)),
        lambda twin: twin.AloneModel(2, twin.fit_alone(bytes(COUNTS_NBYTES))).encode(b"abc"),
        lambda twin: twin.AloneModel(2, twin.fit_alone(bytes(COUNTS_NBYTES))).decode(b"", bytearray(3)),
        lambda twin: twin.count_alone(2, b"abc", bytearray(COUNTS_NBYTES)),
        lambda twin: twin.count_alone(2, b"ab", bytearray(COUNTS_NBYTES - 4)),
        lambda twin: twin.fit_alone(bytes(COUNTS_NBYTES + 4)),
    ],
)
def test_a_callers_mistake_is_told(twin, mistake):
    with pytest.raises(ValueError, match=r"."):
        mistake(twin)


@EVERY_WIDTH
def test_parameters_come_back_and_every_damage_of_them_is_refused_or_harmless(item_nbytes):
    chunk = weights(3000, item_nbytes, 1)
    codec = fit_alone(item_nbytes, [chunk])
    assert alone_with(codec.parameters).parameters == codec.parameters
    for bit in range(8 * len(codec.parameters)):
        changed = bytearray(codec.parameters)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            other = alone_with(bytes(changed))
        except IntegrityError as error:
            assert error.kind == "payload-malformed"
        else:
            assert decoded(other, other.encode(chunk, item_nbytes, None), len(chunk), item_nbytes, None) == chunk
    for nbytes in range(len(codec.parameters)):
        with pytest.raises(IntegrityError):
            alone_with(codec.parameters[:nbytes])


def test_exponents_are_coded_close_to_their_entropy_and_the_rest_costs_nothing():
    chunk = weights(1 << 16, 2, 3)
    codec = fit_alone(2, [chunk])
    payload = codec.encode(chunk, 2, None)
    # The highest bytes of these weights are one of four, and after the rotation of eight: three bits of sixteen.
    assert len(payload) < len(chunk) * (8 + 3) / 16 * 1.01


@EVERY_WIDTH
def test_what_repeats_is_left_to_the_planes(item_nbytes):
    fitted = fit_alone(item_nbytes, [weights(3000, item_nbytes, 1)])
    assert encode(bytes(3000 * item_nbytes), item_nbytes, None, fitted)[0] == PLANES.code
    assert encode(weights(30000, item_nbytes, 2), item_nbytes, None, fitted)[0] == Alone.code
