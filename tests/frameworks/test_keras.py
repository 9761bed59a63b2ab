"""Keras models in all of its files, through a repository and back into Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tests.frameworks.trip import folder_round_trip

PATTERNS = ("*.keras", "*.h5")


@pytest.fixture
def bench(bench):
    (bench.root / "models").mkdir()
    return bench


def network(*, inserted: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    given = keras.Input((8, 16), name="given")
    found = layers.MultiHeadAttention(2, 8, name="attend")(given, given)
    found = layers.LayerNormalization(name="norm")(found)
    found = layers.Bidirectional(layers.GRU(8), name="both")(found)
    if inserted:
        found = layers.Dense(16, name="extra")(found)
    found = layers.Dense(12, name="dense")(found)
    return keras.Model(given, layers.Dense(2, name="last")(layers.Dropout(0.1, name="drop")(found)), name="network")


def trained(model: keras.Model) -> keras.Model:
    model.compile("adam", keras.losses.MeanSquaredError())
    generator = np.random.default_rng(0)
    model.fit(generator.standard_normal((16, 8, 16)), generator.standard_normal((16, 2)), verbose=0)
    return model


def names(manifest: str) -> set[str]:
    """Return the names of the tensors that a manifest lists."""
    return {line.split(" ")[0] for line in manifest.splitlines() if line.endswith("]") and not line.startswith(" ")}


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_a_model_comes_back_and_answers_alike(bench, file):
    model = trained(network())
    asked = np.random.default_rng(1).standard_normal((5, 8, 16)).astype("float32")
    expected = model.predict(asked, verbose=0)
    model.save(bench.root / "models" / file)
    folder_round_trip(bench, "models", f"models/{file}")
    again = keras.saving.load_model(bench.root / "models" / file)
    np.testing.assert_array_equal(again.predict(asked, verbose=0), expected)


def test_an_optimizer_comes_back(bench):
    model = trained(network())
    model.save(bench.root / "models" / "model.keras")
    manifest = folder_round_trip(bench, "models", "models/model.keras")
    assert {"optimizer/dense/kernel/momentum", "optimizer/attend/key_dense/bias/velocity"} <= names(manifest)
    again = keras.saving.load_model(bench.root / "models" / "model.keras")
    for one, two in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_come_back(bench):
    model = trained(network())
    model.save_weights(bench.root / "models" / "model.weights.h5")
    manifest = folder_round_trip(bench, "models", "models/model.weights.h5")
    assert {"dense/kernel", "attend/query_dense/bias", "both/forward_layer/cell/kernel"} <= names(manifest)
    again = network()
    again.load_weights(bench.root / "models" / "model.weights.h5", skip_mismatch=True)
    for one, two in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_layer_that_is_inserted_moves_no_other_name(bench):
    network().save(bench.root / "models" / "model.keras")
    before = names(folder_round_trip(bench, "models", "models/model.keras"))
    network(inserted=True).save(bench.root / "models" / "model.keras")
    after = names(folder_round_trip(bench, "models", "models/model.keras"))
    assert after - before == {"extra/kernel", "extra/bias"}
    assert before <= after
