"""Merging the three versions of one model file: what comes of it, counted for people and kept for resolving."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lamella.core.dtypes import DType
from lamella.core.errors import ConflictError, NotFoundError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging import plan as words
from lamella.model.merging.averaging import is_merged
from lamella.model.merging.choosing import strategy_named
from lamella.model.merging.plan import Compute, PlannedTensor, Stack
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Choice, Rules
from lamella.model.merging.strategies.builtin import STRATEGIES
from lamella.model.merging.vocabularies import Tell
from lamella.ops.merge_models import MergedModel, examine, merge_in_store
from lamella.repo.joined_model import Model, joined
from lamella.repo.manifest import OPAQUE, Manifest
from lamella.repo.merge_state import Blobs, FileMerge, TensorConflict
from lamella.repo.repository import Repository
from lamella.repo.settings import merge_settings
from lamella.repo.stored_model_file import StoredModelFile

REPLAYING = Rules(Choice("apply"), (("*num_batches_tracked", Choice("larger")),))
"""How a change is carried over to another version, as a cherry-pick, a revert, a rebase and a stash do: it is added."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a model file that a merge brings together; `base` is None where the sides come from none.

    `vocabularies` reads what stands in the rows of their embeddings, where the commits are known that have them.
    """

    path: str
    blobs: Blobs
    base: Manifest | None
    ours: Manifest
    theirs: Manifest
    vocabularies: Tell = dict


def usual_rules(root: Path | None, *, merging: bool) -> Rules:
    """Return the rules where nobody gave any: the project's, around `root`, or those for carrying over a change.

    Raises FormatError (settings-malformed).
    """
    return merge_settings(root) if merging else REPLAYING


def merge_file(
    repository: Repository, versions: Versions, rules: Rules, progress: Progress = SILENT
) -> tuple[FileMerge, Manifest | None]:
    """Merge the versions of one file; return what was found, and the manifest of what came of it.

    Its objects are durable. Tensors in conflict have the bytes of ours. The manifest is None, and `failure` says why,
    where only whole files can be taken. Raises NotFoundError (object-missing) where weights are not in the store, and
    UsageError (bad-argument) for rules that cannot be followed.
    """
    reason = _whole(versions)
    if reason is not None:
        return FileMerge(versions.path, versions.blobs, rules, failure=reason), None
    base, sides = _models(repository, versions, rules)
    try:
        merged = merge_in_store(repository, base, sides, rules, progress, versions.vocabularies)
    except NotFoundError as error:
        if error.kind != "object-missing":
            raise
        raise NotFoundError(
            "weights that it takes to merge it are not in this repository's store",
            kind="object-missing",
            hint="copy the packs of a clone that has them from its .git/lamella/packs, then merge again",
        ) from error
    return _found(versions, rules, merged), merged.manifest


def examine_file(repository: Repository, versions: Versions, rules: Rules) -> tuple[FileMerge, MergedModel | None]:
    """Return what `merge_file` would find, and the plan with it, without storing anything; raise as that does.

    Where that raises ConflictError (merge-conflict), since no file can hold the result, `failure` says so.
    """
    reason = _whole(versions)
    if reason is not None:
        return FileMerge(versions.path, versions.blobs, rules, failure=reason), None
    base, sides = _models(repository, versions, rules)
    try:
        merged = examine(repository, base, sides, rules, versions.vocabularies)
    except ConflictError as error:
        if error.kind != "merge-conflict":
            raise
        return FileMerge(versions.path, versions.blobs, rules, failure=error.message), None
    return _found(versions, rules, merged), merged


def _whole(versions: Versions) -> str | None:
    """Return why the file cannot be merged in parts, None where it can."""
    opaque = [name for name, one in (("ours", versions.ours), ("theirs", versions.theirs)) if one.format == OPAQUE]
    if opaque:
        return f"{' and '.join(opaque)} is of no known format, so only a whole file can be taken"
    if not versions.ours.tensors and not versions.theirs.tensors:
        return f"this {versions.ours.format} file has no tensors that can be read, so only a whole file can be taken"
    return None


def _models(repository: Repository, versions: Versions, rules: Rules) -> tuple[Model | None, list[Model]]:
    def opened(manifest: Manifest) -> Model:
        return joined(versions.path, [StoredModelFile(versions.path, manifest, repository.existing_store)], ())

    base = None if versions.base is None or versions.base.format == OPAQUE else opened(versions.base)
    return base or empty_base(versions.path, rules), [opened(versions.ours), opened(versions.theirs)]


def empty_base(path: str, rules: Rules) -> Model | None:
    """Return what stands for the version that sides come from where there is none: a model without tensors.

    Each tensor that is not the same on all sides is then a conflict. None where all strategies of the rules can do
    without a base.
    """
    choices = (rules.choice, *(choice for _, choice in rules.choices))
    taking = (OURS, THEIRS, FROM_BASE)
    needed = any(one.strategy not in taking and strategy_named(one.strategy).needs_base for one in choices)
    return Model(path, (), (), {}) if needed else None


def _found(versions: Versions, rules: Rules, merged: MergedModel) -> FileMerge:
    planned = {one.name: one for one in (*merged.plan.tensors, *merged.plan.removed)}
    conflicts = merged.conflicts
    counts = Counter("conflict" if name in conflicts else _origin(one) for name, one in planned.items())
    strategies = Counter(
        one.action.strategy
        for name, one in planned.items()
        if isinstance(one.action, Compute) and name not in conflicts
    )
    listed = []
    for name, one in conflicts.items():
        outcome, changed = merged.outcomes.get(name), planned[name].changed_by
        choices = _choices(one.kind, planned[name].spec.dtype, has_base=versions.base is not None)
        score = None if outcome is None else outcome.score
        listed.append(TensorConflict(name, one.kind, one.reason, changed, choices, score))
    left = {name: choice for name, choice in rules.resolutions.items() if name not in conflicts}
    return FileMerge(
        versions.path,
        versions.blobs,
        replace(rules, resolutions=left),
        conflicts=tuple(listed),
        counts=dict(counts),
        strategies=dict(strategies),
        warnings=merged.plan.warnings,
    )


def _origin(planned: PlannedTensor) -> str:
    """Return where a tensor of the result comes from, in a word."""
    if planned.state == words.UNCHANGED:
        return "unchanged"
    if isinstance(planned.action, Stack):
        return "united"
    if planned.state == words.MERGED:
        return "merged"
    if len(planned.changed_by) > 1:
        return "both"
    return OURS if planned.changed_by == (0,) else THEIRS


def _choices(kind: str, dtype: DType, *, has_base: bool) -> tuple[str, ...]:
    """Return what a conflict of a kind can be resolved with: where it is about values, strategies that merge them."""
    taking = (OURS, THEIRS, *((FROM_BASE,) if has_base else ()))
    if kind not in (words.OPPOSED, words.NOT_FINITE, words.NOT_AVERAGED, words.UNMERGEABLE):
        return taking
    return (*taking, *(name for name in STRATEGIES if is_merged(dtype, name, named=True)))
