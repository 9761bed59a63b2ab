"""Which version each tensor of a model file comes from, told from the ids in the manifests alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from lamella.core.dtypes import DType
from lamella.core.ids import ObjectId
from lamella.repo.git import GitOid
from lamella.repo.manifest import Row
from lamella.repo.versions import Manifests, Version


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor got the bytes that it has: at `version`, under `name`, with `row`."""

    version: Version
    name: str
    row: Row


def trace(
    versions: Mapping[GitOid, Version], manifests: Manifests, tip: GitOid, names: Iterable[str]
) -> Mapping[str, Origin]:
    """Return for each tensor of the version `tip` the last version that changed it.

    A version passes a tensor on to the first of its parents that has the same bytes under the same name, or else under
    another, where no two tensors have them. So a tensor that was only renamed is not changed, and a merge changed only
    what neither of its sides had.
    """
    found: dict[str, Origin] = {}
    pending: dict[GitOid, dict[str, list[str]]] = {tip: {name: [name] for name in names}}
    for version in newest_first(versions, tip):
        wanted = pending.pop(version.commit, {})
        if not wanted:
            continue
        rows = manifests.rows(version.commit)
        for parent in version.parents:
            for name, before in passed(wanted, rows, manifests.rows(parent)).items():
                pending.setdefault(parent, {}).setdefault(before, []).extend(wanted.pop(name))
        for name, called in wanted.items():
            found.update((one, Origin(version, name, rows[name])) for one in called)
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


def passed(wanted: Iterable[str], rows: Mapping[str, Row], earlier: Mapping[str, Row]) -> dict[str, str]:
    """Return those of `wanted` that an `earlier` version has as they are, with their names there.

    That is the same name, or else the one that alone has the same bytes, where they stand once in `rows` too.
    """
    kept, other = {}, dict[Content, str]()
    for name in wanted:
        row = rows[name]
        if earlier.get(name) == row:
            kept[name] = name
        else:
            other[_content(row)] = name
    if other:
        before, after = (_singles(side.values(), other) for side in (earlier, rows))
        kept |= {name: before[content] for content, name in after.items() if content in before}
    return kept


Content = tuple[ObjectId, DType, tuple[int, ...]]


def _content(row: Row) -> Content:
    return row.object, row.spec.dtype, row.spec.shape


def _singles(rows: Iterable[Row], looked_for: Collection[Content]) -> dict[Content, str]:
    """Return by content the names of rows that hold what is looked for and that no other row holds."""
    objects = {content[0] for content in looked_for}
    found: dict[Content, list[str]] = {}
    for row in rows:
        if row.object in objects:
            found.setdefault(_content(row), []).append(row.spec.name)
    return {content: names[0] for content, names in found.items() if len(names) == 1 and content in looked_for}
