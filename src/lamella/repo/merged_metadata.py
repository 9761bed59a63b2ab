"""What several sides of a merge say beside their tensors, key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamella.core.limits import MAX_METADATA_NBYTES


def merge_metadata(
    base: Mapping[str, str], sides: Sequence[Mapping[str, str]]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the metadata of a merge, and the keys that several sides changed, each in its own way: ours stand there.

    A key that one side added, changed or took out is as that side has it.
    """
    made: dict[str, str] = {}
    disputed = []
    for key in dict.fromkeys(key for one in (*sides, base) for key in one):
        before = base.get(key)
        changed = [value for value in (side.get(key) for side in sides) if value != before]
        value = changed[0] if changed else before
        if len(set(changed)) > 1:
            value = sides[0].get(key)
            disputed.append(key)
        if value is not None:
            made[key] = value
    return made, tuple(disputed)


def is_whole(metadata: Mapping[str, str]) -> bool:
    """Say whether no value was cut for reading, so that it can be written again."""
    return all(len(value.encode()) < MAX_METADATA_NBYTES // 2 for value in metadata.values())
