"""Checkpoints of torch.distributed, through a repository and back into PyTorch."""

from __future__ import annotations

import os

import torch
import torch.distributed.checkpoint as dcp
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

import lamella
from tests.frameworks.trip import folder_round_trip

PATTERNS = ("*.distcp",)


def trained(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 200), torch.nn.ReLU(), torch.nn.Linear(200, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(8, 64)).square().mean().backward()
    optimizer.step()
    return model, optimizer


def test_a_model_with_its_optimizer_comes_back(bench):
    model, optimizer = trained(0)
    dcp.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint_id=bench.root / "run")
    manifest = folder_round_trip(bench, "run", "run/__0_0.distcp")
    assert "format torch-distributed" in manifest
    assert "\nmodel.0.weight f32 [200,64]\n" in manifest
    assert "\noptimizer.state.0.exp_avg f32 [200,64]\n" in manifest
    other, optimizer = trained(1)
    found = {"model": other.state_dict(), "optimizer": optimizer.state_dict()}
    dcp.load(found, checkpoint_id=bench.root / "run")
    assert all(torch.equal(one, found["model"][name]) for name, one in model.state_dict().items())


def share(rank: int, count: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29512")
    distributed.init_process_group("gloo", rank=rank, world_size=count)
    mesh = init_device_mesh("cpu", (count,))
    weight = distribute_tensor(torch.arange(20_000.0).reshape(100, 200), mesh, [Shard(1)])
    dcp.save({"weight": weight}, checkpoint_id=folder)
    distributed.destroy_process_group()


def test_a_tensor_that_processes_share_comes_back(bench):
    torch.multiprocessing.spawn(share, (3, str(bench.root / "run")), 3)
    manifest = folder_round_trip(bench, "run", "run/__1_0.distcp")
    assert "weight[0:100,67:134]" in manifest
    found = {"weight": torch.zeros(100, 200)}
    dcp.load(found, checkpoint_id=bench.root / "run")
    assert torch.equal(found["weight"], torch.arange(20_000.0).reshape(100, 200))


def share_out(rank: int, count: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29513")
    distributed.init_process_group("gloo", rank=rank, world_size=count)
    model = torch.nn.Sequential(torch.nn.Linear(33, 17), torch.nn.Linear(17, 5))
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 33)).sum().backward()
    optimizer.step()
    grid = init_device_mesh("cpu", (2, 2))
    squares = distribute_tensor(torch.arange(101 * 64.0).reshape(101, 64), grid, [Shard(0), Shard(1)])
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "squares": squares}
    dcp.save(state, checkpoint_id=folder)
    whole = {f"model.{name}": tensor.full_tensor() for name, tensor in model.state_dict().items()}
    whole["squares"] = squares.full_tensor()
    if rank == 0:
        torch.save(whole, f"{folder}.pt")
    distributed.destroy_process_group()


def test_a_sharded_model_has_the_id_that_it_has_in_one_file(bench):
    run = bench.root / "run"
    torch.multiprocessing.spawn(share_out, (4, str(run)), 4)
    bench.lamella("add", "run")
    bench.git("add", "run")
    bench.git("commit", "--quiet", "--message", "a run")
    assert len(list(run.glob("*.distcp"))) == 4
    wanted = bench.lamella("id", "run.pt").split()[0]
    for source in ("run", "HEAD:run"):
        bench.lamella("export", source, "one.safetensors", "--force", "--select", "model.*", "--select", "squares")
        assert bench.lamella("id", "one.safetensors").split()[0] == wanted
    with lamella.load(run) as model:
        assert model["squares"][100, 63] == 101 * 64 - 1
        assert model["optimizer.state.0.exp_avg"].shape == (17, 33)
