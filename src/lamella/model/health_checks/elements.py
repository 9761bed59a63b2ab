"""Checks of the elements of a tensor: not finite, all the same, too small, too large, variances that are none."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.model.examination import Examined
from lamella.model.health import ERROR, NOTE, WARNING, Finding, Patient, finding
from lamella.model.survey import Survey
from lamella.model.tensor_names import is_mask, is_optimizer_state, is_variance, starts_at_zero

_LARGEST = {"f16": 65504.0, "bf16": 3.3895313892515355e38, "f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308}
"""The largest finite number of each dtype that models are cast from and to."""

_SUBNORMAL_SHARES = {"f16": 0.1}
_SUBNORMAL_SHARE = 0.01
_LEAST_COUNT = 64
_HALF_LARGEST = _LARGEST["f16"]


def _surveyed(patient: Patient) -> Iterator[tuple[str, Examined, Survey]]:
    for name, one in patient.tensors.items():
        if one.survey is not None:
            yield name, one, one.survey


def not_finite(patient: Patient) -> Iterator[Finding]:
    """Find NaN and infinity; an infinity in a mask is meant."""
    for name, _, found in _surveyed(patient):
        if not found.is_finite:
            meant = is_mask(name) and not found.nan
            yield finding(
                "not-finite", NOTE if meant else ERROR, name,
                f"{found.nan:,} NaN and {found.infinite:,} infinite of {found.count:,} elements",
                "go back to the last version without them, and lower the learning rate or clip gradients",
                nan=found.nan, infinite=found.infinite, count=found.count,
            )  # fmt: skip


def constant(patient: Patient) -> Iterator[Finding]:
    """Find tensors whose elements are all the same number.

    Biases begin as zeros and scales of norms as ones, so for tensors of one axis that is a note only, and so it is for
    what an optimizer remembers, for the half of a low-rank adapter that begins at zero, and for what was so before.
    """
    for name, one, found in _surveyed(patient):
        if not found.is_constant or found.count < 2:
            continue
        earlier = (patient.before or {}).get(name)
        before = earlier is not None and earlier.survey is not None and earlier.survey.is_constant
        meant = len(one.spec.shape) < 2 or is_optimizer_state(name) or starts_at_zero(name) or is_mask(name)
        yield finding(
            "constant", NOTE if meant or before else WARNING, name,
            f"all {found.count:,} elements are {found.maximum:g}",
            "see whether this was trained, or loaded, at all",
            value=found.maximum, count=found.count,
        )  # fmt: skip


def subnormal(patient: Patient) -> Iterator[Finding]:
    """Find tensors with many numbers so small that their dtype keeps them with fewer digits."""
    for name, one, found in _surveyed(patient):
        share = found.subnormal / max(1, found.count - found.zeros)
        if found.count >= _LEAST_COUNT and share > _SUBNORMAL_SHARES.get(one.spec.dtype.name, _SUBNORMAL_SHARE):
            yield finding(
                "subnormal", NOTE if is_optimizer_state(name) or len(one.spec.shape) < 2 else WARNING, name,
                f"{share:.1%} of what is not zero is below the normal numbers of {one.spec.dtype.name}",
                "scale it up, or keep it in bf16 or f32; processors are slow with such numbers, or take them for 0",
                subnormal=found.subnormal, share=share, count=found.count,
            )  # fmt: skip


def headroom(patient: Patient) -> Iterator[Finding]:
    """Find numbers that f16 cannot hold, and f16 with numbers near its end."""
    for name, one, found in _surveyed(patient):
        dtype, largest = one.spec.dtype.name, found.max_absolute
        if dtype not in _LARGEST or largest <= _HALF_LARGEST * (0.5 if dtype == "f16" else 1.0):
            continue
        meant = len(one.spec.shape) < 2 or is_optimizer_state(name) or is_mask(name)
        if dtype == "f16":
            message = f"the largest element, {largest:g}, is within a factor of two of the end of f16"
        else:
            infinite = [other for other in ("f16", "bf16", "f32") if largest > _LARGEST[other]]
            message = f"the largest element, {largest:g}, is infinite in {' and in '.join(infinite)}"
        yield finding(
            "headroom", NOTE if meant else WARNING, name, message,
            "keep this tensor in bf16 or f32, or scale it down before it is cast",
            max_absolute=largest, f16_largest=_HALF_LARGEST,
        )  # fmt: skip


def variance(patient: Patient) -> Iterator[Finding]:
    """Find normalisations that would divide by the root of a number that is no variance."""
    for name, _, found in _surveyed(patient):
        if is_variance(name) and found.finite and found.minimum <= 0:
            negative = found.minimum < 0
            yield finding(
                "variance", ERROR if negative else WARNING, name,
                f"the smallest variance is {found.minimum:g}",
                "merges and averages of running variances do this; compute them again with some batches of data"
                if negative
                else "a channel that never varies is scaled up without bound; see whether its unit is dead",
                minimum=found.minimum, zeros=found.zeros, count=found.count,
            )  # fmt: skip
