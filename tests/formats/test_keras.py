"""Keras files: the suite on files that Keras wrote, and that names do not move when a layer is inserted."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import blake3

from lamella.formats.file import BytesFile
from lamella.formats.keras import KerasFormat
from lamella.formats.strided import read_view
from lamella.testing.formats import FormatSuite

FORMAT = KerasFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "keras"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())
ARCHIVES = [name for name in sorted(EXPECTED) if name.endswith(".keras")]


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def contents(data: bytes, reader=FORMAT) -> dict[str, list[object]]:
    """What is read from a file: dtype, shape and digest of each tensor by name."""
    layout = reader.layout(BytesFile(data))
    found = [(span.spec, data[span.offset :][: span.spec.nbytes]) for span in layout.tensors if not span.part]
    found += [(view.spec, b"".join(read_view(BytesFile(data), view))) for view in layout.views]
    return {spec.name: [spec.dtype.name, list(spec.shape), blake3.blake3(held).hexdigest()] for spec, held in found}


def archive(compression: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """Return an archive with members replaced; those that are None are left out."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(golden("plain.keras"))) as given, zipfile.ZipFile(made, "w", compression) as to:
        for name in given.namelist():
            held = changed.get(name.split(".")[0], given.read(name))
            if held is not None:
                to.writestr(name, held)
    return made.getvalue()


class TestKeras(FormatSuite):
    format = FORMAT
    mutations = 200

    def files(self):
        return [golden(name) for name in ARCHIVES]
