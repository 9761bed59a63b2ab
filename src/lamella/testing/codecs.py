"""The conformance suite of the Codec protocol: subclass it, set `codec`, and pytest does the rest."""
# ruff: noqa: D102 -- the names of the tests are sentences

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.codec.base import Codec
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.limits import MIB

ITEM_SIZES = (1, 2, 4, 8)

_PATTERNS = {
    1: (0x00, 0x80, 0x7F, 0xFF, 0x7C, 0x01),
    2: (0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0x7F81, 0x7C01, 0x0001),
    4: (0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC0DEAD, 0x7F800001, 0x007FFFFF, 0x00000001),
    8: (0, 1 << 63, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48 | 0xDEAD, 0x7FF << 52 | 1, (1 << 52) - 1, 1),
}
"""Zeros of both signs, infinities, quiet and signalling NaNs with payloads, and denormals, by width of the element."""


@dataclass(frozen=True, slots=True)
class Case:
    """A chunk, the width of its elements, and the same chunk of a base, for the codecs that want one."""

    chunk: bytes
    item_nbytes: int
    base: bytes


def special_elements(item_nbytes: int) -> list[bytes]:
    """Return the elements that arithmetic would change and a codec must not."""
    return [pattern.to_bytes(item_nbytes, "little") for pattern in _PATTERNS[item_nbytes]]


def noise(nbytes: int, seed: int) -> bytes:
    """Return bytes that do not compress, the same ones for the same seed."""
    return random.Random(seed).randbytes(nbytes)


def weights(count: int, item_nbytes: int, seed: int) -> bytes:
    """Return elements as weights have them: the highest byte one of a few, the others noise."""
    elements = bytearray(noise(count * item_nbytes, seed))
    highest = slice(item_nbytes - 1, None, item_nbytes)
    elements[highest] = bytes(0x3C | byte & 3 for byte in elements[highest])
    return bytes(elements)


def nudged(base: bytes, item_nbytes: int, seed: int) -> bytes:
    """Return the elements of `base`, whole ones, each moved by a few units in the last place."""
    draw = random.Random(seed)
    elements = (int.from_bytes(base[at : at + item_nbytes], "little") for at in range(0, len(base), item_nbytes))
    moved = (element + round(draw.gauss(0, 3)) & (1 << 8 * item_nbytes) - 1 for element in elements)
    return b"".join(element.to_bytes(item_nbytes, "little") for element in moved)


def corner_cases(item_nbytes: int) -> list[Case]:
    """Return the chunks that codecs get wrong, each against an equal base, a near one, an unlike one and zeros."""
    chunks = [
        b"",
        b"\x7f",
        bytes(item_nbytes),
        b"\xff" * (2 * item_nbytes - 1),
        bytes(300 * item_nbytes),
        b"\x5a" * (257 * item_nbytes + item_nbytes // 2),
        b"".join(special_elements(item_nbytes)) * 40,
        noise(999, 1),
        weights(700, item_nbytes, 2),
        weights(700, item_nbytes, 3)[:-1],
    ]
    found = []
    for chunk in chunks:
        near = bytearray(chunk)
        near[len(chunk) // 2 : len(chunk) // 2 + 1] = b"\x11"[: len(chunk)]
        for base in (chunk, bytes(near), noise(len(chunk), 4), bytes(len(chunk))):
            found.append(Case(chunk, item_nbytes, base))
    return found


@st.composite
def cases(draw: st.DrawFn, item_sizes: tuple[int, ...] = ITEM_SIZES) -> Case:
    """Draw a chunk of up to a few hundred elements, and a base that is equal to it, near it, or unlike it."""
    item_nbytes = draw(st.sampled_from(item_sizes))
    seed = draw(st.integers(0, 1000))
    chunk = draw(
        st.binary(max_size=300)
        | st.builds(weights, st.integers(0, 300), st.just(item_nbytes), st.just(seed))
        | st.builds(lambda byte, nbytes: bytes([byte]) * nbytes, st.integers(0, 255), st.integers(0, 1000))
        | st.lists(st.sampled_from(special_elements(item_nbytes)), max_size=200).map(b"".join)
    )
    base = bytearray(chunk if draw(st.booleans()) else noise(len(chunk), seed))
    if chunk:
        for position in draw(st.lists(st.integers(0, len(chunk) - 1), max_size=5)):
            base[position] ^= draw(st.integers(1, 255))
    return Case(chunk, item_nbytes, bytes(base))


def decoded(codec: Codec, payload: Buffer, nbytes: int, item_nbytes: int, base: Buffer | None) -> bytes:
    """Return the chunk of `nbytes` that a payload stands for."""
    out = bytearray(nbytes)
    codec.decode(payload, item_nbytes, base, memoryview(out))
    return bytes(out)


def damaged(payload: bytes) -> Iterator[bytes]:
    """Yield the payload cut at every byte, lengthened, and with every bit flipped."""
    for nbytes in range(len(payload)):
        yield payload[:nbytes]
    for extra in (b"\0", b"\xff", payload[:7], payload):
        if extra:
            yield payload + extra
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


# One suite serves many classes, so a test that hypothesis knows is run by more than one of them.
_inherited = settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)


class CodecSuite:
    """What every codec promises. A subclass sets `codec`, and `item_sizes` where it serves elements of some widths."""

    codec: Codec
    item_sizes: tuple[int, ...] = ITEM_SIZES

    def _base(self, case: Case) -> bytes | None:
        return case.base if self.codec.needs_base else None

    def _encode(self, case: Case) -> bytes:
        return self.codec.encode(case.chunk, case.item_nbytes, self._base(case))

    def _decode(self, case: Case, payload: Buffer) -> bytes:
        return decoded(self.codec, payload, len(case.chunk), case.item_nbytes, self._base(case))

    def _decode_or_refuse(self, case: Case, payload: Buffer, nbytes: int, base: bytes | None) -> None:
        try:
            decoded(self.codec, payload, nbytes, case.item_nbytes, base)
        except IntegrityError as exc:
            assert exc.kind == "payload-malformed"
            assert exc.hint

    def test_has_a_code_of_one_byte_and_a_name(self) -> None:
        assert 0 <= self.codec.code <= 255
        assert self.codec.name
        assert not self.codec.name.strip("abcdefghijklmnopqrstuvwxyz0123456789-")

    def test_returns_every_corner_case_bit_for_bit(self) -> None:
        for item_nbytes in self.item_sizes:
            for case in corner_cases(item_nbytes):
                assert self._decode(case, self._encode(case)) == case.chunk

    @_inherited
    @given(data=st.data())
    def test_returns_every_chunk_bit_for_bit(self, data: st.DataObject) -> None:
        case = data.draw(cases(self.item_sizes))
        assert self._decode(case, self._encode(case)) == case.chunk

    @_inherited
    @given(data=st.data())
    def test_takes_any_kind_of_buffer_and_leaves_it_alone(self, data: st.DataObject) -> None:
        case = data.draw(cases(self.item_sizes))
        payload = self._encode(case)
        for kind in (bytearray, memoryview):
            chunk, base = kind(case.chunk), None if self._base(case) is None else kind(case.base)
            assert self.codec.encode(chunk, case.item_nbytes, base) == payload
            assert decoded(self.codec, kind(payload), len(chunk), case.item_nbytes, base) == case.chunk
            assert bytes(chunk) == case.chunk
            assert base is None or bytes(base) == case.base

    def test_refuses_a_damaged_payload_or_returns_the_length_asked_for(self) -> None:
        for item_nbytes in self.item_sizes:
            chunk = weights(40, item_nbytes, 5) + b"\x01" * (item_nbytes // 2)
            for base in (chunk, chunk[:-1] + b"\x02", noise(len(chunk), 6)):
                case = Case(chunk, item_nbytes, base)
                for payload in damaged(self._encode(case)):
                    self._decode_or_refuse(case, payload, len(chunk), self._base(case))

    @_inherited
    @given(data=st.data(), payload=st.binary(max_size=200))
    def test_refuses_a_payload_it_never_made_or_returns_the_length_asked_for(
        self, data: st.DataObject, payload: bytes
    ) -> None:
        case = data.draw(cases(self.item_sizes))
        self._decode_or_refuse(case, payload, len(case.chunk), self._base(case))

    @_inherited
    @given(data=st.data(), nbytes=st.integers(0, 2000))
    def test_refuses_a_payload_of_another_length_or_returns_the_length_asked_for(
        self, data: st.DataObject, nbytes: int
    ) -> None:
        case = data.draw(cases(self.item_sizes))
        base = noise(nbytes, 7) if self.codec.needs_base else None
        self._decode_or_refuse(case, self._encode(case), nbytes, base)

    def test_takes_memory_in_proportion_to_the_chunk_whatever_it_is_given(self) -> None:
        for item_nbytes in self.item_sizes:
            chunk = bytes(20) + weights(30, item_nbytes, 8)
            case = Case(chunk, item_nbytes, bytes(len(chunk)))
            payload = self._encode(case)
            tracemalloc.start()
            try:
                for hostile in damaged(payload):
                    self._decode_or_refuse(case, hostile, len(chunk), self._base(case))
                _, peak_nbytes = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak_nbytes < MIB

    def test_gives_threads_the_same_answers_as_one_caller(self) -> None:
        work = [case for item_nbytes in self.item_sizes for case in corner_cases(item_nbytes)] * 4
        with ThreadPoolExecutor(4) as pool:
            payloads = list(pool.map(self._encode, work))
            chunks = list(pool.map(self._decode, work, payloads))
        assert payloads == [self._encode(case) for case in work]
        assert chunks == [case.chunk for case in work]
