"""NumPy's archives of arrays: the suite, names that agree with other containers, and archives that are not sound."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.numpy.npz import NpzFormat
from lamella.formats.sniff import read_layout
from lamella.repo.checkin import identify_file
from lamella.testing.formats import FormatSuite
from tests.formats.contents import values

FORMAT = NpzFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "npz"
ARRAYS = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "b/c": np.ones(5, "f2"), "n": np.array(7)}


def saved(write=np.savez, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    write(file, **arrays)
    return file.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        for name, data in members.items():
            writer.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def array_file(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class TestConformance(FormatSuite):
    format = FORMAT
    mutations = 300

    def files(self):
        turned = {"t": np.asfortranarray(np.ones((3, 4))), "text": np.array(["a"])}
        return [saved(**ARRAYS), saved(**turned), saved(np.savez_compressed, **ARRAYS)]


def test_tensors_have_the_names_and_the_model_id_that_other_containers_give():
    data = saved(**ARRAYS)
    assert {name: found[:2] for name, found in values(FORMAT, data).items()} == {
        "a.weight": ("f32", (2, 3)), "b/c": ("f16", (5,)), "n": ("i64", ()),
    }  # fmt: skip
    ids = {identify_file(BytesFile(one), threads=1).model_id() for one in (data, save(ARRAYS))}
    assert len(ids) == 1


def test_an_archive_with_long_arrays_is_read_again_without_them():
    class Long(TestConformance):
        def files(self):
            return [saved(x=np.arange(100_000, dtype="f4"), y=np.arange(40_000, dtype="f8"))]

    Long().test_a_file_is_read_again_without_what_its_tensors_hold()
    Long().test_skeleton_and_tensors_make_the_file_again()


def test_compressed_arrays_are_no_tensors():
    data = saved(np.savez_compressed, x=np.zeros(1000))
    layout, error = read_layout(BytesFile(data))
    assert (layout.format, layout.tensors, error) == ("npz", (), None)
    assert FORMAT.metadata(BytesFile(data))["x.npy"].startswith("8128 bytes, compressed to ")


def test_other_members_stay_as_they_are():
    data = archive({"x.npy": array_file(np.arange(3)), "y.npy": b"not an array at all", "readme.txt": b"hello"})
    assert values(FORMAT, data).keys() == {"x"}
    assert FORMAT.metadata(BytesFile(data)) == {"y.npy": "19 bytes", "readme.txt": "5 bytes"}


@pytest.mark.parametrize("first", ["data.pkl", "x.npy.txt", ""])
def test_other_archives_are_not_claimed(first):
    data = archive({first: b"", "x.npy": array_file(np.arange(3))})
    assert not FORMAT.sniff(data[:4096], len(data))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("span-out-of-file", archive({"x.npy": array_file(np.arange(3))[:-1]})),
        ("header-malformed", archive({"x.npy": array_file(np.arange(3)).replace(b"\1\0v", b"\4\0v")})),
        ("header-malformed", saved(**ARRAYS)[:-1]),
        ("header-malformed", archive({"x\n\x1b[31my.npy": array_file(np.arange(3))})),
        ("header-malformed", archive({"x" * 8185 + ".npy": array_file(np.arange(3))})),
        ("file-truncated", archive({"x.npy": array_file(np.arange(3))[:40]})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_that_is_not_sound_is_refused(kind, data):
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    assert raised.value.kind == kind


def test_twenty_thousand_arrays_are_read_in_a_moment():
    one = array_file(np.zeros(8, "f4"))
    file = BytesFile(archive({f"layer.{number}.weight.npy": one for number in range(20_000)}))
    started = time.process_time()
    assert len(FORMAT.layout(file).tensors) == 20_000
    assert time.process_time() - started < 2
