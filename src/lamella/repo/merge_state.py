"""What merging a model file found, kept in the worktree's Git directory until the conflict is resolved.

It spares doing the work again and holds what was resolved so far. Nothing else depends on it: what is lost is found
anew from the three versions in Git's index. It is known by their ids, so that of another merge it is never taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from lamella.core import fsio
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_MERGE_NBYTES
from lamella.model.merging.rules import Rules
from lamella.model.merging.score import Score
from lamella.repo.git import Git
from lamella.repo.merge_rules import rules_from_fields, rules_to_fields
from lamella.repo.unmerged import under_way, unmerged

VERSION = 1
_SUFFIX = ".json"

Blobs = tuple[str | None, str | None, str | None]
"""The ids of the blobs of base, ours and theirs, None where there is none."""


@dataclass(frozen=True, slots=True)
class TensorConflict:
    """A tensor that somebody has to decide about: which kind of conflict, why, and the sides that changed it.

    `choices` are the strategies that it can be resolved with, `score` how far the sides are at odds, where that was
    measured.
    """

    name: str
    kind: str
    reason: str
    changed_by: tuple[int, ...]
    choices: tuple[str, ...]
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class FileMerge:
    """What merging one model file found.

    `rules` are what it was merged by, resolutions included, `merged` is the id of the blob that came of it, None where
    `failure` says why there is none. `counts` has how many tensors were unchanged, taken from ours, from theirs, from
    both, united of the rows of both, added, removed and in conflict, `strategies` how many were merged by each.
    `warnings` are what there is to know of the result.
    """

    path: str
    blobs: Blobs
    rules: Rules
    merged: str | None = None
    failure: str | None = None
    conflicts: tuple[TensorConflict, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    strategies: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[TensorConflict, ...]:
        """The tensors that nobody has decided about yet."""
        return tuple(one for one in self.conflicts if one.name not in self.rules.resolutions)


def write_state(git: Git, state: FileMerge) -> None:
    """Keep what was found, in place of what was kept of the same path."""
    fields = {**_fields(state), "rules": rules_to_fields(state.rules)}
    text = json.dumps({"version": VERSION, **fields}).encode("utf-8", "surrogatepass")
    if len(text) <= MAX_MERGE_NBYTES:
        fsio.make_directory(_directory(git), durable=False)
        fsio.write_file(_place(git, state.path), text)


def read_state(git: Git, path: str, blobs: Blobs) -> FileMerge | None:
    """Return what was found when these three versions of a path were merged, None where nothing of it is kept."""
    state = _read(_place(git, path))
    return state if state is not None and (state.path, state.blobs) == (path, blobs) else None


def states(git: Git) -> Iterator[FileMerge]:
    """Yield all that is kept, by path."""
    with contextlib.suppress(FileNotFoundError):
        found = (_read(place) for place in _directory(git).iterdir() if place.suffix == _SUFFIX)
        yield from sorted((one for one in found if one is not None), key=lambda one: one.path)


def forget_stale_states(git: Git) -> None:
    """Remove what is kept of conflicts that are no more, unless a verb of Git's is under way that may tell of it."""
    if under_way(git) is None:
        forget_states(git, [one.path for one in unmerged(git)])


def forget_state(git: Git, path: str) -> None:
    """Remove what is kept of a path."""
    fsio.remove(_place(git, path))


def forget_states(git: Git, keeping: Collection[str] = ()) -> None:
    """Remove what is kept of all paths but these, and what killed processes left there."""
    directory = _directory(git)
    if not directory.is_dir():
        return
    kept = {_place(git, path) for path in keeping}
    for place in list(directory.iterdir()):
        if place.suffix == _SUFFIX and place not in kept:
            fsio.remove(place)
    fsio.sweep(directory)


def _directory(git: Git) -> Path:
    return git.git_dir / "lamella" / "merging"


def _place(git: Git, path: str) -> Path:
    name = blake3(path.encode("utf-8", "surrogatepass")).hexdigest(length=16)
    return _directory(git) / f"{name}{_SUFFIX}"


def _fields(state: FileMerge) -> dict[str, Any]:
    bare = dataclasses.replace(state, rules=Rules())
    return {name: value for name, value in dataclasses.asdict(bare).items() if name != "rules"}


def _read(place: Path) -> FileMerge | None:
    """Return what a file holds, None for one that is not there, damaged, or of another version: it is only a cache."""
    try:
        with place.open("rb") as file:
            text = file.read(MAX_MERGE_NBYTES + 1)
        fields = json.loads(text.decode("utf-8", "surrogatepass"))
        if len(text) > MAX_MERGE_NBYTES or fields["version"] != VERSION:
            return None
        return _state(fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, FormatError):
        return None


def _state(fields: Mapping[str, Any]) -> FileMerge:
    base, ours, theirs = map(_text_or_none, fields["blobs"])
    return FileMerge(
        _text(fields["path"]),
        (base, ours, theirs),
        rules_from_fields(fields["rules"]),
        _text_or_none(fields["merged"]),
        _text_or_none(fields["failure"]),
        tuple(map(_conflict, fields["conflicts"])),
        {_text(name): _count(number) for name, number in fields["counts"].items()},
        {_text(name): _count(number) for name, number in fields["strategies"].items()},
        tuple(map(_text, fields["warnings"])),
    )


def _conflict(fields: Mapping[str, Any]) -> TensorConflict:
    measured = fields["score"]
    return TensorConflict(
        _text(fields["name"]),
        _text(fields["kind"]),
        _text(fields["reason"]),
        tuple(map(_count, fields["changed_by"])),
        tuple(map(_text, fields["choices"])),
        None if measured is None else _score(measured),
    )


def _score(fields: Mapping[str, Any]) -> Score:
    overlap, clash, cosine, ratio = (float(fields[name]) for name in ("overlap", "clash", "cosine", "ratio"))
    return Score(overlap, clash, cosine, ratio, tuple(map(_count, fields["moved"])))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _count(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value
