"""Models that the reference library writes, through a repository and back, and loaded by it again."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from lamella.core.dtypes import DTYPES
from tests.e2e.workbench import Workbench
from tests.formats.wire import CODES

SIZES = [(3, 5), (64, 64), (1,), (0, 4), (257, 129)]


def network(seed: int, dtype: type = np.float32) -> onnx.ModelProto:
    """Return a model with initializers, a constant and a branch."""
    random = np.random.default_rng(seed)
    tensors = [
        numpy_helper.from_array(random.standard_normal(shape).astype(dtype), f"layer.{number}.weight")
        for number, shape in enumerate(SIZES)
    ]
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(random.standard_normal(2).astype(np.float32), "w")],
    )
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.arange(5))),
        helper.make_node("If", ["condition"], ["y"], name="choice", then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("condition", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        tensors,
    )
    return helper.make_model(graph, producer_name="test", opset_imports=[helper.make_opsetid("", 17)])


PATTERNS = ("*.onnx", "*.data", "*.bin")


def round_trip(bench: Workbench, *paths: str) -> None:
    """Add and commit files, remove them, check them out, and compare."""
    before = {path: bench.read(path) for path in paths}
    bench.lamella("add", *paths)
    bench.lamella("commit", "-m", "models")
    for path in paths:
        (bench.root / path).unlink()
    bench.lamella("checkout", "--", *paths)
    assert {path: bench.read(path) for path in paths} == before


def manifest_format(bench: Workbench, path: str) -> str:
    lines = bench.blob(f"HEAD:{path}").decode().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("format "))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_a_model_in_one_file(bench, dtype):
    for seed in range(3):
        bench.write(f"model{seed}.onnx", network(seed, dtype).SerializeToString())
    round_trip(bench, *(f"model{seed}.onnx" for seed in range(3)))
    for seed in range(3):
        assert manifest_format(bench, f"model{seed}.onnx") == "onnx"
        loaded = onnx.load(bench.root / f"model{seed}.onnx")
        checker.check_model(loaded)
        assert loaded == network(seed, dtype)


@pytest.mark.parametrize("one_file", [True, False])
def test_a_model_with_external_data(bench, one_file):
    onnx.save_model(
        network(7),
        bench.root / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="model.onnx.data" if one_file else None,
        size_threshold=0,
        convert_attribute=True,
    )
    names = sorted(path.name for path in bench.root.iterdir() if path.is_file() and not path.name.startswith("."))
    bench.lamella("track", *names)
    round_trip(bench, *names)
    formats = {name: manifest_format(bench, name) for name in names if (bench.root / name).stat().st_size}
    assert formats.pop("model.onnx") == "onnx"
    assert set(formats.values()) == {"onnx-data"}
    loaded = onnx.load(bench.root / "model.onnx")
    for before, after in zip(network(7).graph.initializer, loaded.graph.initializer, strict=True):
        assert numpy_helper.to_array(before).tobytes() == numpy_helper.to_array(after).tobytes()


def test_every_element_type(bench):
    random = np.random.default_rng(0)
    tensors = [
        helper.make_tensor(name, code, [8], random.integers(0, 2, DTYPES[name].bits, np.uint8).tobytes(), raw=True)
        for name, code in CODES.items()
    ]
    graph = helper.make_graph([], "types", [], [], tensors)
    bench.write("types.onnx", helper.make_model(graph).SerializeToString())
    round_trip(bench, "types.onnx")
    assert set(CODES.values()) == set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING}
    assert manifest_format(bench, "types.onnx") == "onnx"
