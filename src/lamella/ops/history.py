"""`history`: one tensor through all versions of its model: how far each moved it, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lamella.core.errors import NotFoundError
from lamella.core.progress import SILENT, Progress
from lamella.model.measures import Measures
from lamella.ops.ancestry import Ancestry, matching
from lamella.ops.blame import committed
from lamella.repo.commits import CommitSummary, summaries
from lamella.repo.git import GitOid
from lamella.repo.origins import newest_first, passed
from lamella.repo.repository import Repository
from lamella.repo.targets import relative_to_root
from lamella.repo.versions import Manifests, Version, list_versions, rows_by_name


@dataclass(frozen=True, slots=True)
class TensorVersion:
    """A version that changed a tensor, what it was called there, and what it was before.

    `source` is the version before that it is measured against, the first of a merge; it is None, as is `measures`,
    where the tensor was new. `norm` is its Euclidean norm. Measures and norm are None too where weights are not here or
    have no values that can be compared.
    """

    commit: CommitSummary
    path: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    source: GitOid | None
    measures: Measures | None
    norm: float | None


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """One tensor of a model file, and all versions that changed it, newest first; `unread` is as in `BlameReport`."""

    revision: str
    path: str
    name: str
    versions: tuple[TensorVersion, ...]
    unread: tuple[GitOid, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    version: Version
    name: str
    source: GitOid | None
    before: str | None


def history(repository: Repository, specification: str, tensor: str, progress: Progress = SILENT) -> HistoryReport:
    """Return the versions that changed one tensor of the model file ``REV:PATH``, on all branches that were merged.

    It is followed under the names that it had before, and with the file. Raises NotFoundError (revision-unknown,
    path-unknown, tensor-unknown), and UsageError (bad-argument) for the index.
    """
    revision, path = relative_to_root(repository, specification)
    rows = rows_by_name(committed(repository, revision, path))
    if tensor not in rows:
        matching(list(rows), [tensor], specification)
        hint = "name one tensor; `lamella blame` takes patterns"
        raise NotFoundError(f"{specification} has no tensor {tensor!r}", kind="tensor-unknown", hint=hint)
    versions = list_versions(repository.git, revision, path)
    with repository.reader() as reader:
        manifests = Manifests(reader, versions)
        ancestry = Ancestry(repository, manifests)
        steps = list(_steps(versions, manifests, ancestry, tensor))
        told = summaries(repository.git, [step.version.commit for step in steps])
        progress.start("measuring", 2 * rows[tensor].spec.nbytes * len(steps))
        found = tuple(_described(step, told, ancestry, progress) for step in steps)
        progress.finish()
    return HistoryReport(revision, path, tensor, found, tuple(sorted(manifests.unread)))


def _steps(
    versions: Mapping[GitOid, Version], manifests: Manifests, ancestry: Ancestry, tensor: str
) -> Iterator[_Step]:
    tip = next(iter(versions))
    pending: dict[GitOid, dict[str, None]] = {tip: {tensor: None}}
    for version in newest_first(versions, tip):
        for name in pending.pop(version.commit, {}):
            rows = manifests.rows(version.commit)
            for parent in version.parents:
                kept = passed([name], rows, manifests.rows(parent)).get(name)
                if kept is not None:
                    pending.setdefault(parent, {})[kept] = None
                    break
            else:
                before = [(parent, ancestry.before(version, parent, name)) for parent in version.parents]
                sources = [(parent, found) for parent, found in before if found is not None]
                yield _Step(version, name, *(sources[0] if sources else (None, None)))
                for parent, found in sources:
                    pending.setdefault(parent, {})[found] = None
        if not pending:
            return


def _described(
    step: _Step, told: Mapping[GitOid, CommitSummary], ancestry: Ancestry, progress: Progress
) -> TensorVersion:
    version, spec = step.version, ancestry.row(step.version.commit, step.name).spec
    measures, known = None, None
    if step.source is not None and step.before is not None:
        measures = dict(ancestry.measured(version, step.source, {step.name: step.before}, progress)).get(step.name)
        if ancestry.row(step.source, step.before).spec.shape == spec.shape:
            known = measures
    if known is None:  # of a tensor that was resized, what both versions have is measured, and not all of it
        known = dict(ancestry.measured(version, version.commit, {step.name: step.name}, progress)).get(step.name)
    norm = None if known is None else known.norm_after
    commit = told[version.commit]
    return TensorVersion(commit, version.path, step.name, spec.dtype.name, spec.shape, step.source, measures, norm)
