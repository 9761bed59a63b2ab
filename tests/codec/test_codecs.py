"""Every built-in codec, held against the suite that any codec can be held against."""

from __future__ import annotations

from lamella.codec.builtin import BUILTIN, PLANES, RAW, SAME, XOR_PLANES
from lamella.testing.codecs import CodecSuite


class TestRaw(CodecSuite):
    codec = RAW


class TestPlanes(CodecSuite):
    codec = PLANES


class TestXorPlanes(CodecSuite):
    codec = XOR_PLANES


class TestSame(CodecSuite):
    codec = SAME


def test_every_builtin_codec_is_held_against_the_suite():
    assert {suite.codec for suite in CodecSuite.__subclasses__()} == set(BUILTIN)
