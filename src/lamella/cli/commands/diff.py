"""`lamella diff`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.cli import changes_text, data_text, render
from lamella.cli.data_sides import DATA_FORMATS, changed_data, compare_named, data_fields, distance
from lamella.cli.revisions import split_arguments
from lamella.cli.session import json_option, known_sketches, open_repository, opened, progress, project_root, recorded
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.fsio import write_file
from lamella.model.graph_difference import RENAMED
from lamella.ops.diff import INDEX, DiffReport, diff, diff_models
from lamella.repo.attributes import filtered
from lamella.repo.objects import tracked
from lamella.repo.repository import Repository
from lamella.repo.settings import diff_settings

if TYPE_CHECKING:
    from lamella.ops.compare import Comparing
    from lamella.ops.comparisons import Compared
    from lamella.ops.data_diff import DataComparison


def _epsilons(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Read ``E`` and ``GLOB=E``; globs go before the one that holds for all."""
    rules = []
    for value in values:
        glob, equals, number = value.rpartition("=")
        try:
            epsilon = float(number)
        except ValueError:
            raise click.BadParameter(f"{number!r} is no number") from None
        if not epsilon >= 0:
            raise click.BadParameter(f"{number} is below 0")
        rules.append((glob if equals else "*", epsilon))
    return tuple(sorted(rules, key=lambda rule: rule[0] == "*"))


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[A [B]] [-- PATHS]")
@click.option("--stat", is_flag=True, help="One line for each file, from ids alone; no weights are read.")
@click.option("--all", "every", is_flag=True, help="Show every tensor and layer, not those that changed most.")
@click.option("--layers", multiple=True, metavar="GLOB", help="Measure only tensors with such names.")
@click.option(
    "--epsilon", "epsilons", multiple=True, metavar="[GLOB=]E", callback=_epsilons, help="The mean change that counts."
)
@click.option("--spectrum", is_flag=True, help="Find the rank of each change, as of a low-rank update.")
@click.option("--label", metavar="COLUMN", help="In tables of data, count the values of this column.")
@click.option("--html", "page", type=click.Path(dir_okay=False), help="Write a page that shows it all.")
@click.option(
    "--exit-code", is_flag=True, help="Exit with 1 where something differs; with --epsilon, by more than that."
)
@click.option("--no-index", is_flag=True, help="Compare two models, each a file or a folder anywhere, or REV:PATH.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, arguments: tuple[str, ...], **options: Any) -> int:
    """Show what changed between two versions of models: interface, structure, parameters, training.

    With one revision, compare it with the worktree; with none, compare the index with the worktree. `A..B` is the same
    as `A B`, `A...B` compares B with what both come from. Two models, files or folders, are compared with each other:
    `REV:PATH REV:PATH`, or what is on disk, in a repository or not. So are data: tables by rows, columns and labels,
    folders by their files. All other files are left to `git diff`.

    D is the mean |b - a| of a tensor; "1-cos" is 0 where the direction is the same. `docs/guide/diff.md` explains.
    """
    if options["no_index"] and len(arguments) != 2:
        raise click.UsageError("--no-index compares two models")
    if options["no_index"] or _are_files(arguments):
        report, found, data = _of_two(arguments, options)
    else:
        with open_repository() as repository:
            revisions, paths = split_arguments(repository, arguments, ctx)
            try:
                report = diff(repository, revisions, paths, progress(quiet=options["as_json"]))
            except UsageError as error:
                report, found, data = _of_data(revisions, options, error)
            else:
                found, data = _of_repository(repository, report, paths, options)
    _show(report, found, data, options, arguments)
    return 1 if options["exit_code"] and (data or _differs(report, found, options)) else 0


def _are_files(arguments: tuple[str, ...]) -> bool:
    """Say whether two things on disk are named that are not both kept by Lamella in a repository around."""
    there = [os.path.exists(argument) for argument in arguments]
    if len(arguments) != 2 or not any(there):
        return False
    try:
        with open_repository() as repository:
            if not all(there):
                return False
            git = repository.git
            paths = [os.path.relpath(os.path.abspath(argument), git.root) for argument in arguments]
            inside = [path for path in paths if path.split(os.sep)[0] != os.pardir]
            known = {entry.path for entry in tracked(git, inside)} if inside else set()
            return len(set(filtered(git, sorted(known)))) < len(arguments)
    except UsageError:
        return True


Found = tuple[Mapping[str, "Compared"], Mapping[str, "DataComparison"]]
"""What was found of models, and of data, by path."""


def _of_two(arguments: Sequence[str], options: Mapping[str, Any]) -> tuple[DiffReport, *Found]:
    """Compare two models, or data where neither side has tensors."""
    try:
        report, found = _of_models(arguments, options)
    except NotFoundError as error:
        return _of_data(arguments, options, error)
    if found or options["stat"] or any(file.format not in DATA_FORMATS for file in report.files):
        return report, found, {}
    before, after = arguments
    data = compare_named(before, after, Path.cwd(), options["label"], progress(quiet=options["as_json"]))
    return report, {}, {file.path: data for file in report.files} if data.files else {}


def _of_data(
    arguments: Sequence[str], options: Mapping[str, Any], error: NotFoundError | UsageError
) -> tuple[DiffReport, *Found]:
    """Compare what is no model as data, folders or tables; raise `error` where it is not that either."""
    if len(arguments) != 2 or error.kind not in ("path-unknown", "bad-argument"):
        raise error
    before, after = arguments
    try:
        data = compare_named(before, after, Path.cwd(), options["label"], progress(quiet=options["as_json"]))
    except (NotFoundError, UsageError):
        raise error from None
    if data.is_file and not all(change.is_table for change in data.files):
        raise error
    return DiffReport(before, after, ()), {}, {after: data} if data.files else {}


def _of_models(arguments: Sequence[str], options: Mapping[str, Any]) -> tuple[DiffReport, Mapping[str, Compared]]:
    with opened(arguments[0]) as before, opened(arguments[1]) as after:
        report = diff_models(before, after)
        if options["stat"] or not report.files or not (before.names or after.names):
            return report, {}
        from lamella.ops.comparisons import compared

        how = _comparing(project_root(), options)
        graphs = partial(recorded, arguments[0]), partial(recorded, arguments[1])
        found = compared(before, after, how, graphs, known_sketches(), progress(quiet=options["as_json"]))
    return report, {report.files[0].path: found}


def _of_repository(
    repository: Repository, report: DiffReport, paths: Sequence[str], options: Mapping[str, Any]
) -> Found:
    if options["stat"]:
        return {}, {}
    listener = progress(quiet=options["as_json"])
    data = changed_data(repository, report, paths, options["label"], listener)
    if not report.files:
        return {}, data
    from lamella.ops.comparisons import compare_changed

    how = _comparing(repository.git.worktree, options)
    return compare_changed(repository, report, how, distance(data), listener), data


def _comparing(root: Path | None, options: Mapping[str, Any]) -> Comparing:
    from lamella.ops.compare import Comparing

    return Comparing(
        config=diff_settings(root),
        epsilons=options["epsilons"],
        layers=options["layers"],
        spectra=options["spectrum"],
        histograms=options["page"] is not None,
    )


def _show(
    report: DiffReport,
    found: Mapping[str, Compared],
    data: Mapping[str, DataComparison],
    options: Mapping[str, Any],
    arguments: tuple[str, ...],
) -> None:
    if options["page"] is not None:
        _write_page(options["page"], found)
    if options["as_json"]:
        render.emit_json("diff", {**_fields(report), "comparisons": _comparisons(found), "data": [*data_fields(data)]})
        return
    for text, file in changes_text.told(report.files, report.repackaged):
        compared = None if file is None else found.get(file.path)
        if file is None:
            render.line(text, bold=True)
        elif file.path in data:
            continue
        elif compared is None or compared.comparison is None:
            changes_text.show_file(file, stat=options["stat"])
        else:
            from lamella.cli.comparison_text import show_comparison

            show_comparison(compared.comparison, file, every=options["every"])
        if compared is not None and compared.unread:
            render.warning(f"not compared: {compared.unread}")
    for comparison in data.values():
        data_text.show(comparison)
    render.incomplete((), report.missing)
    if not report.files and not data:
        render.note(f"no model file differs between {report.before} and {report.after}")
        if report.before == INDEX and len(arguments) == 2 and all(map(os.path.exists, arguments)):
            render.note("to compare the two files with each other, give --no-index")


def _fields(report: DiffReport) -> dict[str, Any]:
    return {field.name: getattr(report, field.name) for field in fields(report)}


def _comparisons(found: Mapping[str, Compared]) -> list[dict[str, Any]]:
    from lamella.cli.comparison_json import comparison_fields

    return [
        {"path": path, "unread": one.unread, **(comparison_fields(one.comparison) if one.comparison else {})}
        for path, one in found.items()
    ]


def _write_page(path: str, found: Mapping[str, Compared]) -> None:
    told = [(one.comparison, one.graphs) for one in found.values() if one.comparison is not None]
    if not told:
        raise UsageError("nothing that a page could show differs", kind="bad-argument", hint="name two other versions")
    if len(told) > 1:
        hint = "name one model that changed, behind `--`"
        raise UsageError(f"a page shows one comparison, and there are {len(told)}", kind="bad-argument", hint=hint)
    from lamella.pages.diff_page import diff_page

    write_file(Path(path), diff_page(*told[0]).encode())
    render.note(f"wrote {path}")


def _differs(report: DiffReport, found: Mapping[str, Compared], options: Mapping[str, Any]) -> bool:
    if not options["epsilons"] or len(found) < len(report.files):
        return bool(report.files)
    told = [one.comparison for one in found.values()]
    return any(
        one is None
        or one.alignment.added
        or one.alignment.removed
        or one.interface
        or (one.graph is not None and any(node.whats != (RENAMED,) for node in one.graph.nodes))
        or any(tensor.change_point or tensor.overlap is not None for tensor in one.tensors)
        for one in told
    )
