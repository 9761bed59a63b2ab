"""The nodes, functions and signatures of TensorFlow graphs, as they are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct

from lamella.core.graph_builder import attribute_text, float_text, too_large
from lamella.core.graphs import Extent
from lamella.core.limits import MAX_DIMENSIONS, MAX_GRAPH_NODES, MAX_GRAPH_PARTS, MAX_METADATA_NBYTES, MAX_NAME_NBYTES
from lamella.formats.protobuf import Field, WireReader, signed
from lamella.formats.tensorflow.types import DTYPE_OF_TYPE

_STRING = 7
_FLOAT = Struct("<f")
_ELEMENTS = frozenset(range(4, 20))
"""The fields of a TensorProto that hold elements."""

Type = tuple[str | None, tuple[Extent, ...] | None]
Outlet = tuple[str, str, int]
"""A value as a node names it: the node, the name of its output in a function, "" outside, and the number in that."""


@dataclass(slots=True)
class Operation:
    """A NodeDef: its inputs without those that only order it, its attributes, and the functions that these name."""

    name: str = ""
    op: str = ""
    inputs: list[Outlet] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    functions: list[tuple[str, str]] = field(default_factory=list)
    shape: tuple[Extent, ...] | None = None


@dataclass(slots=True)
class Function:
    """A FunctionDef, or the main graph: operations, the names of arguments, and the values that are returned."""

    operations: list[Operation] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    outputs: list[Outlet] = field(default_factory=list)


@dataclass(slots=True)
class Signature:
    """A SignatureDef: name, value and type of each input and output, by name."""

    inputs: list[tuple[str, Outlet, Type]] = field(default_factory=list)
    outputs: list[tuple[str, Outlet, Type]] = field(default_factory=list)


class NodeReader:
    """Reads nodes and functions; `tensors` are the names of tensors of the file by where their bytes begin.

    Every method raises FormatError: header-malformed; header-too-large; file-truncated.
    """

    def __init__(self, reader: WireReader, tensors: dict[int, str]) -> None:
        self._reader = reader
        self._tensors = tensors
        self._left = MAX_GRAPH_PARTS
        self._left_nodes = MAX_GRAPH_NODES

    def parts(self, message: Field) -> Iterator[Field]:
        """Yield the fields of a message that is kept in memory."""
        for one in self._reader.inside(message):
            self.charge(1)
            yield one

    def charge(self, count: int) -> None:
        """Count what is kept; raise FormatError (header-too-large) for more than is held in memory."""
        self._left -= count
        if self._left < 0:
            raise too_large()

    def function(self, message: Field) -> tuple[str, Function]:
        """Return name and contents of a FunctionDef."""
        found, name = Function(), ""
        returned: dict[str, Outlet] = {}
        order: list[str] = []
        for one in self.parts(message):
            if one.number == 1:
                for part in self.parts(one):
                    if part.number == 1:
                        name = self.text(part)
                    elif part.number in (2, 3):
                        argument = self._reader.last(part, 1).get(1)
                        (found.arguments if part.number == 2 else order).append(self.text(argument))
            elif one.number == 3:
                found.operations.append(self.operation(one))
            elif one.number == 4:
                pair = self._reader.last(one, 1, 2)
                returned[self.text(pair.get(1))] = outlet(self.text(pair.get(2)))
        found.outputs = [returned.get(one, ("", "", 0)) for one in order]
        return name, found

    def operation(self, message: Field) -> Operation:
        """Return a NodeDef."""
        self._left_nodes -= 1
        if self._left_nodes < 0:
            raise too_large()
        found = Operation()
        for one in self.parts(message):
            if one.number == 1:
                found.name = self.text(one)
            elif one.number == 2:
                found.op = self.text(one)
            elif one.number == 3:
                if not (name := self.text(one)).startswith("^"):
                    found.inputs.append(outlet(name))
            elif one.number == 5:
                pair = self._reader.last(one, 1, 2)
                if 2 in pair:
                    self._attribute(self.text(pair.get(1)), pair[2], found)
        return found

    def _attribute(self, key: str, value: Field, operation: Operation) -> None:
        """Take an AttrValue; those whose names begin with an underscore say nothing of what is computed."""
        held = list(self.parts(value))
        if key == "_output_shapes":
            shapes = [one for entry in held if entry.number == 1 for one in self.parts(entry) if one.number == 7]
            operation.shape = self.shape(shapes[0]) if shapes else None
        if key.startswith("_") or not held:
            return
        last = held[-1]
        if key == "shape" and last.number == 7 and operation.shape is None:
            operation.shape = self.shape(last)
        if last.number == 10:
            operation.functions.append((key, self.text(self._reader.last(last, 1).get(1))))
        elif last.number == 8:
            content = self._reader.last(last, 4).get(4)
            if content is not None and content.start in self._tensors:
                operation.parameters.append((key, self._tensors[content.start]))
            else:
                operation.attributes.append((key, self._constant(last)))
        else:
            operation.attributes.append((key, self._text_of(last)))

    def _text_of(self, value: Field) -> str:
        """Return a value as text: that of a field of an AttrValue, or of the fields in its list."""
        match value.number:
            case 1:
                texts = [self._text_of(one) for one in self.parts(value)]
                return attribute_text(f"[{', '.join(texts)}]")
            case 2:
                long = value.stop - value.start > MAX_METADATA_NBYTES
                shown = self._reader.shown(value, MAX_METADATA_NBYTES)
                return self._reader.digest_text([value]) if long or "\ufffd" in shown else attribute_text(shown)
            case 3:
                return ", ".join(map(str, self._reader.numbers(value, MAX_METADATA_NBYTES)))
            case 4:
                return self._float(value)
            case 5:
                return "true" if value.value else "false"
            case 6:
                codes = self._reader.numbers(value, MAX_METADATA_NBYTES)
                return ", ".join(dtype_of(code) or "?" for code in codes)
            case 7:
                shape = self.shape(value)
                return "?" if shape is None else attribute_text(list(shape))
        return self._reader.digest_text([value])

    def _float(self, value: Field) -> str:
        data = self._reader.encoded(value, MAX_METADATA_NBYTES)
        return ", ".join(float_text(one) for (one,) in _FLOAT.iter_unpack(data[: len(data) // 4 * 4]))

    def _constant(self, tensor: Field) -> str:
        """Return dtype, shape and the start of a digest of a constant that is no tensor of the file."""
        parts = self._reader.last(tensor, 1, 2)
        shape = self.shape(parts[2]) if 2 in parts else ()
        kind = f"{dtype_of(parts[1].value if 1 in parts else 0) or '?'}{list(shape or ())}"
        elements = [one for one in self.parts(tensor) if one.number in _ELEMENTS]
        return f"{kind} {self._reader.digest_text(elements)}"

    def signature(self, message: Field) -> Signature:
        """Return a SignatureDef."""
        found = Signature()
        for one in self.parts(message):
            if one.number in (1, 2):
                pair = self._reader.last(one, 1, 2)
                parts = self._reader.last(pair[2], 1, 2, 3) if 2 in pair else {}
                dtype = dtype_of(parts[2].value) if 2 in parts else None
                kind = dtype, self.shape(parts[3]) if 3 in parts else None
                entry = self.text(pair.get(1)), outlet(self.text(parts.get(1))), kind
                (found.inputs if one.number == 1 else found.outputs).append(entry)
        found.inputs.sort(key=lambda entry: entry[0])
        found.outputs.sort(key=lambda entry: entry[0])
        return found

    def bound_inputs(self, message: Field) -> tuple[str, list[int]]:
        """Return name and `bound_inputs` of a SavedConcreteFunction in its map."""
        pair = self._reader.last(message, 1, 2)
        found: list[int] = []
        for one in self.parts(pair[2]) if 2 in pair else ():
            if one.number == 2:
                numbers = self._reader.numbers(one, self._left)
                self.charge(len(numbers))
                found += numbers
        return self.text(pair.get(1)), found

    def shape(self, message: Field) -> tuple[Extent, ...] | None:
        """Return a shape, None of a rank that is not known."""
        found: list[Extent] = []
        for one in self.parts(message):
            if one.number == 3 and one.value:
                return None
            if one.number == 2:
                size = self._reader.last(one, 1).get(1)
                extent = signed(size.value) if size is not None else 0
                found.append(extent if extent >= 0 else None)
        return tuple(found) if len(found) <= MAX_DIMENSIONS else None

    def text(self, one: Field | None) -> str:
        """Return the name that a field is, "" for none."""
        return self._reader.shown(one, MAX_NAME_NBYTES) if one is not None else ""


def outlet(text: str) -> Outlet:
    """Return the value that ``NODE``, ``NODE:1`` or, in a function, ``NODE:output:1`` names."""
    name, *rest = text.split(":", 2)
    number = rest[-1] if rest else "0"
    return name, rest[0] if len(rest) == 2 else "", int(number) if number.isdecimal() and len(number) < 9 else 0


def dtype_of(code: int) -> str | None:
    """Return the name of a DataType, None of one that is no type of elements."""
    dtype = DTYPE_OF_TYPE.get(code)
    return dtype.name if dtype is not None else "string" if code == _STRING else None


def named(operations: Iterable[Operation]) -> dict[str, Operation]:
    """Return operations by name, the first of each."""
    found: dict[str, Operation] = {}
    for one in operations:
        found.setdefault(one.name, one)
    return found
