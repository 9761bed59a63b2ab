"""TensorFlow's checkpoints: files of plain tensors, and beside them an index that says where each lies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

from lamella.core.dtypes import DType
from lamella.core.limits import MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Beside, Box, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.names import TensorNames
from lamella.formats.safetensors.json_header import shown
from lamella.formats.tensorflow.bundle import Bundle, Entry, Slice, read_bundle
from lamella.formats.tensorflow.sstable import malformed
from lamella.formats.tensorflow.types import DTYPE_OF_TYPE

_DATA_NAME = re.compile(r"(.+)\.data-([0-9]{5,9})-of-([0-9]{5,9})")

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow 2 appends to the name of every variable."""

_DTYPES = {number: dtype for number, dtype in DTYPE_OF_TYPE.items() if dtype is not None}


class TensorflowCheckpointFormat:
    """The data files of a checkpoint, `X.data-00000-of-00001`, which the index `X.index` describes.

    The variables of a SavedModel are such files too. Names are the checkpoint's keys, without the suffix that
    TensorFlow 2 gives to all of them unless another tensor has the name without it.
    """

    name = "tf-checkpoint"

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return where the tensors of this data file lie, None where there is no index."""
        match = _DATA_NAME.fullmatch(beside.name)
        index = match and beside.neighbours.open(f"{match[1]}.index")
        if not match or not index:
            return None
        bundle = read_bundle(index)
        if bundle.shards != int(match[3]):
            raise malformed(f"it is of {bundle.shards} data files, and this is one of {int(match[3])}")
        return arrange(self.name, file.nbytes, _tensors(bundle, int(match[2])))


def _tensors(bundle: Bundle, shard: int) -> Iterator[TensorSpan | TensorView]:
    names = TensorNames()
    for key, entry in bundle.entries.items():
        short = key.removesuffix(_SUFFIX)
        name = key if not short or short in bundle.entries else short
        if entry.dtype not in _DTYPES:
            continue
        if entry.is_sliced:
            here = [one for one in bundle.slices.get(key, ()) if one.entry.shard == shard]
            yield from _assembled(names, name, entry, here, swapped=bundle.big_endian)
        elif entry.shard == shard:
            yield _placed(names, name, entry, swapped=bundle.big_endian)


def _assembled(
    names: TensorNames, name: str, whole: Entry, here: list[Slice], *, swapped: bool
) -> Iterator[TensorSpan | TensorView]:
    """Yield a tensor that was saved in slices: whole where they are of one axis and all here, else slice by slice."""
    if any(one.entry.dtype != whole.dtype or len(one.origin) != len(whole.shape) for one in here):
        raise malformed("a slice is of another tensor")
    here.sort(key=lambda one: one.origin)
    boxes = [
        Box(one.origin, spec.shape, one.entry.offset, row_major(spec))
        for one in here
        for spec in [_spec("", one.entry)]
    ]
    axis = _cut_axis(whole.shape, boxes)
    if axis is None:
        for one in here:
            yield _placed(names, _slice_name(name, one), one.entry, swapped=swapped)
        return
    spec = TensorSpec(names.take(name, len(whole.shape)), _DTYPES[whole.dtype], whole.shape)
    if prod(spec.shape[:axis]) == 1 and _back_to_back(boxes, spec.dtype):
        yield strided(spec, boxes[0].offset, row_major(spec), swapped=swapped)
    else:
        yield TensorView(spec, tuple(boxes), swapped)


def _placed(names: TensorNames, name: str, entry: Entry, *, swapped: bool) -> TensorSpan | TensorView:
    """Return a tensor, or a slice of one that is a tensor of its own."""
    spec = _spec(names.take(name, len(entry.shape)), entry)
    return strided(spec, entry.offset, row_major(spec), swapped=swapped)


def _cut_axis(shape: tuple[int, ...], boxes: Sequence[Box]) -> int | None:
    """Return the one axis on which `boxes`, sorted, follow each other from end to end; None where there is none."""
    axes = {axis for box in boxes for axis, (n, m) in enumerate(zip(box.shape, shape, strict=True)) if n != m}
    if len(axes) > 1 or not shape or 0 in shape:
        return None
    axis = axes.pop() if axes else 0
    end = 0
    for box in boxes:
        if box.origin[axis] != end or sum(box.origin) != end:
            return None
        end += box.shape[axis]
    return axis if end == shape[axis] else None


def _back_to_back(boxes: Sequence[Box], dtype: DType) -> bool:
    """Say whether each of `boxes`, row-major, begins where the one before it ends."""
    ends = (box.offset + dtype.nbytes(box.shape) for box in boxes)
    return all(box.offset == end for box, end in zip(boxes[1:], ends, strict=False))


def _spec(name: str, entry: Entry) -> TensorSpec:
    spec = TensorSpec(name, _DTYPES[entry.dtype], entry.shape)
    if spec.nbytes != entry.nbytes or spec.nbytes > MAX_TENSOR_NBYTES:
        raise malformed(f"tensor {shown(name)} does not take {entry.nbytes} bytes")
    return spec


def _slice_name(name: str, one: Slice) -> str:
    """Return the name of a slice as it is written in Python: `kernel[0:512,0:64]`."""
    extents = zip(one.origin, one.entry.shape, strict=True)
    return f"{name}[{','.join(f'{start}:{start + n}' for start, n in extents)}]"
