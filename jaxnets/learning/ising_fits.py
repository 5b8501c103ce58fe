r"""Ising models from data: least structured models with given means and pair correlations.

$$ \langle s_i \rangle, \langle s_i s_j \rangle \text{ of the data} = \text{those of } P(s) \propto
   \exp \Big( \sum_{i < j} J_{ij} s_i s_j + \sum_i h_i s_i \Big) $$

`maximum_entropy` solves this exactly for few spins. `pseudo_likelihood` is one logistic regression for each spin, with
error bars; `naive_mean_field` is a matrix inverse, with a bias. For a recording, `binarise` makes the samples:
neighbouring bins must be nearly independent for the errors to be right, and a model with as many parameters as bins
says nothing. A fit cannot show isolated states; see `landscape`.

Source: Besag 1975, Ravikumar, Wainwright & Lafferty 2010 for pseudo-likelihood; Schneidman, Berry, Segev & Bialek 2006
for recordings; Zou & Huang 2021 (arXiv 2007.08093) for weights. The formula of errors is derived here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._arguments import host_array, nonnegative, require, require_instance, require_whole
from .._numerics import as_program
from .._results import Result
from .ising import MOST, Ising, all_signs, as_samples

# Newton steps at most; 8 to 12 are taken without a penalty, more for data that nearly determine a spin.
NEWTON = 100
# Parts of a Newton step, of which the best is taken.
PARTS = 0.5 ** np.arange(12)
# Largest slope of a converged fit.
TOLERANCE = 1e-9
# Samples of one block of the errors, which keeps n^2 numbers for each.
BLOCK = 256


class IsingFit(Result, axes={"n": "spin"}):
    """A fitted `model`, made by `pseudo_likelihood` and `maximum_entropy`.

    `J_error` (n, n) and `h_error` (n,) are standard errors for independent samples, 0 where the moments are exact.
    `residual` is the largest difference of moments, or slope of the likelihood.
    """

    model: Ising
    J_error: Float[Array, "n n"]
    h_error: Float[Array, " n"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def binarise(
    activity: Float[ArrayLike, "T n"], threshold: Float[ArrayLike, "*n"] = 0.0, *, window: int = 1
) -> Int[np.ndarray, "bins n"]:
    """Recorded activity, time first, as +-1: +1 for each bin of `window` samples with one above `threshold`.

    The default takes spike counts. `threshold` is a number or one for each unit. Samples that do not fill the last bin
    are left out. Raises `ValueError` for shapes that do not fit, numbers that are not finite, and units that are the
    same in all bins, whose field would be infinite.
    """
    x = host_array("activity", activity, (None, None))
    require("activity", x, np.isfinite, "finite")
    level = host_array("threshold", threshold)
    if level.shape not in ((), x.shape[1:]):
        raise ValueError(f"`threshold` must be a number or have shape {x.shape[1:]}, got {level.shape}")
    require_whole("window", window)
    bins = len(x) // window
    if bins == 0:
        raise ValueError(f"`activity` must have {window} samples at least, one bin, got {len(x)}")
    active: Any = np.asarray((x > level)[: bins * window]).reshape(bins, window, -1).any(1)
    _require_varied("activity", active)
    return np.where(active, 1, -1).astype(np.int32)


def pseudo_likelihood(
    samples: Float[ArrayLike, "M n"], *, penalty: float = 0.0, weights: Float[ArrayLike, " M"] | None = None
) -> IsingFit:
    r"""Couplings and fields by the likelihood of each spin given all others, and their standard errors.

    $$ \max_{J_i, h_i} \Big\langle \ln \sigma \big( 2 s_i (h_i + \sum_j J_{ij} s_j) \big) \Big\rangle
       - \frac{\text{penalty}}{2} \sum_j J_{ij}^2, \qquad J \to (J + J^T) / 2 $$

    `samples` of +-1 are rows, independent of each other. `weights` are their probabilities (all equal if None): with
    exact ones of all configurations the model comes back exactly. A `penalty` keeps couplings finite where the data are
    few or obey constraints, and makes them smaller. Errors are those of `pseudo_likelihood_error`, with averages over
    the samples. Valid for M >> n; not converged where other spins determine one. Each step costs M n^3 operations.

    Raises `ValueError` for samples that are not +-1, spins that never turn, and weights or penalties out of range.
    Source: Ravikumar, Wainwright & Lafferty 2010; errors derived here.
    """
    s = as_samples("samples", samples)
    _require_varied("samples", s > 0)
    require("penalty", penalty, nonnegative, "a finite number >= 0")
    count = len(s)
    if weights is None:
        chances = np.full(count, 1 / count, s.dtype)
    else:
        chances = host_array("weights", weights, (count,)).astype(s.dtype)
        require("weights", chances, nonnegative, "finite numbers >= 0")
        chances = chances / np.sum(chances)
    theta, slope = _regressions(s, chances, np.asarray(penalty, s.dtype))
    variance_J, variance_h = _variances(*_in_blocks(s, chances), theta, np.asarray(penalty, s.dtype))
    model, converged = _symmetric(theta), slope <= _tolerance(s.dtype)
    return IsingFit(model, jnp.sqrt(variance_J / count), jnp.sqrt(variance_h / count), slope, converged)


def pseudo_likelihood_error(model: Ising, num_samples: int) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    r"""Standard errors of couplings and fields that `pseudo_likelihood` finds from samples of a known model.

    $$ M\, \mathrm{Var} J_{ij} = \big\langle (a_{ij} + a_{ji})^2 \big\rangle / 4, \qquad
       a_i = I_i^{-1} x_i (s_i - f_i), \quad f_i = \tanh \theta_i x_i, \quad
       I_i = \langle (1 - f_i^2) x_i x_i^T \rangle, \quad x_i = (s_{j \ne i}, 1) $$

    By all 2^n configurations, for M = `num_samples` >> n. Both directions of a coupling are not independent. The
    likelihood itself (Cramer and Rao) errs by 1 % less at couplings of a spin glass above its transition. Raises
    `ValueError` for another `model`, n > 20 and samples < 1. Source: derived here.
    """
    require_instance("model", model, Ising, "an `Ising` model")
    require_whole("num_samples", num_samples)
    chances, s = _exact_law(model)
    theta = np.concatenate([np.asarray(model.J), np.asarray(model.h)[:, None]], 1)
    variance_J, variance_h = _variances(*_in_blocks(s, chances), theta, np.zeros((), s.dtype))
    return jnp.sqrt(variance_J / num_samples), jnp.sqrt(variance_h / num_samples)


def naive_mean_field(samples: Float[ArrayLike, "M n"], *, weights: Float[ArrayLike, " M"] | None = None) -> Ising:
    r"""Couplings from the inverse of the covariance C, and fields from the equations of Curie and Weiss.

    $$ J_{ij} = - (C^{-1})_{ij}, \qquad h_i = \mathrm{artanh}\, m_i - \sum_j J_{ij} m_j $$

    Quick, and biased by order J^2 however many the samples. Arguments as in `pseudo_likelihood`. Raises `ValueError`
    for samples that are not +-1, spins that never turn, and fewer samples than spins.
    """
    s = as_samples("samples", samples)
    _require_varied("samples", s > 0)
    chances = np.ones(len(s)) if weights is None else host_array("weights", weights, (len(s),))
    require("weights", chances, nonnegative, "finite numbers >= 0")
    means = np.average(s, axis=0, weights=chances)
    covariance = np.cov(s, rowvar=False, aweights=chances, ddof=0).reshape(s.shape[1], -1)
    if np.linalg.matrix_rank(covariance) < len(means):
        raise ValueError(f"`samples` must vary in all {len(means)} directions, got {len(s)} rows: take more")
    J = -np.linalg.inv(covariance)
    J = (J + J.T) / 2
    np.fill_diagonal(J, 0)
    return Ising(J.astype(s.dtype), (np.arctanh(means) - J @ means).astype(s.dtype))


def maximum_entropy(
    means: Float[ArrayLike, " n"], pairs: Float[ArrayLike, "n n"], *, shrinkage: float = 0.0
) -> IsingFit:
    """The Ising model with given `means` <s_i> and `pairs` <s_i s_j>, exactly, by the sum over all configurations.

    Moments of constraints, as those of all solutions of a perceptron, ask for infinite couplings: `shrinkage` brings
    all moments nearer to 0 by that part. Newton's method searches along each step, since the likelihood may be nearly
    flat; n = 15 takes seconds. Valid for moments inside their range, where couplings are finite. Raises `ValueError`
    for n > 16, moments out of range, and a shrinkage outside of [0, 1).
    """
    m = host_array("means", means, (None,))
    n = len(m)
    if not 1 <= n <= MOST - 4:
        raise ValueError(f"`means` must be of 1 to {MOST - 4} spins, got {n}: use `pseudo_likelihood`")
    C = host_array("pairs", pairs, (n, n))
    require("means", m, lambda m: np.abs(m) <= 1, "numbers from -1 to 1")
    require("pairs", C, lambda C: (np.abs(C) <= 1) & (C == C.T), "a symmetric matrix of numbers from -1 to 1")
    require("shrinkage", shrinkage, lambda part: (part >= 0) & (part < 1), "a number >= 0 and < 1")
    upper = np.triu_indices(n, 1)
    wanted = (1 - shrinkage) * np.concatenate([C[upper], m])
    s = all_signs(n).astype(float)
    features = np.concatenate([s[:, upper[0]] * s[:, upper[1]], s], 1)
    theta, residual = _ascend(features, wanted)
    J = np.zeros((n, n))
    J[upper] = theta[: len(upper[0])]
    model = Ising(J + J.T, theta[len(upper[0]) :])
    return IsingFit(model, jnp.zeros((n, n)), jnp.zeros(n), jnp.asarray(residual), jnp.asarray(residual <= TOLERANCE))


def _ascend(features: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """Parameters whose moments are as wanted, and the largest difference that is left."""

    def law(theta):
        log = features @ theta
        largest = np.max(log)
        chances = np.exp(log - largest)
        total = np.sum(chances)
        return chances / total, theta @ wanted - largest - np.log(total)

    theta = np.zeros(len(wanted))
    chances, value = law(theta)
    for _ in range(NEWTON):
        moments = chances @ features
        slope = wanted - moments
        if np.max(np.abs(slope)) <= TOLERANCE / 10:
            break
        curvature = (features * chances[:, None]).T @ features - np.outer(moments, moments)
        step = np.linalg.lstsq(curvature, slope, rcond=1e-14)[0]
        for part in PARTS:
            new, new_value = law(theta + part * step)
            if new_value >= value - 1e-15 * abs(value):
                theta, chances, value = theta + part * step, new, new_value
                break
        else:
            break
    return theta, float(np.max(np.abs(wanted - chances @ features)))


# --- regressions


def _require_varied(name: str, active: np.ndarray) -> None:
    same = np.flatnonzero(active.all(0) | ~active.any(0))
    if len(same):
        raise ValueError(f"`{name}` must vary in each unit, got the same value always in {_few(same)}: leave them out")


def _few(units: np.ndarray) -> str:
    return ", ".join(map(str, units[:8])) + (f" and {len(units) - 8} more" if len(units) > 8 else "")


def _tolerance(dtype) -> float:
    return max(TOLERANCE, 100 * float(jnp.finfo(dtype).eps))


def _exact_law(model: Ising) -> tuple[np.ndarray, np.ndarray]:
    n = model.h.shape[0]
    if n > MOST:
        raise ValueError(f"`model` must have at most {MOST} spins, got {n}")
    s = all_signs(n).astype(model.J.dtype)
    log = ((s @ np.asarray(model.J)) * s).sum(1) / 2 + s @ np.asarray(model.h)
    chances = np.exp(log - np.max(log))
    return chances / np.sum(chances), s


def _symmetric(theta: Float[Array, "n n+1"]) -> Ising:
    J = np.asarray(theta[:, :-1])
    return Ising((J + J.T) / 2, np.asarray(theta[:, -1]))


def _others(s, i):
    """x_i = (s, 1) with 0 in place of spin i."""
    x = jnp.concatenate([s, jnp.ones((len(s), 1), s.dtype)], 1)
    return x.at[:, i].set(0)


@as_program
def _regressions(s, chances, penalty) -> tuple[Float[Array, "n n+1"], Float[Array, ""]]:
    """theta_i = (J_i, h_i) of all spins, and the largest slope that is left."""
    n, tolerance = s.shape[1], _tolerance(s.dtype)
    penalties = penalty * jnp.append(jnp.ones(n, s.dtype), 0)

    def one(i):
        x, own = _others(s, i), s[:, i]
        loss = lambda theta: chances @ jnp.logaddexp(0.0, -2 * own * (x @ theta)) + penalties @ theta**2 / 2

        def step(carry):
            theta, _, count = carry
            f = jnp.tanh(x @ theta)
            slope = (chances * (own - f)) @ x - penalties * theta
            information = (x * (chances * (1 - f**2))[:, None]).T @ x + jnp.diag(penalties)
            # The row of spin i itself is 0.
            change = jnp.linalg.solve(information.at[i, i].add(1), slope)
            parts = jnp.asarray(PARTS, s.dtype)
            best = jnp.argmin(jax.lax.map(lambda part: loss(theta + part * change), parts))
            miss = jnp.max(jnp.abs(slope))
            return jnp.where(miss > tolerance / 10, theta + parts[best] * change, theta), miss, count + 1

        unfinished = lambda carry: (carry[1] > tolerance / 10) & (carry[2] < NEWTON)
        start = (jnp.zeros(n + 1, s.dtype), jnp.asarray(jnp.inf, s.dtype), 0)
        theta, miss, _ = jax.lax.while_loop(unfinished, step, start)
        return theta, miss

    theta, misses = jax.lax.map(one, jnp.arange(n))
    return theta, jnp.max(misses)


def _in_blocks(s: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples (blocks, rows, n) and their weights, filled up with rows of weight 0."""
    rows = min(BLOCK, len(s))
    more = -len(s) % rows
    padded = np.concatenate([s, np.ones((more, s.shape[1]), s.dtype)])
    weights = np.concatenate([chances, np.zeros(more, s.dtype)]).astype(s.dtype)
    return padded.reshape(-1, rows, s.shape[1]), weights.reshape(-1, rows)


@as_program
def _variances(blocks, chances, theta, penalty) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """M times the variances of J and h: mean squares of what one sample adds to them."""
    n = blocks.shape[-1]
    s, every = blocks.reshape(-1, n), chances.reshape(-1)
    penalties = penalty * jnp.append(jnp.ones(n, s.dtype), 0)

    def inverse(i):
        x = _others(s, i)
        f = jnp.tanh(x @ theta[i])
        information = (x * (every * (1 - f**2))[:, None]).T @ x + jnp.diag(penalties)
        return jnp.linalg.inv(information.at[i, i].add(1)).at[i, i].set(0)

    inverses = jax.lax.map(inverse, jnp.arange(n))

    def add(sums, block):
        s, chances = block
        x = jnp.concatenate([s, jnp.ones((len(s), 1), s.dtype)], 1)
        left = s - jnp.tanh(x @ theta.T)
        # a[m, i, j]: spin i has no part in its own regression, since its row and column of the inverse are 0.
        a = jnp.einsum("mk,ikj,mi->mij", x, inverses, left)
        J = (a[:, :, :-1] + jnp.swapaxes(a[:, :, :-1], 1, 2)) / 2
        return (sums[0] + jnp.einsum("m,mij->ij", chances, J**2), sums[1] + chances @ a[:, :, -1] ** 2), None

    zero = (jnp.zeros((n, n), s.dtype), jnp.zeros(n, s.dtype))
    return jax.lax.scan(add, zero, (blocks, chances))[0]
