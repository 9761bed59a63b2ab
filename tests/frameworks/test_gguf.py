"""GGUF files of the gguf package: kept, restored bit for bit, and read by the package again."""

from __future__ import annotations

import gguf
import numpy
import pytest
from gguf.constants import GGML_QUANT_SIZES

from lamella.repo.manifest import parse_manifest
from tests.frameworks.trip import folder_round_trip

KINDS = gguf.GGMLQuantizationType
QUANTISED = {
    "classic": [KINDS.Q4_0, KINDS.Q4_1, KINDS.Q5_0, KINDS.Q5_1, KINDS.Q8_0],
    "k": [KINDS.Q2_K, KINDS.Q3_K, KINDS.Q4_K, KINDS.Q5_K, KINDS.Q6_K],
    "other": [kind for kind, (elements, _) in GGML_QUANT_SIZES.items() if elements > 1],
}


def values(seed, *shape):
    return numpy.random.default_rng(seed).normal(0, 0.02, shape).astype(numpy.float32)


def written(path, tensors, endianess=gguf.GGUFEndian.LITTLE, alignment=32, tokens=1000):
    """Write a file of arrays, or of pairs of a type and the blocks."""
    writer = gguf.GGUFWriter(path, "llama", endianess=endianess)
    writer.add_custom_alignment(alignment)
    writer.add_block_count(2)
    writer.add_rope_freq_base(1e6)
    writer.add_token_list([f"token{number}" for number in range(tokens)])
    writer.add_token_scores([number / 7 for number in range(tokens)])
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            writer.add_tensor(name, tensor[1], raw_dtype=tensor[0])
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def model(name):
    tensors = {"token_embd.weight": values(0, 64, 256), "output_norm.weight": values(1, 256)}
    for number, kind in enumerate(QUANTISED.get(name, [])):
        elements, nbytes = GGML_QUANT_SIZES[kind]
        blocks = numpy.random.default_rng(number).integers(0, 256, (16, 2560 // elements * nbytes), numpy.uint8)
        if name != "other":
            try:
                blocks = gguf.quants.quantize(values(number, 16, 2560), kind)
            except NotImplementedError:
                assert kind in QUANTISED["k"]
        tensors[f"blk.{number}.ffn_up.weight"] = (kind, blocks)
    if name == "half":
        tensors = {key: tensor.astype(numpy.float16) for key, tensor in tensors.items()}
        tensors["bf16"] = (KINDS.BF16, gguf.quants.quantize(values(2, 8, 32), KINDS.BF16))
    if name == "whole":
        tensors |= {code: numpy.arange(24, dtype=code).reshape(2, 3, 4) for code in ("i1", "i2", "i4", "i8", "f8")}
    return tensors


PATTERNS = ("*.gguf",)


@pytest.mark.parametrize("options", [{}, {"alignment": 4096}, {"endianess": gguf.GGUFEndian.BIG}, {"tokens": 100_000}])
@pytest.mark.parametrize("name", ["single", "half", "whole", *QUANTISED])
def test_a_file_comes_back_and_is_read_again(bench, name, options):
    path = bench.root / "model.gguf"
    written(path, model(name), **options)
    before = gguf.GGUFReader(path)
    manifest = parse_manifest(folder_round_trip(bench, ".", "model.gguf").encode())
    after = gguf.GGUFReader(path)
    if name in QUANTISED and "endianess" in options:
        assert manifest.format == "opaque"
        return
    assert manifest.format == "gguf"
    rows = {row.spec.name: row.spec for row in (*manifest.rows, *manifest.views) if not row.part}
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert numpy.array_equal(old.data, new.data)
        spec = rows.pop(new.name)
        assert (spec.dtype.name, spec.shape) == (new.tensor_type.name.lower(), tuple(map(int, reversed(new.shape))))
        assert spec.nbytes == new.n_bytes
    assert not rows
