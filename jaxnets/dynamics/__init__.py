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
from .waves import (
    ForcedWave,
    PlaneWave,
    Waves,
    forced_wave,
    propagation_length,
    saturate,
    simulate_waves,
    wave_relaxation,
)

__all__ = [
    "Adaptive",
    "FixedPoints",
    "ForcedWave",
    "Jacobian",
    "LyapunovSpectrum",
    "PlaneWave",
    "RateNetwork",
    "Recorder",
    "Run",
    "States",
    "Waves",
    "entropy_rate",
    "euler",
    "find_fixed_point",
    "fixed_points",
    "forced_wave",
    "heun",
    "jacobian_eigenvalues",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
    "propagation_length",
    "rk4",
    "saturate",
    "simulate",
    "simulate_waves",
    "step",
    "step_log_density",
    "wave_relaxation",
]

__dir__ = public(__name__)
