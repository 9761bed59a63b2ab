"""Two versions of data are compared by files, rows, columns and labels, at revisions and on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lamella.core.errors import NotFoundError
from lamella.model.data_difference import LabelCount
from lamella.ops.data_diff import DataComparison, compare_data
from lamella.repo.data_files import DiskDataFile, opened_data

HEAD = "id,text,label\n"
ROWS = [f'{number},"text, {number}",{"cat" if number % 3 else "dog"}\n' for number in range(30)]
GOLDEN = Path(__file__).parents[1] / "golden/formats/parquet/rows.parquet"


def table(rows, head: str = HEAD) -> bytes:
    return (head + "".join(rows)).encode()


def compare(directory: Path, before: str, after: str, **options) -> DataComparison:
    with opened_data(before, directory) as one, opened_data(after, directory) as other:
        return compare_data(one, other, **options)


def compared(directory: Path, before: bytes, after: bytes, **options) -> DataComparison:
    (directory / "before").write_bytes(before)
    (directory / "after").write_bytes(after)
    return compare(directory, "before", "after", **options)


def only(comparison: DataComparison):
    (change,) = comparison.files
    assert change.table is not None, change
    return change.table


def test_rows_are_counted_as_often_as_they_are(tmp_path):
    found = compared(tmp_path, table([*ROWS, ROWS[0], ROWS[0]]), table([*ROWS[5:], ROWS[0], "99,new,owl\n"]))
    difference = only(found)
    assert (difference.rows_before, difference.rows_after) == (32, 27)
    assert (difference.added, difference.removed, difference.kept) == (1, 6, 26)
    assert (found.unit, found.distance) == ("rows", 1 - 26 / 33)
    assert difference.label == "label"
    assert difference.labels == (LabelCount("cat", 20, 17), LabelCount("dog", 12, 9), LabelCount("owl", 0, 1))
    assert (difference.share, difference.at_least, difference.compared) == (1.0, False, None)


def test_rows_in_another_order_are_the_same_rows(tmp_path):
    found = compared(tmp_path, table(ROWS), table(reversed(ROWS)))
    difference = only(found)
    assert (difference.reordered, difference.kept, found.distance, difference.labels) == (True, 30, 0, ())


def test_other_quotes_separators_ends_and_marks_are_the_same_rows(tmp_path):
    other = "\ufeff" + (HEAD + "".join(ROWS)).replace('"', "'").replace(",", ";").replace("'", '"').replace(
        "\n", "\r\n"
    )
    other = other.replace('"text; ', '"text, ')
    difference = only(compared(tmp_path, table(ROWS), other.encode()))
    assert (difference.kept, difference.reordered, difference.added) == (30, False, 0)


def test_columns_that_come_and_go_are_told_and_rows_compared_in_the_others(tmp_path):
    after = [f'{row.split(",", 1)[0]}.5,{number},"text, {number}"\n' for number, row in enumerate(ROWS)]
    found = compared(tmp_path, table(ROWS), table(after, "id,weight,text\n"))
    difference = only(found)
    assert [(one.what, one.name, one.before, one.after) for one in difference.columns] == [
        ("removed", "label", "text", None), ("added", "weight", None, "integer"),
        ("retyped", "id", "integer", "number"),
    ]  # fmt: skip
    assert (difference.compared, difference.kept, found.distance) == (("id", "text"), 0, 1.0)
    same = only(compared(tmp_path, table(ROWS), table([row[:-1] + ",1\n" for row in ROWS], "id,text,label,x\n")))
    assert (same.kept, same.distance, same.reordered) == (30, 1.0, False)


def test_columns_in_another_order_are_the_same_rows(tmp_path):
    other = [f"{row.rsplit(',', 1)[1][:-1]},{row.rsplit(',', 1)[0]}\n" for row in ROWS]
    difference = only(compared(tmp_path, table(ROWS), table(other, "label,id,text\n")))
    assert (difference.columns_reordered, difference.kept, difference.distance) == (True, 30, 0)


def test_nothing_in_common_but_the_number_of_rows(tmp_path):
    difference = only(compared(tmp_path, b"a,b\n1,2\n3,4\n", b"c,d\n1,2\n3,4\n"))
    assert (difference.compared, difference.kept, difference.distance) == ((), 0, 1)


@pytest.mark.parametrize("empty", [b"", HEAD.encode()])
def test_a_table_that_was_empty_gains_all_its_rows(tmp_path, empty):
    difference = only(compared(tmp_path, empty, table(ROWS)))
    assert (difference.rows_before, difference.added, difference.removed, difference.distance) == (0, 30, 0, 1)
    assert only(compared(tmp_path, table(ROWS), empty)).removed == 30


def test_lines_of_json_are_compared_by_their_values(tmp_path):
    rows = [{"id": number, "target": number % 2, "tags": ["a", {"b": number}]} for number in range(10)]
    before = "".join(f"{json.dumps(row)}\n" for row in rows)
    after = "".join(f"{json.dumps(dict(reversed(row.items())), indent=None)}\r\n" for row in rows[2:])
    after += '{"id": "x", "target": 1, "new": 1.5}\n'
    difference = only(compared(tmp_path, before.encode(), after.encode()))
    assert (difference.added, difference.removed, difference.kept) == (1, 2, 8)
    assert [(one.what, one.name) for one in difference.columns] == [("added", "new"), ("retyped", "id")]
    assert (difference.label, difference.labels) == ("target", (LabelCount("0", 5, 4),))


def test_a_column_is_the_one_of_labels_where_it_is_named_and_not_with_thousands_of_values(tmp_path):
    rows = [f"{number},a,{number}\n" for number in range(2000)]
    before, after = table(rows, "id,text,label\n"), table(rows[1:], "id,text,label\n")
    assert only(compared(tmp_path, before, after)).label is None
    difference = only(compared(tmp_path, before, after, label="text"))
    assert (difference.label, difference.labels) == ("text", (LabelCount("a", 2000, 1999),))


def test_more_rows_than_are_held_are_estimated(tmp_path, monkeypatch):
    monkeypatch.setattr("lamella.ops.data_diff.MAX_ROWS_HELD", 500)
    before = [f"{number},x\n" for number in range(20_000)]
    difference = only(compared(tmp_path, table(before, "id,a\n"), table(before[5000:] + before[:0], "id,a\n")))
    assert difference.share <= 500 / 20_000 * 2
    assert (difference.rows_before, difference.rows_after) == (20_000, 15_000)
    assert 12_000 < difference.kept <= 15_000
    shuffled = only(compared(tmp_path, table(before, "id,a\n"), table(before[::-1], "id,a\n")))
    assert (shuffled.kept, shuffled.reordered) == (20_000, True)


def test_what_cannot_be_read_by_row_says_why(tmp_path):
    long = b'1,"' + b"x" * 200_000 + b'",cat\n'
    found = compared(tmp_path, table(ROWS * 3000), table(ROWS * 3000) + long)
    (change,) = found.files
    assert (change.table, found.distance, found.unit) == (None, 1.0, "files")
    assert change.unread == "line 90002 cannot be read: field larger than field limit (131072)"
    (change,) = compared(tmp_path, table(ROWS), table(ROWS * 9) + long).files
    assert change.unread == "its first records are not of one width, or not to be read"
    (change,) = compared(tmp_path, b"\x89PNG 1", b"\x89PNG 22").files
    assert (change.table, change.unread, change.nbytes_before, change.nbytes_after) == (None, "", 6, 7)


def test_groups_of_parquet_are_compared_by_their_bytes(tmp_path):
    content = bytearray(GOLDEN.read_bytes())
    content[content.index(b"then go")] ^= 1
    difference = only(compared(tmp_path, GOLDEN.read_bytes(), bytes(content)))
    assert (difference.rows_before, difference.rows_after, difference.kept) == (20, 20, 10)
    assert (difference.groups_before, difference.groups_after, difference.groups_kept) == (2, 2, 1)
    assert difference.at_least


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


FIRST = {"a/1.png": b"one", "a/2.png": b"two", "b/3.png": b"three", "b/4.png": b"four", "rows.csv": table(ROWS)}
SECOND = {"a/1.png": b"one", "c/2.png": b"two", "b/3.png": b"THREE", "b/5.png": b"five", "rows.csv": table(ROWS[1:])}
EXPECTED = [
    ("b/3.png", "changed", None), ("b/4.png", "removed", None), ("b/5.png", "added", None),
    ("c/2.png", "moved", "a/2.png"), ("rows.csv", "changed", None),
]  # fmt: skip


def commit(bench, files, *, tracked: bool):
    attributes = b"*.csv filter=lamella\n" if tracked else b"# nothing\n"
    bench.git("rm", "-rq", "--ignore-unmatch", "--cached", ".")
    for path in ("data/a", "data/b", "data/c"):
        for file in sorted((bench.root / path).glob("*")):
            file.unlink()
    bench.write(".gitattributes", attributes)
    write(bench.root / "data", files)
    bench.git("add", ".gitattributes", "data/a", "data/b", *(["data/c"] if "c/2.png" in files else []))
    bench.commit("data/rows.csv", files["rows.csv"])


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("sides", [("HEAD~1:data", "HEAD:data"), ("HEAD~1:data", "data"), ("old", "HEAD:data")])
def test_folders_are_compared_wherever_they_are(bench, tracked, sides):
    write(bench.root / "old", FIRST)
    commit(bench, FIRST, tracked=tracked)
    commit(bench, SECOND, tracked=tracked)
    found = compare(bench.root, *sides)
    assert [(one.path, one.what, one.earlier) for one in found.files] == EXPECTED
    assert (found.files_before, found.files_after, found.kept) == (5, 5, 1)
    assert (found.unit, found.distance) == ("files", 1 - 2 / 8)
    difference = found.files[-1].table
    assert difference is not None
    assert (difference.removed, difference.kept) == (1, 29)


def test_what_git_has_on_both_sides_is_not_read(bench, monkeypatch):
    commit(bench, FIRST, tracked=True)
    files = {**FIRST, "a/6.png": b"six"}
    commit(bench, files, tracked=True)
    monkeypatch.setattr("lamella.repo.data_files.CommittedDataFile.opened", None)
    found = compare(bench.root, "HEAD~1:data", "HEAD:data")
    assert [(one.path, one.what) for one in found.files] == [("a/6.png", "added")]
    assert compare(bench.root, "HEAD:data/rows.csv", "HEAD~1:data/rows.csv").files == ()


def test_a_single_file_is_compared_at_revisions_in_pieces(bench):
    rows = [f"{number},{'x' * 40}\n" for number in range(60_000)]
    bench.write(".gitattributes", b"*.csv filter=lamella\n")
    bench.commit("rows.csv", table(rows, "id,text\n"))
    bench.commit("rows.csv", table([*rows[:30_000], "new,row\n", *rows[30_000:]], "id,text\n"))
    for after in ("HEAD:rows.csv", "rows.csv"):
        difference = only(compare(bench.root, "HEAD~1:rows.csv", after))
        assert (difference.added, difference.removed, difference.kept) == (1, 0, 60_000)


def test_a_manifest_in_the_place_of_a_file_is_read_as_what_it_stands_for(bench):
    bench.write(".gitattributes", b"*.csv filter=lamella\n")
    bench.commit("rows.csv", table(ROWS))
    (bench.root / "rows.csv").write_bytes(bench.blob("HEAD:rows.csv"))
    with DiskDataFile(bench.root / "rows.csv").opened() as file:
        assert bytes(file.read_at(0, file.nbytes)) == table(ROWS)
    assert compare(bench.root, "HEAD:rows.csv", "rows.csv").files == ()


def test_links_and_hidden_files_are_left_out(tmp_path):
    write(tmp_path / "one", {"a": b"1", ".git/x": b"2"})
    write(tmp_path / "two", {"a": b"1"})
    os.symlink(tmp_path / "one", tmp_path / "two/link")
    os.symlink("a", tmp_path / "two/b")
    found = compare(tmp_path, "one", "two")
    assert (found.files, found.kept, found.distance) == ((), 1, 0)


@pytest.mark.parametrize("name", ["gone", "HEAD:gone", "gone:rows.csv"])
def test_what_is_not_there_is_told(bench, name):
    with pytest.raises(NotFoundError), opened_data(name, bench.root):
        pass
