"""The header of a safetensors file as we write it; https://github.com/huggingface/safetensors describes the format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from lamella.core.tensors import TensorSpec
from lamella.formats.writer import unsupported

METADATA = "__metadata__"
"""The one name in a header that is not a tensor's."""

ALIGNMENT_NBYTES = 8
"""The header is padded with spaces, so that the first tensor lies on a multiple of this."""

_NAMES = {"f4_e2m1": "F4"}


def build_header(specs: Sequence[TensorSpec], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return length and header of a file that holds `specs` in this order, one behind the other.

    Raises UsageError (dtype-unsupported) for a dtype that the format has no name for.
    """
    entries: dict[str, object] = {} if metadata is None else {METADATA: dict(metadata)}
    offset = 0
    for spec in specs:
        if spec.dtype.name == "c128" or spec.dtype.block_elements > 1:
            raise unsupported("safetensors", spec, "cast it, as in `--dtype 'PATTERN=c64'`")
        end = offset + spec.nbytes
        code = _NAMES.get(spec.dtype.name, spec.dtype.name.upper())
        entries[spec.name] = {"dtype": code, "shape": list(spec.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT_NBYTES)
    return len(text).to_bytes(8, "little") + text
