"""What `lamella cherry-pick` and `lamella revert` share: Git's arguments as they are, and a scale beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lamella.cli import passthrough, render
from lamella.cli.session import open_repository, progress
from lamella.core.errors import UsageError
from lamella.ops.pick import Picked, pick, resume, under_way
from lamella.ops.scaled_commit import PickRequest
from lamella.repo.git import Git
from lamella.repo.repository import Repository

_SCALE = "--scale"
_MAINLINE = ("-m", "--mainline")
_SHOWN, _SHOWN_ID = 5, 10
_RESUMING = ("--continue", "--skip", "--abort", "--quit")


def run(verb: str, given: tuple[str, ...]) -> int:
    """Run the verb, with the scale that is among its arguments if there is one, and return the exit code."""
    scale, rest = _taken(given, (_SCALE,))
    if scale is None and not (len(rest) == 1 and rest[0] in _RESUMING):
        return passthrough.run_and_fill(verb, given)
    with open_repository() as repository:
        quiet = bool({"-q", "--quiet"} & set(rest))
        if scale is not None:
            picked = pick(repository, _request(repository.git, verb, _number(scale), rest), progress(quiet=quiet))
        else:
            state = under_way(repository)
            if state is not None and state.reverse == (verb == "revert"):
                picked = resume(repository, state, rest[0], progress(quiet=quiet))
            else:
                state = None
        if scale is not None or state is not None:
            return _shown(repository, picked, quiet=quiet)
    return passthrough.run_and_fill(verb, given)


def _taken(given: Sequence[str], names: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the value of an option, the last one given, and the other arguments."""
    value, rest, arguments = None, [], iter(given)
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if name[:2] in names and name[2:].isdecimal():
            value = name[2:]
        elif argument in names:
            value = next(arguments, None)
            if value is None:
                raise UsageError(f"{argument} needs a value", kind="bad-argument", hint=f"for example `{argument} 1`")
        elif equals and name in names:
            value = text
        else:
            rest.append(argument)
    return value, rest


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        hint = "give a number, such as 0.5"
        raise UsageError(f"the scale {text[:40]!r} is no number", kind="bad-argument", hint=hint)
    return found


def _request(git: Git, verb: str, scale: float, rest: Sequence[str]) -> PickRequest:
    mainline, rest = _taken(rest, _MAINLINE)
    if mainline is not None and not (mainline.isascii() and mainline.isdecimal()):
        hint = "give the number of a parent, from 1 on"
        raise UsageError(f"{mainline[:40]!r} is no number of a parent", kind="bad-argument", hint=hint)
    named = [one for one in rest if not one.startswith("-")]
    options = tuple(one for one in rest if one.startswith("-") and one not in ("-x", "--no-edit"))
    if not named:
        raise UsageError(
            "no commit is named", kind="bad-argument", hint=f"for example `lamella {verb} --scale 0.5 HEAD`"
        )
    return PickRequest(
        _commits(git, named, reverse=verb == "revert"), scale, verb == "revert",
        None if mainline is None else int(mainline), "-x" in rest, options,
    )  # fmt: skip


def _commits(git: Git, named: Sequence[str], *, reverse: bool) -> tuple[str, ...]:
    """Return commits in the order in which Git's own verbs take them: those of a range the oldest first, or last."""
    ranged = any(".." in one or one.startswith("^") for one in named)
    if not ranged:
        return tuple(git.resolve(f"{git.resolve(one)}^{{commit}}") for one in named)
    order = () if reverse else ("--reverse",)
    return tuple(git.run("rev-list", *order, *named, "--").decode().split())


def tell(repository: Repository, picked: Picked) -> None:
    """Print what was taken whole, and what a sequence that stopped has left."""
    for note in picked.notes:
        render.note(note)
    if picked.status and picked.left:
        count = render.counted(len(picked.left), "commit")
        if under_way(repository) is None:
            names = " ".join(commit[:_SHOWN_ID] for commit in picked.left[:_SHOWN])
            more = " ..." if len(picked.left) > _SHOWN else ""
            render.note(f"{count} not applied: {names}{more}; name what is left again when this is resolved")
        else:
            render.note(
                f"{count} not applied yet: `--continue` goes on, `--skip` leaves this one out, `--abort` takes all back"
            )


def _shown(repository: Repository, picked: Picked, *, quiet: bool) -> int:
    tell(repository, picked)
    code = passthrough.show_filled(repository, picked.filled, quiet=quiet)
    return picked.status or code
