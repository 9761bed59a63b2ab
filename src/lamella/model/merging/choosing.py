"""From what the user chose to what a strategy is told: parameters checked, and the weights of the sides taking part."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from lamella.core.errors import UsageError
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Choice, Rules
from lamella.model.merging.strategies.builtin import STRATEGIES
from lamella.model.merging.strategy import Settings, Strategy


def strategy_named(name: str) -> Strategy:
    """Return the strategy of that name; raise UsageError (bad-argument) where there is none."""
    from difflib import get_close_matches

    found = STRATEGIES.get(name)
    if found is None:
        close = get_close_matches(name, STRATEGIES, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(STRATEGIES)}"
        raise UsageError(f"there is no merge strategy {name!r}", kind="bad-argument", hint=hint)
    return found


def check_rules(rules: Rules, sides: int) -> None:
    """Raise UsageError (bad-argument) where rules name a strategy that there is not, or tell one what it cannot do.

    That is asked before models are looked at, so that it does not depend on what they changed.
    """
    if rules.weights and rules.choice.strategy not in (OURS, THEIRS, FROM_BASE):
        strategy = strategy_named(rules.choice.strategy)
        if not strategy.weighted:
            said = f"the strategy {strategy.name} does not weigh the sides"
            raise UsageError(said, kind="bad-argument", hint="leave the weights out")
        if not any(rules.weights):
            raise UsageError("all weights are 0", kind="bad-argument", hint="give one to a side that is to be heard")
    for choice in (rules.choice, *(choice for _, choice in rules.choices), *rules.resolutions.values()):
        if choice.strategy in (OURS, THEIRS, FROM_BASE):
            continue
        strategy = strategy_named(choice.strategy)
        strategy.check(_settings(strategy, choice, _checked(rules.weights, sides)))


def settings_for(
    choice: Choice, weights: Sequence[float], numbers: Sequence[int], sides: int, *, has_base: bool
) -> Settings:
    """Return what a strategy is told of a tensor that the sides of these `numbers`, of so many in all, take part in.

    Raises UsageError (bad-argument) for parameters that the strategy has not, values that they cannot have, weights
    that are not one for each side, more sides than it merges, and where it needs a base and there is none.
    """
    strategy = strategy_named(choice.strategy)
    if strategy.needs_base and not has_base:
        raise UsageError(
            f"the strategy {strategy.name} needs the version that the sides come from, and there is none",
            kind="bad-argument",
            hint="`--strategy linear` and `average` do without",
        )
    if strategy.most_sides is not None and len(numbers) > strategy.most_sides:
        said = f"the strategy {strategy.name} merges {strategy.most_sides} sides, not {len(numbers)}"
        raise UsageError(said, kind="bad-argument", hint="`average` merges any number")
    whole = _checked(weights, sides)
    strategy.check(_settings(strategy, choice, whole))
    return _settings(strategy, choice, tuple(whole[number] for number in numbers))


def _checked(weights: Sequence[float], sides: int) -> tuple[float, ...]:
    """Return a weight for each side, 1 where none are given."""
    if weights and len(weights) != sides:
        said = f"there are {len(weights)} weights for {sides} sides"
        raise UsageError(said, kind="bad-argument", hint="give one for each side, ours first")
    if not all(map(isfinite, weights)):
        raise UsageError("weights have to be finite", kind="bad-argument", hint="give a number for each side")
    return tuple(weights) or (1.0,) * sides


def _settings(strategy: Strategy, choice: Choice, weights: tuple[float, ...]) -> Settings:
    values = {parameter.name: parameter.default for parameter in strategy.parameters}
    for name, value in choice.parameters.items():
        _check(strategy, name, value)
        values[name] = value
    return Settings(values, weights)


def _check(strategy: Strategy, name: str, value: float) -> None:
    known = {parameter.name: parameter for parameter in strategy.parameters}
    if name not in known:
        hint = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"the strategy {strategy.name} has no parameter {name!r}", kind="bad-argument", hint=hint)
    parameter = known[name]
    if not parameter.least <= value <= parameter.most or (parameter.whole and value != int(value)):
        said = f"{name} of {strategy.name} cannot be {value:g}"
        what = "a whole number " if parameter.whole else ""
        hint = f"it is {what}from {parameter.least:g} to {parameter.most:g}: {parameter.meaning}"
        raise UsageError(said, kind="bad-argument", hint=hint)
