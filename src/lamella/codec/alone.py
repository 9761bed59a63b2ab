"""Code 5, floats by themselves: the byte of the exponent through the entropy coder, the others as they are.

The exponents of weights take two to three bits of their eight; sign and mantissa are noise, which nothing shortens.
docs/spec/codecs.md describes payload and parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache

from lamella.codec import kernels
from lamella.codec.models import AloneModel
from lamella.codec.rans_reference import ESCAPE, SYMBOLS
from lamella.codec.tables import malformed, pack_tables, unpack_tables
from lamella.core.buffers import Buffer

_COUNTS_NBYTES = 4 * SYMBOLS
_KEPT_MODELS = 64


class Alone:
    """Encodes and decodes the chunks of one object, whose table stands in its parameters."""

    code = 5
    name = "alone"
    needs_base = False

    def __init__(self, frequencies: bytes) -> None:
        self._frequencies = frequencies
        self._models: dict[int, AloneModel] = {}

    @cached_property
    def parameters(self) -> bytes:
        """What the head of the object's record keeps."""
        return pack_tables(self._frequencies)

    def _model(self, item_nbytes: int) -> AloneModel:
        if item_nbytes not in self._models:
            self._models[item_nbytes] = kernels.alone_model(item_nbytes, self._frequencies)
        return self._models[item_nbytes]

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:  # noqa: ARG002
        """Return the payload; the bytes behind the last whole item stand before it as they are."""
        view, whole = memoryview(chunk), len(chunk) // item_nbytes * item_nbytes
        return bytes(view[whole:]) + self._model(item_nbytes).encode(view[:whole])

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:  # noqa: ARG002
        """Fill the chunk; raise IntegrityError (payload-malformed) for what `encode` cannot have made."""
        view, whole = memoryview(payload), len(out) // item_nbytes * item_nbytes
        rest = len(out) - whole
        if len(view) < rest or not self._model(item_nbytes).decode(view[rest:], out[:whole]):
            raise malformed("the payload of a chunk is not what its object's table encodes")
        out[whole:] = view[:rest]


def fit_alone(item_nbytes: int, parts: Iterable[Buffer]) -> Alone:
    """Return the codec that suits `parts` of an object, each of whole items."""
    counts = bytearray(_COUNTS_NBYTES)
    for part in parts:
        kernels.count_alone(item_nbytes, part, counts)
    return Alone(kernels.fit_alone(counts))


@lru_cache(maxsize=_KEPT_MODELS)
def alone_with(parameters: bytes) -> Alone:
    """Return the codec that `Alone.parameters` describes; raise IntegrityError (payload-malformed) for other bytes."""
    return Alone(unpack_tables(parameters, [ESCAPE]))
