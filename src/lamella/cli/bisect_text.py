"""What `lamella bisect` prints: what is being tested, what came of it, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lamella.cli import render
from lamella.ops.bisect_layers import BisectLayersReport, Mixture
from lamella.ops.bisect_search import BisectReport, Step
from lamella.ops.bisect_state import BisectState
from lamella.ops.verdict import Verdict
from lamella.repo.commits import CommitSummary
from lamella.repo.git import GitOid

_SHOWN_ID = 10
_SHOWN_DATE = len("2026-05-17")
_SHOWN_SECONDS = 10
"""What an evaluation has to take to be told."""

_SHOWN_LEFT_OUT = 8


def ignore(_: object) -> None:
    """Hear what is tested and say nothing."""


def tell_step(metric: str | None) -> Callable[[Step], None]:
    """Return a listener that tells of each version before and after it is tested."""

    def tell(step: Step) -> None:
        if step.outcome is not None:
            render.note(f"  {_came_to(step.outcome.verdict, metric, step.outcome.reason)}")
            return
        left = f"{render.counted(step.suspects, 'suspect')}, about {render.counted(step.steps, 'step')} left"
        role = f"the {step.role} version" if step.role else left
        render.note(f"testing {step.commit.commit[:_SHOWN_ID]} {render.cut(step.commit.subject)} ({role})")

    return tell


def tell_mixture(metric: str | None) -> Callable[[Mixture], None]:
    """Return a listener that tells of each mixture before and after it is tested."""

    def tell(mixture: Mixture) -> None:
        if mixture.verdict is not None:
            render.note(f"  {_came_to(mixture.verdict, metric)}")
        elif mixture.whole:
            render.note("testing the second model itself")
        elif not mixture.layers:
            render.note("testing the first model")
        else:
            first, last = mixture.layers[0], mixture.layers[-1]
            which = first if first == last else f"{render.counted(len(mixture.layers), 'layer')}, {first} to {last}"
            render.note(f"testing the first model with {which}")

    return tell


def _came_to(verdict: Verdict, metric: str | None, reason: str | None = None) -> str:
    value = "" if verdict.value is None else f": {metric} {verdict.value:.6g}"
    times = f", {len(verdict.statuses)} times" if len(verdict.statuses) > 1 else ""
    took = f", {verdict.seconds:.0f} s" if verdict.seconds >= _SHOWN_SECONDS else ""
    return f"{verdict.what}{value}{times}{took}{f': {reason}' if reason else ''}"


def show_run(report: BisectReport) -> None:
    """Print the first bad version."""
    found = report.first_bad
    render.line(f"{found.commit[:_SHOWN_ID]} is the first bad version", bold=True)
    render.line(f"  {found.author}, {found.date[:_SHOWN_DATE]}: {found.subject}")
    if report.after is not None and report.before is not None:
        render.line(f"  {report.metric} {report.before:.6g} before, {report.after:.6g} after")
    for file in report.files:
        render.line(f"  {file.path}: {len(file.tensors):,} of {render.counted(file.total, 'tensor')} changed")
    resumed = f", {report.resumed} of them before" if report.resumed else ""
    skipped = f", {render.counted(len(report.skipped), 'version')} skipped" if report.skipped else ""
    counts = render.counted(report.versions, "version"), render.counted(report.evaluations, "evaluation")
    render.line(f"found among {counts[0]} in {counts[1]}{resumed}{skipped}")


def show_layers(report: BisectLayersReport) -> None:
    """Print the guilty layers."""
    if not report.layers:
        said = f"no layer that can be put into {report.before_name} makes it bad, though {report.after_name} is"
    elif len(report.layers) == 1:
        said = f"one layer of {report.after_name} makes {report.before_name} bad"
    else:
        said = f"{len(report.layers)} layers of {report.after_name} make {report.before_name} bad, only together"
    render.line(said, bold=True)
    for layer in report.layers:
        named = f" ({after.rpartition('.')[0]})" if (after := layer.tensors[0][1]) != layer.tensors[0][0] else ""
        render.line(f"  {layer.name}{named}: {render.counted(len(layer.tensors), 'tensor')} changed")
    if report.before is not None and report.after is not None:
        render.line(f"  {report.metric} {report.before:.6g} before, {report.after:.6g} after")
    render.line(
        f"found among {render.counted(report.changed, 'layer')} in {render.counted(report.evaluations, 'evaluation')}"
    )
    if report.left_out:
        shown = ", ".join(f"{one.name[:80]} ({one.why})" for one in report.left_out[:_SHOWN_LEFT_OUT])
        more = f", and {len(report.left_out) - _SHOWN_LEFT_OUT} more" if len(report.left_out) > _SHOWN_LEFT_OUT else ""
        render.line(f"not put there: {shown}{more}")


def show_log(state: BisectState, commits: Mapping[GitOid, CommitSummary]) -> None:
    """Print a search, with what each version came to."""
    question = state.question
    render.line(f"first bad version from {question.good[:_SHOWN_ID]} to {question.bad[:_SHOWN_ID]}: {question.command}")
    rows = []
    for one in state.outcomes:
        subject = commits[one.commit].subject if one.commit in commits else "a commit that is gone"
        rows.append((one.commit[:_SHOWN_ID], _came_to(one.verdict, question.criterion.metric, one.reason), subject))
    render.columns(rows)
    ended = f"found: {state.answer[:_SHOWN_ID]}" if state.answer else "ended without an answer"
    ended = "not at its end" if state.answer is None else ended
    render.line(f"{ended}, after {render.counted(state.evaluations, 'evaluation')}")
