"""Settings as frozen values; whoever reads files or the environment builds them."""

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


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """What fails a model: the least severity that does, and the checks that are left out."""

    fail_on: str = "error"
    skip: tuple[str, ...] = ()


DEFAULT = StoreConfig()


@dataclass(frozen=True, slots=True)
class DiffConfig:
    """How two models are compared.

    The weights say how much each part of a difference counts in the total; structure counts most. `epsilons` are pairs
    of a pattern of tensor names, `*` for any letters, and what a mean |b - a| has to exceed there to count as a change;
    the first that fits holds, and where none does the dtype's own. Raises UsageError (bad-argument) for a number that
    is negative or not finite, and for weights of which none is above zero.
    """

    structure: float = 0.5
    parameters: float = 0.3
    data: float = 0.1
    hyperparameters: float = 0.1
    epsilons: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        weights = (self.structure, self.parameters, self.data, self.hyperparameters)
        numbers = (*weights, *(epsilon for _, epsilon in self.epsilons))
        if not all(0 <= number < math.inf for number in numbers) or not any(weights):
            hint = "weights and epsilons are numbers from 0 on, and one weight is above 0"
            raise UsageError("the settings of diff are no weights and epsilons", kind="bad-argument", hint=hint)


DEFAULT_DIFF = DiffConfig()
