"""Networks of threshold units, x' = -x + J H(x) + b: the patterns they hold, and the flow between them.

- `patterns`: which patterns are stable, all of them or given ones;
- `structure`: what the signs of the weights alone decide;
- `flows` and `attractors`: exact trajectories from event to event, basins, and transitions; `sliding` is the algorithm
  for units that stay at the threshold;
- `smooth` and `piecewise`: units that are less steep, and low-rank networks of piecewise-linear units.

Patterns are rows (P, n) of 0 and 1. J[i, j] is the weight from j to i. `bias` is b, a number or (n,), 0 if None.
Weights that hold given patterns are found in `jaxnets.learning`.
"""

from .._public import public
from .attractors import (
    Basins,
    StateGraph,
    basins,
    state_graph,
)
from .flows import (
    Flow,
    Trajectory,
    flow,
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
    piecewise_fixed_points,
    regions,
)
from .smooth import (
    SmoothBranch,
    follow_pattern,
)
from .structure import (
    Compatibility,
    Failure,
    Need,
    SignConstraints,
    SignStability,
    Topology,
    check_topology,
    closure,
    compatibility,
    completes,
    count_sign_matrices,
    fewest_synapses,
    sign_constraints,
    sign_matrices,
    sign_stability,
    union_and_intersection,
)

__all__ = [
    "Basins",
    "Compatibility",
    "Failure",
    "Flow",
    "Need",
    "PiecewiseFixedPoints",
    "SignConstraints",
    "SignStability",
    "SmoothBranch",
    "StablePatterns",
    "StateGraph",
    "Topology",
    "Trajectory",
    "basins",
    "check_topology",
    "closure",
    "compatibility",
    "completes",
    "count_sign_matrices",
    "descend",
    "fewest_synapses",
    "flow",
    "follow_pattern",
    "is_stable",
    "margins",
    "piecewise_fixed_points",
    "regions",
    "sign_constraints",
    "sign_matrices",
    "sign_stability",
    "stable_patterns",
    "state_graph",
    "union_and_intersection",
]

__dir__ = public(__name__)
