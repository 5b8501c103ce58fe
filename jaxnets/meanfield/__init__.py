"""Mean field: the stationary state of one unit for N -> infinity, where chaos begins, and its Lyapunov exponent.

Fixed points of networks with inputs and finite-rank couplings are static states.
"""

from .._public import public
from .static.stability import StaticStability, static_stability
from .static.state import Input, StaticState, static_state
from .static.states import StaticStates, static_states
from .two_time.sampled_course import transient_by_paths
from .two_time.state import Transient
from .two_time.transient import transient
from .types.state import Phase, TypedStationary
from .types.static import TypedStaticState
from .types.static_states import TypedStaticStates
from .unit.lyapunov import largest_lyapunov
from .unit.onset import Onset, chaos_onset
from .unit.sampled import stationary_by_paths
from .unit.state import Stationary, Units
from .unit.states import StationaryStates, stationary, stationary_states

__all__ = [
    "Input",
    "Onset",
    "Phase",
    "StaticStability",
    "StaticState",
    "StaticStates",
    "Stationary",
    "StationaryStates",
    "Transient",
    "TypedStaticState",
    "TypedStaticStates",
    "TypedStationary",
    "Units",
    "chaos_onset",
    "largest_lyapunov",
    "static_stability",
    "static_state",
    "static_states",
    "stationary",
    "stationary_by_paths",
    "stationary_states",
    "transient",
    "transient_by_paths",
]

__dir__ = public(__name__)
