"""What is looked at after a merge: new findings, shrunken norms, broken ties, averaged statistics, graphs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from math import prod

from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.errors import FormatError, UsageError
from lamella.core.graphs import Graph
from lamella.core.parallel import ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.model.examination import is_examined
from lamella.model.health import SEVERITIES, WARNING, Finding, finding
from lamella.model.health_checks.builtin import CHECKS
from lamella.model.measure_reference import parts
from lamella.model.merging.checks import (
    Content,
    Squares,
    averaged_statistics,
    broken_ties,
    measure_squares,
    norm_shrink,
)
from lamella.model.merging.graph_fit import graph_problems
from lamella.model.streams import cut, lengths_of
from lamella.ops.health import health
from lamella.repo.joined_model import Model

MERGE_CHECKS = ("norm-shrink", "untied", "averaged-statistics", "graph")
"""The checks that only a merge has; all others are those of `lamella health`."""

_SPAN_ELEMENTS = 1 << 18


@dataclass(frozen=True, slots=True)
class MergeChecks:
    """What was found in a merged model and in none of its sides, the worst first.

    `computed` tensors are on no side as they are, and only these were looked at; `nbytes` is what was read, of all
    models.
    """

    path: str
    computed: int
    nbytes: int
    findings: tuple[Finding, ...]


def check_merged(
    merged: Model,
    base: Model | None,
    sides: Sequence[Model],
    *,
    recorded: Graph | None = None,
    recorded_before: Sequence[Graph | None] = (),
    skip: Collection[str] = (),
    threads: int = DEFAULT.threads,
    progress: Progress = SILENT,
) -> MergeChecks:
    """Look at what a merge computed, every tensor in one pass beside those that it came from, in bounded memory.

    Contents are compared by their ids, so models of a store are wanted here: of files on disk all is hashed. `skip`
    are names of checks to leave out. The tensors are held against the computation graph in the file, or `recorded`
    beside it, as the sides are against theirs, `recorded_before`. Raises UsageError (bad-argument) for a check that
    does not exist, and as `health` does for tensors that cannot be read.
    """
    unknown = sorted(set(skip) - {*CHECKS, *MERGE_CHECKS})
    if unknown:
        hint = f"one of {', '.join((*CHECKS, *MERGE_CHECKS))}"
        raise UsageError(f"there is no check {unknown[0]!r}", kind="bad-argument", hint=hint)
    others = [*([] if base is None else [base]), *sides]
    contents = _contents(merged)
    known = {content for model in others for content in _contents(model).values()}
    computed = [merged.spec(name) for name, content in contents.items() if content not in known]
    examined = [spec for spec in computed if is_examined(spec)]
    nbytes, findings = _new_findings(merged, sides, [spec.name for spec in examined], skip, threads, progress)
    if "norm-shrink" not in skip:
        squares = _Squares(merged, base, sides, examined)
        findings += norm_shrink(squares.measure(threads, progress))
        nbytes += squares.nbytes
    findings += broken_ties(contents, list(map(_contents, others)))
    findings += averaged_statistics(computed)
    findings += _misfits(merged, sides, recorded, recorded_before)
    kept = [one for one in findings if one.check not in skip]
    ordered = tuple(sorted(kept, key=lambda one: SEVERITIES.index(one.severity)))
    return MergeChecks(merged.path, len(computed), nbytes, ordered)


def _contents(model: Model) -> dict[str, Content]:
    return {name: (bytes(row.object), row.spec.dtype.name, row.spec.shape) for name, row in model.rows.items()}


def _new_findings(
    merged: Model, sides: Sequence[Model], names: Sequence[str], skip: Collection[str], threads: int, progress: Progress
) -> tuple[int, list[Finding]]:
    """Return the bytes read, and what is found in tensors of the merged model and not in those of any side.

    The sides are read only where something was found.
    """
    left_out = set(skip) & set(CHECKS)
    if not names:
        return 0, []
    report = health(_only(merged, names), skip=left_out, threads=threads, progress=progress)
    nbytes, found = report.nbytes, list(report.findings)
    places = {one.where for one in found}
    wanted = places if places <= set(names) else set(names)
    for side in sides:
        there = [name for name in names if name in wanted and name in side.names]
        if there:
            earlier = health(_only(side, there), skip=left_out, threads=threads, progress=progress)
            nbytes += earlier.nbytes
            had = {(one.check, one.where) for one in earlier.findings}
            found = [one for one in found if (one.check, one.where) not in had]
    return nbytes, found


def _misfits(
    merged: Model, sides: Sequence[Model], recorded: Graph | None, before: Sequence[Graph | None]
) -> Iterator[Finding]:
    """Yield what the computation graph wants otherwise than the tensors are, where that is so on no side."""
    told = _problems(merged, recorded)
    pairs = zip_longest(sides, before[: len(sides)]) if told else ()
    had = {problem for side, graph in pairs for problem in _problems(side, graph)}
    advice = "record the graph of the merged model anew, or take model and graph from one side"
    yield from (finding("graph", WARNING, "", problem, advice) for problem in told if problem not in had)


def _problems(model: Model, recorded: Graph | None) -> tuple[str, ...]:
    try:
        graph = recorded or (model.files[0].graph() if len(model.files) == 1 else None)
    except FormatError as exc:
        return (exc.message,)
    return () if graph is None else graph_problems(graph, [model.spec(name) for name in model.names])


def _only(model: Model, names: Sequence[str]) -> Model:
    return replace(model, names={name: model.names[name] for name in names})


@dataclass(frozen=True, slots=True)
class _Task:
    """A tensor of the merged model, and those that it is put beside, that of the base first where there is one."""

    name: str
    specs: tuple[TensorSpec, ...]
    has_base: bool


_Span = tuple[_Task, int, tuple[Buffer, ...]]


class _Squares:
    """The measuring of merged tensors beside those of base and sides that have the same name and shape."""

    def __init__(self, merged: Model, base: Model | None, sides: Sequence[Model], specs: Sequence[TensorSpec]) -> None:
        self.nbytes = 0
        self._merged, self._base, self._sides = merged, base, sides
        tasks = map(self._task, specs)
        self._tasks = [(task, models) for task, models in tasks if len(task.specs) - task.has_base > 2]

    def _task(self, spec: TensorSpec) -> tuple[_Task, tuple[Model, ...]]:
        there = [model for model in self._sides if self._fits(model, spec)]
        based = self._base is not None and self._fits(self._base, spec)
        models = (*([self._base] if based and self._base is not None else []), *there)
        return _Task(spec.name, (spec, *(model.spec(spec.name) for model in models)), based), (self._merged, *models)

    @staticmethod
    def _fits(model: Model, spec: TensorSpec) -> bool:
        if spec.name not in model.names:
            return False
        there = model.spec(spec.name)
        return there.shape == spec.shape and is_examined(there)

    def measure(self, threads: int, progress: Progress) -> dict[str, Squares]:
        """Return the sums of squares of each tensor."""
        progress.start("checking", sum(spec.nbytes for task, _ in self._tasks for spec in task.specs))
        found: dict[str, Squares] = {}
        with closing(ordered_map(_measured, self._spans(progress), threads)) as measured:
            for name, group in groupby(measured, key=lambda one: one[0]):
                for _, squares in group:
                    found[name] = found[name] + squares if name in found else squares
        progress.finish()
        return found

    def _spans(self, progress: Progress) -> Iterator[_Span]:
        for task, models in self._tasks:
            streams = [next(model.stream([task.name])) for model in models]
            cuts = [
                cut(pieces, lengths_of(spec.nbytes, _SPAN_ELEMENTS * spec.dtype.bits // 8))
                for pieces, spec in zip(streams, task.specs, strict=True)
            ]
            count = prod(task.specs[0].shape)
            for number, buffers in enumerate(zip(*cuts, strict=True)):
                length = sum(map(len, buffers))
                self.nbytes += length
                progress.advance(length)
                yield task, min(_SPAN_ELEMENTS, count - number * _SPAN_ELEMENTS), buffers


def _measured(span: _Span) -> tuple[str, Squares]:
    task, count, buffers = span
    dtypes = [spec.dtype.name for spec in task.specs]
    base = buffers[1] if task.has_base else None
    sides = buffers[1 + task.has_base :]
    return task.name, measure_squares(count * parts(dtypes[0]), dtypes, buffers[0], base, sides)
