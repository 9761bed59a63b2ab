"""All measures of the difference of two model files, as a program: what `benchmarks.semantics` times."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lamella.model.alignment import NAME, Pair
from lamella.model.tensor_differences import tensor_differences
from lamella.repo.loaded import LoadedModel
from lamella.repo.targets import opened_model


def main(arguments: Sequence[str]) -> int:
    """Print D of every tensor, the one that moved furthest first; tensors of the same id are not read again."""
    before, after = arguments
    with opened_model(before, Path()) as earlier, opened_model(after, Path()) as later:
        pairs = [Pair(name, name, NAME, 1.0) for name in later.names if name in earlier.names]
        objects = [{name: row.object for name, row in model.rows.items()} for model in (earlier, later)]
        same = [pair for pair in pairs if objects[0][pair.before] == objects[1][pair.after]]
        found = list(tensor_differences(LoadedModel(earlier), LoadedModel(later), pairs, same))
    moved = [(one.measures.mean_absolute, one.after.name) for one in found if one.measures is not None]
    for mean_absolute, name in sorted(moved, reverse=True):
        print(f"{mean_absolute:.3e}  {name}")
    print(f"{len(same)} of {len(found)} tensors are the same")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
