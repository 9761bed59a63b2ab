"""What is wrong with a model, or may be: findings, each with its evidence and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from lamella.model.examination import Examined

ERROR, WARNING, NOTE = "error", "warning", "note"
"""How bad it is: the model cannot work as it is; it is probably not what somebody wanted; it is worth knowing."""

SEVERITIES = (ERROR, WARNING, NOTE)
"""From the worst on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found in one tensor or layer, whose name `where` is; "" is the whole model.

    `evidence` are the numbers behind it, by what they are; what is not finite is spelt as text. `advice` says what to
    do, in words that are the same for all findings of one kind.
    """

    check: str
    severity: str
    where: str
    message: str
    evidence: Mapping[str, int | float | str]
    advice: str


@dataclass(frozen=True)
class Patient:
    """The tensors of a model in file order, and those of the version it comes from, None where there is none."""

    tensors: Mapping[str, Examined]
    before: Mapping[str, Examined] | None = None

    def pairs(self) -> Iterator[tuple[Examined, Examined]]:
        """Yield what is on both sides under one name: as it was, and as it is."""
        for name, after in self.tensors.items():
            if self.before is not None and name in self.before:
                yield self.before[name], after


Check = Callable[[Patient], Iterator[Finding]]


def finding(check: str, severity: str, where: str, message: str, advice: str, **evidence: int | float | str) -> Finding:
    """Return a finding whose evidence can be written down in any format."""
    plain = {
        name: value if isinstance(value, str) or isfinite(value) else str(value) for name, value in evidence.items()
    }
    return Finding(check, severity, where, message, plain, advice)


def diagnose(patient: Patient, checks: Mapping[str, Check]) -> tuple[Finding, ...]:
    """Return what `checks` find, the worst first, in the order of the checks and of the tensors within them."""
    found = [one for check in checks.values() for one in check(patient)]
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))
