"""Networks of threshold units, x' = -x + W H(x) + b: the patterns they hold, the flow between them, and design.

Piecewise-linear and smooth kin of such networks too.
"""

from .constraints import FREE, Certificate, Margin, explain, largest_margin, margin_limit, weight_limits
from .design import Storable, Storage, compose, factorise, storable, store, store_sparsest, store_widest
from .flow import Basins, Flow, StateGraph, Trajectory, basins, flow, state_graph
from .patterns import StablePatterns, descend, is_stable, margins, stable_patterns
from .structure import (
    Coupling,
    Failure,
    Need,
    SignConstraints,
    SignStability,
    Topology,
    check_topology,
    closure,
    completes,
    count_sign_matrices,
    coupling,
    fewest_synapses,
    sign_constraints,
    sign_matrices,
    sign_stability,
    union_and_intersection,
)

__all__ = [
    "Basins",
    "Certificate",
    "Coupling",
    "FREE",
    "Failure",
    "Flow",
    "Margin",
    "Need",
    "SignConstraints",
    "SignStability",
    "StablePatterns",
    "StateGraph",
    "Storable",
    "Storage",
    "Topology",
    "Trajectory",
    "basins",
    "check_topology",
    "closure",
    "completes",
    "compose",
    "count_sign_matrices",
    "coupling",
    "descend",
    "explain",
    "factorise",
    "fewest_synapses",
    "flow",
    "is_stable",
    "largest_margin",
    "margin_limit",
    "margins",
    "sign_constraints",
    "sign_matrices",
    "sign_stability",
    "stable_patterns",
    "state_graph",
    "storable",
    "store",
    "store_sparsest",
    "store_widest",
    "union_and_intersection",
    "weight_limits",
]
