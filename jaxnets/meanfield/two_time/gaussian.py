r"""Two-time mean field without memory kernel: x is Gaussian around the mean of its class, and time goes row by row.

$$ (\partial_t + 1)(\partial_s + 1)\, C(t, s) = C^\eta(t, s) + 2 \sigma^2 \delta(t - s), \qquad
   C^\eta = g^2\, Y, \qquad Y = C^\phi + a\, S Y S^T $$

with S(t, s) = beta(t) e^{-(t - s)}, the strength g^2 and the echo a of the ensemble (`Site`). In discrete time the leak
is exact and the field linear between steps,

$$ x_n = E x_{n-1} + w_0 f_{n-1} + w_1 f_n, \qquad E = e^{-h}, \quad w_1 = 1 - \frac{1 - E}{h}, \quad
   w_0 = 1 - E - w_1, $$

which is a network in discrete time, with this mean field as its exact one: no rules for the ends of integrals enter.
Row n of each covariance follows from rows before it and, by a few iterations, from itself.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._numerics import as_program, checkpointed_scan, hermite_rule
from ...couplings import Site
from ...transfer import Transfer

# Hermite coefficients, and points of their averages. What is left of <phi^2> counts as one odd power. tanh of a
# standard deviation of 5 leaves 1e-5 of it.
_TERMS, _POINTS, _WIDTH = 71, 801, 12.0
# Iterations for a row. Each leaves g^2 beta^2 h / 2 of the error before, and the first guess has an error of order h:
# the last of 4 changes the variance by 1e-5 at g = 2 and by 5e-6 at g = 5, with h = .1.
_ITERATIONS = 4
# Numbers in a block of the filter along a row, and rows of which the reverse pass keeps one: times are whole blocks.
BLOCK = 32


class Problem(eqx.Module):
    """Checked arguments, in one precision. `times` are padded to whole blocks; `mean` and `given` are known before."""

    site: Site
    transfer: Transfer
    step: Float[Array, ""]
    variance: Float[Array, ""]  # of x at the start
    noise: Float[Array, ""]
    replica: Float[Array, ""] | None  # correlation of the two starts
    mean: Float[Array, "K T"]
    weights: Float[Array, " K"]
    given: Float[Array, "T T"] | None  # covariance of inputs across units


class Rows(NamedTuple):
    """Row n of what the recursion needs of row n - 1: for the network alone, and with its replica."""

    x: Float[Array, "R T"]  # <u u>, without the start and the noise
    field: Float[Array, "R T"]  # C^eta
    mixed: Float[Array, "R T"]  # <eta u>
    y: Float[Array, "R T"]  # Y
    y_mixed: Float[Array, "R T"]  # Y G^T, G the filter of x
    y_filtered: Float[Array, "R T"]  # G Y G^T


class Past(NamedTuple):
    """What is kept of all rows: coefficients and standard deviation at each time, and <phi'>."""

    coefficients: Float[Array, "T K k"]
    deviation: Float[Array, " T"]
    beta: Float[Array, " T"]


class Row(NamedTuple):
    """A row of the result."""

    c_x: Float[Array, "R T"]
    c_phi: Float[Array, " T"]
    beta: Float[Array, ""]
    change: Float[Array, ""]  # of the last iteration, over the variance
    rest: Float[Array, ""]  # what coefficients leave of <phi^2>, as a part


@as_program
def solve(problem: Problem) -> Row:
    """All rows, filled to symmetric matrices."""
    times, dtype = problem.mean.shape[1], problem.mean.dtype
    replicas = 1 if problem.replica is None else 2
    none = jnp.zeros((replicas, times), dtype)
    terms = jnp.zeros((times, problem.weights.shape[0], _TERMS + 1), dtype)
    past = Past(terms, jnp.zeros(times, dtype), jnp.zeros(times, dtype))
    start = (Rows(*(none,) * len(Rows._fields)), past)
    next_row = lambda carry, n: _next_row(problem, carry[0], carry[1], n)
    with jax.default_matmul_precision("highest"):  # GPUs would take averages and filters in 10 bits
        rows = checkpointed_scan(next_row, start, jnp.arange(times), BLOCK)[1]
    filled = lambda lower: lower + jnp.tril(lower, -1).T
    return rows._replace(c_x=jax.vmap(filled, 1)(rows.c_x), c_phi=filled(rows.c_phi))


def filter_weights(step: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """E, w_0 and w_1 of a step."""
    decay = jnp.exp(-step)
    late = 1 + jnp.expm1(-step) / step
    return decay, -jnp.expm1(-step) - late, late


def _next_row(problem: Problem, before: Rows, past: Past, n: Int[Array, ""]) -> tuple[tuple[Rows, Past], Row]:
    """Row n and what the next one needs: C^eta gives C, C gives C^phi, and C^phi gives C^eta, some times over."""
    E, w0, w1 = filter_weights(problem.step)
    m = jnp.arange(problem.mean.shape[1])
    known, last = m < n, n - 1
    past_times = m <= n
    echo = problem.site.echo

    def filtered(values):
        return jnp.where(past_times[None], _filtered(values, problem.step), 0)

    def second(both, mixed, first, first_before, mixed_before):
        """Row n of G A G^T, from its row before, and A G^T and A in this row and before."""
        below = E * both + w0 * mixed_before + w1 * mixed
        crossed = E * mixed_before[:, last] + w0 * first_before[:, last] + w1 * first[:, last]
        end = E * below[:, last] + w0 * crossed + w1 * mixed[:, n]
        return jnp.where(n > 0, jnp.where(known[None], below, jnp.where((m == n)[None], end[:, None], 0)), 0)

    def iteration(carry, _):
        field, y, *_ = carry
        mixed = filtered(field)
        x = second(before.x, mixed, field, before.field, before.mixed)
        c_x = jnp.where(past_times[None], x + _start_and_noise(problem, n), 0)
        now = _coefficients(problem, n, c_x[0, n])
        here = Past(
            past.coefficients.at[n].set(now.coefficients),
            past.deviation.at[n].set(now.deviation),
            past.beta.at[n].set(now.beta),
        )
        c_phi = jnp.where(past_times[None], _product(problem.weights, now, here, c_x), 0)
        y_mixed = y_filtered = jnp.zeros_like(y)
        if echo is None:
            y = c_phi
        else:
            y_mixed = filtered(y)
            y_filtered = second(before.y_filtered, y_mixed, y, before.y, before.y_mixed)
            y = c_phi + echo * now.beta * here.beta[None] * y_filtered
        new = problem.site.strength * y
        if problem.given is not None:
            new = new + jnp.where(past_times, problem.given[n], 0)[None]
        return (new, y, Rows(x, new, mixed, y, y_mixed, y_filtered), here, c_x, c_phi, now.rest), c_x[0, n]

    ahead = lambda row: jnp.where((m == n)[None], row[:, last, None], row)  # row n - 1 as a guess for row n
    guess = ahead(before.field), ahead(before.y), before, past, before.x, before.x, jnp.zeros((), problem.mean.dtype)
    found, variances = jax.lax.scan(iteration, guess, length=_ITERATIONS)
    *_, rows, past, c_x, c_phi, rest = found
    size = jnp.where(variances[-1] > 0, variances[-1], 1)
    change = jnp.abs(variances[-1] - variances[-2]) / size
    return (rows, past), Row(c_x, c_phi[0], past.beta[n], change, rest)


def _start_and_noise(problem: Problem, n: Int[Array, ""]) -> Float[Array, "R T"]:
    """Row n of the covariances that the start and the noise leave: a linear filter's, in closed form."""
    m = jnp.arange(problem.mean.shape[1])
    both = jnp.exp(-problem.step * (n + m).astype(problem.step.dtype))
    apart = jnp.exp(-problem.step * jnp.abs(n - m).astype(problem.step.dtype))
    noise = problem.noise**2 * (apart - both)
    starts = [1.0] if problem.replica is None else [1.0, problem.replica]
    return jnp.stack([problem.variance * start * both + noise for start in starts])


def _filtered(values: Float[Array, "R T"], step: Float[Array, ""]) -> Float[Array, "R T"]:
    """B_m = E B_{m-1} + w_0 f_{m-1} + w_1 f_m along each row, from B_0 = 0: in blocks, and from block to block."""
    _, w0, w1 = filter_weights(step)
    forcing = w1 * values + w0 * jnp.pad(values, ((0, 0), (1, 0)))[:, :-1]
    forcing = forcing.at[:, 0].set(0).reshape(values.shape[0], -1, BLOCK)
    within = forcing @ _decay(step, np.arange(BLOCK)[:, None] - np.arange(BLOCK)).T
    blocks = np.arange(forcing.shape[1])
    carried = within[:, :, -1] @ _decay(step, BLOCK * (blocks[:, None] - 1 - blocks)).T
    return (within + carried[:, :, None] * _decay(step, 1 + np.arange(BLOCK))[None, None]).reshape(values.shape)


def _decay(step: Float[Array, ""], lags: np.ndarray) -> Float[Array, "..."]:
    """E^lag, and 0 for lags below 0."""
    return jnp.where(lags >= 0, jnp.exp(-step * jnp.asarray(np.maximum(lags, 0), step.dtype)), 0)


class _Coefficients(NamedTuple):
    """Of phi at one time, in each class Hermite coefficients and the root of the rest; the deviation of x; <phi'>."""

    coefficients: Float[Array, "K k"]
    deviation: Float[Array, ""]
    beta: Float[Array, ""]
    rest: Float[Array, ""]


def _coefficients(problem: Problem, n: Int[Array, ""], variance: Float[Array, ""]) -> _Coefficients:
    z, rows = (jnp.asarray(a, variance.dtype) for a in hermite_rule(_TERMS, _POINTS, _WIDTH))
    deviation = safe_root(variance)
    x = problem.mean[:, n, None] + deviation * z[None]
    phi = problem.transfer(x)
    a = phi @ rows.T
    square = phi**2 @ rows[0]
    rest = jnp.maximum(square - jnp.sum(a**2, 1), 0)
    beta = problem.weights @ (problem.transfer.slope(x) @ rows[0])
    total = problem.weights @ square
    part = problem.weights @ rest / jnp.where(total > 0, total, 1)
    return _Coefficients(jnp.append(a, safe_root(rest)[:, None], 1), deviation, beta, part)


def safe_root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root of x >= 0, without the infinite slope at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _product(
    weights: Float[Array, " K"], now: _Coefficients, here: Past, c_x: Float[Array, "R T"]
) -> Float[Array, "R T"]:
    """<phi phi> at the correlations of now with each time: sum_k a_k(n) a_k(m) c^k in each class."""
    scale = now.deviation * here.deviation
    c = jnp.clip(jnp.where(scale > 0, c_x / jnp.where(scale > 0, scale, 1)[None], 0), -1, 1)
    table = jnp.einsum("c,ck,tck->kt", weights, now.coefficients, here.coefficients)
    # By the rule of Horner: few numbers are kept for the reverse pass of a row, which is computed twice.
    return jax.lax.fori_loop(
        0, table.shape[0], lambda i, total: total * c + table[table.shape[0] - 1 - i][None], jnp.zeros_like(c)
    )
