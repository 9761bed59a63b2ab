"""The reference is what the code says: generated pages are fresh, hand-written ones complete."""

from __future__ import annotations

import re

import pytest

from lamella.cli.main import BROKEN_PIPE, INTERRUPTED
from lamella.core.errors import KINDS, LamellaError
from lamella.repo.modelfilter import Clean, Smudge
from scripts.make_reference import PAGES, REFERENCE

SOURCES = {path: path.read_text(encoding="utf-8") for path in (REFERENCE.parents[1] / "src").rglob("*.py")}
ERRORS = (REFERENCE / "errors.md").read_text(encoding="utf-8")
ENVIRONMENT = (REFERENCE / "environment.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_the_code_says(page):
    assert (REFERENCE / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_every_kind_stands_under_its_class_with_a_meaning():
    listed = []
    for section in re.split(r"^## ", ERRORS, flags=re.M)[1:]:
        rows = re.findall(r"^\| `([a-z-]+)` \| (\S.*) \|$", section, re.M)
        listed += [(kind, section.split()[0]) for kind, _ in rows]
    classes = list(dict.fromkeys(KINDS.values()))
    by_class = sorted(KINDS.items(), key=lambda item: classes.index(item[1]))
    assert listed == [(kind, carrier.__name__) for kind, carrier in by_class]


def test_the_table_of_exit_codes_is_the_one_in_the_code():
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", ERRORS, re.M))
    classes = {str(error.exit_code): f"`{error.__name__}`" for error in set(KINDS.values())}
    assert {code: meaning for code, meaning in rows.items() if not meaning.startswith(classes.get(code, ""))} == {}
    assert set(rows) == {"0", str(LamellaError.exit_code), *classes, str(INTERRUPTED), str(BROKEN_PIPE)}


def test_every_class_is_described_with_its_second_nature():
    for error in set(KINDS.values()):
        builtins = [base.__name__ for base in error.__bases__ if base is not LamellaError]
        section = ERRORS[ERRORS.index(f"## {error.__name__}") :].split("\n\n")[1]
        assert re.findall(r"Also an? `(\w+)`", section) == builtins


def test_every_variable_is_described():
    used = {name for text in SOURCES.values() for name in re.findall(r"\b(?:LAMELLA_[A-Z]+|NO_COLOR)\b", text)}
    described = re.findall(r"^\| `([A-Z_]+)` \|", ENVIRONMENT, re.M)
    assert sorted(described) == sorted(used)


@pytest.mark.parametrize(("variable", "setting"), [("LAMELLA_CLEAN", Clean), ("LAMELLA_SMUDGE", Smudge)])
def test_the_values_of_a_setting_are_those_of_the_code(variable, setting):
    assert values_of(variable) == [member.value for member in setting]


def test_the_values_of_the_progress_setting_are_those_of_the_code():
    text = next(text for path, text in SOURCES.items() if path.name == "bars.py")
    assert sorted(values_of("LAMELLA_PROGRESS")) == sorted(re.findall(r'"(never|always|\d)"', text))


def values_of(variable: str) -> list[str]:
    row = next(line for line in ENVIRONMENT.splitlines() if line.startswith(f"| `{variable}` "))
    return re.findall(r"`([^`]+)`", row.split("|")[2])
