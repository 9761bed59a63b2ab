"""What a command needs from its surroundings: the repository, the progress bar and how Git calls this program."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import click

from lamella.cli.bars import progress_for
from lamella.core.progress import Progress
from lamella.repo.repository import Repository

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")


def open_repository() -> Repository:
    """Open the repository around the current directory."""
    return Repository.open(Path.cwd())


def progress(*, quiet: bool = False) -> Progress:
    """Return the progress listener that the environment and the terminal ask for."""
    return progress_for(os.environ.get("LAMELLA_PROGRESS"), quiet=quiet)


def command_for_git() -> str:
    """Return how Git starts this program: by its name where the PATH finds this very one, else by its full path."""
    started = Path(sys.argv[0])
    program = started if started.name == "lamella" else Path(sys.executable).with_name("lamella")
    found = shutil.which("lamella")
    if found is not None and program.exists() and Path(found).resolve() == program.resolve():
        return "lamella"
    if program.exists():
        return shlex.quote(os.fspath(program.resolve() if program.is_absolute() else program.absolute()))
    return f"{shlex.quote(sys.executable)} -m lamella.cli.main"
