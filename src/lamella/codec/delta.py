"""Code 4, the conditional delta: floats as integer differences to a base, coded under the size they should have.

An optimizer moves a weight by an amount that hardly depends on the weight, while one unit in the last place doubles
with every exponent. So the scale of a block's update less the exponent of the base tells how large a difference is
before it is read, and the entropy coder is conditioned on that. docs/spec/codecs.md describes payload and parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cached_property, lru_cache

from lamella.codec import kernels
from lamella.codec.delta_format import CLASSES, LAYOUTS, MEANINGLESS, NO_STEP, STAYS
from lamella.codec.rans_reference import ESCAPE, FLAG_TOTAL, SYMBOLS
from lamella.codec.tables import malformed, pack_tables, unpack_tables
from lamella.core.buffers import Buffer

LAYOUT_OF_DTYPE = {
    "bf16": 1,
    "f16": 2,
    "f32": 3,
    "c64": 3,
    "f64": 4,
    "c128": 4,
    "f8_e4m3": 5,
    "f8_e4m3fnuz": 5,
    "f8_e5m2": 6,
    "f8_e5m2fnuz": 6,
}
"""The layout of the items of each dtype that has one."""

_FIXED = struct.Struct("<BhB")
_COUNTS_NBYTES = 4 * (CLASSES + 1) * SYMBOLS
_KEPT_MODELS = 64


class Delta:
    """Encodes and decodes the chunks of one object, whose tables stand in its parameters."""

    code = 4
    name = "delta"
    needs_base = True

    def __init__(self, layout: int, growth: int, bounds: bytes, stays: bytes, frequencies: bytes) -> None:
        self._item_nbytes = LAYOUTS[layout].item_nbytes
        self._model = kernels.delta_model(layout, growth, bounds, stays, frequencies)
        self._untabled = _FIXED.pack(layout, growth, len(bounds)) + bounds + stays
        self._frequencies = frequencies

    @cached_property
    def parameters(self) -> bytes:
        """What the head of the object's record keeps."""
        return self._untabled + pack_tables(self._frequencies)

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:
        """Return the payload; the bytes behind the last whole item stand before it as they are."""
        assert base is not None
        self._check(item_nbytes)
        view, whole = memoryview(chunk), len(chunk) // item_nbytes * item_nbytes
        return bytes(view[whole:]) + self._model.encode(view[:whole], memoryview(base)[:whole])

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:
        """Fill the chunk; raise IntegrityError (payload-malformed) for what `encode` cannot have made."""
        assert base is not None
        self._check(item_nbytes)
        view, whole = memoryview(payload), len(out) // item_nbytes * item_nbytes
        rest = len(out) - whole
        if len(view) < rest or not self._model.decode(view[rest:], memoryview(base)[:whole], out[:whole]):
            raise malformed("the payload of a chunk is not what its object's tables encode")
        out[whole:] = view[:rest]

    def _check(self, item_nbytes: int) -> None:
        if item_nbytes != self._item_nbytes:
            raise malformed("the tables of an object are for items of another width")


def fit_delta(layout: int, pairs: Iterable[tuple[Buffer, Buffer]]) -> Delta:
    """Return the codec that suits `pairs`, parts of an object and the same parts of its base, each of whole items."""
    sampled = [(part, base) for part, base in pairs if len(part)]
    growths = sorted(kernels.fit_growth(layout, part, base) for part, base in sampled)
    growth = growths[len(growths) // 2] if growths else 0
    counts = bytearray(_COUNTS_NBYTES)
    for part, base in sampled:
        kernels.count_delta(layout, growth, part, base, counts)
    return Delta(layout, growth, *kernels.fit_contexts(counts))


@lru_cache(maxsize=_KEPT_MODELS)
def delta_with(parameters: bytes) -> Delta:
    """Return the codec that `Delta.parameters` describes; raise IntegrityError (payload-malformed) for other bytes."""
    if len(parameters) < _FIXED.size:
        raise malformed("the parameters of an object end too early")
    layout, growth, bound_count = _FIXED.unpack_from(parameters)
    at = _FIXED.size + bound_count
    bounds, stays = parameters[_FIXED.size : at], parameters[at : at + STAYS.size]
    rising = zip(b"\0" + bounds, bounds + bytes([CLASSES]), strict=True)
    if layout not in LAYOUTS or len(bounds) != bound_count or any(low >= high for low, high in rising):
        raise malformed("the parameters of an object contradict themselves")
    if len(stays) != STAYS.size or not all(0 < share < FLAG_TOTAL for share in STAYS.unpack(stays)):
        raise malformed("an object has a class of which nothing stays, or nothing moves")
    frequencies = unpack_tables(parameters[at + STAYS.size :], [ESCAPE] * (bound_count + 1) + [NO_STEP])
    numbers = memoryview(frequencies).cast("H")
    if any(numbers[start + symbol] for start in range(0, len(numbers) - SYMBOLS, SYMBOLS) for symbol in MEANINGLESS):
        raise malformed("a table of an object has symbols that stand for nothing")
    return Delta(layout, growth, bounds, stays, frequencies)
