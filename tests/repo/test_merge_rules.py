"""The rules of a merge as plain values: what goes in comes out, and what is no such thing is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamella.core.errors import FormatError
from lamella.model.merging.rules import Choice, Rules
from lamella.repo.merge_rules import rules_from_fields, rules_from_json, rules_to_fields, rules_to_json

NAMES = some.text(max_size=8).filter(lambda name: name != "strategy")
NUMBERS = some.floats(-1e300, 1e300, allow_nan=False)
CHOICES = some.builds(Choice, some.text(max_size=8), some.dictionaries(NAMES, NUMBERS, max_size=2))
RULES = some.builds(
    Rules,
    CHOICES,
    some.lists(some.tuples(NAMES, CHOICES), max_size=3).map(tuple),
    some.dictionaries(NAMES, CHOICES, max_size=3),
    some.lists(NUMBERS, max_size=3).map(tuple),
    some.booleans(),
    some.floats(0, 1),
)


@given(RULES)
def test_rules_come_back_from_json_as_they_were(rules: Rules) -> None:
    assert rules_from_json(rules_to_json(rules)) == rules


def test_what_is_not_said_is_as_it_is_by_default() -> None:
    assert rules_from_json("{}") == Rules()
    assert rules_from_fields({"strategies": {"h.*": "ours"}}).choices == (("h.*", Choice("ours")),)
    assert rules_to_fields(Rules())["strategy"] == "three-way"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no table"),
        ('{"colour": 1}', "no setting 'colour'"),
        ('{"strategy": 3}', "strategy is neither"),
        ('{"strategy": {"density": 1}}', "strategy is neither"),
        ('{"strategy": {"strategy": "ties", "density": "1"}}', "strategy.density is no number"),
        ('{"strategy": {"strategy": "ties", "density": NaN}}', "strategy.density is no number"),
        ('{"strategies": 3}', "strategies is neither"),
        ('{"strategies": [["*"]]}', "strategies is neither"),
        ('{"strategies": [[1, "ours"]]}', "pattern that is no text"),
        ('{"resolutions": []}', "resolutions is no table"),
        ('{"weights": 1}', "weights is no list"),
        (json.dumps({"weights": [10**400]}), "weights is no number"),
        ('{"weights": [null]}', "weights is no number"),
        ('{"settles": 1}', "settles is neither"),
        ('{"opposition": 2}', "opposition is not from 0 to 1"),
        ('{"opposition": 1e999}', "opposition is no number"),
    ],
)
def test_what_holds_no_rules_is_refused(text: str, said: str) -> None:
    with pytest.raises(FormatError, match=said) as refused:
        rules_from_json(text)
    assert refused.value.kind == "rules-malformed"
