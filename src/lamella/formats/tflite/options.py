"""The options of TensorFlow Lite's operators, as attributes of nodes."""

from __future__ import annotations

from typing import Any

from lamella.core.graph_builder import attribute_text, float_text
from lamella.formats.tflite.flatbuffer import FlatBuffer, Table
from lamella.formats.tflite.types import DTYPE_OF_TYPE

_CONVOLUTION = "padding:p stride_w:i stride_h:i"
_OPTIONS: dict[int, str] = {
    1: f"{_CONVOLUTION} activation:a dilation_w:i=1 dilation_h:i=1",
    2: f"{_CONVOLUTION} depth_multiplier:i activation:a dilation_w:i=1 dilation_h:i=1",
    5: f"{_CONVOLUTION} filter_width:i filter_height:i activation:a",
    8: "activation:a weights_format:b keep_num_dims:?",
    9: "beta:f",
    10: "axis:i activation:a",
    13: "radius:i bias:f alpha:f beta:f",
    14: "activation:a cell_clip:f proj_clip:f kernel_type:b",
    15: "- - align_corners:? half_pixel_centers:?",
    16: "subgraph:s",
    17: "new_shape:v",
    23: "axis:i batch_dims:i",
    27: "keep_dims:?",
    30: "squeeze_dims:v",
    31: "time_major:? activation:a",
    32: "begin_mask:i end_mask:i ellipsis_mask:i new_axis_mask:i shrink_axis_mask:i offset:?",
    37: "from:t to:t",
    49: f"{_CONVOLUTION} activation:a",
    58: "min:f max:f num_bits:i narrow_range:?",
    59: "values:i axis:i",
    61: "axis:i",
    64: "values:i axis:i",
    69: "activation:a cell_clip:f proj_clip:f merge_outputs:? time_major:?=1",
    70: "time_major:? activation:a merge_outputs:?",
    71: "activation:a cell_clip:f proj_clip:f time_major:?",
    74: "align_corners:? half_pixel_centers:?",
    75: "alpha:f",
    77: "mode:b",
    87: "seq_dim:i batch_dim:i",
    92: "then:s else:s",
    93: "cond:s body:s",
    101: "adj_x:? adj_y:?",
    102: "exclusive:? reverse:?",
    103: "init:s",
    106: "padding:p stride_d:i stride_w:i stride_h:i activation:a dilation_d:i=1 dilation_w:i=1 dilation_h:i=1",
    116: "approximate:?",
    **dict.fromkeys((11, 21, 28, 29), "activation:a"),
    **dict.fromkeys((19, 94), "block_size:i"),
    **dict.fromkeys((35, 79), "splits:i"),
    **dict.fromkeys((40, 55, 57), "to:t"),
}
"""The fields of each type of BuiltinOptions that says something of what is computed, in the order of their slots, as of
TensorFlow 2.21: a name, what it is, and a default that is not 0."""

_CODES = {"p": "b", "a": "b", "t": "b", "i": "i", "b": "b", "?": "?", "f": "f", "s": "i"}
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_PADDINGS = ("SAME", "VALID")
_MOST_NUMBERS = 64


def read_options(buffer: FlatBuffer, operator: Table) -> tuple[list[tuple[str, str]], list[int]]:
    """Return the attributes that an operator states, and the numbers of the subgraphs that it calls.

    Raises FormatError as the tables of a `FlatBuffer` do.
    """
    attributes: list[tuple[str, str]] = []
    subgraphs: list[int] = []
    if custom := operator.run(5):
        attributes.append(("custom_options", f"{custom[1]} bytes"))
    at = operator.target(4)
    fields = _OPTIONS.get(operator.number(3, "B"), "").split()
    if at is None or not fields:
        return attributes, subgraphs
    options = buffer.table(at)
    for slot, field in enumerate(fields):
        name, _, kind = field.partition(":")
        kind, _, default = kind.partition("=")
        if not kind:
            continue
        if kind == "v":
            numbers = options.numbers(slot, _MOST_NUMBERS)
            attributes.append((name, attribute_text(list(numbers or ()))))
            continue
        value = options.number(slot, _CODES[kind], int(default or 0))
        if kind == "s":
            subgraphs.append(value)
        attributes.append((name, _text(kind, value)))
    return attributes, subgraphs


def _text(kind: str, value: Any) -> str:
    if kind == "f":
        return float_text(value)
    if kind == "t":
        dtype = DTYPE_OF_TYPE.get(value)
        return dtype.name if dtype is not None else str(value)
    if kind == "?":
        return attribute_text(bool(value))
    known = {"p": _PADDINGS, "a": _ACTIVATIONS}.get(kind, ())
    return known[value] if 0 <= value < len(known) else attribute_text(value)
