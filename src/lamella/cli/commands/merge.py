"""`lamella merge`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lamella.cli.merging.asked import Asked
from lamella.cli.session import json_option, quiet_option
from lamella.core.errors import UsageError


@click.command()
@click.argument("commits", nargs=-1, metavar="[COMMIT]")
@click.option("--strategy", metavar="S", help="How tensors that several sides changed are merged; see below.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="A number that the strategy takes.")
@click.option(
    "--strategy-for", "strategies_for", multiple=True, metavar="GLOB=S", help="Another one for tensors, as S or S,K=V."
)
@click.option("--weights", metavar="W,W", help="A weight for each side, ours first.")
@click.option(
    "--opposition", type=click.FloatRange(0, 1), metavar="X", help="Stop where the cosine of changes is below -X."
)
@click.option("-m", "--message", metavar="MSG", help="The message of the merge commit.")
@click.option("--no-commit", is_flag=True, help="Leave the merge to be committed by hand.")
@click.option("--no-ff", is_flag=True, help="Make a merge commit also where the branch could just move on.")
@click.option("--ff-only", is_flag=True, help="Merge only where the branch can just move on.")
@click.option("--squash", is_flag=True, help="Put the result into the worktree and the index only.")
@click.option("--allow-unrelated-histories", "unrelated", is_flag=True, help="Merge what has no common commit.")
@click.option("--dry-run", is_flag=True, help="Say what would become of every tensor, and change nothing.")
@click.option("--all", "every", is_flag=True, help="With --dry-run, list also what nobody changed.")
@click.option("--continue", "going_on", is_flag=True, help="Commit what was resolved, and go on.")
@click.option("--abort", "aborting", is_flag=True, help="Take back the merge that is under way.")
@json_option
@quiet_option
def command(*, no_ff: bool, ff_only: bool, squash: bool, **given: Any) -> int:
    """Merge COMMIT, or the branch's upstream, into this branch: files as Git does, models tensor by tensor.

    A tensor that one side changed is taken from it bit for bit, and so is what both made the same. Where both changed
    it, each in its own way, the strategy says what becomes of it: three-way, unless --strategy or the project's
    `.lamella/config.toml` name another. `--strategy ties --param density=0.2 --strategy-for 'embed.*=ours'` names one
    and makes an exception.

    What cannot be merged without being asked stops the merge, with exit code 4, as text in conflict does: `lamella
    conflicts` says why, `lamella resolve` settles it, --continue goes on and --abort takes all back. These two do the
    same for a rebase, a cherry-pick and a revert.
    """
    flags = {"--no-ff": no_ff, "--ff-only": ff_only, "--squash": squash}
    asked = Asked(git_options=tuple(name for name, is_set in flags.items() if is_set), **given)
    return _mode(asked)(asked)


def _mode(asked: Asked) -> Callable[[Asked], int]:
    """Return what was asked for."""
    from lamella.cli.merging import one, preview, stopped

    if asked.going_on or asked.aborting:
        if asked.commits or (asked.going_on and asked.aborting):
            raise UsageError("--continue and --abort go alone", kind="bad-argument", hint="name no commit with them")
        return stopped.go_on if asked.going_on else stopped.abort
    if len(asked.commits) > 1:
        raise UsageError("only one commit can be merged at a time", kind="bad-argument", hint="merge one by one")
    return preview.run if asked.dry_run else one.run
