"""Telling revisions from paths on a command line, as Git does."""

from __future__ import annotations

import sys

import click

from lamella.core.errors import NotFoundError, UsageError
from lamella.repo.repository import Repository


def split_arguments(
    repository: Repository, arguments: tuple[str, ...], ctx: click.Context
) -> tuple[list[str], list[str]]:
    """Split `arguments` into revisions and paths.

    Everything behind ``--`` is a path. Without it, the arguments are revisions until one is not, and from there on
    they must name files. Raises NotFoundError (revision-unknown) for an argument that is neither.
    """
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            raise click.NoSuchOption(argument, ctx=ctx)
    tail = _behind_dashes()
    if tail is not None:
        head = list(arguments[: len(arguments) - len(tail)])
        return head, tail
    revisions = list(arguments)
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


def _behind_dashes() -> list[str] | None:
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None


def _is_revision(repository: Repository, text: str) -> bool:
    for side in text.replace("...", "..").split(".."):
        try:
            repository.git.resolve(side or "HEAD")
        except NotFoundError:
            return False
    return True
