"""Golden files that the real frameworks wrote: the readers find in them what the frameworks load."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from blake3 import blake3

from lamella.formats.base import Beside
from lamella.formats.builtin import DESCRIBED, FORMATS
from lamella.formats.file import BytesFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.sniff import read_layout
from lamella.formats.strided import read_view
from lamella.testing.formats import check_spans, reassembled

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
EXPECTED = {
    GOLDEN / page.stem / file: tensors
    for page in sorted(GOLDEN.glob("*.json"))
    for file, tensors in json.loads(page.read_text(encoding="utf-8")).items()
}


def laid_out(path):
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with FolderNeighbours(folder) as neighbours:
            return read_layout(BytesFile(path.read_bytes()), Beside(path.name, neighbours))
    finally:
        os.close(folder)


@pytest.mark.parametrize("path", EXPECTED, ids=lambda path: path.relative_to(GOLDEN).as_posix())
def test_a_reader_finds_what_the_framework_loads(path):
    data = path.read_bytes()
    layout, error = laid_out(path)
    assert error is None
    found = {}
    for span in layout.tensors:
        if not span.part:
            found[span.spec.name] = (span.spec, data[span.offset : span.offset + span.spec.nbytes])
    for view in layout.views:
        found[view.spec.name] = (view.spec, b"".join(read_view(BytesFile(data), view)))
    assert {
        name: [spec.dtype.name, list(spec.shape), blake3(held).hexdigest()] for name, (spec, held) in found.items()
    } == EXPECTED[path]
    check_spans(layout)
    assert reassembled(data, layout) == data


def test_every_format_has_a_golden_file():
    assert {laid_out(path)[0].format for path in EXPECTED} >= {one.name for one in (*FORMATS, *DESCRIBED)}
