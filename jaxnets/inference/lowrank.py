r"""From a recording to a stochastic low-rank network: the bound of particles climbed by gradients.

$$ \mathcal L = \Big\langle \sum_t \log \frac1K \sum_k w_t^k \Big\rangle \le \log p(y), $$

per number that was recorded. A fit starts at the principal directions of the data (`starts`), runs through free numbers
(`jaxnets.fitting`) by the one loop of `jaxnets.learning`, and ends in the canonical gauge.
"""

import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, require, require_instance, require_key, require_whole, vector
from .._results import Result
from ..dynamics import RateNetwork
from ..fitting.parameters import Transforms
from ..transfer import Tanh, Transfer
from .checkpoints import Checkpoint
from .climbing import Loss, batches_of, climb, fitted_space
from .cycles import LowRankFixedPoints, fixed_points
from .models import StochasticLowRank, Trials
from .observations import Observation
from .particles import Filtered, padded, smc
from .recordings import Recording, inputs_of, num_inputs_of, trials_of
from .starts import start_of

_FEWEST_HELD_OUT, _FEWEST_STEPS = 1, 6
# Particles of the evaluation: as many as in the fit or these, where the bound of Gaussian data has come to 1e-4.
_EVALUATION = 64
# A fit has converged if the bound rises by less than this, in nats per number, or by less than twice its scatter
# between steps allows to tell, over the last fifth: a tenth of what 100 numbers per parameter would cost.
_STILL = 5e-4


class LowRankFit(Result, axes={"B": "trial", "T": "step", "M": "unit", "R": "mode", "S": "update", "H": "held_out"}):
    """The network behind a recording, made by `fit_low_rank`; bounds are in nats per recorded number.

    `model` is in the canonical gauge. `filtered` has latents with errors, ESS and predictions of all trials, in their
    order. `elbo` is the bound of the trials that were fitted, `held_out_elbo` that of `held_out` trials, with the
    standard error between them, NaN for a single one. `held_out_prediction` is the part of the variance of held-out
    data that the steps before predict. `bounds` are those of all updates; `converged` says that they have stopped
    rising.
    """

    model: StochasticLowRank
    elbo: Float[Array, ""]
    held_out_elbo: Float[Array, ""]
    held_out_elbo_error: Float[Array, ""]
    held_out_prediction: Float[Array, ""]
    held_out: Int[Array, " H"]
    bounds: Float[Array, " S"]
    converged: Bool[Array, ""]
    filtered: Filtered

    def to_network(
        self,
        dt: Float[ArrayLike, ""] = 1.0,
        input: Float[ArrayLike, " I"] | Callable[[Float[Array, ""]], Float[Array, " I"]] | None = None,
    ) -> RateNetwork:
        """The network without noise (see `StochasticLowRank.to_network`)."""
        return self.model.to_network(dt, input)

    def fixed_points(self, input: Float[ArrayLike, " I"] | None = None) -> LowRankFixedPoints:
        """All fixed points and 2-cycles (see `fixed_points`)."""
        return fixed_points(self.model, input)

    def sample(
        self,
        num_trials: int,
        num_steps: int,
        *,
        key: PRNGKeyArray,
        inputs: Float[ArrayLike, "*B T I"] | None = None,
    ) -> Trials:
        """New trials (see `StochasticLowRank.sample`)."""
        return self.model.sample(num_trials, num_steps, key=key, inputs=inputs)


def fit_low_rank(
    recording: Recording,
    rank: int,
    *,
    transfer: Transfer | None = None,
    observation: Observation | None = None,
    inputs: Float[ArrayLike, "*B T I"] | None = None,
    start: StochasticLowRank | None = None,
    transforms: Transforms | None = None,
    held_out: int | Sequence[int] | None = None,
    num_particles: int = 32,
    num_updates: int = 600,
    batch_size: int | None = None,
    window: int | None = None,
    learning_rates: tuple[float, float] = (1e-2, 1e-3),
    optimiser: optax.GradientTransformation | None = None,
    checkpoint: str | os.PathLike | None = None,
    key: PRNGKeyArray,
    progress: bool = True,
) -> LowRankFit:
    r"""A stochastic low-rank network that makes such a recording, by variational sequential Monte Carlo.

    `recording` is (T, M), (B, T, M) or a list of trials (T_i, M); NaN stands for what is missing. `transfer` is phi,
    tanh if None. `observation` says what was recorded, and where its parameters start. The default is the currents of
    all units with Gaussian noise, in a unit that is fitted: a common gain. Of an observation that is given, the gain
    keeps its value. `Affine` takes M units of the network, which starts with its principal directions. `inputs` are u
    (see `smc`).

    `transforms` say what is fitted and how, by the paths of `StochasticLowRank`: `{"observation.readout.gain":
    jn.fitting.Positive()}` fits the gain, and `Fixed()` keeps a parameter. Thresholds are fitted if phi has kinks, and
    0 otherwise. `start` replaces the start from covariances.

    `held_out` is a number of trials, drawn by `key`, or their indices: a fifth if None, at least one. A fit makes
    `num_updates` updates with `num_particles` particles, each on `batch_size` trials, or on windows of `window` steps
    of them; None takes all. A window that does not begin with a trial begins with a Gaussian law of its own, which is
    fitted too. The optimiser is Adam, with a learning rate that falls exponentially between the two `learning_rates`,
    or any of optax. A new optimiser is compiled anew, other numbers of particles up to a power of two are not.

    A `checkpoint` is a file that is written every two seconds and at an interrupt. The same call goes on from it, with
    the numbers of a run that was never stopped. It stays at the end.

    Valid for 1 / (1 - a) longer than a step and noise independent between units. Data determine currents, J = m n, Q in
    a given gauge, the leak, the readout and the held-out bound. Latent variables are determined up to a linear map
    which the canonical gauge fixes, where singular values are apart.

    Raises:
        ValueError: for a recording that is none, has units before time, counts that are not whole, units or trials
            without a number, or too few trials or steps; a rank that is not below the number of units; arguments that
            do not fit; the checkpoint of another fit; and without a key.

    Source: Pals et al. 2024 (arXiv 2406.16749); start, proposals and settings derived here.
    """
    transfer = Tanh() if transfer is None else transfer
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    if observation is not None:
        require_instance("observation", observation, Observation, "one of `jaxnets.inference`, as `Poisson()`")
    _require_settings(num_particles, num_updates, learning_rates, optimiser, key)
    law = start.observation if start is not None else observation
    y = trials_of(recording, counts=law is not None and law.counts)
    _require_rank(rank, y)
    held = _held_out(held_out, len(y), key)
    fitted = np.setdiff1d(np.arange(len(y)), held)
    keys = jax.random.split(key, 5)
    num_inputs = num_inputs_of(inputs) if start is None else start.num_inputs
    u = inputs_of(inputs, num_inputs, len(y), y.shape[1], jnp.result_type(float))
    with_gain = start is None and observation is None
    if start is None:
        start = start_of(y[fitted], rank, transfer, observation, None if u is None else np.asarray(u)[fitted], keys[0])
    elif start.rank != rank or start.num_recorded != y.shape[2]:
        raise ValueError(f"`start` must have rank {rank} and {y.shape[2]} recorded units, got {start}")
    space = fitted_space(start, transforms, with_gain, window is not None)
    batches = batches_of(y[fitted], batch_size, window, num_updates, keys[1])
    data = jnp.asarray(y[fitted], start.m.dtype), None if u is None else u[fitted].astype(start.m.dtype)
    loss = Loss(space, *data, jnp.asarray(num_particles), padded(num_particles), window or y.shape[1])
    kept = Checkpoint(checkpoint, space, data, batches, num_particles, learning_rates, repr(optimiser), keys[2])
    params, bounds = climb(loss, batches, optimiser, learning_rates, keys[2], kept, progress)
    model = space.params(params).model.in_canonical_gauge()
    filtered = smc(model, y, num_particles=max(num_particles, _EVALUATION), key=keys[3], inputs=u)
    return _summary(model, y, filtered, held, fitted, bounds)


def _summary(model, y, filtered: Filtered, held, fitted, bounds) -> LowRankFit:
    total, observed = np.asarray(filtered.log_likelihood), np.asarray(filtered.num_observed)
    of = lambda trials: np.sum(total[trials]) / np.sum(observed[trials]) if len(trials) else np.nan
    elbo = of(held)
    deviations = total[held] - elbo * observed[held]
    error = np.nan
    if len(held) > 1:
        error = np.sqrt(np.sum(deviations**2) * len(held) / (len(held) - 1)) / np.sum(observed[held])
    miss = (y[held] - np.asarray(filtered.prediction)[held])[:, 1:]
    about_mean = (y[held] - np.nanmean(y[fitted], (0, 1)))[:, 1:]
    predicted = 1 - np.nansum(miss**2) / np.nansum(about_mean**2) if len(held) else np.nan
    real = lambda value: jnp.asarray(np.asarray(value), model.m.dtype)
    return LowRankFit(
        model=model,
        elbo=real(of(fitted)),
        held_out_elbo=real(elbo),
        held_out_elbo_error=real(error),
        held_out_prediction=real(predicted),
        held_out=jnp.asarray(held),
        bounds=real(bounds),
        converged=jnp.asarray(_stands(bounds)),
        filtered=filtered,
    )


def _stands(bounds: Float[np.ndarray, " S"]) -> bool:
    """Whether the bound rises no more between the two halves of the last fifth."""
    half = max(1, len(bounds) // 10)
    late, early = bounds[-half:], bounds[-2 * half : -half]
    if len(early) == 0 or not np.all(np.isfinite(bounds[-2 * half :])):
        return False
    error = np.sqrt((np.var(late) + np.var(early)) / half)
    return bool(np.mean(late) - np.mean(early) < max(_STILL, 2 * error))


# --- what is asked of arguments


def _require_settings(num_particles, num_updates, rates, optimiser, key) -> None:
    require_whole("num_particles", num_particles)
    require_whole("num_updates", num_updates)
    require_key("key", key)
    values = vector("learning_rates", rates)
    if values.shape != (2,):
        raise ValueError(f"`learning_rates` must be the first and the last one, got {len(values)} numbers")
    require("learning_rates", values, positive, "finite numbers > 0")
    if optimiser is not None:
        require_instance("optimiser", optimiser, optax.GradientTransformation, "of optax, such as `optax.adam(1e-3)`")


def _require_rank(rank: int, y: Float[np.ndarray, "B T M"]) -> None:
    require_whole("rank", rank)
    if rank >= y.shape[2]:
        raise ValueError(f"`rank` must be below the number of units, {y.shape[2]}, got {rank}")
    if y.shape[1] < _FEWEST_STEPS:
        raise ValueError(f"`recording` must have {_FEWEST_STEPS} steps or more in a trial, got shape {y.shape}")


def _held_out(held_out: int | Sequence[int] | None, num_trials: int, key) -> Int[np.ndarray, " H"]:
    """Indices of trials that are not fitted."""
    if held_out is None or isinstance(held_out, (int, np.integer)):
        if held_out is not None:
            require_whole("held_out", held_out, 0)
        num = max(_FEWEST_HELD_OUT, round(num_trials / 5)) if held_out is None else int(held_out)
        if num >= num_trials:
            raise ValueError(
                f"`recording` must have more than {num} trials to hold {num} out, got {num_trials}: cut long trials "
                "into pieces (a list or an axis of trials), or fit all of them with `held_out=0`"
            )
        return np.sort(np.asarray(jax.random.permutation(jax.random.fold_in(key, 7), num_trials))[:num])
    indices = np.asarray(held_out)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or np.any((indices < 0) | (indices >= num_trials)):
        raise ValueError(f"`held_out` must be a number or indices of trials below {num_trials}, got {held_out!r}")
    indices = np.unique(indices)
    if len(indices) == num_trials:
        raise ValueError(f"`held_out` must leave a trial to fit, got all {num_trials}")
    return indices
