"""The numbers that the format of deltas is made of, for whoever writes or reads parameters, and for the plain twin.

docs/spec/codecs.md has their meaning.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from lamella.codec.rans_reference import ESCAPE, LANES

BLOCK_ITEMS = 256
MAX_CHUNK_ITEMS = 1 << 20
FIRST_WIDE = 24
CLASSES = FIRST_WIDE + 2
NO_STEP = 128
MOST_STEP = 126
SAME_BLOCK = 255
"""The symbol of a block that is the base's, in the table of the steps."""
MOST_CODE = 61
MEANINGLESS = tuple(symbol for symbol in range(ESCAPE) if symbol == 0 or symbol & 63 > MOST_CODE)
"""The symbol of items that stay, which their flags tell, and those of codes beyond the last."""
STAYS = struct.Struct(f"<{CLASSES}H")
"""Of each class, how many of its items stay, as a share of FLAG_TOTAL."""
TRAILER = struct.Struct(f"<IIh{LANES}I")


class Layout(NamedTuple):
    """Sign, exponent and mantissa of an item, from its highest bit down."""

    item_nbytes: int
    exponent_bits: int
    mantissa_bits: int

    @property
    def bits(self) -> int:
        """The bits of an item."""
        return 8 * self.item_nbytes

    @property
    def grows(self) -> bool:
        """Whether a growth of 2**-24 can be seen in an item."""
        return self.mantissa_bits >= 16


LAYOUTS = {
    1: Layout(2, 8, 7),
    2: Layout(2, 5, 10),
    3: Layout(4, 8, 23),
    4: Layout(8, 11, 52),
    5: Layout(1, 4, 3),
    6: Layout(1, 5, 2),
}
"""bf16, fp16, fp32, fp64, fp8 E4M3 and fp8 E5M2, by the number that a payload's parameters name them by."""
