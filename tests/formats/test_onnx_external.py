"""Files of tensors beside ONNX models: what describes them, and what never does."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from lamella.core import limits
from lamella.core.errors import FormatError
from lamella.formats.base import Beside
from lamella.formats.file import BytesFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.onnx import external
from lamella.formats.onnx.external import OnnxDataFormat
from lamella.formats.sniff import read_layout
from lamella.testing.formats import check_spans, reassembled
from tests.formats.wire import graph, model, outside

GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "onnx"
F32 = struct.pack("<4f", 1.0, 2.0, -3.0, 0.5)


class Folder:
    """Files in memory, as the neighbours of each other; `opened` are the names that were asked for."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("_", "."): data for name, data in files.items()}
        self.opened: list[str] = []

    def names(self):
        return sorted(self.files)

    def open(self, name):
        self.opened.append(name)
        return BytesFile(self.files[name]) if name in self.files else None


def pointing(location: str, name: str = "w", **entries: str) -> bytes:
    """A model with a tensor of four floats in a file."""
    return model(graph(outside(name, "f32", (4,), {"location": location, **entries})))


def found_in(data: bytes, folder: Folder, name: str = "model.data"):
    return OnnxDataFormat().layout(BytesFile(data), Beside(name, folder))


def refusal(data: bytes, describing: bytes) -> str:
    with pytest.raises(FormatError) as raised:
        found_in(data, Folder(model_onnx=describing))
    return raised.value.kind


def test_a_folder_on_disk_describes_its_file(tmp_path):
    (tmp_path / "model.onnx").write_bytes(pointing("model.data"))
    fd = os.open(tmp_path, os.O_RDONLY)
    with FolderNeighbours(fd) as neighbours:
        layout, error = read_layout(BytesFile(F32), Beside("model.data", neighbours))
    os.close(fd)
    assert (layout.format, [span.spec.name for span in layout.tensors], error) == ("onnx-data", ["w"], None)


def test_several_tensors_gaps_and_ties():
    data = bytes(range(100))
    tensors = [
        outside("b", "f32", (4,), {"location": "model.data", "offset": "64", "length": "16"}),
        outside("a", "u8", (8,), {"location": "model.data", "length": "8"}),
        outside("tied", "f32", (2, 2), {"location": "model.data", "offset": "64", "length": "16"}),
        outside("rest", "u8", (4,), {"location": "model.data", "offset": "96"}),
        outside("other", "f32", (9,), {"location": "other.data", "offset": "96"}),
    ]
    layout = found_in(data, Folder(model_onnx=model(graph(*tensors))))
    assert [(span.spec.name, span.offset) for span in layout.tensors] == [("a", 0), ("b", 64), ("rest", 96)]
    assert [view.spec.name for view in layout.views] == ["tied"]
    check_spans(layout)
    assert reassembled(data, layout) == data


def test_the_first_model_that_knows_the_file_describes_it():
    folder = Folder(
        a_onnx=pointing("other.data"),
        b_onnx=pointing("model.data")[:-20],
        c_onnx=b"no model",
        d_txt=pointing("model.data", "text"),
        e_ONNX=pointing("model.data", "this"),
        f_onnx=pointing("model.data", "that"),
        model_data=F32,
    )
    assert [span.spec.name for span in found_in(F32, folder).tensors] == ["this"]
    assert folder.opened == ["a.onnx", "b.onnx", "c.onnx", "e.ONNX"]


def test_the_model_that_the_file_is_called_after_is_asked_first():
    folder = Folder(
        a_onnx=pointing("m2.onnx.data", "that"),
        m_onnx=pointing("m2.onnx.data", "short"),
        m2_onnx=pointing("other"),
        m3_onnx=pointing("m2.onnx.data", "other"),
    )
    assert [span.spec.name for span in found_in(F32, folder, "m2.onnx.data").tensors] == ["short"]
    assert folder.opened == ["m.onnx"]


def test_a_file_that_no_model_knows_is_not_described():
    assert found_in(F32, Folder()) is None
    assert found_in(F32, Folder(model_onnx=pointing("other.data"))) is None
    assert found_in(F32, Folder(model_data=pointing("model.data"))) is None
    assert found_in(F32, Folder(model_onnx=model(graph(outside("w", "f32", (4,), {"offset": "0"}))))) is None


def test_so_many_models_are_asked_and_no_more():
    folder = Folder(**{f"m{number:03}_onnx": pointing("other.data") for number in range(100)})
    assert found_in(F32, folder) is None
    assert len(folder.opened) == limits.MAX_DESCRIBING_FILES


def test_models_are_asked_within_one_budget(monkeypatch):
    monkeypatch.setattr(external, "MAX_DESCRIBING_FIELDS", 60)
    large = model(graph(*(outside(f"w{number}", "f32", (4,), {"location": "other.data"}) for number in range(20))))
    sound = pointing("model.data")
    assert found_in(F32, Folder(a_onnx=sound)) is not None
    assert found_in(F32, Folder(a_onnx=large, b_onnx=sound)) is None
    assert found_in(F32, Folder(a_onnx=large, b_onnx=large, model_onnx=sound)) is not None
    assert found_in(F32, Folder(m_onnx=large, model_onnx=sound)) is not None


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        ("header-malformed", {"length": "15"}),
        ("header-malformed", {"length": "17"}),
        ("header-malformed", {"offset": "4"}),
        ("header-malformed", {"offset": "20"}),
        ("header-malformed", {"offset": "x"}),
        ("header-malformed", {"length": ""}),
        ("span-out-of-file", {"offset": "8", "length": "16"}),
        ("span-out-of-file", {"offset": "9223372036854775807", "length": "16"}),
        ("span-out-of-file", {"offset": "9999999999999999999", "length": "16"}),
        *(
            ("header-malformed", {"offset": number, "length": "16"})
            for number in (
                *("-1", "+0", "00", "01", " 0", "0 ", "0\n", "0x0", "1e0", "0.0", "1_0", "٠", "０", "", "0\0", "nan"),
                *("99999999999999999999", "9" * 5000),
            )
        ),
    ],
)
def test_entries_that_cannot_be_are_refused(kind, entries):
    assert refusal(F32, pointing("model.data", **entries)) == kind


PLAIN = "model.data"
LOCATIONS = [
    "", ".", "..", "/", "\\", "./model.data", "../model.data", ".//model.data", "a/../model.data", "a/model.data",
    "model.data/", "model.data/.", "model.data/..", "/model.data", "//model.data", "///model.data", "/etc/passwd",
    "../../../../etc/passwd", "..\\model.data", ".\\model.data", "a\\model.data", "\\model.data",
    "\\\\host\\model.data", "C:\\model.data", "C:model.data", "c:/model.data", "file:///model.data", "file:model.data", "http://a/model.data",
    "~/model.data", "~", "$HOME/model.data", "%2e%2e/model.data", "%2e/model.data", "model%2edata", "..%2fmodel.data",
    "..%5cmodel.data", "..%00/model.data", "model.data\0", "\0model.data", "model.data\0.txt", "model.data\n",
    "\nmodel.data", " model.data", "model.data ", "model.data.", "MODEL.DATA", "Model.data", "model.data::$DATA",
    "model.data:stream", "model．data", "ｍodel.data", "model\u2024data", "..\u2215model.data", "..\u2044model.data",
    "model.data\u200b", "\ufeffmodel.data", "\u202emodel.data", "model.data\x7f", "\x1b[2Jmodel.data",
    "....//model.data", "..;/model.data", ". ./model.data", "/dev/stdin", "/proc/self/environ", "/proc/self/fd/0",
    "NUL", "CON", "|cat",
    "`id`", "$(id)", "model.data;id", "*", "model.*", "model.dat?", "[m]odel.data", "{model.data}", "-model.data",
    "../inside/model.data", "x" * 4096 + "/../model.data", "../" * 1000 + "model.data", "model.data" + "/" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("location", LOCATIONS, ids=ascii)
def test_only_the_plain_name_is_the_file(location):
    folder = Folder(model_onnx=pointing(location))
    assert found_in(F32, folder) is None
    assert folder.opened == ["model.onnx"]


@pytest.mark.parametrize("name", ["", ".", "..", "../model.data", "a/b", "a\\b", "a\0b", "C:x"])
def test_only_a_plain_name_is_described(name):
    folder = Folder(model_onnx=pointing(name))
    assert found_in(F32, folder, name) is None
    assert folder.opened == []


def test_altered_models_describe_or_do_not():
    choices = random.Random(0)
    sound = pointing("model.data", offset="0", length="16")
    for _ in range(3000):
        altered = bytearray(sound)
        for _ in range(choices.randint(1, 3)):
            altered[choices.randrange(len(altered))] = choices.randrange(256)
        try:
            layout = found_in(F32, Folder(model_onnx=bytes(altered)))
        except FormatError:
            continue
        if layout is not None:
            check_spans(layout)
            assert reassembled(F32, layout) == F32


def test_there_are_many_locations():
    assert len(set(LOCATIONS)) >= 60
    assert PLAIN not in LOCATIONS
