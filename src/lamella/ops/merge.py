"""`merge`: another commit's changes come into this branch, files by Git and models tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import Rules
from lamella.ops.conflicts import look_at
from lamella.ops.fast_forward import ensure_free
from lamella.ops.gitverbs import inside
from lamella.ops.merge_commit import commit_merge
from lamella.ops.merge_evidence import NO_EVIDENCE, MergeEvidence
from lamella.ops.merge_rules import check_rules
from lamella.repo import setup
from lamella.repo.attributes import filtered
from lamella.repo.branches import commit_named, head_commit
from lamella.repo.evaluation_settings import EvaluationSettings, ask_later, forget_asked
from lamella.repo.filling import Filled, fill
from lamella.repo.git import GitOid
from lamella.repo.gitfaults import failure
from lamella.repo.merge_rules import VARIABLE, rules_to_json
from lamella.repo.merge_state import FileMerge, forget_states, states
from lamella.repo.repository import Repository
from lamella.repo.settings import merge_settings
from lamella.repo.unmerged import under_way, unmerged

UP_TO_DATE, FAST_FORWARD, MERGED, READY, STOPPED = "up-to-date", "fast-forward", "merged", "not-committed", "conflicts"
"""How a merge ends: nothing was to be done; the branch moved on; there is a merge commit; it waits to be committed, as
was asked for; somebody has to decide."""


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What is merged and how: `commit` is a revision, None for the branch's upstream, `rules` None for the project's.

    `options` are those of `git merge` that go with it, such as ``--no-ff``; `evaluation` judges before the commit.
    """

    commit: str | None = None
    rules: Rules | None = None
    message: str | None = None
    commits: bool = True
    unrelated: bool = False
    options: tuple[str, ...] = ()
    evaluation: EvaluationSettings | None = None


@dataclass(frozen=True, slots=True)
class MergeReport:
    """How a merge ended, the commit that HEAD is now, and what was found in each model file that both sides changed.

    `others` are paths in conflict that are no models' and Git's business, `evidence` is what was found before the
    commit.
    """

    outcome: str
    commit: str
    files: tuple[FileMerge, ...]
    others: tuple[str, ...]
    filled: Filled
    evidence: MergeEvidence = NO_EVIDENCE


@dataclass(frozen=True, slots=True)
class Heads:
    """The commits of a merge, and what they come from: several where histories cross, none where they are unrelated."""

    ours: GitOid
    theirs: GitOid
    bases: tuple[GitOid, ...]


def find_heads(repository: Repository, request: MergeRequest) -> Heads:
    """Return what a request merges.

    Raises NotFoundError (revision-unknown), and UsageError (git-refused) for unrelated histories, unless asked for.
    """
    git = repository.git
    if request.commit is None and not git.run("rev-parse", "--verify", "--quiet", "@{upstream}", check=False):
        hint = "name the commit, or set one with `git branch --set-upstream-to`"
        raise NotFoundError("the branch has no upstream that could be merged", kind="revision-unknown", hint=hint)
    ours, theirs = head_commit(git), commit_named(git, request.commit or "@{upstream}")
    bases = git.run("merge-base", "--all", ours, theirs, check=False).decode().split()
    if not bases and not request.unrelated:
        raise UsageError(
            "the two histories have no common commit",
            kind="git-refused",
            hint="`--allow-unrelated-histories` merges without a base; a strategy such as linear does without one",
        )
    return Heads(ours, theirs, tuple(map(GitOid, bases)))


def merge(repository: Repository, request: MergeRequest, progress: Progress = SILENT) -> MergeReport:
    """Merge a commit into the branch, and fill the worktree.

    All that can be refused is, before Git starts: ConflictError (merge-open) where something is under way, UsageError
    for rules that cannot be followed, for unrelated histories and where Git was not told of us, NotFoundError
    (revision-unknown). What Git itself refuses is raised as `failure` says, and ConflictError (evaluation-failed) where
    an evaluation fails, with the merge under way.
    """
    git = repository.git
    ensure_free(repository)
    if not setup.merges_by_us(git):
        raise UsageError(
            "git was not told in this clone that lamella merges models", kind="not-set-up", hint="run `lamella init`"
        )
    heads = find_heads(repository, request)
    rules = merge_settings(git.worktree) if request.rules is None else request.rules
    check_rules(rules, 2, has_base=bool(heads.bases))
    forget_states(git)
    forget_asked(git)
    if request.evaluation is not None:
        ask_later(git, heads.theirs, request.evaluation)
    options = (*request.options, *(("--allow-unrelated-histories",) if request.unrelated else ()))
    message = () if request.message is None else ("-m", request.message)
    arguments = ("merge", "--no-edit", "--no-commit", *options, *message, request.commit or "@{upstream}")
    ended = git.attempt(*arguments, env={**inside(repository), VARIABLE: rules_to_json(rules)})
    if under_way(git) != "merge":
        forget_asked(git)
    filled = fill(repository, progress)
    waiting = unmerged(git)
    if ended.returncode and not waiting:
        raise failure(arguments, ended.returncode, ended.stderr or ended.stdout)
    found = tuple(states(git))
    if waiting:
        known = {one.path for one in found if one.conflicts or one.failure}
        left = [one for one in waiting if one.path not in known]
        models = set(filtered(git, (one.path for one in left)))
        with repository.reader() as reader:
            untold = (look_at(repository, reader, one).found for one in left if one.path in models)
            files = tuple(sorted((*found, *untold), key=lambda one: one.path))
        others = tuple(one.path for one in left if one.path not in models)
        return MergeReport(STOPPED, heads.ours, files, others, filled)
    outcome, evidence = _finish(repository, request, heads, progress)
    forget_states(git)
    return MergeReport(outcome, git.resolve("HEAD"), found, (), filled, evidence)


def _finish(
    repository: Repository, request: MergeRequest, heads: Heads, progress: Progress
) -> tuple[str, MergeEvidence]:
    """Commit what was merged without a conflict, unless Git has moved on or the user wants to; say how it ended."""
    if repository.git.resolve("HEAD") != heads.ours:
        return FAST_FORWARD, NO_EVIDENCE
    if under_way(repository.git) != "merge":
        return READY if "--squash" in request.options else UP_TO_DATE, NO_EVIDENCE
    if not request.commits:
        return READY, NO_EVIDENCE
    return MERGED, commit_merge(repository, request.evaluation, progress)
