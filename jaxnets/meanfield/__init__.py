"""Mean field: the stationary state of one unit for N -> infinity, where chaos begins, and its Lyapunov exponent.

Fixed points of networks with inputs and finite-rank couplings are static states.
"""

from .sampled import stationary_by_paths
from .stability import chaos_onset, largest_lyapunov
from .state import Stationary
from .static import Input, StaticState, static_state
from .static_stability import StaticStability, StaticStates, static_stability, static_states
from .stationary import stationary
from .units import RowGains, Units

__all__ = [
    "Input",
    "RowGains",
    "StaticStability",
    "StaticState",
    "StaticStates",
    "Stationary",
    "Units",
    "chaos_onset",
    "largest_lyapunov",
    "static_stability",
    "static_state",
    "static_states",
    "stationary",
    "stationary_by_paths",
]
