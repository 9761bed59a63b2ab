"""The record of a merge: what was merged, by which rules, and what came of it, as a text in the merge commit.

docs/spec/merge.md describes the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_MERGE_NBYTES, MAX_MERGE_SIDES
from lamella.core.text import printable
from lamella.model.merging.rules import Choice, Rules
from lamella.repo.git import GitOid
from lamella.repo.merge_rules import rules_from_fields, rules_to_fields

VERSION = 1
FOLDER = ".lamella/merges"
RECORD_TRAILER, STRATEGY_TRAILER = "Lamella-Merge", "Lamella-Strategy"
_VERSION_KEY = "lamella merge"
_ID_LENGTH = 32
_SHOWN = 3
_SHOWN_LENGTH = 200

_OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class MergedPath:
    """A model file of a merge: the blobs that base and sides have of it, None for none, its rules, and the result.

    There is one for each side of the merge; the weights in `rules` are those of the sides that have the file.
    """

    path: str
    base: GitOid | None
    sides: tuple[GitOid | None, ...]
    rules: Rules
    result: GitOid
    model_id: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a command said of the result: its line, its exit status, and a metric's name and value where it has one."""

    command: str
    status: int
    metric: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """A merge: the commits of base and sides, the model files that were merged, and what was found afterwards.

    `sides` are the parents of the merge commit, in their order. `checks` are sentences.
    """

    base: GitOid | None
    sides: tuple[GitOid, ...]
    paths: tuple[MergedPath, ...]
    checks: tuple[str, ...] = ()
    evaluation: Evaluated | None = field(default=None)

    @property
    def strategy(self) -> str:
        """What was done, in one line for people."""
        said = dict.fromkeys(describe_rules(one.rules) for one in self.paths)
        return "; ".join(said) if len(said) <= _SHOWN else f"{len(said)} for {len(self.paths)} files"


def is_running(rules: Rules) -> bool:
    """Say whether rules are those of a running average: the first side's weight is its decay."""
    return not rules.settles and rules.choice == Choice("linear") and len(rules.weights) == 2


def describe_rules(rules: Rules) -> str:
    """Return rules as one line for people: ``ties density=0.2``."""
    if is_running(rules):
        return f"ema {rules.weights[0]:g}"
    parts = [_shown(rules.choice)]
    if rules.weights:
        parts.append(f"weights={','.join(f'{weight:g}' for weight in rules.weights)}")
    parts += [f"{pattern}={_shown(choice)}" for pattern, choice in rules.choices[:_SHOWN]]
    if len(rules.choices) > _SHOWN:
        parts.append(f"and {len(rules.choices) - _SHOWN} patterns more")
    if rules.resolutions:
        parts.append(f"resolved={len(rules.resolutions)}")
    return printable(" ".join(parts))[:_SHOWN_LENGTH]


def _shown(choice: Choice) -> str:
    return " ".join((choice.strategy, *(f"{name}={value:g}" for name, value in sorted(choice.parameters.items()))))


def record_text(record: MergeRecord) -> bytes:
    """Return the text of a record: the same for the same record, on every machine."""
    fields = {
        _VERSION_KEY: VERSION,
        "base": record.base,
        "sides": list(record.sides),
        "paths": {one.path: _path_fields(one) for one in record.paths},
        "checks": list(record.checks),
        "evaluation": None if record.evaluation is None else _evaluation_fields(record.evaluation),
    }
    return f"{json.dumps(fields, sort_keys=True, indent=1)}\n".encode("ascii")


def record_path(text: bytes) -> str:
    """Return where in the tree a record lies: under the digest of its text, so that two are never in one place."""
    return f"{FOLDER}/{blake3(text).hexdigest()[:_ID_LENGTH]}.json"


def parse_record(text: bytes) -> MergeRecord:
    """Return the record that a text holds; only what `record_text` writes is one.

    Raises FormatError: merge-record-version for one of a later version, merge-record-malformed, and rules-malformed.
    """
    if len(text) > MAX_MERGE_NBYTES:
        raise _malformed(f"it has more than {MAX_MERGE_NBYTES} bytes")
    try:
        fields = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as exc:
        raise _malformed("it is no JSON") from exc
    if not isinstance(fields, dict) or _VERSION_KEY not in fields:
        raise _malformed("it does not say that it is one")
    version = fields[_VERSION_KEY]
    if isinstance(version, bool) or version != VERSION:
        said = json.dumps(version)[:40]
        raise FormatError(
            f"the record of the merge is of version {said}, which this program does not read",
            kind="merge-record-version",
            hint="upgrade lamella",
        )
    try:
        record = _record(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, FormatError):
            raise
        raise _malformed("something is missing, or is not of its kind") from exc
    if record_text(record) != text:
        raise _malformed("it is not in the form in which records are written")
    return record


def _path_fields(one: MergedPath) -> dict[str, Any]:
    return {
        "base": one.base,
        "sides": list(one.sides),
        "rules": rules_to_fields(one.rules),
        "result": one.result,
        "model_id": one.model_id,
    }


def _evaluation_fields(one: Evaluated) -> dict[str, Any]:
    return {"command": one.command, "status": one.status, "metric": one.metric, "value": one.value}


def _record(fields: Mapping[str, Any]) -> MergeRecord:
    sides = tuple(map(_oid, fields["sides"]))
    if not 2 <= len(sides) <= MAX_MERGE_SIDES:
        raise ValueError
    evaluation = fields["evaluation"]
    return MergeRecord(
        _oid_or_none(fields["base"]),
        sides,
        tuple(_path(path, one, len(sides)) for path, one in fields["paths"].items()),
        tuple(map(_text, fields["checks"])),
        None if evaluation is None else _evaluated(evaluation),
    )


def _path(path: str, fields: Mapping[str, Any], sides: int) -> MergedPath:
    blobs = tuple(map(_oid_or_none, fields["sides"]))
    model_id = fields["model_id"]
    if not path or len(blobs) != sides or not isinstance(model_id, str) or not _DIGEST.match(model_id):
        raise ValueError
    rules = rules_from_fields(fields["rules"])
    return MergedPath(path, _oid_or_none(fields["base"]), blobs, rules, _oid(fields["result"]), model_id)


def _evaluated(fields: Mapping[str, Any]) -> Evaluated:
    metric, value, status = fields["metric"], fields["value"], fields["status"]
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError
    if value is not None and not (isinstance(value, float) and math.isfinite(value)):
        raise ValueError
    return Evaluated(_text(fields["command"]), status, None if metric is None else _text(metric), value)


def _oid(value: object) -> GitOid:
    if not isinstance(value, str) or not _OID.match(value):
        raise ValueError
    return GitOid(value)


def _oid_or_none(value: object) -> GitOid | None:
    return None if value is None else _oid(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _malformed(reason: str) -> FormatError:
    hint = "it was edited, or written by something else; the merge can be made again from its parents"
    return FormatError(f"the record of the merge is malformed: {reason}", kind="merge-record-malformed", hint=hint)
