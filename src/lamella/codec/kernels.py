"""The kernels as everyone calls them: the compiled ones where they are installed, else their plain twins."""

from __future__ import annotations

from importlib.util import find_spec

from lamella.codec import reference
from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError

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
else:
    split_planes, join_planes, _find_cut = reference.split_planes, reference.join_planes, reference.find_cut


def find_cut(data: Buffer, minimum: int, average: int, maximum: int) -> int:
    """Return the length in bytes of the first content-defined chunk of `data`, as docs/spec/codecs.md defines it.

    Give at least `maximum` bytes, or all that are left: the end of `data` is the end of a chunk. The bounds are in
    bytes, 64 <= minimum <= average <= maximum and `average` is a power of two; anything else raises ValueError.
    """
    return _find_cut(data, reference.GEAR, minimum, average, maximum)
