"""What a merged file says beside its tensors: the side that changed it has the say, and what is left out is told."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy
import pytest

from lamella.core.errors import ConflictError
from lamella.formats.file import BytesFile
from lamella.formats.hollow import metadata_of
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.merge_models import examine, merge_in_store
from lamella.repo.checkin import check_in
from lamella.repo.checkout import file_pieces
from lamella.repo.joined_model import joined
from lamella.repo.merged_container import merge_metadata
from lamella.repo.stored_model_file import StoredModelFile

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
CHECKPOINT = (GOLDEN / "torch" / "checkpoint.ckpt").read_bytes()
KERAS = (GOLDEN / "keras" / "plain.keras").read_bytes()


def packed(content, changes, folder=None, date=(1980, 1, 1, 0, 0, 0)):
    """Return an archive anew, with `changes` made to members by (old, new) bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for info in old.infolist():
            data, name = old.read(info), info.filename
            for end, (before, after) in changes.items():
                if name.endswith(end):
                    assert before in data
                    data = data.replace(before, after, 1)
            if folder is not None:
                name = f"{folder}/{name.partition('/')[2]}"
            new.writestr(zipfile.ZipInfo(name, date), data)
    return made.getvalue()


def checkpoint(epoch=3, bias=0, note="é", **keywords):
    """Return a training state of PyTorch with another epoch, another bias, another note."""
    with zipfile.ZipFile(io.BytesIO(CHECKPOINT)) as archive:
        identity = archive.read("checkpoint/.data/serialization_id")
        bias_before = archive.read("checkpoint/data/4")
    changed = numpy.frombuffer(bias_before, "<f4") + numpy.float32(bias)
    first = packed(
        CHECKPOINT,
        {
            "/data.pkl": (b"epochq\x01K\x03", b"epochq\x01K" + bytes([epoch])),
            "/data/4": (bias_before, changed.tobytes()),
            "serialization_id": (identity, b"%040d" % (1000 * epoch + int(10 * bias))),
        },
    )
    return packed(first, {"/data.pkl": ("é".encode(), note.encode())}, **keywords)


@pytest.fixture
def model(repository):
    """A function that stores a file and returns it as a model."""

    def stored(content):
        manifest = check_in(repository.store, BytesFile(content), ()).manifest
        return joined("model", [StoredModelFile("model", manifest, lambda: repository.store)], ())

    return stored


@pytest.fixture
def merge(repository, model):
    """A function that merges files and returns the one they become, and the warnings."""

    def merged(*contents):
        base, *sides = map(model, contents)
        rules = Rules(Choice("average"))
        foreseen = examine(repository, base, sides, rules)
        found = merge_in_store(repository, base, sides, rules)
        assert not found.conflicts
        assert foreseen.plan == found.plan
        told = [one for one in found.plan.warnings if "beside the tensors" in one]
        return b"".join(file_pieces(repository.store, found.manifest)), told

    return merged


def said(content):
    return metadata_of("torch", BytesFile(content))


def test_what_only_theirs_changed_in_a_pickle_is_kept_with_the_weights_of_both(merge):
    content, told = merge(checkpoint(), checkpoint(bias=1), checkpoint(epoch=5))
    assert said(content)["epoch"] == "5"
    assert told == []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        with zipfile.ZipFile(io.BytesIO(checkpoint(bias=1))) as ours:
            assert archive.read("checkpoint/data/4") == ours.read("checkpoint/data/4")


def test_what_only_ours_changed_in_a_pickle_is_kept(merge):
    content, told = merge(checkpoint(), checkpoint(epoch=5, bias=1), checkpoint(bias=2))
    assert said(content)["epoch"] == "5"
    assert told == []


def test_what_both_changed_alike_is_kept_without_a_word(merge):
    content, told = merge(checkpoint(), checkpoint(epoch=5, bias=1), checkpoint(epoch=5, bias=2))
    assert said(content)["epoch"] == "5"
    assert told == []


def test_what_both_changed_is_ours_and_theirs_is_named(merge):
    content, told = merge(checkpoint(), checkpoint(epoch=5, bias=1), checkpoint(epoch=9, bias=2, note="ö"))
    assert (said(content)["epoch"], said(content)["note"]) == ("5", "é")
    assert told == ["what theirs changed beside the tensors ('epoch', 'note') is left out: ours stands"]


def test_the_folder_of_an_archive_and_when_it_was_packed_say_nothing(merge):
    again = checkpoint(bias=1, folder="other", date=(2026, 1, 2, 3, 4, 6))
    content, told = merge(checkpoint(), again, checkpoint(epoch=5))
    assert said(content)["epoch"] == "5"
    assert told == []


def test_a_model_of_keras_that_was_only_saved_again_has_changed_nothing(merge):
    later = packed(KERAS, {"metadata.json": (b"2026-11-21", b"2026-11-22")})
    renamed = packed(KERAS, {"config.json": (b'"one"', b'"uno"')})
    content, told = merge(packed(KERAS, {}), later, renamed)
    assert "layer:uno" in metadata_of("keras", BytesFile(content))
    assert told == []


def npz(**arrays):
    made = io.BytesIO()
    numpy.savez(made, **arrays)
    return made.getvalue()


def test_an_array_that_is_no_tensor_is_not_dropped_where_both_sides_add_tensors(merge):
    start = {"a": numpy.zeros(4, "<f4"), "words": numpy.array(["x", "y"])}
    one, two = ({**start, name: numpy.ones(3, "<f4")} for name in ("b", "c"))
    with pytest.raises(ConflictError) as caught:
        merge(npz(**start), npz(**one), npz(**two))
    assert "say more than that are not written anew" in caught.value.message
    assert caught.value.kind == "merge-conflict"


def test_a_new_tensor_of_ours_beside_what_theirs_changed_else_is_told(merge):
    start = {"a": numpy.zeros(4, "<f4"), "words": numpy.array(["x", "y"])}
    longer = {**start, "b": numpy.ones(3, "<f4")}
    other = {**start, "words": numpy.array(["x", "z"])}
    content, told = merge(npz(**start), npz(**longer), npz(**other))
    with numpy.load(io.BytesIO(content)) as found:
        assert found["words"].tolist() == ["x", "y"]
        assert found["b"].tolist() == [1, 1, 1]
    assert told == ["what theirs changed beside the tensors is left out: ours stands"]


@pytest.mark.parametrize(
    ("sides", "made"), [("22", "2"), ("2 ", "2"), ("  ", None), ("23", "2"), ("13", "3"), ("1 ", None), ("123", "1")]
)
def test_a_key_is_as_the_side_that_changed_it_has_it_and_as_the_first_where_several_did(sides, made):
    """Of each side the value of a key that was 1, blank where the side took it out."""
    said = [{"key": value} if value.strip() else {} for value in sides]
    assert merge_metadata({"key": "1"}, said).get("key") == made
