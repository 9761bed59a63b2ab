"""Evaluating a model by a command of the user's: its exit status, and a metric that is read from what it prints."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from lamella.core.errors import BackendError, UsageError
from lamella.repo.command import Ended, run_command

SKIP = 125
"""The exit status that says that this model cannot be judged, as `git bisect run` has it."""

_NOT_RUN = (126, 127)
"""A shell ends with these where it found no program to run, or one that cannot be: that says nothing of a model."""

_FIRST_CRASH = 128
"""A shell ends with this, or more, where what it ran was ended by a signal."""

MODEL, REVISION = "LAMELLA_MODEL", "LAMELLA_REVISION"
"""The variables in which a command finds the path of the model file, and the commit that it is of, if it is of one."""

PLACE = "{model}"
"""What stands in a command for the path of the model file."""

_HINT = 'print it to stdout, as `{metric}: 0.93` or as a line of JSON, {{"{metric}": 0.93}}'
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a command said of a model: its exit status, 0 to 125, the `value` of the metric that was asked for, if any.

    `lines` are the last that it wrote to stderr, or else to stdout.
    """

    status: int
    value: float | None
    seconds: float
    lines: tuple[str, ...]

    @property
    def skipped(self) -> bool:
        """Whether the command says that this model cannot be judged."""
        return self.status == SKIP


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A command that judges models: `command` is a line of the shell, run in `directory`.

    `environment` is all that it sees of the environment, None what we inherit. The path of the model replaces
    ``{model}`` in the line, quoted, and is in LAMELLA_MODEL.
    """

    command: str
    directory: Path
    environment: Mapping[str, str] | None = None
    metric: str | None = None
    timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.command.strip() or "\0" in self.command:
            hint = "for example 'python evaluate.py {model}'"
            raise UsageError("there is no command to run", kind="bad-argument", hint=hint)
        if self.metric is not None and not self.metric.strip():
            raise UsageError("the metric has no name", kind="bad-argument", hint="for example `--metric accuracy`")
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise UsageError("the time limit is not above zero", kind="bad-argument", hint="give seconds")

    def evaluate(self, model: Path, what: str, added: Mapping[str, str] | None = None) -> Evaluation:
        """Run the command on the file `model`, which messages call `what`; `added` are more variables.

        With a metric, a status other than 0 and 125 is no answer. Raises BackendError: command-failed where there was
        none, where the command could not be run (126 and 127), where it crashed (a signal, or a status of 128 and more)
        and where it took too long; metric-missing where it printed no finite number.
        """
        line = self.command.replace(PLACE, shlex.quote(str(model)))
        variables = {MODEL: str(model), **(added or {})}
        ended = run_command(line, self.directory, self.environment, variables, self.timeout_seconds)
        self._refuse_crash(ended, what)
        value = None
        if self.metric is not None and ended.status != SKIP:
            if ended.status:
                hint = f"a command that measures ends with 0, or with {SKIP} where this model cannot be measured"
                message = f"the command ended with status {ended.status} on {what}{_last(ended)}"
                raise BackendError(message, kind="command-failed", hint=hint)
            value = self._metric(ended, what)
        return Evaluation(ended.status, value, ended.seconds, ended.last_lines())

    def _refuse_crash(self, ended: Ended, what: str) -> None:
        hint = f"mend the command, or let it end with {SKIP} on a model that it cannot judge"
        if ended.timed_out:
            hint = f"raise --timeout, or let it end with {SKIP} on a model that it cannot judge"
            said = f"the command took more than {self.timeout_seconds:g} s on {what} and was ended"
        elif ended.signal is not None:
            said = f"the command was ended by {_name(ended.signal)} on {what}{_last(ended)}"
        elif ended.status in _NOT_RUN:
            hint = f"see that the shell finds what it calls, and can run it; a bad model is said by 1 to {SKIP - 1}"
            said = (
                f"the command ended with status {ended.status}, as a shell that cannot run it, on {what}{_last(ended)}"
            )
        elif ended.status >= _FIRST_CRASH:
            said = f"the command crashed with status {ended.status} on {what}{_last(ended)}"
        else:
            return
        raise BackendError(said, kind="command-failed", hint=hint)

    def _metric(self, ended: Ended, what: str) -> float:
        assert self.metric is not None
        value = read_metric(ended.output.decode("utf-8", "replace"), self.metric)
        if value is not None and math.isfinite(value):
            return value
        said = "did not print" if value is None else f"printed {value} for"
        message = f"the command {said} {self.metric[:80]!r} on {what}"
        raise BackendError(message, kind="metric-missing", hint=_HINT.format(metric=self.metric[:80]))


def read_metric(text: str, name: str) -> float | None:
    """Return the value of the metric `name` in what a program printed, None where it is not there.

    It is in the last line that has it: a JSON object with this key and a number, or ``NAME: number`` or
    ``NAME=number``, of which the last counts. NaN and infinity are returned as they are.
    """
    pattern = re.compile(
        rf"(?<![\w.-]){re.escape(name)}[\"']?[ \t]{{0,20}}[:=][ \t]{{0,20}}([-+.\w]{{1,{_LONGEST_NUMBER}}})"
    )
    for line in reversed(_COLOURS.sub("", text).splitlines()):
        if name not in line:
            continue
        value = _in_object(line, name)
        if value is not None:
            return value
        found = [number for match in pattern.finditer(line) if (number := _number(match[1])) is not None]
        if found:
            return found[-1]
    return None


def _in_object(line: str, name: str) -> float | None:
    """Return the number that a line of JSON has under `name`, None where it is no such line."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
        value = found.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (ValueError, RecursionError):
        return None
    except OverflowError:
        return math.inf


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text.removesuffix("."))
    except ValueError:
        return None


def _name(number: int) -> str:
    return Signals(number).name if number in set(Signals) else f"signal {number}"


def _last(ended: Ended) -> str:
    lines = ended.last_lines()
    return f": {lines[-1][:160]}" if lines else ""
