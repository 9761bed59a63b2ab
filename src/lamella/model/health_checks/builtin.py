"""Every check, by its name, in the order in which findings are shown."""

from __future__ import annotations

from lamella.model.health import Check
from lamella.model.health_checks import elements, layers, matrices, parent

CHECKS: dict[str, Check] = {
    "not-finite": elements.not_finite,
    "variance": elements.variance,
    "constant": elements.constant,
    "dead-units": matrices.dead_units,
    "rank-collapse": matrices.rank_collapse,
    "duplicate-layers": layers.duplicate_layers,
    "headroom": elements.headroom,
    "subnormal": elements.subnormal,
    "structure": parent.structure,
    "dtype": parent.dtypes,
    "untied": parent.untied,
    "norm-jump": parent.norm_jump,
}
