"""What a TensorFlow Lite model says beside its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from lamella.core.limits import MAX_DIMENSIONS, MAX_METADATA_KEYS, MAX_METADATA_NBYTES
from lamella.formats.tflite.flatbuffer import FlatBuffer, Table
from lamella.formats.tflite.types import DTYPE_OF_TYPE, OPERATORS

_KEY_NBYTES = 256
_ENDS = 256
_CODES = 4096


def model_metadata(buffer: FlatBuffer) -> dict[str, str]:
    """Return what a model says of itself, by key; raise FormatError as the format's `layout` does.

    `input.NAME` and `output.NAME` are types as in `f32[1,224,224,3]`, `nodes.OPERATOR` counts the operators of all
    subgraphs, `signature.KEY` lists the names of inputs and outputs, `metadata.NAME` is the length of a buffer.
    """
    model = buffer.root()
    found = {"version": str(model.number(0, "I")), "description": model.shown(3, MAX_METADATA_NBYTES)}
    for key, text in _entries(model):
        if len(found) < MAX_METADATA_KEYS:
            found[key] = text[:MAX_METADATA_NBYTES]
    return {key: text for key, text in found.items() if text}


def _entries(model: Table) -> Iterator[tuple[str, str]]:
    for table in model.tables(7):
        ends = (", ".join(one.shown(0, _KEY_NBYTES) for one in islice(table.tables(slot), _ENDS)) for slot in (0, 1))
        yield f"signature.{table.shown(2, _KEY_NBYTES)}", " -> ".join(ends)
    buffers = model.tables(4)
    for table in model.tables(6):
        _, nbytes = buffers[table.number(1, "I")].run(0) or (0, 0)
        yield f"metadata.{table.shown(0, _KEY_NBYTES)}", f"{nbytes} bytes"
    codes = [operator_name(table) for table in islice(model.tables(1), _CODES)]
    counts: Counter[str] = Counter()
    for number, graph in enumerate(model.tables(2)):
        if number == 0:
            yield from _ends(graph)
        for node in graph.tables(3):
            which = node.number(0, "I")
            counts[codes[which] if which < len(codes) else "?"] += 1
    for name in sorted(counts):
        yield f"nodes.{name}", str(counts[name])


def operator_name(table: Table) -> str:
    """Return what an OperatorCode stands for."""
    code = max(table.number(3, "i"), table.number(0, "b"))
    name = OPERATORS[code] if 0 <= code < len(OPERATORS) else str(code)
    return f"{name}.{table.shown(1, _KEY_NBYTES)}" if name == "CUSTOM" else name


def _ends(graph: Table) -> Iterator[tuple[str, str]]:
    """Yield the inputs and outputs of a subgraph."""
    tensors = graph.tables(0)
    for slot, kind in ((1, "input"), (2, "output")):
        for index in graph.numbers(slot, _ENDS) or ():
            yield f"{kind}.{tensors[index].shown(3, _KEY_NBYTES) or f'tensor{index}'}", _type(tensors[index])


def _type(tensor: Table) -> str:
    dtype = DTYPE_OF_TYPE.get(tensor.number(1, "b"))
    shape = tensor.numbers(7, MAX_DIMENSIONS) or tensor.numbers(0, MAX_DIMENSIONS) or ()
    return f"{dtype.name if dtype else '?'}[{','.join('?' if extent < 0 else str(extent) for extent in shape)}]"
