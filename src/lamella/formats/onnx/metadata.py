"""What an ONNX model says beside its tensors: versions, inputs and outputs, and how often each operator occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lamella.core.limits import MAX_GRAPH_DEPTH, MAX_METADATA_KEYS, MAX_METADATA_NBYTES
from lamella.formats.onnx.tensors import DTYPE_OF_CODE, model_tensors
from lamella.formats.protobuf import RUN, VARINT, Field, WireReader, malformed, signed

_TEXTS = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}
_NUMBERS = {1: "ir_version", 5: "model_version"}
EXTERNAL = "external."
"""What stands before the location of tensors that lie in another file."""

_TYPE_DEPTH = 8
_KEY_NBYTES = 256
_DIMENSIONS = 64


def model_metadata(reader: WireReader) -> dict[str, str]:
    """Return what the model that a file is says of itself, by key; raise FormatError as `model_tensors` does.

    `input.NAME` and `output.NAME` are types as in `f32[batch,3,224,224]`, `nodes.OPERATOR` counts the nodes of all
    graphs, `external.LOCATION` the tensors in that file, `metadata.KEY` stands under `metadata_props`.
    """
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for field in reader.fields(0, reader.nbytes):
        if field.number in _TEXTS and field.wire == RUN:
            found[_TEXTS[field.number]] = reader.shown(field, MAX_METADATA_NBYTES)
        elif field.number in _NUMBERS and field.wire == VARINT:
            found[_NUMBERS[field.number]] = str(signed(field.value))
        elif field.number == 8:
            _add(found, opset(reader, field))
        elif field.number == 14:
            _add(found, _pair(reader, field, "metadata."))
        elif field.number == 7:
            _add_graph(found, reader, field)
            _count(counts, reader, field, 0)
        elif field.number == 25:
            _count(counts, reader, field, 0, nodes=7)
    for tensor in model_tensors(reader):
        if tensor.external is not None:
            _count_one(counts, EXTERNAL + tensor.external.get("location", "")[:_KEY_NBYTES])
    _add(found, *((name, str(number)) for name, number in sorted(counts.items())))
    return {key: text for key, text in found.items() if text}


def _add(found: dict[str, str], *pairs: tuple[str, str]) -> None:
    for key, text in pairs:
        if len(found) < MAX_METADATA_KEYS:
            found[key] = text[:MAX_METADATA_NBYTES]


def _add_graph(found: dict[str, str], reader: WireReader, graph: Field) -> None:
    for field in reader.inside(graph):
        if field.number == 2:
            found["graph"] = reader.shown(field, MAX_METADATA_NBYTES)
        elif field.number == 10:
            found["graph.doc_string"] = reader.shown(field, MAX_METADATA_NBYTES)
        elif field.number in (11, 12):
            parts = reader.last(field, 1, 2)
            name = reader.shown(parts[1], _KEY_NBYTES) if 1 in parts else ""
            kind = "input" if field.number == 11 else "output"
            _add(found, (f"{kind}.{name}", type_text(reader, parts[2], 0) if 2 in parts else "?"))
        elif field.number == 16:
            _add(found, _pair(reader, field, "graph.metadata."))


def _count(counts: Counter[str], reader: WireReader, graph: Field, depth: int, nodes: int = 1) -> None:
    """Count the nodes of a graph, or function, by operator, those of graphs within it too."""
    if depth > MAX_GRAPH_DEPTH:
        raise malformed(f"graphs nest too deep at byte {graph.start}", kind="header-too-deep")
    for node in reader.inside(graph):
        if node.number == nodes:
            operator, domain = "", ""
            for field in reader.inside(node):
                if field.number == 4:
                    operator = reader.shown(field, _KEY_NBYTES)
                elif field.number == 7:
                    domain = reader.shown(field, _KEY_NBYTES)
                elif field.number == 5:
                    for held in reader.inside(field):
                        if held.number in (6, 11):
                            _count(counts, reader, held, depth + 1)
            _count_one(counts, f"nodes.{domain}.{operator}" if domain not in ("", "ai.onnx") else f"nodes.{operator}")


def _count_one(counts: Counter[str], key: str) -> None:
    if key in counts or len(counts) < MAX_METADATA_KEYS:
        counts[key] += 1


def opset(reader: WireReader, field: Field) -> tuple[str, str]:
    """Return key and version of a set of operators."""
    parts = reader.last(field, 1, 2)
    domain = reader.shown(parts[1], _KEY_NBYTES) if 1 in parts else ""
    return f"opset.{domain or 'ai.onnx'}", str(signed(parts[2].value)) if 2 in parts else ""


def _pair(reader: WireReader, field: Field, prefix: str) -> tuple[str, str]:
    parts = reader.last(field, 1, 2)
    key = reader.shown(parts[1], _KEY_NBYTES) if 1 in parts else ""
    return prefix + key, reader.shown(parts[2], MAX_METADATA_NBYTES) if 2 in parts else ""


def type_text(reader: WireReader, field: Field, depth: int) -> str:
    """Return a TypeProto as a person writes it."""
    if depth > _TYPE_DEPTH:
        return "..."
    for held in reader.inside(field):
        parts = reader.last(held, 1, 2) if held.wire == RUN else {}
        if held.number in (1, 8):
            text = dtype_text(parts.get(1)) + (f"[{','.join(_extents(reader, parts[2]))}]" if 2 in parts else "")
            return f"sparse({text})" if held.number == 8 else text
        inner = [type_text(reader, part, depth + 1) for part in parts.values() if part.wire == RUN]
        if held.number in (4, 9):
            return f"{'sequence' if held.number == 4 else 'optional'}({''.join(inner)})"
        if held.number == 5:
            return f"map({','.join([dtype_text(parts.get(1)), *inner])})"
    return "?"


def dtype_text(field: Field | None) -> str:
    """Return what an element type is called, "?" for one that is not known."""
    known = DTYPE_OF_CODE.get(field.value) if field is not None else None
    if known is not None:
        return known.name
    return "string" if field is not None and field.value == 8 else "?"


def _extents(reader: WireReader, shape: Field) -> Iterator[str]:
    for number, dimension in enumerate(field for field in reader.inside(shape) if field.number == 1):
        if number == _DIMENSIONS:
            yield "..."
            return
        parts = reader.last(dimension, 1, 2)
        if 2 in parts:
            yield reader.shown(parts[2], _KEY_NBYTES)
        else:
            yield str(signed(parts[1].value)) if 1 in parts else "?"
