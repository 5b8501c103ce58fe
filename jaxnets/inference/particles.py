r"""Sequential Monte Carlo of stochastic low-rank networks: the likelihood of a recording, and the latent states.

Particles move by a proposal q and are weighed and resampled at each step,

$$ w_t^k = \frac{p(z_t^k | z_{t-1}^k)\, p(y_t | z_t^k)}{q(z_t^k)}, \qquad
   \log \hat p(y) = \sum_t \log \frac1K \sum_k w_t^k, \qquad E\, \hat p(y) = p(y) . $$

The proposal is one step of Fisher scoring from the mean mu of the transition, with the covariance L L^T of its noise
and the score g and the Fisher information F of log p(y | z) at mu,

$$ q = N(\mu + C g,\, C), \qquad C^{-1} = (L L^T)^{-1} + F . $$

For Gaussian data that are linear in z it is p(z_t | z_{t-1}, y_t), the optimal one, and C does not depend on the
particle. Everything is computed in e = L^{-1} (z - mu), in which the precision is 1 + L^T F L. Functions here are for
one particle or for one trial; `vmap` maps them over more.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import require_instance, require_key, require_whole
from .._numerics import as_program
from .._results import Result
from .gaussians import cholesky, log_determinant, solve_lower, solve_upper
from .models import StochasticLowRank
from .recordings import Recording, inputs_of, trials_of

# Particles are padded to a power of two, and to this number at least.
_FEWEST = 16


class Filtered(Result, axes={"B": "trial", "T": "step", "M": "unit", "R": "mode"}):
    """What particles say of a recording, made by `smc`; errors are standard deviations given the data.

    `log_likelihood` estimates log p(y) of each trial, of `num_observed` numbers. `filtered` is the mean of z given the
    recording up to a step, `latents` given all of it; `filtered_error` and `latents_error` are their standard errors.
    `prediction` is the mean of the data of a step given the steps before. `ess` is the effective number of particles,
    1 / sum w^2. Steps behind the end of a trial are predictions.
    """

    log_likelihood: Float[Array, " B"]
    num_observed: Int[Array, " B"]
    ess: Float[Array, "B T"]
    latents: Float[Array, "B T R"]
    latents_error: Float[Array, "B T R"]
    filtered: Float[Array, "B T R"]
    filtered_error: Float[Array, "B T R"]
    prediction: Float[Array, "B T M"]


def smc(
    model: StochasticLowRank,
    recording: Recording,
    *,
    num_particles: int = 64,
    key: PRNGKeyArray,
    inputs: Float[ArrayLike, "*B T I"] | None = None,
    bootstrap: bool = False,
) -> Filtered:
    r"""The likelihood of a recording under a model, and the latent states, by K particles.

    $$ \log \hat p(y) = \sum_t \log \frac1K \sum_k w_t^k, \qquad
       E \log \hat p(y) = \log p(y) - O(1/K), \qquad E\, \hat p(y) = p(y) $$

    `recording` is (T, M), (B, T, M) or a list of trials (T_i, M). NaN stands for what is missing, in any pattern. Each
    trial begins with the law of z_1. `inputs` are u, (T, I) for all trials or (B, T, I). Particles are resampled at
    each step, by systematic resampling. The proposal is the optimal one for Gaussian data that are linear in z, else
    one step of Fisher scoring; `bootstrap` takes the transition alone, which needs many more particles. Smoothing goes
    back over all pairs of particles, K^2 operations a step.

    K is an argument of the program, which is compiled for the next power of two. `log_likelihood` is differentiable by
    the model, in reverse mode; the gradient leaves out the choice of particles in resampling, which gives a bias that
    falls with K. A model of which no particle fits has a log-likelihood of -inf or NaN.

    Raises:
        ValueError: for a recording that is none, has other units than the model, or is traced; inputs that do not fit;
            ``num_particles`` below 1, and without a key.

    Source: Pals et al. 2024 (arXiv 2406.16749); Naesseth, Linderman, Ranganath & Blei 2018 for the bound; Doucet,
    Godsill & Andrieu 2000 for the proposals and the smoother.
    """
    require_instance("model", model, StochasticLowRank, "a `StochasticLowRank`")
    require_whole("num_particles", num_particles)
    require_key("key", key)
    y = trials_of(recording, counts=model.observation.counts, look=False)
    if y.shape[2] != model.num_recorded:
        raise ValueError(f"`recording` must have the {model.num_recorded} units of the model, got shape {y.shape}")
    u = inputs_of(inputs, model.num_inputs, len(y), y.shape[1], model.m.dtype)
    keys = jax.random.split(key, len(y))
    size = padded(num_particles)
    return _smc(model, jnp.asarray(y, model.m.dtype), u, keys, np.asarray(num_particles), size, bootstrap)


def padded(num_particles: int) -> int:
    """The next power of two, for which a program is compiled."""
    return max(_FEWEST, 1 << (num_particles - 1).bit_length())


@as_program
def _smc(model, y, inputs, keys, num_particles, size: int, bootstrap: bool) -> Filtered:
    def of_trial(y, u, key):
        v = model.filtered_inputs(u)
        trial = Trial(y, v, before(v), model.initial_mean, model.initial_noise)
        steps = filter_trial(model, trial, key, num_particles, size, bootstrap, keep=True)
        assert steps.z is not None and steps.log_weights is not None and steps.prediction is not None
        mean, error = _moments(steps.z, jnp.exp(steps.log_weights))
        smoothed = _moments(steps.z, jnp.exp(_smoothed_weights(model, trial, steps)))
        observed = jnp.sum(jnp.isfinite(y))
        return Filtered(jnp.sum(steps.increments), observed, steps.ess, *smoothed, mean, error, steps.prediction)

    with jax.default_matmul_precision("highest"):
        if inputs is None:
            return jax.vmap(lambda y, key: of_trial(y, None, key))(y, keys)
        return jax.vmap(of_trial)(y, inputs, keys)


class Trial(NamedTuple):
    """Data with NaN, filtered inputs of each step and of the step before, and the law of the first state."""

    y: Float[Array, "T M"]
    v: Float[Array, "T I"] | None
    v_before: Float[Array, "T I"] | None
    first_mean: Float[Array, " R"]
    first_noise: Float[Array, "R R"]


def before(v: Float[Array, "T I"] | None) -> Float[Array, "T I"] | None:
    """The filtered inputs of the step before."""
    return None if v is None else jnp.concatenate([jnp.zeros_like(v[:1]), v[:-1]])


class Steps(NamedTuple):
    """The increments of the log-likelihood and the effective numbers; particles, normalised weights, predictions."""

    increments: Float[Array, " T"]
    ess: Float[Array, " T"]
    z: Float[Array, "T K R"] | None
    log_weights: Float[Array, "T K"] | None
    prediction: Float[Array, "T M"] | None


# --- the filter


def filter_trial(
    model: StochasticLowRank,
    trial: Trial,
    key: PRNGKeyArray,
    num_particles: Int[Array, ""],
    size: int,
    bootstrap: bool = False,
    keep: bool = False,
) -> Steps:
    """The particle filter of one trial; of `size` particles the first `num_particles` are used."""
    exact = not bootstrap and model.observation.is_gaussian and model.observation.readout.is_linear
    R, dtype = model.rank, model.m.dtype
    alive = jnp.arange(size) < num_particles
    empty = jnp.where(alive, 0, -jnp.inf).astype(dtype)
    log_number = jnp.log(num_particles.astype(dtype))
    sites = jax.vmap(lambda y, v, L: _site(model, y, v, L))(trial.y, trial.v, _factors(model, trial)) if exact else None

    def advance(carry, at):
        z, log_weights = carry
        t, y, v, v_before, site = at
        keys = jax.random.split(jax.random.fold_in(key, t), 3)
        first = t == 0
        z = z[_systematic(log_weights, num_particles, keys[0])]
        ahead = jax.vmap(lambda z: model.step(z, v_before))(z)
        mu = jnp.where(first, jnp.broadcast_to(trial.first_mean, (size, R)), ahead)
        L = jnp.where(first, trial.first_noise, model.noise)
        xi = jax.random.normal(keys[1], (size, R), dtype)
        of_one = lambda mu, xi: _proposed(model, y, v, L, mu, xi, site, bootstrap)
        z, log_w = jax.vmap(of_one)(mu, xi)
        log_w = jnp.where(alive, log_w, -jnp.inf)
        total = jax.scipy.special.logsumexp(log_w)
        log_w = log_w - total
        ess = jnp.exp(-jax.scipy.special.logsumexp(2 * log_w))
        outputs = total - log_number, ess, None, None, None
        if keep:
            # Data of particles that move by the transition alone: the filter has seen the steps before.
            moved = mu + jax.random.normal(keys[2], mu.shape, dtype) @ L.T
            read = jax.vmap(lambda z: model.observation.mean(model.read(z, model.currents(z, v))))(moved)
            outputs = *outputs[:2], z, log_w, jnp.where(alive, 1 / num_particles.astype(dtype), 0) @ read
        return (z, log_w), outputs

    start = jnp.zeros((size, R), dtype), empty - log_number
    at = jnp.arange(len(trial.y)), trial.y, trial.v, trial.v_before, sites
    # Of counts the reverse pass has so much to read that it is faster to compute a step twice, by a third at N = 40 and
    # K = 32 on a CPU; of Gaussian data it would be slower by two thirds.
    body = advance if exact else jax.checkpoint(advance, prevent_cse=False)
    return Steps(*jax.lax.scan(body, start, at)[1])


def _systematic(log_weights: Float[Array, " K"], num_particles: Int[Array, ""], key) -> Int[Array, " K"]:
    """Ancestors: particle j has as many offspring as points (k + u) / K fall on its part of the unit interval."""
    weights = jnp.exp(jax.lax.stop_gradient(log_weights))
    ends = jnp.cumsum(weights)
    # Over the last one, which makes it 1 whatever the rounding: no particle without weight has offspring.
    points = jnp.ceil(ends / ends[-1] * num_particles.astype(ends.dtype) - jax.random.uniform(key, (), ends.dtype))
    index = jnp.arange(len(weights), dtype=points.dtype)
    return jnp.minimum(jnp.searchsorted(points, index, side="right", method="scan_unrolled"), len(weights) - 1)


class _Site(NamedTuple):
    """log p(y | z) = value + score . (z - z_0) - (z - z_0) . F (z - z_0) / 2, and U U^T = 1 + L^T F L."""

    centre: Float[Array, " R"]
    value: Float[Array, ""]
    score: Float[Array, " R"]
    information: Float[Array, "R R"]
    U: Float[Array, "R R"]


def _factors(model: StochasticLowRank, trial: Trial) -> Float[Array, "T R R"]:
    """L of each step."""
    first = jnp.arange(len(trial.y)) == 0
    return jnp.where(first[:, None, None], trial.first_noise[None], model.noise[None])


def _site(model, y, v, L) -> _Site:
    """The parabola of data that are Gaussian and linear in z, about a point near its top."""
    zero = jnp.zeros(model.rank, model.m.dtype)
    _, b, F = _local(model, y, v, zero)
    U = cholesky(_precision(L, F))
    # Sums of squares lose no digits about the most likely state; the value does not depend on the centre.
    centre = jax.lax.stop_gradient(L @ solve_upper(U, solve_lower(U, L.T @ b)))
    value, score, _ = _local(model, y, v, centre)
    return _Site(centre, value, score, F, U)


def _local(model, y, v, z) -> tuple[Float[Array, ""], Float[Array, " R"], Float[Array, "R R"]]:
    """log p(y | z), its derivative by z, and the Fisher information."""
    readout, x = model.observation.readout, model.currents(z, v)
    seen, y = _seen(y)
    eta = readout.read(model, z, x)
    directions, slopes = readout.directions(model), readout.slopes(model, x)
    score, information = (jnp.where(seen, part, 0) for part in model.observation.score(y, eta))
    value = jnp.sum(jnp.where(seen, model.observation.log_density(y, eta), 0))
    outer = (directions[:, :, None] * directions[:, None]).reshape(len(directions), -1)
    F = ((slopes**2 * information) @ outer).reshape(model.rank, model.rank)
    return value, (slopes * score) @ directions, F


def _log_density(model, y, v, z) -> Float[Array, ""]:
    seen, y = _seen(y)
    return jnp.sum(jnp.where(seen, model.observation.log_density(y, model.read(z, model.currents(z, v))), 0))


def _seen(y: Float[Array, " M"]) -> tuple[Bool[Array, " M"], Float[Array, " M"]]:
    """What is no NaN, and the data with 0 in place of it, which keeps gradients finite."""
    seen = jnp.isfinite(y)
    return seen, jnp.where(seen, y, 0)


def _precision(L: Float[Array, "R R"], F: Float[Array, "R R"]) -> Float[Array, "R R"]:
    return jnp.eye(len(L), dtype=L.dtype) + L.T @ F @ L


def _proposed(model, y, v, L, mu, xi, site: _Site | None, bootstrap: bool) -> tuple[Float[Array, " R"], Array]:
    """A particle drawn from the proposal, and the logarithm of its weight."""
    if bootstrap:
        z = mu + L @ xi
        return z, _log_density(model, y, v, z)
    if site is None:
        _, score, F = _local(model, y, v, mu)
        U = cholesky(_precision(L, F))
    else:
        score, U = site.score - site.information @ (mu - site.centre), site.U
    e = solve_upper(U, solve_lower(U, L.T @ score) + xi)
    z = mu + L @ e
    if site is None:
        value = _log_density(model, y, v, z)
    else:
        away = z - site.centre
        value = site.value + site.score @ away - away @ (site.information @ away) / 2
    return z, value + jnp.sum(xi**2 - e**2) / 2 - log_determinant(U)


# --- the smoother


def _smoothed_weights(model: StochasticLowRank, trial: Trial, steps: Steps) -> Float[Array, "T K"]:
    """Logarithms of the weights of all particles given the whole trial, from the last step back."""
    z, log_weights = steps.z, steps.log_weights
    assert z is not None and log_weights is not None

    def back(later, at):
        z, log_w, z_next, v = at
        ahead = jax.vmap(lambda z: solve_lower(model.noise, model.step(z, v)))(z)
        there = jax.vmap(lambda z: solve_lower(model.noise, z))(z_next)
        moved = -jnp.sum((there[:, None] - ahead[None]) ** 2, -1) / 2  # from the second particle to the first
        reached = jax.scipy.special.logsumexp(moved + log_w[None], axis=1)
        shares = jnp.where(jnp.isfinite(later), later - reached, -jnp.inf)
        own = log_w + jax.scipy.special.logsumexp(moved + shares[:, None], axis=0)
        return own, own

    v = None if trial.v is None else trial.v[:-1]
    _, all_but_last = jax.lax.scan(back, log_weights[-1], (z[:-1], log_weights[:-1], z[1:], v), reverse=True)
    return jnp.concatenate([all_but_last, log_weights[-1:]])


def _moments(z: Float[Array, "T K R"], weights: Float[Array, "T K"]) -> tuple[Array, Array]:
    """Means and standard deviations of weighted particles."""
    mean = jnp.sum(weights[..., None] * z, axis=1)
    square = jnp.sum(weights[..., None] * (z - mean[:, None]) ** 2, axis=1)
    return mean, jnp.sqrt(square)
