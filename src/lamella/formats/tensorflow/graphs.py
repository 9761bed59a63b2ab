"""The TensorFlow containers of graphs: `saved_model.pb` and frozen graphs, whose constants are tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lamella.core.errors import FormatError
from lamella.core.graphs import Graph
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.protobuf import RUN, VARINT, FileHead, WireReader
from lamella.formats.tensorflow.graph import frozen_graph, saved_model_graph
from lamella.formats.tensorflow.graph_metadata import graph_metadata, saved_model_metadata
from lamella.formats.tensorflow.graph_tensors import GraphTensors

_META_GRAPH_FIELDS = range(1, 8)
_NODE_WIRES = dict.fromkeys(range(1, 8), RUN)
_GRAPH_WIRES = {1: RUN, 2: RUN, 3: VARINT, 4: RUN, 5: RUN}
_NAMES = {1: re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z"), 2: re.compile(rb"[A-Z_][A-Za-z0-9_>]*\Z")}
"""The fields of MetaGraphDef, NodeDef and GraphDef, and what a node and an operator are called."""


class SavedModelFormat:
    """Files of one SavedModel with one or more graphs; its variables lie in a checkpoint beside it.

    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto specifies it.
    """

    name = "tf-saved-model"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with version 1 of the schema and a MetaGraphDef."""
        if head[:3] != b"\x08\x01\x12":
            return False
        reader = WireReader(FileHead(head, nbytes))
        try:
            _, graph = (field for field, _ in zip(reader.fields(0, nbytes), range(2), strict=False))
            first = next(reader.inside(graph), None)
        except (FormatError, ValueError):
            return False
        return first is not None and first.wire == RUN and first.number in _META_GRAPH_FIELDS

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such model."""
        reader = WireReader(file)
        return _arranged(self.name, reader, GraphTensors(reader).of_saved_model())

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return versions, tags and signatures, and how often each operator occurs."""
        return saved_model_metadata(WireReader(file))

    def graph(self, file: RandomAccess) -> Graph | None:
        """Return what the serving signature runs, functions in the place of their calls; None without a signature."""
        return saved_model_graph(WireReader(file))


class FrozenGraphFormat:
    """Files of one GraphDef, such as frozen graphs, whose variables have become constants.

    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/graph.proto specifies it.
    """

    name = "tf-graph"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with a node that has a name and an operator, and go on with fields of a GraphDef."""
        if head[:1] != b"\x0a":
            return False
        reader, seen = WireReader(FileHead(head, nbytes)), False
        try:
            for field in reader.fields(0, nbytes):
                if field.wire != _GRAPH_WIRES.get(field.number):
                    return False
                if field.number == 1 and not seen:
                    texts = {}
                    for inner in reader.inside(field):
                        if inner.wire != _NODE_WIRES.get(inner.number):
                            return False
                        texts[inner.number] = head[inner.start : inner.stop]
                        if inner.number == 2:
                            break
                    seen = all(name.match(texts.get(number, b"")) for number, name in _NAMES.items())
                    if not seen:
                        return False
        except FormatError:
            return seen
        return seen

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such graph."""
        reader = WireReader(file)
        return _arranged(self.name, reader, GraphTensors(reader).of_graph(reader.fields(0, reader.nbytes), ""))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the version, and how often each operator occurs."""
        return graph_metadata(WireReader(file))

    def graph(self, file: RandomAccess) -> Graph:
        """Return the nodes that lead to those that no other takes."""
        return frozen_graph(WireReader(file))


def _arranged(name: str, reader: WireReader, found: Iterable[tuple[TensorSpec, int]]) -> Layout:
    layout = arrange(name, reader.nbytes, [TensorSpan(spec, offset) for spec, offset in found])
    return replace(layout, apart=reader.looked.are_apart(layout.tensors))
