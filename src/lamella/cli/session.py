"""What a command needs from its surroundings: the repository, the progress bar and how Git calls this program."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamella.cli import render
from lamella.cli.bars import progress_for
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import Progress
from lamella.repo.repository import Repository

if TYPE_CHECKING:
    from lamella.core.graphs import Graph
    from lamella.repo.joined_model import Model
    from lamella.repo.sketches import SketchCache

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")


def open_repository() -> Repository:
    """Open the repository around the current directory."""
    try:
        return Repository.open(Path.cwd(), environment=dict(os.environ))
    except FileNotFoundError as exc:
        raise NotFoundError("the current directory is gone", kind="path-unknown", hint="go to one that exists") from exc


def project_root() -> Path | None:
    """Return the root of the worktree around the current directory, whose settings hold; None where there is none."""
    try:
        with open_repository() as repository:
            return repository.git.worktree
    except UsageError:
        return None


def opened(name: str) -> AbstractContextManager[Model]:
    """Open the model that a command line names: on disk, or at a revision."""
    from lamella.repo.targets import opened_model

    return opened_model(name, Path.cwd(), dict(os.environ))


def known_sketches() -> SketchCache | None:
    """Return the sketches that are kept beside the store of the repository around the current directory, if any."""
    from lamella.repo.sketches import SketchCache

    with contextlib.suppress(UsageError), open_repository() as repository:
        if repository.store_directory.is_dir():
            return SketchCache(repository.store_directory)
    return None


def recorded(name: str) -> Graph | None:
    """Return the computation graph recorded beside the model that a command line names."""
    from lamella.repo.graphs import recorded_graph

    return recorded_graph(name, Path.cwd(), dict(os.environ))


def warn_where_not_set_up(repository: Repository) -> None:
    """Warn in a clone in which Git does not call this program, and so would keep the next model file itself."""
    from lamella.ops.init import lacks_setup

    if lacks_setup(repository):
        render.warning("git does not know lamella in this clone and would keep model files whole; run `lamella init`")


def progress(*, quiet: bool = False) -> Progress:
    """Return the progress listener that the environment and the terminal ask for."""
    listener = progress_for(os.environ.get("LAMELLA_PROGRESS"), quiet=quiet)
    # A bar hides the cursor; whatever ends the command must show it again.
    click.get_current_context().call_on_close(listener.finish)
    return listener


def command_for_git() -> str:
    """Return how Git starts this program: by its full path, since editors and hooks run Git with another PATH."""
    program = Path(sys.executable).with_name("lamella")
    if program.exists():
        return shlex.quote(os.fspath(program))
    return f"{shlex.quote(sys.executable)} -m lamella.cli.main"
