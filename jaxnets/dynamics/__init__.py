"""Rate networks: equation of motion, simulation, fixed points, Lyapunov exponents."""

from .network import Jacobian, RateNetwork

__all__ = ["Jacobian", "RateNetwork"]
