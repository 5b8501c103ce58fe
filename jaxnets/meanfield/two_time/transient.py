"""The course of a network from its start on, for N -> infinity: arguments in, a `Transient` out."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._arguments import (
    correlation,
    in_one_precision,
    nonnegative,
    positive,
    real_array,
    require,
    require_instance,
    scalar,
    traced_output,
    vector,
)
from ..._numerics import as_program, is_concrete
from ...couplings import Ensemble
from ...transfer import Transfer
from ..unit.requirements import require_no_mean
from .gaussian import BLOCK, Problem, Row, solve
from .state import Transient

# Largest residual of a converged course. From a variance of .01 on, at g = 2, 5 and 10, courses below it have the
# variance to 1 %, and one of residual .006 to 1.5 %. And the largest part of <phi^2> that Hermite coefficients may
# leave: as the rest counts as one power, C^phi is off by a part of it alone.
_TOLERANCE, _REST = 1e-3, 0.03
# Points and weights of the Gauss rule for inputs, in parts of a step.
_POINTS, _WEIGHTS = (np.polynomial.legendre.leggauss(3) + np.array([[1.0], [0.0]])) / 2
# Times of the longest course: a covariance of that many takes 3 GB.
_MOST = 20_000

Course = Float[ArrayLike, "*K"] | Callable[[Float[Array, ""]], Float[ArrayLike, "*K"]]


def transient(
    ensemble: Ensemble,
    transfer: Transfer,
    *,
    duration: float,
    step: float = 0.1,
    variance: Float[ArrayLike, ""] = 0.0,
    mean: Float[ArrayLike, "*K"] = 0.0,
    input: Course | None = None,
    weights: Float[ArrayLike, " K"] | None = None,
    input_covariance: Float[ArrayLike, ""]
    | Callable[[Float[Array, ""], Float[Array, ""]], Float[ArrayLike, ""]]
    | None = None,
    noise: Float[ArrayLike, ""] = 0.0,
    replica: Float[ArrayLike, ""] | None = None,
) -> Transient:
    r"""The course of dx/dt = -x + J phi(x) + I(t) + sqrt(2) sigma xi(t) from a random start, for N -> infinity.

    A unit of class c has x = m_c + u with m_c' = -m_c + I_c. u is Gaussian, with one covariance for all classes,

    $$ (\partial_t + 1)(\partial_s + 1)\, C(t, s) = C^\eta(t, s) + 2 \sigma^2 \delta(t - s), \quad
       C^\eta = g^2\, (C^\phi + a\, S C^\phi S^T + \dots), \quad
       C^\phi(t, s) = \sum_c w_c \langle \phi(m_c(t) + u(t))\, \phi(m_c(s) + u(s)) \rangle $$

    with g^2 = N Var J_ij, and a = gamma^2 for the shift (DeepHebbian with auto = 0 and one element of hetero), else 0.

    Times are 0, `step`, ... up to `duration`, rounded up to whole steps, in units of tau. Units start from independent
    normal numbers of this `variance` around the `mean`, a number or one for each class. The `input` I is a number, one
    for each class, or a function of time that gives one of them and may jump at the times. `weights` w are the
    fractions of units in each class; sines of random phases, for example, are some eight classes of equal weights.
    Inputs that are Gaussian across units add their `input_covariance`: a number for constant ones, or a function of two
    times. `noise` is sigma. A second network with the same J, input and noise starts from numbers that have the
    correlation `replica` with the first: `Transient.squared_distance` shows whether they part.

    Errors fall as `step`^2: halve it to see them. Steps must resolve the growth of activity: step < 1 / g is a good
    start. Cost and memory grow as the square of the number of times (400: below 1 s). Differentiable in everything but
    `duration` and `step`, with a memory of one state for each 32 times. Valid without memory kernel: no overlaps, no
    partial symmetry, as `Ensemble.site` says; what is traced there is taken to be 0, and gives NaN else.

    Raises:
        ValueError: for an ensemble with a memory kernel, with cell types or with a finite-rank part; phi that is no
            `Transfer`; negative duration, step, variance or noise; |replica| > 1; weights that are negative or do not
            sum to 1; means and inputs that do not fit them; inputs that are not finite.

    Source: Sompolinsky, Crisanti & Sommers 1988; Rajan, Abbott & Sompolinsky 2010 for inputs; the shift: derived here.
    """
    site = _site(ensemble)
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    times, count = _times(duration, step)
    variance, noise = scalar("variance", variance), scalar("noise", noise)
    require("variance", variance, nonnegative, "a finite number >= 0")
    require("noise", noise, nonnegative, "a finite number >= 0")
    shares = jnp.ones(1, variance.dtype) if weights is None else vector("weights", weights)
    require("weights", shares, lambda w: nonnegative(w) & (abs(np.sum(w) - 1) < 1e-5), "numbers >= 0 that sum to 1")
    correlated = None if replica is None else scalar("replica", replica)
    if correlated is not None:
        require("replica", correlated, correlation, "in [-1, 1]")
    h = jnp.asarray(step)
    start = real_array("mean", mean)
    if start.shape not in ((), shares.shape):
        raise ValueError(f"`mean` must be a number or have shape {shares.shape}, got shape {start.shape}")
    require("mean", start, np.isfinite, "finite numbers")
    current, given = _input_at(input, times, shares.shape), _covariance_at(input_covariance, times)
    arrays = (site.strength, variance, noise, h, start, shares, current, *(() if given is None else (given,)))
    strength, variance, noise, h, start, shares, current, *rest = in_one_precision(*arrays)
    site = type(site)(strength, None if site.echo is None else site.echo.astype(strength.dtype))
    correlated = None if correlated is None else correlated.astype(strength.dtype)
    means = _means(h, jnp.broadcast_to(start, shares.shape), current)
    problem = Problem(site, transfer, h, variance, noise, correlated, means, shares, rest[0] if rest else None)
    rows = solve(problem)
    return _cut(rows, means, shares, jnp.asarray(times, strength.dtype), count)


def _cut(rows: Row, means: Float[Array, "K T"], weights: Float[Array, " K"], times: Float[Array, " T"], count: int):
    """The result, without the times that only fill blocks; by NumPy where nothing is traced, which compiles nothing."""
    known = is_concrete(rows)
    rows, means, times = jax.tree.map(np.asarray, (rows, means, times)) if known else (rows, means, times)
    on: Any = np if known else jnp
    square = lambda a: a[..., :count, :count]
    residual, left = on.max(rows.change[:count]), on.max(rows.rest[:count])
    found = Transient(
        times=times[:count],
        mean=means[:, :count],
        c_x=square(rows.c_x[0]),
        c_phi=square(rows.c_phi),
        beta=rows.beta[:count],
        c_x_replica=square(rows.c_x[1]) if rows.c_x.shape[0] > 1 else None,
        weights=weights,
        residual=residual,
        converged=(residual < _TOLERANCE) & (left < _REST) & on.isfinite(residual),
    )
    return jax.device_put(found) if known else found


def _times(duration: float, step: float) -> tuple[np.ndarray, int]:
    """The times of whole blocks, so that courses of nearly one length share a program, and how many are wanted."""
    for name, value in (("duration", duration), ("step", step)):
        if not is_concrete(value):
            raise ValueError(f"`{name}` must be a number, as it sets the number of times, got the traced {value}")
        require(name, scalar(name, value), positive, "a finite number > 0")
    count = math.ceil(min(duration / step, 2.0 * _MOST) - 1e-6) + 1
    if count > _MOST:
        raise ValueError(
            f"`duration` must be below {_MOST} steps, as covariances of all pairs of times are kept, got {duration:g} "
            f"in steps of {step:g}"
        )
    return step * np.arange(-(-count // BLOCK) * BLOCK), count


def _site(ensemble):
    require_no_mean(ensemble)
    if ensemble.type_fractions().shape[0] > 1:
        raise ValueError(f"`ensemble` must have one cell type, since none are derived at two times, got {ensemble!r}")
    site = ensemble.site()
    if site is None:
        raise ValueError(
            "`ensemble` must have no memory kernel (no overlap, no partial symmetry, one shift alone), since x is not "
            f"Gaussian with one, got {ensemble!r}"
        )
    return site


def _input_at(input: Course | None, times: np.ndarray, classes: tuple[int, ...]) -> Float[Array, "K n q"]:
    """The input of each class at the points of a Gauss rule within each step, so that it may jump between steps."""
    within = times[:-1, None] + (times[1] - times[0]) * _POINTS
    if not callable(input):
        values = real_array("input", 0.0 if input is None else input)
        if values.shape not in ((), classes):
            raise ValueError(f"`input` must be a number or have shape {classes}, got shape {values.shape}")
        require("input", values, np.isfinite, "finite numbers")
        return jnp.broadcast_to(jnp.atleast_1d(values)[:, None, None], (*classes, *within.shape))
    shape = getattr(traced_output("input", input, jax.ShapeDtypeStruct((), times.dtype)), "shape", None)
    if shape not in ((), classes):
        raise ValueError(f"`input` must give a number or shape {classes} at each time, got {shape}")
    values = jax.vmap(lambda t: jnp.broadcast_to(jnp.asarray(input(t)), classes), out_axes=1)(
        jnp.asarray(within.ravel())
    )
    require("input", values, np.isfinite, "finite at all times")
    return values.reshape(*classes, *within.shape)


def _covariance_at(covariance, times: np.ndarray) -> Float[Array, "T T"] | None:
    """The covariance of inputs across units at all pairs of times."""
    if covariance is None:
        return None
    if callable(covariance):
        t = jnp.asarray(times)
        values = jax.vmap(lambda s: jax.vmap(lambda t: jnp.asarray(covariance(s, t)))(t))(t)
        if values.shape != (times.size,) * 2:
            raise ValueError(f"`input_covariance` must give a number at two times, got shape {values.shape[2:]}")
        if is_concrete(values) and not np.allclose(values, np.asarray(values).T, rtol=1e-5):
            raise ValueError("`input_covariance` must be symmetric in its two times, and is not")
    else:
        values = jnp.broadcast_to(scalar("input_covariance", covariance), (times.size,) * 2)
    require("input_covariance", values, np.isfinite, "finite")
    require("input_covariance", jnp.diagonal(values), nonnegative, ">= 0 at equal times")
    return values


@as_program
def _means(step: Float[Array, ""], start: Float[Array, " K"], current: Float[Array, "K n q"]) -> Float[Array, "K T"]:
    """m' = -m + I along the times, with the inputs within each step."""
    points, weights = (jnp.asarray(a, step.dtype) for a in (_POINTS, _WEIGHTS))
    pushes = current @ (step * weights * jnp.exp(-step * (1 - points)))

    def advance(m, push):
        m = jnp.exp(-step) * m + push
        return m, m

    rest = jax.lax.scan(advance, start, pushes.T)[1]
    return jnp.concatenate([start[None], rest]).T
