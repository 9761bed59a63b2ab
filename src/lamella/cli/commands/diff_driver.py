"""`lamella diff-driver`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click

from lamella.cli import changes_text, render
from lamella.cli.comparison_text import show_comparison
from lamella.cli.session import open_repository
from lamella.core.errors import LamellaError
from lamella.ops.compare import Comparing
from lamella.ops.comparisons import Compared, compared
from lamella.ops.diff import diff_models
from lamella.repo.disk_model_file import look_at
from lamella.repo.joined_model import Model, joined
from lamella.repo.repository import Repository
from lamella.repo.settings import diff_settings
from lamella.repo.sketches import SketchCache

_VERSIONS = 6
"""What Git says of two versions: for each a file, an id and a mode."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("path")
@click.argument("versions", nargs=-1, type=click.UNPROCESSED)
def command(path: str, versions: tuple[str, ...]) -> None:
    """Say what changed between two versions of a model file.

    Git starts this by itself, for `git diff` and, where it is given --ext-diff, for `git log -p` and `git show`.
    """
    if len(versions) < _VERSIONS:
        render.line(f"* Unmerged path {path}")
        return
    new_path = versions[_VERSIONS] if len(versions) > _VERSIONS else path
    render.line(f"diff --lamella a/{path} b/{new_path}", bold=True)
    with open_repository() as repository, ExitStack() as closing:
        try:
            before = _opened(repository, closing, path, versions[0])
            after = _opened(repository, closing, new_path, versions[3])
            if before is None or after is None:
                render.line(_one_side(before, after))
                return
            report = diff_models(before, after)
            found = _compared(repository, before, after) if report.files else None
        except LamellaError as error:
            # Git would stop at this file; the others are still to be shown.
            render.line(f"cannot be compared: {error.message}{f'; {error.hint}' if error.hint else ''}")
            return
    for file in report.files:
        if found is not None and found.comparison is not None:
            show_comparison(found.comparison, file)
        else:
            changes_text.show_file(file, stat=False)
    if found is not None and found.unread:
        render.line(f"not compared: {found.unread}")


def _compared(repository: Repository, before: Model, after: Model) -> Compared | None:
    if not before.names and not after.names:
        return None
    how = Comparing(config=diff_settings(repository.git.worktree))
    cache = SketchCache(repository.store_directory) if repository.store_directory.is_dir() else None
    return compared(before, after, how, cache=cache)


def _opened(repository: Repository, closing: ExitStack, path: str, where: str) -> Model | None:
    """Return the model that Git put into a file, or that lies in the worktree; None for no version."""
    if where == os.devnull:
        return None
    file = look_at(path, Path(where).absolute(), repository.existing_store, repository.config.threads)
    closing.callback(file.close)
    return joined(path, [file], ())


def _one_side(before: Model | None, after: Model | None) -> str:
    what, model = ("added", after) if before is None else ("removed", before)
    if model is None:
        return "nothing on either side"
    return f"{what}, {model.files[0].format}, {render.counted(len(model.names), 'tensor')}"
