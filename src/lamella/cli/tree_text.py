"""How a tree of tensors reads on a terminal: a row for each branch and each tensor, totals beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lamella.cli import render
from lamella.ops.folded_tree import Branch
from lamella.ops.ls import ListedTensor


def tree_rows(
    branches: Iterable[Branch[ListedTensor]], depth: int | None, level: int = 0, times: int = 1
) -> Iterator[list[str]]:
    """Yield name, dtype, shape, elements and size of every branch down to `depth` levels.

    What is folded counts as often as it is there, so that the rows below a branch add up to it.
    """
    for branch in branches:
        many = times * branch.times
        tensor = branch.leaf
        if tensor is None:
            what = ["", render.counted(many * branch.count, "tensor")]
        else:
            what = [tensor.dtype, f"{f'{many} x ' if many > 1 else ''}{render.shape(tensor.shape)}"]
        totals = [render.short(many * branch.elements), render.size(many * branch.nbytes)]
        yield ["  " * level + (branch.label or '""'), *what, *totals]
        if depth is None or level + 1 < depth:
            yield from tree_rows(branch.branches, depth, level + 1, many)
