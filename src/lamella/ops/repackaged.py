"""The same weights in other files: what left under one path and came back under others, told by model ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import dirname

from lamella.repo.manifest import OPAQUE, Manifest, Row


@dataclass(frozen=True, slots=True)
class Repackaged:
    """Files `before` that are gone and files `after` that are new, with the same weights.

    `container` says whether anything but the path is another.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    model_id: str
    container: bool


def find_repackaged(gone: Mapping[str, Manifest], new: Mapping[str, Manifest]) -> tuple[Repackaged, ...]:
    """Return which files of `gone` have the weights of which in `new`: one file, or all of them in a folder."""
    if not gone or not new:
        return ()
    found = []
    left, came = dict(gone), dict(new)
    for grouped in (False, True):
        known = dict(_sets(left, grouped=grouped))
        for identity, after in list(_sets(came, grouped=grouped)):
            before = known.pop(identity, ())
            if not before or not left.keys() >= set(before) or not came.keys() >= set(after):
                continue
            container = [left[path] for path in before] != [came[path] for path in after]
            found.append(Repackaged(before, after, identity, container))
            left = {path: one for path, one in left.items() if path not in before}
            came = {path: one for path, one in came.items() if path not in after}
    return tuple(found)


def _sets(manifests: Mapping[str, Manifest], *, grouped: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the model ids of files, and where `grouped` those of folders too, each with its paths."""
    models = {path: one for path, one in manifests.items() if one.format != OPAQUE and one.tensors}
    folders: dict[str, list[str]] = {}
    for path, manifest in models.items():
        yield manifest.model_id(), (path,)
        folders.setdefault(dirname(path), []).append(path)
    for paths in folders.values() if grouped else ():
        identity = _joined_id([models[path] for path in paths]) if len(paths) > 1 else None
        if identity is not None:
            yield identity, tuple(paths)


def _joined_id(manifests: list[Manifest]) -> str | None:
    """Return the model id of several files, None where they have different tensors of one name."""
    rows: dict[str, Row] = {}
    for row in (row for manifest in manifests for row in manifest.tensors):
        known = rows.setdefault(row.spec.name, row)
        if (known.spec, known.object) != (row.spec, row.object):
            return None
    return Manifest("joined", None, tuple(rows.values())).model_id()
