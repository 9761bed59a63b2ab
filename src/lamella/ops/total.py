"""The weighted total of a difference: structure, parameters, data and hyper-parameters as one number."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from lamella.core.config import DiffConfig
from lamella.model.alignment import Alignment
from lamella.model.difference import TensorDifference
from lamella.model.graph_difference import GraphDifference
from lamella.ops.comparison import Part, Total


def total(
    config: DiffConfig,
    graph: GraphDifference | None,
    alignment: Alignment,
    tensors: Iterable[TensorDifference],
    data: float | None,
    hyperparameters: float | None,
) -> Total:
    """Return T = wS*dS + wP*dP + wD*dD + wH*dH over the weights of the parts that are known.

    dS = 1 - 2 * matched / (nA + nB) over the nodes of the graphs, or over the tensors where a side has no graph.
    """
    structure = _structure(alignment) if graph is None else graph.distance
    return Total(
        (
            Part("structure", config.structure, structure),
            Part("parameters", config.parameters, _parameters(tensors)),
            Part("data", config.data, data),
            Part("hyperparameters", config.hyperparameters, hyperparameters),
        )
    )


def _structure(alignment: Alignment) -> float | None:
    matched = len(alignment.pairs)
    nodes = 2 * matched + len(alignment.removed) + len(alignment.added)
    return 1 - 2 * matched / nodes if nodes else None


def _parameters(tensors: Iterable[TensorDifference]) -> float | None:
    """Return dP = sum n * min(1, relative L2) / sum n over the elements n of what is on both sides and was measured.

    Where the tensor before is all zeros and the one after is not, the relative change counts as 1.
    """
    moved = elements = 0.0
    for one in tensors:
        if one.same:
            elements += prod(one.after.shape)
        elif one.measures is not None:
            relative = one.measures.relative
            elements += one.measures.count
            moved += one.measures.count * min(1.0, 1.0 if relative is None else relative)
    return moved / elements if elements else None
