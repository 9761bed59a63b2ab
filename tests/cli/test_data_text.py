"""What people read of changes of data."""

from __future__ import annotations

import pytest

from lamella.cli import data_text
from lamella.model.data_difference import ColumnChange, LabelCount, TableDifference
from lamella.ops.data_diff import DataComparison, DataFileChange


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TableDifference(10, 9, 8), "1 added, 2 removed, 8 kept of 10 -> 9 rows"),
        (TableDifference(10, 10, 10, reordered=True), "the same 10 rows in another order"),
        (TableDifference(10, 10, 10), "the same 10 rows"),
        (TableDifference(10, 10, 10, compared=("a",)), "the same 10 rows in the 1 column that both have"),
        (TableDifference(10, 1, 0, compared=()), "10 -> 1 row, no column in common"),
        (TableDifference(4, 4, 2, share=0.5), "about 2 added, 2 removed, 2 kept of 4 -> 4 rows"),
        (
            TableDifference(20, 30, 10, at_least=True, groups_before=2, groups_after=3, groups_kept=1),
            "20 -> 30 rows, 1 of 3 groups of rows the same, the others not read by row",
        ),
    ],
)
def test_rows_in_words(table, words):
    assert data_text.rows_in_words(table) == words


def test_a_table_shows_columns_and_labels(capsys):
    table = TableDifference(
        10, 9, 8,
        share=0.25,
        columns=(ColumnChange("a", "added", None, "text"), ColumnChange("b", "removed", "", None),
                 ColumnChange("c", "retyped", "integer", "number")),
        columns_reordered=True,
        label="y",
        labels=(LabelCount("cat", 1200, 7), LabelCount("d\x1bog", 0, 1)),
    )  # fmt: skip
    change = DataFileChange("rows.csv", "changed", None, 100, 90, table)
    data_text.show(DataComparison("A", "B", 1, 1, 0, (change,), 0.25, "rows"))
    said = capsys.readouterr()
    assert said.out == (
        "rows.csv: about 1 added, 2 removed, 8 kept of 10 -> 9 rows\n"
        "  + column a  text\n"
        "  - column b\n"
        "  ! column c: integer -> number\n"
        "  the columns stand in another order\n"
        "  y=cat      1,200  ->  7  -1,193\n"
        "  y=d\\x1bog      0  ->  1      +1\n"
        "distance  0.25 of rows (0 the same, 1 nothing in common)\n"
    )
    assert said.err == "estimated from 25.00% of the rows\n"


def test_a_folder_shows_files_and_counts(capsys):
    changes = (
        DataFileChange("a.png", "added"),
        DataFileChange("b.csv", "changed", None, 10, 2048, None, "a row takes more than 4 MiB"),
        DataFileChange("c.png", "changed", None, 10, 2048),
        DataFileChange("d.png", "moved", "old/d.png"),
        DataFileChange("e.png", "removed"),
    )
    data_text.show(DataComparison("A", "B", 5, 5, 1, changes, 0.5, "files"), stat=True)
    assert capsys.readouterr().out == (
        "+ a.png: added\n"
        "~ b.csv: changed; its rows were not compared: a row takes more than 4 MiB\n"
        "~ c.png: changed, 10 B -> 2.0 KiB\n"
        "> d.png: moved from old/d.png\n"
        "- e.png: removed\n"
        "5 files: 1 added, 1 removed, 2 changed, 1 moved\n"
        "distance  0.5 of files (0 the same, 1 nothing in common)\n"
    )
    data_text.show(DataComparison("A", "B", 2, 2, 2, (), 0.0, "files"))
    assert capsys.readouterr().out == "2 files, none changed\n"
