"""The ONNX container: a protocol buffer whose tensors stand in its graphs, or in files beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from lamella.core.errors import FormatError
from lamella.core.graphs import Graph
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.onnx.graph import model_graph
from lamella.formats.onnx.metadata import model_metadata
from lamella.formats.onnx.tensors import model_tensors
from lamella.formats.protobuf import RUN, VARINT, FileHead, WireReader

_VERSIONS = range(3, 21)
"""Versions of the representation: 1 and 2 came before the first release, 14 is the present one."""

_WIRES = {1: VARINT, 5: VARINT, **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), RUN)}
_TEXTS = (2, 3, 4, 6)
_MESSAGES = {7: dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 15, 16), RUN), 8: {1: RUN, 2: VARINT}}
"""The fields of ModelProto, which of them are text, and those of the graph and of an opset, which are messages."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class OnnxFormat:
    """Files of one ModelProto, as https://github.com/onnx/onnx/blob/main/onnx/onnx.proto specifies it.

    Tensors whose bytes lie in files beside the model are those files'.
    """

    name = "onnx"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with a version and other fields of a ModelProto, among them a graph or an opset."""
        if head[:1] != b"\x08":
            return False
        reader, seen = WireReader(FileHead(head, nbytes)), False
        try:
            for field in reader.fields(0, nbytes):
                if field.wire != _WIRES.get(field.number) or (field.number == 1 and field.value not in _VERSIONS):
                    return False
                if field.number in _TEXTS and _CONTROL.search(head[field.start : field.stop]):
                    return False
                if field.number in _MESSAGES:
                    first = next(reader.inside(field), None)
                    if first is not None and first.wire != _MESSAGES[field.number].get(first.number):
                        return False
                    seen = True
        except FormatError:
            return seen
        return seen

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such model."""
        reader = WireReader(file)
        spans = [TensorSpan(one.spec, one.offset) for one in model_tensors(reader) if one.external is None]
        layout = arrange(self.name, file.nbytes, spans)
        return replace(layout, apart=reader.looked.are_apart(layout.tensors))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return versions, producer, opsets, inputs and outputs, how often each operator occurs, and the like."""
        return model_metadata(WireReader(file))

    def graph(self, file: RandomAccess) -> Graph:
        """Return the nodes of all graphs, those of graphs within nodes and of functions under prefixed names."""
        return model_graph(WireReader(file))
