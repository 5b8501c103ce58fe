"""Mean field: the stationary state of one unit for N -> infinity, where chaos begins, and its Lyapunov exponent."""

from .sampled import stationary_by_paths
from .stability import chaos_onset, largest_lyapunov
from .state import Stationary
from .stationary import stationary
from .units import RowGains, Units

__all__ = ["RowGains", "Stationary", "Units", "chaos_onset", "largest_lyapunov", "stationary", "stationary_by_paths"]
