"""Which format a file is taken for."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_SKELETON_NBYTES, OPAQUE_AVERAGE_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats import builtin
from lamella.formats.base import Beside, Layout, TensorSpan
from lamella.formats.builtin import FORMATS
from lamella.formats.file import BytesFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.sniff import OPAQUE, read_layout
from lamella.testing.formats import reassembled

MODEL = save({"a": np.zeros(3, np.float32), "b": np.ones((2, 2), np.int8)})


class Claimant:
    """A format that claims every file and does what it is told."""

    name = "claimant"

    def __init__(self, layout=None, error=None):
        self._layout, self._error = layout, error
        self.seen = None

    def sniff(self, head, nbytes):
        self.seen = (head, nbytes)
        return True

    def layout(self, file):
        if self._error:
            raise self._error
        return self._layout


def test_names_of_formats_differ():
    names = [known.name for known in (*FORMATS, OPAQUE)]
    assert len(set(names)) == len(names)


def test_content_decides():
    layout, error = read_layout(BytesFile(MODEL))
    assert (layout.format, error) == ("safetensors", None)
    assert {span.spec.name for span in layout.tensors} == {"a", "b"}


@pytest.mark.parametrize("data", [b"", b"{", b"plain text\n", bytes(100), b"PK\x03\x04" + bytes(60), MODEL[8:]])
def test_a_file_that_nobody_claims_is_opaque(data):
    layout, error = read_layout(BytesFile(data))
    assert (layout.format, layout.nbytes, error) == ("opaque", len(data), None)


@pytest.mark.parametrize("data", [MODEL[:-1], MODEL + b"!", MODEL[:20], MODEL.replace(b"F32", b"F33")])
def test_a_malformed_file_is_opaque_and_the_error_says_why(data):
    layout, error = read_layout(BytesFile(data))
    assert (layout.format, layout.nbytes) == ("opaque", len(data))
    assert isinstance(error, FormatError)


def test_a_file_with_too_large_a_skeleton_is_opaque():
    nothing = TensorSpec("", dtype_named("u8"), (0,))
    gaps = MAX_SKELETON_NBYTES // OPAQUE_AVERAGE_NBYTES + 1
    spans = tuple(TensorSpan(nothing, n * OPAQUE_AVERAGE_NBYTES) for n in range(gaps))
    layout = Layout("claimant", gaps * OPAQUE_AVERAGE_NBYTES, spans)
    found, error = read_layout(BytesFile(b"data"), formats=[Claimant(layout)])
    assert found == OPAQUE.layout(BytesFile(b"data"))
    assert error is not None
    assert error.kind == "skeleton-too-large"


def test_long_runs_that_belong_to_no_tensor_are_parts_cut_by_their_content():
    data = random.Random(0).randbytes(8 << 20)
    one = TensorSpan(TensorSpec("one", dtype_named("u8"), (100,)), 4 << 20)
    found, error = read_layout(BytesFile(data), formats=[Claimant(Layout("claimant", len(data), (one,)))])
    assert error is None
    assert [span for span in found.tensors if not span.part] == [one]
    parts = [span for span in found.tensors if span.part]
    assert len(parts) >= 2
    assert {span.spec.name for span in parts} == {"bytes"}
    assert sum(span.spec.nbytes for span in found.tensors) == len(data)
    assert reassembled(data, found) == data


class Described:
    """A format whose files are described by a file called `names`, which says how many bytes the one tensor has."""

    name = "described"

    def layout(self, file, beside):
        names = beside.neighbours.open("names")
        if names is None:
            return None
        nbytes = int(bytes(names.read_at(0, names.nbytes)))
        return Layout(self.name, file.nbytes, (TensorSpan(TensorSpec(beside.name, dtype_named("u8"), (nbytes,)), 0),))


@pytest.mark.parametrize("formats", [[], [Claimant(error=FormatError("no", kind="header-malformed"))]])
def test_what_another_file_says_of_a_file_comes_before_what_it_looks_like(tmp_path, formats):
    (tmp_path / "names").write_text("5")
    folder = os.open(tmp_path, os.O_RDONLY)
    with FolderNeighbours(folder) as neighbours:
        beside = Beside("data", neighbours)
        layout, error = read_layout(BytesFile(b"12345678"), beside, formats, [Described()])
    os.close(folder)
    assert error is None
    assert [(span.spec.name, span.spec.nbytes) for span in layout.tensors] == [("data", 5)]
    assert read_layout(BytesFile(b"12345678"), None, [], [Described()])[0].format == "opaque"


def test_the_first_format_that_claims_a_file_has_it():
    data = bytes(5000)
    layout = Layout("claimant", 5000, (TensorSpan(TensorSpec("x", dtype_named("u8"), (5000,)), 0),))
    first, second = Claimant(layout), Claimant(error=FormatError("no", kind="header-malformed"))
    assert read_layout(BytesFile(data), formats=[first, second]) == (layout, None)
    assert first.seen == (data[:4096], 5000)
    assert second.seen is None


def test_a_file_that_shrinks_under_every_format_is_an_error():
    class Shrunk:
        nbytes = len(MODEL)

        def read_at(self, offset, nbytes):
            return BytesFile(MODEL[:-1]).read_at(offset, nbytes)

    with pytest.raises(FormatError) as caught:
        read_layout(Shrunk(), formats=[])
    assert caught.value.kind == "file-truncated"


@given(data=st.binary(max_size=200))
def test_any_bytes_have_a_layout(data):
    layout, _ = read_layout(BytesFile(data))
    assert layout.nbytes == len(data)


class Peeking(Claimant):
    """A format with one tensor of four bytes behind the first four, that reads where it is told."""

    def __init__(self, offset, nbytes):
        super().__init__(Layout("claimant", 12, (TensorSpan(TensorSpec("a", dtype_named("u8"), (4,)), 4),)))
        self.reads = 0
        self._where = offset, nbytes

    def layout(self, file):
        self.reads += 1
        file.read_at(*self._where)
        return super().layout(file)


@pytest.mark.parametrize(
    ("where", "reads"), [((0, 4), 1), ((8, 4), 1), ((5, 0), 1), ((0, 5), 2), ((7, 1), 2), ((0, 12), 2)]
)
def test_only_a_reader_that_looks_into_tensors_reads_again(where, reads, monkeypatch):
    peeking = Peeking(*where)
    monkeypatch.setattr(builtin, "FORMATS", (peeking,))
    layout, error = read_layout(BytesFile(bytes(12)))
    assert peeking.reads == reads
    assert (layout.format, error and error.kind) == (
        ("claimant", None) if reads == 1 else ("opaque", "header-malformed")
    )
