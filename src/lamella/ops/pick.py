"""A change times a number: `cherry-pick --scale` and `revert --scale`, by Git's cherry-pick of commits made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.errors import UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.gitverbs import VerbReport, run_verb
from lamella.ops.scaled_commit import PickRequest, parent_of, scaled_commit
from lamella.repo.filling import Filled
from lamella.repo.merge_rules import VARIABLE, rules_to_json
from lamella.repo.merge_state import forget_states
from lamella.repo.pick_state import Picking, forget_picking, is_stopped, read_picking, write_picking
from lamella.repo.refmove import ensure_at_rest
from lamella.repo.repository import Repository
from lamella.repo.unmerged import unmerged


@dataclass(frozen=True, slots=True)
class Picked:
    """What became of a sequence: Git's status, what was written, notes for the user, and commits not yet applied."""

    status: int
    filled: Filled
    notes: tuple[str, ...]
    left: tuple[str, ...]


def pick(repository: Repository, request: PickRequest, progress: Progress = SILENT) -> Picked:
    """Apply changes one after the other, each as a commit, until one stops that somebody has to decide about.

    Raises UsageError: bad-argument for a scale that cannot be and for merges without a mainline, git-refused where
    something is under way; NotFoundError (object-missing) where weights are not in the store.
    """
    git = repository.git
    if not request.scale or abs(request.scale) > 16:
        hint = "give a number from -16 to 16, such as 0.5; without `--scale` the change is taken whole"
        raise UsageError(f"a change cannot be scaled by {request.scale:g}", kind="bad-argument", hint=hint)
    ensure_at_rest(git)
    for commit in request.commits:
        parent_of(git, commit, request.mainline)
    forget_picking(git)
    return _go(repository, request, request.commits, git.resolve("HEAD^{commit}"), progress)


def under_way(repository: Repository) -> Picking | None:
    """Return the sequence that has stopped; raise FormatError (picking-malformed) where that cannot be known."""
    return read_picking(repository.git)


def resume(
    repository: Repository, state: Picking, how: str, progress: Progress = SILENT, *, to_stderr: bool = False
) -> Picked:
    """Go on with a sequence, `how` being ``--continue``, ``--skip``, ``--abort`` or ``--quit``.

    With `to_stderr` all that Git prints goes there.
    """
    git = repository.git
    request = PickRequest(
        state.left, state.scale, state.reverse, state.mainline, state.names_origin, state.options
    )  # fmt: skip
    stopped = is_stopped(git, state)
    passed = stopped or how == "--skip" or git.resolve("HEAD") != state.head
    left = state.left[1:] if passed else state.left
    report = VerbReport(0, Filled((), 0, ()))
    if stopped:
        report = run_verb(
            repository, ["-c", "core.editor=:", "cherry-pick", how], progress, _variables(request), to_stderr=to_stderr
        )
    _forget(repository)
    if report.status:
        return Picked(report.status, report.filled, (), left)
    if how in ("--abort", "--quit"):
        if how == "--abort" and git.resolve("HEAD") != state.start:
            report = _both(
                report, run_verb(repository, ["reset", "--quiet", "--keep", state.start], progress, to_stderr=to_stderr)
            )
        forget_picking(git)
        return Picked(report.status, report.filled, (), ())
    rest = _go(repository, request, left, state.start, progress, to_stderr=to_stderr)
    return replace(rest, filled=_both(report, VerbReport(0, rest.filled)).filled)


def _go(
    repository: Repository,
    request: PickRequest,
    commits: Sequence[str],
    start: str,
    progress: Progress,
    *,
    to_stderr: bool = False,
) -> Picked:
    git, notes = repository.git, list[str]()
    total = VerbReport(0, Filled((), 0, ()))
    commits_made = not {"-n", "--no-commit"} & set(request.options)
    for number, commit in enumerate(commits):
        step = scaled_commit(repository, request, commit, notes, progress)
        if commits_made:
            write_picking(
                git,
                Picking(
                    request.reverse, request.scale, request.mainline, request.names_origin, request.options,
                    start, git.resolve("HEAD"), step, tuple(commits[number:]),
                ),
            )  # fmt: skip
        report = run_verb(
            repository, ["cherry-pick", *request.options, step], progress, _variables(request), to_stderr=to_stderr
        )
        total = _both(total, report)
        _forget(repository)
        if report.status:
            return Picked(report.status, total.filled, tuple(notes), tuple(commits[number + 1 :]))
    forget_picking(git)
    return Picked(0, total.filled, tuple(notes), ())


def _variables(request: PickRequest) -> dict[str, str]:
    return {VARIABLE: rules_to_json(request.rules)}


def _both(one: VerbReport, other: VerbReport) -> VerbReport:
    first, second = one.filled, other.filled
    filled = Filled(
        tuple(dict.fromkeys((*first.paths, *second.paths))), first.nbytes + second.nbytes, second.failed
    )  # fmt: skip
    return VerbReport(other.status, filled)


def _forget(repository: Repository) -> None:
    forget_states(repository.git, [one.path for one in unmerged(repository.git)])
