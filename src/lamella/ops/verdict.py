"""When a model counts as bad: by exit status, or by a metric beside that of a good one, also where it is noisy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_EVALUATIONS
from lamella.ops.evaluate import Evaluation

GOOD, BAD, SKIPPED = "good", "bad", "skipped"

_SURE = 3.0
"""Standard errors between a mean and the threshold from which on no further evaluation is asked for."""

_ROUNDING = 1e-12
"""Of what is compared: 0.93 - 0.92 is a little more than 0.01."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """What makes a model bad.

    Without a metric, its exit status: 0 is good, 1 to 124 bad. With one, a value that is more than `drop` below that of
    the good model, or more than `rise` above where less is better, as of a loss; the one that is not None holds.

    A model is evaluated up to `repeat` times, and no more often than it takes to be sure. Of exit statuses, the
    majority counts, and half of an even number is no majority for bad; it is sure when the rest cannot change it. Of
    metrics the mean counts. How noisy they are is measured on the good model, with all of `repeat`; a mean m of k
    values is sure when it is more than 3 s sqrt(1/k + 1/repeat) away from the threshold, s being the standard deviation
    of these values and of the good model's together.
    """

    metric: str | None = None
    drop: float | None = None
    rise: float | None = None
    repeat: int = 1

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.drop, self.rise) if limit is not None]
        if self.metric is None and limits:
            hint = "name what is measured, as in `--metric accuracy --drop 0.01`"
            raise UsageError("--drop and --rise say how far a metric may move", kind="bad-argument", hint=hint)
        if self.metric is not None and len(limits) != 1:
            hint = "`--drop 0.01` where more is better, as of an accuracy; `--rise 0.1` where less is, as of a loss"
            raise UsageError("a metric needs one of --drop and --rise", kind="bad-argument", hint=hint)
        if not all(math.isfinite(limit) and limit >= 0 for limit in limits):
            hint = "for example `--drop 0.01`"
            raise UsageError("how far a metric may move is a number, 0 or more", kind="bad-argument", hint=hint)
        if not 1 <= self.repeat <= MAX_EVALUATIONS:
            hint = "for example `--repeat 5`"
            raise UsageError(f"a model is evaluated 1 to {MAX_EVALUATIONS} times", kind="bad-argument", hint=hint)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out for one model: `what` is good, bad or skipped.

    `values` are what was measured, time after time, and `statuses` the exit statuses; `seconds` is what it took.
    """

    what: str
    values: tuple[float, ...]
    statuses: tuple[int, ...]
    seconds: float

    @property
    def value(self) -> float | None:
        """The mean of the values, None where nothing was measured."""
        return fmean(self.values) if self.values else None


Evaluate = Callable[[], Evaluation]


@dataclass(frozen=True, slots=True)
class Judge:
    """A criterion with what was measured of the good model, which is empty where nothing was."""

    criterion: Criterion
    good_values: tuple[float, ...] = ()

    def measure(self, evaluate: Evaluate) -> Verdict:
        """Return the values of the good model, with which others are compared; all of `repeat` are taken."""
        return _judged(evaluate, self.criterion.repeat, lambda _, __: GOOD, sure=lambda _, __: False)

    def judge(self, evaluate: Evaluate) -> Verdict:
        """Return what comes out for a model, evaluated until that is sure."""
        if self.criterion.metric is None:
            return _judged(evaluate, self.criterion.repeat, _majority, self._settled)
        return _judged(evaluate, self.criterion.repeat, self._compared, self._sure)

    @property
    def threshold(self) -> float:
        """The worst value that is not bad."""
        baseline = fmean(self.good_values)
        if self.criterion.drop is not None:
            return baseline - self.criterion.drop
        return baseline + (self.criterion.rise or 0.0)

    def _compared(self, _: Sequence[int], values: Sequence[float]) -> str:
        beyond = self._beyond(fmean(values))
        scale = max(abs(fmean(values)), abs(fmean(self.good_values)), abs(self.threshold))
        return BAD if beyond > _ROUNDING * scale else GOOD

    def _beyond(self, value: float) -> float:
        return self.threshold - value if self.criterion.drop is not None else value - self.threshold

    def _sure(self, _: Sequence[int], values: Sequence[float]) -> bool:
        freedom = len(values) + len(self.good_values) - 2
        if freedom < 1:
            return False
        deviation = math.sqrt((_squares(values) + _squares(self.good_values)) / freedom)
        error = deviation * math.sqrt(1 / len(values) + 1 / len(self.good_values))
        return abs(self._beyond(fmean(values))) > _SURE * error

    def _settled(self, statuses: Sequence[int], _: Sequence[float]) -> bool:
        bad, repeat = sum(map(bool, statuses)), self.criterion.repeat
        return 2 * bad > repeat or 2 * (len(statuses) - bad) >= repeat


def _majority(statuses: Sequence[int], _: Sequence[float]) -> str:
    return BAD if 2 * sum(map(bool, statuses)) > len(statuses) else GOOD


def _squares(values: Sequence[float]) -> float:
    """Return the sum of the squares of what values are away from their mean."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _judged(
    evaluate: Evaluate,
    repeat: int,
    decide: Callable[[Sequence[int], Sequence[float]], str],
    sure: Callable[[Sequence[int], Sequence[float]], bool],
) -> Verdict:
    """Evaluate until it is sure, at most `repeat` times; a model that cannot be judged once is skipped."""
    values: list[float] = []
    statuses: list[int] = []
    seconds = 0.0
    for _ in range(repeat):
        found = evaluate()
        seconds += found.seconds
        statuses.append(found.status)
        if found.skipped:
            return Verdict(SKIPPED, (), tuple(statuses), seconds)
        if found.value is not None:
            values.append(found.value)
        if sure(statuses, values):
            break
    return Verdict(decide(statuses, values), tuple(values), tuple(statuses), seconds)
