"""A comparison of two models as JSON has it: what can be worked out from the sums is worked out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from lamella.core.tensors import TensorSpec
from lamella.model.difference import TensorDifference
from lamella.model.measures import Measures
from lamella.ops.comparison import ModelComparison


def comparison_fields(found: ModelComparison) -> dict[str, Any]:
    """Return the fields of a comparison; numbers that JSON does not have, NaN and infinity, are null."""
    alignment = {
        **{name: getattr(found.alignment, name) for name in ("removed_layers", "added_layers")},
        "layers": [dataclasses.asdict(pair) for pair in found.alignment.layers],
    }
    graph = None if found.graph is None else {**dataclasses.asdict(found.graph), "distance": found.graph.distance}
    total = {"value": found.total.value, "parts": [dataclasses.asdict(part) for part in found.total.parts]}
    plain = {
        name: getattr(found, name)
        for name in (
            *("before", "after", "format_before", "format_after", "model_id_before", "model_id_after"),
            *("parameters_before", "parameters_after", "interface"),
        )
    }
    tensors = [tensor_fields(one) for one in found.tensors]
    around = {"training": found.training, "other": found.other}
    alone = {"removed": [_spec(spec) for spec in found.removed], "added": [_spec(spec) for spec in found.added]}
    return {**plain, "alignment": alignment, "graph": graph, "tensors": tensors, **alone, **around, "total": total}


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": spec.shape, "nbytes": spec.nbytes}


def tensor_fields(one: TensorDifference) -> dict[str, Any]:
    """Return the fields of one tensor's difference, those of its pair among them."""
    return {
        "name": one.after.name,
        "name_before": one.before.name,
        "dtype": one.after.dtype.name,
        "dtype_before": one.before.dtype.name,
        "shape": one.after.shape,
        "shape_before": one.before.shape,
        "reason": one.pair.reason,
        "confidence": one.pair.confidence,
        "same": one.same,
        "unread": one.unread,
        "overlap": one.overlap,
        "epsilon": one.epsilon,
        "change_point": one.change_point,
        "rounding_only": one.rounding_only,
        "measures": None if one.measures is None else measure_fields(one.measures),
        "rows": [dataclasses.asdict(row) for row in one.rows],
        "row_points": one.row_points,
        "row_count": one.row_count,
        "spectrum": None if one.spectrum is None else dataclasses.asdict(one.spectrum),
        "histogram": None if one.histogram is None else dataclasses.asdict(one.histogram),
    }


def measure_fields(found: Measures) -> dict[str, Any]:
    """Return the measures with what follows from them."""
    derived = {
        "mean_absolute": found.mean_absolute,
        "relative": found.relative,
        "cosine_distance": found.cosine_distance,
        "norm_before": found.norm_before,
        "norm_after": found.norm_after,
        "norm_difference": found.norm_difference,
    }
    return {name: _finite(value) for name, value in {**dataclasses.asdict(found), **derived}.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
