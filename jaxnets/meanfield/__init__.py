"""Mean field: the stationary state of one unit for N -> infinity, where chaos begins, and its Lyapunov exponent."""

from .stability import chaos_onset, largest_lyapunov
from .stationary import Stationary, stationary
from .units import RowGains, Units

__all__ = ["RowGains", "Stationary", "Units", "chaos_onset", "largest_lyapunov", "stationary"]
