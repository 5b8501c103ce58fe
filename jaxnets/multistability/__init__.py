"""Networks of threshold units, x' = -x + J H(x) + b: the patterns they hold, the flow between them, and design.

Piecewise-linear and smooth kin of such networks too.
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
    "completes",
    "count_sign_matrices",
    "coupling",
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
