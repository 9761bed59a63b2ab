"""A search for the first bad version on its way: what is tested next, what comes of it, and what is the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lamella.core.errors import LamellaError, UsageError
from lamella.core.progress import Progress
from lamella.ops.bisect_state import BisectState, Outcome, save_state
from lamella.ops.bisect_suspects import list_suspects, model_paths
from lamella.ops.bisection import Bisection
from lamella.ops.changes import FileChange
from lamella.ops.evaluate import REVISION, Evaluation, Evaluator
from lamella.ops.log import log
from lamella.ops.verdict import BAD, GOOD, SKIPPED, Judge, Verdict
from lamella.repo.commits import CommitSummary, summaries
from lamella.repo.git import GitOid
from lamella.repo.repository import Repository
from lamella.repo.scratch_worktree import ScratchWorktree

_UNREADABLE = ("object-missing", "manifest-mixed", "manifest-malformed", "manifest-version", "skeleton-malformed")
"""Why a version cannot be looked at, though nothing is wrong with others."""

_NAMED = 8
"""Suspects that a message names; `lamella bisect log` has all."""


@dataclass(frozen=True, slots=True)
class Step:
    """A version that is about to be tested, or that was; then `outcome` says what it came to.

    `suspects` are left, and about `steps` tests after this one. `role` is good or bad for the ends of the search, and
    "" for what is between.
    """

    commit: CommitSummary
    role: str
    suspects: int
    steps: int
    outcome: Outcome | None = None


Listener = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class BisectReport:
    """The first bad version, and what it took to find it.

    `before` is the metric of the version before it where that was tested, else of the good one, and `after` its own;
    both are None without a metric. `files` are the model files that it changed. `resumed` evaluations of `evaluations`
    are of an earlier call that did not come to its end.
    """

    first_bad: CommitSummary
    metric: str | None
    before: float | None
    after: float | None
    files: tuple[FileChange, ...]
    versions: int
    evaluations: int
    resumed: int
    skipped: tuple[GitOid, ...]

    @property
    def tensors(self) -> int:
        """How many tensors it changed, added or removed."""
        return sum(len(file.tensors) for file in self.files)


class Search:
    """One search on its way: `state` is what is known when it begins, and what is found out is kept."""

    def __init__(
        self,
        repository: Repository,
        scratch: ScratchWorktree,
        evaluator: Evaluator,
        state: BisectState,
        hear: Listener,
        progress: Progress,
    ) -> None:
        self._repository, self._scratch, self._evaluator = repository, scratch, evaluator
        self._state, self._hear, self._progress = state, hear, progress
        self._question = state.question
        self._resumed = state.evaluations
        self._parents = list_suspects(repository.git, self._question.good, self._question.bad, self._question.paths)
        self._search = Bisection(self._parents)
        self._judge = Judge(self._question.criterion)

    def run(self) -> BisectReport:
        """Search, and keep the answer."""
        if self._question.criterion.metric is not None:
            self._measure_good()
        while (commit := self._search.next()) is not None:
            self._apply(self._test(GitOid(commit)))
        if len(self._search.suspects) > 1:
            raise self._undecided()
        found = GitOid(self._search.suspects[0])
        self._check_ends(found)
        self._keep(replace(self._state, answer=found))
        return self._report(found)

    def _measure_good(self) -> None:
        measured = self._test(self._question.good, GOOD)
        if measured.verdict.what == SKIPPED:
            raise self._ended(_cannot(measured, "the good version"))
        self._judge = Judge(self._question.criterion, measured.verdict.values)

    def _apply(self, tested: Outcome) -> None:
        what = tested.verdict.what
        (self._search.bad if what == BAD else self._search.good if what == GOOD else self._search.skip)(tested.commit)

    def _check_ends(self, found: GitOid) -> None:
        """Test an end that was only believed: the bad one if nothing was bad, the good one if nothing was good."""
        if not self._came_out(BAD):
            tested = self._test(found, BAD)
            if tested.verdict.what == SKIPPED:
                raise self._ended(_cannot(tested, "every other version is good, and the bad one"))
            if tested.verdict.what == GOOD:
                hint = "the command has to look at the file that {model}, or LAMELLA_MODEL, names"
                raise self._ended(UsageError("the bad version is as good as the others", kind="ends-agree", hint=hint))
        if not self._came_out(GOOD) and self._test(self._question.good, GOOD).verdict.what == BAD:
            hint = "see whether the command itself works, or name an older good version"
            raise self._ended(UsageError("the good version is bad, like the others", kind="ends-agree", hint=hint))

    def _came_out(self, what: str) -> bool:
        return any(one.verdict.what == what for one in self._state.outcomes)

    def _test(self, commit: GitOid, role: str = "") -> Outcome:
        """Return what a version comes to, which may be known."""
        tested = self._state.find(commit)
        if tested is None:
            summary = summaries(self._repository.git, [commit])[commit]
            left = len(self._search.suspects), self._search.steps
            self._hear(Step(summary, role, *left))
            tested = self._evaluated(commit, measured=role == GOOD)
            self._keep(replace(self._state, outcomes=(*self._state.outcomes, tested)))
            self._hear(Step(summary, role, *left, tested))
        return tested

    def _evaluated(self, commit: GitOid, *, measured: bool) -> Outcome:
        models = self._models(commit)
        reason = self._put(commit) if models else "it has no model file there"
        if reason is not None:
            return Outcome(commit, Verdict(SKIPPED, (), (), 0.0), reason)
        model, untouched = self._scratch.path / models[0], True

        def evaluate() -> Evaluation:
            nonlocal untouched
            if not untouched:
                self._put(commit)  # the command may have removed or changed it
            untouched = False
            return self._evaluator.evaluate(model, commit[:10], {REVISION: commit})

        has_metric = self._question.criterion.metric is not None
        judge = self._judge.measure if measured and has_metric else self._judge.judge
        return Outcome(commit, judge(evaluate))

    def _models(self, commit: GitOid) -> list[str]:
        """Return what the model may be called in a version: as in the bad one, or as nothing is called there."""
        there, last = (model_paths(self._repository, one, self._question.paths) for one in (commit, self._question.bad))
        return [path for path in last[:1] if path in there] or [path for path in there if path not in last]

    def _put(self, commit: GitOid) -> str | None:
        """Put a version there to be looked at, and return why that cannot be."""
        failed = self._scratch.put(commit, self._question.paths, self._progress)
        for path, error in failed:
            if error.kind not in _UNREADABLE:
                raise error
            return f"{path}: {error.message}"
        return None

    def _keep(self, state: BisectState) -> None:
        self._state = state
        save_state(self._repository, state)

    def _ended(self, error: LamellaError) -> LamellaError:
        """Return the error with which the search is over, and keep that it is."""
        self._keep(replace(self._state, answer=""))
        return error

    def _undecided(self) -> LamellaError:
        suspects = self._search.suspects
        names = ", ".join(commit[:10] for commit in suspects[:_NAMED]) + (", ..." if len(suspects) > _NAMED else "")
        hint = "`lamella bisect log` says why they were skipped"
        said = f"the first bad version is one of {len(suspects)}, which cannot be tested: {names}"
        return self._ended(UsageError(said, kind="undecided", hint=hint))

    def _report(self, found: GitOid) -> BisectReport:
        tested = self._state.find(found)
        before = [one for parent in self._parents[found] if (one := self._state.find(parent)) and one.verdict.values]
        good = before[0] if before else self._state.find(self._question.good)
        (entry,) = log(self._repository, [found], limit=1)
        below = self._question.paths
        files = [
            one for one in entry.files if any(one.path == path or one.path.startswith(f"{path}/") for path in below)
        ]
        return BisectReport(
            summaries(self._repository.git, [found])[found],
            self._question.criterion.metric,
            good.verdict.value if good else None,
            tested.verdict.value if tested else None,
            tuple(files),
            len(self._parents),
            self._state.evaluations,
            self._resumed,
            tuple(one.commit for one in self._state.outcomes if one.verdict.what == SKIPPED),
        )


def _cannot(tested: Outcome, which: str) -> UsageError:
    """Return the error for an end of the search that cannot be tested."""
    why = tested.reason or "the command skips it"
    hint = "name another version, or paths that it has"
    return UsageError(f"{which} cannot be tested: {why}", kind="undecided", hint=hint)
