"""The tensors of an ONNX model, in whichever of its graphs and nodes they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_GRAPH_DEPTH, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.names import TensorNames
from lamella.formats.protobuf import RUN, VARINT, Field, WireReader, malformed

_CODES = (
    *("f32", "u8", "i8", "u16", "i16", "i32", "i64", None, "bool", "f16", "f64", "u32", "u64", "c64", "c128", "bf16"),
    *("f8_e4m3", "f8_e4m3fnuz", "f8_e5m2", "f8_e5m2fnuz", "u4", "i4", "f4_e2m1", "f8_e8m0", "u2", "i2"),
    *("f6_e2m3", "f6_e3m2"),
)
DTYPE_OF_CODE: dict[int, DType | None] = {
    0: None,
    **{code: DTYPES[name] if name else None for code, name in enumerate(_CODES, 1)},
}
"""The dtypes of TensorProto.DataType as of ONNX 1.23; None where elements are no numbers: undefined, strings."""

_EXTERNAL = 1


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """A tensor of a model: its bytes lie at `offset` of the file, or where the entries `external` say.

    The message that describes it begins at byte `start`.
    """

    spec: TensorSpec
    start: int
    offset: int
    external: Mapping[str, str] | None = None


def model_tensors(reader: WireReader) -> Iterator[ModelTensor]:
    """Yield the tensors of the model that a file is, in the order in which they stand there.

    Those whose elements are written as varints or in several runs, and those of strings, are none: no run of the file
    holds them. Of an initializer the name is its own, of the value of a Constant that of its output, of another
    attribute's tensor `node.attribute`; what lies in a graph within a node, in a function or in a training graph is
    called after these first. Raises FormatError: header-malformed; header-too-deep; header-too-large; dtype-unknown;
    too-many-tensors; file-truncated.
    """
    walk = _Walk(reader)
    trainings = 0
    for field in reader.fields(0, reader.nbytes):
        if field.number == 7:
            yield from walk.graph(field, "", 0)
        elif field.number == 20:
            for graph in reader.inside(field):
                if graph.number in (1, 2):
                    stage = "initialization" if graph.number == 1 else "algorithm"
                    yield from walk.graph(graph, f"training{trainings}.{stage}.", 0)
            trainings += 1
        elif field.number == 25:
            yield from walk.function(field)


class _Walk:
    """One way through all graphs of a model."""

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self._names = TensorNames()

    def graph(self, field: Field, prefix: str, depth: int) -> Iterator[ModelTensor]:
        """Yield the tensors of a GraphProto."""
        if depth > MAX_GRAPH_DEPTH:
            raise malformed(f"graphs nest too deep at byte {field.start}", kind="header-too-deep")
        for inner in self._reader.inside(field):
            if inner.number == 1:
                yield from self._node(inner, prefix, depth)
            elif inner.number == 5:
                yield from self._tensor(inner, prefix)
            elif inner.number == 15:
                yield from self._sparse(inner, prefix)

    def function(self, field: Field) -> Iterator[ModelTensor]:
        """Yield the tensors of a FunctionProto, which are called after it."""
        name = self._text(field, 1)
        for inner in self._reader.inside(field):
            if inner.number == 7:
                yield from self._node(inner, f"{name}.", 0)

    def _node(self, field: Field, prefix: str, depth: int) -> Iterator[ModelTensor]:
        holds = False
        first: dict[int, Field] = {}
        for inner in self._reader.inside(field):
            if inner.number == 5:
                holds = holds or any(one.number in _HOLDING for one in self._reader.inside(inner))
            elif inner.number in (2, 3, 4):
                first.setdefault(inner.number, inner)
        if not holds:
            return
        output, own, operator = (self._name(first[number]) if number in first else "" for number in (2, 3, 4))
        for attribute in self._reader.inside(field):
            if attribute.number == 5:
                name = self._text(attribute, 1)
                constant = operator == "Constant" and name in ("value", "sparse_value")
                label = output if constant else f"{own or output or operator}.{name}"
                yield from self._attribute(attribute, prefix + label, depth)

    def _attribute(self, field: Field, label: str, depth: int) -> Iterator[ModelTensor]:
        index = 0
        for held in self._reader.inside(field):
            if held.number in _SINGLE:
                yield from self._held(held, label, depth)
            elif held.number in _HOLDING:
                yield from self._held(held, f"{label}.{index}", depth)
                index += 1

    def _held(self, field: Field, label: str, depth: int) -> Iterator[ModelTensor]:
        """Yield what an attribute called `label` holds: a tensor, a sparse one, the tensors of a graph."""
        if field.number in (6, 11):
            yield from self.graph(field, f"{label}.", depth + 1)
        elif field.number in (5, 10):
            yield from self._tensor(field, label, named=True)
        else:
            yield from self._sparse(field, label, named=True)

    def _sparse(self, field: Field, label: str, *, named: bool = False) -> Iterator[ModelTensor]:
        parts = self._reader.last(field, 1, 2)
        if not named and 1 in parts:
            label += self._text(parts[1], 8)
        for number, what in ((1, "values"), (2, "indices")):
            if number in parts:
                yield from self._tensor(parts[number], f"{label}.{what}", named=True)

    def _tensor(self, field: Field, label: str, *, named: bool = False) -> Iterator[ModelTensor]:
        """Yield the tensor that a TensorProto is, called `label`, or by its own name behind that."""
        dims: list[int] = []
        last: dict[int, Field] = {}
        entries: list[Field] = []
        for inner in self._reader.inside(field):
            number = inner.number
            if number == 1:
                dims += self._reader.numbers(inner, MAX_DIMENSIONS)
                if len(dims) > MAX_DIMENSIONS:
                    raise malformed(f"a tensor has more than {MAX_DIMENSIONS} dimensions")
            elif number == 13:
                if len(entries) < _MOST_ENTRIES:
                    entries.append(inner)
            elif number in _RUNS and number in last:
                return
            elif number in _KNOWN:
                last[number] = inner
        dtype = self._dtype(last.get(2))
        if dtype is None or _VARINTS & last.keys():
            return
        if min(dims, default=0) < 0 or max(accumulate(dims, mul), default=0) > MAX_TENSOR_NBYTES // 16:
            raise malformed(f"the shape of the tensor at byte {field.start} is impossible")
        spec = TensorSpec(label if named or 8 not in last else label + self._name(last[8]), dtype, tuple(dims))
        external = 14 in last and last[14].value == _EXTERNAL
        offset = 0 if external else _offset(spec, last, field.start)
        if offset is not None:
            unique = self._names.take(spec.name, len(dims))
            spec = spec if unique == spec.name else replace(spec, name=unique)
            yield ModelTensor(spec, field.start, offset, self._entries(entries) if external else None)

    def _dtype(self, field: Field | None) -> DType | None:
        code = field.value if field is not None and field.wire == VARINT else 0
        if code not in DTYPE_OF_CODE:
            raise FormatError(
                f"element type {code} of ONNX is not known to this version",
                kind="dtype-unknown",
                hint="upgrade lamella if the file was made by a newer framework",
            )
        return DTYPE_OF_CODE[code]

    def _entries(self, fields: list[Field]) -> dict[str, str]:
        """Return the keys and values of `external_data`."""
        found: dict[str, str] = {}
        for field in fields:
            pair = self._reader.last(field, 1, 2)
            if len(pair) == 2:
                key, value = (self._reader.shown(pair[number], _LONGEST_ENTRY_NBYTES) for number in (1, 2))
                found[key] = value
        return found

    def _name(self, field: Field) -> str:
        return self._reader.text(field, MAX_NAME_NBYTES)

    def _text(self, message: Field, number: int) -> str:
        """Return the name that is the field of that number in a message, or nothing."""
        found = self._reader.last(message, number)
        return self._name(found[number]) if found else ""


_HOLDING = frozenset({5, 6, 10, 11, 22, 23})
_SINGLE = frozenset({5, 6, 22})
"""The fields of an AttributeProto that hold tensors or graphs, and those of them that hold one."""

_RUNS = frozenset({4, 9, 10})
_VARINTS = frozenset({3, 5, 6, 7, 11})
"""The fields of a TensorProto that hold elements as they lie in memory, and those that do not, or not all of them."""

_KNOWN = frozenset(range(2, 15))

_MOST_ENTRIES = 16
_LONGEST_ENTRY_NBYTES = 4096
"""Entries of `external_data` that are read, and how long their keys and values are; five are known, all short."""


def _offset(spec: TensorSpec, fields: Mapping[int, Field], start: int) -> int | None:
    """Return where the elements lie, `start` where there are none, and None where they are not in one run."""
    found = [fields[number] for number in _RUNS if number in fields]
    if not found and not spec.nbytes:
        return start
    typed = {"f32": 4, "c64": 4, "f64": 10, "c128": 10}.get(spec.dtype.name)
    if len(found) != 1 or found[0].wire != RUN or found[0].number not in (9, typed):
        return None
    nbytes = found[0].stop - found[0].start
    if nbytes != spec.nbytes:
        raise malformed(f"tensor {spec.name[:80]!r} has {nbytes} bytes, where its shape takes {spec.nbytes}")
    return found[0].start
