"""The series that the benchmark trains itself: a convolutional network step by step, and an adapter merged into a base.

The data are the handwritten digits that come with scikit-learn. What comes out depends on the seeds alone, given the
same build of PyTorch, which is imported only here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

CHECKPOINTS = 50
STEPS_APART = 10
BATCH = 32
ADAPTER_RANK = 8
ADAPTER_SCALE = 2.0

Tensor = Any
"""A torch.Tensor."""


def vision_path(folder: Path, dtype: str, number: int) -> Path:
    """Return where the checkpoint of that number lies, `dtype` being fp32 or bf16."""
    return folder / f"vision-{dtype}-{number}.safetensors"


def adapter_path(folder: Path, *, merged: bool) -> Path:
    """Return where the base lies, or the base with its adapter merged in."""
    return folder / f"adapter-{'merged' if merged else 'base'}.safetensors"


def make(folder: Path) -> None:
    """Write both series to `folder`, in some minutes; needs what the extra `bench` lists."""
    import torch
    from sklearn.datasets import load_digits

    folder.mkdir(parents=True, exist_ok=True)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images, labels = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
    _train_vision(folder, images.unsqueeze(1), labels)
    _train_adapter(folder, images.flatten(1), labels)


def _train_vision(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Train four convolutions and two linear layers, 2.4 million weights, by SGD with momentum."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise((1, 64, 128, 256, 512)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if 64 < after < 512 else []
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 512, 400), nn.ReLU(), nn.Linear(400, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for number in range(CHECKPOINTS):
        if number:
            _steps(network, optimizer, images, labels, STEPS_APART)
        for dtype, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            _save(vision_path(folder, dtype, number), network, kind)
        if number % 10 == 9:
            print(f"  {number + 1} of {CHECKPOINTS} checkpoints", flush=True)


def _train_adapter(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Train a base on half of the digits and thin matrices beside it on the others (Hu et al., arXiv:2106.09685)."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    linears = [nn.Linear(before, after) for before, after in pairwise((64, 1024, 1024, 1024, 10))]
    base = nn.Sequential(*(module for linear in linears for module in (linear, nn.ReLU())))[:-1]
    small = labels < 5
    _steps(base, torch.optim.AdamW(base.parameters(), lr=1e-3), images[small], labels[small], 200)
    base = base.bfloat16().float().requires_grad_(False)
    _save(adapter_path(folder, merged=False), base, torch.bfloat16)
    downs = [
        nn.Parameter(torch.randn(ADAPTER_RANK, linear.in_features) / linear.in_features**0.5) for linear in linears
    ]
    ups = [nn.Parameter(torch.zeros(linear.out_features, ADAPTER_RANK)) for linear in linears]

    def adapted(values: Tensor) -> Tensor:
        for linear, down, up in zip(linears, downs, ups, strict=True):
            values = linear(values) + ADAPTER_SCALE * values @ down.T @ up.T
            values = values if linear is linears[-1] else values.relu()
        return values

    _steps(adapted, torch.optim.AdamW([*downs, *ups], lr=1e-3), images[~small], labels[~small], 200)
    for linear, down, up in zip(linears, downs, ups, strict=True):
        linear.weight.data += ADAPTER_SCALE * up.data @ down.data
    _save(adapter_path(folder, merged=True), base, torch.bfloat16)


def _steps(network: Callable[[Tensor], Tensor], optimizer: Any, images: Tensor, labels: Tensor, count: int) -> None:
    import torch

    for _ in range(count):
        batch = torch.randint(len(images), (BATCH,))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        optimizer.step()


def _save(path: Path, network: Any, dtype: Any) -> None:
    """Write the floats of a network as `dtype`, and its counters as they are."""
    from safetensors.torch import save_file

    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    save_file({name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}, path)
