"""Mean field: the stationary state of one unit for N -> infinity, where chaos begins, and its Lyapunov exponent."""

from .stability import chaos_onset, largest_lyapunov
from .static import Input, StaticState, static_state
from .stationary import Stationary, stationary

__all__ = [
    "Input",
    "StaticState",
    "Stationary",
    "chaos_onset",
    "largest_lyapunov",
    "static_state",
    "stationary",
]
