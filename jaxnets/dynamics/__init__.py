"""Rate networks: equation of motion, simulation, fixed points, Lyapunov exponents."""

from .adaptive import Adaptive
from .fixed_points import FixedPoints, find_fixed_point, fixed_points
from .lyapunov import (
    LyapunovSpectrum,
    entropy_rate,
    jacobian_eigenvalues,
    kaplan_yorke_dimension,
    lyapunov_spectrum,
)
from .network import Jacobian, RateNetwork
from .schemes import heun, rk4
from .simulation import Recorder, Run, States, simulate

__all__ = [
    "Adaptive",
    "FixedPoints",
    "Jacobian",
    "LyapunovSpectrum",
    "RateNetwork",
    "Recorder",
    "Run",
    "States",
    "entropy_rate",
    "find_fixed_point",
    "fixed_points",
    "heun",
    "jacobian_eigenvalues",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
    "rk4",
    "simulate",
]
