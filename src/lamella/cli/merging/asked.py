"""What a command line of `lamella merge` says, and the rules that its options make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lamella.core.errors import UsageError
from lamella.model.merging.rules import DEFAULT, Choice, Rules

RULES = ("strategy", "params", "strategies_for", "weights", "opposition")
"""The fields that say how tensors are merged."""

_OPTIONS = {
    "strategy": "--strategy", "params": "--param", "strategies_for": "--strategy-for", "weights": "--weights",
    "opposition": "--opposition", "message": "--message", "no_commit": "--no-commit",
    "unrelated": "--allow-unrelated-histories", "into": "--into", "ema": "--ema", "replay": "--replay", "out": "--out",
    "shard_size": "--shard-size", "force": "--force", "evaluate": "--evaluate", "no_evaluate": "--no-evaluate",
    "dry_run": "--dry-run", "every": "--all", "going_on": "--continue", "aborting": "--abort",
}  # fmt: skip
"""How each field is spelled; `git_options` are as they were given."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments and options of one command line, as click gives them."""

    commits: tuple[str, ...]
    strategy: str | None
    params: tuple[str, ...]
    strategies_for: tuple[str, ...]
    weights: str | None
    opposition: float | None
    message: str | None
    no_commit: bool
    git_options: tuple[str, ...]
    unrelated: bool
    into: str | None
    ema: float | None
    replay: str | None
    out: Path | None
    shard_size: str | None
    force: bool
    evaluate: str | None
    no_evaluate: bool
    dry_run: bool
    every: bool
    going_on: bool
    aborting: bool
    as_json: bool
    quiet: bool

    @property
    def is_recipe(self) -> bool:
        """Whether a recipe is named, and no commit."""
        return any(name.endswith((".yml", ".yaml")) for name in self.commits)

    def refuse_others(self, way: str, *taken: str) -> None:
        """Raise UsageError (bad-argument) for an option that is none of those fields, and is nothing to this `way`.

        How a report is printed may always be said.
        """
        values = {name: getattr(self, name) for name in _OPTIONS if name not in taken}
        given = [_OPTIONS[name] for name, value in values.items() if value not in (None, ()) and value is not False]
        given += () if "git_options" in taken else self.git_options
        if given:
            raise UsageError(f"{given[0]} is not for {way}", kind="bad-argument", hint="leave it out")

    def rules(self, usual: Rules) -> Rules:
        """Return the rules that the options make of the `usual` ones, those of the project.

        A strategy for all tensors goes before all that the project says, one for a pattern is added to it. Raises
        UsageError (bad-argument) for what cannot be read.
        """
        rules = usual
        if self.strategy is not None:
            rules = replace(rules, choice=Choice(self.strategy, parameters(self.params)), choices=())
        elif self.params:
            raise UsageError("--param without --strategy", kind="bad-argument", hint="name the strategy that takes it")
        added = tuple(map(_choice_for, self.strategies_for))
        weights = tuple(_number(part, "--weights") for part in self.weights.split(",")) if self.weights else ()
        if weights and self.strategy is None and rules.choice == DEFAULT:
            raise UsageError("--weights without --strategy", kind="bad-argument", hint="`--strategy linear` takes them")
        opposition = rules.opposition if self.opposition is None else self.opposition
        return replace(rules, choices=(*rules.choices, *added), weights=weights, opposition=opposition)


def parameters(given: Sequence[str]) -> dict[str, float]:
    """Return numbers by name from texts such as ``density=0.2``; raise UsageError (bad-argument) for others."""
    pairs = [text.partition("=") for text in given]
    return {name.strip(): _number(value, name.strip() or "--param") for name, _, value in pairs}


def _choice_for(text: str) -> tuple[str, Choice]:
    """Return the pattern and the choice in ``GLOB=STRATEGY``, behind which parameters may stand after commas."""
    pattern, equals, rest = text.rpartition("=") if "," not in text else text.partition("=")
    strategy, *params = rest.split(",")
    if not equals or not pattern or not strategy:
        raise UsageError(
            f"{text!r} is not GLOB=STRATEGY", kind="bad-argument", hint="for example --strategy-for 'embed.*=ours'"
        )
    return pattern, Choice(strategy, parameters(params))


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{what}: {text!r} is no number", kind="bad-argument", hint="for example 0.5") from None
