"""Networks of threshold units: stable patterns, exact flow and attractors, and piecewise-linear and smooth kin."""

from .flow import Basins, Flow, StateGraph, Trajectory, basins, flow, state_graph
from .patterns import StablePatterns, descend, is_stable, margins, stable_patterns
from .piecewise import (
    PiecewiseFixedPoints,
    PiecewiseLinear,
    clipped_linear,
    heaviside,
    piecewise_fixed_points,
    regions,
    threshold_linear,
)
from .smooth import Logistic, SmoothBranch, follow_pattern

__all__ = [
    "Basins",
    "Flow",
    "Logistic",
    "PiecewiseFixedPoints",
    "PiecewiseLinear",
    "SmoothBranch",
    "StablePatterns",
    "StateGraph",
    "Trajectory",
    "basins",
    "clipped_linear",
    "descend",
    "flow",
    "follow_pattern",
    "heaviside",
    "is_stable",
    "margins",
    "piecewise_fixed_points",
    "regions",
    "stable_patterns",
    "state_graph",
    "threshold_linear",
]
