"""`lamella hook`."""

from __future__ import annotations

import os

import click

from lamella.cli import render
from lamella.cli.session import open_repository
from lamella.ops.hook import after_checkout, before_push


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", type=click.Choice(["post-checkout", "post-merge", "pre-push"]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(name: str, arguments: tuple[str, ...]) -> None:
    """Say what a Git hook has to say. Git calls this by itself; it never stops Git."""
    with open_repository() as repository:
        if os.environ.get("LAMELLA_INSIDE") == os.fspath(repository.git.git_dir):
            return
        sentences = before_push(repository, arguments) if name == "pre-push" else after_checkout(repository)
    for sentence in sentences:
        render.note(f"lamella: {sentence}")
