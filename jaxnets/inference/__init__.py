"""Low-rank networks from recordings: stochastic models, their likelihood by particles, and fits.

- `models` and `observations`: a network of few latent variables with noise, and what is recorded of it;
- `particles`: the likelihood of a recording, and the latent variables;
- `lowrank` and `ranks`: fits of a recording (`starts` and `climbing` are their parts), and the rank;
- `cycles`: all fixed points and 2-cycles of units made of lines.

A `recording` has time before units: (T, M), (B, T, M) for trials of one length, or a list of trials (T_i, M), with NaN
for what is missing. Latent variables are `z`, currents of units `x`, inputs through the leak `v`. Data are `y`, and
`eta` is what a readout gives for them. `model` is a `StochasticLowRank`. `num_trials` is B and `num_steps` T.
"""

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
