"""`blame`: for each tensor the commit that last changed it, by how much, by whom and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lamella.core.errors import UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.measures import Measures
from lamella.ops.ancestry import Ancestry, matching
from lamella.repo.commits import CommitSummary, summaries
from lamella.repo.git import GitOid
from lamella.repo.manifest import Manifest
from lamella.repo.origins import Origin, trace
from lamella.repo.repository import Repository
from lamella.repo.targets import relative_to_root
from lamella.repo.versions import Manifests, Version, list_versions, rows_by_name

ADDED, CHANGED, RESHAPED, CAST, MERGED = "added", "changed", "reshaped", "cast", "merged"


@dataclass(frozen=True, slots=True)
class Source:
    """What a tensor was in one of the versions before: its name there, and how far it moved since.

    `measures` is None where weights were not to be read, are not here, or cannot be compared.
    """

    commit: GitOid
    name: str
    measures: Measures | None = None


@dataclass(frozen=True, slots=True)
class BlamedTensor:
    """A tensor and the commit that last changed it, in which it was called `name_then`.

    `what` is added, changed, reshaped, cast (another dtype), or merged: by a merge it became what it was on neither
    side. `sources` are what it was before, one for each version before that has it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    commit: GitOid
    what: str
    name_then: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class BlameReport:
    """The tensors of a model file, the commits that they come from, newest first, and how many versions there are.

    `unread` commits have a manifest that cannot be read: what they changed is told of those that come after them.
    """

    revision: str
    path: str
    versions: int
    commits: tuple[CommitSummary, ...]
    tensors: tuple[BlamedTensor, ...]
    unread: tuple[GitOid, ...] = ()


def blame(
    repository: Repository,
    specification: str,
    patterns: Sequence[str] = (),
    *,
    measured: bool = True,
    progress: Progress = SILENT,
) -> BlameReport:
    """Return where the tensors of the model file ``REV:PATH`` come from, all or those that match one of `patterns`.

    Ids in manifests tell it, through renames of tensors and of the file, and through merges; weights are read only to
    measure how far a tensor moved, and to find it again where the structure changed. Raises NotFoundError
    (revision-unknown, path-unknown, tensor-unknown), and UsageError (bad-argument) for the index.
    """
    revision, path = relative_to_root(repository, specification)
    names = matching(list(rows_by_name(committed(repository, revision, path))), patterns, specification)
    versions = list_versions(repository.git, revision, path)
    with repository.reader() as reader:
        manifests = Manifests(reader, versions)
        origins = trace(versions, manifests, next(iter(versions)), names)
        ancestry = Ancestry(repository, manifests)
        tensors = {name: _blamed(ancestry, name, origins[name]) for name in names}
        if measured:
            _measure(ancestry, versions, tensors, progress)
    used = {one.commit for one in tensors.values()}
    told = summaries(repository.git, (commit for commit in versions if commit in used))
    unread = tuple(sorted(manifests.unread))
    return BlameReport(revision, path, len(versions), tuple(told.values()), tuple(tensors.values()), unread)


def committed(repository: Repository, revision: str, path: str) -> Manifest:
    """Return the manifest at a revision; raise UsageError (bad-argument) for the index, of which there is no commit."""
    if not revision or revision.startswith(":"):
        hint = f"name a revision, as in `HEAD:{path}`"
        raise UsageError("what is only in the index was changed by no commit", kind="bad-argument", hint=hint)
    return repository.manifest(revision, path)


def _blamed(ancestry: Ancestry, name: str, origin: Origin) -> BlamedTensor:
    spec, version = origin.row.spec, origin.version
    before = [(parent, ancestry.before(version, parent, origin.name)) for parent in version.parents]
    sources = tuple(Source(parent, found) for parent, found in before if found is not None)
    if not sources:
        what = ADDED
    elif len(version.parents) > 1:
        what = MERGED
    else:
        earlier = ancestry.row(sources[0].commit, sources[0].name).spec
        what = RESHAPED if earlier.shape != spec.shape else CAST if earlier.dtype != spec.dtype else CHANGED
    return BlamedTensor(name, spec.dtype.name, spec.shape, spec.nbytes, version.commit, what, origin.name, sources)


def _measure(
    ancestry: Ancestry, versions: Mapping[GitOid, Version], tensors: dict[str, BlamedTensor], progress: Progress
) -> None:
    """Fill in how far each tensor moved, those of one pair of versions in one pass."""
    wanted: dict[tuple[GitOid, GitOid], dict[str, str]] = defaultdict(dict)
    for one in tensors.values():
        for source in one.sources:
            wanted[one.commit, source.commit][one.name_then] = source.name
    progress.start("measuring", 2 * sum(one.nbytes * len(one.sources) for one in tensors.values()))
    found = {
        (commit, parent, name): measures
        for (commit, parent), names in wanted.items()
        for name, measures in ancestry.measured(versions[commit], parent, names, progress)
    }
    progress.finish()
    for name, one in tensors.items():
        sources = tuple(
            replace(source, measures=found.get((one.commit, source.commit, one.name_then))) for source in one.sources
        )
        tensors[name] = replace(one, sources=sources)
