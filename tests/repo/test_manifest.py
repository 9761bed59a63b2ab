"""The manifest: one text for one value, nothing but FormatError for anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.errors import ConflictError, FormatError
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_DIMENSIONS
from lamella.core.tensors import TensorSpec
from lamella.repo.manifest import (
    FIRST_LINE,
    HINT_LINES,
    PREFIX,
    Manifest,
    Row,
    is_manifest,
    mentioned_objects,
    parse_for_git,
    parse_manifest,
    write_manifest,
)

HOSTILE_NAMES = (
    *("", " ", "two words", " leading", "trailing ", "\n", "a\nb", "\r\n", "\t", "\0", "\x7f", "\x1b[31m"),
    *('"', '""', '"quoted"', "\\", "a\\nb", "#", "#comment", "skeleton", "format", "format x", "lamella manifest 1"),
    *("größe", "層.重み", "\U0001f9e0", "\ud800", "\udfff", "\u2028", "\ufeff", "<<<<<<< HEAD", "=======", ">>>>>>> x"),
    *("name f32 [1]", "    ", "-", "--", "../../etc/passwd", "x" * 9000),
)

names = st.sampled_from(HOSTILE_NAMES) | st.text(st.characters(exclude_categories=[]), max_size=12).filter(
    # A high surrogate before a low one is, in JSON, the character that they stand for.
    lambda text: text == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
objects = st.binary(min_size=32, max_size=32).map(ObjectId)
shapes = st.lists(st.integers(0, 70_000), max_size=3).map(tuple) | st.just((0,) * MAX_DIMENSIONS)
specs = st.builds(TensorSpec, names, st.sampled_from(list(DTYPES.values())), shapes)
rows = st.lists(st.builds(Row, specs, objects), max_size=8, unique_by=lambda row: row.spec.name).map(tuple)
parts = st.lists(st.builds(Row, specs, objects, st.just(True)), max_size=4)


@st.composite
def drawn_manifests(draw):
    """Draw a manifest that has everything: parts between the tensors, under any names, and views behind them."""
    tensors = draw(rows)
    kept = [*tensors[: draw(st.integers(0, 8))], *draw(parts)]
    views = tuple(row for row in tensors if row not in kept)
    container = draw(st.sampled_from(["safetensors", "x", "a-b-9"]))
    return Manifest(container, draw(st.none() | objects), tuple(draw(st.permutations(kept))), views)


manifests = drawn_manifests()

U8 = DTYPES["u8"]
SMALL = Manifest(
    "safetensors",
    ObjectId(bytes(32)),
    (
        Row(TensorSpec("a", DTYPES["f32"], (2, 3)), ObjectId(b"\1" * 32)),
        Row(TensorSpec("b c", U8, ()), ObjectId(b"\2" * 32)),
    ),
)
TEXT = write_manifest(SMALL)


@given(manifests)
def test_what_was_written_is_read_again(manifest):
    assert parse_manifest(write_manifest(manifest)) == manifest


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name[:20]))
def test_any_name_stands_on_one_line_and_comes_back(name):
    manifest = Manifest("x", None, (Row(TensorSpec(name, U8, (1,)), ObjectId(bytes(32))),))
    text = write_manifest(manifest)
    assert text.count(b"\n") == len(HINT_LINES) + 4
    assert text.isascii()
    assert parse_manifest(text) == manifest


@given(manifests)
def test_a_text_has_one_value_and_a_value_one_text(manifest):
    text = write_manifest(manifest)
    assert write_manifest(parse_manifest(text)) == text


def test_opaque_rows_may_share_a_name():
    row = Row(TensorSpec("bytes", U8, (9,)), ObjectId(bytes(32)))
    manifest = Manifest("opaque", None, (row, row))
    assert parse_manifest(write_manifest(manifest)) == manifest
    with pytest.raises(FormatError, match="a tensor of that name stands above"):
        parse_manifest(write_manifest(Manifest("x", None, (row, row))))


def test_every_truncation_is_refused():
    whole = [len(write_manifest(Manifest("safetensors", SMALL.skeleton, SMALL.rows[:count]))) for count in range(3)]
    whole.append(len(write_manifest(Manifest("safetensors", None, ()))))
    for length in range(len(TEXT)):
        if length not in whole:
            with pytest.raises(FormatError):
                parse_manifest(TEXT[:length])


def test_every_replaced_byte_is_refused_or_is_another_manifest_with_that_very_text():
    for at in range(len(TEXT)):
        for byte in b'\0\n "#0aZ[\xff':
            changed = TEXT[:at] + bytes((byte,)) + TEXT[at + 1 :]
            try:
                read = parse_manifest(changed)
            except FormatError:
                continue
            assert without_comments(write_manifest(read)) == without_comments(changed)


@given(st.binary(max_size=60), st.integers(0, len(TEXT)), st.integers(0, 60))
@example(b"\xed\xa0\x80", 200, 0)
@example(b"    " * 15, 0, 0)
def test_any_other_text_is_refused_and_nothing_else_happens(data, at, dropped):
    changed = TEXT[:at] + data + TEXT[at + dropped :]
    try:
        read = parse_manifest(changed)
    except FormatError as error:
        assert error.kind in ("manifest-malformed", "manifest-version", "dtype-unknown")
    else:
        assert without_comments(write_manifest(read)) == without_comments(changed)


def test_a_dtype_of_a_later_version_is_told_from_a_malformed_line():
    for name in ("a", "a" * 300):
        with pytest.raises(FormatError) as caught:
            parse_manifest(f"{FIRST_LINE}\nformat npy\n{name} f1024 [2]\n    {'0' * 64}\n".encode())
        assert caught.value.kind == "dtype-unknown"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(FormatError):
        parse_manifest(PREFIX + data)


def without_comments(text: bytes) -> bytes:
    return b"\n".join(line for line in text.split(b"\n") if not line.startswith(b"#"))


@pytest.mark.parametrize(
    "line",
    [
        'plain f32 [1]"',
        '"a" f32 [1]',
        '"\\u0061 b" f32 [1]',
        '"a b f32 [1]',
        '"\\ud83d\\uDE00" f32 [1]',
        "a  f32 [1]",
        " a f32 [1]",
        "a f32 [1] ",
        "a f33 [1]",
        "a F32 [1]",
        "a f32 [01]",
        "a f32 [1,]",
        "a f32 [1, 2]",
        "a f32 [-1]",
        "a f32 [1e3]",
        "a f32 [٣]",
        "a f32 1",
        "a f32 []]",
        "a f32 [99999999999999999999]",
        "a f32 [4611686018427387904,2]",
        f"a f32 [{','.join('1' * (MAX_DIMENSIONS + 1))}]",
        f"{'a' * 70_000} f32 [1]",
        "größe f32 [1]",
        "\u00a0 f32 [1]",
        "a f32 [1]\r",
    ],
    ids=lambda line: line[:30],
)
def test_a_line_in_another_form_is_refused(line):
    head = write_manifest(Manifest("x", None, ()))
    text = head + line.encode() + b"\n" + b"    " + b"0" * 64 + b"\n"
    with pytest.raises(FormatError):
        parse_manifest(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"    01", b"   01"),
        (b"    01", b"     01"),
        (b"    01", b"\t01"),
        (b"\n", b"\r\n"),
        (b"    0101", b"    0G01"),
        (b"    0202", b"    AAAA"),
        (b"format safetensors", b"format Safetensors"),
        (b"format safetensors", b"format "),
        (b"format safetensors\n", b""),
        (b"skeleton\n", b"skeleton \n"),
        (b"skeleton\n", b"skeleton\n# comment\n"),
        (b"format", b"\n# late\nformat"),
        (b"lamella manifest 1", b"lamella manifest 01"),
        (b"lamella manifest 1", b"lamella manifest 0"),
        (b"lamella manifest 1", b"lamella manifest 1 "),
        (b"lamella manifest 1", b"lamella manifest x"),
    ],
    ids=repr,
)
def test_a_change_of_the_frame_is_refused(old, new):
    assert TEXT.count(old) >= 1
    with pytest.raises(FormatError) as caught:
        parse_manifest(TEXT.replace(old, new, 1))
    assert caught.value.kind == "manifest-malformed"


def test_comments_may_say_anything():
    lines = TEXT.split(b"\n")
    for comments in ([], [b"#"], [b"# some\ttext", b"#\xc3\xa9"]):
        assert parse_manifest(b"\n".join([lines[0], *comments, *lines[3:]])) == SMALL


def test_a_newer_version_is_refused_with_a_hint_to_upgrade():
    with pytest.raises(FormatError) as caught:
        parse_manifest(TEXT.replace(b"manifest 1", b"manifest 2", 1))
    assert (caught.value.kind, caught.value.hint) == ("manifest-version", "upgrade lamella")
    assert caught.value.message == "manifest has version 2, this program reads version 1"


def test_a_manifest_with_conflict_markers_is_a_conflict_and_says_so():
    lines = TEXT.split(b"\n")
    marked = b"\n".join([*lines[:7], b"<<<<<<< HEAD", lines[7], b"=======", lines[7], b">>>>>>> other", *lines[8:]])
    with pytest.raises(ConflictError) as caught:
        parse_for_git("a.safetensors", marked)
    assert caught.value.message == "a.safetensors still has the conflict markers of a merge"
    assert caught.value.kind == "manifest-conflict"


def test_a_manifest_that_was_edited_is_refused_by_name():
    with pytest.raises(FormatError, match=r"^a\.safetensors: line 5 of the manifest is malformed"):
        parse_for_git("a.safetensors", TEXT.replace(b"skeleton\n", b"skeletons\n"))
    with pytest.raises(FormatError, match=r"^a\.safetensors: manifest has version 7"):
        parse_for_git("a.safetensors", TEXT.replace(b"manifest 1", b"manifest 7", 1))


@given(manifests)
def test_every_object_of_a_manifest_is_mentioned_in_its_text(manifest):
    assert mentioned_objects(write_manifest(manifest)) >= set(manifest.objects())


def test_a_manifest_is_told_by_its_first_bytes():
    assert is_manifest(TEXT)
    assert is_manifest(b"lamella manifest 99\n")
    assert not is_manifest(b"lamella manifestation\n")
    assert not is_manifest(b"")


@given(manifests, st.randoms(use_true_random=False), st.sampled_from(["other", "pt"]))
def test_the_model_id_knows_the_weights_and_not_the_container(manifest, random, container):
    assume(manifest.tensors and "opaque" not in (manifest.format, container))
    shuffled = list(manifest.tensors)
    random.shuffle(shuffled)
    assert Manifest(container, None, tuple(shuffled)).model_id() == manifest.model_id()


PART = Row(TensorSpec("a", U8, (3,)), ObjectId(b"\3" * 32), part=True)
MARKED = Manifest("x", SMALL.skeleton, (PART, *SMALL.rows[:1], PART), SMALL.rows[1:])
MARKED_TEXT = write_manifest(MARKED)


def test_parts_and_views_are_marked_behind_the_shape():
    assert parse_manifest(MARKED_TEXT) == MARKED
    lines = MARKED_TEXT.decode().splitlines()
    assert [line for line in lines if line.endswith(("]", " part", " view"))] == [
        "a u8 [3] part", "a f32 [2,3]", "a u8 [3] part", '"b c" u8 [] view'
    ]  # fmt: skip
    assert [row.spec.name for row in MARKED.tensors] == ["a", "b c"]
    assert set(MARKED.objects()) == {SMALL.skeleton, PART.object, SMALL.rows[0].object}
    assert MARKED.nbytes == 3 + 24 + 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[3] part", b"[3]  part"),
        (b"[3] part", b"[3] part "),
        (b"[3] part", b"[3] Part"),
        (b"[3] part", b"[3] part part"),
        (b"[3] part", b"[3] view part"),
        (b"[3] part", b"part [3]"),
        (b"[3] part", b"[3] parts"),
        (b"[3] part", b"[3] view"),  # a tensor would stand behind a view
        (b'"b c" u8 [] view', b"a u8 [] view"),
        (b"format x", b"format opaque"),
    ],
    ids=repr,
)
def test_a_mark_in_another_form_or_place_is_refused(old, new):
    assert old in MARKED_TEXT
    with pytest.raises(FormatError) as caught:
        parse_manifest(MARKED_TEXT.replace(old, new, 1))
    assert caught.value.kind == "manifest-malformed"


def test_the_name_of_a_tensor_is_no_mark():
    named = tuple(Row(TensorSpec(name, U8, (1,)), ObjectId(bytes(32))) for name in ("part", "view", "x part", " view"))
    manifest = Manifest("x", None, named[:2], named[2:])
    assert parse_manifest(write_manifest(manifest)) == manifest


@given(manifests)
def test_parts_do_not_enter_the_model_id(manifest):
    bare = Manifest("other", None, tuple(row for row in manifest.rows if not row.part), manifest.views)
    assume(bare.tensors and manifest.format != "opaque")
    assert bare.model_id() == manifest.model_id()


def test_files_without_tensors_and_files_that_nobody_knows_have_ids_of_their_own():
    part, other = (Row(TensorSpec("bytes", U8, (1,)), ObjectId(bytes([n]) * 32)) for n in (1, 2))
    files = [
        Manifest("opaque", None, (part, other)),
        Manifest("opaque", None, (other, part)),
        Manifest("csv", part.object, ()),
        Manifest("csv", other.object, ()),
        Manifest("csv", None, (Row(part.spec, part.object, part=True),)),
    ]
    assert len({one.model_id() for one in files}) == len(files)


def test_a_seal_goes_with_all_else_that_a_manifest_says():
    sealed = SMALL.sealed()
    assert parse_manifest(write_manifest(sealed)) == sealed
    assert sealed.sealed() == sealed
    assert sealed.model_id() == SMALL.model_id()
    row = replace(sealed.rows[0], object=ObjectId(b"\7" * 32))
    for other in (
        replace(sealed, rows=(row, *sealed.rows[1:])),
        replace(sealed, skeleton=ObjectId(b"\7" * 32)),
        replace(sealed, format="other"),
        replace(sealed, views=sealed.rows[:1]),
    ):
        assert other.sealed() != other


def test_the_model_id_changes_with_name_dtype_shape_and_bytes():
    def identity(name: str = "a", dtype: str = "f32", shape: tuple[int, ...] = (2,), content: bytes = bytes(32)) -> str:
        return Manifest("x", None, (Row(TensorSpec(name, DTYPES[dtype], shape), ObjectId(content)),)).model_id()

    others = [identity("b"), identity(dtype="i32"), identity(shape=(2, 1)), identity(content=b"\1" * 32)]
    assert len({identity(), *others}) == 5
