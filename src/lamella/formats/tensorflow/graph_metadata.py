"""What TensorFlow graphs say beside their tensors: versions, signatures, and how often each operator occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from lamella.core.limits import MAX_DIMENSIONS, MAX_METADATA_KEYS, MAX_METADATA_NBYTES
from lamella.formats.protobuf import VARINT, Field, WireReader, signed
from lamella.formats.tensorflow.types import DTYPE_OF_TYPE

_KEY_NBYTES = 256
_TAGS = 64


def saved_model_metadata(reader: WireReader) -> dict[str, str]:
    """Return what a SavedModel says of itself, by key; raise FormatError as the format's `layout` does.

    `input.SIGNATURE.NAME` and `output.SIGNATURE.NAME` are types as in `f32[?,28,28]`, `nodes.OPERATOR` counts the
    nodes of all graphs and functions.
    """
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for field in reader.fields(0, reader.nbytes):
        if field.number == 2:
            for inner in reader.inside(field):
                if inner.number == 1:
                    _add(found, _information(reader, inner))
                elif inner.number == 2:
                    _count(counts, reader, reader.inside(inner))
                elif inner.number == 5:
                    _add(found, _signature(reader, inner))
    _add(found, _counted(counts))
    return found


def graph_metadata(reader: WireReader) -> dict[str, str]:
    """Return what a GraphDef says of itself, by key; raise FormatError as the format's `layout` does."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    _count(counts, reader, reader.fields(0, reader.nbytes))
    for field in reader.fields(0, reader.nbytes):
        if field.number == 4:
            producer = reader.last(field, 1).get(1)
            found["version"] = str(signed(producer.value)) if producer is not None else "0"
    _add(found, _counted(counts))
    return found


def _add(found: dict[str, str], pairs: Iterable[tuple[str, str]]) -> None:
    for key, text in pairs:
        if len(found) < MAX_METADATA_KEYS:
            found[key] = text[:MAX_METADATA_NBYTES]


def _information(reader: WireReader, field: Field) -> Iterator[tuple[str, str]]:
    tags: list[str] = []
    for inner in reader.inside(field):
        if inner.number == 4 and len(tags) < _TAGS:
            tags.append(reader.shown(inner, _KEY_NBYTES))
        elif inner.number == 5:
            yield "tensorflow_version", reader.shown(inner, _KEY_NBYTES)
    if tags:
        yield "tags", ", ".join(tags)


def _signature(reader: WireReader, field: Field) -> Iterator[tuple[str, str]]:
    pair = reader.last(field, 1, 2)
    key = reader.shown(pair[1], _KEY_NBYTES) if 1 in pair else ""
    if 2 in pair:
        for end in reader.inside(pair[2]):
            if end.number in (1, 2):
                parts = reader.last(end, 1, 2)
                name = reader.shown(parts[1], _KEY_NBYTES) if 1 in parts else ""
                kind = "input" if end.number == 1 else "output"
                yield f"{kind}.{key}.{name}", _type(reader, parts[2]) if 2 in parts else "?"


def _type(reader: WireReader, field: Field) -> str:
    parts = reader.last(field, 2, 3)
    code = parts[2].value if 2 in parts and parts[2].wire == VARINT else 0
    dtype = DTYPE_OF_TYPE.get(code)
    name = dtype.name if dtype is not None else "string" if code == 7 else "?"
    extents: list[str] = []
    for dimension in reader.inside(parts[3]) if 3 in parts else ():
        if dimension.number == 2 and len(extents) < MAX_DIMENSIONS:
            size = reader.last(dimension, 1).get(1)
            extent = signed(size.value) if size is not None else 0
            extents.append(str(extent) if extent >= 0 else "?")
    return f"{name}[{','.join(extents)}]"


def _count(counts: Counter[str], reader: WireReader, graph: Iterable[Field]) -> None:
    """Count the nodes of a graph and of its functions by operator."""
    for field in graph:
        if field.number == 1:
            _count_node(counts, reader, field)
        elif field.number == 2:
            for function in reader.inside(field):
                if function.number == 1:
                    for node in reader.inside(function):
                        if node.number == 3:
                            _count_node(counts, reader, node)


def _count_node(counts: Counter[str], reader: WireReader, node: Field) -> None:
    operator = reader.last(node, 2).get(2)
    key = reader.shown(operator, _KEY_NBYTES) if operator is not None else "?"
    if key in counts or len(counts) < MAX_METADATA_KEYS:
        counts[key] += 1


def _counted(counts: Counter[str]) -> Iterator[tuple[str, str]]:
    return ((f"nodes.{name}", str(number)) for name, number in sorted(counts.items()))
