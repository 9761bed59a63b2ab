"""`lamella ls-files`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository
from lamella.ops.show import ListedFile, list_files


@click.command()
@click.argument("paths", nargs=-1)
@json_option
def command(paths: tuple[str, ...], as_json: bool) -> None:
    """List the model files that Lamella keeps.

    A file marked with `-` has only its manifest in the worktree; `lamella checkout` gets it.
    """
    with open_repository() as repository:
        files = list_files(repository, paths)
    if as_json:
        render.emit_json("ls-files", {"files": files})
        return
    rows = [
        (
            "*" if file.filled else "-", file.path, file.format, _counted(file), render.size(file.nbytes),
            file.model_id[:12],
        )
        for file in files
    ]  # fmt: skip
    render.columns(rows, right=frozenset({3, 4}))


def _counted(file: ListedFile) -> str:
    if file.parts and not file.tensors:
        return render.counted(file.parts, "part")
    return render.counted(file.tensors, "tensor")
