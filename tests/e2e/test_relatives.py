"""A model that is copied in from elsewhere is stored as its difference to the relative that is stored already."""

from __future__ import annotations

import json

import numpy
import pytest
from safetensors.numpy import save

from tests.e2e.workbench import Workbench
from tests.store.families import drawn, tuned

SHAPES = {"embed.weight": (500, 64), "first.weight": (128, 128), "second.weight": (128, 128), "second.bias": (128,)}


def network(seed: int) -> dict[str, numpy.ndarray]:
    return {
        name: drawn(seed + number, int(numpy.prod(shape))).reshape(shape).astype(numpy.float32)
        for number, (name, shape) in enumerate(SHAPES.items())
    }


def fine_tune(model: dict[str, numpy.ndarray], prefix: str = "") -> dict[str, numpy.ndarray]:
    return {
        prefix + name: tuned(weights.ravel(), 1e-4).reshape(weights.shape).astype(numpy.float32)
        for name, weights in model.items()
    }


def added(bench: Workbench, path: str, content: bytes) -> float:
    """Add and commit a model, and return the share of it that it takes in the store."""
    bench.write(path, content)
    (model,) = json.loads(bench.lamella("add", "--json", path))["files"]
    bench.git("commit", "--quiet", "--message", f"add {path}")
    return model["stored_nbytes"] / len(content)


@pytest.mark.parametrize("prefix", ["", "model."], ids=["same-names", "other-names"])
def test_a_fine_tune_under_another_path_is_stored_small(bench, prefix):
    model = network(1)
    assert added(bench, "base.safetensors", save(model)) > 0.8
    for seed in (100, 200, 300):
        assert added(bench, f"other-{seed}.safetensors", save(network(seed))) > 0.8
    copied = save(fine_tune(model, prefix))
    assert added(bench, "sub/copied.safetensors", copied) < 0.5
    (bench.root / "sub/copied.safetensors").unlink()
    bench.lamella("restore", "sub/copied.safetensors")
    assert bench.read("sub/copied.safetensors") == copied


def test_two_relatives_in_one_command_find_each_other_through_plain_git_too(bench):
    model = network(1)
    bench.write("a.safetensors", save(model))
    bench.write("b.safetensors", save(fine_tune(model)))
    bench.git("add", "a.safetensors", "b.safetensors")
    stored = sum(path.stat().st_size for path in (bench.root / ".git/lamella/packs").iterdir())
    assert stored < 0.7 * (len(save(model)) * 2)
