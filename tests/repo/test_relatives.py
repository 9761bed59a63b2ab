"""Of the models beside a new one, no more are read and remembered than suit it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from lamella.core.ids import digest
from lamella.formats.base import TensorSpan
from lamella.ops.add import _MOST_FRESH_ROWS, _remember
from lamella.repo.manifest import Manifest, Row
from lamella.repo.relatives import LEAST_ROWS, MOST_MODELS, MOST_ROWS_PER_TENSOR, family_of
from lamella.testing.models import spec


def manifest(number: int, tensors: int) -> Manifest:
    rows = tuple(Row(spec(f"{number}.{tensor}", 40), digest(b"%d %d" % (number, tensor))) for tensor in range(tensors))
    return Manifest("safetensors", None, rows)


def test_manifests_are_read_until_there_are_as_many_tensors_as_suit_the_file():
    read = []

    def others() -> Iterator[Manifest]:
        for number in range(MOST_MODELS):
            read.append(number)
            yield manifest(number, 500)

    spans = [TensorSpan(spec(f"new.{number}", 40), 160 * number) for number in range(100)]
    most = LEAST_ROWS + MOST_ROWS_PER_TENSOR * len(spans)
    family = family_of(spans, [manifest(99, 10)], others())
    assert len(family.shaped((40,))) == most + 10
    assert read == list(range(-(-most // 500)))
    assert family.named("0.0")


def test_what_one_command_added_is_remembered_newest_first_and_not_all_of_it():
    fresh: deque[Manifest] = deque()
    small = [manifest(number, 1) for number in range(MOST_MODELS + 5)]
    for one in small:
        _remember(fresh, one)
    assert list(fresh) == small[:4:-1]
    large = manifest(1000, _MOST_FRESH_ROWS + 1)
    _remember(fresh, large)
    assert list(fresh) == [large]
    _remember(fresh, small[0])
    assert list(fresh) == [small[0]]
