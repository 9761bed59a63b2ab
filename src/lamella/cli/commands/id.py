"""`lamella id`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, opened, progress
from lamella.ops.identify import identify_model


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="PATH|REV:PATH...")
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Print the model id: the same for the same weights.

    It does not depend on the container, on how the tensors are ordered or spread over files, or on anything but their
    names, types, shapes and values. A PATH is a file or a folder anywhere, which is hashed and not stored; of REV:PATH
    the manifests are read, and no weights. A folder, and the index of a sharded model, is one model.
    """
    found = []
    for name in names:
        with opened(name) as model:
            found.append(identify_model(model, progress(quiet=as_json)))
    if as_json:
        render.emit_json("id", {"models": found})
        return
    for identity in found:
        render.incomplete(identity.unread, identity.missing)
        render.line(identity.model_id if len(found) == 1 else f"{identity.model_id}  {identity.name}")
