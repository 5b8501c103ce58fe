"""Low-rank networks from recordings: stochastic models, their likelihood by particles, and fits."""

from .._public import public
from .models import StochasticLowRank, Trials
from .observations import Affine, Currents, Gaussian, Observation, Poisson, Rates, Readout
from .particles import Filtered, smc

__all__ = [
    "Affine",
    "Currents",
    "Filtered",
    "Gaussian",
    "Observation",
    "Poisson",
    "Rates",
    "Readout",
    "StochasticLowRank",
    "Trials",
    "smc",
]

__dir__ = public(__name__)
