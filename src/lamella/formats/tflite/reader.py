"""The TensorFlow Lite container: a FlatBuffer whose buffers hold the constant tensors of its subgraphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import mul

from lamella.core.dtypes import DType
from lamella.core.errors import FormatError
from lamella.core.graphs import Graph
from lamella.core.limits import MAX_DIMENSIONS, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.names import TensorNames
from lamella.formats.tflite.flatbuffer import FlatBuffer, Table, malformed
from lamella.formats.tflite.graph import model_graph
from lamella.formats.tflite.metadata import model_metadata
from lamella.formats.tflite.types import DTYPE_OF_TYPE

_IDENTIFIER = b"TFL3"


class TfliteFormat:
    """Files of one Model of version 3 of the schema.

    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs specifies it.
    """

    name = "tflite"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files with the identifier behind the offset of a table that lies in the file."""
        return head[4:8] == _IDENTIFIER and 8 <= int.from_bytes(head[:4], "little") < nbytes

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such model."""
        buffer = FlatBuffer(file)
        layout = arrange(self.name, file.nbytes, [span for _, span in _tensors(buffer)])
        buffer.check_apart(layout.tensors)
        return layout

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return version, description, signatures, inputs and outputs, and how often each operator occurs."""
        return model_metadata(FlatBuffer(file))

    def graph(self, file: RandomAccess) -> Graph:
        """Return the operators of all subgraphs, those of the second and later ones under prefixed names."""
        buffer = FlatBuffer(file)
        tensors = list(_tensors(buffer))
        graph = model_graph(buffer, {place: span.spec.name for place, span in tensors})
        # Options in the middle of a tensor could not be read where only its length is at hand.
        buffer.check_apart(arrange(self.name, file.nbytes, [span for _, span in tensors]).tensors)
        return graph


def _tensors(buffer: FlatBuffer) -> Iterator[tuple[tuple[int, int], TensorSpan]]:
    """Yield the tensors that have a buffer with the numbers of subgraph and tensor, subgraph by subgraph."""
    model = buffer.root()
    buffers = model.tables(4)
    names = TensorNames()
    used: set[int] = set()
    for number, graph in enumerate(model.tables(2)):
        prefix = f"{graph.text(4, MAX_NAME_NBYTES) or f'subgraph{number}'}." if number else ""
        for index, tensor in enumerate(graph.tables(0)):
            which = tensor.number(2, "I")
            offset, nbytes = _run(buffers[which]) if which else (0, 0)
            dtype = _dtype(tensor)
            # What is packed cannot be a view; it is left to the first tensor that has the buffer. The bytes of a sparse
            # tensor are those of its nonzero elements.
            hidden = dtype is None or (dtype.bits < 8 and which in used) or tensor.target(6) is not None
            if nbytes and dtype is not None and not hidden:
                name = prefix + (tensor.text(3, MAX_NAME_NBYTES) or f"tensor{index}")
                yield (number, index), TensorSpan(_spec(names, name, dtype, tensor, nbytes), offset)
                used.add(which)


def _run(buffer: Table) -> tuple[int, int]:
    """Return where the bytes of a Buffer lie and how many they are; of a large model they lie behind the tables."""
    offset, nbytes = buffer.run(0) or (0, 0)
    if not nbytes and buffer.number(1, "Q") > 1:
        return buffer.number(1, "Q"), buffer.number(2, "Q")
    return offset, nbytes


def _dtype(tensor: Table) -> DType | None:
    code = tensor.number(1, "b")
    if code not in DTYPE_OF_TYPE:
        raise FormatError(
            f"element type {code} of TensorFlow Lite is not known to this version",
            kind="dtype-unknown",
            hint="upgrade lamella if the file was made by a newer framework",
        )
    return DTYPE_OF_TYPE[code]


def _spec(names: TensorNames, name: str, dtype: DType, tensor: Table, nbytes: int) -> TensorSpec:
    shape = tensor.numbers(0, MAX_DIMENSIONS) or ()
    if min(shape, default=0) < 0 or max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES // 16:
        raise malformed(f"the shape of tensor {name[:80]!r} is impossible")
    if dtype.nbytes(shape) != nbytes:
        raise malformed(f"tensor {name[:80]!r} has {nbytes} bytes, where its shape takes {dtype.nbytes(shape)}")
    return TensorSpec(names.take(name, len(shape)), dtype, shape)
