"""The rest of a file: all of it but its tensors, the same whatever these hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.formats.base import Layout
from lamella.formats.file import BytesFile
from lamella.formats.hollow import HollowFile
from lamella.formats.rest import rest_runs
from lamella.formats.skeleton import Skeleton, build_skeleton
from lamella.formats.sniff import OPAQUE, read_layout
from lamella.formats.zip_archive import first_name

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"


def described(path: Path) -> tuple[BytesFile, Layout]:
    file = BytesFile(path.read_bytes())
    return file, read_layout(file)[0]


FILES = [path for path in sorted(GOLDEN.glob("*/*")) if path.is_file() and described(path)[1].format != OPAQUE.name]


def hollow(file: BytesFile, layout: Layout) -> HollowFile:
    """Return a file of which the tensors are not at hand."""
    sizes = [span.spec.nbytes for span in layout.tensors]
    return HollowFile(Skeleton.parse(build_skeleton(file, layout)), sizes)


def test_there_are_files_of_all_kinds():
    assert len({described(path)[1].format for path in FILES}) >= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_runs_are_all_of_a_file_but_its_tensors(path):
    file, layout = described(path)
    runs = list(rest_runs(hollow(file, layout), layout))
    content = bytes(file.read_at(0, file.nbytes))
    other = bytearray(content)
    for span in layout.tensors:
        other[span.offset : span.offset + span.spec.nbytes] = bytes(span.spec.nbytes)
    assert all(content[at : at + nbytes] == other[at : at + nbytes] for _, at, nbytes in runs)
    seen = sum(nbytes for _, _, nbytes in runs)
    taken = sum(span.spec.nbytes for span in layout.tensors)
    if first_name(content[:4096]) is None:
        assert len({section for section, _, _ in runs}) == 1
        if not layout.views:
            assert seen + taken == file.nbytes
    else:
        assert 0 < seen < file.nbytes - taken


def test_members_are_sections_without_their_folder_and_those_of_saving_are_left_out():
    file, layout = described(GOLDEN / "torch" / "checkpoint.ckpt")
    sections = [section for section, _, _ in rest_runs(hollow(file, layout), layout)]
    assert {"data.pkl", "byteorder", "data/0"} <= set(sections)
    assert ".data/serialization_id" not in sections
    assert sections == sorted(sections)
