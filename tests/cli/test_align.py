"""`lamella align` on a terminal: what changed its name, place or size, blocks in one line, and everything as JSON."""

from __future__ import annotations

import json

import numpy
import pytest

import lamella
from lamella.cli.main import main

NOISE = numpy.random.default_rng(3).standard_normal
PARTS = ("attn.q.weight", "attn.k.weight", "mlp.weight")


def block():
    return {name: NOISE((40, 40), "f4") for name in PARTS}


def named(blocks, stack="h", **others):
    made = {f"{stack}.{number}.{name}": array for number, one in enumerate(blocks) for name, array in one.items()}
    return made | {name.replace("_", "."): array for name, array in others.items()}


OLD = [block() for _ in range(5)]
HEAD = NOISE((10, 40), "f4")


@pytest.fixture
def align(call, bench):
    """Return a function that writes two models and aligns them."""

    def run(before, after, *options):
        for name, arrays in (("a.npz", before), ("b.npz", after)):
            numpy.savez(bench.root / name, **arrays)
        outcome = call("align", "a.npz", "b.npz", *options)
        assert outcome.code == 0, outcome.err
        return outcome.out.splitlines()

    return run


def test_what_is_the_same_is_only_counted(align):
    assert align(named(OLD), named(OLD)) == ["15 layers matched, 15 of 15 tensors: 15 kept"]
    shown = align(named(OLD), named(OLD), "--all")
    assert shown[1].split() == ["h.0", "(3", "layers)", "h.0", "content", "1.00"]
    assert len(shown) == 7


def test_a_block_that_went_as_a_whole_is_one_line(align):
    shown = align(named(OLD), named([OLD[3], *OLD[:3], block()]))
    assert [line.split() for line in shown[1:-1]] == [
        ["=", "h.0", "(3", "layers)", "h.1", "content", "1.00"],
        ["=", "h.1", "(3", "layers)", "h.2", "content", "1.00"],
        ["=", "h.2", "(3", "layers)", "h.3", "content", "1.00"],
        [">", "h.3", "(3", "layers)", "h.0", "content", "1.00"],
        ["?", "h.4", "(3", "layers)", "h.4", "name", "0.25"],
    ]
    assert shown[-1] == "15 layers matched, 15 of 15 tensors: 12 renamed, 3 moved, 3 unsure"


def test_what_has_a_new_name_in_every_block_is_one_line(align):
    after = {name.replace("h.", "layers.").replace("attn.q", "self.query"): array for name, array in named(OLD).items()}
    shown = align(named(OLD), after)
    assert "=  h.*.attn.q (5 layers)  layers.*.self.query  content  1.00" in shown
    assert len(shown) == 8


def test_tensors_of_another_size_are_shown_with_it(align):
    grown = numpy.concatenate([HEAD, NOISE((3, 40), "f4")])
    shown = align(named(OLD, head_weight=HEAD), named(OLD, head_weight=grown), "--tensors")
    assert shown[1:] == [
        "!  head.weight [10,40]  head.weight [13,40]  resized  1.00",
        "16 layers matched, 16 of 16 tensors: 15 kept, 1 resized",
    ]


def test_what_came_and_went_is_shown(align):
    shown = align(named(OLD, head_weight=HEAD), named(OLD[:4], tail_bias=NOISE(7, "f4")))
    assert [line.split()[:2] for line in shown[1:-1]] == [["-", "h.4"], ["-", "head"], ["+", "tail"]]
    assert shown[-1] == "12 layers matched, 12 of 16 tensors: 12 kept, 4 removed, 1 added"


def test_everything_is_there_as_json(align):
    (line,) = align(named(OLD), named([OLD[1], OLD[0], *OLD[2:]]), "--json")
    told = json.loads(line)
    assert (told["type"], told["version"], told["before"], told["after"]) == ("align", 1, "a.npz", "b.npz")
    assert told["pairs"][0] == {
        "before": "h.0.attn.q.weight", "after": "h.1.attn.q.weight", "reason": "content", "confidence": 1.0
    }  # fmt: skip
    assert {layer["before"] for layer in told["layers"] if layer["moved"]} in (
        {f"h.{number}.{name}" for name in ("attn.q", "attn.k", "mlp")} for number in (0, 1)
    )
    assert told["removed"] == told["added"] == told["removed_layers"] == told["added_layers"] == []


def test_models_of_revisions_are_aligned(call, bench):
    with lamella.Repo.open(bench.root) as repo:
        repo.commit(named(OLD), "net.safetensors", "first")
        repo.commit(named(OLD[1:]), "net.safetensors", "second")
    outcome = call("align", "HEAD~1:net.safetensors", "HEAD:net.safetensors")
    assert "-  h.0 (3 layers)" in outcome.out
    assert outcome.out.endswith("12 layers matched, 12 of 15 tensors: 12 renamed, 3 removed\n")


def test_no_repository_is_needed(tmp_path, monkeypatch, capsys):
    numpy.savez(tmp_path / "a.npz", **named(OLD))
    monkeypatch.chdir(tmp_path)
    assert main(["align", "a.npz", "a.npz"]) == 0
    assert capsys.readouterr().out == "15 layers matched, 15 of 15 tensors: 15 kept\n"


def test_a_model_that_is_not_there_is_told(call):
    outcome = call("align", "nothing.npz", "nothing.npz")
    assert outcome.code != 0
    assert "there is no file or folder nothing.npz" in outcome.err
