"""HDF5 datasets as tensors: where their elements lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_HDF5_CHUNKS, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major, strided
from lamella.formats.base import Box, TensorSpan, TensorView
from lamella.formats.hdf5.attributes import Texts, read_attributes, read_shape
from lamella.formats.hdf5.blocks import UNDEFINED, Blocks, malformed, number
from lamella.formats.hdf5.chunks import count_chunks, grid_of, read_chunk_layout, read_chunks
from lamella.formats.hdf5.objects import DATASPACE, DATATYPE, EXTERNAL_FILES, FILTERS, LAYOUT, Message
from lamella.formats.hdf5.types import Datatype, read_datatype

_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_LAYOUT_VERSIONS = (3, 4)

_TENSOR_NBYTES = 256
_BOX_NBYTES = 320
"""What a tensor and a box take in memory, beside the name of the one."""


class Datasets:
    """The datasets of one file that are tensors, whatever names they have."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._texts = Texts(blocks)
        self._types: dict[bytes, Datatype] = {}
        self._listed = 0
        self._boxes = 0

    def read(self, messages: Sequence[Message]) -> TensorSpan | TensorView | None:
        """Return a dataset as a tensor without a name; None where what it holds is to stay bytes of the file.

        Raises FormatError where the dataset is malformed.
        """
        known = {message.kind: message for message in messages}
        space, kind, layout = (known.get(number) for number in (DATASPACE, DATATYPE, LAYOUT))
        if space is None or kind is None or layout is None or EXTERNAL_FILES in known:
            return None
        if space.shared or kind.shared or layout.data[0] not in _LAYOUT_VERSIONS:
            return None
        if FILTERS in known and known[FILTERS].data[1]:
            return None
        shape = read_shape(space.data)
        datatype = self._datatype(kind.data)
        dtype = self._dtype(datatype, messages)
        if shape is None or dtype is None or len(shape) > MAX_DIMENSIONS:
            return None
        spec = TensorSpec("", dtype, shape)
        if max(spec.nbytes, *accumulate(shape, mul), 0) > MAX_TENSOR_NBYTES:
            raise malformed("a dataset holds more elements than a file can")
        self._blocks.keep(_TENSOR_NBYTES)
        kept = layout.data[1]
        if kept == _COMPACT:
            return self._compact(spec, datatype.swapped, layout)
        if kept == _CONTIGUOUS:
            return self._contiguous(spec, datatype.swapped, layout.data)
        if kept == _CHUNKED:
            return self._chunked(spec, datatype.swapped, layout.data, read_shape(space.data, most=True) or shape)
        return None

    def named(self, tensor: TensorSpan | TensorView, name: str) -> TensorSpan | TensorView:
        """Return a tensor under a name; raise FormatError (too-many-tensors) where there are too many."""
        self._blocks.keep(_TENSOR_NBYTES + 4 * len(name))
        self._boxes += len(tensor.boxes) if isinstance(tensor, TensorView) else 0
        if self._boxes > 2 * MAX_HDF5_CHUNKS:
            raise FormatError("file names its chunks too often", kind="too-many-tensors")
        return renamed(tensor, name)

    def _datatype(self, data: bytes) -> Datatype:
        found = self._types.get(data)
        if found is None:
            self._blocks.keep(2 * len(data) + 256)
            found = self._types[data] = read_datatype(data)
        return found

    def _dtype(self, datatype: Datatype, messages: Sequence[Message]) -> DType | None:
        """Return the dtype of the elements: Keras writes bf16 as two opaque bytes and an attribute."""
        if not datatype.opaque or datatype.nbytes != 2:
            return datatype.dtype
        for attribute in read_attributes(self._blocks, messages):
            if attribute.name == "dtype" and self._texts.strings(attribute, 16) == ["bfloat16"]:
                return DTYPES["bf16"]
        return None

    def _compact(self, spec: TensorSpec, swapped: bool, layout: Message) -> TensorSpan | TensorView:
        """Return what stands in the object header itself, which is read, so that it is no span."""
        nbytes = number(layout.data, 2, 2)
        if nbytes < spec.nbytes or 4 + nbytes > len(layout.data):
            raise malformed("a compact dataset is shorter than its elements")
        box = Box((0,) * len(spec.shape), spec.shape, layout.offset + 4, row_major(spec))
        return TensorView(spec, (box,), swapped) if spec.nbytes else TensorSpan(spec, self._blocks.start)

    def _contiguous(self, spec: TensorSpec, swapped: bool, data: bytes) -> TensorSpan | TensorView | None:
        address, nbytes = number(data, 2, 8), number(data, 10, 8)
        if not spec.nbytes:
            return TensorSpan(spec, self._blocks.start)
        if address == UNDEFINED:
            return None
        if nbytes < spec.nbytes:
            raise malformed("a dataset is shorter than its elements")
        return strided(spec, self._blocks.offset(address, spec.nbytes), row_major(spec), swapped=swapped)

    def _chunked(
        self, spec: TensorSpec, swapped: bool, data: bytes, most: tuple[int, ...]
    ) -> TensorSpan | TensorView | None:
        chunks = read_chunk_layout(data, len(spec.shape), spec.dtype.bits // 8)
        if not spec.nbytes:
            return TensorSpan(spec, self._blocks.start)
        if chunks is None:
            return None
        count = count_chunks(spec.shape, chunks)
        grid = grid_of(chunks, spec.shape, most)
        room = max(count, count_chunks(grid, chunks))
        if self._listed + room > MAX_HDF5_CHUNKS:
            return None
        self._listed += room
        self._blocks.keep(room * _BOX_NBYTES)
        strides = row_major(TensorSpec("", spec.dtype, chunks.shape))
        boxes: dict[tuple[int, ...], Box] = {}
        for origin, address in read_chunks(self._blocks, chunks, grid):
            axes = list(zip(origin, spec.shape, chunks.shape, strict=True))
            # There may be chunks of what the dataset was before it was cut.
            if not any(at >= extent or at % step for at, extent, step in axes):
                shape = tuple(min(step, extent - at) for at, extent, step in axes)
                boxes[origin] = Box(origin, shape, self._blocks.offset(address, chunks.nbytes), strides)
        if len(boxes) != count:
            return None
        if count == 1:
            return strided(spec, boxes[(0,) * len(spec.shape)].offset, strides, swapped=swapped)
        return TensorView(spec, tuple(boxes[origin] for origin in sorted(boxes)), swapped)


def renamed(tensor: TensorSpan | TensorView, name: str) -> TensorSpan | TensorView:
    """Return a tensor under another name."""
    spec = TensorSpec(name, tensor.spec.dtype, tensor.spec.shape)
    if isinstance(tensor, TensorSpan):
        return TensorSpan(spec, tensor.offset)
    return TensorView(spec, tensor.boxes, tensor.swapped)
