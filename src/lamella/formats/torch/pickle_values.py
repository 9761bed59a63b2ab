"""What a pickle that is walked and never loaded consists of: inert values that name code and run none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lamella.core.errors import FormatError

Value = Any
"""None, a bool, an int, a float, a str, bytes, a list, a tuple, or one of the classes below."""

STATE = object()
"""The key, in a Node, of what was given to its `__setstate__`."""

ARGS = object()
"""The key, in a Node, of a sequence of what it was called with, or of what was put into it."""

PAIRS = object()
"""The key, in a Node, of a sequence of pairs of a key and a value that it has."""


class Node(list[Value]):
    """A mapping, or an object that only its own code could make: keys and values by turns, later ones winning."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name of code, as the pickle spells it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """The bytes that tensors are views of: the file's key for them, the elements' dtype as torch calls it, their count.

    `offset` counts elements from the beginning of what `key` names.
    """

    key: str
    dtype: str
    numel: int
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor as a view of a storage; `offset` and `strides` count elements. `beside` is what else belongs to it."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    beside: Node


NOTHING = Node()
"""What stands beside most tensors. It is never added to."""


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a pickle for which `reason` holds."""
    return FormatError(
        f"pickle is malformed: {reason}", kind=kind, hint="save the file again with torch.save, or as safetensors"
    )
