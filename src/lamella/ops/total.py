"""The weighted total of a difference: structure, parameters, data and hyper-parameters as one number."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.core.config import DiffConfig
from lamella.model.alignment import Alignment
from lamella.model.difference import TensorDifference
from lamella.model.graph_difference import GraphDifference
from lamella.model.parameter_distance import parameter_distance
from lamella.ops.comparison import Part, Total


def total(
    config: DiffConfig,
    graph: GraphDifference | None,
    alignment: Alignment,
    tensors: Sequence[TensorDifference],
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
            Part("parameters", config.parameters, parameter_distance(tensors)),
            Part("data", config.data, data),
            Part("hyperparameters", config.hyperparameters, hyperparameters),
        )
    )


def _structure(alignment: Alignment) -> float | None:
    matched = len(alignment.pairs)
    nodes = 2 * matched + len(alignment.removed) + len(alignment.added)
    return 1 - 2 * matched / nodes if nodes else None
