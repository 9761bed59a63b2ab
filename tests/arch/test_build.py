"""The build: each variable of the Makefile has one meaning, and what the frameworks' tests import is installed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

from scripts.requirements import requirements
from tests.arch.source import ROOT

DISTRIBUTIONS = {
    "optax": "flax",
    "orbax": "orbax-checkpoint",
    "tensorflow": "tensorflow-cpu",
    "tensorstore": "orbax-checkpoint",
}
"""What brings modules that are called otherwise."""


def test_no_variable_of_the_makefile_is_defined_twice() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    defined = Counter(re.findall(r"^(\w+)\s*[:?+]?=", text, re.MULTILINE))
    assert defined["VENV"] == 1
    assert [name for name, times in defined.items() if times > 1] == []


def imported(path: Path) -> set[str]:
    """Return the first part of all modules that a file imports."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add((node.module or "").partition(".")[0])
    return modules


def test_what_the_tests_of_frameworks_import_is_installed_for_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *requirements("test"), *requirements("frameworks")]
    installed = {re.split(r"[^\w-]", line)[0] for line in lines}
    found = set().union(*map(imported, (ROOT / "tests" / "frameworks").glob("*.py")))
    assert {"torch", "tensorflow"} <= found
    others = found - set(sys.stdlib_module_names) - {"lamella", "scripts", "tests", "benchmarks"}
    assert {module for module in others if DISTRIBUTIONS.get(module, module) not in installed} == set()
