"""The guide to merge strategies lists those that there are, as they describe themselves."""

import re
from pathlib import Path

from lamella.model.merging.strategies.builtin import STRATEGIES

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "strategies.md").read_text(encoding="utf-8")


def rows(heading):
    """Return the cells of the table of a section, without its head."""
    section = PAGE[PAGE.index(f"## {heading}") :].split("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\| `.*$", section, re.M)]


def shown(number):
    return f"{number:g}"


def test_every_strategy_stands_in_the_table_with_what_it_needs():
    told = [[name, base == "needed", *others] for name, _, base, *others in rows("All of them")]
    expected = [
        [
            f"`{one.name}`",
            one.needs_base,
            {None: "any", 2: "2", 64: "to 64"}[one.most_sides],
            "yes" if one.weighted else "no",
            "no" if one.symmetric else "yes",
            one.source,
        ]
        for one in STRATEGIES.values()
    ]
    assert told == expected


def test_every_parameter_stands_in_the_table_with_its_bounds():
    assert rows("Parameters") == [
        [f"`{one.name}`", f"`{told.name}`", *map(shown, (told.default, told.least, told.most)), told.meaning]
        for one in STRATEGIES.values()
        for told in one.parameters
    ]
