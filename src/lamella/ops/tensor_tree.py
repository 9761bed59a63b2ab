"""Tensors as a tree of their names, numbered layers that are alike folded into one."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.ops.folded_tree import Branch, Leaf, folded_tree
from lamella.ops.ls import ListedTensor


def tensor_tree(tensors: Sequence[ListedTensor], *, fold: bool = True) -> tuple[Branch[ListedTensor], ...]:
    """Return the top of the tree, in the order of the tensors, numbers in theirs; with `fold`, alike layers as one."""
    return folded_tree(map(_leaf, tensors), fold=fold)


def _leaf(tensor: ListedTensor) -> Leaf[ListedTensor]:
    return Leaf(tensor, _steps(tensor), (tensor.dtype, tensor.shape), tensor.elements, tensor.nbytes)


def _steps(tensor: ListedTensor) -> list[str]:
    """Return a name cut behind its slashes, or its dots where it has none; a file's path before it stays whole."""
    before = f"{tensor.file}/"
    first, name = (before, tensor.name[len(before) :]) if tensor.name.startswith(before) else ("", tensor.name)
    separator = "/" if "/" in name else "."
    *steps, last = name.split(separator)
    return [*([first] if first else []), *(f"{step}{separator}" for step in steps), last]
