"""Pictures drawn by matplotlib, where it is installed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from lamella.core.fsio import write_file
from lamella.integrations.framework import framework
from lamella.ops.history import TensorVersion


def plot_history(name: str, versions: Sequence[TensorVersion], path: Path) -> None:
    """Draw D and the norm of a tensor, the oldest version first, as a PNG of 1,600 x 900 pixels.

    Raises UsageError (framework-missing) without matplotlib. No window is opened, and no setting of matplotlib's read.
    """
    framework("matplotlib")
    figures = framework("matplotlib.figure")
    figure = figures.Figure(figsize=(16, 9), dpi=100, layout="constrained")
    moved, norms = figure.subplots(2, 1, sharex=True)
    places = range(len(versions))
    distances = [None if one.measures is None else one.measures.mean_absolute for one in versions]
    moved.bar(places, [distance or 0.0 for distance in distances], color="#3b6ea5")
    moved.set_ylabel("D, mean |b - a|")
    moved.set_title(name, parse_math=False)
    drawn = [(place, one.norm) for place, one in zip(places, versions, strict=True) if one.norm is not None]
    norms.plot([place for place, _ in drawn], [norm for _, norm in drawn], color="#3b6ea5", marker="o")
    norms.set_ylabel("norm")
    norms.set_xticks(list(places), [one.commit.commit[:7] for one in versions], rotation=90)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_file(path, picture.getvalue())
