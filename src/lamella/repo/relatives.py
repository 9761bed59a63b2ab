"""Which stored tensors a new model file may be made of: those of its other versions and of the models beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from lamella.core.errors import FormatError, IntegrityError, NotFoundError
from lamella.formats.base import TensorSpan
from lamella.repo.git import GitOid
from lamella.repo.manifest import OPAQUE, Manifest
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.worktree import model_entries
from lamella.store.kin import Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.proposals import LEAST_NBYTES

MOST_MODELS = 64
"""Model files beside a new one that are looked at: the shards of a large model, or a handful of conversions."""
LEAST_ROWS = 1024
"""Tensors beside a new model that are looked at however small it is, and"""
MOST_ROWS_PER_TENSOR = 8
"""how many more for each tensor of it, so that what is taken up grows with what is added."""
MOST_ASKED = 3
"""Tensors of a version before that are asked whether they were derived: what was converted once is so again."""


def needs_family(store: ObjectStore, spans: Sequence[TensorSpan], parents: Sequence[Manifest]) -> bool:
    """Say whether it is worth while to look beyond the version before: it lacks a tensor, or was derived itself."""
    rows = {row.spec: row.object for parent in reversed(parents) for row in parent.rows if not row.part}
    large = [span.spec for span in spans if span.spec.nbytes >= LEAST_NBYTES and not span.part]
    if any(spec not in rows for spec in large):
        return True
    try:
        asked = large[:: max(1, len(large) // MOST_ASKED)][:MOST_ASKED]
        return any(store.open(rows[spec]).sources for spec in asked)
    except (NotFoundError, IntegrityError):
        return False


def family_of(spans: Sequence[TensorSpan], parents: Iterable[Manifest], others: Iterable[Manifest]) -> Family:
    """Return the tensors of the versions before, and of the models beside as many as suit a file with such tensors.

    Of `others`, the likeliest first, no more are taken than it needs for that.
    """
    most = LEAST_ROWS + MOST_ROWS_PER_TENSOR * len(spans)
    nbytes = sum(span.spec.nbytes for span in spans)
    return Family(_relatives(parents), islice(_relatives(others), most), tensors=len(spans), nbytes=nbytes)


def _relatives(manifests: Iterable[Manifest]) -> Iterator[Relative]:
    return (
        Relative(row.spec, row.object) for manifest in manifests if manifest.format != OPAQUE for row in manifest.rows
    )


def models_beside(repository: Repository, reader: ObjectReader, path: str) -> Iterator[Manifest]:
    """Yield the manifests of other models in the index, as `manifests_beside` does."""
    if repository.git.worktree is not None:
        blobs = {entry.path: entry.oid for entry in model_entries(repository) if entry.stage == 0}
        yield from manifests_beside(reader, blobs, path)


def manifests_beside(reader: ObjectReader, blobs: Mapping[str, GitOid], path: str) -> Iterator[Manifest]:
    """Yield the manifests among some files but `path`, those first whose paths begin most alike.

    Each is read when it is asked for. One that is malformed is passed over.
    """
    others = sorted((other for other in blobs if other != path), key=lambda other: -_shared(other, path))
    for other in others[:MOST_MODELS]:
        try:
            manifest = manifest_at(reader, blobs[other])
        except FormatError:
            continue
        if manifest is not None:
            yield manifest


def _shared(path: str, other: str) -> int:
    """Return how many characters two paths begin with alike."""
    pairs = enumerate(zip(path, other, strict=False))
    return next((number for number, (one, two) in pairs if one != two), min(len(path), len(other)))
