"""`migrate`: a history in which Git LFS, or Git itself, kept the models becomes one in which Lamella keeps them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.repo import setup
from lamella.repo.checkins import Absent, CheckIns, Survey
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.history import Ref, is_ours, list_refs
from lamella.repo.lfsorigin import LfsOrigin
from lamella.repo.refmove import detached_head, ensure_ready, move_refs, settle
from lamella.repo.repository import Repository
from lamella.repo.transfer import Origin, Transfer, transfer

_NEVER_MOVED = ("refs/replace/", "refs/notes/", "refs/stash", "refs/bisect/", "refs/rewritten/", "refs/worktree/")

MakeOrigin = Callable[[Sequence[GitOid]], AbstractContextManager[Origin]]
"""Makes what is to be taken over, from the objects at which the history ends."""


@dataclass(frozen=True, slots=True)
class MigrateReport:
    """What was, or would be, done.

    `commits` of the history were looked at and `rewritten` of them are others now; `refs` moved, and `kept_under` is
    where their old commits are. `files` distinct versions of `nbytes` went into the store, which grew by
    `stored_nbytes`. `absent` are those whose bytes could not be had: there everything stays as it was.
    `unsigned_commits` and `unsigned_tags` had a signature, which cannot hold for what they are now. `written` are the
    files of the worktree that changed.
    """

    dry_run: bool
    commits: int
    rewritten: int
    refs: tuple[str, ...]
    kept_under: str | None
    files: int
    nbytes: int
    stored_nbytes: int
    absent: tuple[Absent, ...]
    unsigned_commits: int
    unsigned_tags: tuple[str, ...]
    written: tuple[str, ...]


def migrate(
    repository: Repository,
    patterns: Sequence[str] = (),
    refs: Sequence[str] = (),
    *,
    everything: bool = False,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> MigrateReport:
    """Make every commit of `refs` anew with manifests in place of pointers of Git LFS, and move the references.

    Without `patterns` all pointers are taken; with them, only files that they name, and also files that are in Git
    whole. `refs` are branches and tags, by default all local ones; `everything` takes remote-tracking branches too.

    Authors, dates, messages, merges, names and modes stay what they are. References move in one transaction at the
    end; interrupted before that, nothing has changed, and the next call goes on. Raises UsageError (git-refused) where
    the repository is not at rest, (not-set-up) where Git does not call Lamella here, (bad-argument) for a pattern that
    names no file, and NotFoundError (revision-unknown) for a reference that is not there.
    """
    named = [pattern_bytes(pattern) for pattern in patterns]

    def origin(tips: Sequence[GitOid]) -> LfsOrigin:
        return LfsOrigin(repository.git, tips, named)

    return hand_over(repository, origin, refs, "migrate", everything=everything, dry_run=dry_run, progress=progress)


def hand_over(
    repository: Repository,
    make_origin: MakeOrigin,
    refs: Sequence[str],
    verb: str,
    *,
    everything: bool = False,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> MigrateReport:
    """Make the history of `refs` anew as an origin says; `verb` stands in the reflogs. Raises as `migrate` does."""
    git = repository.git
    if not setup.calls_us(git) and not dry_run:
        raise UsageError("git does not know lamella here", kind="not-set-up", hint="run `lamella init` first")
    finished = None if dry_run else settle(repository, progress)
    ensure_ready(repository)
    chosen = _chosen(git, refs, everything=everything)
    tips = [ref.oid for ref in chosen]
    with make_origin(tips) as origin:
        with ObjectWriter(git, keeping=False) as writer:
            survey = Survey(writer)
            planned = transfer(git, writer, origin, survey, chosen)
        if dry_run or not planned.history.changed:
            return _report(
                planned,
                survey.files,
                survey.nbytes,
                [*survey.absent, *origin.unread],
                dry_run=dry_run,
                written=finished or (),
            )
        with ObjectWriter(git) as writer:
            progress.start("taking over models", survey.nbytes)
            intake = CheckIns(repository, writer, progress)
            made = transfer(git, writer, origin, intake, chosen)
            intake.save()
            progress.finish()
    kept_under = move_refs(git, made.targets, f"lamella {verb}")
    written = settle(repository, progress)
    git.run("gc", "--auto", "--quiet", check=False)
    return _report(
        made, survey.files, survey.nbytes, [*intake.absent, *origin.unread],
        dry_run=False, kept_under=kept_under, stored_nbytes=intake.stored_nbytes, written=written or (),
    )  # fmt: skip


def _report(
    made: Transfer,
    files: int,
    nbytes: int,
    absent: Sequence[Absent],
    *,
    dry_run: bool,
    kept_under: str | None = None,
    stored_nbytes: int = 0,
    written: tuple[str, ...] = (),
) -> MigrateReport:
    history = made.history
    moved = tuple(ref.name for ref, new in made.targets.items() if ref.oid != new)
    return MigrateReport(
        dry_run, len(history.commits), history.changed, moved, kept_under, files, nbytes, stored_nbytes,
        tuple(absent), history.unsigned_commits, tuple(history.unsigned_tags), written,
    )  # fmt: skip


def pattern_bytes(pattern: str) -> bytes:
    """Return a pattern in the form that a .gitattributes has it; a folder stands for all that is below it."""
    raw = os.fsencode(pattern)
    below = raw.endswith(b"/")
    raw = raw.removeprefix(b"./").rstrip(b"/") + (b"/**" if below else b"")
    wrong = (not raw.strip(b"/*") and raw not in (b"*", b"**")) or b"\0" in raw or b".." in raw.split(b"/")
    if wrong or raw.startswith((b"!", b"[attr]")):
        hint = "name files as .gitattributes does, as in '*.safetensors'"
        raise UsageError(f"the pattern {pattern[:80]!r} names no files", kind="bad-argument", hint=hint)
    return raw


def _chosen(git: Git, names: Sequence[str], *, everything: bool) -> list[Ref]:
    """Return the references to be moved, with HEAD where it is on no branch and none was named."""
    if names:
        return list(dict.fromkeys(_named(git, name) for name in names))
    prefixes = () if everything else ("refs/heads/", "refs/tags/")
    found = [ref for ref in list_refs(git, *prefixes) if not is_ours(ref) and not ref.name.startswith(_NEVER_MOVED)]
    detached = detached_head(git)
    return found if detached is None else [*found, detached]


def _named(git: Git, name: str) -> Ref:
    full = git.run("rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", name, check=False)
    reference = os.fsdecode(full).removesuffix("\n")
    found = [ref for ref in list_refs(git, reference) if ref.name == reference] if reference else []
    if not found or is_ours(found[0]) or reference.startswith(_NEVER_MOVED):
        hint = "`git branch --all` and `git tag` list the names there are"
        raise NotFoundError(f"no branch or tag is called {name!r}", kind="revision-unknown", hint=hint)
    return found[0]
