"""Flax's files, through a repository and back into Flax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, serialization
from flax.training.train_state import TrainState

from tests.e2e.workbench import Workbench
from tests.frameworks.trip import folder_round_trip


class Network(linen.Module):
    """Two layers with a normalisation, which has statistics."""

    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.BatchNorm(use_running_average=True)(linen.Dense(50)(x)))
        return linen.Dense(10, param_dtype=jnp.bfloat16)(x)


PATTERNS = ("*.msgpack",)


def state(seed: int) -> TrainState:
    network = Network()
    variables = network.init(jax.random.key(seed), jnp.ones((1, 30)))
    return TrainState.create(apply_fn=network.apply, params=variables["params"], tx=optax.adam(1e-3))


def trip(bench: Workbench, data: bytes) -> bytes:
    bench.write("model.msgpack", data)
    assert "format flax-msgpack" in folder_round_trip(bench, ".", "model.msgpack")
    return bench.read("model.msgpack")


def equal(one: object, other: object) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)


def test_a_train_state_comes_back(bench):
    saved = state(0)
    for _ in range(2):
        saved = saved.apply_gradients(grads=jax.tree.map(jnp.ones_like, saved.params))
        restored = serialization.from_bytes(state(1), trip(bench, serialization.to_bytes(saved)))
        assert equal(restored, saved)


@pytest.mark.parametrize("chunk_nbytes", [64, 1000, 20_000])
def test_arrays_in_chunks_come_back(bench, monkeypatch, chunk_nbytes):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", chunk_nbytes)
    tree = {"a": np.random.default_rng(0).standard_normal((30, 20, 10)).astype(np.float32), "b": {"c": np.arange(700)}}
    restored = serialization.msgpack_restore(trip(bench, serialization.msgpack_serialize(tree)))
    assert equal(restored, tree)
    assert "\na f32 [30,20,10] view\n" in bench.blob("HEAD:model.msgpack").decode()
