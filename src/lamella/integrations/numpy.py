"""Models as dictionaries of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


def to_numpy(tensors: Mapping[str, Any]) -> dict[str, numpy.ndarray[Any, Any]]:
    """Return every tensor of what `lamella.load` returned, or of any mapping, as an array, all in memory.

    Types that NumPy has not, bf16 and those of 8 bits, are those of ml_dtypes. Raises UsageError (dtype-unsupported)
    for packed nibbles, which have no array.
    """
    import numpy

    return {name: numpy.asarray(tensors[name]) for name in tensors}
