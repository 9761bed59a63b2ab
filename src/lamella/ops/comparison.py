"""What changed between two models, in the order in which a person asks: the report of `diff`."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.tensors import TensorSpec
from lamella.model.alignment import Alignment
from lamella.model.difference import TensorDifference, weights_of
from lamella.model.graph_difference import GraphDifference
from lamella.ops.changes import MetadataChange

_TOLD_BY_GRAPH = ("layer:", "nodes.")
"""Metadata that says of the layers and operators of a file what its graph says better."""


@dataclass(frozen=True, slots=True)
class InterfaceChange:
    """Something that whoever uses the model has to know: `what` is an input, an output, the vocabulary, the classes."""

    what: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """One summand of the total: its `distance` from 0 to 1, None where neither side says anything, and its weight."""

    name: str
    weight: float
    distance: float | None


@dataclass(frozen=True, slots=True)
class Total:
    """The weighted total of the parts that are known, from 0, the same, to 1, nothing in common.

    T = sum of weight * distance over the sum of the weights of what is known.
    """

    parts: tuple[Part, ...]

    @property
    def value(self) -> float:
        """T itself."""
        known = [part for part in self.parts if part.distance is not None]
        largest = max((part.weight for part in known), default=0.0)
        if not largest:
            return 0.0
        shares = [part.weight / largest for part in known]  # the sum of weights themselves may be beyond all floats
        return sum(share * (part.distance or 0.0) for share, part in zip(shares, known, strict=True)) / sum(shares)


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models and what changed from one to the other.

    `before` and `after` are what the two are called, `format_*` their containers, `parameters_*` how many elements all
    tensors have. `graph` is None where a side has no graph but its names. `tensors` are all that are on both sides, in
    the order of the model after, `removed` and `added` those that are on one side alone. `training` is what metadata
    says of hyper-parameters and environment, `other` the rest of it.
    """

    before: str
    after: str
    format_before: str
    format_after: str
    model_id_before: str
    model_id_after: str
    parameters_before: int
    parameters_after: int
    interface: tuple[InterfaceChange, ...]
    graph: GraphDifference | None
    alignment: Alignment
    tensors: tuple[TensorDifference, ...]
    training: tuple[MetadataChange, ...]
    other: tuple[MetadataChange, ...]
    total: Total
    removed: tuple[TensorSpec, ...] = ()
    added: tuple[TensorSpec, ...] = ()

    @property
    def untold(self) -> tuple[MetadataChange, ...]:
        """What `other` says that neither the interface nor the graph tells better."""
        told = {one.name for one in self.interface}
        beside = _TOLD_BY_GRAPH if self.graph is not None else ()
        return tuple(one for one in self.other if one.key not in told and not one.key.startswith(beside))

    @property
    def weights(self) -> tuple[TensorDifference, ...]:
        """What is on both sides without the state of an optimizer, which moves far at every step."""
        return weights_of(self.tensors)
