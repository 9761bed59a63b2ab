"""The constants of TensorFlow graphs, in whichever of their nodes and functions they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import mul

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.names import TensorNames
from lamella.formats.protobuf import RUN, VARINT, Field, WireReader, malformed, signed
from lamella.formats.tensorflow.types import DTYPE_OF_TYPE

Found = tuple[TensorSpec, int]
"""A tensor, and where in the file its bytes lie."""


class GraphTensors:
    """One way through the graphs of a file, which yields the tensors that have `tensor_content`.

    The tensor of a Const node has the node's name, that of another attribute `NODE/ATTRIBUTE`; before those of a
    function stands its name and a slash. Raises FormatError: header-malformed; header-too-large; dtype-unknown;
    too-many-tensors; file-truncated.
    """

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self._names = TensorNames()

    def of_saved_model(self) -> Iterator[Found]:
        """Yield the tensors of a SavedModel, those of its second graph as `graph1/...`."""
        number = 0
        for field in self._reader.fields(0, self._reader.nbytes):
            if field.number == 2:
                for inner in self._reader.inside(field):
                    if inner.number == 2:
                        yield from self.of_graph(self._reader.inside(inner), f"graph{number}/" if number else "")
                number += 1

    def of_graph(self, fields: Iterable[Field], prefix: str) -> Iterator[Found]:
        """Yield the tensors of a GraphDef."""
        for field in fields:
            if field.number == 1:
                yield from self._node(field, prefix)
            elif field.number == 2:
                for function in self._reader.inside(field):
                    if function.number == 1:
                        yield from self._function(function, prefix)

    def _function(self, field: Field, prefix: str) -> Iterator[Found]:
        signature = self._reader.last(field, 1).get(1)
        name = self._name(self._reader.last(signature, 1).get(1)) if signature is not None else ""
        for inner in self._reader.inside(field):
            if inner.number == 3:
                yield from self._node(inner, f"{prefix}{name}/")

    def _node(self, field: Field, prefix: str) -> Iterator[Found]:
        head: dict[int, Field] | None = None
        for pair in self._reader.inside(field):
            if pair.number == 5:
                value = self._reader.last(pair, 2).get(2)
                tensor = self._reader.last(value, 8).get(8) if value is not None else None
                if tensor is not None:
                    head = self._reader.last(field, 1, 2) if head is None else head
                    name, operator = (self._name(head.get(number)) for number in (1, 2))
                    attribute = self._name(self._reader.last(pair, 1).get(1))
                    constant = operator == "Const" and attribute == "value"
                    yield from self._tensor(tensor, prefix + (name if constant else f"{name}/{attribute}"))

    def _tensor(self, field: Field, name: str) -> Iterator[Found]:
        parts = self._reader.last(field, 1, 2, 4)
        content = parts.get(4)
        code = parts[1].value if 1 in parts and parts[1].wire == VARINT else 0
        if content is None or content.wire != RUN:
            return
        if code not in DTYPE_OF_TYPE:
            raise FormatError(
                f"element type {code} of TensorFlow is not known to this version",
                kind="dtype-unknown",
                hint="upgrade lamella if the file was made by a newer framework",
            )
        dtype = DTYPE_OF_TYPE[code]
        shape = tuple(self._extents(parts[2])) if 2 in parts else ()
        if min(shape, default=0) < 0 or max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES // 16:
            raise malformed(f"the shape of tensor {name[:80]!r} is impossible")
        nbytes = content.stop - content.start
        if dtype is not None and nbytes:
            if nbytes != dtype.nbytes(shape):
                raise malformed(f"tensor {name[:80]!r} has {nbytes} bytes, where its shape takes {dtype.nbytes(shape)}")
            yield TensorSpec(self._names.take(name, len(shape)), dtype, shape), content.start

    def _extents(self, shape: Field) -> list[int]:
        found: list[int] = []
        for dimension in self._reader.inside(shape):
            if dimension.number == 2:
                size = self._reader.last(dimension, 1).get(1)
                found.append(signed(size.value) if size is not None else 0)
                if len(found) > MAX_DIMENSIONS:
                    raise malformed(f"a tensor has more than {MAX_DIMENSIONS} dimensions")
        return found

    def _name(self, field: Field | None) -> str:
        return self._reader.text(field, MAX_NAME_NBYTES) if field is not None else ""
