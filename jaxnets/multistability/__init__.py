"""Networks of threshold units, x' = -x + W H(x) + b: the patterns they hold, the flow between them, and design.

Piecewise-linear and smooth kin of such networks too.
"""

from .flow import (
    Basins,
    Flow,
    StateGraph,
    Trajectory,
    basins,
    flow,
    state_graph,
)
from .patterns import (
    StablePatterns,
    descend,
    is_stable,
    margins,
    stable_patterns,
)
from .piecewise import (
    PiecewiseFixedPoints,
    PiecewiseLinear,
    clipped_linear,
    heaviside,
    piecewise_fixed_points,
    regions,
    threshold_linear,
)
from .smooth import (
    Logistic,
    SmoothBranch,
    follow_pattern,
)
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
    "Coupling",
    "Failure",
    "Flow",
    "Logistic",
    "Need",
    "PiecewiseFixedPoints",
    "PiecewiseLinear",
    "SignConstraints",
    "SignStability",
    "SmoothBranch",
    "StablePatterns",
    "StateGraph",
    "Topology",
    "Trajectory",
    "basins",
    "check_topology",
    "clipped_linear",
    "closure",
    "completes",
    "count_sign_matrices",
    "coupling",
    "descend",
    "fewest_synapses",
    "flow",
    "follow_pattern",
    "heaviside",
    "is_stable",
    "margins",
    "piecewise_fixed_points",
    "regions",
    "sign_constraints",
    "sign_matrices",
    "sign_stability",
    "stable_patterns",
    "state_graph",
    "threshold_linear",
    "union_and_intersection",
]
