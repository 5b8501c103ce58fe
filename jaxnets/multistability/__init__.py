"""Networks of threshold units: stable patterns, exact flow and attractors, and piecewise-linear and smooth kin."""

from .flow import Basins, Flow, StateGraph, Trajectory, basins, flow, state_graph
from .patterns import StablePatterns, descend, is_stable, margins, stable_patterns

__all__ = [
    "Basins",
    "Flow",
    "StablePatterns",
    "StateGraph",
    "Trajectory",
    "basins",
    "descend",
    "flow",
    "is_stable",
    "margins",
    "stable_patterns",
    "state_graph",
]
