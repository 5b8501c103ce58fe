"""Rate networks: equation of motion, simulation, fixed points, Lyapunov exponents."""

from .network import Jacobian, RateNetwork
from .schemes import heun, rk4

__all__ = ["Jacobian", "RateNetwork", "heun", "rk4"]
