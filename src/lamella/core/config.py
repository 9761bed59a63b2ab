"""The settings of a store as one frozen value; whoever reads files or the environment builds it."""

from __future__ import annotations

import os
from dataclasses import dataclass

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How a store works.

    `threads` encode and decode at once; `grace_seconds` is how long an object that nothing reaches is kept, counted
    from the last time its pack was written or leaned on; `roll_up_packs` is the number of packs from which small ones
    are merged.
    """

    threads: int = min(8, os.cpu_count() or 1)
    grace_seconds: float = 14 * DAY_SECONDS
    roll_up_packs: int = 32


DEFAULT = StoreConfig()
