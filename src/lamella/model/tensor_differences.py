"""How far each tensor of one model moved to another: one pass over both, in bounded memory, on several threads."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.errors import NotFoundError
from lamella.core.limits import MIB, OBJECT_COST_NBYTES
from lamella.core.parallel import bundled, ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import Pair
from lamella.model.comparing import SPAN_ELEMENTS, Comparison, compare_specs
from lamella.model.difference import Spectrum, TensorDifference
from lamella.model.epsilons import BY_DTYPE, EpsilonRules
from lamella.model.spectra import spectrum
from lamella.model.streams import StreamedSource
from lamella.model.totals import SpanFound, Total, measure_span

ROWS_KEPT = 16
TASK_NBYTES = 1 * MIB
"""Bytes of both sides that one task measures; large beside a task's cost, small beside the memory bound."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """What is measured of tensors, and how. Histograms take time, and spectra read tensors up to three times more."""

    epsilons: EpsilonRules = BY_DTYPE
    histograms: bool = False
    spectra: bool = False
    threads: int = DEFAULT.threads


DEFAULT_MEASURING = Measuring()


@dataclass(frozen=True, slots=True)
class _Task:
    """A pair that has to be read, and the difference that is filled in."""

    comparison: Comparison
    difference: TensorDifference


@dataclass(frozen=True, slots=True)
class _Span:
    """Some elements of both sides, and whether they are the last of their pair."""

    task: _Task
    number: int
    before: Buffer
    after: Buffer
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Result:
    """What was found in a span, without its bytes."""

    task: _Task
    found: SpanFound
    is_last: bool


def tensor_differences(
    before: StreamedSource,
    after: StreamedSource,
    pairs: Sequence[Pair],
    same: Collection[Pair] = frozenset(),
    how: Measuring = DEFAULT_MEASURING,
    progress: Progress = SILENT,
) -> Iterator[TensorDifference]:
    """Yield what became of each pair of tensors, in their order; those in `same`, whose bytes are alike, are not read.

    Numbers do not depend on the threads, nor on the pieces in which the sources yield tensors. `progress` is told of
    the bytes read of both sides. Raises as the sources do, before anything is said of the tensor that is not what was
    stored, FormatError (file-truncated) for a tensor of another length than its shape says, and NotFoundError
    (tensor-unknown) for a pair of which a side is not there.
    """
    specs = [{spec.name: spec for spec in source.specs()} for source in (before, after)]
    known = frozenset(same)
    planned: list[tuple[TensorDifference, _Task | None]] = []
    for pair in pairs:
        sides = _named(specs[0], pair.before), _named(specs[1], pair.after)
        planned.append(_plan(TensorDifference(*sides, pair, pair in known), how))
    tasks = [task for _, task in planned if task is not None]
    with closing(_measured(before, after, tasks, how, progress)) as measured:
        for difference, task in planned:
            yield difference if task is None else next(measured)


def _named(specs: Mapping[str, TensorSpec], name: str) -> TensorSpec:
    try:
        return specs[name]
    except KeyError:
        hint = "name tensors as the model does"
        raise NotFoundError(f"there is no tensor {name[:80]!r}", kind="tensor-unknown", hint=hint) from None


def _plan(difference: TensorDifference, how: Measuring) -> tuple[TensorDifference, _Task | None]:
    epsilon = how.epsilons.epsilon(difference.before, difference.after)
    difference = replace(difference, epsilon=epsilon)
    if difference.same:
        return difference, None
    comparison = compare_specs(difference.before, difference.after)
    if comparison.unread:
        return replace(difference, unread=comparison.unread), None
    return difference, _Task(comparison, replace(difference, overlap=comparison.overlap))


def _measured(
    before: StreamedSource, after: StreamedSource, tasks: Sequence[_Task], how: Measuring, progress: Progress
) -> Generator[TensorDifference, None, None]:
    """Yield the differences of all tasks, while other threads measure what is read for the next."""
    bundles = bundled(_spans(before, after, tasks, progress), _cost, TASK_NBYTES)
    total: Total | None = None
    with closing(ordered_map(partial(_measure, how), bundles, how.threads)) as results:
        for result in chain.from_iterable(results):
            total = Total(result.task.comparison) if total is None else total
            total.add(result.found)
            if result.is_last:
                difference = _finished(result.task.difference, total)
                if how.spectra:
                    difference = replace(difference, spectrum=_spectrum(before, after, result.task, difference))
                yield difference
                total = None


def _spans(
    before: StreamedSource, after: StreamedSource, tasks: Sequence[_Task], progress: Progress
) -> Iterator[_Span]:
    """Read both sides of every task, span by span."""
    earlier = before.stream([task.comparison.before.name for task in tasks])
    later = after.stream([task.comparison.after.name for task in tasks])
    for task, one, other in zip(tasks, earlier, later, strict=True):
        comparison = task.comparison
        sides = zip(comparison.spans(one, comparison.before), comparison.spans(other, comparison.after), strict=True)
        span = _Span(task, 0, b"", b"", is_last=True)
        for number, (old, new) in enumerate(sides):
            if number:
                yield span
            progress.advance(len(old) + len(new))
            span = _Span(task, number, old, new, is_last=False)
        # Both sources have come to their end, and verified what they gave.
        yield replace(span, is_last=True)


def _cost(span: _Span) -> int:
    return len(span.before) + len(span.after) + OBJECT_COST_NBYTES


def _measure(how: Measuring, spans: list[_Span]) -> list[_Result]:
    found = []
    for span in spans:
        task = span.task
        epsilon = task.difference.epsilon
        said = measure_span(task.comparison, span.number, span.before, span.after, epsilon, histogram=how.histograms)
        found.append(_Result(task, said, span.is_last))
    return found


def _finished(difference: TensorDifference, total: Total) -> TensorDifference:
    return replace(
        difference,
        measures=total.measures,
        rows=total.furthest(ROWS_KEPT),
        row_points=total.row_points(difference.epsilon),
        row_count=total.row_count,
        histogram=total.histogram(),
    )


def _spectrum(
    before: StreamedSource, after: StreamedSource, task: _Task, difference: TensorDifference
) -> Spectrum | None:
    """Return the spectrum of a pair that changed, which is read again for it."""
    comparison = task.comparison
    if difference.measures is None or not difference.measures.max_absolute:
        return None
    dtypes = comparison.before.dtype.name, comparison.after.dtype.name

    def read() -> Iterator[tuple[Buffer, Buffer, int]]:
        alone: list[_Task] = [task]
        for span in _spans(before, after, alone, SILENT):
            yield span.before, span.after, min(SPAN_ELEMENTS, comparison.count - span.number * SPAN_ELEMENTS)

    return spectrum(read, *dtypes, comparison.count, comparison.row_items, difference.measures.max_absolute)
