"""A sequence of scaled changes that has stopped: what is left of it, kept in the worktree's Git directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_MERGE_NBYTES
from lamella.repo.git import Git, GitOid

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Picking:
    """How far a sequence got: `left` are its commits from the one under way on, which Git knows as `step`.

    `start` is where the branch was before the first, `head` before this one. With `reverse` changes are taken back.
    `mainline` is the number of the parent of merges, `options` are those that Git is given with each.
    """

    reverse: bool
    scale: float
    mainline: int | None
    names_origin: bool
    options: tuple[str, ...]
    start: str
    head: str
    step: str
    left: tuple[str, ...]


def write_picking(git: Git, state: Picking) -> None:
    """Keep how far a sequence got."""
    fields = {name: getattr(state, name) for name in Picking.__slots__}
    fsio.make_directory(_place(git).parent, durable=False)
    fsio.write_file(_place(git), json.dumps({"version": _VERSION, **fields}).encode("utf-8", "surrogatepass"))


def forget_picking(git: Git) -> None:
    """Remove what is kept."""
    if _place(git).exists():
        fsio.remove(_place(git))


def read_picking(git: Git) -> Picking | None:
    """Return the sequence that has stopped, None where Git has gone other ways since, or there is none.

    One of a single change is over once Git no longer waits in the middle of it. Raises FormatError (picking-malformed)
    for a file that no program of this version wrote.
    """
    place = _place(git)
    if not place.exists():
        return None
    with fsio.translated(place, reading=True), place.open("rb") as file:
        text = file.read(MAX_MERGE_NBYTES)
    try:
        fields = json.loads(text.decode("utf-8", "surrogatepass"))
        if fields.pop("version") != _VERSION:
            raise ValueError
        state = Picking(**{**fields, "options": tuple(fields["options"]), "left": tuple(fields["left"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        hint = f"remove {place}, and go on by hand"
        raise FormatError("the state of the sequence is malformed", kind="picking-malformed", hint=hint) from None
    here = git.run("rev-parse", "--verify", "--quiet", "CHERRY_PICK_HEAD", check=False).decode().strip()
    if here or (len(state.left) == 1 and state.head == state.start):
        return state if here == state.step else None
    head = git.resolve("HEAD")
    before = git.run("rev-parse", "--verify", "--quiet", "HEAD^", check=False).decode().strip()
    return state if state.head in (head, before) else None


def is_stopped(git: Git, state: Picking) -> bool:
    """Say whether Git waits in the middle of the step."""
    found = git.run("rev-parse", "--verify", "--quiet", "CHERRY_PICK_HEAD", check=False).decode().strip()
    return GitOid(found) == state.step


def _place(git: Git) -> Path:
    return git.git_dir / "lamella" / "picking.json"
