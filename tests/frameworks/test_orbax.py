"""Orbax's folders, and uncompressed Zarr, through a repository and back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
import tensorstore

import lamella
from tests.frameworks.trip import folder_round_trip

PATTERNS = ("saved/**",)


@pytest.mark.parametrize("use_ocdbt", [True, False])
@pytest.mark.parametrize("use_zarr3", [True, False])
def test_a_checkpoint_of_orbax_comes_back(bench, use_ocdbt, use_zarr3):
    values = np.random.default_rng(0).standard_normal((64, 300)).astype(np.float32)
    tree = {"layer": {"kernel": jnp.asarray(values), "bias": jnp.ones(300, jnp.bfloat16)}, "step": jnp.int32(7)}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt, use_zarr3=use_zarr3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(bench.root / "saved", tree)
        folder_round_trip(bench, "saved", "saved/_METADATA")
        restored = checkpointer.restore(bench.root / "saved")
    np.testing.assert_array_equal(restored["layer"]["kernel"], values)
    assert int(restored["step"]) == 7


@pytest.mark.parametrize("chunk_nbytes", [None, 4096])
@pytest.mark.parametrize("use_ocdbt", [True, False])
def test_lamella_reads_what_orbax_restores(bench, use_ocdbt, chunk_nbytes):
    values = np.random.default_rng(0).standard_normal((96, 320)).astype(np.float32)
    tree = {
        "layers": [{"kernel": jnp.asarray(values)}, {"kernel": jnp.asarray(values, jnp.bfloat16)}],
        "mask": jnp.arange(9) > 4,
        "zeros": jnp.zeros((64, 64)),
        "step": jnp.int32(7),
    }
    arguments = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=chunk_nbytes), tree)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt)) as checkpointer:
        checkpointer.save(bench.root / "saved", tree, save_args=arguments)
        restored = checkpointer.restore(bench.root / "saved")
    folder_round_trip(bench, "saved", "saved/_METADATA")
    listed, _ = jax.tree_util.tree_flatten_with_path(restored)
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(held) for path, held in listed}
    safetensors.numpy.save_file(expected, bench.root / "one.safetensors")
    for model in (bench.root / "saved", "HEAD:saved"):
        with lamella.load(model, repo=bench.root) as loaded:
            assert set(loaded) == set(expected)
            for name, held in expected.items():
                np.testing.assert_array_equal(loaded[name], held)
            with lamella.load(bench.root / "one.safetensors") as one:
                assert loaded.model_id == one.model_id


@pytest.mark.parametrize("order", ["C", "F"])
def test_chunks_of_zarr_are_tensors_and_come_back(bench, order):
    values = np.random.default_rng(0).standard_normal((300, 200)).astype(np.float32)
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(bench.root / "saved")},
        "metadata": {"chunks": [128, 200], "shape": [300, 200], "dtype": "<f4", "order": order, "compressor": None},
    }
    tensorstore.open(spec, create=True).result()[...].write(values).result()
    manifest = folder_round_trip(bench, "saved", "saved/1.0")
    assert "format zarr" in manifest
    assert '"1.0" f32 [128,200]' in manifest or "\n1.0 f32 [128,200]" in manifest
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), values)
