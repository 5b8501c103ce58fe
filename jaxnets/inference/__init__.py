"""Low-rank networks from recordings: stochastic models, their likelihood by particles, and fits.

- `models` and `observations`: a network of few latent variables with noise, and what is recorded of it;
- `particles`: the likelihood of a recording, and the latent variables;
- `lowrank` and `ranks`: fits of a recording (`starts` and `climbing` are their parts), and the rank;
- `reading` and `spikes`: recordings in files, and spike times in bins;
- `cycles`: all fixed points and 2-cycles of units made of lines;
- `posteriors`: samples of parameters of any likelihood of `fitting`.

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
from .posteriors import Posterior, posterior
from .ranks import RankChoice, choose_rank
from .reading import RecordingFile, read_recording
from .spikes import bin_spikes

__all__ = [
    "Affine",
    "Currents",
    "Filtered",
    "Gaussian",
    "LowRankFit",
    "LowRankFixedPoints",
    "Observation",
    "Poisson",
    "Posterior",
    "RankChoice",
    "Rates",
    "Readout",
    "RecordingFile",
    "StochasticLowRank",
    "Trials",
    "bin_spikes",
    "choose_rank",
    "fit_low_rank",
    "fixed_points",
    "posterior",
    "read_recording",
    "smc",
]

__dir__ = public(__name__)
