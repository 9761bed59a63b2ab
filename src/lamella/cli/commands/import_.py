"""`lamella import`."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.cli import render
from lamella.cli.commands.migrate import set_up, show
from lamella.cli.session import json_option, open_repository, progress, quiet_option
from lamella.core.errors import UsageError
from lamella.core.progress import Progress
from lamella.ops.import_dvc import import_dvc
from lamella.ops.import_folder import folder_versions
from lamella.ops.import_mlflow import is_mlflow, mlflow_versions
from lamella.ops.import_versions import ImportReport, import_versions
from lamella.ops.migrate import MigrateReport
from lamella.repo.repository import Repository


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--as", "path", metavar="PATH", help="Where the files shall be in the repository (default: its name).")
@click.option("--branch", metavar="NAME", help="The branch that gets the commits (default: the current one).")
@click.option(
    "--include", "patterns", metavar="PATTERN", multiple=True, help="Of a DVC project, take only these files."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@quiet_option
@json_option
def command(
    source: Path,
    path: str | None,
    branch: str | None,
    patterns: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Bring models that were kept another way into this repository, with their history.

    SOURCE is one of three. A folder: sub-folders or files with numbers (checkpoint-500, checkpoint-1000) become a
    commit each, in that order and with the time of their files, any other folder one commit. Runs of MLflow (mlruns, or
    a folder below it): a commit each, with parameters and metrics in .lamella/runs. The root of this repository, where
    it is a DVC project: the history is rewritten as `lamella migrate` does, with the files from DVC's cache.
    """
    with open_repository() as repository:
        if not dry_run:
            set_up(repository)
        listener = progress(quiet=quiet or as_json)
        report: MigrateReport | ImportReport
        if (source / ".dvc").is_dir():
            report = _import_dvc(repository, source, patterns, dry_run, listener)
        else:
            versions = mlflow_versions(source) if is_mlflow(source) else folder_versions(source)
            place = path or source.resolve().name
            report = import_versions(
                repository, source, versions, place, branch=branch, dry_run=dry_run, progress=listener
            )
    if as_json:
        render.emit_json("import", report)
    elif not quiet and isinstance(report, ImportReport):
        _show(report)
    elif not quiet and isinstance(report, MigrateReport):
        show(report)


def _import_dvc(
    repository: Repository, source: Path, patterns: tuple[str, ...], dry_run: bool, listener: Progress
) -> MigrateReport:
    if source.resolve() != repository.worktree.resolve():
        hint = f"go to {source} and run `lamella import .` there"
        raise UsageError(f"{source} is a DVC project with a history of its own", kind="bad-argument", hint=hint)
    return import_dvc(repository, patterns, dry_run=dry_run, progress=listener)


def _show(report: ImportReport) -> None:
    verb = "would make" if report.dry_run else "made"
    render.line(f"{verb} {render.counted(len(report.versions), 'commit')} on {report.branch}, files in {report.path}")
    for number, message in enumerate(report.versions):
        commit = f"{report.commits[number][:10]} " if report.commits else ""
        render.line(f"  {commit}{message.partition(chr(10))[0]}")
    stored = "" if report.dry_run else f", {render.size(report.stored_nbytes)} stored"
    render.line(f"{render.counted(report.files, 'file')}, {render.size(report.nbytes)}{stored}")
