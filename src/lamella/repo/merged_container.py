"""The container of a merge: a side's file to be filled, or one written anew, and what either leaves out is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from lamella.core.errors import ConflictError
from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.sniff import is_described
from lamella.formats.write_into import can_be_template
from lamella.formats.writer import Writer
from lamella.formats.writers import WRITERS
from lamella.model.merging.rules import OURS
from lamella.model.merging.unions import side_name
from lamella.repo.file_rest import digest_rest
from lamella.repo.manifest import OPAQUE
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore

_KEYED = "safetensors"
"""The container that says all it says beside its tensors by keys, so that it can be written anew with others."""

_ANEW = (_KEYED, "npz", "npy")
"""Containers of nothing but tensors and metadata, which are written anew without loss."""

_MOST_KEYS = 3
"""Keys that a warning names."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that `writer` writes, with `metadata`."""

    writer: Writer
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Container:
    """What merged tensors are put into: a copy of one side's file, or a new one.

    `warnings` say what sides changed beside the tensors that has no place in it.
    """

    target: StoredModelFile | NewFile
    warnings: tuple[str, ...] = ()


def choose_container(
    store: ObjectStore,
    base: StoredModelFile | None,
    sides: Sequence[StoredModelFile | None],
    specs: Collection[TensorSpec],
) -> Container:
    """Return what tensors like `specs` are put into: the file of a side that has just these, if there is one.

    One that changed more than its tensors comes before others, and ours first. Raises ConflictError (merge-conflict)
    where no file can hold them, and as `digest_rest` does.
    """
    rest = cache(lambda file: digest_rest(store, file.manifest))
    template = _template(base, sides, set(specs), rest)
    files = [file for file in sides if file is not None]
    before, said = _metadata(base), [_metadata(file) for file in files]
    formats = {file.format for file in (*files, base) if file is not None}
    if formats == {_KEYED} and all(map(_is_whole, said)):
        merged = merge_metadata(before, said)
        warnings = _left_out(before, sides, merged, OURS)
        if template is not None and _metadata(template) == merged:
            return Container(template, warnings)
        return Container(NewFile(_writer(formats), merged), warnings)
    if template is None:
        return Container(NewFile(_writer(formats, says_more=any(said)), {}))
    manifest = template.manifest
    sealed = manifest.seal is not None
    if (sealed or manifest.views) and not can_be_template(manifest.format, sealed=sealed):
        raise _unwritable(f"other weights cannot be written into files of {manifest.format}")
    kept = [rest(file) for file in (base, template) if file is not None]
    left = [side if side is not None and rest(side) not in kept else None for side in sides]
    whose = next((side_name(number) for number, side in enumerate(sides) if side is template), "the base")
    return Container(template, _left_out(before, left, _metadata(template), whose, always=True))


def _writer(formats: set[str], *, says_more: bool = False) -> Writer:
    """Return what writes files of these formats anew, none of which `says_more` than tensors."""
    writer = next((one for one in WRITERS if formats <= set(one.formats) and one.name in _ANEW), None)
    if writer is None or says_more:
        which = f"files of {' and '.join(sorted(formats))}{' that say more than that' if writer else ''}"
        raise _unwritable(f"no side has just these tensors, and {which} are not written anew")
    return writer


def _unwritable(message: str) -> ConflictError:
    hint = "take one side with `git checkout --ours PATH` or `--theirs`, or merge exports as safetensors"
    return ConflictError(message, kind="merge-conflict", hint=hint)


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
