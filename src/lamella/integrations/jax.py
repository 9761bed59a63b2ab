"""JAX: trees of arrays into files and commits, and models at any revision back into trees.

`lamella.jax` is this module. The name of an array is its path in the tree, joined with dots.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.core.errors import UsageError
from lamella.integrations.framework import framework
from lamella.integrations.writing import commit_arrays, save_arrays
from lamella.ops.commit import CommitReport
from lamella.ops.export_values import ExportReport
from lamella.ops.load import load as load_model
from lamella.ops.repository import Repo

if TYPE_CHECKING:
    import numpy


def to_jax(tensors: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
    """Return every tensor of what `lamella.load` returned, or of any mapping of arrays, as a JAX array.

    Raises UsageError (dtype-unsupported) for 64 bits where JAX is not set to keep them.
    """
    return {name: _placed(name, tensors[name], device) for name in tensors}


def _placed(name: str, array: Any, device: Any) -> Any:
    jax = framework("jax")
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        hint = "`jax.config.update('jax_enable_x64', True)` makes JAX keep 64 bits"
        message = f"JAX would shorten tensor {name!r}, which is {array.dtype}"
        raise UsageError(message, kind="dtype-unsupported", hint=hint)
    return jax.device_put(array, device)


def from_jax(tree: Any) -> dict[str, numpy.ndarray[Any, Any]]:
    """Return the arrays of a tree by their paths, joined with dots; raise UsageError where two have the same."""
    import numpy

    found: dict[str, numpy.ndarray[Any, Any]] = {}
    for name, leaf in named_leaves(tree):
        if name in found:
            hint = "rename a key that has a dot in it"
            raise UsageError(f"two arrays of the tree would be called {name!r}", kind="bad-argument", hint=hint)
        found[name] = numpy.asarray(leaf)
    return found


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a tree with their paths, joined with dots."""
    paths, _ = framework("jax").tree_util.tree_flatten_with_path(tree)
    return [(".".join(map(_key, path)), leaf) for path, leaf in paths]


def _key(entry: Any) -> str:
    """Return one step of a path: the key of a mapping, the index in a sequence, the name of an attribute."""
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def save(
    tree: Any,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 -- as the option of `lamella export` is called
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a tree of arrays to `path`, wholly or not at all, replacing what is there.

    The suffix of `path`, or else `format`, says which container, as for `lamella export`.
    """
    return save_arrays(from_jax(tree), "the tree", path, format, metadata)


def commit(
    tree: Any,
    path: str,
    message: str,
    *,
    repo: str | Path = ".",
    branch: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> CommitReport:
    """Commit a tree of arrays as the model file `path` of a repository, as `lamella.Repo.commit` does."""
    return commit_arrays(from_jax(tree), path, message, repo, branch, metadata)


def load(source: str | Path, *, device: Any = None, repo: Repo | str | Path = ".") -> dict[str, Any]:
    """Return the tensors of a model at a revision, or in a file of any format, by name, as `lamella.load` finds it."""
    with load_model(source, repo=repo) as tensors:
        return to_jax(tensors, device)


def load_tree(like: Any, source: str | Path, *, repo: Repo | str | Path = ".") -> Any:
    """Return a tree of the structure of `like` with the arrays of the model that `lamella.load` finds.

    Raises UsageError (bad-argument) where names or shapes differ.
    """
    jax = framework("jax")
    leaves = named_leaves(like)
    with load_model(source, repo=repo) as tensors:
        wanted = {name for name, _ in leaves}
        for name in sorted(wanted ^ set(tensors)):
            which = "model" if name in wanted else "tree"
            raise UsageError(f"the {which} has no array {name!r}", kind="bad-argument", hint="`load` takes any model")
        shapes = {spec.name: spec.shape for spec in tensors.specs()}
        for name, leaf in leaves:
            if tuple(leaf.shape) != shapes[name]:
                message = f"array {name!r} has shape {list(leaf.shape)}, and {list(shapes[name])} in the model"
                raise UsageError(message, kind="bad-argument")
        placed = [_placed(name, tensors[name], None) for name, _ in leaves]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(like), placed)
