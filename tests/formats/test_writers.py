"""Files that are written: what readers that know the containers find in them, and what is refused."""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.core.tensors import TensorSpec
from lamella.formats import write_zip
from lamella.formats.base import Layout, TensorSpan
from lamella.formats.file import BytesFile
from lamella.formats.gguf.reader import GgufFormat
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.formats.sniff import read_layout
from lamella.formats.torch.writer import TorchWriter, state_dict
from lamella.formats.write_into import TemplateWriter
from lamella.formats.write_zip import Member
from lamella.formats.writer import Writer
from lamella.formats.writers import WRITERS, writer_for
from lamella.testing.models import model, spec, values

SHAPES = ((), (3,), (2, 5), (0, 4), (2, 3, 4, 2), (1,) * 7)
PLAIN = [name for name, dtype in DTYPES.items() if dtype.block_elements == 1]
ALL = [spec(f"λ {name}.{n}", *shape, dtype=name) for name in PLAIN for n, shape in enumerate(SHAPES)]
METADATA = {"general.architecture": "llama"}


def written(writer: Writer, specs: Sequence[TensorSpec], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the file, its tensors given in pieces of three bytes."""
    if metadata is None:
        metadata = METADATA if writer.name == "gguf" else {}
    specs = writer.arranged(specs)
    contents = (iter([values(one)[at : at + 3] for at in range(0, one.nbytes, 3)]) for one in specs)
    made = bytearray()
    for offset, piece in writer.write(specs, contents, metadata):
        made.extend(bytes(max(0, offset + len(piece) - len(made))))
        made[offset : offset + len(piece)] = piece
    return bytes(made)


def holdable(writer: Writer) -> list[TensorSpec]:
    """Return the tensors that a container can hold, one by one."""
    found = []
    for one in ALL:
        try:
            written(writer, [one])
        except UsageError as error:
            assert error.kind in ("dtype-unsupported", "bad-argument")
            assert error.hint or "dimensions" in error.message
        else:
            found.append(one)
    return found


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_the_same_tensors_make_the_same_file(writer):
    specs = holdable(writer)[:1] if writer.name == "npy" else holdable(writer)
    assert written(writer, specs) == written(writer, specs)


@pytest.mark.parametrize(("name", "count"), [("safetensors", 121), ("pt", 120), ("npz", 84), ("npy", 84), ("gguf", 32)])
def test_a_container_holds_the_dtypes_and_shapes_that_it_has(name, count):
    assert len(holdable(writer_for(PurePath(), name))) == count


def test_safetensors_are_aligned_and_independent_of_the_order():
    writer = writer_for(PurePath("m.safetensors"))
    specs = holdable(writer)
    data = written(writer, specs, {"format": "pt"})
    assert data == written(writer, specs[::-1], {"format": "pt"})
    layout = SafetensorsFormat().layout(BytesFile(data))
    assert {span.spec: data[span.offset : span.offset + span.spec.nbytes] for span in layout.tensors} == {
        one: values(one) for one in specs
    }
    assert all(span.offset % span.spec.dtype.item_nbytes == 0 for span in layout.tensors if span.spec.nbytes)
    assert SafetensorsFormat().metadata(BytesFile(data)) == {"format": "pt"}


def test_numpy_reads_its_archive_and_its_file():
    writer = writer_for(PurePath("m.npz"))
    specs = holdable(writer)
    with numpy.load(io.BytesIO(written(writer, specs)), allow_pickle=False) as archive:
        assert archive.files == [one.name for one in specs]
        for one in specs:
            array = archive[one.name]
            assert (array.shape, array.dtype, array.tobytes()) == (one.shape, numpy_dtype(one.dtype.name), values(one))
    for one in specs:
        data = written(writer_for(PurePath("m.npy")), [one])
        array = numpy.load(io.BytesIO(data), allow_pickle=False)
        again = io.BytesIO()
        numpy.save(again, array)
        assert again.getvalue() == data


def test_an_archive_is_sound_and_its_members_are_aligned():
    data = written(TorchWriter(), ALL[:3])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert (info.compress_type, info.flag_bits, info.date_time) == (0, 0, (1980, 1, 1, 0, 0, 0))
            name_nbytes, extra_nbytes = struct.unpack_from("<HH", data, info.header_offset + 26)
            assert struct.unpack_from("<I", data, info.header_offset + 14) == (info.CRC,)
            assert (info.header_offset + 30 + name_nbytes + extra_nbytes) % 64 == 0
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
        assert [archive.read(f"archive/data/{n}") for n in range(3)] == [values(one) for one in ALL[:3]]


def test_an_archive_beyond_four_gigabytes_has_long_numbers(monkeypatch, tmp_path):
    zeros = bytes(1 << 26)

    class Quick:
        """Takes the checksum of what is read again, and of nothing long."""

        @staticmethod
        def crc32(data: bytes, crc: int) -> int:
            return 0 if len(data) == len(zeros) else zlib.crc32(data, crc)

    monkeypatch.setattr(write_zip, "zlib", Quick)
    long = (5 << 30) // len(zeros)
    members = [
        Member(b"first", 1, (b"1",)),
        Member("größe".encode(), long * len(zeros), (zeros for _ in range(long))),
        Member(b"last", 4, (b"la", b"st")),
    ]
    path = tmp_path / "long.zip"
    with path.open("wb") as file:
        for offset, piece in write_zip.write_zip(iter(members)):
            if piece is not zeros:
                file.seek(offset)
                file.write(piece)
    with zipfile.ZipFile(path) as archive:
        assert [info.filename for info in archive.infolist()] == ["first", "größe", "last"]
        assert archive.getinfo("größe").file_size == 5 << 30
        assert archive.read("last") == b"last"
        with archive.open("größe") as member:
            assert member.read(10) == bytes(10)


def test_an_archive_of_many_members_says_how_many():
    pieces = write_zip.write_zip(Member(b"%d" % number, 0, ()) for number in range(65_600))
    data = bytearray()
    for offset, piece in pieces:
        data.extend(bytes(max(0, offset + len(piece) - len(data))))
        data[offset : offset + len(piece)] = piece
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 65_600


def test_the_pickle_of_a_state_dict_calls_nothing_but_what_rebuilds_tensors():
    pickled = state_dict([*ALL[:48], spec("long", 1 << 33), spec("wide", 70_000, 300)])
    opcodes = list(pickletools.genops(pickled))
    pickletools.dis(pickled, io.StringIO())  # raises where the stack is not as it should be
    assert {opcode.name for opcode, _, _ in opcodes} <= {
        *("PROTO", "GLOBAL", "EMPTY_TUPLE", "REDUCE", "MARK", "BINUNICODE", "BINPUT", "BINGET", "TUPLE", "BINPERSID"),
        *("BININT", "BININT1", "BININT2", "LONG1", "TUPLE1", "TUPLE2", "TUPLE3", "NEWFALSE", "SETITEMS", "STOP"),
    }
    called = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert {name for name in called if not name.endswith("Storage")} <= {
        "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3",
        *(f"torch {name}" for name in ("uint16", "uint32", "uint64")),
    }  # fmt: skip
    numbers = [argument for opcode, argument, _ in opcodes if opcode.name in ("LONG1", "BININT")]
    assert numbers[:2] == [1 << 33, 1 << 33]
    assert 70_000 * 300 in numbers


def test_a_gguf_file_holds_whole_blocks_of_quantised_tensors():
    blocks = [
        spec(name, 2, 2 * dtype.block_elements, dtype=name) for name, dtype in DTYPES.items() if name not in PLAIN
    ]
    specs = [*blocks, spec("plain", 3, 5)]
    data = written(writer_for(PurePath("m.gguf")), specs)
    layout = GgufFormat().layout(BytesFile(data))
    assert [span.spec for span in layout.tensors] == specs
    assert [data[span.offset : span.offset + span.spec.nbytes] for span in layout.tensors] == list(map(values, specs))
    with pytest.raises(UsageError, match="no whole blocks"):
        written(writer_for(PurePath("m.gguf")), [spec("odd", 33, dtype="q4_0")])
    for name in ("safetensors", "pt", "npz"):
        with pytest.raises(UsageError, match="q4_0"):
            written(writer_for(PurePath(), name), blocks[:1])


def test_a_gguf_file_has_its_metadata_table_and_aligned_tensors():
    specs = [spec("a", 2, 3), spec("b", 5, dtype="i8")]
    metadata = {**METADATA, "n:u32": "7", "ratio:f32": "0.5", "on:bool": "true", "odd:name": "x"}
    data = written(writer_for(PurePath("m.gguf")), specs, metadata)
    text = lambda name: struct.pack("<Q", len(name)) + name.encode()  # noqa: E731
    head = b"".join((
        b"GGUF", struct.pack("<IQQ", 3, 2, 5),
        text("general.architecture"), struct.pack("<I", 8), text("llama"),
        text("n"), struct.pack("<II", 4, 7), text("ratio"), struct.pack("<If", 6, 0.5),
        text("on"), struct.pack("<IB", 7, 1), text("odd:name"), struct.pack("<I", 8), text("x"),
        text("a"), struct.pack("<IQQIQ", 2, 3, 2, 0, 0), text("b"), struct.pack("<IQIQ", 1, 5, 24, 32),
    ))  # fmt: skip
    head += bytes(-len(head) % 32)
    assert data == head + values(specs[0]) + bytes(8) + values(specs[1]) + bytes(27)


@pytest.mark.parametrize(
    ("name", "one", "metadata", "said"),
    [
        ("safetensors", spec("__metadata__", 1), {}, "is called __metadata__"),
        ("safetensors", spec("two\nlines", 1), {}, "not one line"),
        ("safetensors", spec("\udc80", 1), {}, "cannot hold the name"),
        ("safetensors", spec("odd", 3, dtype="f4_e2m1"), {}, "do not span"),
        ("safetensors", spec("wide", 1, dtype="c128"), {}, "no dtype c128"),
        ("pt", spec("zero\0", 1), {}, "cannot hold the name"),
        ("pt", spec("nibbles", 2, dtype="f4_e2m1"), {}, "no dtype f4_e2m1"),
        ("pt", spec("a", 1), {"a": "b"}, "no place for metadata"),
        ("npz", spec("a", 1, dtype="bf16"), {}, "no dtype bf16"),
        ("gguf", spec("a", 1), {}, "has to name its general.architecture"),
        ("gguf", spec("a", 1, dtype="u8"), METADATA, "no dtype u8"),
        ("gguf", spec("a"), METADATA, "0 dimensions"),
        ("gguf", spec("a", 1, 1, 1, 1, 1), METADATA, "5 dimensions"),
        ("gguf", spec("a" * 64, 1), METADATA, "too long"),
        ("gguf", spec("a", 1), {**METADATA, "n:u32": "-1"}, "is no u32"),
        ("gguf", spec("a", 1), {**METADATA, "n:bool": "yes"}, "is no bool"),
        ("gguf", spec("a", 1), {**METADATA, "general.alignment:u32": "64"}, "not for choosing"),
    ],
)
def test_what_a_container_cannot_hold_is_refused(name, one, metadata, said):
    with pytest.raises(UsageError, match=said):
        written(writer_for(PurePath(), name), [one], metadata)


def test_a_npy_file_holds_one_array():
    with pytest.raises(UsageError, match="holds one array, not 2"):
        written(writer_for(PurePath("m.npy")), [spec("a", 1), spec("b", 1)])


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [("m.safetensors", None, "safetensors"), ("m.PT", None, "pt"), ("m.bin", None, "pt"), ("m.x", "npz", "npz")],
)
def test_a_writer_is_found_by_name_or_suffix(path, name, found):
    assert writer_for(PurePath(path), name).name == found


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.HDF5", "m.tflite", "m.msgpack"])
def test_a_container_that_is_only_read_is_told(name):
    with pytest.raises(UsageError, match="and does not write them") as caught:
        writer_for(PurePath(name))
    assert "safetensors, pt" in caught.value.hint


@pytest.mark.parametrize("name", ["safetensors", "pt", "npz", "npy"])
def test_blocks_are_left_out_or_go_into_gguf(name):
    with pytest.raises(UsageError, match="'quantised'") as caught:
        written(writer_for(PurePath(), name), [spec("quantised", 64, dtype="q8_0")])
    assert caught.value.kind == "dtype-unsupported"
    assert caught.value.hint == "leave out what is quantised with `--select '!PATTERN'`, or write gguf"


@pytest.mark.parametrize(("path", "name"), [("m", None), ("m.x", None), ("m.pt", "x"), ("m.onnx", None), ("m", "onnx")])
def test_a_container_that_is_not_written_is_refused_with_a_hint(path, name):
    with pytest.raises(UsageError) as caught:
        writer_for(PurePath(path), name)
    assert "--" in caught.value.hint


def template(specs: Sequence[TensorSpec]) -> TemplateWriter:
    file = BytesFile(model(specs, {one.name: 9 for one in specs}, note="kept"))
    return TemplateWriter(file, read_layout(file)[0])


def test_tensors_are_replaced_in_a_copy_of_a_template():
    specs = [spec("a", 3), spec("b", 5), spec("c", 7), spec("d", 0)]
    made = written(template(specs), [specs[3], specs[2], specs[0]])
    assert made == model(specs, {"b": 9}, note="kept")


def test_an_empty_tensor_takes_nothing_back_from_the_one_that_lies_where_it_does():
    specs = [spec("empty", 0), spec("b", 5), spec("none", 2, 0), spec("c", 7)]
    for order in (specs, specs[::-1], [specs[1], specs[3], specs[2], specs[0]]):
        assert written(template(specs), order) == model(specs, note="kept")


def test_a_template_whose_tensors_lie_inside_each_other_is_refused():
    specs = [spec("a", 4), spec("b", 2)]
    file = BytesFile(bytes(16))
    layout = Layout("npy", 16, (TensorSpan(specs[0], 0), TensorSpan(specs[1], 4)))
    with pytest.raises(UsageError, match="inside another"):
        written(TemplateWriter(file, layout), specs)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (spec("z", 3), "no tensor 'z'"),
        (spec("a", 4), r"is f32 \[4\] and f32 \[3\]"),
        (spec("a", 3, dtype="i32"), "is i32"),
    ],
)
def test_what_the_template_has_not_is_refused(one, said):
    with pytest.raises(UsageError, match=said):
        written(template([spec("a", 3)]), [one])


def test_a_file_of_no_known_format_is_no_template():
    file = BytesFile(b"text")
    with pytest.raises(UsageError, match="opaque cannot be a template"):
        TemplateWriter(file, read_layout(file)[0])


@pytest.mark.parametrize("write", [numpy.savez, numpy.savez_compressed])
def test_an_archive_is_a_template_and_has_the_checksums_of_what_went_in(write):
    file = io.BytesIO()
    write(file, a=numpy.arange(6, dtype="<f4").reshape(2, 3), b=numpy.ones(5, "<f8"))
    source = BytesFile(file.getvalue())
    writer = TemplateWriter(source, read_layout(source)[0])
    if write is numpy.savez_compressed:
        with pytest.raises(UsageError, match="no tensor 'a'"):
            writer.arranged([spec("a", 2, 3)])
        return
    new = numpy.full((2, 3), 7, "<f4").tobytes()
    made = bytearray(file.getvalue())
    for offset, piece in writer.write(writer.arranged([spec("a", 2, 3)]), iter([iter([new[:10], new[10:]])]), {}):
        made[offset : offset + len(piece)] = piece
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
    loaded = numpy.load(io.BytesIO(made))
    assert loaded["a"].tolist() == [[7, 7, 7], [7, 7, 7]]
    assert loaded["b"].tolist() == [1] * 5
