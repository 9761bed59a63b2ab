"""The settings of a store as one frozen value; whoever reads files or the environment builds it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from lamella.core.errors import UsageError

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How a store works.

    `threads` encode and decode at once; `grace_seconds` is how long an object that nothing reaches is kept, counted
    from the last time its pack was written or much of it was added again; `roll_up_packs` is the number of small packs
    from which they are merged. Raises UsageError (bad-argument) for a grace that is no length of
    time.
    """

    threads: int = min(8, os.cpu_count() or 1)
    grace_seconds: float = 14 * DAY_SECONDS
    roll_up_packs: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.grace_seconds < math.inf:
            hint = "name a number of days, 0 for none"
            raise UsageError("the grace period is no length of time", kind="bad-argument", hint=hint)


DEFAULT = StoreConfig()
