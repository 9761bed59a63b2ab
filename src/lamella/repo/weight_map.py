"""The index of a sharded model, `*.index.json`: which file holds which tensor, as Hugging Face libraries write it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_WEIGHT_MAP_NBYTES

SUFFIX = ".index.json"

_PREFERRED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
"""Where a folder has several, as one that holds a model in two containers does."""


def chosen_index(names: Iterable[str]) -> str | None:
    """Return the name of the index that says what a folder's model is; None where there is none.

    Raises FormatError (header-malformed) where several could.
    """
    found = sorted(name for name in names if name.endswith(SUFFIX))
    preferred = [name for name in _PREFERRED if name in found]
    if not preferred and len(found) > 1:
        hint = "name the one that is meant in place of the folder"
        raise _malformed(f"the folder has several: {', '.join(found[:3])}", hint)
    return next(iter(preferred or found), None)


def parse_weight_map(text: bytes) -> Mapping[str, str]:
    """Return for each tensor the name of the file, in the index's own folder, that holds it.

    Raises FormatError: header-too-large; header-malformed for a text that is no index, or names that lead elsewhere.
    """
    if len(text) > MAX_WEIGHT_MAP_NBYTES:
        raise FormatError(f"the index of the shards has {len(text)} bytes", kind="header-too-large")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("it is no JSON") from None
    found = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(found, dict) or not found:
        raise _malformed("it has no weight_map")
    for name in set(map(_checked, found.values())):
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise _malformed(f"{name[:80]!r} is no name of a file beside it")
    return found


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise _malformed("its weight_map does not name files")
    return name


def check_shards(weight_map: Mapping[str, str], held: Mapping[str, Iterable[str]]) -> None:
    """Raise FormatError (header-malformed) unless the files, by name in `held`, have exactly the tensors listed."""
    names = {file: set(tensors) for file, tensors in held.items()}
    for tensor, file in weight_map.items():
        if tensor not in names[file]:
            raise _malformed(f"it says that {file} holds {tensor[:80]!r}, which it does not", _REPAIR)
    for file, tensors in names.items():
        unlisted = min((name for name in tensors if weight_map.get(name) is None), default=None)
        if unlisted is not None:
            raise _malformed(f"{file} holds {unlisted[:80]!r}, which it does not list", _REPAIR)


_REPAIR = "the shards are of another version than the index; take all of them from one place"


def _malformed(reason: str, hint: str | None = None) -> FormatError:
    hint = hint or "name the model files in place of it"
    return FormatError(f"the index of the shards is malformed: {reason}", kind="header-malformed", hint=hint)
