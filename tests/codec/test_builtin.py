"""The table of codecs, and the choice among them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given

from lamella.codec.builtin import BUILTIN, PALETTE, PLANES, RAW, SAME, XOR_PLANES, codec_for, encode
from lamella.codec.delta import Delta, fit_delta
from lamella.core.errors import IntegrityError
from lamella.testing.codecs import Case, cases, decoded, noise, nudged, weights

DELTA = fit_delta(1, [(nudged(weights(2000, 2, 8), 2, 9), weights(2000, 2, 8))])


def test_codes_and_names_are_unique():
    assert len({codec.code for codec in BUILTIN}) == len(BUILTIN)
    assert len({codec.name for codec in BUILTIN}) == len(BUILTIN)


def test_a_code_leads_to_its_codec():
    assert [codec_for(codec.code) for codec in BUILTIN] == list(BUILTIN)


@pytest.mark.parametrize("code", [7, 17, 255])
def test_an_unknown_code_is_refused_with_the_advice_to_upgrade(code):
    with pytest.raises(IntegrityError) as caught:
        codec_for(code)
    assert caught.value.kind == "payload-malformed"
    assert str(code) in caught.value.message
    assert "upgrade" in caught.value.hint


def test_the_code_of_a_delta_leads_to_the_codec_that_the_parameters_describe():
    assert codec_for(Delta.code, DELTA.parameters).parameters == DELTA.parameters
    with pytest.raises(IntegrityError) as caught:
        codec_for(Delta.code)
    assert caught.value.kind == "payload-malformed"


@given(case=cases())
def test_what_is_chosen_returns_the_chunk_and_is_never_longer(case: Case):
    for base in (None, case.base):
        code, payload = encode(case.chunk, case.item_nbytes, base)
        codec = codec_for(code)
        against = base if codec.needs_base else None
        assert base is not None or not codec.needs_base
        assert len(payload) <= len(case.chunk)
        assert decoded(codec, payload, len(case.chunk), case.item_nbytes, against) == case.chunk


@given(case=cases())
def test_a_palette_that_is_offered_returns_the_chunk_and_is_never_longer(case: Case):
    code, payload = encode(case.chunk, case.item_nbytes, None, PALETTE)
    assert len(payload) <= len(case.chunk)
    assert decoded(codec_for(code), payload, len(case.chunk), case.item_nbytes, None) == case.chunk


@given(case=cases(item_sizes=(2,)))
def test_a_delta_that_is_offered_is_chosen_where_it_is_shorter_than_the_chunk(case: Case):
    code, payload = encode(case.chunk, 2, case.base, DELTA)
    assert code in (RAW.code, SAME.code, Delta.code)
    assert len(payload) < len(case.chunk) or code != Delta.code
    assert len(payload) <= len(case.chunk)
    codec = codec_for(code, DELTA.parameters)
    assert decoded(codec, payload, len(case.chunk), 2, case.base if codec.needs_base else None) == case.chunk


def test_each_codec_is_chosen_where_it_is_best():
    chunk = weights(1000, 2, 1)
    near = bytearray(chunk)
    near[1] ^= 1
    assert encode(chunk, 2, chunk) == (SAME.code, b"")
    assert encode(chunk, 2, bytes(near))[0] == XOR_PLANES.code
    assert encode(chunk, 2, None)[0] == PLANES.code
    assert encode(noise(2000, 2), 2, None)[0] == RAW.code
    assert encode(chunk, 2, noise(2000, 3))[0] == RAW.code
    assert encode(b"", 2, None) == (RAW.code, b"")
    assert encode(chunk, 2, bytes(near), DELTA)[0] == Delta.code
    assert encode(chunk, 2, chunk, DELTA) == (SAME.code, b"")
    assert encode(chunk, 2, noise(2000, 3), DELTA)[0] == RAW.code
    assert encode(chunk, 2, None, DELTA)[0] == PLANES.code


def test_a_difference_in_the_last_byte_is_not_missed():
    chunk = weights(1000, 2, 1)
    base = bytearray(chunk)
    base[-1] ^= 1
    code, payload = encode(chunk, 2, base)
    assert code == XOR_PLANES.code
    assert decoded(codec_for(code), payload, len(chunk), 2, base) == chunk


@pytest.mark.parametrize("base", [b"", b"abc", b"abcde"])
def test_a_base_of_another_length_is_the_callers_mistake(base):
    with pytest.raises(ValueError, match="base"):
        encode(b"abcd", 2, base)


def test_the_room_loads_neither_numpy_nor_a_terminal_library():
    program = (
        "import sys, lamella.codec.builtin; sys.exit(any(name in sys.modules for name in ('numpy', 'rich', 'click')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
