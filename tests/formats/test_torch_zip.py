"""PyTorch's archives: the suite, where tensors lie and what they are called, and archives that lie."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile

import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.sniff import read_layout
from lamella.formats.torch.archive import TorchZipFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, FormatSuite
from tests.formats.contents import values
from tests.formats.torch_writer import (
    ORDERED,
    archive,
    call,
    integer,
    listing,
    mapping,
    name,
    pickled,
    storage,
    tensor,
    text,
    tuple_of,
)

FORMAT = TorchZipFormat()
SIX = struct.pack("<6f", *range(6))
STATE_DICT = archive(mapping({"a.weight": tensor("0", (2, 3)), "a.bias": tensor("1", (3,))}), {"0": SIX, "1": SIX[:12]})


def module(**attributes: bytes) -> bytes:
    """A module, as a pickle makes it: an object without arguments, and its dictionary."""
    empty = dict.fromkeys(("_parameters", "_buffers", "_modules"), ORDERED)
    return name("gadget", "Net") + b")\x81" + mapping(empty | attributes) + b"b"


def laid_out(value, storages=None, **members):
    return values(FORMAT, archive(value, storages, **members))


def refused(data, kind):
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    assert raised.value.kind == kind
    layout, error = read_layout(BytesFile(data))
    assert layout.format == "opaque"
    assert error is not None


class TestSuite(FormatSuite):
    format = FORMAT
    mutations = 400

    def files(self):
        tied = mapping({"a": tensor("0", (2, 3)), "b": tensor("0", (2, 3)), "c": tensor("0", (3, 2), (1, 3), numel=6)})
        nested = mapping({"model": tied, "epoch": integer(3), "optimizer": listing(tensor("1", (3,)), text("adam"))})
        large = mapping({"b": tensor("0", (170, 100), (1, 170), numel=17_000)})
        return [
            STATE_DICT,
            archive(nested, {"0": SIX, "1": SIX[:12]}, byteorder=b"little", version=b"3\n"),
            archive(tied, {"0": SIX}, byteorder=b"big"),
            archive(module(_parameters=mapping({"w": tensor("0", (6,))}), note=text("x")), {"0": SIX}),
            archive(large, {"0": bytes(68_000)}),
        ]


def test_a_state_dict_has_its_own_names():
    assert values(FORMAT, STATE_DICT) == {"a.weight": ("f32", (2, 3), SIX), "a.bias": ("f32", (3,), SIX[:12])}


def test_big_endian_elements_are_turned():
    big = struct.pack(">6f", *range(6))
    value = mapping({"a": tensor("0", (2, 3)), "b": tensor("1", (4,), kind="ByteStorage")})
    found = laid_out(value, {"0": big, "1": b"abcd"}, byteorder=b"big")
    assert found == {"a": ("f32", (2, 3), SIX), "b": ("u8", (4,), b"abcd")}


def test_a_storage_whose_class_says_nothing_has_the_tensors_dtype():
    value = tensor("0", (3,), numel=6, kind="UntypedStorage", dtype="bfloat16")
    assert laid_out(value, {"0": b"abcdef"}) == {"tensor": ("bf16", (3,), b"abcdef")}


def test_nibbles_that_torch_counts_in_bytes_are_counted_one_by_one():
    value = tensor("0", (2, 3), kind="UntypedStorage", dtype="float4_e2m1fn_x2")
    assert laid_out(value, {"0": b"abcdef"}) == {"tensor": ("f4_e2m1", (2, 6), b"abcdef")}
    value = tensor("0", (3, 2), (1, 3), kind="UntypedStorage", dtype="float4_e2m1fn_x2")
    assert laid_out(value, {"0": b"abcdef"}) == {"tensor": ("u8", (3, 2), b"adbecf")}


def test_packed_quantised_elements_are_bytes():
    assert laid_out(tensor("0", (6,), kind="QUInt4x2Storage"), {"0": b"abcdef"}) == {"tensor": ("u8", (6,), b"abcdef")}


def test_a_module_has_the_names_of_its_state_dict():
    weight = tensor("0", (2, 3))
    linear = module(_parameters=mapping({"weight": weight, "bias": b"N"}))
    keep, again = b"q\x01", b"h\x01"
    net = module(
        training=b"\x88",
        _modules=mapping({"first": linear + keep, "second": again}),
        _buffers=mapping({"steps": tensor("1", (), kind="LongStorage")}),
        plain=listing(again),
        loose=tensor("1", (1,), kind="LongStorage"),
    )
    layout = FORMAT.layout(BytesFile(archive(net, {"0": SIX, "1": bytes(8)})))
    found = [one.spec.name for one in layout.tensors] + [one.spec.name for one in layout.views]
    assert sorted(found) == ["first.weight", "loose", "second.weight", "steps"]
    assert layout.foreign == ("gadget.Net",)


def test_a_dictionary_is_no_module():
    value = mapping({"_parameters": mapping({"w": tensor("0", (6,))})})
    assert list(laid_out(value, {"0": SIX})) == ["_parameters.w"]


def test_a_tensor_that_an_object_has_twice_is_named_once_beside_its_name():
    weight = tensor("0", (6,)) + b"q\x07"
    net = module(_parameters=mapping({"w": weight}), _flat_weights=listing(b"h\x07"))
    assert list(laid_out(net, {"0": SIX})) == ["w"]


def test_tensors_are_found_in_what_foreign_code_would_make():
    one, two, three = (tensor(key, (2,)) for key in "012")
    made = call(name("gadget", "make"), one, mapping({"k": two})) + b"(" + three + b"e"
    found = laid_out(mapping({"x": made}), dict.fromkeys("012", SIX[:8]))
    assert sorted(found) == ["x.0", "x.1.k", "x.2"]


def test_items_of_an_object_that_come_in_batches_are_counted_on():
    made = name("gadget", "List") + b")\x81(" + tensor("0", (1,)) + b"e(" + tensor("1", (1,)) + tensor("2", (1,)) + b"e"
    assert list(laid_out(made, dict.fromkeys("012", bytes(4)))) == ["0", "1", "2"]


def test_an_ordered_dict_of_pairs_is_a_mapping():
    value = call(name("collections", "OrderedDict"), listing(listing(text("a"), tensor("0", (1,)))))
    assert list(laid_out(value, {"0": bytes(4)})) == ["a"]


def test_of_equal_keys_the_last_counts():
    value = mapping([(text("a"), tensor("0", (2,))), (text("a"), tensor("1", (1,)))])
    assert laid_out(value, {"0": SIX[:8], "1": SIX[4:8]}) == {"a": ("f32", (1,), SIX[4:8])}


def test_scripted_code_has_its_tensors_and_constants():
    value = name("__torch__", "Net") + b")\x81" + mapping({"weight": tensor("0", (6,))}) + b"b"
    constants = pickled(tuple_of(tensor("0", (1,)), tensor("1", (1,))))
    members = {"constants.pkl": constants, "constants__0": SIX[:4], "constants__1": SIX[4:8]}
    layout = FORMAT.layout(BytesFile(archive(value, {"0": SIX}, **members)))
    assert [one.spec.name for one in layout.tensors] == ["weight", "constants.0", "constants.1"]
    assert layout.foreign == ("__torch__.Net",)


def test_plain_values_are_told():
    value = mapping(
        {"epoch": integer(3), "args": mapping({"lr": b"G" + struct.pack(">d", 0.5), "note": text("é" * 9000)})}
    )
    told = FORMAT.metadata(BytesFile(archive(value)))
    assert told.pop("args.note").startswith("éé")
    assert told == {"epoch": "3", "args.lr": "0.5"}


def test_any_folder_will_do():
    data = STATE_DICT.replace(b"archive/", b"another/")
    assert FORMAT.sniff(data[:4096], len(data))
    assert list(values(FORMAT, data)) == ["a.weight", "a.bias"]


@pytest.mark.parametrize("member", ["a.npy", "config.json", "word/document.xml", "data.pkl"])
def test_other_archives_are_not_claimed(member):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as writer:
        writer.writestr(member, b"x")
    assert not FORMAT.sniff(made.getvalue()[:4096], len(made.getvalue()))


def deflated(value: bytes, storages: dict[str, bytes], packed: tuple[str, ...]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as writer:
        for key, data in {"data.pkl": pickled(value), **storages}.items():
            method = zipfile.ZIP_DEFLATED if key in packed else zipfile.ZIP_STORED
            writer.writestr(f"archive/{key}", data, method)
    return made.getvalue()


def test_a_compressed_pickle_is_read_and_a_compressed_storage_refused():
    one = tensor("0", (6,))
    assert values(FORMAT, deflated(one, {"data/0": SIX}, ("data.pkl",))) == {"tensor": ("f32", (6,), SIX)}
    refused(deflated(one, {"data/0": SIX}, ("data/0",)), "header-malformed")


HUGE = 1 << 62
HOSTILE = {
    "no storage": (archive(tensor("0", (6,))), "header-malformed"),
    "a storage that is too short": (archive(tensor("0", (6,)), {"0": SIX[:-1]}), "span-out-of-file"),
    "an offset behind the storage": (archive(tensor("0", (6,), offset=1, numel=6), {"0": SIX}), "span-out-of-file"),
    "an offset near 2**63": (archive(tensor("0", (1,), offset=HUGE, numel=6), {"0": SIX}), "span-out-of-file"),
    "strides near 2**63": (archive(tensor("0", (2,), (HUGE,), numel=6), {"0": SIX}), "span-out-of-file"),
    "an extent near 2**63": (archive(tensor("0", (HUGE,), (0,), numel=6), {"0": SIX}), "header-malformed"),
    "extents that multiply": (archive(tensor("0", (1 << 40,) * 3, (0,) * 3, numel=6), {"0": SIX}), "header-malformed"),
    "views without end": (archive(tensor("0", (1 << 40,), (0,), numel=6), {"0": SIX}), "span-overlap"),
    "an empty shape of huge extents": (
        archive(tensor("0", (0, 2 * HUGE), (1, 1), numel=0), {"0": SIX}),
        "header-malformed",
    ),
    "a negative extent": (archive(tensor("0", (-1,), (1,), numel=6), {"0": SIX}), "header-malformed"),
    "a negative stride": (archive(tensor("0", (2,), (-1,), numel=6), {"0": SIX}), "header-malformed"),
    "a negative offset": (archive(tensor("0", (2,), offset=-1, numel=6), {"0": SIX}), "header-malformed"),
    "a negative length": (archive(tensor("0", (2,), numel=-6), {"0": SIX}), "header-malformed"),
    "more extents than strides": (archive(tensor("0", (2, 3), (1,)), {"0": SIX}), "header-malformed"),
    "65 extents": (archive(tensor("0", (1,) * 65), {"0": SIX}), "header-malformed"),
    "an extent that is text": (
        archive(call(name("torch._utils", "_rebuild_tensor_v2"), storage("0", 1), integer(0), text("ab"), text("ab"))),
        "header-malformed",
    ),
    "no pickle": (STATE_DICT.replace(b"data.pkl", b"code/pkl"), "header-malformed"),
    "an empty pickle": (archive(b"").replace(b"\x80\x02.", b"\x80\x02N"), "file-truncated"),
    "depth": (archive(b"(" * 2000 + tensor("0", (6,)) + b"t" * 2000, {"0": SIX}), "header-too-deep"),
    "a tensor made of itself": (
        archive(name("torch._tensor", "_rebuild_from_type_v2") + b"q\x01(h\x01N)Nt" + b"R"),
        "header-malformed",
    ),
}


@pytest.mark.parametrize("data, kind", HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_lies_is_refused(data, kind):
    refused(data, kind)


@pytest.mark.parametrize("key, value, names", [("conj", b"\x88", []), ("neg", b"\x88", []), ("conj", b"\x89", ["w"])])
def test_a_tensor_with_other_elements_than_are_stored_is_none(key, value, names):
    for dtype in (None, "float32"):
        made = tensor("0", (6,), dtype=dtype).removesuffix(b"tR") + mapping({key: value}) + b"tR"
        assert sorted(values(FORMAT, archive(mapping({"w": made}), {"0": SIX}))) == names


def doubled(levels: int) -> bytes:
    """Lists of two references each to the one before: 2**levels ways to one tensor."""
    value = tensor("0", (6,)) + b"q\x00"
    for level in range(levels):
        value = value + b"0" if level == 0 else value
        value += b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
    return value


def modules(levels: int) -> bytes:
    """Modules with two of each before: 2**levels names of one tensor."""
    made = module(_parameters=mapping({"w": tensor("0", (6,))})) + b"q\x00"
    for level in range(levels):
        both = mapping(dict.fromkeys("ab", b"h" + bytes([level])))
        made += module(_modules=both) + b"q" + bytes([level + 1])
    return made


BOMBS = {
    "modules that double": modules(60),
    "lists in lists": b"(" * 100_000 + b"t" * 100_000,
    "lists that hold themselves": b"]q\x00(" + b"h\x00" * 100_000 + b"e",
    "references that double": doubled(200),
    "nothing": b"N0" * 120_000 + b"N",
    "marks": b"(" * 800_000,
    "dictionaries": b"}" * 800_000,
    "lists": b"]" * 800_000,
    "memo": b"".join(b"Nr" + struct.pack("<I", n) + b"j" + struct.pack("<I", n) for n in range(120_000)),
    "names": b"".join(b"cm%d\nn\n0" % n for n in range(50_000)) + b"N",
    "copies": b"](" + b"N" * 100_000 + b"eq\x00" + b"c__builtin__\nset\nh\x00\x85R" * 8_000,
    "arguments": b"(" + b"N" * 100_000 + b"tq\x00" + b"ca\nb\nh\x00R" * 8_000,
    "pairs": b"](" + b"NN\x86" * 100_000 + b"eq\x00" + b"ccollections\nOrderedDict\nh\x00\x85R" * 8_000,
    "modules with one and the same": b"}("
    + b"NN" * 16_000
    + b"uq\x000"
    + text("_modules")
    + b"q\x010]("
    + b"}}h\x01h\x00sb" * 16_000
    + b"e",
    "objects of the same arguments": b"(" + b"N" * 16_000 + b"tq\x000ca\nb\nq\x010](" + b"h\x01h\x00R" * 16_000 + b"e",
    "mappings of the same pairs": b"]("
    + b"NN\x86" * 16_000
    + b"eq\x000ccollections\nOrderedDict\nq\x010]("
    + b"h\x01h\x00\x85R" * 16_000
    + b"e",
    "items put into objects": b"}" + b"(e" * 2_000_000,
    "single items put into objects": b"}" + b"Na" * 2_000_000,
    "things kept elsewhere": b"P\n" * 390_000,
    "short names of code": b"cmm\nnn\n" * 500_000,
    "states": tensor("0", (6,)) + b"Nb" * 20_000 + (b"]" + b"K\x01ab") * 20_000,
    "tensors of one tuple": tensor("0", (6,))[:-1]
    + b"q\x000ctorch._utils\n_rebuild_tensor_v2\nq\x010"
    + b"h\x01h\x00R" * 40_000,
    "long names": mapping({"a" * 8000: b"](" + (tensor("0", (6,)) + b"q\x09") + b"h\x09" * 60_000 + b"e"}),
    "names behind a long one": mapping({"a" * 8000: b"](" + b"](Ne" * 60_000 + b"e"}),
    "long numbers": b"".join(b"\x8b\x00\x20\x00\x00" + b"\x7f" * 8192 for _ in range(200)),
    "digits": b"I" + b"9" * 8000 + b"\n" + b"N",
    "text of four bytes a character": b"".join(text("a" * 8000 + "\U0001f600") for _ in range(500)),
    "keys of one number": mapping([(integer(n * ((1 << 61) - 1)), b"N") for n in range(50_000)]),
}


@pytest.mark.parametrize("value", BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_bounded_time_and_memory(value):
    data = archive(value, {"0": SIX})
    started = time.process_time()
    tracemalloc.start()
    try:
        layout = FORMAT.layout(BytesFile(data))
        nbytes = sum(span.spec.nbytes for span in layout.tensors)
    except FormatError:
        nbytes = 0
    finally:
        peak_nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * (len(data) - nbytes)
    assert time.process_time() - started < 20
