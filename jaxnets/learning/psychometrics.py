r"""Psychometric curves: how often a stimulus is called high, and the normal distribution that describes it.

$$ P(\text{high} \mid f) = \Phi\Big( \frac{f - \mu}{s} \Big) $$

with the point of equality mu and the width s; the smaller s, the steeper the curve. An observer who weighs two senses
by their precision has 1 / s^2 = 1 / s_1^2 + 1 / s_2^2 for both together (`best_width`).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from scipy.special import log_ndtr, ndtr

from .._arguments import host_array, positive, require, require_key, require_whole
from .._results import Result
from .trials import Multisensory

_STEPS, _TOLERANCE = 100, 1e-10  # of Fisher scoring, which takes some ten steps
_LEAST = 1e-12  # probability of either answer in the weights, which are 0 / 0 beyond
SENSES = {"seen": (True, False), "heard": (False, True), "both": (True, True)}


class Psychometric(Result, axes={"F": "rates"}):
    """The `share` of trials that were called high, and the fitted `midpoint` mu and `width` s with standard errors.

    `share_error` is the binomial standard error, of one trial more of each kind, so that it is never 0. Without
    `converged` the fit has no finite answer, as where rates are told apart without a fault, and is NaN.
    """

    rates: Float[np.ndarray, " F"]
    share: Float[np.ndarray, " F"]
    share_error: Float[np.ndarray, " F"]
    midpoint: float
    midpoint_error: float
    width: float
    width_error: float
    converged: bool


def psychometric(
    respond: Callable[[Float[Array, "T 5"], PRNGKeyArray], Float[Array, "T 2"]],
    task: Multisensory,
    senses: str,
    rates: Float[ArrayLike, " F"],
    num_trials: int,
    *,
    key: PRNGKeyArray,
) -> Psychometric:
    """The curve of ``respond(inputs, key)``, the outputs of a network in one trial, over `rates` that are tested.

    `senses` is "seen", "heard" or "both". There are `num_trials` of the `task` at each rate. Rates between 11.5 and
    13.5 say most of a trained network. Errors are valid where `probit` is. Raises `ValueError` for other senses, rates
    that are not finite, numbers of trials below 1, and without a key.
    """
    if senses not in SENSES:
        raise ValueError(f"`senses` must be one of {', '.join(SENSES)}, got {senses!r}")
    at = host_array("rates", rates)
    require("rates", at, np.isfinite, "finite numbers")
    require_whole("num_trials", num_trials)
    require_key("key", key)
    seen, heard = SENSES[senses]
    every = np.repeat(at, num_trials)
    high = _answers(respond, task, every, np.full(every.shape, seen), np.full(every.shape, heard), key)
    return probit(at, np.asarray(high).reshape(len(at), num_trials).sum(1), num_trials)


def _answers(respond, task, rates, seen, heard, key) -> Bool[Array, " num"]:
    shown, noise = jax.random.split(key)
    trials = task.trials(rates, seen=seen, heard=heard, key=shown)
    return task.choices(_all(respond, trials.inputs, jax.random.split(noise, len(rates))))


@eqx.filter_jit  # compiled once for the same `respond`
def _all(respond, inputs, keys):
    return jax.vmap(respond)(inputs, keys)


def probit(
    rates: Float[ArrayLike, " F"], num_high: Int[ArrayLike, " F"], num_trials: Int[ArrayLike, " F"] | int
) -> Psychometric:
    """The most likely curve for `num_high` answers of `num_trials` at each of `rates`.

    Errors, by the Fisher information, are valid for many trials: of 200 at each of five rates they are those of
    repetitions. Raises `ValueError` for fewer than two rates, numbers that do not fit each other, and answers that are
    more than the trials.
    """
    at, high = host_array("rates", rates), host_array("num_high", num_high)
    if at.ndim != 1 or len(at) < 2 or high.shape != at.shape:
        raise ValueError(f"`rates` and `num_high` must be two numbers or more each, got {at.shape} and {high.shape}")
    trials = np.broadcast_to(host_array("num_trials", num_trials), at.shape)
    require("rates", at, np.isfinite, "finite numbers")
    require("num_trials", trials, lambda n: n >= 1, "at least 1")
    require("num_high", high, lambda k: (k >= 0) & (k <= trials), "from 0 to the number of trials")
    share = high / trials
    guess = (high + 0.5) / (trials + 1)
    found = _fitted(at, high, trials)
    return Psychometric(at, share, np.sqrt(guess * (1 - guess) / trials), *found)


def _fitted(at, high, trials) -> tuple[float, float, float, float, bool]:
    """Fisher scoring for P = Phi(a + b u), u the rates in units of their scatter; then mu = -a/b and s = 1/b."""
    centre, scale = at.mean(), max(at.std(), np.finfo(float).tiny)
    design = np.stack([np.ones_like(at), (at - centre) / scale], 1)
    theta, information, converged = np.array([0.0, 1.0]), np.eye(2), False
    for _ in range(_STEPS):
        z = design @ theta
        p = np.clip(ndtr(z), _LEAST, 1 - _LEAST)
        slope = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        information = design.T @ (trials * slope**2 / (p * (1 - p)) * design.T).T
        score = design.T @ (slope * (high - trials * p) / (p * (1 - p)))
        if np.linalg.cond(information) > 1 / np.finfo(float).eps:
            break
        step = np.linalg.solve(information, score)
        theta = _no_worse(theta, step, design, high, trials)
        if np.abs(step).max() < _TOLERANCE * (1 + np.abs(theta).max()):
            converged = True
            break
    a, b = theta
    if not converged or b <= 0:
        return float("nan"), float("nan"), float("nan"), float("nan"), False
    C = np.linalg.inv(information)
    by = np.array([-1 / b, a / b**2])  # of mu / scale
    errors = np.sqrt(by @ C @ by), np.sqrt(C[1, 1]) / b**2
    midpoint, width = centre - scale * a / b, scale / b
    return float(midpoint), float(scale * errors[0]), float(width), float(scale * errors[1]), True


def _no_worse(theta, step, design, high, trials):
    """The step, or the part of it that does not lower the likelihood."""

    def likelihood(theta):
        z = design @ theta
        return np.sum(high * log_ndtr(z) + (trials - high) * log_ndtr(-z))

    now = likelihood(theta)
    for _ in range(30):
        if likelihood(theta + step) >= now - 1e-12 * abs(now):
            break
        step = step / 2
    return theta + step


def best_width(*widths: Float[ArrayLike, ""]) -> float:
    """The width s of senses with these `widths` together, weighed by their precision: 1 / s^2 = sum_k 1 / s_k^2.

    Raises `ValueError` for no widths, and widths that are not positive.
    """
    each = host_array("widths", widths, (None,))
    require("widths", each, lambda s: positive(s) & (len(s) > 0), "finite numbers > 0")
    return float(np.sum(each**-2.0) ** -0.5)
