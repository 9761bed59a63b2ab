"""The kernels as everyone calls them: the compiled ones where they are installed, else their plain twins."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lamella.codec import reference
from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError

if TYPE_CHECKING:
    from lamella.codec.models import AloneModelFactory, DeltaModelFactory

IS_NATIVE = find_spec("lamella.codec._native") is not None
"""Whether the compiled kernels are installed. Where they are and do not load is an error, not a slow day."""

if IS_NATIVE:
    try:
        from lamella.codec import _native
    except ImportError as exc:
        raise BackendError(
            f"the compiled kernels cannot be loaded: {exc}",
            kind="native-broken",
            hint="install lamella again with this version of Python",
        ) from exc
    split_planes, join_planes, _find_cut = _native.split_planes, _native.join_planes, _native.find_cut
    alone_model: AloneModelFactory = _native.AloneModel
    count_alone, fit_alone = _native.count_alone, _native.fit_alone
    delta_model: DeltaModelFactory = _native.DeltaModel
    count_delta = _native.count_delta
    fit_growth, fit_contexts = _native.fit_growth, _native.fit_contexts
else:
    from lamella.codec import alone_reference, delta_fit_reference, delta_reference

    split_planes, join_planes, _find_cut = reference.split_planes, reference.join_planes, reference.find_cut
    alone_model = alone_reference.AloneModel
    count_alone, fit_alone = alone_reference.count_alone, alone_reference.fit_alone
    delta_model = delta_reference.DeltaModel
    count_delta = delta_reference.count_delta
    fit_growth, fit_contexts = delta_fit_reference.fit_growth, delta_fit_reference.fit_contexts


def find_cut(data: Buffer, minimum: int, average: int, maximum: int) -> int:
    """Return the length in bytes of the first content-defined chunk of `data`, as docs/spec/codecs.md defines it.

    Give at least `maximum` bytes, or all that are left: the end of `data` is the end of a chunk. The bounds are in
    bytes, 64 <= minimum <= average <= maximum and `average` is a power of two; anything else raises ValueError.
    """
    return _find_cut(data, reference.GEAR, minimum, average, maximum)
