"""Weights go into a copy of an ONNX file, which the onnx package loads and which holds what it did beside them."""

from __future__ import annotations

import numpy
import onnx

from lamella.ops.export import export
from lamella.ops.export_values import ExportOptions
from lamella.ops.load import load
from lamella.repo.arraymodel import ArrayModel


def test_the_weights_of_a_program_are_replaced(tmp_path):
    before, after = numpy.zeros((2, 3), "f4"), numpy.arange(6, dtype="f4").reshape(2, 3)
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", inputs, outputs, [onnx.numpy_helper.from_array(before, "w")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "program.onnx")
    with load(tmp_path / "program.onnx") as program:
        assert program.format == "onnx"
    report = export(ArrayModel({"w": after}), tmp_path / "out.onnx", ExportOptions(template=tmp_path / "program.onnx"))
    assert report.tensors == 1
    written = onnx.load(tmp_path / "out.onnx")
    assert onnx.numpy_helper.to_array(written.graph.initializer[0]).tobytes() == after.tobytes()
    written.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(before, "w"))
    assert written == onnx.load(tmp_path / "program.onnx")
