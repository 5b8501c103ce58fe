"""The equations of a fluctuating state on a window of lags: Newton's method with their own Jacobian."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._numerics import bisect, frozen
from . import window
from .averages import Product, Rates, product, rates, rates_alone
from .problem import Problem, growth

# Newton steps: each squares the error of the search, some 1e-4.
_STEPS = 5
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


def _misses(problem: Problem, c, mean, length, of: Rates):
    win = window.window()
    lags = length * jnp.asarray(win.lags, c.dtype)
    noise = problem.noise_variance[:, None] * jnp.exp(-lags[None] / problem.tau[:, None])
    pairs = product(of, c, c[:, 0])
    field = window.leak(win, problem.tau, length, problem.W @ pairs.value)
    return c - field - noise, mean - problem.input - problem.means @ of.rate, pairs


def _linear(problem: Problem, c, mean, length, nodes: int):
    """The errors, and their Jacobian in (C of all types and nodes, means)."""
    of = rates(problem, c[:, 0], mean, nodes)
    miss_c, miss_mean, pairs = _misses(problem, c, mean, length, of)
    return miss_c, miss_mean, _jacobian(problem, of, pairs, length)


def _jacobian(problem: Problem, of: Rates, pairs: Product, length: Float[Array, ""]) -> Float[Array, "m m"]:
    K, n = pairs.value.shape
    P = window.leak_matrices(window.window(), problem.tau, length)
    change = jax.vmap(jnp.diag)(pairs.by_lag)  # (b, n, n) of C^phi_b by C_b
    change = change.at[:, :, 0].add(pairs.by_variance)
    among = problem.W[:, :, None, None] * jnp.einsum("aij,bjk->abik", P, change)
    to_mean = problem.W[:, :, None] * jnp.einsum("aij,bj->abi", P, pairs.by_mean)
    one = jnp.eye(K * n, dtype=P.dtype)
    top = jnp.concatenate(
        [one - among.transpose(0, 2, 1, 3).reshape(K * n, K * n), -to_mean.transpose(0, 2, 1).reshape(K * n, K)], axis=1
    )
    by_variance = jnp.zeros((K, K, n), P.dtype).at[:, :, 0].set(problem.means * of.slopes[:, 0, 0][None])
    bottom = jnp.concatenate(
        [-by_variance.reshape(K, K * n), jnp.eye(K, dtype=P.dtype) - problem.means * of.beta[None]], axis=1
    )
    return jnp.concatenate([top, bottom])


def _solved(jacobian, miss_c, miss_mean):
    change = jnp.linalg.solve(jacobian, jnp.concatenate([miss_c.ravel(), miss_mean]))
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
