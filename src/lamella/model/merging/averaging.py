"""Which tensors have elements that can be averaged, and which ask before that."""

from __future__ import annotations

from math import prod

from lamella.core.dtypes import DType
from lamella.core.tensors import TensorSpec

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


def is_counter(spec: TensorSpec, name: str) -> bool:
    """Say whether a tensor counts steps, as the batches that a normalisation has seen."""
    return spec.dtype.name in ("i64", "i32") and prod(spec.shape) == 1 and name.endswith("num_batches_tracked")
