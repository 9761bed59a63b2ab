"""Which command judges merges: from this clone's own Git configuration, or asked for with the merge under way.

What a project tracks is never asked: whoever can push to it would run commands here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import FormatError, UsageError
from lamella.core.limits import MAX_SETTINGS_NBYTES
from lamella.repo.git import Git

COMMAND, METRIC, TIMEOUT = "lamella.evaluate", "lamella.evaluateMetric", "lamella.evaluateTimeout"


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """A line of the shell, the metric that it prints, None for none, and the seconds that it may take, None for any."""

    command: str
    metric: str | None = None
    timeout_seconds: float | None = None


def evaluation_settings(git: Git, command: str | None = None) -> EvaluationSettings | None:
    """Return what the repository's own configuration says, `command` going before its command; None for none.

    Raises UsageError (bad-argument) for a timeout that is no number of seconds.
    """
    listed = git.run("config", "--local", "--null", "--get-regexp", r"^lamella\.evaluate", check=False)
    rows = (row.partition("\n") for row in listed.decode("utf-8", "surrogateescape").split("\0")[:-1])
    values = {name.lower(): value for name, _, value in rows}
    line = values.get(COMMAND) if command is None else command
    if not line:
        return None
    seconds = values.get(TIMEOUT.lower())
    try:
        timeout = None if seconds is None else float(seconds)
    except ValueError:
        timeout = 0.0
    if timeout is not None and not timeout > 0:
        hint = f"`git config {TIMEOUT} 600` gives it ten minutes"
        raise UsageError(f"{TIMEOUT} is no number of seconds", kind="bad-argument", hint=hint)
    return EvaluationSettings(line, values.get(METRIC.lower()), timeout)


def ask_later(git: Git, merged: str, settings: EvaluationSettings) -> None:
    """Keep what was asked for with the merge of the commit `merged`, for when that goes on."""
    fields = {"merged": merged, "evaluate": [settings.command, settings.metric, settings.timeout_seconds]}
    fsio.make_directory(_place(git).parent, durable=False)
    fsio.write_file(_place(git), json.dumps(fields).encode())


def asked_before(git: Git, merged: str) -> EvaluationSettings | None:
    """Return what was asked for with the merge of the commit `merged`, which is under way; None for nothing.

    Raises FormatError (settings-malformed) where that cannot be known: the merge is then not to be let through.
    """
    place = _place(git)
    if not place.exists():
        return None
    with fsio.translated(place, reading=True), place.open("rb") as file:
        text = file.read(MAX_SETTINGS_NBYTES)
    try:
        fields = json.loads(text)
        command, metric, timeout = fields["evaluate"]
        if fields["merged"] != merged:
            return None
        if not isinstance(command, str) or not isinstance(metric, str | None) or not isinstance(timeout, float | None):
            raise TypeError
        return EvaluationSettings(command, metric, timeout)
    except (ValueError, TypeError, KeyError, RecursionError):
        hint = "`lamella merge --abort` takes the merge back"
        raise FormatError(
            "how the merge is to be evaluated is malformed", kind="settings-malformed", hint=hint
        ) from None


def forget_asked(git: Git) -> None:
    """Remove what was asked for: the merge is done."""
    if _place(git).exists():
        fsio.remove(_place(git))


def _place(git: Git) -> Path:
    return git.git_dir / "lamella" / "evaluation.json"
