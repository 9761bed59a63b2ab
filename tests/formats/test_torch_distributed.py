"""Checkpoints of torch.distributed: what the metadata may say of a file, and metadata that lies."""

from __future__ import annotations

import io
import pickle
import random
import time
import zipfile

import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.sniff import read_layout
from lamella.formats.torch.distributed import TorchDistributedFormat
from lamella.testing.formats import check_spans, reassembled
from tests.formats.beside import GOLDEN, beside, contents, folder_of

FORMAT = TorchDistributedFormat()
NAME = "__0_0.distcp"
FOUR = bytes(range(16))


class Held:
    """An object with attributes, as all that is in the metadata is pickled."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def saved(shape: tuple[int, ...] = (4,), data: bytes = FOUR, key: str = "0") -> bytes:
    """What torch.save makes of a tensor of float32."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)

    def numbers(values: object) -> bytes:
        return b"(" + b"".join(b"K" + bytes([n]) for n in values) + b"t"

    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + key.encode() + b"X\3\0\0\0cpu"
    storage += b"J" + (len(data) // 4).to_bytes(4, "little") + b"tQ"
    view = storage + b"K\0" + numbers(shape) + numbers(strides[: len(shape)]) + b"\x89ccollections\nOrderedDict\n)R"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n(" + view + b"tR.")
        archive.writestr("archive/data/0", data)
    return made.getvalue()


def described(
    items: list[tuple[str, tuple[int, ...] | None, int, int]], shapes: dict[str, tuple[int, ...]], **more: object
) -> bytes:
    """The metadata of items, each a name, where in the tensor it begins, an offset and a length."""
    stored = {
        Held(fqn=name, offset=origin, index=number): Held(
            **{"relative_path": NAME, "offset": offset, "length": nbytes, **more}
        )
        for number, (name, origin, offset, nbytes) in enumerate(items)
    }
    listed = {name: Held(properties=None, size=shape, chunks=[]) for name, shape in shapes.items()}
    return pickle.dumps(Held(state_dict_metadata={**listed, "bytes": Held()}, storage_data=stored), 4)


def layout_of(data: bytes, metadata: bytes, name: str = NAME):
    return FORMAT.layout(BytesFile(data), beside(name, {".metadata": metadata, name: data}))


def back_to_back(*names: str) -> tuple[bytes, bytes]:
    item = saved()
    items = [(name, (0,), number * len(item), len(item)) for number, name in enumerate(names)]
    return item * len(names), described(items, dict.fromkeys(names, (4,)))


def test_each_item_is_a_tensor():
    data, metadata = back_to_back("a", "b.c")
    layout = layout_of(data, metadata)
    assert [(span.spec.name, span.spec.dtype.name, span.spec.shape) for span in layout.tensors] == [
        ("a", "f32", (4,)),
        ("b.c", "f32", (4,)),
    ]
    assert all(data[span.offset :][:16] == FOUR for span in layout.tensors)
    assert reassembled(data, layout) == data


def test_what_the_metadata_says_comes_before_what_the_file_looks_like():
    data, metadata = back_to_back("only")
    layout, error = read_layout(BytesFile(data), beside(NAME, {".metadata": metadata}))
    assert (layout.format, error) == ("torch-distributed", None)
    layout, error = read_layout(BytesFile(data), beside("x.pt", {".metadata": metadata}))
    assert (layout.format, error) == ("torch", None)


def test_a_name_that_comes_twice_is_told_from_the_first():
    data, metadata = back_to_back("w", "w")
    assert [span.spec.name for span in layout_of(data, metadata).tensors] == ["w", "w#2"]


def test_a_piece_of_a_tensor_has_its_place_behind_its_name():
    item = saved((2, 2))
    metadata = described([("w", (4, 0), 0, len(item))], {"w": (8, 2)})
    assert [span.spec.name for span in layout_of(item, metadata).tensors] == ["w[4:6,0:2]"]
    with pytest.raises(FormatError) as caught:
        layout_of(item, described([("w", (4,), 0, len(item))], {"w": (8, 2)}))
    assert caught.value.kind == "header-malformed"


def test_bytes_of_other_objects_and_of_other_files_stay_in_the_skeleton():
    item = saved()
    metadata = described([("w", (0,), 5, len(item)), ("bytes", None, 0, 5), ([], None, 0, 5)], {"w": (4,)})
    assert [span.spec.name for span in layout_of(b"12345" + item, metadata).tensors] == ["w"]
    assert layout_of(item, metadata, "__1_0.distcp") is None
    assert layout_of(item, metadata, "model.pt") is None
    assert layout_of(item, described([("w", (0,), 0, len(item))], {"w": (4,)}, transform_descriptors=["zstd"])) is None
    assert FORMAT.layout(BytesFile(item), beside(NAME, {NAME: item})) is None


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        (b"", "file-truncated"),
        (b"\x80\4", "file-truncated"),
        (b"\x80\4\xff.", "header-malformed"),
        (described([("w", (0,), 0, 10**6)], {"w": (4,)}), "span-out-of-file"),
        (described([("w", (0,), 2**62, 10**6)], {"w": (4,)}), "span-out-of-file"),
        (described([("w", (0,), 0, 21)], {"w": (4,)}), "header-malformed"),
        (described([("w", (0,), -5, 10)], {"w": (4,)}), "header-malformed"),
        (described([("w", (0,), 0, 1.5)], {"w": (4,)}), "header-malformed"),
        (described([("w", (0,), 0, 100)], {"w": (4, "x")}), "header-malformed"),
        (described([("w", (0,), 0, 100)], {"w": (1,) * 65}), "header-malformed"),
        (described([("w", [0], 0, 100)], {"w": (4,)}), "header-malformed"),
        (described([("w\n", (0,), 0, 100)], {"w\n": (4,)}), "header-malformed"),
        (described([("w" * 5000, (0,), 0, 100)], {"w" * 5000: (4,)}), "header-malformed"),
        (described([("w", (0,), 0, len(saved())), ("v", (0,), 9, 100)], {"w": (4,), "v": (4,)}), "span-overlap"),
    ],
)
def test_metadata_that_lies_is_refused(metadata, kind):
    with pytest.raises(FormatError) as caught:
        layout_of(saved() * 2, metadata)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "value",
    [None, 5, [], {}, Held(), Held(storage_data=5), Held(storage_data={5: 6}), Held(state_dict_metadata=[1])],
)
def test_metadata_of_another_kind_describes_nothing(value):
    assert layout_of(saved(), pickle.dumps(value, 4)) is None


def test_one_object_in_many_places_costs_no_more_than_its_size():
    wide = Held(**{f"field {n}": n for n in range(20_000)})
    names = {Held(fqn=str(n)): wide for n in range(20_000)}
    started = time.process_time()
    assert layout_of(saved(), pickle.dumps(Held(state_dict_metadata={}, storage_data=names), 4)) is None
    assert time.process_time() - started < 10


@pytest.mark.parametrize("path", ["whole/__0_0.distcp", "shared/__0_0.distcp"])
def test_altered_metadata_describes_soundly_or_is_refused(path):
    file = GOLDEN / "torch_distributed" / path
    data, files = file.read_bytes(), folder_of(file)
    choices = random.Random(path)
    for _ in range(1000):
        altered = bytearray(files[".metadata"])
        for _ in range(choices.randint(1, 3)):
            at = choices.randrange(len(altered))
            altered[at : at + choices.randint(0, 2)] = choices.randbytes(choices.randint(0, 2))
        try:
            layout = FORMAT.layout(BytesFile(data), beside(NAME, {**files, ".metadata": bytes(altered)}))
        except FormatError:
            continue
        if layout is not None:
            check_spans(layout)
            assert reassembled(data, layout) == data
            contents(data, layout)


def test_ten_thousand_tensors_are_read_at_once():
    names = [f"layer.{n}.weight" for n in range(10_000)]
    data, metadata = back_to_back(*names)
    started = time.process_time()
    assert [span.spec.name for span in layout_of(data, metadata).tensors] == names
    assert time.process_time() - started < 10
