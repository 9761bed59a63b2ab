"""The rules of a merge as plain values: JSON for the driver that Git starts, tables of a project's settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_MERGE_NBYTES
from lamella.model.merging.rules import Choice, Rules

VARIABLE = "LAMELLA_MERGE"
"""Carries the rules of an explicit request, as JSON, through Git to the merge driver."""

_FIELDS = ("strategy", "strategies", "resolutions", "weights", "settles", "opposition")


def rules_to_json(rules: Rules) -> str:
    """Return rules as one line of JSON, which `rules_from_json` reads."""
    return json.dumps(rules_to_fields(rules))


def rules_from_json(text: str) -> Rules:
    """Return the rules that a text holds; raise FormatError (rules-malformed) where it holds none."""
    if len(text) > MAX_MERGE_NBYTES:
        raise _malformed("they are too long")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _malformed("they are no JSON") from exc
    return rules_from_fields(fields)


def rules_to_fields(rules: Rules) -> dict[str, Any]:
    """Return rules as a table of texts, numbers, lists and tables, which can be written down in any language."""
    return {
        "strategy": choice_to_fields(rules.choice),
        "strategies": [[pattern, choice_to_fields(choice)] for pattern, choice in rules.choices],
        "resolutions": {name: choice_to_fields(choice) for name, choice in rules.resolutions.items()},
        "weights": list(rules.weights),
        "settles": rules.settles,
        "opposition": rules.opposition,
    }


def rules_from_fields(fields: object) -> Rules:
    """Return the rules that a table says, what it does not say as it is by default.

    `strategies` are pairs of a pattern and a choice, in a list or as a table. No strategy is looked up: that there is
    one of its name, with these parameters, is found out where it is used. Raises FormatError (rules-malformed) for
    anything that is no such table.
    """
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise _malformed("they are no table")
    unknown = next((name for name in fields if name not in _FIELDS), None)
    if unknown is not None:
        raise _malformed(f"there is no setting {unknown[:80]!r}")
    usual = Rules()
    weights = fields.get("weights", [])
    if not isinstance(weights, list):
        raise _malformed("weights is no list")
    settles = fields.get("settles", usual.settles)
    if not isinstance(settles, bool):
        raise _malformed("settles is neither true nor false")
    opposition = _number(fields.get("opposition", usual.opposition), "opposition")
    if not 0 <= opposition <= 1:
        raise _malformed("opposition is not from 0 to 1")
    return Rules(
        choice_from_fields(fields["strategy"], "strategy") if "strategy" in fields else usual.choice,
        _choices(fields.get("strategies", [])),
        dict(_pairs(fields.get("resolutions", {}), "resolutions")),
        tuple(_number(weight, "weights") for weight in weights),
        settles,
        opposition,
    )


def choice_to_fields(choice: Choice) -> str | dict[str, Any]:
    """Return a choice as the strategy's name, or a table of it and its parameters."""
    return {"strategy": choice.strategy, **choice.parameters} if choice.parameters else choice.strategy


def choice_from_fields(value: object, where: str) -> Choice:
    """Return the choice that `choice_to_fields` made, or a person wrote; `where` is what a refusal names it by."""
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, dict) or not isinstance(value.get("strategy"), str):
        raise _malformed(f"{where} is neither a strategy's name nor a table with one")
    parameters = {name: _number(given, f"{where}.{name}") for name, given in value.items() if name != "strategy"}
    return Choice(value["strategy"], parameters)


def _choices(value: object) -> tuple[tuple[str, Choice], ...]:
    if isinstance(value, dict):
        return tuple(_pairs(value, "strategies"))
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise _malformed("strategies is neither a table nor a list of pairs")
    if not all(isinstance(pattern, str) for pattern, _ in value):
        raise _malformed("strategies has a pattern that is no text")
    return tuple((pattern, choice_from_fields(choice, f"strategies.{pattern[:80]}")) for pattern, choice in value)


def _pairs(value: object, where: str) -> list[tuple[str, Choice]]:
    if not isinstance(value, Mapping):
        raise _malformed(f"{where} is no table")
    return [(str(name), choice_from_fields(choice, f"{where}.{str(name)[:80]}")) for name, choice in value.items()]


def _number(value: object, where: str) -> float:
    if isinstance(value, bool | int):
        value = float(value) if abs(value) < 1 << 64 else math.inf
    if not isinstance(value, float) or not math.isfinite(value):
        raise _malformed(f"{where} is no number")
    return value


def _malformed(reason: str) -> FormatError:
    hint = "`lamella merge --help` and docs/guide/merging.md show what can be said"
    return FormatError(f"the rules of a merge are malformed: {reason}", kind="rules-malformed", hint=hint)
