"""`lamella merge RECIPE.yml`: a model made as a recipe says, and what is printed of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lamella.cli import render
from lamella.cli.merging.asked import Asked
from lamella.cli.session import open_repository, progress
from lamella.cli.sizes import parse_size
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.fsio import translated
from lamella.core.limits import MAX_YAML_NBYTES
from lamella.ops.merge_recipe import RecipeReport, RecipeTensor, merge_recipe
from lamella.repo.attributes import filtered


def run(asked: Asked) -> int:
    """Make the model of a recipe and write it, or tell what would be made.

    Raises UsageError (bad-argument) where it is not said where to, or how to merge, which the recipe says.
    """
    if len(asked.commits) > 1:
        hint = "name one recipe; a branch of such a name is BRANCH~0"
        raise UsageError("a recipe goes alone, with --out", kind="bad-argument", hint=hint)
    asked.refuse_others("a recipe, which says itself how to merge", "out", "shard_size", "force", "dry_run")
    if asked.out is None and not asked.dry_run:
        hint = "or see what it makes with `--dry-run`"
        raise UsageError("a recipe needs `--out FILE`, or a folder", kind="bad-argument", hint=hint)
    report = merge_recipe(
        _content(Path(asked.commits[0])),
        None if asked.dry_run else asked.out,
        Path.cwd(),
        dict(os.environ),
        label=asked.commits[0],
        shard_nbytes=parse_size(asked.shard_size),
        force=asked.force,
        progress=progress(quiet=asked.quiet or asked.as_json),
    )
    if asked.as_json:
        render.emit_json("recipe", report)
    elif not asked.quiet:
        _show(report, relative=asked.out is not None and not asked.out.is_absolute())
    return 0


def _content(path: Path) -> bytes:
    if not path.is_file():
        hint = f"check the spelling; a branch of that name is {path}~0"
        raise NotFoundError(f"there is no recipe {path}", kind="path-unknown", hint=hint)
    with translated(path, reading=True), path.open("rb") as file:
        return file.read(MAX_YAML_NBYTES + 1)


def _show(report: RecipeReport, *, relative: bool) -> None:
    for text in report.warnings:
        render.warning(text)
    if report.written is None:
        _show_plan(report)
        return
    computed = sum(one.strategy is not None for one in report.tensors)
    for file in report.written.files:
        path = os.path.relpath(file.path) if relative else file.path
        render.line(f"{path}: {render.counted(file.tensors, 'tensor')}, {render.size(file.nbytes)}")
    made = f"{computed} computed, {len(report.tensors) - computed} taken as they are"
    render.line(f"{report.method} of {render.counted(len(report.inputs), 'model')}: {made}")
    tracked = _tracked(Path(file.path) for file in report.written.files)
    if tracked:
        render.note(f"`lamella add {' '.join(map(os.path.relpath, tracked))}` adds it to the next commit")


def _tracked(files: Iterable[Path]) -> list[Path]:
    """Return the files that the repository around the current directory keeps as models."""
    try:
        with open_repository() as repository:
            root = repository.worktree.resolve()
            inside = [file.resolve().relative_to(root) for file in files if file.resolve().is_relative_to(root)]
            return [root / path for path in filtered(repository.git, map(os.fspath, inside))]
    except UsageError:
        return []


def _show_plan(report: RecipeReport) -> None:
    for name, model_id in report.inputs.items():
        render.line(f"{name}  {model_id[:12]}")
    render.line()
    rows = [("TENSOR", "DTYPE", "BY", "OF")]
    rows += [(one.name, one.dtype, _by(one), _of(one)) for one in report.tensors]
    render.columns(rows)


def _by(tensor: RecipeTensor) -> str:
    if tensor.strategy is None:
        return "as it is"
    told = (f"{name}={_number(value)}" for name, value in tensor.values.items())
    return " ".join((tensor.strategy, *told))


def _of(tensor: RecipeTensor) -> str:
    """Return the sources with their weights, and their own names for the tensor where these are others."""
    weights = tensor.weights or (None,) * len(tensor.sources)
    shown = []
    for (model, name), weight in zip(tensor.sources, weights, strict=True):
        own = "" if name == tensor.name else f":{name}"
        shown.append(f"{'' if weight is None else f'{weight:.4g} x '}{model}{own}")
    return ", ".join(shown) + ("" if tensor.base is None else f" on {tensor.base[0]}")


def _number(value: float | tuple[float, ...]) -> str:
    return "/".join(f"{one:.4g}" for one in value) if isinstance(value, tuple) else f"{value:.4g}"
