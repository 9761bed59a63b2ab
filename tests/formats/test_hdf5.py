"""HDF5: the suite on files that h5py wrote, and each tensor of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamella.formats.file import BytesFile
from lamella.formats.hdf5.reader import Hdf5Format
from lamella.testing.formats import FormatSuite

FORMAT = Hdf5Format()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "hdf5"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())


class TestHdf5(FormatSuite):
    format = FORMAT
    mutations = 300

    def files(self):
        return [(GOLDEN / name).read_bytes() for name in sorted(EXPECTED)]


def golden(name: str) -> BytesFile:
    return BytesFile((GOLDEN / name).read_bytes())


def test_chunks_are_boxes_and_one_chunk_is_a_span():
    layout = FORMAT.layout(golden("layouts.h5"))
    boxes = {view.spec.name: view.boxes for view in layout.views}
    assert len(boxes["tiles"]) == 9
    assert boxes["tiles"][-1].shape == (1, 2)
    assert boxes["group/tied"] == boxes["tiles"]
    assert {"one chunk", "larger chunk", "group/again"} - {span.spec.name for span in layout.tensors} == {"one chunk"}


def test_the_other_byte_order_is_a_view():
    layout = FORMAT.layout(golden("dtypes.h5"))
    views = {view.spec.name for view in layout.views if view.swapped}
    assert views == {name for name in EXPECTED["dtypes.h5"] if name.startswith("big/")}


@pytest.mark.parametrize("name", ["many.h5", "many-latest.h5", "ordered.h5"])
def test_attributes_are_text(name):
    metadata = FORMAT.metadata(golden(name))
    assert {f"attribute {number}": str(number) for number in range(20)}.items() <= metadata.items()
    assert metadata["names"] == "one, two"
    assert metadata["text"] == ("long " * 200).rstrip()
    assert metadata["layers@scale"] == "0.5, 2.0"
