"""Every built-in codec, held against the suite that any codec can be held against."""

from __future__ import annotations

from lamella.codec.alone import fit_alone
from lamella.codec.builtin import BUILTIN, PALETTE, PLANES, RAW, SAME, XOR_PLANES
from lamella.codec.delta import Delta, fit_delta
from lamella.codec.delta_format import LAYOUTS
from lamella.testing.codecs import ITEM_SIZES, CodecSuite, nudged, weights


class TestRaw(CodecSuite):
    codec = RAW


class TestPlanes(CodecSuite):
    codec = PLANES


class TestXorPlanes(CodecSuite):
    codec = XOR_PLANES


class TestPalette(CodecSuite):
    codec = PALETTE


class TestSame(CodecSuite):
    codec = SAME


def delta(layout: int) -> Delta:
    item_nbytes = LAYOUTS[layout].item_nbytes
    base = weights(2000, item_nbytes, 1)
    return fit_delta(layout, [(nudged(base, item_nbytes, 2), base)])


class TestDeltaOfBytes(CodecSuite):
    codec = delta(5)
    item_sizes = (1,)


class TestDeltaOfHalves(CodecSuite):
    codec = delta(1)
    item_sizes = (2,)


class TestDeltaOfSingles(CodecSuite):
    codec = delta(3)
    item_sizes = (4,)


class TestDeltaOfDoubles(CodecSuite):
    codec = delta(4)
    item_sizes = (8,)


class TestAlone(CodecSuite):
    codec = fit_alone(2, [weights(2000, 2, 1)])


def test_every_builtin_codec_is_held_against_the_suite():
    suites = CodecSuite.__subclasses__()
    deltas = [suite for suite in suites if isinstance(suite.codec, Delta)]
    others = [suite for suite in suites if suite not in deltas]
    assert {suite.codec for suite in others} == {*BUILTIN, TestAlone.codec}
    assert {suite.item_sizes for suite in others} == {ITEM_SIZES}
    assert {suite.item_sizes for suite in deltas} == {(layout.item_nbytes,) for layout in LAYOUTS.values()}
