"""The manifest: the text in Git that stands for one model file. Grammar and invariants: `docs/spec/manifest.md`.

Two lines a tensor, what it is and under it its object, so that a plain `git diff` shows which tensors changed and Git
merges changes of different tensors by itself. The same file always gives the same text, and nothing derived stands in
it, so a merged manifest is as good as a written one, as long as only one side changed what the file's header lists.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from blake3 import blake3

from lamella.core.dtypes import DType, dtype_named
from lamella.core.errors import ConflictError, FormatError
from lamella.core.ids import ObjectId, from_hex
from lamella.core.limits import (
    MAX_DIMENSIONS,
    MAX_MANIFEST_LINE_NBYTES,
    MAX_MANIFEST_NBYTES,
    MAX_TENSOR_NBYTES,
    MAX_TENSORS,
)
from lamella.core.tensors import TensorSpec

VERSION = 1
PREFIX = b"lamella manifest "
FIRST_LINE = f"lamella manifest {VERSION}"
HINT_LINES = (
    "# This text stands for a model file; the weights are kept by Lamella, outside of Git.",
    "# To get the file: install lamella, run `lamella init` here, then `lamella checkout`.",
)
OPAQUE = "opaque"
INDENT = "    "
PART = " part"
VIEW = " view"
"""What stands behind the shape of a row that is no tensor with bytes of its own."""

_SHORT_LINE_LENGTH = 200
_BARE_NAME = re.compile(r"[!$-\[\]-~][!-\[\]-~]*\Z")
_EXTENT = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_FORMAT = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_CONFLICT_MARKER = re.compile(rb"^<{7} ", re.MULTILINE)
_MENTIONED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor of a model file and the object that holds its bytes; a `part` is an object and no tensor."""

    spec: TensorSpec
    object: ObjectId
    part: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model file as objects: `rows` in file order, and the skeleton that holds the rest of the file.

    `skeleton` is None for a file that is nothing but its rows. `views` are tensors that have no bytes of their own in
    the file; their ids say what they hold, and need not be stored. Names of tensors are unique, save in the opaque
    format. `seal` is the digest of all else, in hexadecimal, where the rest of the file depends on its tensors.
    """

    format: str
    skeleton: ObjectId | None
    rows: tuple[Row, ...]
    views: tuple[Row, ...] = ()
    seal: str | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all rows; the file adds its skeleton."""
        return sum(row.spec.nbytes for row in self.rows)

    @property
    def tensors(self) -> tuple[Row, ...]:
        """The tensors of the model: rows that are no parts, and views."""
        if not self.views and not any(row.part for row in self.rows):
            return self.rows
        return (*(row for row in self.rows if not row.part), *self.views)

    def objects(self, *, views: bool = False) -> Iterator[ObjectId]:
        """Yield the id of every object that the file needs, with `views` also those that need not be stored."""
        if self.skeleton is not None:
            yield self.skeleton
        for row in (*self.rows, *self.views) if views else self.rows:
            yield row.object

    def sealed(self) -> Manifest:
        """Return the manifest with the seal that goes with its rows."""
        return replace(self, seal=blake3(write_manifest(replace(self, seal=None))).hexdigest())

    def model_id(self) -> str:
        """Return the hexadecimal digest that the same weights have in any container and any order.

        It is the BLAKE3-256 digest of the sorted lines ``name dtype shape object`` that the manifest would hold. Where
        there are no tensors, or nobody knows what a file is, it is that of the manifest: the same file has the same.
        """
        if self.format == OPAQUE or not self.tensors:
            return blake3(write_manifest(self)).hexdigest()
        lines = sorted(f"{describe(row.spec)} {row.object.hex()}\n" for row in self.tensors)
        return blake3("".join(lines).encode()).hexdigest()


def describe(spec: TensorSpec) -> str:
    """Return ``name dtype shape`` as it stands in a manifest."""
    name = spec.name if _BARE_NAME.match(spec.name) else json.dumps(spec.name)
    return f"{name} {spec.dtype.name} [{','.join(map(str, spec.shape))}]"


def write_manifest(manifest: Manifest) -> bytes:
    """Return the text of `manifest`, UTF-8 with a final newline."""
    lines = [FIRST_LINE, *HINT_LINES, f"format {manifest.format}"]
    if manifest.skeleton is not None:
        lines += ["skeleton", INDENT + manifest.skeleton.hex()]
    if manifest.seal is not None:
        lines += ["seal", INDENT + manifest.seal]
    for row in manifest.rows:
        lines += [describe(row.spec) + (PART if row.part else ""), INDENT + row.object.hex()]
    for row in manifest.views:
        lines += [describe(row.spec) + VIEW, INDENT + row.object.hex()]
    lines.append("")
    return "\n".join(lines).encode()


def is_manifest(data: bytes) -> bool:
    """Say whether `data` begins as a manifest does, whatever follows."""
    return data.startswith(PREFIX)


@contextlib.contextmanager
def naming(label: str) -> Iterator[None]:
    """Put `label`, the name of what is parsed in the block, before the messages of its FormatErrors."""
    try:
        yield
    except FormatError as exc:
        raise FormatError(f"{label}: {exc.message}", kind=exc.kind, hint=exc.hint) from exc


def parse_for_git(path: str, data: bytes) -> Manifest:
    """Return the manifest that the file `path` of the worktree holds in place of a model.

    Raises ConflictError (manifest-conflict) where a merge left its markers, and FormatError as `parse_manifest` does.
    """
    try:
        with naming(path):
            return parse_manifest(data)
    except FormatError as exc:
        if exc.kind == "manifest-version" or not has_conflict_markers(data):
            raise
        raise ConflictError(
            f"{path} still has the conflict markers of a merge",
            kind="manifest-conflict",
            hint="take one side with `git checkout --ours PATH` or `--theirs`, then add it",
        ) from exc


def has_conflict_markers(data: bytes) -> bool:
    """Say whether a merge left its markers in a text."""
    return _CONFLICT_MARKER.search(data) is not None


def mentioned_objects(data: bytes) -> set[ObjectId]:
    """Return every object id in a text that is no whole manifest, such as one with conflict markers."""
    return {from_hex(found.decode()) for found in _MENTIONED.findall(data)}


def _malformed(number: int, reason: str) -> FormatError:
    return FormatError(
        f"line {number} of the manifest is malformed: {reason}",
        kind="manifest-malformed",
        hint="the text was edited; take the file from another revision with `git checkout REV -- PATH`",
    )


KnownRows = dict[tuple[str, ...], tuple[str, Row]]
"""What stands behind the shape and the row, by the two lines that say it."""


def parse_manifest(data: bytes, known: KnownRows | None = None) -> Manifest:
    """Return the manifest that `data` holds.

    `known` remembers rows for the next version of the same file, of which most are the same; it grows with each.
    Accepts exactly the texts that `write_manifest` can produce, except that comment lines may say anything. Raises
    FormatError (manifest-malformed, manifest-version) otherwise, in time and memory proportional to the text.
    """
    if len(data) > MAX_MANIFEST_NBYTES:
        raise FormatError("manifest is too large", kind="manifest-malformed")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise FormatError("manifest is not UTF-8", kind="manifest-malformed") from exc
    lines = text.split("\n")
    _check_version(lines[0])
    if lines.pop() != "":
        raise _malformed(len(lines) + 1, "the last line has no newline")
    start = 1
    while start < len(lines) and lines[start].startswith("#"):
        start += 1
    return _parse_body(lines, start, {} if known is None else known)


def _check_version(line: str) -> None:
    if line == FIRST_LINE:
        return
    match = re.match(r"lamella manifest ([1-9][0-9]{0,8})\Z", line)
    if match is None:
        raise _malformed(1, "it is not the first line of a manifest")
    raise FormatError(
        f"manifest has version {match[1]}, this program reads version {VERSION}",
        kind="manifest-version",
        hint="upgrade lamella",
    )


def _parse_body(lines: list[str], start: int, known: KnownRows) -> Manifest:
    if start >= len(lines) or not lines[start].startswith("format "):
        raise _malformed(start + 1, "the format is missing")
    container = lines[start].removeprefix("format ")
    if not _FORMAT.match(container):
        raise _malformed(start + 1, "the format is not a name")
    position = start + 1
    skeleton: ObjectId | None = None
    if lines[position : position + 1] == ["skeleton"]:
        skeleton = _parse_object(lines, position + 1)
        position += 2
    seal: str | None = None
    if lines[position : position + 1] == ["seal"]:
        seal = _parse_object(lines, position + 1).hex()
        position += 2
    if len(lines) - position > 2 * MAX_TENSORS:
        raise _malformed(position, f"there are more than {MAX_TENSORS} tensors")
    rows: list[Row] = []
    views: list[Row] = []
    names: set[str] = set()
    for index in range(position, len(lines), 2):
        told = tuple(lines[index : index + 2])
        if told not in known:
            mark, spec = _spec(lines, index)
            known[told] = mark, Row(spec, _parse_object(lines, index + 1), mark == PART)
        mark, row = known[told]
        if views and mark != VIEW:
            raise _malformed(index + 1, "a tensor stands behind the views")
        (views if mark == VIEW else rows).append(row)
        if mark == PART:
            continue
        if container != OPAQUE and row.spec.name in names:
            raise _malformed(index + 1, "a tensor of that name stands above")
        names.add(row.spec.name)
    if container == OPAQUE and (views or any(row.part for row in rows)):
        raise _malformed(position, "an opaque file has neither parts nor views")
    return Manifest(container, skeleton, tuple(rows), tuple(views), seal)


def _parse_object(lines: list[str], index: int) -> ObjectId:
    try:
        line = lines[index]
        if not line.startswith(INDENT):
            raise ValueError(line)
        return from_hex(line.removeprefix(INDENT))
    except (IndexError, ValueError):
        raise _malformed(index + 1, "an object id is missing or malformed") from None


def _spec(lines: list[str], index: int) -> tuple[str, TensorSpec]:
    """Return what stands behind the shape, and the tensor."""
    line = lines[index]
    mark = PART if line.endswith(PART) else VIEW if line.endswith(VIEW) else ""
    line = line.removesuffix(mark)
    try:
        return mark, _parse_short_spec(line) if len(line) <= _SHORT_LINE_LENGTH else _parse_spec(line)
    except FormatError:
        raise
    except ValueError as exc:
        raise _malformed(index + 1, str(exc)) from None


@functools.lru_cache(maxsize=1 << 14)
def _parse_short_spec(line: str) -> TensorSpec:
    """Remember the lines that a history repeats from version to version."""
    return _parse_spec(line)


def _parse_spec(line: str) -> TensorSpec:
    parts = line.rsplit(" ", 2)
    if len(line) > MAX_MANIFEST_LINE_NBYTES or len(parts) != 3:
        raise ValueError("it is not a tensor's name, dtype and shape")
    name, dtype, shape = parts
    if name.startswith('"'):
        try:
            parsed = json.loads(name)
        except ValueError:
            raise ValueError("the quoted name is malformed") from None
        if not isinstance(parsed, str) or _BARE_NAME.match(parsed) or json.dumps(parsed) != name:
            raise ValueError("the quoted name is not in its shortest form")
        name = parsed
    elif not _BARE_NAME.match(name):
        raise ValueError("the name has to be quoted")
    return TensorSpec(name, *_parse_type(dtype, shape))


@functools.lru_cache(maxsize=1 << 10)
def _parse_type(dtype: str, shape: str) -> tuple[DType, tuple[int, ...]]:
    """Return a dtype and a shape, and remember them: few are different in a model."""
    element, extents = dtype_named(dtype), _parse_shape(shape)
    if element.nbytes(extents) > MAX_TENSOR_NBYTES:
        raise ValueError("the tensor is impossibly large")
    return element, extents


def _parse_shape(text: str) -> tuple[int, ...]:
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("the shape is malformed")
    if text == "[]":
        return ()
    extents = text[1:-1].split(",")
    if len(extents) > MAX_DIMENSIONS or not all(_EXTENT.match(extent) for extent in extents):
        raise ValueError("the shape is malformed")
    return tuple(int(extent) for extent in extents)
