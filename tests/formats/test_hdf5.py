"""HDF5: the suite on files that h5py wrote, and each tensor of them."""

from __future__ import annotations

import json
from pathlib import Path

import blake3

from lamella.formats.file import BytesFile
from lamella.formats.hdf5 import Hdf5Format
from lamella.formats.strided import read_view
from lamella.testing.formats import FormatSuite

FORMAT = Hdf5Format()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "hdf5"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())


def contents(data: bytes, reader=FORMAT) -> dict[str, list[object]]:
    """What is read from a file: dtype, shape and digest of each tensor by name."""
    layout = reader.layout(BytesFile(data))
    found = [(span.spec, data[span.offset :][: span.spec.nbytes]) for span in layout.tensors if not span.part]
    found += [(view.spec, b"".join(read_view(BytesFile(data), view))) for view in layout.views]
    return {spec.name: [spec.dtype.name, list(spec.shape), blake3.blake3(held).hexdigest()] for spec, held in found}


class TestHdf5(FormatSuite):
    format = FORMAT
    mutations = 300

    def files(self):
        return [(GOLDEN / name).read_bytes() for name in sorted(EXPECTED)]
