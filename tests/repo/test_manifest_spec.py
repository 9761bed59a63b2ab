"""docs/spec/manifest.md, read as tests: its tables, its comments and its example against the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest

from lamella.core import limits
from lamella.core.dtypes import DTYPES
from lamella.core.ids import digest
from lamella.core.tensors import TensorSpec
from lamella.formats.file import BytesFile
from lamella.formats.safetensors.header import build_header
from lamella.repo.checkin import identify_file
from lamella.repo.manifest import FIRST_LINE, HINT_LINES, describe, parse_manifest, write_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "manifest.md").read_text(encoding="utf-8")


def table(*columns: str) -> list[list[str]]:
    """Return the rows of the one table of the page that has these columns, less the marks of code."""
    lines = PAGE.splitlines()
    first = lines.index(f"| {' | '.join(columns)} |") + 2
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().removeprefix("`").removesuffix("`") for cell in line[1:-1].split("|")])
    return rows


@pytest.mark.parametrize("row", table("name", "written"), ids=lambda row: row[0])
def test_names_are_written_as_the_page_says(row):
    name = "" if row[0] == "the empty name" else row[0]
    assert describe(TensorSpec(name, DTYPES["u8"], ())) == f"{row[1]} u8 []"


def test_the_page_lists_every_dtype_in_order():
    assert [(name, int(bits)) for name, bits, _ in table("dtype", "bits", "meaning")] == [
        (dtype.name, dtype.bits) for dtype in DTYPES.values() if dtype.block_elements == 1
    ]
    assert [tuple(row) for row in table("dtype", "elements a block", "bytes a block")] == [
        (dtype.name, str(dtype.block_elements), str(dtype.bits // 8))
        for dtype in DTYPES.values()
        if dtype.block_elements > 1
    ]


def test_the_comments_are_those_of_the_page():
    assert "".join(f"   {line}\n" for line in HINT_LINES) in PAGE
    assert f'%s"{FIRST_LINE}"' in PAGE


def test_the_limits_are_those_of_the_page():
    rule = PAGE[PAGE.index("10. A reader") : PAGE.index("## Names")]
    stated = [int(number) for number in re.findall(r"\b(\d+) (?:bytes a manifest|tensors|characters|dimensions)", rule)]
    assert stated == [
        limits.MAX_MANIFEST_NBYTES,
        limits.MAX_TENSORS,
        limits.MAX_MANIFEST_LINE_NBYTES,
        limits.MAX_DIMENSIONS,
    ]
    assert "2^62 bytes a tensor" in rule
    assert limits.MAX_TENSOR_NBYTES == 2**62


def test_the_example_is_what_the_file_becomes():
    specs = [TensorSpec("b", DTYPES["f32"], (2,)), TensorSpec("a b", DTYPES["bf16"], ())]
    data = build_header(specs, {"note": "x"}) + bytes.fromhex("0000803f 00000040 803f")
    manifest = identify_file(BytesFile(data), threads=1)
    text = write_manifest(manifest).decode()
    example = PAGE[PAGE.index("## Example") :]
    assert f"```text\n{text}```" in example
    assert parse_manifest(text.encode()) == manifest
    assert f"Its model id is `{manifest.model_id()}`." in example


def test_the_example_of_parts_and_views_is_what_it_says():
    section = PAGE[PAGE.index("## Parts and views") : PAGE.index("## The opaque format")]
    lines = section[section.index("```text\n") + len("```text\n") :].partition("```")[0]
    manifest = parse_manifest(f"{FIRST_LINE}\nformat x\n{lines}".encode())
    array = numpy.arange(6, dtype="<f4").reshape(2, 3)
    held = {"w": array.tobytes(), "head": array.tobytes(), "w.T": array.T.tobytes(), "bytes": bytes(100_000)}
    rows = (*manifest.rows, *manifest.views)
    assert [row.spec.name for row in rows if row.part] == ["bytes"]
    assert [row.spec.name for row in manifest.views] == ["head", "w.T"]
    assert {row.spec.name: row.object for row in rows} == {name: digest(data) for name, data in held.items()}
    assert {row.spec.name: row.spec.nbytes for row in rows} == {name: len(data) for name, data in held.items()}
