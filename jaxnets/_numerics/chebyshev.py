"""Chebyshev series on [0, 1]: a function from its values at fixed nodes, with its means over [0, t] and its slope.

The maps from values to coefficients depend on the number of nodes alone, so NumPy computes them when a program is
traced. A further linear operation on functions is one more matrix of `Grid`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev

from .host import namespace


class Grid(NamedTuple):
    """Nodes t_i in (0, 1), and the linear maps from values at the nodes to Chebyshev coefficients in x = 2 t - 1."""

    nodes: np.ndarray
    series: np.ndarray  # of the function f itself
    running_mean: np.ndarray  # of (1/t) int_0^t f
    slope: np.ndarray  # of df/dt
    at_one: np.ndarray  # of d/dc (f + 2 t df/dt) at t = c^2 = 1: one number


def grid(num: int) -> Grid:
    """``num`` nodes: exact for polynomials of lower degree."""
    angles = np.pi * (np.arange(num) + 0.5) / num
    t = np.cos(angles / 2) ** 2
    series = 2 / num * np.cos(np.outer(np.arange(num), angles))
    series[0] /= 2
    # The mean of f(t u) over u in [0, 1]: an integral divided by a small t would lose digits.
    u, weights = np.polynomial.legendre.leggauss((num + 1) // 2)
    powers = chebyshev.chebvander(np.outer(t, u + 1) - 1, num - 1)
    running_mean = series @ np.einsum("iqk,q->ik", powers, weights / 2) @ series
    # In t = (x + 1) / 2 the k-th polynomial has the slope 2 k^2 at t = 1, and the second one 4 k^2 (k^2 - 1) / 3.
    k2 = np.arange(num) ** 2.0
    at_one = (6 * 2 * k2 + 4 * 4 * k2 * (k2 - 1) / 3) @ series
    return Grid(t, series, running_mean, chebyshev.chebder(series, scl=2, axis=0), at_one)


def basis(num: int, t: Float[Any, "..."]) -> Float[Any, "..."]:
    """The first ``num`` polynomials at t, in rows, for series at many places: ``coefficients @ basis(num, t)``."""
    x = 2 * t - 1
    if namespace(t) is np:
        return np.moveaxis(chebyshev.chebvander(x, num - 1), -1, 0).astype(t.dtype)
    step = lambda pair, _: ((pair[1], 2 * x * pair[1] - pair[0]), pair[0])
    return jax.lax.scan(step, (jnp.ones_like(x), x), None, length=num)[1]


def evaluate(coefficients: Float[Array, " num"], t: Float[Array, ""]) -> Float[Array, ""]:
    """The series at one t (Clenshaw's recurrence)."""
    x = 2 * t - 1

    def step(carry, c):
        b1, b2 = carry
        return (c + 2 * x * b1 - b2, b1), None

    zero = jnp.zeros_like(x)
    (b1, b2), _ = jax.lax.scan(step, (zero, zero), coefficients[1:], reverse=True, unroll=7)
    return coefficients[0] + x * b1 - b2
