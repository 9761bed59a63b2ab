"""Merged files of every container: what they hold, and that readers find them whole."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy
import pytest

from lamella.core.errors import ConflictError
from lamella.formats.file import BytesFile
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.formats.sniff import read_layout
from lamella.formats.torch.archive import TorchZipFormat
from lamella.formats.torch.writer import TorchWriter
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.merge_models import MergedModel, examine, merge_in_store
from lamella.repo.checkin import check_in
from lamella.repo.checkout import file_pieces
from lamella.repo.joined_model import joined
from lamella.repo.stored_model_file import StoredModelFile
from tests.formats.contents import values as values_of
from tests.formats.torch_writer import archive, mapping, tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
BASE = {"a": numpy.arange(12, dtype="<f4").reshape(3, 4), "b": numpy.ones(5, "<f4"), "c": numpy.zeros((2, 2), "<f4")}
OURS = {**BASE, "a": BASE["a"] + 1, "c": BASE["c"] + numpy.array([[1, 0], [2, -1]], "<f4")}
THEIRS = {**BASE, "b": BASE["b"] * 2, "c": BASE["c"] + numpy.array([[0, 3], [4, -1]], "<f4")}


def npz(arrays: dict[str, numpy.ndarray]) -> bytes:
    file = io.BytesIO()
    numpy.savez(file, **arrays)
    return file.getvalue()


def as_torch(arrays: dict[str, numpy.ndarray]) -> bytes:
    source = BytesFile(npz(arrays))
    specs = [span.spec for span in read_layout(source)[0].tensors]
    made = bytearray()
    contents = iter([iter([arrays[spec.name].tobytes()]) for spec in specs])
    for offset, piece in TorchWriter().write(specs, contents, {}):
        made[offset : offset + len(piece)] = piece
    return bytes(made)


def as_safetensors(arrays: dict[str, numpy.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    from lamella.formats.safetensors.header import build_header

    source = BytesFile(npz(arrays))
    specs = [span.spec for span in read_layout(source)[0].tensors]
    return build_header(specs, metadata) + b"".join(arrays[spec.name].tobytes() for spec in specs)


def model_of(repository, content: bytes):
    manifest = check_in(repository.store, BytesFile(content), ()).manifest
    return joined("model", [StoredModelFile("model", manifest, lambda: repository.store)], ())


def merged(
    repository, base: bytes, *sides: bytes, rules: Rules | None = None, vocabularies=None
) -> tuple[MergedModel, bytes]:
    models = [model_of(repository, content) for content in (base, *sides)]
    found = merge_in_store(repository, models[0], models[1:], rules or Rules(), vocabularies=lambda: vocabularies or {})
    return found, b"".join(file_pieces(repository.store, found.manifest))


def tensors(content: bytes) -> dict[str, list]:
    file = BytesFile(content)
    layout, warning = read_layout(file)
    assert warning is None
    return {
        span.spec.name: numpy.frombuffer(file.read_at(span.offset, span.spec.nbytes), "<f4").tolist()
        for span in layout.tensors
        if not span.part
    }


@pytest.mark.parametrize("write", [as_safetensors, npz, as_torch])
def test_one_sided_tensors_and_elements_are_taken_and_agreed_signs_averaged(repository, write):
    report, content = merged(repository, *map(write, (BASE, OURS, THEIRS)))
    found = tensors(content)
    assert found["a"] == OURS["a"].ravel().tolist()
    assert found["b"] == THEIRS["b"].tolist()
    assert found["c"] == [1, 3, 3, -1]
    assert not report.conflicts
    assert {one.name: one.state for one in report.plan.tensors} == {"a": "one-sided", "b": "one-sided", "c": "merged"}


def test_a_merged_archive_has_the_checksums_of_its_members(repository):
    _, content = merged(repository, *map(as_torch, (BASE, OURS, THEIRS)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("write", [as_safetensors, npz, as_torch])
def test_opposite_moves_stop_with_ours_in_place_and_a_choice_goes_on(repository, write):
    theirs = {**BASE, "c": -OURS["c"]}
    report, content = merged(repository, *map(write, (BASE, OURS, theirs)))
    assert report.conflicts["c"].kind == "opposed"
    assert tensors(content)["c"] == OURS["c"].ravel().tolist()
    report, content = merged(
        repository, *map(write, (BASE, OURS, theirs)), rules=Rules(resolutions={"c": Choice("theirs")})
    )
    assert not report.conflicts
    assert tensors(content)["c"] == theirs["c"].ravel().tolist()


def test_what_one_side_brings_that_is_not_finite_is_no_average(repository):
    broken = {**BASE, "c": BASE["c"] + numpy.array([[numpy.nan, 1], [1, 1]], "<f4")}
    report, content = merged(repository, *map(as_safetensors, (BASE, OURS, broken)))
    assert report.conflicts["c"].kind == "not-finite"
    assert report.conflicts["c"].reason == "1 element would not be finite"
    assert tensors(content)["c"] == OURS["c"].ravel().tolist()


def test_the_file_is_of_the_side_whose_structure_the_result_has(repository):
    longer = {**THEIRS, "d": numpy.full(3, 9, "<f4")}
    for write in (as_safetensors, npz, as_torch):
        report, content = merged(repository, *map(write, (BASE, OURS, longer)))
        assert not report.conflicts
        assert tensors(content)["d"] == [9, 9, 9]
        assert tensors(content)["a"] == OURS["a"].ravel().tolist()


def test_a_file_with_what_both_added_is_written_anew_where_it_is_nothing_but_tensors(repository):
    ours, theirs = {**OURS, "o": numpy.ones(2, "<f4")}, {**THEIRS, "t": numpy.ones(3, "<f4")}
    for write in (as_safetensors, npz):
        _, content = merged(repository, *map(write, (BASE, ours, theirs)))
        assert set(tensors(content)) == {"a", "b", "c", "o", "t"}
    with pytest.raises(ConflictError) as caught:
        merged(repository, *map(as_torch, (BASE, ours, theirs)))
    assert caught.value.kind == "merge-conflict"


def test_the_header_that_one_side_changed_is_taken(repository):
    base, ours = as_safetensors(BASE, {"note": "old"}), as_safetensors(OURS, {"note": "old"})
    theirs = as_safetensors(THEIRS, {"note": "new"})
    _, content = merged(repository, base, ours, theirs)
    assert b'"note":"new"' in content


def test_nothing_changed_is_the_same_file(repository):
    for write in (as_safetensors, npz, as_torch):
        base, ours = write(BASE), write(OURS)
        assert merged(repository, base, ours, base)[1] == ours
        assert merged(repository, base, base, ours)[1] == ours


def test_looking_stores_nothing_and_says_the_same(repository):
    models = [model_of(repository, as_safetensors(one)) for one in (BASE, OURS, THEIRS)]
    packs = sorted(path.name for path in repository.store.packs.iterdir())
    looked = examine(repository, models[0], models[1:], Rules())
    assert sorted(path.name for path in repository.store.packs.iterdir()) == packs
    assert looked.manifest is None
    assert looked.outcomes == merge_in_store(repository, models[0], models[1:], Rules()).outcomes


def test_embeddings_that_grew_on_both_sides_are_written_with_the_rows_of_both(repository):
    table = numpy.arange(40, dtype="<f4").reshape(10, 4)
    rows = {name: numpy.full((1, 4), number, "<f4") for number, name in enumerate("abc", 100)}
    ours = {"emb": numpy.concatenate([table, rows["a"], rows["b"]])}
    theirs = {"emb": numpy.concatenate([table, rows["b"], rows["c"]])}
    files = [as_safetensors(arrays) for arrays in ({"emb": table}, ours, theirs)]
    _, content = merged(repository, *files)
    assert tensors(content)["emb"] == [*range(40), *[100] * 4, *[101] * 8, *[102] * 4]
    known = tuple("0123456789")
    names = {-1: known, 0: (*known, "a", "b"), 1: (*known, "b", "c")}
    report, content = merged(repository, *files, vocabularies=names)
    assert tensors(content)["emb"] == [*range(40), *[100] * 4, *[101] * 4, *[102] * 4]
    assert report.plan.tokens == (*known, "a", "b", "c")


def test_one_large_element_alone_makes_no_conflict(repository):
    draw = numpy.random.default_rng(1)
    base = {"a": numpy.concatenate([[1000.0], draw.standard_normal(400)]).astype("<f4")}
    sides = [{"a": base["a"] * (1 + 1e-3 * draw.standard_normal(401).astype("<f4"))} for _ in range(2)]
    sides[0]["a"][0], sides[1]["a"][0] = 1001, 999
    report, _ = merged(repository, *map(as_safetensors, (base, *sides)))
    found = report.outcomes["a"].score
    assert found is not None
    assert found.cosine < -0.9
    assert not report.conflicts


def apart(arrays: dict[str, numpy.ndarray]) -> bytes:
    """Return an archive in which no tensor lies as it is read: by columns, or with its bytes the other way round."""
    turned = {name: numpy.asfortranarray(array) if array.ndim > 1 else array for name, array in arrays.items()}
    return npz({name: array if array.ndim > 1 else array.astype(">f4") for name, array in turned.items()})


@pytest.mark.parametrize("scale", [1, 300])
def test_tensors_that_lie_apart_in_the_file_are_merged_like_others(repository, scale):
    base = {name: numpy.tile(array, (scale,) * array.ndim) for name, array in BASE.items()}
    ours, theirs = ({**base, "a": base["a"].copy(), "c": base["c"].copy()} for _ in range(2))
    ours["a"][0, 1] = 50
    ours["c"][-1, -1] = 7
    theirs["a"][1, 0] = 60
    theirs["b"] = base["b"] * 2
    report, content = merged(repository, apart(base), apart(ours), apart(theirs))
    assert not report.conflicts
    wanted = {"a": ours["a"].copy(), "b": theirs["b"], "c": ours["c"]}
    wanted["a"][1, 0] = 60
    with numpy.load(io.BytesIO(content)) as found:  # which holds the members against their checksums
        assert all(numpy.array_equal(found[name], array) for name, array in wanted.items())


def test_tensors_that_share_bytes_are_not_merged_to_different_ones(repository):
    whole = {"part": tensor("0", (4, 8), numel=64), "whole": tensor("0", (8, 8), numel=64)}
    values = numpy.arange(64, dtype="<f4")
    contents = [archive(mapping(whole), {"0": (values * n).tobytes()}) for n in (1, 2, 4)]
    _, content = merged(repository, *contents)
    assert numpy.array_equal(numpy.frombuffer(values_of(TorchZipFormat(), content)["whole"][2], "<f4"), values * 3)
    with pytest.raises(ConflictError, match="shares its bytes") as caught:
        merged(repository, *contents, rules=Rules(choices=(("part", Choice("theirs")),)))
    assert caught.value.kind == "merge-conflict"


@pytest.mark.parametrize("write", [as_safetensors, npz, as_torch])
def test_squared_gradients_of_an_optimizer_in_the_file_are_found(repository, write):
    def checkpoint(weight: float, square: float) -> bytes:
        kept = {"model.w": weight, "optimizer.state.0.exp_avg_sq": square}
        return write({name: numpy.full((2, 3), value, "<f4") for name, value in kept.items()})

    sides = checkpoint(0, 1), checkpoint(4, 3), checkpoint(8, 9)
    report, content = merged(repository, *sides, rules=Rules(Choice("fisher")))
    assert not report.conflicts
    assert tensors(content) == {"model.w": [7] * 6, "optimizer.state.0.exp_avg_sq": [6] * 6}
    models = [model_of(repository, side) for side in sides]
    assert not examine(repository, models[0], models[1:], Rules(Choice("fisher"))).conflicts


@pytest.mark.parametrize("name", ["layouts", "layouts-latest", "user-block"])
def test_tensors_in_chunks_of_an_hdf5_file_are_merged(repository, name):
    base = (GOLDEN / "hdf5" / f"{name}.h5").read_bytes()
    views = [view for view in read_layout(BytesFile(base))[0].views if view.spec.nbytes]
    sides = [bytearray(base), bytearray(base), bytearray(base)]
    for number, view in enumerate(views):
        at = view.boxes[-1].offset
        for side in (number % 2, 2):  # one of the two, and what is to come of them
            sides[side][at] ^= 1
    report, content = merged(repository, base, *map(bytes, sides[:2]))
    assert len(views) > 1
    assert not report.conflicts
    assert content == bytes(sides[2])


def test_what_several_sides_say_beside_the_tensors_is_merged_key_by_key(repository):
    base = as_safetensors(BASE, {"epoch": "1", "by": "ada", "old": "x"})
    ours = as_safetensors(OURS, {"epoch": "2", "by": "ada", "old": "x", "ours": "y"})
    theirs = as_safetensors(THEIRS, {"epoch": "9", "by": "bo"})
    report, content = merged(repository, base, ours, theirs)
    assert SafetensorsFormat().metadata(BytesFile(content)) == {"epoch": "2", "by": "bo", "ours": "y"}
    assert [one for one in report.plan.warnings if "'epoch'" in one]
    assert tensors(content)["b"] == THEIRS["b"].tolist()
