"""Exported files are loaded by the frameworks that they are for, and hold what the model held."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import ml_dtypes
import numpy
import pytest
import safetensors.torch
import torch

import lamella.torch
from lamella.core.numpy_dtypes import array_dtypes, numpy_dtype
from lamella.ops.load import load
from lamella.testing.models import model, spec, values
from tests.e2e.workbench import Workbench

SHAPES = ((), (3,), (2, 5), (0, 4), (2, 3, 4, 2))
NAMES = [name for name in array_dtypes() if name != "c128"]
SPECS = [spec(f"λ.{name}.{n}", *shape, dtype=name) for name in NAMES for n, shape in enumerate(SHAPES)]
MODEL = model(SPECS)


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


PATTERNS = ("*.safetensors",)


@pytest.fixture
def exported(bench: Workbench):
    """Return a function that exports the committed model and returns the path."""
    bench.commit("model.safetensors", MODEL)

    def run(name: str, *options: str) -> Path:
        bench.lamella("export", "HEAD:model.safetensors", name, *options)
        return bench.root / name

    return run


def test_torch_loads_every_dtype_and_shape(exported):
    path = exported("model.pt")
    for mapped in (False, True):
        state = torch.load(path, weights_only=True, mmap=mapped)
        assert list(state) == [one.name for one in SPECS]
        for one in SPECS:
            assert raw(state[one.name]) == values(one)
            assert tuple(state[one.name].shape) == one.shape
            assert str(state[one.name].dtype) == f"torch.{numpy_dtype(one.dtype.name).name}"


def test_safetensors_loads_every_dtype_and_shape(exported):
    state = safetensors.torch.load_file(exported("other.safetensors", "--rename", "λ=l"))
    assert {name: raw(tensor) for name, tensor in state.items()} == {
        one.name.replace("λ", "l"): values(one) for one in SPECS
    }


def test_shards_and_their_index_are_what_transformers_expects(exported, bench):
    exported("parts.safetensors", "--shard-size", "500")
    index = json.loads(bench.read("parts.safetensors.index.json"))
    assert index["metadata"]["total_size"] == sum(one.nbytes for one in SPECS)
    loaded = {file: safetensors.torch.load_file(bench.root / file) for file in set(index["weight_map"].values())}
    assert sum(map(len, loaded.values())) == len(SPECS)
    for one in SPECS:
        assert raw(loaded[index["weight_map"][one.name]][one.name]) == values(one)


def test_numpy_loads_what_it_has_dtypes_for(exported):
    own = ["bool", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f16", "f32", "f64", "c64"]
    with numpy.load(exported("model.npz", *(f"--select=λ.{name}.*" for name in own)), allow_pickle=False) as archive:
        wanted = [one for one in SPECS if one.dtype.name in own]
        assert archive.files == [one.name for one in wanted]
        for one in wanted:
            assert archive[one.name].shape == one.shape
            assert archive[one.name].tobytes() == values(one)
    array = numpy.load(exported("one.npy", "--select", "λ.f32.4"), allow_pickle=False)
    assert (array.shape, array.dtype) == ((2, 3, 4, 2), numpy.dtype("f4"))


def test_gguf_loads_its_dtypes(exported):
    own = ["f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64"]
    options = [f"--select=λ.{name}.[124]" for name in own]
    path = exported(
        "model.gguf", *options, "--metadata", "general.architecture=llama", "--metadata", "llama.block_count:u32=7"
    )
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["llama.block_count"].contents() == 7
    wanted = {one.name: one for one in SPECS if one.dtype.name in own and one.shape and one.nbytes}
    assert {tensor.name for tensor in reader.tensors} == set(wanted)
    for tensor in reader.tensors:
        assert tensor.data.tobytes() == values(wanted[tensor.name])
        assert tuple(reversed(tensor.shape.tolist())) == wanted[tensor.name].shape


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f8_e4m3", "f8_e5m2"])
def test_casts_round_as_torch_does(bench, dtype):
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 8
    bench.write("noise.safetensors", safetensors.torch.save({"x": noise}))
    bench.lamella("export", "noise.safetensors", "cast.pt", "--dtype", dtype)
    name = numpy_dtype(dtype).name
    assert raw(torch.load(bench.root / "cast.pt", weights_only=True)["x"]) == raw(noise.to(getattr(torch, name)))


def test_the_weights_are_the_same_in_every_container(exported, bench):
    chosen = [*("--select", "λ.f*"), *("--select", "λ.i*"), *("--select", "!λ.f8*")]
    exported("a.pt", *chosen)
    bench.lamella("export", "a.pt", "b.npz")
    bench.lamella("export", "b.npz", "c.safetensors")
    exported("d.safetensors", *chosen)
    assert bench.read("c.safetensors") == bench.read("d.safetensors")
    ids = set()
    for name in ("a.pt", "b.npz", "c.safetensors"):
        with load(bench.root / name) as tensors:
            ids.add(tensors.model_id)
    assert len(ids) == 1


def test_a_file_of_torch_is_exported(bench):
    tied = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": tied, "t": tied.T, "part": tied[1], "n": torch.tensor(3)}, bench.root / "odd.pt")
    bench.lamella("export", "odd.pt", "plain.safetensors")
    bench.lamella("export", "odd.pt", "plain.pt", "--select", "*")
    for state in (
        safetensors.torch.load_file(bench.root / "plain.safetensors"),
        torch.load(bench.root / "plain.pt", weights_only=True),
    ):
        assert {name: tensor.tolist() for name, tensor in state.items()} == {
            "a": tied.tolist(), "t": tied.T.tolist(), "part": tied[1].tolist(), "n": 3
        }  # fmt: skip


def test_a_module_is_saved_committed_and_loaded_again(bench, monkeypatch):
    monkeypatch.chdir(bench.root)
    torch.manual_seed(0)
    one, other = (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(torch.bfloat16) for _ in "ab")
    lamella.torch.save(one, "one.pt")
    assert all(torch.equal(a, b) for a, b in zip(
        torch.load("one.pt", weights_only=True).values(), one.state_dict().values(), strict=True
    ))  # fmt: skip
    lamella.torch.commit(one, "one.safetensors", "one")
    assert not lamella.torch.load_state_dict(other, "HEAD:one.safetensors").missing_keys
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    with pytest.raises(RuntimeError, match="Missing key"):
        lamella.torch.load_state_dict(torch.nn.Linear(3, 4), "HEAD:one.safetensors")


def test_tensors_share_memory_with_arrays():
    array = numpy.arange(4, dtype=numpy.float32)
    tensor = lamella.torch.to_torch({"a": array})["a"]
    tensor[0] = 9
    assert array[0] == 9
    array.setflags(write=False)
    assert lamella.torch.to_torch({"a": array})["a"].tolist() == [9, 1, 2, 3]
    shared = lamella.torch.from_torch({"a": tensor})["a"]
    shared[1] = 8
    assert tensor[1] == 8


@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_goes_there_and_back(name):
    array = numpy.frombuffer(bytes(range(64)), numpy_dtype("u8")).view(numpy_dtype(name)).reshape(2, -1)
    if name == "bool":
        array = numpy.zeros((2, 4), bool)
    for given in (array, array[:, :0], array[:, 0], array[0, 0]):
        tensor = lamella.torch.to_torch({"a": given})["a"]
        back = lamella.torch.from_torch({"a": tensor})["a"]
        assert (back.dtype, back.shape, back.tobytes()) == (given.dtype, given.shape, given.tobytes())


def test_what_is_no_dense_tensor_is_refused():
    for value in (3, torch.eye(3).to_sparse(), torch.empty(2, device="meta")):
        with pytest.raises(ValueError, match="'a' is"):
            lamella.torch.from_torch({"a": value})


def test_views_and_conjugates_are_written_as_they_look():
    tensor = torch.complex(torch.arange(6.0), torch.ones(6)).reshape(2, 3).conj().T
    assert lamella.torch.from_torch({"a": tensor})["a"].tolist() == tensor.tolist()
    assert ml_dtypes.bfloat16 == lamella.torch.from_torch({"a": torch.ones(2, dtype=torch.bfloat16)})["a"].dtype
