"""docs/spec/pack.md, read as tests: its byte tables against the structs, its numbers against the limits."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from lamella.codec.casts import CASTS, cast_code
from lamella.core import limits
from lamella.core.config import DAY_SECONDS, DEFAULT
from lamella.core.errors import KINDS, IntegrityError
from lamella.core.fsio import TEMPORARY_PREFIX
from lamella.store import gc, grace, objects, pack, recipe, record, relatives, rollup, scan, sketch

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "pack.md"
TEXT = SPEC.read_text(encoding="utf-8")
COLUMNS = ("offset", "bytes", "format", "value")


def tables() -> dict[str, list[list[str]]]:
    """Return the byte tables of the page: by heading, or by what their first column is called."""
    found: dict[str, list[list[str]]] = {}
    heading, rows = "", None
    for line in TEXT.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line[1:-1].split("|")] if line.startswith("|") else []
        if tuple(cells[1:]) == COLUMNS:
            rows = found.setdefault(heading if cells[0] == "field" else cells[0], [])
        elif not cells:
            rows = None
        elif rows is not None and not cells[0].startswith("-"):
            rows.append(cells)
    return found


STRUCTS = {
    "Header": pack.HEADER.format,
    "Record: the head": record.FIXED.format,
    "field of a row": record.ROW.format,
    "field of a recipe": recipe.FIXED.format,
    "field of a source": recipe.INGREDIENT.format,
    "field of a block": recipe.BLOCK.format,
    "field of a piece": recipe.PIECE.format,
    "field at the end": f"<{record.HEAD_CHECK_NBYTES}s",
    "Directory": pack.ENTRY.format,
    "Footer": pack.FOOTER.format,
}


def test_the_page_has_a_table_of_every_struct():
    assert tables().keys() == STRUCTS.keys()


@pytest.mark.parametrize("name", STRUCTS)
def test_a_table_says_what_its_struct_does(name):
    rows = tables()[name]
    offset = 0
    for _, at, nbytes, code, _ in rows:
        assert int(at) == offset
        assert int(nbytes) == struct.calcsize(f"<{code}")
        offset += int(nbytes)
    # A count before s or x is a length; before any other letter it repeats the field.
    codes = [
        code
        for count, letter in re.findall(r"(\d*)([a-zA-Z])", STRUCTS[name])
        for code in ([count + letter] if letter in "sx" else [letter] * int(count or 1))
    ]
    assert [row[3] for row in rows] == codes
    assert offset == struct.calcsize(STRUCTS[name])
    assert STRUCTS[name].startswith("<")


def test_fields_have_the_names_that_the_code_gives_them():
    def names(table: str) -> list[str]:
        return [row[0] for row in tables()[table]]

    assert set(names("field of a row")) - {"padding"} == set(record.ChunkRow._fields) - {"offset"}
    assert set(names("Directory")) - {"padding"} == set(pack.Entry._fields)
    head = set(record.Head.__dataclass_fields__) - {"rows"}
    assert set(names("Record: the head")) - {"magic", "head_nbytes", "chunks"} == head - {"sketch"}
    assert set(names("field of a piece")) == set(recipe.Piece._fields)


@pytest.mark.parametrize(
    ("table", "magic"), [("Header", pack.MAGIC), ("Record: the head", record.MAGIC), ("Footer", pack.END_MAGIC)]
)
def test_magics_are_those_of_the_page(table, magic):
    (value,) = (row[4] for row in tables()[table] if row[0] == "magic")
    letters = re.search("`(.*)`", value)
    assert letters is not None
    written = (b"\x93" if "93" in value else b"") + letters[1].encode() + b"\n" + (b"\0" if "zero" in value else b"")
    assert written == magic


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        (r"120 \+ 16 \* chunks", (record.MIN_HEAD_NBYTES, record.ROW.size)),
        (r"else from 1 to (\d+)", limits.MAX_READ_DEPTH),
        (r"from 0 to (\d+); writers", limits.MAX_CHUNK_SHIFT),
        (r"writers MUST use (\d+)", limits.CHUNK_SHIFT),
        (r"at most 2\^(\d+)", limits.MAX_TENSOR_NBYTES.bit_length() - 1),
        (r"MUST NOT be longer than (\d+) MiB", limits.MAX_HEAD_NBYTES // limits.MIB),
        (r"MUST NOT have more than ([\d,]+) entries", limits.MAX_PACK_OBJECTS),
        (r"MUST NOT write more than (\d+) deltas", limits.MAX_WRITTEN_DEPTH),
        (r"readers MUST read a depth up to (\d+)", limits.MAX_READ_DEPTH),
        (r"no chain has more than (\d+) objects", limits.MAX_READ_DEPTH + 1),
        (r"at most (\d+); 0 where every", limits.MAX_PIECES),
        (r"of a row, from 1 to (\d+); of all", limits.MAX_ROW_PIECES),
        (r"an object of more than (\d+) GiB", limits.MAX_DERIVED_NBYTES / limits.MIB / 1024),
        (r"to more than (\d+) MiB: a transposition", limits.MAX_TRANSPOSED_NBYTES / limits.MIB),
        (r"to more than (\d+) times the object", limits.MAX_SPAN_FACTOR),
        (r"\*grace period\* \((\d+) days\)", DEFAULT.grace_seconds / DAY_SECONDS),
        (r"From (\d+) packs below", DEFAULT.roll_up_packs),
        (r"packs below (\d+) MiB on", rollup.SMALL_NBYTES / limits.MIB),
        (r"not more than (\d+) MiB at once", rollup.MERGED_NBYTES / limits.MIB),
        (r"at most 1/(\d+) of it", 1 / grace.SMALL_PART),
        (r"is below (\d+) or above", record.MIN_HEAD_NBYTES),
        (r"at least (\d+) KiB for each search", scan.PAGE_NBYTES / limits.KIB),
        (r"eight times the pack and (\d+) MiB", scan.ALLOWANCE_NBYTES / limits.MIB),
        (r"of which (\d+) % or more is dead", gc.DEAD_SHARE * 100),
        (r"parameters, and (\d+) with a sketch", sketch.SKETCH.size),
        (r"(\d+) numbers of 16 bits", sketch.PLACES),
        (r"object of (\d+) KiB or more that consists", sketch.MIN_SKETCHED_NBYTES / limits.KIB),
        (r"if at least (\d+) of its numbers", sketch.LEAST_SHARED),
        (r"was named that shares (\d+) numbers", sketch.CLOSE_SHARED),
        (r"At most (\d+) objects that share", relatives.MOST_FOUND),
        (r"share the most, and at least (\d+) numbers", sketch.LEAST_SHARED),
    ],
)
def test_numbers_are_those_of_the_code(sentence, number):
    flat = " ".join(TEXT.split())
    match = re.search(sentence, flat)
    assert match is not None
    if isinstance(number, tuple):
        assert number == (120, 16)
    else:
        assert float(match[1].replace(",", "")) == number


def test_the_scan_passes_as_often_as_the_page_says():
    assert scan.MAX_PASSES == 8
    assert "eight times the pack" in TEXT


def test_the_kinds_of_damage_are_kinds_of_integrity():
    paragraph = TEXT[TEXT.index("A fault is told as IntegrityError") :].split("\n\n")[0]
    kinds = re.findall(r"`([a-z-]+)`", paragraph)
    assert len(kinds) == 7
    assert all(KINDS[kind] is IntegrityError for kind in kinds)


def test_the_paths_of_a_store_are_those_of_the_page(tmp_path):
    with objects.ObjectStore(tmp_path / "store", create=True) as store, store.lock(exclusive=True):
        assert sorted(path.name for path in store.directory.iterdir()) == [
            "index.db",
            "index.db-journal",
            "lock",
            "packs",
            "tmp",
        ]
        for path in (store.packs, store.temporary, store.quarantine):
            assert f"`{path.name}/" in TEXT
    assert f"`packs/{TEMPORARY_PREFIX}*`" in TEXT


def test_the_page_lists_every_cast():
    listed = re.findall(r"^\| (\d+) \| (\w+) \| (\w+) \|$", TEXT, re.M)
    assert [(int(code), cast_code(source, target)) for code, source, target in listed] == [
        (code, code) for code in CASTS
    ]
    assert re.search(rf"^\| {recipe.FILL} \| no source \|", TEXT, re.M)
    assert re.search(rf"^\| {recipe.COPY} \| any \| the same \|", TEXT, re.M)
