"""Files of PyTorch: kept, restored bit for bit, and loaded by PyTorch again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamella.repo.manifest import parse_manifest
from scripts.fixtures import make_torch
from tests.frameworks.trip import folder_round_trip

# PyTorch warns of what is experimental in it.
pytestmark = pytest.mark.filterwarnings("ignore")

NEW = {}
OLD = {"_use_new_zipfile_serialization": False}


PATTERNS = ("*.pt",)


def convolutions(layout):
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3))
    return model.to(memory_format=layout)


def checkpoint(kind):
    network = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 3)
    optimizer = kind(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(2):
        network(torch.randn(2, 5, 32)).square().mean().backward()
        optimizer.step()
        schedule.step()
    return {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
        "step": 2,
    }


MADE = {
    "linear": lambda: nn.Linear(300, 300).state_dict(),
    "channels last": lambda: convolutions(torch.channels_last).state_dict(),
    "adam": lambda: checkpoint(torch.optim.Adam),
    "sgd": lambda: checkpoint(torch.optim.SGD),
    "views": make_torch.views,
    "dtypes": make_torch.dtypes,
    "halves": lambda: {name: one.half() for name, one in convolutions(torch.contiguous_format).state_dict().items()},
    "brain floats": lambda: nn.Linear(100, 100).bfloat16().state_dict(),
    "tied": lambda: make_torch.Network().state_dict(),
    "a slice of much": lambda: {"row": torch.randn(1000, 200)[3]},
    "many": lambda: {f"layer.{number}.weight": torch.randn(3) for number in range(3000)},
    "nothing": dict,
}


def same(one, other):
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert one.stride() == other.stride()
        assert make_torch.array(one).tobytes() == make_torch.array(other).tobytes()
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    else:
        assert one == other or isinstance(one, list)


def elements(manifest):
    rows = [*(row for row in manifest.rows if not row.part), *manifest.views]
    return {row.spec.name: row.spec.shape for row in rows}


@pytest.mark.parametrize("options", [NEW, OLD, {"pickle_protocol": 5}], ids=["zip", "legacy", "protocol 5"])
@pytest.mark.parametrize("name", MADE)
def test_a_file_comes_back_and_is_loaded_again(bench, name, options):
    torch.manual_seed(0)
    value = MADE[name]()
    torch.save(value, bench.root / "model.pt", **options)
    manifest = parse_manifest(folder_round_trip(bench, ".", "model.pt").encode())
    assert manifest.format == ("torch-legacy" if options is OLD else "torch")
    found = elements(manifest)
    for key, tensor in make_torch.tensors(value).items():
        shape = tuple(tensor.shape)
        assert found.pop(key) == ((*shape, 2) if tensor.dtype is torch.complex32 else shape)
    assert not found
    if name == "dtypes" and options is OLD:
        return  # PyTorch writes dtypes without a class of storage, and cannot load them again
    same(torch.load(bench.root / "model.pt", weights_only="pickle_protocol" not in options), value)


@pytest.mark.parametrize("options", [NEW, OLD], ids=["zip", "legacy"])
def test_a_whole_module_has_the_names_of_its_state_dict(bench, options):
    network = make_torch.Network()
    torch.save(network, bench.root / "model.pt", **options)
    manifest = parse_manifest(folder_round_trip(bench, ".", "model.pt").encode())
    assert elements(manifest) == {name: tuple(one.shape) for name, one in network.state_dict().items()}
    same(torch.load(bench.root / "model.pt", weights_only=False).state_dict(), network.state_dict())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_have_no_name_twice(bench, kind):
    layer = kind(8, 8, 2)
    torch.save(layer, bench.root / "model.pt")
    manifest = parse_manifest(folder_round_trip(bench, ".", "model.pt").encode())
    assert sorted(elements(manifest)) == sorted(layer.state_dict())


def test_scripted_code_comes_back_and_runs(bench):
    scripted = torch.jit.script(convolutions(torch.contiguous_format))
    torch.jit.save(scripted, bench.root / "model.pt")
    manifest = parse_manifest(folder_round_trip(bench, ".", "model.pt").encode())
    assert set(elements(manifest)) >= set(scripted.state_dict())
    image = torch.ones(1, 3, 8, 8)
    assert torch.equal(torch.jit.load(bench.root / "model.pt").eval()(image), scripted.eval()(image))


def test_the_same_weights_in_safetensors_are_the_same_model(bench):
    from safetensors.torch import save_file

    state = nn.Linear(30, 30).state_dict()
    torch.save(state, bench.root / "model.pt")
    ids = [parse_manifest(folder_round_trip(bench, ".", "model.pt").encode()).model_id()]
    bench.lamella("track", "*.safetensors")
    save_file(state, bench.root / "model.safetensors")
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "--message", "again")
    ids.append(parse_manifest(bench.blob("HEAD:model.safetensors")).model_id())
    assert ids[0] == ids[1]
