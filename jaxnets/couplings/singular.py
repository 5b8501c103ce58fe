"""Prescribed singular values on random orthogonal modes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, PRNGKeyArray

from .._arguments import correlation, nonnegative, require, require_key, require_whole, vector
from .._laws import Discrete, values_and_weights
from .._numerics import as_complex, binary_scale, follow_line, last_steps
from . import operators
from .ensemble import Ensemble, FourPoint, no_pole


class SingularModes(Ensemble):
    r"""Prescribed singular values on random orthogonal modes, J = U diag(s) V^T with U, V independent and uniform.

    $$ S_{12} = S_{21} = 0, \qquad h(-v^2) = \frac{1 - x v}{v^2}, \qquad
       v = \Big\langle \frac{x}{x^2 + s^2} \Big\rangle, \qquad h(0) = g^2 = \langle s^2 \rangle $$

    `values` and their `weights` (equal if None) are the law of s. A sample takes n quantiles of the law, so that n = K
    with equal weights keeps exactly the given values. `overlaps` (0 if None) are measured products u_a . v_a. They are
    kept beside the law and do not enter it, because its modes are independent. Raises `ValueError` for empty, negative
    or non-finite values, negative weights and |overlaps| > 1. Source: Guionnet, Krishnapur & Zeitouni 2011 (the single
    ring theorem).
    """

    values: Float[Array, " K"]
    weights: Float[Array, " K"]
    overlaps: Float[Array, " K"]

    def __init__(
        self,
        values: Float[ArrayLike, " K"],
        weights: Float[ArrayLike, " K"] | None = None,
        overlaps: Float[ArrayLike, " K"] | None = None,
    ):
        self.values, self.weights = values_and_weights("values", values, weights, nonnegative, "finite numbers >= 0")
        self.overlaps = jnp.zeros_like(self.values) if overlaps is None else vector("overlaps", overlaps)

    def __check_init__(self):
        if self.overlaps.shape != self.values.shape:
            shapes = f"{self.values.shape}, got {self.overlaps.shape}"
            raise ValueError(f"`overlaps` must have the shape of `values`, {shapes}")
        require("overlaps", self.overlaps, correlation, "numbers in [-1, 1]")

    def sample(self, n: int, *, key: PRNGKeyArray, dtype: Any = None, max_modes: int | None = None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.values.dtype if dtype is None else dtype
        order = jnp.argsort(self.values)
        quantile = (jnp.arange(n, dtype=self.weights.dtype) + 0.5) / n
        index = jnp.searchsorted(jnp.cumsum(self.weights[order]), quantile)
        values = self.values[order[jnp.minimum(index, order.shape[0] - 1)]].astype(dtype)
        left, right = (_orthogonal(k, n, dtype) for k in jax.random.split(key))
        return operators.Dense((values[None] * left) @ right.T)

    def blocks(self, t12, t21, p, *, physical=False):
        """The blocks of `Ensemble`, with h continued from p = 0 along the straight line to p; NaN where that fails.

        On physical arguments, p = -v^2, this is the branch of large x, up to the first maximum of v(x): outside the
        support and in the outer part of the ring.
        """
        p = as_complex(p)
        values, weights = self.values.astype(p.dtype), self.weights.astype(p.dtype)
        u, converged = _outer_root(-p, values**2, weights)
        response = 1 / (1 + values**2 * u)
        h = jnp.sum(weights * values**2 * response) / jnp.sum(weights * response) ** 2
        zero = jnp.zeros_like(t21)
        return zero, zero, jnp.where(converged, h, jnp.nan)

    def four_point(self, s1, s2):
        g2, b, zero = self.variance().astype(s1.dtype), self.fourth_cumulant().astype(s1.dtype), jnp.zeros_like(s1)
        return FourPoint(g2, zero, zero, zero, b)

    def variance(self):
        return jnp.sum(self.weights * self.values**2)

    def fourth_cumulant(self):
        return jnp.sum(self.weights * self.values**4) - 2 * self.variance() ** 2

    def _in_one_unit(self):
        return eqx.tree_at(lambda e: e.values, self, self.values / binary_scale(self.values))

    def rank_fraction(self):
        return jnp.sum(jnp.where(self.values > 0, self.weights, 0))

    def poles(self):
        return no_pole(self.values)

    def is_symmetric(self):
        return False

    def is_memoryless(self):
        return True

    def singular_law(self):
        return Discrete(self.values, self.weights)


_LINE_PARTS = 8  # enough for Newton's method to stay on the branch
_NEWTON_STEPS = 30  # next to a maximum of v the root is nearly double, and a step gains two bits of the residual
_FOUND = 8  # roundings, where the search stops
_ACCEPTED = 1e4  # roundings, above which it has failed


@jax.jit
def _outer_root(
    target: Complex[Array, ""], squares: Complex[Array, " K"], weights: Complex[Array, " K"]
) -> tuple[Complex[Array, ""], Bool[Array, ""]]:
    """u = 1/x^2 where v^2 = u m(u)^2, m = <1/(1 + s^2 u)>, equals `target`: the root that grows from u = 0.

    The equation is regular at u = 0, where x is infinite. Newton steps follow the line from 0 to the target, then end
    on it: on the real axis they approach the first root from below.
    """

    def newton(u, args, part: ArrayLike = 1.0):
        target, squares, weights = args
        response = 1 / (1 + squares * u)
        m, slope = jnp.sum(weights * response), -jnp.sum(weights * squares * response**2)
        miss = part * target - u * m**2
        return u + miss / (m * (m + 2 * u * slope)), jnp.abs(miss)

    args = target, squares, weights
    fixed = jax.lax.stop_gradient(args)
    rounding = jnp.finfo(target.dtype).eps * jnp.abs(fixed[0])
    u, miss = follow_line(newton, jnp.zeros_like(target), fixed, _LINE_PARTS, _FOUND * rounding, _NEWTON_STEPS)
    # Scalar and holomorphic, in the innermost loop of other solvers: steps, unrolled, instead of an implicit root.
    u, _ = last_steps(newton, u, args, num_steps=2, unroll=True)
    return u, miss <= _ACCEPTED * rounding


def _orthogonal(key: PRNGKeyArray, n: int, dtype: Any) -> Float[Array, "n n"]:
    """A uniformly (Haar) distributed orthogonal matrix (Mezzadri 2007)."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (n, n), dtype))
    return q * jnp.where(jnp.diag(r) < 0, -1, 1).astype(dtype)[None]
