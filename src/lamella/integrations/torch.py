"""PyTorch: state dicts into files and commits, and models at any revision back into modules.

`lamella.torch` is this module. Lamella reads and writes the files itself; nothing in them is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.numpy_dtypes import array_dtypes, numpy_dtype
from lamella.core.tensors import TensorSpec
from lamella.integrations.framework import framework
from lamella.integrations.writing import commit_arrays, save_arrays
from lamella.ops.commit import CommitReport
from lamella.ops.export_values import ExportReport
from lamella.ops.load import load as load_model
from lamella.ops.repository import Repo
from lamella.repo.arrays import spec_of, to_array

if TYPE_CHECKING:
    import numpy


def to_torch(tensors: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
    """Return every tensor of what `lamella.load` returned, or of any mapping of arrays, as a torch tensor.

    On the CPU a tensor shares its memory with the array; only an array that must not be written to is copied. Raises
    UsageError (dtype-unsupported) for what PyTorch, or this version of it, has no dtype for.
    """
    return {name: _tensor(name, tensors[name], device) for name in tensors}


def _tensor(name: str, given: Any, device: Any) -> Any:
    torch = framework("torch")
    import numpy

    spec, array = spec_of(name, given)
    dtype = getattr(torch, numpy_dtype(spec.dtype.name).name, None)
    if dtype is None:
        message = f"this PyTorch has no dtype {spec.dtype.name}, which tensor {name!r} is of"
        raise UsageError(message, kind="dtype-unsupported", hint="upgrade torch, or leave the tensor out")
    if not array.size:
        return torch.empty(spec.shape, dtype=dtype, device=device)
    if not array.flags.writeable:
        array = array.copy()
    tensor = torch.frombuffer(array.reshape(-1).view(numpy.uint8), dtype=torch.uint8).view(dtype).reshape(spec.shape)
    return tensor if device is None else tensor.to(device)


def from_torch(model: Any) -> dict[str, numpy.ndarray[Any, Any]]:
    """Return a module's state dict, or a mapping of name to tensor, as arrays that share the memory of CPU tensors.

    Raises UsageError: bad-argument for an entry that is no tensor; dtype-unsupported for one that is sparse, quantised
    or without data.
    """
    state = model.state_dict() if hasattr(model, "state_dict") else model
    return {name: _array(name, tensor) for name, tensor in state.items()}


def _array(name: str, tensor: Any) -> numpy.ndarray[Any, Any]:
    torch = framework("torch")
    if not isinstance(tensor, torch.Tensor):
        hint = "a state dict of tensors is wanted; take out what else is in it"
        raise UsageError(f"{name!r} is no tensor", kind="bad-argument", hint=hint)
    known = {getattr(torch, dtype.name, None): ours for ours, dtype in array_dtypes().items()}
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in known:
        kind = f"{tensor.dtype} tensor{'' if tensor.layout == torch.strided else f', {tensor.layout}'}"
        hint = "make it dense, give it data, or convert it to a numeric dtype first"
        raise UsageError(f"{name!r} is a {kind}, which cannot be written", kind="dtype-unsupported", hint=hint)
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    spec = TensorSpec(name, DTYPES[known[tensor.dtype]], tuple(plain.shape))
    return to_array(spec, memoryview(plain.reshape(-1).view(torch.uint8).numpy()))


def save(
    model: Any,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 -- as the option of `lamella export` is called
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a module, or a state dict, to `path`, wholly or not at all, replacing what is there.

    The suffix of `path`, or else `format`, says which container: safetensors, pt, npz or gguf, as `lamella export`
    writes them. Raises UsageError as `from_torch` and `lamella export` do.
    """
    return save_arrays(from_torch(model), "the state dict", path, format, metadata)


def commit(
    model: Any,
    path: str,
    message: str,
    *,
    repo: str | Path = ".",
    branch: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> CommitReport:
    """Commit a module, or a state dict, as the model file `path` of a repository, as `lamella.Repo.commit` does.

    The worktree is not touched. Raises UsageError as `from_torch`, and what `lamella.Repo.commit` raises.
    """
    return commit_arrays(from_torch(model), path, message, repo, branch, metadata)


def load(source: str | Path, *, device: Any = None, repo: Repo | str | Path = ".") -> dict[str, Any]:
    """Return the tensors of a model at a revision, or in a file of any format, as `lamella.load` finds it."""
    with load_model(source, repo=repo) as tensors:
        return to_torch(tensors, device)


def load_state_dict(
    module: Any,
    source: str | Path,
    *,
    strict: bool = True,
    assign: bool = False,
    repo: Repo | str | Path = ".",
) -> Any:
    """Load the model that `lamella.load` finds into a module, and return the keys that did not fit.

    `strict` and `assign` are those of `torch.nn.Module.load_state_dict`, which does the work and raises RuntimeError
    where names or shapes differ.
    """
    return module.load_state_dict(load(source, repo=repo), strict=strict, assign=assign)
