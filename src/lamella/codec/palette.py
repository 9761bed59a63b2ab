"""Code 6, few values: the values once and an index for every item, or floats as small multiples of a step.

What was quantised and widened again looks like floats and holds a quarter of their bits. One scale for all leaves few
values in a chunk, which are listed; a scale for each row or group leaves multiples of it, which `codec.multiples`
finds. docs/spec/codecs.md describes the payload.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING

from lamella.codec import kernels
from lamella.codec.multiples import decode_multiples, encode_multiples
from lamella.codec.planes import Planes
from lamella.codec.tables import malformed
from lamella.core.buffers import Buffer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LISTED, MULTIPLES = 1, 2
"""The form of a payload, its first byte."""
MOST_VALUES = 256
MOST_BYTES = 16
"""The most values that are listed: of items, and of single bytes, which only gain where two indices fill one."""

_SAMPLE_ITEMS = 512
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_EVERY_BYTE = bytes(range(256))
_PLANES = Planes()


class Palette:
    """Encodes what has few values; a chunk that has not is its own payload."""

    code = 6
    name = "palette"
    needs_base = False
    parameters = b""
    """What the head of a record has for it, as for the codecs that are fitted: nothing."""

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:  # noqa: ARG002
        """Return the form, the bytes behind the last whole item and the items, or the chunk where that is shorter."""
        view, whole = memoryview(chunk).cast("B"), len(chunk) // item_nbytes * item_nbytes
        body = _listed(view[:whole], item_nbytes)
        form = LISTED if body else MULTIPLES
        body = body or encode_multiples(view[:whole], item_nbytes)
        payload = b"".join((bytes([form]), view[whole:], body))
        return payload if body and len(payload) < len(view) else bytes(view)

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:  # noqa: ARG002
        """Fill the chunk; raise IntegrityError (payload-malformed) for what `encode` cannot have made."""
        view, whole = memoryview(payload).cast("B"), len(out) // item_nbytes * item_nbytes
        if len(view) == len(out):
            out[:] = view
            return
        start = 1 + len(out) - whole
        if not start <= len(view) < len(out) or view[0] not in (LISTED, MULTIPLES):
            raise malformed("the payload of a chunk is neither a palette nor the chunk")
        out[whole:] = view[1:start]
        if view[0] == LISTED:
            _decode_listed(view[start:], item_nbytes, out[:whole])
        else:
            decode_multiples(view[start:], item_nbytes, out[:whole])


def most_values(item_nbytes: int) -> int:
    """Return how many values are listed at most."""
    return MOST_BYTES if item_nbytes == 1 else MOST_VALUES


def _per_byte(count: int) -> int:
    """Return how many indices of `count` values a byte holds."""
    return next(per_byte for per_byte in (8, 4, 2, 1) if count <= 1 << 8 // per_byte)


def _listed(items: memoryview, item_nbytes: int) -> bytes:
    """Return the number of values less one, the values ascending and the plane of indices; nothing for too many."""
    sample = items[: _SAMPLE_ITEMS * item_nbytes]
    found = len({*struct.iter_unpack(f"{item_nbytes}s", sample)})
    if found < 2 or found > most_values(item_nbytes) or 2 * item_nbytes * found > len(sample):
        return b""
    import numpy as np

    numbered = _numbered(np.frombuffer(items, f"<u{item_nbytes}"))
    if numbered is None:
        return b""
    values, indices = numbered
    per_byte = _per_byte(len(values))
    padded = np.zeros((-(-len(indices) // per_byte), per_byte), np.uint8)
    padded.reshape(-1)[: len(indices)] = indices
    shifts = np.arange(0, 8, 8 // per_byte, dtype=np.uint8)
    packed = np.bitwise_or.reduce(padded << shifts, axis=1)
    return bytes([len(values) - 1]) + values.tobytes() + _PLANES.encode(packed.tobytes(), 1, None)


def _numbered(items: npt.NDArray[np.uint]) -> tuple[npt.NDArray[np.uint], npt.NDArray[np.uint8]] | None:
    """Return the values in ascending order and the index of each item, None where there are too many."""
    import numpy as np

    most = most_values(items.itemsize)
    if items.itemsize > 2:
        if len(np.unique(items[: 8 * _SAMPLE_ITEMS])) > most:
            return None
        values = np.unique(items)
        return (values, np.searchsorted(values, items).astype(np.uint8)) if len(values) <= most else None
    present = np.zeros(1 << 8 * items.itemsize, np.bool_)
    present[items] = True
    values = np.flatnonzero(present).astype(items.dtype)
    if len(values) > most:
        return None
    number_of = np.zeros(len(present), np.uint8)
    number_of[values] = np.arange(len(values))
    return values, number_of[items]


def _decode_listed(body: memoryview, item_nbytes: int, out: memoryview) -> None:
    count = body[0] + 1 if body else 0
    start = 1 + count * item_nbytes
    if not 0 < count <= most_values(item_nbytes) or len(body) < start:
        raise malformed("the payload of a chunk ends in its values, or has too many")
    listed = bytes(body[1:start])
    values = struct.unpack(f"<{count}{_FORMATS[item_nbytes]}", listed)
    if any(low >= high for low, high in pairwise(values)):
        raise malformed("the values of a chunk do not ascend")
    indices = _unpacked(body[start:], _per_byte(count), len(out) // item_nbytes)
    if indices.translate(None, _EVERY_BYTE[:count]):
        raise malformed("a chunk has an index beyond its values")
    # A search ends at the first hit, so this costs little where it passes.
    if not all(number in indices for number in range(count)):
        raise malformed("a chunk lists a value that it does not have")
    planes = (indices.translate(listed[place::item_nbytes].ljust(256, b"\0")) for place in range(item_nbytes))
    kernels.join_planes(b"".join(planes), item_nbytes, None, out)


def _unpacked(plane: memoryview, per_byte: int, count: int) -> bytearray:
    """Return `count` indices, the lowest bits of a byte first."""
    packed = bytearray(-(-count // per_byte))
    _PLANES.decode(plane, 1, None, memoryview(packed))
    if per_byte == 1:
        return packed
    bits = 8 // per_byte
    places = (
        packed.translate(bytes(byte >> shift & (1 << bits) - 1 for byte in range(256))) for shift in range(0, 8, bits)
    )
    indices = bytearray(per_byte * len(packed))
    kernels.join_planes(b"".join(places), per_byte, None, indices)
    if any(indices[count:]):
        raise malformed("a chunk has an index behind its last item")
    del indices[count:]
    return indices
