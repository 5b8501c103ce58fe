r"""The search for a fluctuating state: normalised iteration, and a secant for its amplitude.

$$ C_a \leftarrow q^2 P_a\Big[\sum_b W_{ab}\, C^\phi_b(C_b)\Big] + \frac{\sigma_a^2}{\tau_a} e^{-|\tau| / \tau_a},
   \qquad P_a = (1 - \tau_a^2 d^2)^{-1} $$

with q chosen at each step such that the amplitude of the first term, its fall from lag 0 to the last averaged over
units, stays as it is. The plain iteration, q = 1, leaves the chaotic state and finds periodic orbits. This one
converges to the decaying orbit, and says at which scale q of the random couplings it has this amplitude. q = 1 is then
one equation for the amplitude. Few digits are needed (`equations` makes them exact), so C^phi comes from Hermite
coefficients, sum_n a_n^2 rho^n.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._numerics import hermite_rule, solve_few
from ...transfer import Transfer
from . import window
from .problem import Problem

# Hermite coefficients, and points of their averages. What is left of <phi^2> counts as one power.
_TERMS, _POINTS = 64, 401
# Steps of the iteration at one amplitude, and the change at which it ends, relative to C(0).
_STEPS, _SETTLED = 200, 1e-6
# Steps for the amplitude, in its logarithm; the largest step, and how close ln q^2 comes to 0.
_SEARCHES, _LARGEST, _CLOSE = 60, 2.0, 1e-5
# Means follow tau mu' = -mu + ..., by implicit steps of this length: they leave a mean state that is not stable.
_MEAN_STEP = 2.0
# ln of amplitudes, over the scale, beyond which a state is taken not to exist.
UNBOUNDED = 20.0


class Guess(NamedTuple):
    """C at the nodes of a window of `length`, with the means; and the logarithm of q^2 there."""

    c: Float[Array, "K n"]
    mean: Float[Array, " K"]
    log_q2: Float[Array, ""]
    log_amplitude: Float[Array, ""]


def search(
    problem: Problem,
    mean: Float[Array, " K"],
    static: Float[Array, " K"],
    log_amplitude: Float[Array, ""],
    scale: Float[Array, ""],
    length: Float[Array, ""],
) -> Guess:
    """The state of least amplitude above `log_amplitude`, from means and static variances near its own."""
    lags = length * jnp.asarray(window.window().lags, mean.dtype)
    bump = jnp.exp(-((lags[None] / problem.tau[:, None]) ** 2) / 8)
    start = jnp.exp(log_amplitude) * bump + (static + problem.noise_variance)[:, None]
    ceiling = 2 * jnp.log(scale) + UNBOUNDED

    def unfinished(carry):
        _, found, _, _, count = carry
        going = (abs(found.log_q2) > _CLOSE) & (count < _SEARCHES)
        return going & (found.log_amplitude < ceiling) & jnp.isfinite(found.log_q2)

    def step(carry):
        trial, old, (low, high), grown, count = carry
        new = _settled(problem, trial, length)
        # Below the state the couplings are stronger than the amplitude needs: q < 1.
        low = jnp.where(new.log_q2 < 0, jnp.maximum(low, new.log_amplitude), low)
        high = jnp.where(new.log_q2 >= 0, jnp.minimum(high, new.log_amplitude), high)
        apart = new.log_amplitude - old.log_amplitude
        slope = (new.log_q2 - old.log_q2) / jnp.where(apart == 0, 1, apart)
        secant = -new.log_q2 / jnp.where(slope > 0, slope, 1)
        move = jnp.where((slope > 0) & (apart != 0), secant, jnp.where(new.log_q2 < 0, grown, -grown))
        there = new.log_amplitude + jnp.clip(move, -grown, grown)
        between = jnp.isfinite(low + high)
        bad = (there <= low) | (there >= high)
        there = jnp.where(between & bad, (low + high) / 2, there)
        factor = jnp.exp(there - new.log_amplitude)
        c = new.c[:, -1:] + (new.c - new.c[:, -1:]) * factor
        grown = jnp.where(between | (count == 0), grown, jnp.minimum(1.5 * grown, 6.0))
        return Guess(c, new.mean, new.log_q2, there), new, (low, high), grown, count + 1

    one = jnp.ones_like(log_amplitude)
    first = Guess(start, mean, -one, log_amplitude)
    carry = (first, first, (-jnp.inf * one, jnp.inf * one), _LARGEST * one, 0)
    return jax.lax.while_loop(unfinished, step, carry)[1]


def _settled(problem: Problem, trial: Guess, length: Float[Array, ""]) -> Guess:
    """The iteration at the amplitude of a trial, whose q is not known."""
    win, log_amplitude = window.window(), trial.log_amplitude
    lags = length * jnp.asarray(win.lags, trial.mean.dtype)
    noise = problem.noise_variance[:, None] * jnp.exp(-lags[None] / problem.tau[:, None])

    def step(carry):
        c, mean, _, _, count = carry
        laws = jnp.stack([c[:, 0], mean], axis=1)
        a = problem.functions.of_types(lambda transfer, _, law: _hermite(transfer, law[0], law[1]), laws)
        field = window.leak(win, problem.tau, length, problem.W @ _product(a, c))
        fall = (problem.fractions * (field[:, 0] - field[:, -1])).sum()
        log_q2 = log_amplitude - jnp.log(fall)
        new = jnp.exp(log_q2) * field + noise
        beta = a[:, 1] / jnp.sqrt(c[:, 0])
        new_mean = mean_step(problem, mean, a[:, 0], beta)
        change = jnp.maximum(abs(new - c).max(), (abs(new_mean - mean) ** 2).max())
        return new, new_mean, log_q2, change / c.max(), count + 1

    def unfinished(carry):
        *_, change, count = carry
        return (change > _SETTLED) & (count < _STEPS)

    carry = (trial.c, trial.mean, trial.log_q2, jnp.inf * jnp.ones_like(log_amplitude), 0)
    c, mean, log_q2, *_ = jax.lax.while_loop(unfinished, step, carry)
    return Guess(c, mean, log_q2, log_amplitude)


def mean_step(
    problem: Problem, mean: Float[Array, " K"], rate: Float[Array, " K"], beta: Float[Array, " K"]
) -> Float[Array, " K"]:
    """An implicit step of the means along their own dynamics."""
    force = problem.input + problem.means @ rate - mean
    one = np.eye(mean.shape[0], dtype=mean.dtype)
    return mean + solve_few((1 + 1 / _MEAN_STEP) * one - problem.means * beta[None], force)


def _hermite(transfer: Transfer, variance: Float[Array, ""], mean: Float[Array, ""]) -> Float[Array, " k"]:
    """Coefficients of phi(mean + sd z) in Hermite polynomials of norm 1, and the root of what they leave of <phi^2>."""
    z, rows = (jnp.asarray(x, variance.dtype) for x in hermite_rule(_TERMS, _POINTS, width=9.0))
    phi = transfer(mean + jnp.sqrt(variance) * z)
    a = rows @ phi
    return jnp.append(a, jnp.sqrt(jnp.maximum(rows[0] @ phi**2 - jnp.sum(a**2), 0)))


def _product(a: Float[Array, "K k"], c: Float[Array, "K n"]) -> Float[Array, "K n"]:
    """sum_n a_n^2 rho^n."""
    root = math.isqrt(_TERMS)
    rho = jnp.clip(c / c[:, :1], 0, 1)
    powers = jnp.cumprod(jnp.broadcast_to(rho[..., None], (*rho.shape, root)), axis=-1)  # rho^1 .. rho^8
    low = jnp.concatenate([jnp.ones_like(rho)[..., None], powers[..., :-1]], axis=-1)
    steps = jnp.cumprod(jnp.broadcast_to(powers[..., -1:], (*rho.shape, root)), axis=-1)
    high = jnp.concatenate([jnp.ones_like(rho)[..., None], steps[..., :-1]], axis=-1)
    a2 = a**2
    table = a2[:, :-1].reshape(-1, root, root)  # rows of high powers
    return ((high @ table) * low).sum(-1) + a2[:, -1:] * steps[..., -1] ** 2
