"""`diff` of data: which files, rows, columns and labels two versions of a data set do not have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_LABELS, MAX_ROWS_HELD
from lamella.core.progress import SILENT, Progress
from lamella.formats.base import RandomAccess
from lamella.formats.data.parquet import ParquetFormat
from lamella.formats.data.parquet_groups import group_digests, read_groups
from lamella.formats.data.rows import Rows, label_of, rows_of
from lamella.formats.sniff import claimed_by
from lamella.model.data_difference import TableDifference, column_changes, jaccard_distance, label_counts
from lamella.model.row_sets import RowSet, count_kept, digest_rows
from lamella.repo.data_files import DataFile, DataSet, content_digest

_ROWS_AT_ONCE = 8192
_LONGEST_LABEL = 200


OpenRows = Callable[[RandomAccess], Rows]
"""Returns the rows of a file."""


@dataclass(frozen=True, slots=True)
class DataFileChange:
    """One file that is not as it was: `what` is added, removed, changed or moved, then from the path `earlier`.

    Lengths are in bytes, None on a side that was not opened. `table` compares the rows where both sides are tables;
    `unread` says why they were not compared where they should have been.
    """

    path: str
    what: str
    earlier: str | None = None
    nbytes_before: int | None = None
    nbytes_after: int | None = None
    table: TableDifference | None = None
    unread: str = ""

    @property
    def is_table(self) -> bool:
        """Whether both sides are tables, also where their rows could not be compared."""
        return self.table is not None or bool(self.unread)


@dataclass(frozen=True, slots=True)
class DataComparison:
    """Two versions of a data set. `kept` is how many files have the same path and content in both.

    `distance` is the Jaccard distance, 1 - |both| / |either|: of rows where two tables were compared, else of files by
    their content, as `unit` says. `is_file` says that each side is one file, and no folder.
    """

    before: str
    after: str
    files_before: int
    files_after: int
    kept: int
    files: tuple[DataFileChange, ...]
    distance: float
    unit: str
    is_file: bool = False


def compare_data(
    before: DataSet,
    after: DataSet,
    *,
    label: str | None = None,
    parquet: OpenRows | None = None,
    progress: Progress = SILENT,
) -> DataComparison:
    """Compare two files, or two folders of files, in memory that does not grow with the rows.

    Files that Git has on both sides are told apart by their ids, without reading; files on disk are hashed. Of changed
    files rows are compared where both are tables: separated values and lines of JSON row by row, Parquet by its groups
    of rows, or row by row too where `parquet` opens it. `label` names the column of labels, by default one that is
    called so.

    Raises NotFoundError (object-missing) and IntegrityError for content that is not in the store, or damaged.
    """
    comparing = _Comparing(label, parquet, progress)
    if set(before.files) == set(after.files) == {""}:
        return _compare_files(before, after, comparing)
    shared = [path for path in before.files if path in after.files]
    digests = _Digests()
    changed = [path for path in shared if not digests.same(before.files[path], after.files[path])]
    gone = [path for path in before.files if path not in after.files]
    new = [path for path in after.files if path not in before.files]
    found = {path: comparing.change(path, before.files[path], after.files[path]) for path in changed}
    progress.finish()
    moved = _moved(gone, new, before, after, digests)
    sources = set(moved.values())
    found |= {path: DataFileChange(path, "removed") for path in gone if path not in sources}
    found |= {path: DataFileChange(path, "moved" if path in moved else "added", moved.get(path)) for path in new}
    both = len(shared) - len(changed) + len(moved)
    distance = jaccard_distance(len(before.files), len(after.files), both)
    changes = tuple(found[path] for path in sorted(found))
    counts = (len(before.files), len(after.files), len(shared) - len(changed))
    return DataComparison(before.label, after.label, *counts, changes, distance, "files")


def _compare_files(before: DataSet, after: DataSet, comparing: _Comparing) -> DataComparison:
    old, new = before.files[""], after.files[""]
    if _Digests().same(old, new):
        return DataComparison(before.label, after.label, 1, 1, 1, (), 0.0, "files", is_file=True)
    change = comparing.change(after.name, old, new)
    comparing.progress.finish()
    distance, unit = (1.0, "files") if change.table is None else (change.table.distance, "rows")
    return DataComparison(before.label, after.label, 1, 1, 0, (change,), distance, unit, is_file=True)


class _Digests:
    """Which files are the same: by Git's ids where both have one, else by what they hold, each hashed once."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def same(self, one: DataFile, other: DataFile) -> bool:
        if one.known is not None and other.known is not None:
            return one.known == other.known
        return self.of(one) == self.of(other)

    def of(self, file: DataFile) -> str:
        if id(file) not in self._known:
            self._known[id(file)] = content_digest(file)
        return self._known[id(file)]


def _moved(
    gone: Sequence[str], new: Sequence[str], before: DataSet, after: DataSet, digests: _Digests
) -> dict[str, str]:
    """Return the new paths whose content went from another, each with one that it went from."""
    if not gone or not new:
        return {}
    files = [*(before.files[path] for path in gone), *(after.files[path] for path in new)]
    are_known = all(file.known is not None for file in files)
    names = [file.known if are_known else digests.of(file) for file in files]
    sources: dict[str | None, list[str]] = {}
    for path, name in zip(reversed(gone), reversed(names[: len(gone)]), strict=True):
        sources.setdefault(name, []).append(path)
    moved = {}
    for path, name in zip(new, names[len(gone) :], strict=True):
        if sources.get(name):
            moved[path] = sources[name].pop()
    return moved


@dataclass(frozen=True, slots=True)
class _Comparing:
    """How files are compared."""

    label: str | None
    parquet: OpenRows | None
    progress: Progress

    def change(self, path: str, before: DataFile, after: DataFile) -> DataFileChange:
        with ExitStack() as closing:
            old, new = closing.enter_context(before.opened()), closing.enter_context(after.opened())
            self.progress.start(f"comparing {path}", old.nbytes + new.nbytes)
            table, unread = None, ""
            try:
                table = self._tables(_Watched(old, self.progress), _Watched(new, self.progress))
            except FormatError as error:
                unread = error.message
            return DataFileChange(path, "changed", None, old.nbytes, new.nbytes, table, unread)

    def _tables(self, before: RandomAccess, after: RandomAccess) -> TableDifference | None:
        """Return how two tables differ, None where one of the files is none, or they are of other kinds."""
        if isinstance(claimed_by(before), ParquetFormat) and isinstance(claimed_by(after), ParquetFormat):
            if self.parquet is None:
                return _compare_groups(before, after)
            return _compare_rows(self.parquet(before), self.parquet(after), self.label)
        old, new = rows_of(before, after), rows_of(after, before)
        if old is None or new is None or old.has_columns != new.has_columns:
            return None
        return _compare_rows(old, new, self.label)


class _Watched:
    """A file that tells how far it was read."""

    def __init__(self, file: RandomAccess, progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self.nbytes = file.nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        self._progress.advance(nbytes)
        return self._file.read_at(offset, nbytes)


def _compare_rows(old: Rows, new: Rows, label: str | None) -> TableDifference:
    common = None
    if old.has_columns and set(old.names) != set(new.names):
        common = tuple(name for name in new.names if name in old.names)
    chosen = label or label_of([*new.names, *old.names])
    rows, labels = [RowSet(MAX_ROWS_HELD), RowSet(MAX_ROWS_HELD)], [_Labels(), _Labels()]
    for side, table in enumerate((old, new)):
        for batch in _batches(table.read(common, chosen)):
            rows[side].add(digest_rows(row for row, _ in batch))
            if chosen is not None:
                labels[side].count(value for _, value in batch)
    return _difference(old, new, rows, labels, common, chosen)


def _difference(
    old: Rows, new: Rows, rows: list[RowSet], labels: list[_Labels], common: tuple[str, ...] | None, chosen: str | None
) -> TableDifference:
    counts, same_order = (rows[0].count, rows[1].count), rows[0].order == rows[1].order
    kept, looked_before, looked_after, shift = count_kept(*rows)
    share = 0.5**shift
    if common == ():
        kept = 0
    elif kept == looked_before == looked_after and counts[0] == counts[1]:
        kept = counts[0]
    else:
        kept = min(round(kept / share), *counts)
    is_labelled = chosen is not None and all(one.known for one in labels) and any(one.counts for one in labels)
    types = old.types(), new.types()
    names = [name for name in old.names if name in types[1]], [name for name in new.names if name in types[0]]
    return TableDifference(
        *counts, kept, share,
        compared=common,
        reordered=counts[0] == counts[1] == kept and not same_order,
        columns=column_changes(*types),
        columns_reordered=old.has_columns and names[0] != names[1],
        label=chosen if is_labelled else None,
        labels=label_counts(labels[0].counts, labels[1].counts) if is_labelled else (),
    )  # fmt: skip


def _batches(rows: Iterator[tuple[bytes, str | None]]) -> Iterator[list[tuple[bytes, str | None]]]:
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        yield batch


class _Labels:
    """How many rows have which label, as long as there are not too many and none is too long for one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.known = True

    def count(self, values: Iterator[str | None]) -> None:
        if not self.known:
            return
        self.counts.update(value for value in values if value is not None)
        if len(self.counts) > MAX_LABELS or any(len(value) > _LONGEST_LABEL for value in self.counts):
            self.known = False
            self.counts.clear()


def _compare_groups(before: RandomAccess, after: RandomAccess) -> TableDifference:
    old, new = read_groups(before), read_groups(after)
    left: dict[bytes, list[int]] = {}
    order: tuple[list[bytes], list[bytes]] = ([], [])
    for digest, rows in group_digests(before, old):
        left.setdefault(digest, []).append(rows)
        order[0].append(digest)
    groups, kept = 0, 0
    for digest, rows in group_digests(after, new):
        order[1].append(digest)
        if left.get(digest):
            left[digest].pop()
            groups, kept = groups + 1, kept + rows
    whole = kept == old.rows == new.rows
    same_columns = set(old.columns) == set(new.columns)
    return TableDifference(
        old.rows, new.rows, kept,
        at_least=not whole,
        compared=None if same_columns else tuple(name for name in new.columns if name in old.columns),
        reordered=whole and order[0] != order[1],
        columns=column_changes(old.columns, new.columns),
        columns_reordered=same_columns and tuple(old.columns) != tuple(new.columns),
        groups_before=len(old.groups), groups_after=len(new.groups), groups_kept=groups,
    )  # fmt: skip
