"""Checks against the version that a model comes from: norms that jumped, ties that broke, tensors and types."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import exp, inf, log
from statistics import median

from lamella.model.examination import Examined
from lamella.model.health import NOTE, WARNING, Finding, Patient, finding
from lamella.model.tensor_names import family, is_optimizer_state

_JUMP, _LEAP = 2.0, 10.0
_LEAST_FAMILY = 4
_OUTLYING = 6.0
_LEAST_SPREAD = 0.02
"""Of the logarithms of ratios: where all others stayed as they were, a change by less than this is no outlier."""

_LEAST_TIED = 64


def norm_jump(patient: Patient) -> Iterator[Finding]:
    """Find matrices whose norm changed by far more than that of their like.

    By a factor of 2 where that lies six robust deviations (1.4826 times the median absolute deviation of the logarithms
    of the ratios) from the median of the family, which are the tensors of repeated layers with one name, or the whole
    model where these are fewer than four; by a factor of 10 wherever.
    """
    ratios: dict[str, float] = {}
    for before, after in patient.pairs():
        ratio = _log_ratio(before, after)
        if ratio is not None:
            ratios[after.spec.name] = ratio
    families: dict[str, list[float]] = defaultdict(list)
    for name, ratio in ratios.items():
        families[family(name)].append(ratio)
    everything = list(ratios.values())
    scales = {name: _scale(found if len(found) >= _LEAST_FAMILY else everything) for name, found in families.items()}
    for name, ratio in ratios.items():
        middle, spread = scales[family(name)]
        z = (ratio - middle) / spread
        if abs(ratio) >= log(_LEAP) or (abs(ratio) >= log(_JUMP) and abs(z) > _OUTLYING):
            yield finding(
                "norm-jump", WARNING, name,
                f"the norm is {exp(ratio):.3g} times what it was, that of its like {exp(middle):.3g} times",
                "look at the gradients of this layer, or take it from the version before",
                ratio=exp(ratio), family_ratio=exp(middle), z=z,
            )  # fmt: skip


def _log_ratio(before: Examined, after: Examined) -> float | None:
    old, new = before.survey, after.survey
    if old is None or new is None or before.spec.shape != after.spec.shape or len(after.spec.shape) < 2:
        return None
    if is_optimizer_state(after.spec.name) or not (0 < old.squares < inf and 0 < new.squares < inf):
        return None
    return (log(new.squares) - log(old.squares)) / 2


def _scale(ratios: Sequence[float]) -> tuple[float, float]:
    middle = median(ratios)
    deviation = 1.4826 * median(abs(ratio - middle) for ratio in ratios)
    return middle, max(deviation, _LEAST_SPREAD) if len(ratios) >= _LEAST_FAMILY else inf


def untied(patient: Patient) -> Iterator[Finding]:
    """Find matrices that were the same under several names, as an embedding and the output are, and came apart."""
    tied: dict[tuple[bytes, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, one in (patient.before or {}).items():
        found = one.survey
        if one.digest is None or found is None or found.is_constant or found.count < _LEAST_TIED:
            continue
        if len(one.spec.shape) > 1 and not is_optimizer_state(name):
            tied[one.digest, one.spec.shape].append(name)
    for names in tied.values():
        kept = [name for name in names if name in patient.tensors]
        for name in kept[1:]:
            first = kept[0]
            apart = patient.tensors[first].digest != patient.tensors[name].digest
            if apart and family(first) != family(name):
                yield finding(
                    "untied", WARNING, name,
                    f"it was the same as {first}, and is not any more",
                    "tie the two again before saving, unless they are meant to be trained apart",
                    tensors=len(kept),
                )  # fmt: skip


def structure(patient: Patient) -> Iterator[Finding]:
    """Find tensors that are missing, of another shape, or new."""
    if patient.before is None:
        return
    for name, one in patient.before.items():
        if name not in patient.tensors:
            yield finding(
                "structure", WARNING, name, f"{one.spec.dtype.name} {list(one.spec.shape)} is no longer there",
                "see whether it was renamed, or left out when the model was saved",
                nbytes=one.spec.nbytes,
            )  # fmt: skip
    for before, after in patient.pairs():
        if before.spec.shape != after.spec.shape:
            yield finding(
                "structure", WARNING, after.spec.name,
                f"the shape is {list(after.spec.shape)}, it was {list(before.spec.shape)}",
                "whoever loads the model has to know; grown vocabularies are rows at the end",
                nbytes=after.spec.nbytes, nbytes_before=before.spec.nbytes,
            )  # fmt: skip
    for name, one in patient.tensors.items():
        if name not in patient.before:
            yield finding(
                "structure", NOTE, name, f"{one.spec.dtype.name} {list(one.spec.shape)} was not there",
                "nothing, where the model was meant to grow",
                nbytes=one.spec.nbytes,
            )  # fmt: skip


def dtypes(patient: Patient) -> Iterator[Finding]:
    """Find tensors whose dtype changed, where others of the same one kept it; where all changed, that is a note."""
    changes = Counter((before.spec.dtype.name, after.spec.dtype.name) for before, after in patient.pairs())
    advice = "cast the model as a whole, for example with `lamella export --dtype`"
    for (old, new), count in changes.items():
        total = sum(number for (dtype, _), number in changes.items() if dtype == old)
        if old != new and count == total:
            yield finding("dtype", NOTE, "", f"all that was {old} is {new}: {count:,} tensors", advice, tensors=count)
    for before, after in patient.pairs():
        old, new = before.spec.dtype.name, after.spec.dtype.name
        kept = changes[old, old] + sum(
            changes[pair] for pair in changes if pair[0] == old and pair[1] not in (old, new)
        )
        if old != new and kept:
            yield finding(
                "dtype", WARNING, after.spec.name,
                f"it is {new} and was {old}, while {kept:,} others that were {old} are not {new}",
                advice, others=kept,
            )  # fmt: skip
