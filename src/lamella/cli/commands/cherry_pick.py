"""`lamella cherry-pick`."""

from __future__ import annotations

import click

from lamella.cli import passthrough, picking


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Bring the change of other commits into this branch, as `git cherry-pick` does.

    To a model file that both changed, the change is added tensor by tensor: what became of each number since the
    commit's parent comes on top of what the branch has. `--scale 0.5` adds half of it, `--scale -1` takes it away; what
    cannot be scaled, as tensors that are new, is taken whole and told. All of Git's arguments are understood,
    --continue, --skip and --abort among them.
    """
    return picking.run("cherry-pick", arguments)
