"""Content-defined cuts: where they may fall, and how far an edit reaches."""

from __future__ import annotations

import random
import statistics
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.codec.kernels import find_cut
from lamella.testing.codecs import noise

BOUNDS = (64, 256, 1024)


def chunks(data: bytes, bounds: tuple[int, int, int] = BOUNDS) -> list[bytes]:
    found, rest = [], memoryview(data)
    while rest:
        length = find_cut(rest, *bounds)
        found.append(bytes(rest[:length]))
        rest = rest[length:]
    return found


@given(data=st.binary(max_size=3000) | st.builds(noise, st.integers(0, 20_000), st.integers(0, 99)))
def test_chunks_make_up_the_data_and_keep_to_their_bounds(data):
    found = chunks(data)
    assert b"".join(found) == data
    assert all(64 <= len(chunk) <= 1024 for chunk in found[:-1])
    assert all(0 < len(chunk) <= 1024 for chunk in found[-1:])


@given(nbytes=st.integers(0, 64), seed=st.integers(0, 99))
def test_data_no_longer_than_the_minimum_are_one_chunk(nbytes, seed):
    assert find_cut(noise(nbytes, seed), *BOUNDS) == nbytes


@given(seed=st.integers(0, 99), more=st.integers(0, 5000))
def test_the_first_chunk_depends_on_no_byte_past_the_maximum(seed, more):
    data = noise(1024, seed)
    assert find_cut(data + noise(more, seed + 1), *BOUNDS) == find_cut(data, *BOUNDS)


@given(seed=st.integers(0, 99), other=st.integers(100, 199))
def test_a_cut_depends_on_the_64_bytes_before_it_alone(seed, other):
    # With a minimum equal to the average one bound holds for every position.
    bounds = (64, 64, 4096)
    data = noise(4096, seed)
    length = find_cut(data, *bounds)
    assert length < 4096
    assert find_cut(data[length - 64 : length] + noise(100, other), *bounds) == 64


def cuts_from_the_end(data: bytes) -> list[int]:
    """Return where chunks begin, counted from the end of the data, the last one first."""
    return list(accumulate(len(chunk) for chunk in reversed(chunks(data))))


@given(seed=st.integers(0, 99), at=st.integers(0, 60_000), inserted=st.binary(min_size=1, max_size=50))
def test_behind_an_insertion_the_first_cut_in_common_makes_all_the_rest_common(seed, at, inserted):
    data = noise(60_000, seed)
    before, after = cuts_from_the_end(data), cuts_from_the_end(data[:at] + inserted + data[at:])
    behind = len(data) - at
    common = max((cut for cut in set(before) & set(after) if cut <= behind), default=0)
    assert [cut for cut in before if cut <= common] == [cut for cut in after if cut <= common]


def test_an_insertion_changes_only_the_chunks_near_it():
    # How soon the cuts meet again is chance, so this is a sample that stays the same.
    for number in range(300):
        drawn = random.Random(number)
        data, at = noise(60_000, number), drawn.randrange(60_000)
        changed = data[:at] + drawn.randbytes(drawn.randint(1, 50)) + data[at:]
        assert len(set(chunks(changed)) - set(chunks(data))) <= 12


def test_lengths_lie_about_the_average():
    lengths = [len(chunk) for chunk in chunks(noise(1 << 21, 1))]
    assert 256 <= statistics.mean(lengths) <= 320
    assert statistics.quantiles(lengths, n=20)[0] > 100
    assert statistics.quantiles(lengths, n=20)[-1] < 500


def test_data_without_features_are_cut_at_the_maximum():
    assert [len(chunk) for chunk in chunks(bytes(3000))] == [1024, 1024, 952]


@pytest.mark.parametrize(
    ("minimum", "average", "maximum"),
    [
        (63, 256, 1024),
        (-1, 256, 1024),
        (257, 256, 1024),
        (64, 256, 255),
        (64, 255, 1024),
        (64, 96, 1024),
        (0, 0, 0),
    ],
)
def test_bounds_out_of_order_are_refused(minimum, average, maximum):
    with pytest.raises(ValueError, match="must"):
        find_cut(b"data", minimum, average, maximum)


@pytest.mark.parametrize("shift", [6, 36, 50, 62])
def test_every_power_of_two_from_64_is_an_average(shift):
    lengths = [find_cut(noise(5000, seed), 64, 1 << shift, (1 << 63) - 1) for seed in range(20)]
    if shift == 6:
        assert max(lengths) < 1000
    else:
        assert lengths == [5000] * 20
