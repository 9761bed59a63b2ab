"""What one side changed is taken from it bit for bit, in ten thousand merges by the default strategy."""

from random import Random

import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.merging.rules import Rules
from lamella.testing.merging import FLOATS_OF_BYTES, NEVER_AVERAGED, PACKED, SHAPES, Model, bits, merge

CASES, BATCHES = 10_000, 10
EVERY = [DTYPES[name] for name in (*FLOATS_OF_BYTES, *PACKED, *NEVER_AVERAGED)]
AVERAGED = [DTYPES[name] for name in ("f32", "f16", "bf16", "f64")]


def case(seed):
    """Return base, sides, and the bytes that have to come: tensors of one side, and one whose elements are shared."""
    draw = Random(seed)
    base, sides, expected = {}, ({}, {}), {}
    for number in range(draw.randint(1, 4)):
        dtype, shape = draw.choice(EVERY), draw.choice(SHAPES)
        spec = TensorSpec(f"t{number}", dtype, (*shape, 64) if dtype.block_elements > 1 else shape)
        base[spec.name] = spec, bits(spec, draw.getrandbits(32))
        changer = draw.randrange(4)
        for side, tensors in enumerate(sides):
            tensors[spec.name] = base[spec.name]
            if changer in (side, 2):
                tensors[spec.name] = spec, bits(spec, seed)
        expected[spec.name] = sides[changer % 2 if changer < 2 else 0][spec.name][1]
    spec = TensorSpec("shared", draw.choice(AVERAGED), (draw.randint(0, 40),))
    width = spec.dtype.bits // 8
    before, after = bits(spec, draw.getrandbits(32)), [bits(spec, draw.getrandbits(32)) for _ in sides]
    owners = [draw.randrange(3) for _ in range(spec.shape[0])]
    base["shared"] = spec, before

    def mixed(wanted):
        taken = [after[owner] if wanted(owner) else before for owner in owners]
        return b"".join(run[n * width : (n + 1) * width] for n, run in enumerate(taken))

    for side, tensors in enumerate(sides):
        tensors["shared"] = spec, mixed(lambda owner, side=side: owner == side)
    expected["shared"] = mixed(lambda owner: owner < 2)
    return Model(base), [Model(tensors) for tensors in sides], expected


@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_one_side_changed_is_taken_bit_for_bit(batch):
    for seed in range(batch, CASES, BATCHES):
        base, sides, expected = case(seed)
        found = merge(base, sides, Rules(opposition=1.0))
        assert dict(found.tensors) == expected, f"case {seed}"
        assert not found.plan.conflicts


def test_a_wrong_bit_would_be_found():
    base, sides, expected = case(3)
    name = next(name for name, data in expected.items() if data)
    spec, data = sides[0].tensors[name]
    other = Model({**sides[0].tensors, name: (spec, bytes([data[0] ^ 1, *data[1:]]))})
    sides = [other, other]
    assert dict(merge(base, sides, Rules(opposition=1.0)).tensors) != expected
