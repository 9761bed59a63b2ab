"""Random numbers follow from seed, stream and place, and from nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamella.model.merging.draws import draw

PLACES = st.integers(0, 1 << 40)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 54) - 1), PLACES, st.integers(0, 70), st.integers(0, 70))
def test_a_run_is_the_same_wherever_it_is_cut(seed, stream, first, one, other):
    whole = draw(seed, stream, first, one + other)
    parts = [draw(seed, stream, first, one), draw(seed, stream, first + one, other)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_the_numbers_are_those_of_philox():
    """The first block is that of counter 1 and key 0, by the paper's algorithm written out in integers."""
    expected = philox((1, 0, 0, 0), (0, 0))
    assert [int(number) for number in draw(0, 0, 0, 8)] == [
        half for word in expected for half in (word & 0xFFFFFFFF, word >> 32)
    ]
    expected = philox((6, 0, 0, 0), (77, 5))
    assert int(draw(77, 5, 40, 1)[0]) == expected[0] & 0xFFFFFFFF


def test_the_algorithm_here_gives_the_numbers_that_its_authors_publish():
    assert philox((0, 0, 0, 0), (0, 0)) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B
    ]  # fmt: skip


def test_streams_and_seeds_differ_and_are_even():
    runs = [draw(seed, stream, 0, 10_000) for seed, stream in ((1, 0), (1, 1), (2, 0))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (runs[one] == runs[other]).mean() < 0.01
    for run in runs:
        assert abs(run.mean() / 2**32 - 0.5) < 0.02


def philox(counter, key):
    """Philox4x64-10 (Salmon et al., SC 2011), one block."""
    mask = (1 << 64) - 1
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        low, high = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (high >> 64) ^ b ^ k, high & mask, (low >> 64) ^ d ^ m, low & mask
        k, m = (k + 0x9E3779B97F4A7C15) & mask, (m + 0xBB67AE8584CAA73B) & mask
    return [a, b, c, d]
