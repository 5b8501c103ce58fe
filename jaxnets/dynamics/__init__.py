"""Rate networks in time: simulation, one step and its density, fixed points, Jacobians, Lyapunov exponents.

Networks take operators and arrays and know no theory: the predictions that a simulation is compared with are made in
other rooms, as an independent witness.
"""

from .._public import public
from .adaptive import Adaptive
from .equilibria import FixedPoints, find_fixed_point, fixed_points
from .jacobians import jacobian_eigenvalues
from .network import Jacobian, RateNetwork
from .schemes import euler, heun, rk4
from .simulation import Recorder, Run, States, simulate
from .stepping import step, step_log_density
from .tangents import LyapunovSpectrum, entropy_rate, kaplan_yorke_dimension, lyapunov_spectrum

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
    "euler",
    "find_fixed_point",
    "fixed_points",
    "heun",
    "jacobian_eigenvalues",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
    "rk4",
    "simulate",
    "step",
    "step_log_density",
]

__dir__ = public(__name__)
