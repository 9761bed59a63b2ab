"""What differs between two manifests, tensor by tensor, from their ids alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lamella.core.limits import MAX_METADATA_CHANGES
from lamella.repo.manifest import OPAQUE, Manifest, Row


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor that differs. `what` is added, removed, changed (other values), reshaped or cast (another dtype)."""

    name: str
    what: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    earlier: str | None = None


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """One thing that a file says beside its tensors and that differs; a missing side did not say it."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """One model file that differs. `what` is added, removed or changed; `total` counts the tensors of the newer side.

    `container` says that the tensors are the same and the format is another, `rest` that only the rest of the file is:
    its header, or what nobody reads as tensors. `metadata` is what changed in that rest, where `diff` could read it in
    both versions.
    """

    path: str
    what: str
    format: str
    total: int
    tensors: tuple[TensorChange, ...]
    container: bool
    rest: bool
    metadata: tuple[MetadataChange, ...] = ()

    def count(self, what: str) -> int:
        """Return how many tensors changed in the way called `what`."""
        return sum(change.what == what for change in self.tensors)


def compare(path: str, before: Manifest | None, after: Manifest | None) -> FileChange | None:
    """Return what changed in one model file, None where nothing did; a missing side is a file that is not there."""
    if before == after:
        return None
    newest = after or before
    assert newest is not None
    what = "added" if before is None else "removed" if after is None else "changed"
    changes = _tensor_changes(before, after)
    same = before is not None and after is not None and not changes and bool(newest.tensors)
    container = same and before is not None and before.format != newest.format
    return FileChange(path, what, newest.format, len(newest.tensors), changes, container, same and not container)


def compare_metadata(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[MetadataChange, ...]:
    """Return what differs between what two files say beside their tensors, some thousand keys at most."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return tuple(MetadataChange(key, before.get(key), after.get(key)) for key in keys[:MAX_METADATA_CHANGES])


def _tensor_changes(before: Manifest | None, after: Manifest | None) -> tuple[TensorChange, ...]:
    earlier, later = _by_name(before), _by_name(after)
    changes = []
    for name, row in later.items():
        old = earlier.get(name)
        if old is None:
            changes.append(_change(row, "added"))
        elif old.spec != row.spec:
            what = "cast" if old.spec.shape == row.spec.shape else "reshaped"
            changes.append(_change(row, what, f"{old.spec.dtype.name} {list(old.spec.shape)}"))
        elif old.object != row.object:
            changes.append(_change(row, "changed"))
    changes += [_change(row, "removed") for name, row in earlier.items() if name not in later]
    return tuple(changes)


def _by_name(manifest: Manifest | None) -> dict[str, Row]:
    if manifest is None:
        return {}
    if manifest.format != OPAQUE:
        return {row.spec.name: row for row in manifest.tensors}
    # The parts of an opaque file have no names of their own; what they hold tells them apart.
    return {f"part {row.object.hex()[:12]}": row for row in manifest.rows}


def _change(row: Row, what: str, earlier: str | None = None) -> TensorChange:
    spec = row.spec
    return TensorChange(spec.name, what, spec.dtype.name, spec.shape, spec.nbytes, earlier)
