"""Trees of JAX arrays are saved, committed and loaded again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy
import pytest

import lamella.jax
from lamella.ops.load import load

TREE = {
    "dense": {"kernel": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3), "bias": jnp.ones(3)},
    "layers": [jnp.zeros((2, 0)), (jnp.float32(3), jnp.int8(4))],
}
NAMES = ["dense.bias", "dense.kernel", "layers.0", "layers.1.0", "layers.1.1"]


PATTERNS = ("*.safetensors",)


def same(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and (a == b).all() for a, b in pairs)


def test_a_tree_is_saved_and_loaded(tmp_path):
    lamella.jax.save(TREE, tmp_path / "tree.safetensors")
    with load(tmp_path / "tree.safetensors") as tensors:
        assert sorted(tensors) == NAMES
    assert same(lamella.jax.load_tree(TREE, tmp_path / "tree.safetensors"), TREE)
    assert sorted(lamella.jax.load(tmp_path / "tree.safetensors")) == NAMES


def test_a_tree_is_committed_and_loaded(bench, monkeypatch):
    monkeypatch.chdir(bench.root)
    lamella.jax.commit(TREE, "tree.safetensors", "tree")
    assert same(lamella.jax.load_tree(TREE, "HEAD:tree.safetensors"), TREE)


def test_a_tree_that_does_not_fit_is_refused(tmp_path):
    lamella.jax.save(TREE, tmp_path / "tree.safetensors")
    with pytest.raises(ValueError, match="the tree has no array"):
        lamella.jax.load_tree({"dense": TREE["dense"]}, tmp_path / "tree.safetensors")
    with pytest.raises(ValueError, match="has shape"):
        lamella.jax.load_tree({**TREE, "layers": [jnp.zeros((2, 1)), TREE["layers"][1]]}, tmp_path / "tree.safetensors")


def test_two_paths_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"'a\.b'"):
        lamella.jax.from_jax({"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)})


def test_64_bits_are_not_cut_in_silence():
    with pytest.raises(ValueError, match="would shorten"):
        lamella.jax.to_jax({"a": numpy.ones(2)})
