"""The click group: commands by section, each imported when it is asked for."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

SECTIONS = {
    "Start": ("init", "track", "untrack", "uninstall", "doctor", "version"),
    "Work": ("add", "commit", "status", "diff", "log", "show", "ls-files"),
    "Move": ("checkout", "switch", "restore", "branch", "tag"),
    "Care": ("fsck", "gc"),
    "Called by Git": ("filter-process", "hook"),
}
COMMANDS = tuple(name for names in SECTIONS.values() for name in names)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the module of the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command in the order of the sections."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command called `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"lamella.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their sections."""
        for section, names in SECTIONS.items():
            with formatter.section(section):
                commands = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl([(name, found.get_short_help_str(90)) for name, found in commands if found])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Git keeps the history, Lamella keeps the weights. `lamella COMMAND --help` explains each command.",
)
@click.option("-C", "directory", metavar="DIR", type=click.Path(file_okay=False), help="Run as if started in DIR.")
def cli(directory: str | None) -> None:
    """Version control for neural networks."""
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as exc:
            raise click.UsageError(f"cannot enter {directory}: {exc.strerror}") from exc


def run(arguments: list[str]) -> int:
    """Run the group on `arguments` and return the exit code."""
    try:
        result: Any = cli.main(arguments, prog_name="lamella", standalone_mode=False)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.Abort:
        return 130
    except click.ClickException as exc:
        exc.show(file=sys.stderr)
        return exc.exit_code
    return result if isinstance(result, int) else 0
