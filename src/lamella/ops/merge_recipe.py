"""`merge RECIPE.yml`: a model made of others as a recipe says, and written as a file that says how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.errors import ConflictError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.writers import writer_for
from lamella.model.merging.engine import MergedTensors
from lamella.model.merging.models import Models
from lamella.model.merging.plan import NOT_FINITE, Compute, MergePlan, Place, PlannedTensor, Take
from lamella.model.merging.recipe import Recipe
from lamella.model.merging.recipe_planning import plan_recipe
from lamella.ops.export import export
from lamella.ops.export_values import ExportOptions, ExportReport
from lamella.repo.joined_model import Model
from lamella.repo.loaded import LoadedModel
from lamella.repo.manifest import naming
from lamella.repo.mergekit import read_recipe
from lamella.repo.source import ModelSource
from lamella.repo.targets import opened_source
from lamella.repo.weights import ModelWeights

RECIPE = "lamella.recipe"
"""The key of a file's metadata that has the recipe it was made by, and the ids of the models that went into it."""

DEFAULT_NAME = "model.safetensors"


_NOT_FINITE = "`lamella health` finds a model that is not, and a wider `dtype:` holds what overflows"
"""What to do about elements that would not be finite."""


@dataclass(frozen=True, slots=True)
class RecipeTensor:
    """A tensor that a recipe makes: by which strategy, None for the bytes of one model as they are, and of what.

    `sources` are pairs of a model, as the recipe calls it, and its tensor; the base, where there is one, is `base`.
    `values` are what the strategy is told, one number or one for each source.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strategy: str | None
    base: tuple[str, str] | None
    sources: tuple[tuple[str, str], ...]
    weights: tuple[float, ...]
    values: Mapping[str, float | tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class RecipeReport:
    """What a recipe makes; `inputs` are the ids of its models, `written` is None where nothing was to be written."""

    method: str
    inputs: Mapping[str, str]
    tensors: tuple[RecipeTensor, ...]
    warnings: tuple[str, ...]
    written: ExportReport | None


def merge_recipe(
    data: bytes,
    out: Path | None,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    *,
    label: str = "the recipe",
    shard_nbytes: int | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> RecipeReport:
    """Make the model of a recipe, whose models are named as seen from `directory`, and write it to `out`.

    A folder, or a name without a suffix, gets a file `model.safetensors`. Without `out` nothing is computed or written.
    What is written is wholly there or not at all; it holds the recipe and the ids of its models, by which the same file
    can be made again. Raises UsageError (bad-argument) for recipes that cannot be followed, FormatError
    (header-malformed) for what is no recipe, ConflictError (merge-conflict) where values would not be finite, and as
    `opened_source` and `export` do.
    """
    with naming(label):
        recipe = read_recipe(data)
    with ExitStack() as closing:
        opened = {name: closing.enter_context(opened_source(name, directory, environment)) for name in recipe.models()}
        for name, model in opened.items():
            model.check_whole()
            if not model.names:
                hint = "a recipe is made of models: files, folders, REV:PATH or PATH@REV"
                raise UsageError(f"{name} has no tensors", kind="bad-argument", hint=hint)
        models = Models(None, [ModelWeights(model) for model in opened.values()])
        plan = plan_recipe(recipe, models, {name: number for number, name in enumerate(opened)})
        inputs = {name: model.model_id() for name, model in opened.items()}
        written = None
        if out is not None:
            source = _Made(recipe, plan, models, opened)
            made = json.dumps({"inputs": inputs, "recipe": data.decode()}, sort_keys=True, ensure_ascii=False)
            options = ExportOptions(metadata={RECIPE: made}, shard_nbytes=shard_nbytes, force=force)
            written = _written(source, _file(directory / out), options, progress)
        tensors = tuple(_told(one, list(opened)) for one in plan.tensors)
    return RecipeReport(recipe.method, inputs, tensors, plan.warnings, written)


def _written(source: ModelSource, out: Path, options: ExportOptions, progress: Progress) -> ExportReport:
    """Write a model; where that takes options which only `lamella export` has, point to it."""
    try:
        if writer_for(out).name != "safetensors":
            options = replace(options, metadata={})  # other containers have no place for it
        return export(source, out, options, progress)
    except UsageError as exc:
        if exc.hint is None or not any(option in exc.hint for option in ("--format", "--metadata")):
            raise
        hint = "write a .safetensors file; `lamella export` makes others of it"
        raise UsageError(exc.message, kind=exc.kind, hint=hint) from exc


def _told(planned: PlannedTensor, names: Sequence[str]) -> RecipeTensor:
    spec, action = planned.spec, planned.action

    def place(at: Place) -> tuple[str, str]:
        return names[at.side], at.name

    common = (spec.name, spec.dtype.name, spec.shape)
    if isinstance(action, Compute):
        told, base = action.settings, None if action.base is None else place(action.base)
        return RecipeTensor(
            *common, action.strategy, base, tuple(map(place, action.sides)), told.weights, {**told.values, **told.apart}
        )
    assert isinstance(action, Take)
    return RecipeTensor(*common, None, None, (place(action.place),), (), {})


def _file(out: Path) -> Path:
    """Return the file to write: a folder, which is made where it is missing, gets one of the usual name."""
    if not out.suffix and not out.is_file():
        fsio.make_directory(out)
    return out / DEFAULT_NAME if out.is_dir() else out


class _Made:
    """The model that a recipe makes, as a ModelSource: computed as it is read."""

    files = 0
    data_files: Mapping[str, int] = {}

    def __init__(self, recipe: Recipe, plan: MergePlan, models: Models, opened: Mapping[str, Model]) -> None:
        self._merged = MergedTensors(plan, models, threads=DEFAULT.threads)
        first = recipe.base if recipe.base is not None else next(iter(opened))
        self._like = LoadedModel(opened[first])
        self.label = "the recipe"
        self.format = self._like.format

    @cached_property
    def model_id(self) -> str:
        """Raise: it is known once all was computed."""
        raise NotImplementedError

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors of the result."""
        return self._merged.specs()

    def metadata(self) -> Mapping[str, str]:
        """Return what the base, or the first model, says beside its tensors, less a recipe of its own."""
        return {key: value for key, value in self._like.metadata().items() if key != RECIPE}

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield the tensors; raise ConflictError (merge-conflict) behind one that has no finite mean."""
        for name, pieces in zip(names, self._merged.stream(names), strict=True):
            yield self._checked(name, pieces)

    def _checked(self, name: str, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        yield from pieces
        outcome = self._merged.outcomes.pop(name, None)
        if outcome is not None and outcome.conflict is not None:
            way = _NOT_FINITE if outcome.conflict.kind == NOT_FINITE else "choose another `merge_method:` for it"
            said, hint = f"{name}: {outcome.conflict.reason}", f"nothing was written; {way}"
            raise ConflictError(said, kind="merge-conflict", hint=hint)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return some bytes of a tensor, all of which is computed."""
        return b"".join(map(bytes, next(self.stream([name]))))[start:stop]

    def file_pieces(self, data_file: str | None = None) -> Iterator[Buffer]:  # noqa: ARG002 -- it has none
        """Raise UsageError (bad-argument): there is no file yet."""
        raise UsageError(f"{self.label} is in no file", kind="bad-argument")
