"""Which tensors have elements that can be averaged, and which ask before that."""

from __future__ import annotations

from math import prod

from lamella.core.dtypes import DType
from lamella.core.tensors import TensorSpec
from lamella.model.tensor_names import is_counter, second_moment_step

AVERAGED = ("f64", "f32", "f16", "bf16", "c64", "c128")
SCALED = ("f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz", "f6_e2m3", "f6_e3m2", "f4_e2m1")
"""Floats that mostly mean something only together with scales in another tensor: averaged only where it is said."""


ORDERED = ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")
"""Integers of whole bytes, which are never averaged, but of which one is the larger."""


def is_averaged(dtype: DType, *, named: bool) -> bool:
    """Say whether tensors of a dtype are averaged, `named` where somebody chose a strategy for just these."""
    return dtype.name in AVERAGED or (named and dtype.name in SCALED)


def is_merged(dtype: DType, strategy: str, *, named: bool) -> bool:
    """Say whether a strategy merges tensors of a dtype."""
    return is_averaged(dtype, named=named) or (strategy == "larger" and dtype.name in ORDERED)


def by_itself(spec: TensorSpec, name: str) -> tuple[str, str]:
    """Return the strategy of what means something of its own, whatever is chosen for a model, and a note, "" for none.

    Counters are of one number, integer or not. Second moments are never negative, and neither is their mean.
    """
    if is_counter(name) and prod(spec.shape) == 1 and spec.dtype.name in (*ORDERED, "f32", "f64"):
        return "larger", "a counter: the larger value is taken"
    if second_moment_step(name) is not None and spec.dtype.name in AVERAGED:
        return "linear", "squared gradients: the mean is taken"
    return "", ""
