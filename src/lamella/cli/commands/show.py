"""`lamella show`."""

from __future__ import annotations

import os
from collections import Counter

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository
from lamella.core.errors import NotFoundError, UsageError
from lamella.ops.show import ShownTensor, ShowReport, show
from lamella.repo.repository import Repository


@click.command()
@click.argument("specification", metavar="REV:PATH")
@json_option
def command(specification: str, as_json: bool) -> int:
    """Show what a model file consists of at a revision.

    Lists every tensor with its dtype, shape and size, what it takes in the store, and how many bases it leans on. A
    derived tensor is made of others, as a conversion is. A view is a tensor without bytes of its own in the file, tied
    or transposed; a part is bytes of the file that are no tensor.
    `:PATH` is the index. A REV without a path is left to `git show`.
    """
    with open_repository() as repository:
        if ":" not in specification and _is_only_a_path(repository, specification):
            hint = f"`lamella show HEAD:{specification}`, or `lamella ls {specification}` for what is on disk"
            raise UsageError(f"{specification!r} is a path, not REV:PATH", kind="bad-argument", hint=hint)
        if ":" not in specification and not as_json:
            return repository.git.passthrough(["show", "--stat", "--end-of-options", specification, "--"])
        report = show(repository, specification)
    if as_json:
        render.emit_json("show", report)
    else:
        _show(report)
    return 0


def _is_only_a_path(repository: Repository, name: str) -> bool:
    if not os.path.lexists(repository.git.directory / name):
        return False
    try:
        repository.git.resolve(name)
    except NotFoundError:
        return True
    return False


def _counts(report: ShowReport) -> str:
    numbers = Counter(tensor.kind for tensor in report.tensors)
    tensors = numbers["tensor"] + numbers["view"]
    views = f", {render.counted(numbers['view'], 'view')} among them" if numbers["view"] else ""
    parts = f"and {render.counted(numbers['part'], 'part')}" if numbers["part"] else ""
    if parts and not tensors:
        return parts.removeprefix("and ")
    return f"{render.counted(tensors, 'tensor')}{views}{' ' if parts else ''}{parts}"


def _how(tensor: ShownTensor) -> str:
    kind = "derived" if tensor.derived else "delta" if tensor.depth else ""
    stored = f"{kind}, depth {tensor.depth}" if tensor.depth else kind
    return ", ".join(filter(None, (tensor.kind if tensor.kind != "tensor" else "", stored)))


def _show(report: ShowReport) -> None:
    label = f"{report.revision}:{report.path}"
    render.line(f"{label}  {report.format}, {_counts(report)}", bold=True)
    render.line(f"model id  {report.model_id}")
    render.line(f"weights   {render.size(report.nbytes)}, {render.size(report.stored_nbytes)} in the store")
    if report.missing:
        render.line(f"missing   {render.counted(report.missing, 'object')} not in the store", fg="red")
    rows = [
        (
            tensor.name, tensor.dtype, f"[{', '.join(map(str, tensor.shape))}]", render.size(tensor.nbytes),
            "missing" if tensor.stored_nbytes is None else render.size(tensor.stored_nbytes),
            _how(tensor),
        )
        for tensor in report.tensors
    ]  # fmt: skip
    render.columns([("TENSOR", "DTYPE", "SHAPE", "SIZE", "STORED", ""), *rows], right=frozenset({3, 4}))
