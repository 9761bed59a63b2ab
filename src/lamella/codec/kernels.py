"""The kernels as everyone calls them: the compiled ones where they are installed, else their plain twins."""

from __future__ import annotations

from lamella.codec.reference import GEAR
from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError

__all__ = ["IS_NATIVE", "find_cut", "join_planes", "split_planes"]

try:
    from lamella.codec._native import find_cut as _find_cut
    from lamella.codec._native import join_planes, split_planes
except ImportError as exc:
    if not isinstance(exc, ModuleNotFoundError) or exc.name != "lamella.codec._native":
        raise BackendError(
            f"the compiled kernels cannot be loaded: {exc}",
            kind="native-broken",
            hint="install lamella again with this version of Python",
        ) from exc
    from lamella.codec.reference import find_cut as _find_cut
    from lamella.codec.reference import join_planes, split_planes

    IS_NATIVE = False
else:
    IS_NATIVE = True


def find_cut(data: Buffer, minimum: int, average: int, maximum: int) -> int:
    """Return the length in bytes of the first content-defined chunk of `data`, as docs/spec/codecs.md defines it.

    Give at least `maximum` bytes, or all that are left: the end of `data` is the end of a chunk. The bounds are in
    bytes, 64 <= minimum <= average <= maximum and `average` is a power of two; anything else raises ValueError.
    """
    return _find_cut(data, GEAR, minimum, average, maximum)
