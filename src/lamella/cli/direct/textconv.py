"""`lamella textconv`: a version of a model file as text, a line a tensor, for what Git shows line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lamella.core.errors import FormatError, UsageError
from lamella.core.fsio import translated
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.core.text import printable
from lamella.repo.manifest import OPAQUE, Manifest, describe, is_manifest, parse_manifest

_SHOWN_DIGITS = 16
"""Of a digest: as many as tell any two tensors apart that a person will ever look at."""


def run(arguments: list[str]) -> int:
    """Print the file named, which holds a manifest or is a model itself, and return 0."""
    if len(arguments) != 1:
        raise UsageError("textconv takes one file", kind="bad-argument", hint="Git calls it by itself")
    path = Path(arguments[0])
    with translated(path, reading=True), path.open("rb") as file:
        text = file.read(MAX_MANIFEST_NBYTES)
    sys.stdout.writelines(f"{printable(line)}\n" for line in _lines(path, text))
    return 0


def _lines(path: Path, text: bytes) -> Iterator[str]:
    if not is_manifest(text):
        yield from lines(_identified(path))
        return
    try:
        manifest = parse_manifest(text)
    except FormatError:
        # A merge left its markers, or a later program wrote it: Git shows what there is.
        yield from text.decode("utf-8", "replace").splitlines()
    else:
        yield from lines(manifest)


def lines(manifest: Manifest) -> Iterator[str]:
    """Yield what a manifest says, a line a tensor, with the beginning of what tells its bytes from others."""
    if manifest.format == OPAQUE:
        yield f"bytes of no known format, {manifest.nbytes:,} in all"
        yield from (f"{row.spec.nbytes:,} bytes  {row.object.hex()[:_SHOWN_DIGITS]}" for row in manifest.rows)
        return
    yield f"{manifest.format}, {len(manifest.tensors):,} tensors, id {manifest.model_id()[:_SHOWN_DIGITS]}"
    if manifest.skeleton is not None:
        yield f"beside the tensors  {manifest.skeleton.hex()[:_SHOWN_DIGITS]}"
    for row in manifest.tensors:
        yield f"{describe(row.spec)}  {row.object.hex()[:_SHOWN_DIGITS]}"


def _identified(path: Path) -> Manifest:
    """Return the manifest that would stand for a file of the worktree, which Git names where it is not added yet."""
    from lamella.repo.targets import opened_model

    with opened_model(os.fspath(path), Path.cwd(), os.environ) as model:
        return model.files[0].manifest
