"""The course of a network from its start on, for N -> infinity: arguments in, a `Transient` out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._arguments import correlation, in_one_precision, nonnegative, require, require_instance, scalar
from ..._numerics import as_program, is_concrete
from ...couplings import Ensemble
from ...transfer import Transfer
from ..unit.requirements import require_no_mean
from .arguments import Course, Covariance, classes_of, covariance_at, input_at, pushes, times_of
from .gaussian import BLOCK, Problem, Row, solve
from .state import Transient

# Largest residual of a converged course. From a variance of .01 on, at g = 2, 5 and 10, courses below it have the
# variance to 1 %, and one of residual .006 to 1.5 %. And the largest part of <phi^2> that Hermite coefficients may
# leave: as the rest counts as one power, C^phi is off by a part of it alone.
TOLERANCE, _REST = 1e-3, 0.03


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
    input_covariance: Covariance | None = None,
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
    times, count = times_of(duration, step, BLOCK)
    variance, noise = scalar("variance", variance), scalar("noise", noise)
    require("variance", variance, nonnegative, "a finite number >= 0")
    require("noise", noise, nonnegative, "a finite number >= 0")
    shares, start = classes_of(weights, mean, variance.dtype)
    correlated = None if replica is None else scalar("replica", replica)
    if correlated is not None:
        require("replica", correlated, correlation, "in [-1, 1]")
    h = jnp.asarray(step)
    current, given = input_at(input, times, shares.shape), covariance_at(input_covariance, times)
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
        converged=(residual < TOLERANCE) & (left < _REST) & on.isfinite(residual),
    )
    return jax.device_put(found) if known else found


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


@as_program
def _means(step: Float[Array, ""], start: Float[Array, " K"], current: Float[Array, "K n q"]) -> Float[Array, "K T"]:
    """m' = -m + I along the times, with the inputs within each step."""

    def advance(m, push):
        m = jnp.exp(-step) * m + push
        return m, m

    rest = jax.lax.scan(advance, start, pushes(step, current).T)[1]
    return jnp.concatenate([start[None], rest]).T
