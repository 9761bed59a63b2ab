"""A recipe as it is typed: what is printed, and what is left to be added."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from lamella.cli.merge_recipe import is_recipe, run_recipe
from lamella.core.errors import NotFoundError, UsageError

RECIPE = """\
models:
  - model: HEAD~1:model.safetensors
    parameters: {weight: 1}
  - model: model.safetensors
    parameters: {weight: 3}
merge_method: linear
tokenizer_source: base
"""


@pytest.fixture
def typed(bench, capsys, monkeypatch):
    """Return a function that follows a recipe in the repository, and what it printed."""
    (bench.root / "recipe.yml").write_text(RECIPE)
    monkeypatch.chdir(bench.root)

    def run(path: str = "recipe.yml", out: str | None = None, **options: object) -> tuple[str, str]:
        with click.Context(click.Command("merge")):
            run_recipe(path, None if out is None else Path(out), **options)
        return capsys.readouterr()

    return run


def test_a_recipe_is_told_by_its_name():
    assert [is_recipe(name) for name in ("a.yml", "b/c.yaml", "yml", "topic")] == [True, True, False, False]


def test_a_model_is_made_and_left_to_be_added(bench, typed):
    out, err = typed(out="merged.safetensors")
    assert out.splitlines() == [
        "merged.safetensors: 8 tensors, 1.8 KiB",
        "linear of 2 models: 1 computed, 7 taken as they are",
    ]
    assert "no tokenizer is looked at" in err
    assert "`lamella add merged.safetensors`" in err
    assert bench.git("status", "--porcelain", "merged.safetensors") == "?? merged.safetensors"


def test_a_model_outside_of_the_repository_is_nobodys(typed, tmp_path):
    assert "lamella add" not in typed(out=str(tmp_path / "elsewhere.safetensors"))[1]


def test_what_would_be_made_is_shown(bench, typed):
    before = sorted(path.name for path in bench.root.iterdir())
    rows = [line.split() for line in typed(dry_run=True).out.splitlines()]
    assert rows[0][0] == "HEAD~1:model.safetensors"
    assert rows[3] == ["TENSOR", "DTYPE", "BY", "OF"]
    assert any("3 x model.safetensors" in " ".join(row) for row in rows[4:])
    assert sorted(path.name for path in bench.root.iterdir()) == before
    report = json.loads(typed(dry_run=True, as_json=True).out)
    assert (report["type"], report["method"], report["written"]) == ("recipe", "linear", None)
    assert {one["strategy"] for one in report["tensors"]} == {"linear", None}


def test_a_recipe_needs_a_place(typed):
    with pytest.raises(UsageError, match="--out"):
        typed()
    with pytest.raises(NotFoundError, match=r"no recipe none\.yml"):
        typed("none.yml", out="x.safetensors")
