"""Fine-tunes that frameworks saved on two branches: merged by plain Git, and loaded again by their framework."""

from __future__ import annotations

import shutil
from functools import cache, partial

import jax
import keras
import ml_dtypes  # noqa: F401 -- makes NumPy know bfloat16
import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import tensorflow as tf
import torch
from flax import linen, serialization
from flax.traverse_util import flatten_dict, unflatten_dict
from keras import layers
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from scripts.fixtures import make_torch
from tests.frameworks.test_gguf import KINDS, gguf, written

# The frameworks warn of what is experimental in them.
pytestmark = pytest.mark.filterwarnings("ignore")

PATTERNS = ("*.pt", "*.safetensors", "*.keras", "*.h5", "*.onnx", "*.npz", "*.msgpack", "*.gguf", "*.data-*")


def three_way(base, ours, theirs):
    """Return what the rule makes of a tensor: the side that moved an element, both moves' mean, else the larger."""
    if base.dtype.kind in "iu":
        return np.maximum(ours, theirs)
    start, one, two = (array.astype(np.float64) for array in (base, ours, theirs))
    first, second = one - start, two - start
    agreed = start + (first + second) / 2
    larger = np.where(abs(first) > abs(second), one, np.where(abs(first) < abs(second), two, start))
    both = np.where(np.sign(first) == np.sign(second), agreed, larger)
    return np.where(first == 0, two, np.where(second == 0, one, both)).astype(base.dtype)


def merged_by_rule(versions):
    base, ours, theirs = versions
    return {name: three_way(array, ours[name], theirs[name]) for name, array in base.items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def commit(bench, path, save, message="change"):
    (bench.root / path).parent.mkdir(exist_ok=True, parents=True)
    save(bench.root / path)
    return bench.commit(path, bench.read(path), message)


def branch_off(bench, path, saves):
    """Commit what the first of three functions saves, and on two branches what the others do; end on ours."""
    bench.git("add", ".gitattributes")
    commit(bench, path, saves[0])
    bench.git("switch", "--quiet", "--create", "other")
    commit(bench, path, saves[2])
    bench.git("symbolic-ref", "HEAD", "refs/heads/main")
    commit(bench, path, saves[1])


def merge(bench, path, saves):
    branch_off(bench, path, saves)
    bench.git("merge", "--no-edit", "other")
    assert bench.git("status", "--porcelain") == ""
    return bench.root / path


def stopped(bench, path, reason):
    """Check that a merge stops with a whole file, and that either side can be taken with Git alone."""
    ours = bench.read(path)
    ended = bench.try_git("merge", "other")
    assert ended.code == 1
    assert reason in ended.err
    bench.git("checkout", "--theirs", "--", path)
    theirs = bench.read(path)
    assert theirs != ours
    bench.git("checkout", "--ours", "--", path)
    assert bench.read(path) == ours
    bench.git("checkout", "--theirs", "--", path)
    bench.git("add", path)
    assert bench.git("rev-parse", f":{path}") == bench.git("rev-parse", f"other:{path}")
    assert bench.git("diff", "--name-only") == ""


def moved(tensors, seed):
    """Return arrays of which about two thirds of all elements moved."""
    generator = np.random.default_rng(seed)

    def one(array):
        moves = generator.normal(0, 0.05, array.shape) * (generator.random(array.shape) < 0.7)
        return (array.astype(np.float64) + moves).astype(array.dtype)

    return {name: one(array) for name, array in tensors.items()}


# PyTorch


class Network(nn.Module):
    """An embedding that is the head, too, between which is a normalisation."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 16)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 60)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(torch.relu(self.norm(self.hidden(self.embed(tokens)))))


@cache
def checkpoints():
    """Return a checkpoint and two fine-tunes of it, each after some steps of its own."""
    made = []
    for epoch, steps in ((1, 2), (2, 3), (3, 5)):
        torch.manual_seed(epoch)
        network = Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        if made:
            network.load_state_dict(made[0]["model"])
            optimizer.load_state_dict(made[0]["optimizer"])
        for _ in range(steps):
            tokens = torch.randint(0, 60, (32,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(tokens), tokens).backward()
            optimizer.step()
        made.append({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch})
    return made


@cache
def states():
    """Return state dicts, with halves and brain floats."""
    halves = {"adapter.f16": torch.randn(9, 7).half(), "adapter.bf16": torch.randn(9, 7).bfloat16()}
    start = halves
    found = []
    for number, checkpoint in enumerate(checkpoints()):
        extra = {}
        for name, tensor in start.items():
            torch.manual_seed(number)
            moves = torch.randn(tensor.shape) * (torch.rand(tensor.shape) < 0.7) * 0.1 * (number > 0)
            extra[name] = (tensor.float() + moves).to(tensor.dtype)
        found.append({**checkpoint["model"], **extra})
    return found


def arrays(value):
    return {name: make_torch.array(tensor) for name, tensor in make_torch.tensors(value).items()}


def saving(values, save=torch.save):
    return [partial(save, value) for value in values]


def answers(state, asked):
    network = Network()
    network.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("adapter.")})
    return network.eval()(asked)


def torch_tensor(array):
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def test_files_of_pytorch_as_they_once_were_are_taken_whole(bench):
    branch_off(bench, "model.pt", saving(states(), partial(torch.save, _use_new_zipfile_serialization=False)))
    stopped(bench, "model.pt", "other weights cannot be written into files of torch-legacy")


def test_state_dicts_of_pytorch(bench):
    versions = states()
    file = merge(bench, "model.pt", saving(versions))
    found = torch.load(file, weights_only=True)
    rule = merged_by_rule(map(arrays, versions))
    same(arrays(found), rule)
    assert found["head.weight"].data_ptr() == found["embed.weight"].data_ptr()
    assert found["norm.num_batches_tracked"] == 7
    asked = torch.arange(60)
    by_rule = {name: torch_tensor(array) for name, array in rule.items()}
    assert torch.equal(answers(found, asked), answers(by_rule, asked))


def test_a_tensor_that_is_stored_transposed(bench):
    first = {"weight": np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)}
    versions = [first, moved(first, 1), moved(first, 2)]
    transposed = [{"weight": torch.from_numpy(one["weight"].T.copy()).t()} for one in versions]
    found = torch.load(merge(bench, "model.pt", saving(transposed)), weights_only=True)
    assert found["weight"].stride() == (1, 12)
    same(arrays(found), merged_by_rule(versions))


def test_a_whole_checkpoint_of_pytorch(bench):
    versions = checkpoints()
    found = torch.load(merge(bench, "run.pt", saving(versions)), weights_only=True)
    same(arrays(found), merged_by_rule(map(arrays, versions)))
    assert found["epoch"] == 2
    network = Network()
    network.load_state_dict(found["model"])
    torch.optim.Adam(network.parameters()).load_state_dict(found["optimizer"])


def test_safetensors_of_pytorch(bench):
    versions = [{name: tensor.contiguous().clone() for name, tensor in state.items()} for state in states()]
    file = merge(bench, "model.safetensors", saving(versions, safetensors.torch.save_file))
    same(arrays(safetensors.torch.load_file(file)), merged_by_rule(map(arrays, versions)))


def test_a_layer_that_one_side_added_to_a_network_of_pytorch(bench):
    torch.manual_seed(0)
    short = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    long = nn.Sequential(*short, nn.Linear(4, 4))
    base = short.state_dict()
    tuned = {name: torch_tensor(array) for name, array in moved(arrays(base), 1).items()}
    found = torch.load(merge(bench, "model.pt", saving([base, tuned, long.state_dict()])), weights_only=True)
    same(arrays(found), arrays({**long.state_dict(), **tuned}))
    long.load_state_dict(found)


def test_a_change_of_pytorch_is_carried_over_and_taken_back(bench):
    versions = states()
    branch_off(bench, "model.pt", saving(versions))
    before = bench.read("model.pt")
    bench.git("cherry-pick", "other")
    found = arrays(torch.load(bench.root / "model.pt", weights_only=True))
    start, ours, theirs = map(arrays, versions)
    for name in ("embed.weight", "norm.running_var"):
        added = start[name] + (ours[name].astype("f8") - start[name]) + (theirs[name].astype("f8") - start[name])
        np.testing.assert_array_equal(found[name], added.astype("f4"))
    bench.git("revert", "--no-edit", "HEAD")
    assert bench.read("model.pt") == before
    bench.git("revert", "--no-edit", "HEAD~2")
    same(arrays(torch.load(bench.root / "model.pt", weights_only=True)), start)


def test_a_file_of_a_compressed_archive_is_taken_whole(bench):
    versions = of_shapes({"first": (12, 20)})
    branch_off(bench, "model.npz", [partial(compressed, version) for version in versions])
    stopped(bench, "model.npz", "has no tensors that can be read, so only a whole file can be taken")


# Keras


def keras_network(extra=False):
    keras.utils.set_random_seed(0)
    given = keras.Input((12,))
    found = layers.BatchNormalization(name="norm")(layers.Dense(16, activation="relu", name="first")(given))
    if extra:
        found = layers.Dense(16, name="extra")(found)
    return keras.Model(given, layers.Dense(3, name="last")(found), name="network")


def keras_versions():
    found = [keras_network(), keras_network(), keras_network()]
    start = by_path(found[0])
    for seed in (1, 2):
        found[seed].set_weights(list(moved(start, seed).values()))
    return found


def by_path(model):
    return {one.path: np.asarray(one) for one in model.weights}


ASKED = np.random.default_rng(9).standard_normal((5, 12)).astype(np.float32)


def agrees(model, versions):
    rule = merged_by_rule(map(by_path, versions))
    same(by_path(model), rule)
    other = keras_network()
    other.set_weights(list(rule.values()))
    np.testing.assert_array_equal(model.predict(ASKED, verbose=0), other.predict(ASKED, verbose=0))


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_models_of_keras(bench, file):
    versions = keras_versions()
    path = merge(bench, file, [model.save for model in versions])
    agrees(keras.saving.load_model(path), versions)


def test_weights_of_keras(bench):
    versions = keras_versions()
    path = merge(bench, "model.weights.h5", [model.save_weights for model in versions])
    model = keras_network()
    model.load_weights(path)
    agrees(model, versions)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_a_layer_that_one_side_added_to_a_model_of_keras(bench, file):
    base, long = keras_network(), keras_network(extra=True)
    for layer in base.layers:
        long.get_layer(layer.name).set_weights(layer.get_weights()) if layer.weights else None
    tuned = keras_network()
    tuned.set_weights([array + np.float32(0.25) for array in base.get_weights()])
    whole = file.endswith(".keras")
    path = merge(bench, file, [one.save if whole else one.save_weights for one in (base, tuned, long)])
    if whole:
        found = keras.saving.load_model(path)
    else:
        found = keras_network(extra=True)
        found.load_weights(path)
    expected = by_path(long) | by_path(tuned)
    assert by_path(found).keys() == expected.keys()
    for name, array in by_path(found).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


# Others


def onnx_model(tensors):
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "last"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n]) for name, n in (("x", 12), ("y", 5))]
    values = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "main", ends[:1], ends[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def of_shapes(shapes, dtype=np.float32):
    """Return a model and two fine-tunes of it."""
    generator = np.random.default_rng(0)
    base = {name: generator.normal(0, 0.3, shape).astype(dtype) for name, shape in shapes.items()}
    return [base, moved(base, 1), moved(base, 2)]


def test_initialisers_of_onnx(bench):
    versions = of_shapes({"first": (12, 20), "last": (20, 5)})
    file = merge(bench, "model.onnx", [partial(onnx.save, onnx_model(version)) for version in versions])
    onnx.checker.check_model(onnx.load(file), full_check=True)
    rule = merged_by_rule(versions)
    same({one.name: numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}, rule)

    def answer(content):
        return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": ASKED})[0]

    np.testing.assert_array_equal(answer(file.read_bytes()), answer(onnx_model(rule).SerializeToString()))


def stored(tensors, path):
    np.savez(path, **tensors)


def compressed(tensors, path):
    np.savez_compressed(path, **tensors)


def test_archives_of_numpy(bench):
    versions = of_shapes({"first": (12, 20), "second": (1, 300), "empty": (0, 4)})
    with np.load(merge(bench, "model.npz", [partial(stored, version) for version in versions])) as found:
        same(dict(found), merged_by_rule(versions))


class FlaxNetwork(linen.Module):
    """Two layers with a normalisation, the last in brain floats."""

    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=True)(linen.Dense(50)(x))
        return linen.Dense(10, param_dtype="bfloat16")(x)


def test_trees_of_flax(bench):
    network = FlaxNetwork()
    start = flatten_dict(jax.tree.map(np.asarray, network.init(jax.random.key(0), ASKED)), sep="/")
    versions = [start, moved(start, 1), moved(start, 2)]
    trees = [unflatten_dict(version, sep="/") for version in versions]
    saves = [lambda path, tree=tree: path.write_bytes(serialization.to_bytes(tree)) for tree in trees]
    file = merge(bench, "model.msgpack", saves)
    found = serialization.from_bytes(trees[0], file.read_bytes())
    rule = merged_by_rule(versions)
    same(flatten_dict(found, sep="/"), rule)
    np.testing.assert_array_equal(network.apply(found, ASKED), network.apply(unflatten_dict(rule, sep="/"), ASKED))


def gguf_tensors(path):
    return {one.name: np.array(one.data) for one in gguf.GGUFReader(path).tensors}


def saved_gguf(tensors, path):
    written(path, tensors)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_floats_of_gguf(bench, dtype):
    versions = of_shapes({"token_embd.weight": (64, 256), "output_norm.weight": (256,)}, dtype)
    file = merge(bench, "model.gguf", [partial(saved_gguf, version) for version in versions])
    same(gguf_tensors(file), merged_by_rule(versions))


def test_blocks_of_gguf_are_not_averaged(bench):
    versions = of_shapes({"blk.0.ffn_up.weight": (16, 256), "output_norm.weight": (256,)})
    for version in versions:
        blocks = gguf.quants.quantize(version["blk.0.ffn_up.weight"], KINDS.Q8_0)
        version["blk.0.ffn_up.weight"] = (KINDS.Q8_0, blocks)
    branch_off(bench, "model.gguf", [partial(saved_gguf, version) for version in versions])
    assert bench.try_git("merge", "other").code == 1
    assert "is not averaged" in bench.lamella("conflicts")
    bench.lamella("resolve", "blk.*", "--theirs")
    bench.lamella("merge", "--continue")
    found = gguf_tensors(bench.root / "model.gguf")
    np.testing.assert_array_equal(found["blk.0.ffn_up.weight"], versions[2]["blk.0.ffn_up.weight"][1])
    norms = [version["output_norm.weight"] for version in versions]
    np.testing.assert_array_equal(found["output_norm.weight"], three_way(*norms))


def test_a_variable_index_of_tensorflow_has_checksums(bench):
    versions = keras_versions()
    for name, model in zip(("base", "ours", "theirs"), versions, strict=True):
        tf.train.Checkpoint(model=model).write(str(bench.root.parent / name / "ckpt"))
    data = "ckpt.data-00000-of-00001"
    saves = [partial(shutil.copy, bench.root.parent / name / data) for name in ("base", "ours", "theirs")]
    branch_off(bench, f"run/{data}", saves)
    stopped(bench, f"run/{data}", "is of no known format, so only a whole file can be taken")
