"""Keras files: the suite on files that Keras wrote, and that names do not move when a layer is inserted."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.hdf5.reader import Hdf5Format
from lamella.formats.keras.reader import KerasFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, FormatSuite

FORMAT = KerasFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "keras"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())
ARCHIVES = [name for name in sorted(EXPECTED) if name.endswith(".keras")]


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


class TestKeras(FormatSuite):
    format = FORMAT
    mutations = 200

    def files(self):
        return [golden(name) for name in ARCHIVES]


def tensors(data: bytes, reader=FORMAT) -> dict[str, bytes]:
    layout = reader.layout(BytesFile(data))
    return {span.spec.name: data[span.offset :][: span.spec.nbytes] for span in layout.tensors if not span.part}


def archive(compression: int = zipfile.ZIP_STORED, **changed: bytes | None) -> bytes:
    """Return an archive with members replaced, called by the first word of their names; None leaves one out."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(golden("plain.keras"))) as given, zipfile.ZipFile(made, "w", compression) as to:
        for name in given.namelist():
            held = changed.get(name.split(".")[0], given.read(name))
            if held is not None:
                to.writestr(name, held)
    return made.getvalue()


def config(**settings: object) -> bytes:
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": settings}).encode()


def test_a_layer_that_is_inserted_moves_no_other_name():
    before, after = tensors(golden("plain.keras")), tensors(golden("inserted.keras"))
    assert set(after) - set(before) == {"extra/kernel", "extra/bias"}
    assert set(before) <= set(after)


def test_a_layer_that_is_inserted_is_seen_in_the_metadata():
    before, after = (FORMAT.metadata(BytesFile(golden(name))) for name in ("plain.keras", "inserted.keras"))
    assert set(after) - set(before) == {"layer:extra"}
    assert after["layer:extra"] == 'Dense {"units": 3}'
    assert after["keras_version"].startswith("3.")


def test_an_older_file_tells_its_version_and_its_layers():
    metadata = Hdf5Format().metadata(BytesFile(golden("adam.h5")))
    assert metadata["backend"] == "tensorflow"
    assert metadata["layer:one"] == 'Dense {"units": 2}'


def test_names_come_from_the_configuration_where_the_file_has_no_labels():
    without = golden("plain.keras").replace(b"\x05\x00\x08\x00\x08\x00name", b"\x05\x00\x08\x00\x08\x00eman")
    assert set(tensors(without)) >= {"one/kernel", "two/kernel", "norm/beta", "three/bias"}


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("lambda.keras", ("Lambda hidden", "__lambda__")),
        ("functional.keras", ("fixtures>Twice",)),
        ("plain.keras", ()),
    ],
)
def test_code_of_others_is_named(name, foreign):
    assert FORMAT.layout(BytesFile(golden(name))).foreign == foreign


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"[" * 100_000, b'{"config":' * 5000, b"\xff", b"1" * 5000])
def test_variables_are_read_without_a_configuration(damaged):
    data = archive(config=damaged)
    assert set(tensors(data)) == set(tensors(golden("plain.weights.h5"), Hdf5Format()))
    FORMAT.metadata(BytesFile(data))


@pytest.mark.parametrize(
    "odd",
    [
        config(layers=None),
        config(layers=[None, 1, {}, {"class_name": 5, "config": []}, {"class_name": "Dense"}]),
        config(layers=[{"class_name": "Dense", "config": {"name": "a\nb"}}]),
        config(layers=[{"class_name": "Dense", "config": {"name": "same"}}] * 3),
        config(layers=[{"class_name": "Dense", "config": {"trainable": False, "use_bias": "?"}}]),
    ],
)
def test_an_odd_configuration_is_no_reason_to_fail(odd):
    data = archive(config=odd)
    assert len(tensors(data)) == len(tensors(golden("plain.keras")))
    assert all(name.isprintable() for name in tensors(data))
    FORMAT.metadata(BytesFile(data))


def test_a_configuration_takes_bounded_memory():
    data = archive(config=b'{"config":{"layers":[' + b"{}," * 1_300_000 + b"{}]}}")
    tracemalloc.start()
    try:
        FORMAT.layout(BytesFile(data))
        assert tracemalloc.get_traced_memory()[1] < BASE_MEMORY_NBYTES
    finally:
        tracemalloc.stop()


def test_a_compressed_archive_stays_bytes():
    layout = FORMAT.layout(BytesFile(archive(zipfile.ZIP_DEFLATED)))
    assert (layout.format, layout.tensors, layout.views) == ("keras", (), ())


def test_an_archive_without_variables_has_none():
    assert tensors(archive(model=None)) == {}


def test_an_archive_whose_variables_are_no_hdf5_file_is_refused():
    with pytest.raises(FormatError) as caught:
        FORMAT.layout(BytesFile(archive(model=b"no HDF5 file")))
    assert caught.value.kind == "header-malformed"


def test_names_that_repeat_in_layers_of_layers_take_bounded_memory():
    model: dict[str, object] = {"layers": [{"class_name": "Dense"}] * 30_000}
    for _ in range(40):
        model = {"name": "n" * 250, "layers": [{"class_name": "Functional", "config": model}]}
    data = archive(config=json.dumps({"class_name": "Functional", "config": model}).encode())
    tracemalloc.start()
    try:
        FORMAT.layout(BytesFile(data))
        assert tracemalloc.get_traced_memory()[1] < BASE_MEMORY_NBYTES
    finally:
        tracemalloc.stop()
