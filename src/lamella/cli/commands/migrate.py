"""`lamella migrate`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import command_for_git, json_option, open_repository, progress, quiet_option
from lamella.ops.init import init
from lamella.ops.migrate import MigrateReport, migrate
from lamella.repo.repository import Repository


@click.command()
@click.option(
    "--include", "patterns", metavar="PATTERN", multiple=True, help="Take only files that match, also whole ones."
)
@click.option("--include-ref", "refs", metavar="REF", multiple=True, help="Rewrite only this branch or tag.")
@click.option("--everything", is_flag=True, help="Rewrite remote-tracking branches and all other references too.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@quiet_option
@json_option
def command(
    patterns: tuple[str, ...], refs: tuple[str, ...], everything: bool, dry_run: bool, quiet: bool, as_json: bool
) -> None:
    """Turn a history that Git LFS has kept into one that Lamella keeps.

    In every commit of all local branches and tags, pointers of Git LFS become manifests, and .gitattributes says so;
    the files come from .git/lfs/objects. With --include, only files that match are taken, and then also those that are
    in Git whole. Authors, dates, messages and merges stay; ids of commits change, and signatures go.

    References move at the very end, all at once. Interrupted before that, nothing has changed, and the next run goes
    on. What they were is kept under refs/lamella/before-migrate.
    """
    if refs and everything:
        raise click.UsageError("--include-ref and --everything exclude each other")
    with open_repository() as repository:
        if not dry_run:
            set_up(repository)
        listener = progress(quiet=quiet or as_json)
        report = migrate(repository, patterns, refs, everything=everything, dry_run=dry_run, progress=listener)
    if as_json:
        render.emit_json("migrate", report)
    elif not quiet:
        show(report)


def set_up(repository: Repository) -> None:
    """Let Git call this program in the repository: what is about to be written needs it."""
    for sentence in init(repository.git.root, command_for_git()).notes:
        render.warning(sentence)


def show(report: MigrateReport) -> None:
    """Print what became of a history."""
    if not report.rewritten:
        render.line(f"nothing to take over in {render.counted(report.commits, 'commit')}")
    else:
        verb = "would rewrite" if report.dry_run else "rewrote"
        of = f"{report.rewritten:,} of {render.counted(report.commits, 'commit')}"
        render.line(f"{verb} {of}, {render.counted(len(report.refs), 'reference')}")
        stored = "" if report.dry_run else f", {render.size(report.stored_nbytes)} stored"
        files = render.counted(report.files, "version") + " of model files"
        render.line(f"{files}, {render.size(report.nbytes)}{stored}")
    for absent in report.absent:
        render.warning(f"{absent.path}: {absent.message}; its pointer stays")
    if any(absent.name.startswith("sha256:") for absent in report.absent):
        render.note("hint: `git lfs fetch --all` gets what is missing; then run the command again")
    lost = report.unsigned_commits + len(report.unsigned_tags)
    if lost:
        verb = "would lose" if report.dry_run else "lost"
        commits, tags = (render.counted(report.unsigned_commits, "commit"), len(report.unsigned_tags))
        render.warning(f"{commits} and {render.counted(tags, 'tag')} {verb} a signature, which held for the old ids")
    if report.kept_under is not None:
        render.line(f"the old commits are kept under {report.kept_under}")
        render.note(f"hint: to go back, `git reset --hard {report.kept_under}/heads/BRANCH` on each branch")
