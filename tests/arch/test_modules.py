"""The rules of the house, held for every module of the package."""

from __future__ import annotations

import pytest

from tests.arch.rules import RULES, Rule
from tests.arch.source import package_modules, parse

EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)


@EVERY_RULE
def test_every_module_keeps(rule: Rule) -> None:
    findings = [finding for module in package_modules() for finding in rule.findings(module)]
    assert not findings, f"{rule.sentence}:\n" + "\n".join(findings)


@EVERY_RULE
def test_a_violation_is_found_of(rule: Rule) -> None:
    assert rule.bad
    missed = [text for text in rule.bad if not rule.findings(parse(text))]
    assert not missed


@EVERY_RULE
def test_harmless_code_passes(rule: Rule) -> None:
    assert rule.good
    blamed = [finding for text in rule.good for finding in rule.findings(parse(text))]
    assert not blamed


def test_an_exemption_covers_a_room_and_not_its_namesakes() -> None:
    rule = next(rule for rule in RULES if "lamella.repo.git" in rule.exempt)
    text = "import subprocess"
    assert not rule.findings(parse(text, "lamella.repo.git"))
    assert rule.findings(parse(text, "lamella.repo.gitignore"))
    assert rule.findings(parse(text, "lamella.repo"))


def test_every_exempt_room_exists() -> None:
    names = {module.name for module in package_modules()}
    missing = [room for rule in RULES for room in rule.exempt if room not in names]
    assert not missing


def test_the_package_is_found_whole() -> None:
    names = {module.name for module in package_modules()}
    assert {"lamella", "lamella.core", "lamella.core.errors", "lamella.cli"} <= names
