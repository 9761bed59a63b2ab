"""Checks of matrices: units with nothing in them, and ranks that fell together."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.model.examination import LEAST_RANK, Examined
from lamella.model.health import NOTE, WARNING, Finding, Patient, finding
from lamella.model.tensor_names import is_optimizer_state

_DEAD_SHARE = 0.01
_COLLAPSED = 1.5
_FALLEN = 0.5


def dead_units(patient: Patient) -> Iterator[Finding]:
    """Find rows and columns with a norm of nearly nothing.

    A single one, and less than one in a hundred, is a note: embeddings have a row of zeros for padding.
    """
    for name, one in patient.tensors.items():
        for units in one.units:
            if not units.dead or units.count < LEAST_RANK or (one.survey is not None and one.survey.is_constant):
                continue
            many = units.dead > 1 and units.dead >= _DEAD_SHARE * units.count
            first = ", ".join(map(str, units.first)) + (", ..." if units.dead > len(units.first) else "")
            yield finding(
                "dead-units", WARNING if many and not is_optimizer_state(name) else NOTE, name,
                f"{units.dead:,} of {units.count:,} {units.axis}s are zero or nearly so: {first}",
                "prune them, or start them anew; a lower learning rate or another activation keeps units alive",
                dead=units.dead, count=units.count, axis=units.axis,
            )  # fmt: skip


def rank_collapse(patient: Patient) -> Iterator[Finding]:
    """Find matrices whose rows are nearly all the same up to a factor, or of half the rank that they had before."""
    for name, one in patient.tensors.items():
        rank = one.effective_rank
        if rank is None or one.survey is None or one.survey.is_constant or is_optimizer_state(name):
            continue
        before = _rank_before(patient, name, one)
        fell = before is not None and rank < _FALLEN * before
        if rank >= _COLLAPSED and not fell:
            continue
        earlier = f", it was {before:.1f}" if before is not None else ""
        evidence = {} if before is None else {"before": before}
        yield finding(
            "rank-collapse", WARNING, name,
            f"the effective rank of {one.ranked} rows is {rank:.1f}{earlier}",
            "see what made the rows alike: a collapsed loss, too much weight decay, or a merge that cancelled",
            effective_rank=rank, rows=one.ranked, **evidence,
        )  # fmt: skip


def _rank_before(patient: Patient, name: str, one: Examined) -> float | None:
    earlier = (patient.before or {}).get(name)
    return None if earlier is None or earlier.spec.shape != one.spec.shape else earlier.effective_rank
