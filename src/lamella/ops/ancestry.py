"""What the tensors of a version were in the versions that it came from, and how far they moved since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from lamella.core.errors import ConflictError, FormatError, IntegrityError, NotFoundError
from lamella.core.progress import SILENT, Progress
from lamella.model.align import align
from lamella.model.alignment import NAME, Pair
from lamella.model.measures import Measures
from lamella.model.tensor_differences import tensor_differences
from lamella.repo.git import GitOid
from lamella.repo.joined_model import joined
from lamella.repo.manifest import Row
from lamella.repo.repository import Repository
from lamella.repo.sketches import SketchCache
from lamella.repo.snapshot import Snapshot
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.versions import Manifests, Version
from lamella.repo.weights import ModelWeights

_UNREADABLE = (NotFoundError, IntegrityError, ConflictError, FormatError)
"""What reading the weights of a version raises that are not here, are damaged, or are not those that it lists."""


class Ancestry:
    """The tensors of versions beside those of the versions before. Weights are read only where they must be."""

    def __init__(self, repository: Repository, manifests: Manifests) -> None:
        self._repository = repository
        self._manifests = manifests
        self._names: dict[tuple[GitOid, GitOid], Mapping[str, str]] = {}

    def before(self, version: Version, parent: GitOid, name: str) -> str | None:
        """Return what a tensor of `version` was called in `parent`; None where it was not there.

        Where both have the same tensors, names tell it; where the structure changed, names may be wrong, and weights
        do. Without the weights, names are believed.
        """
        key = (version.commit, parent)
        if key not in self._names:
            self._names[key] = self._paired(*key)
        return self._names[key].get(name)

    def row(self, commit: GitOid, name: str) -> Row:
        """Return a tensor of a version."""
        return self._manifests.rows(commit)[name]

    def _paired(self, commit: GitOid, parent: GitOid) -> Mapping[str, str]:
        rows, earlier = self._manifests.rows(commit), self._manifests.rows(parent)
        if rows.keys() == earlier.keys() and all(earlier[name].spec == row.spec for name, row in rows.items()):
            return {name: name for name in rows}
        before, after = self._manifests[parent], self._manifests[commit]
        if before is None or after is None:
            return {}
        store = self._repository.existing_store
        cache = SketchCache(self._repository.store_directory)
        sides = [joined("", [StoredModelFile("", manifest, store)], ()) for manifest in (before, after)]
        try:
            found = align(*(ModelWeights(side, cache) for side in sides))
        except _UNREADABLE:
            return {name: name for name in rows if name in earlier}
        return {pair.after: pair.before for pair in found.pairs}

    def measured(
        self, version: Version, parent: GitOid, names: Mapping[str, str], progress: Progress = SILENT
    ) -> Iterator[tuple[str, Measures | None]]:
        """Yield tensors of `version`, keys of `names`, with how far they moved from what `parent` has.

        The values of `names` are what they are called there. Nothing is yielded any more where weights are not here,
        or are damaged.
        """
        before, after = self._manifests[parent], self._manifests[version.commit]
        if before is None or after is None:
            return
        pairs = [Pair(old, new, NAME, 1.0) for new, old in names.items()]
        try:
            store = self._repository.existing_store()
            sides = [Snapshot(store, manifest, version.path, rows_alone=True) for manifest in (before, after)]
            for found in tensor_differences(sides[0], sides[1], pairs, progress=progress):
                yield found.after.name, found.measures
        except _UNREADABLE:
            return


def matching(names: Sequence[str], patterns: Sequence[str], label: str) -> list[str]:
    """Return those of `names` that one of `patterns` fits, all without any; `*` also stands for dots.

    Raises NotFoundError (tensor-unknown) for a pattern that fits none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            hint = "`*` stands for any letters, dots too, as in '*.bias'"
            raise NotFoundError(f"{label} has no tensor like {pattern!r}", kind="tensor-unknown", hint=hint)
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
