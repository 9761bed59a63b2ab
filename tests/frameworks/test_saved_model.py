"""SavedModels that TensorFlow writes, through a repository and back, and loaded by it again."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

PATTERNS = ("*.pb",)


def made(seed: int) -> tf.Module:
    """Return a module with a constant and a variable."""
    random = np.random.default_rng(seed)
    module = tf.Module()
    module.weight = tf.Variable(random.random((8, 3)).astype(np.float32))
    scale = random.random((5, 8)).astype(np.float32)

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.matmul(x, tf.constant(scale, name="scale")), module.weight)

    module.call = tf.function(call, input_signature=[tf.TensorSpec([None, 5], tf.float32)])
    return module


@pytest.mark.filterwarnings("ignore")
def test_models_come_back_and_run(bench):
    given = tf.constant(np.random.default_rng(9).random((2, 5)).astype(np.float32))
    for seed in range(3):
        module = made(seed)
        tf.saved_model.save(module, str(bench.root / f"model{seed}"), signatures=module.call)
        (bench.root / f"graph{seed}.pb").write_bytes(
            module.call.get_concrete_function().graph.as_graph_def().SerializeToString()
        )
        names = (f"model{seed}/saved_model.pb", f"graph{seed}.pb")
        before = [bench.read(name) for name in names]
        bench.lamella("add", *names)
        bench.lamella("commit", "-m", "models")
        for name, content, container in zip(names, before, ("tf-saved-model", "tf-graph"), strict=True):
            assert f"\nformat {container}\n".encode() in bench.blob(f"HEAD:{name}")
            assert b"scale f32 [5,8]" in bench.blob(f"HEAD:{name}")
            (bench.root / name).unlink()
            bench.lamella("checkout", "--", name)
            assert bench.read(name) == content
        loaded = tf.saved_model.load(str(bench.root / f"model{seed}"))
        assert loaded.call(given).numpy().tobytes() == module.call(given).numpy().tobytes()
