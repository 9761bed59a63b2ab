"""Two models compared as a person asks: interface, structure, parameters, training, and one number for all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

from lamella.core.config import DEFAULT, DEFAULT_DIFF, DiffConfig
from lamella.core.errors import NotFoundError
from lamella.core.graphs import Graph
from lamella.core.progress import SILENT, Progress
from lamella.model.align import align
from lamella.model.alignment import Alignment, Pair
from lamella.model.epsilons import EpsilonRules
from lamella.model.graph_diff import graph_difference, telling_tensors
from lamella.model.graph_difference import GraphDifference
from lamella.model.tensor_differences import Measuring, tensor_differences
from lamella.ops.changes import compare_metadata
from lamella.ops.comparison import ModelComparison
from lamella.ops.interface import interface_changes
from lamella.ops.total import total
from lamella.ops.training import hyperparameter_distance, split_training
from lamella.repo.joined_model import Model
from lamella.repo.loaded import LoadedModel
from lamella.repo.sketches import SketchCache
from lamella.repo.weights import ModelWeights

Graphs = tuple[Graph | None, Graph | None]
"""What two models compute, before and after; None where that is not known, or not in the words of the other side."""


@dataclass(frozen=True, slots=True)
class Comparing:
    """How two models are compared.

    `config` is the project's; `epsilons` stand before its own. Only tensors that match one of `layers` are measured,
    all without any. `spectra` and `histograms` take time and are left out unless they are asked for.
    """

    config: DiffConfig = DEFAULT_DIFF
    epsilons: tuple[tuple[str, float], ...] = ()
    layers: tuple[str, ...] = ()
    spectra: bool = False
    histograms: bool = False
    threads: int = DEFAULT.threads

    @property
    def measuring(self) -> Measuring:
        """What is measured of each tensor."""
        rules = EpsilonRules((*self.epsilons, *self.config.epsilons))
        return Measuring(rules, histograms=self.histograms, spectra=self.spectra, threads=self.threads)


def compare_models(
    before: Model,
    after: Model,
    how: Comparing | None = None,
    *,
    graphs: Graphs = (None, None),
    data: float | None = None,
    cache: SketchCache | None = None,
    progress: Progress = SILENT,
) -> ModelComparison:
    """Return what changed between two models, wherever they are; both stay open until it returns.

    `graphs` are what they compute, where both sides say so in the same words; without them structure is told by names.
    `data` is how far their training data are apart, from 0 to 1, where somebody knows. Tensors with the same id are not
    read. `cache` has sketches of tensors that were seen before, and gets those of others. Raises NotFoundError
    (path-unknown) where a file of a model is missing, NotFoundError (tensor-unknown) for a pattern in `how.layers` that
    nothing matches, and what reading raises.
    """
    how = how or Comparing()
    _check_layers(how.layers, before, after)
    sources = LoadedModel(before), LoadedModel(after)
    alignment = align(ModelWeights(before, cache), ModelWeights(after, cache))
    graph = _graph_difference(graphs, alignment, before)
    chosen = [pair for pair in alignment.pairs if _is_chosen(pair, how.layers)]
    same = {pair for pair in chosen if _object(before, pair.before) == _object(after, pair.after)}
    progress.start("comparing", sum(_nbytes(pair, before, after) for pair in chosen if pair not in same))
    tensors = tuple(tensor_differences(*sources, chosen, same, how.measuring, progress))
    progress.finish()
    said = sources[0].metadata(), sources[1].metadata()
    training, other = split_training(compare_metadata(*said))
    return ModelComparison(
        before=before.path,
        after=after.path,
        format_before=sources[0].format,
        format_after=sources[1].format,
        model_id_before=sources[0].model_id,
        model_id_after=sources[1].model_id,
        parameters_before=_parameters(sources[0]),
        parameters_after=_parameters(sources[1]),
        interface=interface_changes(graph, tensors, *said),
        graph=graph,
        alignment=alignment,
        tensors=tensors,
        training=training,
        other=other,
        total=total(how.config, graph, alignment, tensors, data, hyperparameter_distance(*said)),
        removed=tuple(map(before.spec, alignment.removed)),
        added=tuple(map(after.spec, alignment.added)),
    )


def _graph_difference(graphs: Graphs, alignment: Alignment, before: Model) -> GraphDifference | None:
    """Return what became of the nodes, those that take tensors being told by what became of these."""
    earlier, later = graphs
    if earlier is None or later is None:
        return None
    return graph_difference(earlier, later, telling_tensors(alignment.pairs, before.spec))


def _check_layers(layers: Sequence[str], *models: Model) -> None:
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for model in models for name in model.names):
            hint = "`*` stands for any letters, dots too, as in '*.bias'"
            raise NotFoundError(f"no side has a tensor like {pattern!r}", kind="tensor-unknown", hint=hint)


def _is_chosen(pair: Pair, layers: Sequence[str]) -> bool:
    return not layers or any(fnmatchcase(name, glob) for name in (pair.before, pair.after) for glob in layers)


def _object(model: Model, name: str) -> object:
    row = model.rows[name]
    return row.spec.dtype, row.spec.shape, row.object


def _nbytes(pair: Pair, before: Model, after: Model) -> int:
    return before.spec(pair.before).nbytes + after.spec(pair.after).nbytes


def _parameters(source: LoadedModel) -> int:
    return sum(prod(spec.shape) for spec in source.specs())
