"""What the kernels make of the tables of an object: the protocols that compiled and plain twins share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lamella.core.buffers import Buffer


class AloneModel(Protocol):
    """The table of an object, as `alone_reference.AloneModel` defines it."""

    def encode(self, chunk: Buffer) -> bytes:
        """Return the payload of `chunk`, whole items."""
        ...

    def decode(self, payload: Buffer, out: bytearray | memoryview) -> bool:
        """Fill `out`, whole items, and return True; return False for what `encode` cannot have made."""
        ...


class DeltaModel(Protocol):
    """The tables of an object, as `delta_reference.DeltaModel` defines them."""

    def encode(self, chunk: Buffer, base: Buffer) -> bytes:
        """Return the payload of `chunk`, whole items and as long as `base`."""
        ...

    def decode(self, payload: Buffer, base: Buffer, out: bytearray | memoryview) -> bool:
        """Fill `out`, as long as `base`, and return True; return False for what `encode` cannot have made."""
        ...


AloneModelFactory = Callable[[int, Buffer], AloneModel]
"""Makes one from the width of an item and 256 16-bit frequencies; raises ValueError where these do not add up."""

DeltaModelFactory = Callable[[int, int, Buffer, Buffer, Buffer], DeltaModel]
"""Makes one from a layout's number, the growth, the bounds of contexts, shares of classes and frequencies.

A share, 16 bits for each class, tells how many of its items stay; a context has 256 frequencies of 16 bits.

Raises ValueError where these are not what `delta_reference` describes.
"""
