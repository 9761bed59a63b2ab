"""The messages of an ONNX graph that are kept in memory: nodes with their attributes, and types of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lamella.core.graph_builder import too_large
from lamella.core.limits import MAX_GRAPH_NODES, MAX_GRAPH_PARTS, MAX_NAME_NBYTES
from lamella.formats.onnx.values import UNKNOWN, Type, read_attribute, read_type
from lamella.formats.protobuf import Field, WireReader

_HOLDING = frozenset({5, 6, 10, 11, 22, 23})
"""The fields of an AttributeProto that hold tensors or graphs."""

_SCOPES = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'")
_REPEATED_NBYTES = 256


@dataclass(slots=True)
class Operation:
    """A node as it stands in the file. `holding` are the attributes that hold tensors or graphs, and these."""

    name: str = ""
    op: str = ""
    module: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    holding: list[tuple[str, list[Field]]] = field(default_factory=list)


class MessageReader:
    """Reads messages one by one, MAX_GRAPH_NODES nodes and MAX_GRAPH_PARTS fields, and no more.

    Every method raises FormatError: header-malformed; header-too-large; file-truncated.
    """

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self._attributes: dict[bytes, tuple[str, str]] = {}
        self._types: dict[bytes, Type] = {}
        self._left = MAX_GRAPH_PARTS
        self._left_nodes = MAX_GRAPH_NODES

    def parts(self, message: Field) -> Iterator[Field]:
        """Yield the fields of a message that is kept in memory."""
        for one in self._reader.inside(message):
            self._left -= 1
            if self._left < 0:
                raise too_large()
            yield one

    def text(self, one: Field) -> str:
        """Return the name that a field is."""
        return self._reader.shown(one, MAX_NAME_NBYTES)

    def value_info(self, message: Field) -> tuple[str, Type]:
        """Return name and type of a ValueInfoProto."""
        parts = self._reader.last(message, 1, 2)
        name = self.text(parts[1]) if 1 in parts else ""
        return name, self._type(parts[2]) if 2 in parts else UNKNOWN

    def _type(self, message: Field) -> Type:
        """Return the type that a TypeProto is; most values of a graph have one of a few types."""
        if message.stop - message.start > _REPEATED_NBYTES:
            return read_type(self._reader, message)
        data = self._reader.payload(message, _REPEATED_NBYTES)
        if data not in self._types:
            self._types[data] = read_type(self._reader, message)
        return self._types[data]

    def operation(self, message: Field) -> Operation:
        """Return a NodeProto."""
        self._left_nodes -= 1
        if self._left_nodes < 0:
            raise too_large()
        found = Operation()
        texts: dict[int, str] = {}
        for one in self.parts(message):
            match one.number:
                case 1:
                    found.inputs.append(self.text(one))
                case 2:
                    found.outputs.append(self.text(one))
                case 3 | 4 | 7 | 8:
                    texts[one.number] = self.text(one)
                case 5:
                    self._read_attribute(one, found)
                case 9:
                    found.module = self._scope_text(one) or found.module
        found.name, found.op, domain = texts.get(3, ""), texts.get(4, ""), texts.get(7, "")
        if not found.module and "/" in found.name:
            found.module = ".".join(part for part in found.name.split("/")[:-1] if part)
        if domain not in ("", "ai.onnx"):
            found.op = f"{domain}.{found.op}"
        if 8 in texts:
            found.op += f":{texts[8]}"
        return found

    def _read_attribute(self, message: Field, operation: Operation) -> None:
        """Take an AttributeProto; most of those without tensors and graphs are one of a few."""
        data = self._reader.peek(message, _REPEATED_NBYTES)
        known = None if data is None else self._attributes.get(data)
        if known is None:
            parts = list(self.parts(message))
            key = next((self.text(one) for one in parts if one.number == 1), "")
            if held := [one for one in parts if one.number in _HOLDING]:
                operation.holding.append((key, held))
                return
            known = key, read_attribute(self._reader, parts)
            if data is not None:
                self._attributes[data] = known
        operation.attributes.append(known)

    def _scope_text(self, message: Field) -> str:
        """Return the module that an entry of `metadata_props` tells: the one before the node itself in PyTorch's."""
        pair = self._reader.last(message, 1, 2)
        if len(pair) < 2 or self._reader.shown(pair[1], MAX_NAME_NBYTES) != _SCOPES:
            return ""
        scopes = _QUOTED.findall(self._reader.shown(pair[2], MAX_NAME_NBYTES))
        return scopes[-2] if len(scopes) > 1 else ""
