"""Every bound that protects time, memory or disk, with its reason."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

MAX_SAFETENSORS_HEADER_NBYTES = 100_000_000
"""The reference library's own cap; a longer header is not a safetensors file."""

MAX_SKELETON_NBYTES = 128 * MIB
"""Bytes of a file that belong to no tensor. They are held in memory, so they are bounded by the largest header."""

MAX_MANIFEST_NBYTES = 512 * MIB
"""A manifest is held in memory; 2 million tensors fit."""

MAX_MANIFEST_LINE_NBYTES = 64 * KIB
"""A tensor's name, dtype and shape; names in use stay below 300 bytes."""

MAX_TENSORS = 2_000_000
"""Tensors in one file; the largest sharded models list fewer than 100,000."""

MAX_DIMENSIONS = 64
"""NumPy's own limit on the rank of an array."""

MAX_NAME_NBYTES = 8 * KIB
"""A tensor's name; quoted and escaped it still fits into a line of the manifest."""

MAX_TENSOR_NBYTES = 1 << 62
"""Keeps every sum of two lengths below 2**63, the largest file offset."""

CHUNK_SHIFT = 16
"""log2 of the elements in a chunk: 64 Ki. One grid for a tensor and all its bases."""

MAX_CHUNK_SHIFT = 20
"""A chunk that is read is at most 8 MiB, so that a stripe of a strange pack fits into memory."""

MAX_WRITTEN_DEPTH = 2
"""Bases below a newly written object; bounds the cost of reading it."""

MAX_READ_DEPTH = 16
"""Bases below an object that is read; depth falls at every step, so a circle cannot pass."""

MAX_PACK_OBJECTS = 16_000_000
"""Entries in one pack's directory; the directory is held in memory while the pack is indexed."""

MAX_HEAD_NBYTES = 512 * MIB
"""A record's head is one 16-byte row a chunk: 512 MiB describe a 4 TiB tensor of bf16."""

STRIPE_NBYTES = 1 * MIB
"""Decoded bytes that one task encodes or decodes: large beside a task's cost, small beside the memory bound."""

OBJECT_COST_NBYTES = 64 * KIB
"""What opening an object costs, as decoded bytes that take as long: so many tiny objects make a task."""

IO_NBYTES = 1 * MIB
"""The unit of sequential reads."""

OPAQUE_MIN_NBYTES = 256 * KIB
OPAQUE_AVERAGE_NBYTES = 1 * MIB
OPAQUE_MAX_NBYTES = 4 * MIB
"""Content-defined chunk sizes of files that no format claims: a row of the manifest for each MiB."""

MAX_GIT_INDEX_NBYTES = 512 * MIB
"""Git's index is held in memory; 512 MiB list 5 million paths."""

MAX_GIT_PATH_NBYTES = 64 * KIB
"""A path in Git's index; systems stop at 4,096 bytes. Bounds what prefix compression can expand to."""
