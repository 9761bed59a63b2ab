"""The settings that a project shares: `.lamella/config.toml`, tracked by Git like any file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamella.core.config import DiffConfig, HealthConfig
from lamella.core.errors import FormatError, UsageError
from lamella.core.fsio import translated
from lamella.core.limits import MAX_SETTINGS_NBYTES
from lamella.model.health import SEVERITIES
from lamella.model.merging.rules import Rules
from lamella.repo.objects import ObjectReader

PATH = ".lamella/config.toml"

_WEIGHTS = ("structure", "parameters", "data", "hyperparameters")


def diff_settings(root: Path | None) -> DiffConfig:
    """Return how the project around `root`, a worktree, compares models; the defaults where it does not say.

    The table is ``[diff]``: `weights` has a number for each part of the total, `epsilon` one for each pattern of names.
    Raises FormatError (settings-malformed) for a file that is no TOML, or says something that is not understood.
    """
    table = _table({} if root is None else _read(root / PATH), "diff", ("weights", "epsilon"))
    weights = _numbers(_table(table, "weights", _WEIGHTS), "diff.weights")
    epsilons = _numbers(_table(table, "epsilon"), "diff.epsilon")
    try:
        return DiffConfig(**weights, epsilons=tuple(epsilons.items()))
    except UsageError as exc:
        raise _malformed(exc.message) from exc


def health_settings(root: Path | None) -> HealthConfig:
    """Return what fails a model in the project around `root`, a worktree; the defaults where it does not say.

    The table is ``[health]``: `fail-on` is a severity, `skip` a list of checks. Raises FormatError (settings-malformed)
    as `diff_settings` does.
    """
    table = _table({} if root is None else _read(root / PATH), "health", ("fail-on", "skip"))
    fail_on, skip = table.get("fail-on", HealthConfig().fail_on), table.get("skip", [])
    if fail_on not in SEVERITIES:
        raise _malformed(f"health.fail-on is none of {', '.join(SEVERITIES)}")
    if not isinstance(skip, list) or not all(isinstance(check, str) for check in skip):
        raise _malformed("health.skip is no list of checks")
    return HealthConfig(fail_on, tuple(skip))


def merge_settings(root: Path | None) -> Rules:
    """Return how the project around `root`, a worktree, merges models; the defaults where it does not say.

    The table is ``[merge]``: `strategy` is a name, or a table of a name as `strategy` and its parameters, `strategies`
    has the same for patterns of tensors, and `opposition` is that of `Rules`. Raises FormatError (settings-malformed)
    as `diff_settings` does.
    """
    return _merge_rules({} if root is None else _read(root / PATH))


def merge_settings_at(reader: ObjectReader, revision: str) -> Rules:
    """Return how the project merged models at a revision; raise as `merge_settings` does."""
    found = reader.read(f"{revision}:{PATH}")
    if found is None or found.type != "blob":
        return _merge_rules({})
    if found.data is None:
        raise _too_long()
    return _merge_rules(_parsed(found.data))


def _merge_rules(values: Mapping[str, Any]) -> Rules:
    from lamella.repo.merge_rules import rules_from_fields

    table = _table(values, "merge", ("strategy", "strategies", "opposition"))
    try:
        return rules_from_fields(table)
    except FormatError as exc:
        raise _malformed(f"[merge]: {exc.message.partition(': ')[2]}") from exc


def _read(path: Path) -> Mapping[str, Any]:
    with translated(path, reading=True):
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            return _parsed(file.read(MAX_SETTINGS_NBYTES + 1))


def _parsed(text: bytes) -> Mapping[str, Any]:
    if len(text) > MAX_SETTINGS_NBYTES:
        raise _too_long()
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as exc:
        raise _malformed(str(exc).splitlines()[0] if str(exc) else "it is no TOML") from exc


def _table(values: Mapping[str, Any], name: str, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise _malformed(f"{name} is no table")
    unknown = next((key for key in found if known and key not in known), None)
    if unknown is not None:
        raise _malformed(f"{name} has no setting {unknown!r}")
    return found


def _numbers(values: Mapping[str, Any], name: str) -> dict[str, float]:
    numbers = {}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _malformed(f"{name}.{key} is no number")
        try:
            numbers[key] = float(value)
        except OverflowError as exc:
            raise _malformed(f"{name}.{key} is too large") from exc
    return numbers


def _too_long() -> FormatError:
    return _malformed(f"it has more than {MAX_SETTINGS_NBYTES} bytes")


def _malformed(reason: str) -> FormatError:
    hint = "docs/guide/diff.md, health.md and merging.md show what it may say"
    return FormatError(f"{PATH} is malformed: {reason}", kind="settings-malformed", hint=hint)
