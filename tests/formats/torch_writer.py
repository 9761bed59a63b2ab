"""PyTorch files made by hand: opcodes of pickles, the archives around them, and the files of old."""

from __future__ import annotations

import io
import struct
import zipfile

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
PROTOCOL = bytes.fromhex("80024de9032e")


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data if len(data) > 4 else b"J" + struct.pack("<i", value)


def listing(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def mapping(pairs: dict[str, bytes] | list[tuple[bytes, bytes]]) -> bytes:
    listed = [(text(key), value) for key, value in pairs.items()] if isinstance(pairs, dict) else pairs
    return b"}(" + b"".join(key + value for key, value in listed) + b"u"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(function: bytes, *args: bytes) -> bytes:
    return function + tuple_of(*args) + b"R"


ORDERED = name("collections", "OrderedDict") + b")R"


def storage(key: str, numel: int, kind: str = "FloatStorage", *more: bytes) -> bytes:
    given = tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), integer(numel), *more)
    return given + b"Q"


def tensor(
    key: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    *,
    numel: int | None = None,
    offset: int = 0,
    kind: str = "FloatStorage",
    dtype: str | None = None,
) -> bytes:
    """A tensor of storage `key`; row-major where no strides say otherwise, `dtype` where the storage has none."""
    elements = 1
    usual = []
    for extent in reversed(shape):
        usual.append(elements)
        elements *= extent
    args = [
        storage(key, elements + offset if numel is None else numel, kind),
        integer(offset),
        tuple_of(*map(integer, shape)),
        tuple_of(*map(integer, usual[::-1] if strides is None else strides)),
        b"\x89",
        ORDERED,
    ]
    if dtype is None:
        return call(name("torch._utils", "_rebuild_tensor_v2"), *args)
    return call(name("torch._utils", "_rebuild_tensor_v3"), *args, name("torch", dtype))


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def archive(value: bytes, storages: dict[str, bytes] | None = None, **members: bytes) -> bytes:
    """The zip archive of a pickled value; other members are named with `__` for a slash."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as writer:
        writer.writestr("archive/data.pkl", pickled(value))
        for key, data in (storages or {}).items():
            writer.writestr(f"archive/data/{key}", data)
        for member, data in members.items():
            writer.writestr("archive/" + member.replace("__", "/"), data)
    return made.getvalue()


def legacy(value: bytes, storages: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """The older file of a pickled value; of each storage the count of its elements and their bytes."""
    storages = storages or {}
    system = mapping({"protocol_version": integer(1001), "little_endian": b"\x88"})
    keys = listing(*map(text, storages))
    head = MAGIC + PROTOCOL + pickled(system) + pickled(value) + pickled(keys)
    return head + b"".join(count.to_bytes(8, "little") + data for count, data in storages.values())
