"""TensorFlow's checkpoints, through a repository and back into TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.frameworks.trip import folder_round_trip

PATTERNS = ("*.data-*",)


def network(seed: int) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(seed)
    layers = [tf.keras.layers.Dense(300, activation="relu"), tf.keras.layers.Dense(10)]
    model = tf.keras.Sequential([tf.keras.Input((64,)), *layers])
    model.compile("adam", "mse")
    return model


def train(model: tf.keras.Model) -> None:
    generator = np.random.default_rng(0)
    model.fit(generator.standard_normal((32, 64)), generator.standard_normal((32, 10)), verbose=0)


def test_a_checkpoint_with_its_optimizer_comes_back(bench):
    model = network(0)
    train(model)
    saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    saved.write(str(bench.root / "run" / "ckpt"))
    manifest = folder_round_trip(bench, "run", "run/ckpt.data-00000-of-00001")
    assert "format tf-checkpoint" in manifest
    assert manifest.count(" f32 [64,300]\n") == 3  # a kernel and its two moments
    other = network(1)
    train(other)
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).read(
        str(bench.root / "run" / "ckpt")
    ).assert_existing_objects_matched()
    for one, two in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_saved_model_comes_back_and_answers_alike(bench):
    model = network(0)
    asked = tf.constant(np.random.default_rng(1).standard_normal((5, 64)), tf.float32)
    expected = model(asked)
    model.export(str(bench.root / "saved"), verbose=False)
    manifest = folder_round_trip(bench, "saved", "saved/variables/variables.data-00000-of-00001")
    assert "format tf-checkpoint" in manifest
    restored = tf.saved_model.load(str(bench.root / "saved"))
    np.testing.assert_array_equal(restored.serve(asked), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_variables_in_slices_come_back(bench, axis):
    values = np.random.default_rng(2).standard_normal((200, 400)).astype(np.float32)
    cut = [70, 30, 100] if axis == 0 else [150, 200, 50]
    pieces = np.split(values, np.cumsum(cut)[:-1], axis)
    starts = np.cumsum([0, *cut[:-1]])
    specs = [
        f"200 400 {start},{n}:0,400" if axis == 0 else f"200 400 0,200:{start},{n}"
        for start, n in zip(starts, cut, strict=True)
    ]
    prefix = str(bench.root / "model")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["w"] * 3, shape_and_slices=specs, tensors=pieces)
    manifest = folder_round_trip(bench, ".", "model.data-00000-of-00001")
    assert "\nw f32 [200,400]" in manifest
    (found,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32])
    np.testing.assert_array_equal(found, values)
