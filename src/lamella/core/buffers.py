"""The type of anything that lends its bytes without copying them."""

from __future__ import annotations

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""A C-contiguous buffer of bytes. Functions that take one never keep it, unless they say so."""
