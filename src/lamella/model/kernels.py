"""The kernels that measure and merge, as everyone calls them: the compiled ones where installed, else their twins."""

from __future__ import annotations

from importlib.util import find_spec

from lamella.core.errors import BackendError

IS_NATIVE = find_spec("lamella.model._native") is not None
"""Whether the compiled kernels are installed. Where they are and do not load is an error, not a slow day."""

if IS_NATIVE:
    try:
        from lamella.model import _native
    except ImportError as exc:
        raise BackendError(
            f"the compiled kernels cannot be loaded: {exc}",
            kind="native-broken",
            hint="install lamella again with this version of Python",
        ) from exc
    measure, survey, decode, count_values = _native.measure, _native.survey, _native.decode, _native.count_values
    encode, weighted_sum, ordered_mean = _native.encode, _native.weighted_sum, _native.ordered_mean
    elect, gram, count_magnitudes = _native.elect, _native.gram, _native.count_magnitudes
else:
    from lamella.model import elect_reference, measure_reference, merge_reference

    measure, survey = measure_reference.measure, measure_reference.survey
    decode, count_values = measure_reference.decode, measure_reference.count_values
    encode, weighted_sum = merge_reference.encode, merge_reference.weighted_sum
    ordered_mean, elect = merge_reference.ordered_mean, elect_reference.elect
    gram, count_magnitudes = elect_reference.gram, elect_reference.count_magnitudes
