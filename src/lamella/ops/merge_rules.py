"""Rules of a merge held against the strategies there are, before anything is merged."""

from __future__ import annotations

from lamella.core.errors import UsageError
from lamella.model.merging import choosing
from lamella.model.merging.rules import DEFAULT, FROM_BASE, OURS, THEIRS, Choice, Rules


def check_rules(rules: Rules, sides: int, *, has_base: bool) -> None:
    """Raise UsageError (bad-argument) for a strategy that does not exist or cannot merge so many sides.

    That a strategy needs a base is no reason where nobody chose it: then each tensor is asked about.
    """
    choosing.check_rules(rules, sides)
    for choice in (rules.choice, *(choice for _, choice in rules.choices)):
        if choice != DEFAULT:
            check_choice(choice, rules.weights, sides, has_base=has_base)


def check_choice(choice: Choice, weights: tuple[float, ...], sides: int, *, has_base: bool) -> None:
    """Raise UsageError (bad-argument) for a choice that cannot be followed."""
    if choice.strategy not in (OURS, THEIRS, FROM_BASE):
        choosing.settings_for(choice, weights, range(sides), sides, has_base=has_base)
    elif choice.parameters:
        raise UsageError(f"{choice.strategy} takes no parameters", kind="bad-argument", hint="it takes what is there")
    elif choice.strategy == FROM_BASE and not has_base:
        raise UsageError("there is no base to take", kind="bad-argument", hint="take ours or theirs")
