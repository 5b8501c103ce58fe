"""Low-rank networks from recordings: stochastic models, their likelihood by particles, and fits."""

from .._public import public
from .cycles import LowRankFixedPoints, fixed_points
from .lowrank import LowRankFit, fit_low_rank
from .models import StochasticLowRank, Trials
from .observations import Affine, Currents, Gaussian, Observation, Poisson, Rates, Readout
from .particles import Filtered, smc
from .ranks import RankChoice, choose_rank

__all__ = [
    "Affine",
    "Currents",
    "Filtered",
    "Gaussian",
    "LowRankFit",
    "LowRankFixedPoints",
    "Observation",
    "Poisson",
    "RankChoice",
    "Rates",
    "Readout",
    "StochasticLowRank",
    "Trials",
    "choose_rank",
    "fit_low_rank",
    "fixed_points",
    "smc",
]

__dir__ = public(__name__)
