"""`lamella bisect`: `run`, `layers`, `log` and `reset`."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from lamella.cli import bisect_text, render
from lamella.cli.session import json_option, known_sketches, open_repository, opened, progress
from lamella.core.errors import NotFoundError, UsageError
from lamella.ops.bisect_layers import bisect_layers
from lamella.ops.bisect_run import bisect_log, bisect_reset, bisect_run
from lamella.ops.bisect_state import LAYERS, alone
from lamella.ops.bisect_suspects import only_model
from lamella.ops.evaluate import Evaluator
from lamella.ops.verdict import Criterion

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--metric", metavar="NAME", help="Judge by a number that the command prints, not by its exit status."),
    click.option("--drop", type=float, metavar="X", help="Bad is a metric more than X below that of the good model."),
    click.option("--rise", type=float, metavar="X", help="Bad is a metric more than X above it: for losses."),
    click.option("--repeat", type=int, default=1, metavar="N", help="Evaluate up to N times, until it is sure."),
    click.option("--timeout", type=float, metavar="SECONDS", help="End an evaluation that takes longer, and stop."),
    json_option,
)


def _judging(function: _Function) -> _Function:
    """Give a command the options that say how models are judged."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Find the version, or the layers, that made a model worse, by evaluating few of them.

    CMD is a line of the shell that judges one model. It finds the path of the model file in place of `{model}`, and in
    LAMELLA_MODEL; `bisect run` gives it the commit in LAMELLA_REVISION. It runs where you are, without stdin. Exit
    status 0 says good, 125 that this model cannot be judged, anything else up to 124 bad; a crash (a signal, 128 or
    more) ends the search, and so do 126 and 127, with which a shell says that it found nothing to run. With --metric,
    it is to end with 0 and to print the number as `NAME: 0.93`, `NAME=0.93` or a line of JSON, {"NAME": 0.93}; the last
    one counts.
    """


@command.command("run")
@click.argument("line", metavar="CMD")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--good", required=True, metavar="REV", help="A version that is good.")
@click.option("--bad", default="HEAD", metavar="REV", help="A later version that is bad (default: HEAD).")
@_judging
def run(line: str, paths: tuple[str, ...], good: str, bad: str, as_json: bool, **given: Any) -> None:
    """Find the first bad version between two.

    Tested are versions that changed PATH, or else any model file, over branches and merges; each test halves what is
    left. A version is put into a worktree of its own in `.git/lamella`, so yours stays as it is; `{model}` is the first
    model file that PATH names. An interrupted search goes on when the same command is given again.
    """
    criterion, evaluator = _judgement(line, given)
    hear = bisect_text.ignore if as_json else bisect_text.tell_step(criterion.metric)
    with open_repository() as repository:
        report = bisect_run(
            repository, evaluator, criterion, good, bad, paths, hear=hear, progress=progress(quiet=as_json)
        )
    if as_json:
        render.emit_json("bisect", {**_fields(report), "tensors": report.tensors})
    else:
        bisect_text.show_run(report)


@command.command("layers")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--run", "line", required=True, metavar="CMD", help="The command that judges a model.")
@_judging
def layers(before: str, after: str, line: str, as_json: bool, **given: Any) -> None:
    """Find the layers of a bad model B that make a good model A bad.

    A and B are models, each a file or a folder anywhere, REV:PATH, or REV where that has one model. Layers are matched
    as `lamella align` does it. What differs is put into copies of A, half of it at first, until the smallest set of
    layers is found that is bad by itself: one layer, or several that are bad only together. Copies are in the container
    of A, and are removed. Tensors that were added, removed, resized or untied cannot be put there, and are named.
    """
    criterion, evaluator = _judgement(line, given)
    hear = bisect_text.ignore if as_json else bisect_text.tell_mixture(criterion.metric)
    with _folder() as folder, opened(_target(before)) as old, opened(_target(after)) as new:
        report = bisect_layers(
            old, new, evaluator, criterion, folder,
            cache=known_sketches(), hear=hear, progress=progress(quiet=as_json),
        )  # fmt: skip
    if as_json:
        render.emit_json("bisect-layers", {**_fields(report), "tensors": report.tensors})
    else:
        bisect_text.show_layers(report)


@command.command("log")
@json_option
def log(as_json: bool) -> None:
    """Show what the last `lamella bisect run` was asked, and what each version came to."""
    with open_repository() as repository:
        state, commits = bisect_log(repository)
    if as_json:
        render.emit_json("bisect-log", {**_fields(state), "evaluations": state.evaluations})
        return
    bisect_text.show_log(state, commits)


@command.command("reset")
def reset() -> None:
    """Forget the last search, and remove what a killed one left behind."""
    with open_repository() as repository:
        found = bisect_reset(repository)
    render.note("forgotten" if found else "there was nothing to forget")


def _judgement(line: str, given: dict[str, Any]) -> tuple[Criterion, Evaluator]:
    criterion = Criterion(given["metric"], given["drop"], given["rise"], given["repeat"])
    return criterion, Evaluator(line, Path.cwd(), dict(os.environ), given["metric"], given["timeout"])


def _target(text: str) -> str:
    """Return what `text` names as a model: a revision alone stands for the one model that it has."""
    if ":" in text or os.path.lexists(text):
        return text
    try:
        with open_repository() as repository:
            return only_model(repository, text)
    except (UsageError, NotFoundError) as error:
        if error.kind in ("not-a-repository", "revision-unknown"):
            hint = "name a file, a folder, REV or REV:PATH"
            raise NotFoundError(f"there is no model {text}", kind="path-unknown", hint=hint) from error
        raise


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a place for mixtures: beside the store of the repository around, or where temporary files are."""
    with ExitStack() as closing:
        repository = None
        with suppress(UsageError):
            repository = closing.enter_context(open_repository())
        if repository is not None and repository.store_directory.is_dir():
            closing.enter_context(alone(repository))
            yield repository.store_directory / LAYERS
        else:
            yield Path(os.environ.get("TMPDIR") or "/tmp") / f"lamella-bisect-{secrets.token_hex(8)}"


def _fields(report: Any) -> dict[str, Any]:
    return {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
