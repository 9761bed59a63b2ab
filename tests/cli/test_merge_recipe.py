"""A recipe as it is typed: what is printed, and what is left to be added."""

from __future__ import annotations

import json

import pytest

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
def typed(bench, call):
    """Return a function that follows a recipe in the repository."""
    (bench.root / "recipe.yml").write_text(RECIPE)
    (bench.root / "text.yml").write_text("models: [{model: tab.yml}]\nmerge_method: passthrough\n")
    (bench.root / "huge.yml").write_text(RECIPE.replace("weight: 1", "weight: 1.7e308").replace("t: 3", "t: 1e308"))
    (bench.root / "tab.yml").write_text("models:\n\t- model: a\n")
    return lambda *options: call("merge", "recipe.yml", *options)


def test_a_model_is_made_and_left_to_be_added(bench, typed):
    ended = typed("--out", "merged.safetensors")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        ["merged.safetensors: 8 tensors, 1.8 KiB", "linear of 2 models: 1 computed, 7 taken as they are"],
    )
    assert "no tokenizer is looked at" in ended.err
    assert "`lamella add merged.safetensors`" in ended.err
    assert bench.git("status", "--porcelain", "merged.safetensors") == "?? merged.safetensors"
    assert typed("--out", "merged.safetensors").code == 2
    assert typed("--out", "merged.safetensors", "--force", "--quiet").out == ""


def test_a_model_outside_of_the_repository_is_nobodys(typed, tmp_path):
    assert "lamella add" not in typed("--out", str(tmp_path / "elsewhere.safetensors")).err


def test_other_containers_hold_the_weights_without_the_recipe(call, typed):
    typed("--out", "one.safetensors")
    assert typed("--out", "two.pt").code == 0
    assert len({line.split()[0] for line in call("id", "one.safetensors", "two.pt").out.splitlines()}) == 1


def test_shards_are_as_large_as_asked(bench, typed):
    typed("--out", "folder", "--shard-size", "500B")
    assert len(list((bench.root / "folder").glob("*.safetensors"))) > 1


def test_what_would_be_made_is_shown(bench, typed):
    before = sorted(path.name for path in bench.root.iterdir())
    rows = [line.split() for line in typed("--dry-run").out.splitlines()]
    assert rows[0][0] == "HEAD~1:model.safetensors"
    assert rows[3] == ["TENSOR", "DTYPE", "BY", "OF"]
    assert any("3 x model.safetensors" in " ".join(row) for row in rows[4:])
    assert sorted(path.name for path in bench.root.iterdir()) == before
    report = json.loads(typed("--dry-run", "--json").out)
    assert (report["type"], report["method"], report["written"]) == ("recipe", "linear", None)
    assert {one["strategy"] for one in report["tensors"]} == {"linear", None}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["recipe.yml"], 2, "a recipe needs `--out FILE`"),
        (["none.yml", "--out", "x"], 3, "there is no recipe none.yml"),
        (["recipe.yml", "HEAD", "--out", "x"], 2, "a recipe goes alone"),
        (["recipe.yml", "--out", "x", "--strategy", "ties"], 2, "--strategy is not for a recipe"),
        (["HEAD", "--out", "x"], 2, "for recipes"),
        (["tab.yml", "--dry-run"], 6, "tab.yml: line 2 is not plain YAML"),
        (["text.yml", "--out", "x.safetensors"], 2, "hint: a recipe is made of models: files, folders"),
        (["recipe.yml", "--out", "v1.2"], 2, "hint: write a .safetensors file; `lamella export` makes others of it"),
        (["recipe.yml", "--out", "x.gguf"], 2, "hint: write a .safetensors file; `lamella export` makes others of it"),
        (["huge.yml", "--out", "x.safetensors"], 2, "the weights of the sides that changed a tensor sum to inf"),
    ],
)
def test_a_recipe_goes_alone_to_a_place(typed, call, arguments, code, said):
    ended = call("merge", *arguments)
    assert ended.code == code
    assert said in ended.err
