"""The page on the architecture names what exists, and every room."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lamella"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DESIGNS = sorted((ROOT / "docs" / "design").glob("*.md"))


def rows_of_rooms() -> list[tuple[str, str]]:
    return re.findall(r"^\| (\d|-) \| `([a-z]+)` \|", PAGE, re.M)


def test_every_room_is_on_the_page():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {room for _, room in rows_of_rooms()} == rooms


def test_rooms_stand_in_the_order_in_which_they_may_import():
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    expected = [
        (str(len(layers) - number), room.strip()) for number, layer in enumerate(layers) for room in layer.split("|")
    ]
    assert sorted(row for row in rows_of_rooms() if row[0] != "-") == sorted(expected)


def test_every_module_named_on_a_page_exists():
    rooms = "|".join(room for _, room in rows_of_rooms())
    named = {
        (page.name, path)
        for page in (ROOT / "docs" / "architecture.md", ROOT / "README.md", ROOT / "CHANGELOG.md", *DESIGNS)
        for path in re.findall(rf"`((?:{rooms})/[\w/.]+)`", page.read_text(encoding="utf-8"))
    }
    assert named
    assert not {(page, path) for page, path in named if not (PACKAGE / path).exists()}


def test_every_design_says_when_and_why():
    numbers = [int(page.name[:4]) for page in DESIGNS]
    assert numbers == list(range(1, len(numbers) + 1))
    for page in DESIGNS:
        text = page.read_text(encoding="utf-8")
        assert re.match(rf"# {int(page.name[:4])}\. .+\n\n\d{{4}}-\d{{2}}-\d{{2}}\n", text), page.name
        assert re.findall(r"^## (Problem|Choice|Drawbacks)$", text, re.M) == ["Problem", "Choice", "Drawbacks"], (
            page.name
        )
