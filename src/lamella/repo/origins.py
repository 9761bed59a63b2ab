"""Which version each tensor of a model file comes from, told from the ids in the manifests alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lamella.repo.git import GitOid
from lamella.repo.manifest import OPAQUE, Manifest, Row
from lamella.repo.versions import Manifests, Version


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor got the bytes that it has: at `version`, under `name`, with `row`."""

    version: Version
    name: str
    row: Row


def rows_by_name(manifest: Manifest | None) -> Mapping[str, Row]:
    """Return the tensors of a manifest; those of a file that is missing, or of no known format, are none."""
    if manifest is None or manifest.format == OPAQUE:
        return {}
    return {row.spec.name: row for row in manifest.tensors}


def trace(
    versions: Mapping[GitOid, Version], manifests: Manifests, tip: GitOid, names: Iterable[str]
) -> Mapping[str, Origin]:
    """Return for each tensor of the version `tip` the last version that changed it.

    A version passes a tensor on to the first of its parents that has the same bytes under the same name, or else under
    one that is gone since then and that alone has them. So a tensor that was only renamed is not changed, and a merge
    changed only what neither of its sides had.
    """
    found: dict[str, Origin] = {}
    pending: dict[GitOid, dict[str, list[str]]] = {tip: {name: [name] for name in names}}
    for version in newest_first(versions, tip):
        wanted = pending.pop(version.commit, {})
        rows = rows_by_name(manifests[version.commit]) if wanted else {}
        for parent in version.parents if wanted else ():
            earlier = rows_by_name(manifests[parent])
            for name, before in _passed(wanted, rows, earlier).items():
                pending.setdefault(parent, {}).setdefault(before, []).extend(wanted.pop(name))
        for name, called in wanted.items():
            found.update((one, Origin(version, name, rows[name])) for one in called)
        manifests.forget(version.commit)
        if not pending:
            break
    return found


def newest_first(versions: Mapping[GitOid, Version], tip: GitOid) -> Iterator[Version]:
    """Yield the versions that `tip` comes from, each behind all those that come from it."""
    children = Counter(parent for version in _reachable(versions, tip) for parent in version.parents)
    ready = [tip]
    while ready:
        version = versions[ready.pop()]
        yield version
        for parent in version.parents:
            children[parent] -= 1
            if not children[parent]:
                ready.append(parent)


def _reachable(versions: Mapping[GitOid, Version], tip: GitOid) -> Iterator[Version]:
    seen, waiting = {tip}, [tip]
    while waiting:
        version = versions[waiting.pop()]
        yield version
        for parent in version.parents:
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)


def _passed(wanted: Iterable[str], rows: Mapping[str, Row], earlier: Mapping[str, Row]) -> dict[str, str]:
    """Return those of `wanted` that `earlier` has as they are, with their names there."""
    passed, other = {}, set()
    for name in wanted:
        if earlier.get(name) == rows[name]:
            passed[name] = name
        else:
            other.add(name)
    if other:
        gone = _singles(row for name, row in earlier.items() if name not in rows)
        new = _singles(row for name, row in rows.items() if name not in earlier) if gone else {}
        passed |= {name: gone[key] for key, name in new.items() if key in gone and name in other}
    return passed


def _singles(rows: Iterable[Row]) -> dict[tuple[object, ...], str]:
    """Return rows that nothing else is like, by what they are."""
    found: dict[tuple[object, ...], str] = {}
    several = set()
    for row in rows:
        key = (row.spec.dtype.name, row.spec.shape, row.object)
        if key in found:
            several.add(key)
        found[key] = row.spec.name
    return {key: name for key, name in found.items() if key not in several}
