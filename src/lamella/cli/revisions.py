"""Telling revisions from paths on a command line, as Git does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from lamella.core.errors import NotFoundError, UsageError
from lamella.repo.repository import Repository
from lamella.repo.targets import relative_to_root

_FROM_HERE = re.compile(r":\.\.?(/|$)")
"""How the path of ``REV:PATH`` begins that is seen from where the user stands."""


def split_arguments(
    repository: Repository, arguments: tuple[str, ...], ctx: click.Context
) -> tuple[list[str], list[str]]:
    """Split `arguments` into revisions and paths.

    Everything behind ``--`` is a path. Without it, the arguments are revisions until one is not, and from there on
    they must name files. A path within a revision that begins with a dot is made one from the root. Raises
    NotFoundError (revision-unknown) for an argument that is neither.
    """
    behind = _count_behind_dashes(ctx)
    revisions = list(arguments[: len(arguments) - (behind or 0)])
    for argument in revisions:
        if argument.startswith("-") and argument != "-":
            raise click.NoSuchOption(argument, ctx=ctx)
    revisions = [_from_root(repository, argument) for argument in revisions]
    if behind is not None:
        return revisions, list(arguments[len(revisions) :])
    paths: list[str] = []
    while revisions and not _is_revision(repository, revisions[-1]):
        candidate = revisions.pop()
        if not (repository.git.directory / candidate).exists():
            raise NotFoundError(
                f"{candidate!r} is neither a revision nor a file",
                kind="revision-unknown",
                hint="`git branch --all` and `git tag` list the names there are; put `--` before a path that is gone",
            )
        paths.insert(0, candidate)
    for revision in revisions:
        if not _is_revision(repository, revision):
            raise UsageError(f"{revision!r} stands before a path but is no revision", kind="bad-argument")
    return revisions, paths


def _count_behind_dashes(ctx: click.Context) -> int | None:
    """Return how many arguments stand behind ``--``, which click takes away; None where it was not given."""
    given: Sequence[str] = ctx.obj
    return len(given) - given.index("--") - 1 if "--" in given else None


def _from_root(repository: Repository, argument: str) -> str:
    if not _FROM_HERE.search(argument) or (repository.git.directory / argument).exists():
        return argument
    revision, path = relative_to_root(repository, argument)
    return f"{revision}:{path}"


def _is_revision(repository: Repository, text: str) -> bool:
    sides = [text] if ":" in text else text.replace("...", "..").split("..")
    try:
        for side in sides:
            repository.git.resolve(side or "HEAD")
    except NotFoundError:
        return False
    return True
