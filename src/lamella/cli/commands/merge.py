"""`lamella merge`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lamella.cli.merging.asked import Asked
from lamella.cli.session import json_option, quiet_option
from lamella.core.errors import UsageError


@click.command()
@click.argument("commits", nargs=-1, metavar="[COMMIT]...|RECIPE.yml")
@click.option("--strategy", metavar="S", help="How tensors that several sides changed are merged; see below.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="A number that the strategy takes.")
@click.option(
    "--strategy-for", "strategies_for", multiple=True, metavar="GLOB=S", help="Another one for tensors, as S or S,K=V."
)
@click.option("--weights", metavar="W,W", help="A weight for each side, ours first.")
@click.option(
    "--opposition", type=click.FloatRange(0, 1), metavar="X", help="Stop where sides are opposed: a cosine below -X."
)
@click.option("-m", "--message", metavar="MSG", help="The message of the merge commit.")
@click.option("--no-commit", is_flag=True, help="Leave the merge to be committed by hand.")
@click.option("--no-ff", is_flag=True, help="Make a merge commit also where the branch could just move on.")
@click.option("--ff-only", is_flag=True, help="Merge only where the branch can just move on.")
@click.option("--squash", is_flag=True, help="Put the result into the worktree and the index only.")
@click.option("--allow-unrelated-histories", "unrelated", is_flag=True, help="Merge what has no common commit.")
@click.option("--into", metavar="BRANCH", help="Update a running average on BRANCH, by --ema.")
@click.option("--ema", type=float, metavar="D", help="How much of itself the average keeps, as 0.99.")
@click.option("--replay", metavar="REV", help="Make the merge REV again, and say whether all bits are the same.")
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Where a recipe's model goes.")
@click.option("--shard-size", metavar="SIZE", help="Divide a recipe's model into files of at most SIZE, such as 2GB.")
@click.option("--force", is_flag=True, help="Replace what is at the PATH of --out.")
@click.option("--evaluate", metavar="CMD", help="Commit only where this command ends with 0; {model} is the file.")
@click.option("--no-evaluate", is_flag=True, help="Commit without the command that lamella.evaluate names.")
@click.option("--dry-run", is_flag=True, help="Say what would become of every tensor, and change nothing.")
@click.option("--all", "every", is_flag=True, help="With --dry-run, list also what nobody changed.")
@click.option("--continue", "going_on", is_flag=True, help="Commit what was resolved, and go on.")
@click.option("--abort", "aborting", is_flag=True, help="Take back the merge that is under way.")
@json_option
@quiet_option
def command(*, no_ff: bool, ff_only: bool, squash: bool, **given: Any) -> int:
    """Merge COMMITs, or the branch's upstream, into this branch: files as Git does, models tensor by tensor.

    A tensor that one side changed is taken from it bit for bit, and so is what both made the same. Where both changed
    it, each in its own way, the strategy says what becomes of it: three-way, unless --strategy or the project's
    `.lamella/config.toml` name another. `--strategy ties --param density=0.2 --strategy-for 'embed.*=ours'` names one
    and makes an exception.

    What cannot be merged without being asked stops the merge, with exit code 4, as text in conflict does: `lamella
    conflicts` says why, `lamella resolve` settles it, --continue goes on and --abort takes all back. These two do the
    same for a rebase, a cherry-pick and a revert.

    Several COMMITs become one merge with all of them as parents: `lamella merge a b c --strategy linear --weights
    0.5,0.3,0.2`. Where this branch has nothing that they lack, it is no side of it. A conflict refuses such a merge as
    a whole. `lamella merge REV --into prod --ema 0.99` makes the model of the branch prod 0.99 of itself and 0.01 of
    REV's, in a commit there. Every merge leaves a record in its commit, from which --replay makes it again.

    `lamella merge RECIPE.yml --out merged.safetensors` makes a model as a configuration of mergekit says, in which
    models are files, folders, REV:PATH or PATH@REV. No repository is needed for it, and nothing is downloaded.
    """
    flags = {"--no-ff": no_ff, "--ff-only": ff_only, "--squash": squash}
    asked = Asked(git_options=tuple(name for name, is_set in flags.items() if is_set), **given)
    return _mode(asked)(asked)


def _mode(asked: Asked) -> Callable[[Asked], int]:
    """Return what was asked for."""
    from lamella.cli.merging import average, many, one, preview, recipe, replay, stopped

    if asked.every and not asked.dry_run:
        raise UsageError("--all goes with --dry-run", kind="bad-argument", hint="add it, or leave --all out")
    if asked.is_recipe:
        return recipe.run
    if asked.out is not None or asked.shard_size is not None or asked.force:
        raise UsageError(
            "--out, --shard-size and --force are for recipes", kind="bad-argument", hint="name a .yml file"
        )
    if asked.replay is not None:
        return replay.run
    if asked.into is not None or asked.ema is not None:
        return average.run
    if asked.going_on or asked.aborting:
        if asked.commits or (asked.going_on and asked.aborting):
            raise UsageError("--continue and --abort go alone", kind="bad-argument", hint="name no commit with them")
        return stopped.go_on if asked.going_on else stopped.abort
    if len(asked.commits) > 1:
        return many.run
    return preview.run if asked.dry_run else one.run
