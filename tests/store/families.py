"""Tensors as training leaves them: drawn from a normal distribution, and moved from there by some share of it."""

from __future__ import annotations

import ml_dtypes
import numpy

from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core.dtypes import DTYPES
from lamella.core.ids import ObjectId
from lamella.store.writer import Source

ARRAY_DTYPES = {
    "bf16": ml_dtypes.bfloat16,
    "f16": numpy.float16,
    "f32": numpy.float32,
    "f64": numpy.float64,
    "f8_e4m3": ml_dtypes.float8_e4m3fn,
    "f8_e5m2": ml_dtypes.float8_e5m2,
    "i8": numpy.int8,
}


def drawn(seed: int, items: int = 8192) -> numpy.ndarray:
    """Return weights of no relation to those of another seed."""
    return numpy.random.default_rng(seed).standard_normal(items)


def tuned(weights: numpy.ndarray, share: float, seed: int = 99) -> numpy.ndarray:
    """Return the weights moved by so much of their scale."""
    return weights + share * numpy.random.default_rng(seed).standard_normal(len(weights))


def tensor(weights: numpy.ndarray, dtype: str = "bf16") -> bytes:
    """Return the weights as a tensor's bytes."""
    scale = 40 if dtype == "i8" else 0.02 if DTYPES[dtype].bits > 8 else 1
    return (numpy.clip(weights, -3, 3) * scale).astype(ARRAY_DTYPES[dtype]).tobytes()


def source(data: bytes, dtype: str = "bf16", *candidates: ObjectId) -> Source:
    """Return a tensor as something to store."""
    return Source(
        len(data),
        DTYPES[dtype].item_nbytes,
        lambda offset, nbytes: data[offset : offset + nbytes],
        candidates,
        LAYOUT_OF_DTYPE.get(dtype),
    )
