"""A writer of small OCDBT databases, with as many lies as a test wants."""

from __future__ import annotations

import itertools

import zstandard

from lamella.formats.ocdbt.envelope import crc32c

MISSING = (1 << 64) - 1


def varint(*values: int) -> bytes:
    made = bytearray()
    for value in values:
        while value >= 0x80:
            made.append(value & 0x7F | 0x80)
            value >>= 7
        made.append(value)
    return bytes(made)


def envelope(magic: int, body: bytes, *, compressed: bool = True, version: int = 0) -> bytes:
    held = zstandard.compress(body) if compressed else body
    rest = varint(version, int(compressed)) + held
    head = magic.to_bytes(4, "big") + (len(rest) + 16).to_bytes(8, "little")
    return head + rest + crc32c(head + rest).to_bytes(4, "little")


def table(*paths: tuple[str, str]) -> bytes:
    """A table of files, each a base and what is behind it, without common prefixes."""
    whole = [(base + rest).encode() for base, rest in paths]
    zeros = varint(*[0] * (len(paths) - 1)) if paths else b""
    lengths = varint(*map(len, whole)) + varint(*(len(base.encode()) for base, _ in paths))
    return varint(len(paths)) + zeros + lengths + b"".join(whole)


def manifest(root: tuple[int, int] | None, height: int = 0, *, kind: int = 0, paths=(("", "d/nodes"),), **how) -> bytes:
    """The manifest of a database of two versions, of which the second has a root of this offset and length."""
    config = bytes(16) + bytes([kind]) + varint(100, 8_000_000) + b"\4" + varint(1) + bytes(4)
    offset, nbytes = (MISSING, MISSING) if root is None else root
    runs = varint(0, 0) + varint(MISSING, offset) + varint(MISSING, nbytes)
    versions = varint(2) + varint(1, 2) + bytes([0, height]) + runs + varint(*[0] * 6) + bytes(16)
    return envelope(0x0CDB3A2A, config + table(*paths) + versions + varint(0), **how)


def _keys(keys: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Lengths of common prefixes, lengths of the rest, and the rest."""
    shared = []
    for one, other in itertools.pairwise(keys):
        shared.append(next((n for n in range(len(one)) if one[n : n + 1] != other[n : n + 1]), len(one)))
    rests = [key[n:] for key, n in zip(keys, [0, *shared][: len(keys)], strict=True)]
    return varint(*shared), varint(*map(len, rests)), b"".join(rests)


def leaf(values: dict[bytes, bytes | tuple[int, int, int]], paths=(("", "d/values"),), *, height: int = 0, **how):
    """A leaf; a value that is a tuple is the number of its file, its offset and its length."""
    apart = [value for value in values.values() if isinstance(value, tuple)]
    lengths = [value[2] if isinstance(value, tuple) else len(value) for value in values.values()]
    kinds = bytes(isinstance(value, tuple) for value in values.values())
    body = bytes([height]) + table(*paths) + varint(len(values)) + b"".join(_keys(list(values)))
    body += varint(*lengths) + kinds + varint(*(one[0] for one in apart)) + varint(*(one[1] for one in apart))
    return envelope(0x0CDB20DE, body + b"".join(one for one in values.values() if isinstance(one, bytes)), **how)


def branch(height: int, children: list[tuple[bytes, int, int, int]], paths=(("", "d/nodes"),), **how) -> bytes:
    """An inner node; a child is its first key, how much of that is common, its offset and its length."""
    shared, lengths, rests = _keys([key for key, *_ in children])
    body = bytes([height]) + table(*paths) + varint(len(children)) + shared + lengths
    body += varint(*(common for _, common, *_ in children)) + rests + bytes(len(children))
    body += varint(*(offset for *_, offset, _ in children)) + varint(*(nbytes for *_, nbytes in children))
    return envelope(0x0CDB20DE, body + bytes(3 * len(children)), **how)
