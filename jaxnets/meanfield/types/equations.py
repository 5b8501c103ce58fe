"""The equations of a fluctuating state on a window of lags: Newton's method with their own Jacobian."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._numerics import as_program, bisect, frozen, solve_few
from ..._numerics.host import namespace
from . import window
from .averages import Product, Rates, product, rates, rates_alone
from .problem import Problem, growth

# Newton steps: each squares the error of the search, some 1e-4.
_STEPS = 5
# On the host the step after one this short, over C(0), leaves rounding.
_SHORT = 1e-9
_HALVINGS = 50


class Solution(NamedTuple):
    """C at the nodes, means, what units make of them, and the largest error relative to C(0)."""

    c: Float[Array, "K n"]
    mean: Float[Array, " K"]
    miss: Float[Array, ""]


def solve(
    problem: Problem, c: Float[Array, "K n"], mean: Float[Array, " K"], length: Float[Array, ""], nodes: int
) -> Solution:
    """The state near (c, mean), differentiable once in the problem, at fixed lags."""
    if namespace(mean) is np:
        return _solve_on_host(problem, c, mean, length, nodes)

    def step(_, carry):
        c, mean, *_ = carry
        miss_c, miss_mean, jacobian = _linear(frozen(problem), c, mean, length, nodes)
        change, change_mean = _solved(jacobian, miss_c, miss_mean)
        return c - change, mean - change_mean, jnp.max(jnp.abs(change)) / jnp.max(c), jacobian

    length, size = jax.lax.stop_gradient(length), c.size + mean.size
    start = frozen((c, mean, jnp.asarray(jnp.inf, c.dtype), jnp.zeros((size, size), c.dtype)))
    c, mean, moved, jacobian = jax.lax.stop_gradient(jax.lax.fori_loop(0, _STEPS, step, start))
    # The last step has the derivatives, with the Jacobian of the one before.
    miss_c, miss_mean = _misses(problem, c, mean, length, rates_alone(problem, c[:, 0], mean, nodes))[:2]
    change, change_mean = _solved(jacobian, miss_c, miss_mean)
    miss = jnp.maximum(jnp.max(jnp.abs(miss_c)) / jnp.max(c), jnp.max(jnp.abs(change)) / jnp.max(c))
    return Solution(c - change, mean - change_mean, jax.lax.stop_gradient(jnp.maximum(miss, moved**2)))


def _solve_on_host(problem: Problem, c, mean, length, nodes: int) -> Solution:
    """`solve` of one concrete problem, until a step promises to leave rounding."""
    miss: Any = np.asarray(np.inf, c.dtype)
    moved = miss
    for _ in range(_STEPS + 1):
        miss_c, miss_mean, jacobian = _linear(problem, c, mean, length, nodes)
        change, change_mean = _solved(jacobian, miss_c, miss_mean)
        size, before = c.max(), moved
        c, mean, moved = c - change, mean - change_mean, abs(change).max() / size
        miss = np.maximum(np.maximum(abs(miss_c).max() / size, moved), before**2)
        if not moved > _SHORT:
            break
    return Solution(c, mean, miss)


def _misses(problem: Problem, c, mean, length, of: Rates):
    xp, win = namespace(c), window.window()
    lags = length * xp.asarray(win.lags, c.dtype)
    noise = problem.noise_variance[:, None] * xp.exp(-lags[None] / problem.tau[:, None])
    pairs = product(of, c, c[:, 0])
    field = window.leak(win, problem.tau, length, problem.W @ pairs.value)
    return c - field - noise, mean - problem.input - problem.means @ of.rate, pairs


def _linear(problem: Problem, c, mean, length, nodes: int):
    """The errors, and their Jacobian in (C of all types and nodes, means)."""
    of = rates(problem, c[:, 0], mean, nodes)
    miss_c, miss_mean, pairs = _misses(problem, c, mean, length, of)
    return miss_c, miss_mean, _jacobian(problem, of, pairs, length)


def _jacobian(problem: Problem, of: Rates, pairs: Product, length: Float[Array, ""]) -> Float[Array, "m m"]:
    xp, (K, n) = namespace(of.power), pairs.value.shape
    P = window.leak_matrices(window.window(), problem.tau, length)
    first = np.eye(n, dtype=P.dtype)[0]
    # C^phi_b(tau) moves with C_b at the same lag, with C_b(0) and with the mean.
    filtered = lambda of: xp.einsum("aij,bj->abi", P, of)
    among = P[:, None] * pairs.by_lag[None, :, None] + filtered(pairs.by_variance)[..., None] * first[None, None, None]
    among = problem.W[:, :, None, None] * among
    to_mean = problem.W[:, :, None] * filtered(pairs.by_mean)
    top = xp.concatenate(
        [
            np.eye(K * n, dtype=P.dtype) - among.transpose(0, 2, 1, 3).reshape(K * n, K * n),
            -to_mean.transpose(0, 2, 1).reshape(K * n, K),
        ],
        axis=1,
    )
    by_variance = (problem.means * of.slopes[:, 0, 0][None])[..., None] * first[None, None]
    bottom = xp.concatenate(
        [-by_variance.reshape(K, K * n), np.eye(K, dtype=P.dtype) - problem.means * of.beta[None]], axis=1
    )
    return xp.concatenate([top, bottom])


def _solved(jacobian, miss_c, miss_mean):
    change = solve_few(jacobian, namespace(miss_c).concatenate([miss_c.ravel(), miss_mean]))
    return change[: miss_c.size].reshape(miss_c.shape), change[miss_c.size :]


def decay_rate(problem: Problem, slopes: Float[Array, " K"]) -> Float[Array, ""]:
    """The rate k at which C approaches its limit: where W <phi'phi'>(inf) / (1 - (tau k)^2) has the radius 1."""
    fastest = 1 / jnp.max(problem.tau)

    def is_below(part, args):
        W, slopes, ratio = args
        return growth(W / (1 - (ratio * part)[:, None] ** 2), slopes) < 1

    ratio = problem.tau * fastest
    low, high = bisect(is_below, jnp.zeros_like(fastest), jnp.ones_like(fastest), (problem.W, slopes, ratio), _HALVINGS)
    return fastest * (low + high) / 2


decay_rate_alone = as_program(decay_rate)
