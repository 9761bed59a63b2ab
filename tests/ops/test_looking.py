"""`ls`, `cat` and `id`: what is listed, what is read, and how little of it."""

from __future__ import annotations

from contextlib import contextmanager

import numpy
import pytest

from lamella.core.errors import IntegrityError, NotFoundError, UsageError
from lamella.ops import cat as cat_op
from lamella.ops.cat import cat
from lamella.ops.identify import identify_model
from lamella.ops.ls import ls
from lamella.repo.targets import opened_model
from lamella.store.chain import Chain
from lamella.testing.models import LAYERS, model, network, spec, values
from tests.e2e.workbench import Workbench
from tests.toy import Placed, toy

MODEL = "model.safetensors"


@pytest.fixture(params=["on disk", "stored"])
def looked_at(request, bench: Workbench):
    """Return a function that opens a model that consists of these bytes, on disk or in HEAD."""

    @contextmanager
    def opening(content: bytes):
        if request.param == "stored":
            bench.commit(MODEL, content)
            (bench.root / MODEL).unlink()
        else:
            bench.write(MODEL, content)
        with opened_model(f"HEAD:{MODEL}" if request.param == "stored" else MODEL, bench.root) as found:
            yield found

    return opening


def test_every_tensor_is_listed_with_what_it_is(looked_at):
    with looked_at(network("a note")) as found:
        report = ls(found)
    assert [(one.name, one.dtype, one.shape, one.elements, one.nbytes) for one in report.tensors] == [
        (layer.name, "f32", (4, 6), 24, 96) for layer in LAYERS
    ]
    assert (report.elements, report.nbytes) == (24 * 8, 96 * 8)
    (file,) = report.files
    assert (file.path, file.format, file.tensors, file.metadata) == (MODEL, "safetensors", 8, {"note": "a note"})


def test_globs_choose_tensors(looked_at):
    with looked_at(network()) as found:
        chosen = ls(found, ["*.1.*", "layer.?.bias"], metadata=False)
        assert [one.name for one in chosen.tensors] == [
            "layer.0.bias", "layer.1.bias", "layer.1.weight", "layer.2.bias", "layer.3.bias"
        ]  # fmt: skip
        assert chosen.files[0].metadata is None
        with pytest.raises(NotFoundError) as caught:
            ls(found, ["*.bias", "nothing"])
    assert caught.value.kind == "tensor-unknown"


def test_an_opaque_file_has_no_tensors_and_an_id(looked_at):
    with looked_at(bytes(range(256)) * 10) as found:
        assert ls(found).tensors == ()
        assert len(identify_model(found).model_id) == 64


def test_listing_decodes_no_tensor_and_needs_no_store(bench, monkeypatch):
    bench.commit(MODEL, network("a note"))
    decoded = counting(monkeypatch)
    with opened_model(f"HEAD:{MODEL}", bench.root) as found:
        assert len(ls(found, metadata=False).tensors) == 8
        assert identify_model(found).tensors == 8
        assert decoded == []
        ls(found)
    assert sum(decoded) < 1000
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    with opened_model(f"HEAD:{MODEL}", bench.root) as found:
        report = ls(found)
        assert (len(report.tensors), report.files[0].metadata) == (8, None)
        assert identify_model(found).model_id
        with pytest.raises(NotFoundError) as caught:
            cat(found, "layer.0.bias")
    assert caught.value.kind == "object-missing"


def counting(monkeypatch) -> list[int]:
    """Return a list that grows by the decoded bytes of every read."""
    decoded: list[int] = []
    original = Chain.decode

    def decode(self: Chain, first: int, last: int, **options: object) -> bytearray:
        out = original(self, first, last, **options)
        decoded.append(len(out))
        return out

    monkeypatch.setattr(Chain, "decode", decode)
    return decoded


CHUNK_NBYTES = 4 << 16
SKELETON_NBYTES = 1000


@pytest.mark.parametrize(
    ("selection", "chunks"),
    [("[0]", 1), ("[-1, :5]", 1), ("[0:2, 1:3]", 1), ("[:, 0]", 12), ("[::200]", 4), ("[5:5]", 0), ("[65:131, 0]", 2)],
)
def test_only_the_chunks_asked_for_are_decoded(bench, monkeypatch, selection, chunks):
    wide = spec("wide", 768, 1000)
    bench.commit(MODEL, model([spec("before", 100_000), wide]))
    array = numpy.frombuffer(values(wide), "f4").reshape(wide.shape)
    with opened_model(f"HEAD:{MODEL}", bench.root) as found:
        decoded = counting(monkeypatch)
        part = cat(found, f"wide{selection}")
        data = part.read()
        expected = eval(f"array{selection}", {"array": array})  # noqa: S307 -- one of the lines above
        assert (part.spec.shape, data) == (expected.shape, expected.tobytes())
    assert sum(decoded) <= chunks * CHUNK_NBYTES + SKELETON_NBYTES


def test_a_sum_up_reads_the_ends_only(bench, monkeypatch):
    wide = spec("wide", 20, 100_000)
    bench.commit(MODEL, model([wide]))
    with opened_model(f"HEAD:{MODEL}", bench.root) as found:
        decoded = counting(monkeypatch)
        pieces = list(cat(found, "wide").corners(3))
    assert sum(len(data) for _, data in pieces) == 36 * 4
    assert sum(decoded) <= 12 * CHUNK_NBYTES + SKELETON_NBYTES < wide.nbytes


def test_values_are_those_of_the_tensor(looked_at):
    tensors = [spec("a.b", 4, 5), spec("x[0]", 3), spec("x", 3), spec("scalar"), spec("none", 0, 3)]
    tensors += [spec("half", 2, 2, dtype="bf16"), spec("packed", 6, dtype="f4_e2m1")]
    with looked_at(model(tensors)) as found:
        for tensor in tensors:
            whole = cat(found, tensor.name)
            assert (whole.spec, whole.read()) == (tensor, values(tensor))
        assert cat(found, "x[0][1]").read() == values(tensors[1])[4:8]
        assert cat(found, "x[1]").read() == values(tensors[2])[4:8]
        assert cat(found, "scalar[...]").read() == values(tensors[3])
        assert cat(found, "none[:, 1]").spec.shape == (0,)
        for text, kind in (("x[5]", "bad-argument"), ("x[a]", "bad-argument"), ("packed[0]", "dtype-unsupported")):
            with pytest.raises(UsageError) as caught:
                cat(found, text)
            assert caught.value.kind == kind
        with pytest.raises(NotFoundError):
            cat(found, "y[0]")


@pytest.mark.usefixtures("toys")
def test_views_are_listed_and_read(looked_at):
    array = numpy.arange(6000, dtype="<f4").reshape(60, 100)
    placed = {"w": Placed("f32", (60, 100), 0), "t": Placed("f32", (100, 60), 0, (4, 400))}
    with looked_at(toy(placed, array.tobytes(), {"key": "v"})) as found:
        report = ls(found)
        assert [one.name for one in report.tensors] == ["w", "t"]
        assert report.files[0].metadata == {"key": "v"}
        assert cat(found, "t").read() == array.T.tobytes()
        assert cat(found, "t[3:9:2, -1]").read() == array.T[3:9:2, -1].tobytes()


def test_a_tensor_of_too_many_dimensions_is_not_summed_up(looked_at, monkeypatch):
    monkeypatch.setattr(cat_op, "_MOST_CORNERS", 100)
    with looked_at(model([spec("deep", *[3] * 8)])) as found, pytest.raises(UsageError, match="too many dimensions"):
        list(cat(found, "deep").corners(1))


def test_a_whole_tensor_is_held_against_its_id(bench, monkeypatch):
    bench.commit(MODEL, model([spec("a", 300)]))
    monkeypatch.setattr(Chain, "decode", lambda self, first, last, **_: bytearray(1200))
    with opened_model(f"HEAD:{MODEL}", bench.root) as found, pytest.raises(IntegrityError) as caught:
        cat(found, "a").read()
    assert caught.value.kind == "object-wrong-id"


def test_the_id_is_that_of_the_weights(bench):
    bench.commit(MODEL, network("a"))
    bench.commit("other.safetensors", model(LAYERS[::-1], note="b"))
    ids = []
    for text in (MODEL, f"HEAD:{MODEL}", "other.safetensors", ":other.safetensors"):
        with opened_model(text, bench.root) as found:
            ids.append(identify_model(found).model_id)
    assert len(set(ids)) == 1
