"""The click group: commands by section, each imported when it is asked for."""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from lamella.core.errors import UsageError

SECTIONS = {
    "Start": ("init", "track", "untrack", "uninstall", "migrate", "import", "doctor", "version"),
    "Work": ("add", "commit", "status", "diff", "log", "show", "ls-files"),
    "Look": ("ls", "graph", "cat", "id", "align", "blame", "history", "health", "export"),
    "Move": ("checkout", "switch", "restore", "branch", "tag"),
    "Merge": ("merge", "conflicts", "resolve"),
    "Back": ("revert", "cherry-pick", "rebase", "rollback", "bisect"),
    "Care": ("fsck", "gc"),
    "Called by Git": ("filter-process", "diff-driver", "textconv", "merge-driver", "hook"),
}
COMMANDS = tuple(name for names in SECTIONS.values() for name in names)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the module of the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return every command in the order of the sections."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command called `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        module = import_module(f"lamella.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named first, and suggest one where there is none of that name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean `lamella {close[0]}`?" if close else "`lamella --help` lists the commands"
            raise UsageError(f"there is no command {args[0]!r}", kind="bad-argument", hint=hint)
        return super().resolve_command(ctx, args)

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
    """Run the group on `arguments` and return the exit code; raise UsageError where it is not a command line of ours.

    What was given, as it was given, is the context's object: click takes ``--`` away. A BrokenPipeError comes through,
    for which `click.Group.main` would end the program with 1.
    """
    if "_LAMELLA_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="lamella")
    try:
        with cli.make_context("lamella", list(arguments), obj=tuple(arguments)) as context:
            result: Any = cli.invoke(context)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return 0
    except KeyboardInterrupt:
        click.echo(err=True)  # closes the line on which the terminal shows ^C
        raise
    except click.UsageError as exc:
        command = exc.ctx.command_path if exc.ctx else "lamella"
        message = exc.format_message().rstrip(".").replace(". Did you mean", "; did you mean")
        hint = f"`{command} --help` explains"
        raise UsageError(message[:1].lower() + message[1:], kind="bad-argument", hint=hint) from exc
    return result if isinstance(result, int) else 0
