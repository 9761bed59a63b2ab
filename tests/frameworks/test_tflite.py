"""Models that TensorFlow Lite's converter writes, through a repository and back, and run by its interpreter again."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.e2e.workbench import Workbench


def converted(seed: int, optimised: bool) -> bytes:
    """Return a network with random weights."""
    tf.keras.utils.set_random_seed(seed)
    network = tf.keras.Sequential(
        [
            tf.keras.Input((16, 16, 3), batch_size=1),
            tf.keras.layers.Conv2D(8, 3, activation="relu"),
            tf.keras.layers.DepthwiseConv2D(3),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10),
        ]
    )
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if optimised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def answer(content: bytes) -> bytes:
    """Return what a model says to a fixed input."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    given = np.random.default_rng(0).random((1, 16, 16, 3)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimised", [False, True])
def test_models_come_back_and_run(tmp_path, optimised):
    bench = Workbench(tmp_path / "repository")
    bench.root.mkdir()
    bench.git("init", "--quiet")
    bench.git("config", "user.name", "Nobody")
    bench.git("config", "user.email", "nobody@example.org")
    bench.lamella("init")
    bench.lamella("track", "*.tflite")
    contents = {f"model{seed}.tflite": converted(seed, optimised) for seed in range(2)}
    for name, content in contents.items():
        bench.write(name, content)
    bench.lamella("add", *contents)
    bench.lamella("commit", "-m", "models")
    for name, content in contents.items():
        assert b"\nformat tflite\n" in bench.blob(f"HEAD:{name}")
        (bench.root / name).unlink()
        bench.lamella("checkout", "--", name)
        assert bench.read(name) == content
        assert answer(bench.read(name)) == answer(content)
