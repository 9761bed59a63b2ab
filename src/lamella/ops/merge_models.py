"""Merging models: planned, computed, and kept in the store as the file that is to be, or only looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lamella.core import fsio
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.companions import CompanionFinder
from lamella.model.merging.engine import MergedTensors, Outcome
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Conflict, MergePlan, Stack
from lamella.model.merging.planning import plan_merge
from lamella.model.merging.rules import Rules
from lamella.model.merging.vocabularies import Tell
from lamella.repo.joined_model import Model
from lamella.repo.manifest import Manifest
from lamella.repo.merged_container import Container, choose_container
from lamella.repo.merged_file import MergedFile, compute, merged_specs
from lamella.repo.repository import Repository
from lamella.repo.sketches import SketchCache
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.weights import ModelWeights
from lamella.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class MergedModel:
    """What became of a model: the plan, what was seen when tensors were computed, and the manifest of its file.

    `conflicts` are those of the plan and those that only the values showed; in the file, ours stands in their place.
    """

    plan: MergePlan
    outcomes: Mapping[str, Outcome]
    manifest: Manifest | None

    @property
    def conflicts(self) -> Mapping[str, Conflict]:
        """The tensors that somebody has to decide about, and why."""
        found = {one.name: one.conflict for one in self.plan.conflicts if one.conflict is not None}
        return found | {name: one.conflict for name, one in self.outcomes.items() if one.conflict is not None}


def examine(
    repository: Repository, base: Model | None, sides: Sequence[Model], rules: Rules, vocabularies: Tell = dict
) -> MergedModel:
    """Return what would become of a model, everything computed and nothing kept. Raises as `merge_in_store` does."""
    models = _models(base, sides, None)
    plan = plan_merge(models, rules, vocabularies)
    merged = MergedTensors(plan, models, rules.opposition, repository.config.threads, SILENT, CompanionFinder(models))
    for pieces in merged.stream([one.name for one in plan.tensors if isinstance(one.action, Compute | Stack)]):
        for _ in pieces:
            pass
    found = MergedModel(plan, merged.outcomes, None)
    container = _container(repository.existing_store(), base, sides, models, found)
    return replace(found, plan=replace(plan, warnings=(*plan.warnings, *container.warnings)))


def merge_in_store(
    repository: Repository,
    base: Model | None,
    sides: Sequence[Model],
    rules: Rules,
    progress: Progress = SILENT,
    vocabularies: Tell = dict,
) -> MergedModel:
    """Merge files of one store, each a Model of one file at a revision, and return the manifest of what they become.

    `vocabularies` are asked what stands in the rows of embeddings, if any grew; `repo.vocabularies` reads it. When this
    returns, its objects are durable. Raises UsageError (bad-argument) for rules that do not fit,
    ConflictError (merge-conflict) where no file can hold the result, NotFoundError (object-missing) where weights are
    not here, and IntegrityError where they are damaged.
    """
    store = repository.store
    models = _models(base, sides, SketchCache(repository.store_directory))
    plan = plan_merge(models, rules, vocabularies)
    progress.start("merging", _nbytes(plan))
    merged = MergedTensors(plan, models, rules.opposition, repository.config.threads, progress, CompanionFinder(models))
    fsio.make_directory(store.temporary, durable=False)
    with fsio.spool(store.temporary) as spool:
        computed = compute(plan, merged, spool)
        progress.finish()
        found = MergedModel(plan, merged.outcomes, None)
        container = _container(store, base, sides, models, found)
        parents = [_stored(model).manifest for model in (*sides, base) if model is not None and model.files]
        manifest = MergedFile(store, container.target, plan, models, computed, parents).check_in(progress)
    return replace(found, plan=replace(plan, warnings=(*plan.warnings, *container.warnings)), manifest=manifest)


def _container(
    store: ObjectStore, base: Model | None, sides: Sequence[Model], models: Models, found: MergedModel
) -> Container:
    opposed = {name for name, one in found.outcomes.items() if one.conflict is not None}
    start = None if base is None or not base.files else _stored(base)
    return choose_container(store, start, list(map(_stored, sides)), merged_specs(found.plan, models, opposed))


def _models(base: Model | None, sides: Sequence[Model], cache: SketchCache | None) -> Models:
    return Models(
        None if base is None else ModelWeights(base, cache), [ModelWeights(side, cache) for side in sides]
    )  # fmt: skip


def _stored(model: Model) -> StoredModelFile:
    (file,) = model.files
    assert isinstance(file, StoredModelFile)
    return file


def _nbytes(plan: MergePlan) -> int:
    return sum(one.spec.nbytes for one in plan.tensors if isinstance(one.action, Compute | Stack))
