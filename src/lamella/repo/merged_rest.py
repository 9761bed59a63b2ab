"""What the file of a merge says beside its tensors: what one side says, or key by key what all of them do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.sniff import is_described
from lamella.model.merging.rules import OURS
from lamella.model.merging.unions import side_name
from lamella.repo.file_rest import digest_rest
from lamella.repo.manifest import OPAQUE
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore

_KEYED = "safetensors"
"""The container that says all it says beside its tensors by keys, so that it can be written anew with others."""

_MOST_KEYS = 3
"""Keys that a warning names."""


@dataclass(frozen=True, slots=True)
class Container:
    """What merged tensors are put into: a copy of `template`, or a file that is written anew with `metadata`.

    `metadata` is None where files say more beside their tensors than can be written again. `warnings` say what sides
    changed there that has no place in the merge.
    """

    template: StoredModelFile | None
    metadata: Mapping[str, str] | None
    warnings: tuple[str, ...] = ()


def choose_container(
    store: ObjectStore,
    base: StoredModelFile | None,
    sides: Sequence[StoredModelFile | None],
    specs: Collection[TensorSpec],
) -> Container:
    """Return what tensors like `specs` are put into: the file of a side that has just these, if there is one.

    One that changed more than its tensors comes before others, and ours first. Raises as `digest_rest` does.
    """
    rest = cache(lambda file: digest_rest(store, file.manifest))
    template = _template(base, sides, set(specs), rest)
    files = [file for file in sides if file is not None]
    before, said = _metadata(base), [_metadata(file) for file in files]
    merged = merge_metadata(before, said)
    if {file.format for file in files} == {_KEYED} and all(map(_is_whole, said)):
        fits = template is not None and _metadata(template) == merged
        return Container(template if fits else None, merged, _left_out(before, sides, merged, OURS))
    if template is None:
        return Container(None, None if any(said) else {})
    kept = [rest(file) for file in (base, template) if file is not None]
    left = [side if side is not None and rest(side) not in kept else None for side in sides]
    whose = next((side_name(number) for number, side in enumerate(sides) if side is template), "the base")
    return Container(template, {}, _left_out(before, left, _metadata(template), whose, always=True))


def _template(
    base: StoredModelFile | None,
    sides: Sequence[StoredModelFile | None],
    specs: set[TensorSpec],
    rest: Callable[[StoredModelFile], bytes],
) -> StoredModelFile | None:
    """Return the file whose tensors are just these, None where no such file can be filled with others."""
    fitting = [file for file in (*sides, base) if file is not None and set(file.specs.values()) == specs]
    fitting = [file for file in fitting if file.format != OPAQUE and not is_described(file.format)]
    if base is None or len(fitting) < 2:
        return next(iter(fitting), None)
    return next((file for file in fitting if rest(file) != rest(base)), fitting[0])


def merge_metadata(base: Mapping[str, str], sides: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the metadata of a merge: a key that one side added, changed or took out is as that side has it.

    Where several sides did, each in its own way, it is as in the first of all.
    """
    made: dict[str, str] = {}
    for key in dict.fromkeys(key for one in (*sides, base) for key in one):
        changed = {side.get(key) for side in sides} - {base.get(key)}
        value = changed.pop() if len(changed) == 1 else sides[0].get(key)
        if value is not None:
            made[key] = value
    return made


def _left_out(
    base: Mapping[str, str],
    sides: Sequence[StoredModelFile | None],
    kept: Mapping[str, str],
    whose: str,
    *,
    always: bool = False,
) -> tuple[str, ...]:
    """Return a warning for each side that changed keys that are not `kept`, `always` also where none is known."""
    warnings = []
    for number, file in enumerate(sides):
        said = _metadata(file)
        keys = [key for key in {**base, **said} if said.get(key) not in (base.get(key), kept.get(key))]
        if file is not None and (keys or always):
            shown = [repr(key[:80]) for key in keys[:_MOST_KEYS]]
            more = [f"{len(keys) - _MOST_KEYS} more"] if len(keys) > _MOST_KEYS else []
            listed = f" ({', '.join((*shown, *more))})" if keys else ""
            warnings.append(f"what {side_name(number)} changed beside the tensors{listed} is left out: {whose} stands")
    return tuple(warnings)


def _metadata(file: StoredModelFile | None) -> Mapping[str, str]:
    return {} if file is None else file.metadata() or {}


def _is_whole(metadata: Mapping[str, str]) -> bool:
    """Say whether no value was cut for reading, so that it can be written again."""
    return all(len(value.encode()) < MAX_METADATA_NBYTES // 2 for value in metadata.values())
