"""Gaussian weights: independent, or each correlated with the weight of the reverse connection."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import correlation, known_array, nonnegative, require, require_key, require_whole, scalar
from .._numerics import is_concrete
from . import operators
from .ensemble import Ensemble, FourPoint, may_vanish, no_pole, vanishes
from .parts import Feedback, Site


class IID(Ensemble):
    """Independent Gaussian weights of variance g^2 / N: S(T) = g^2 diag(T_22, T_11).

    Raises `ValueError` if `g` is negative. Source: Ginibre 1965; Girko 1984.
    """

    g: Float[Array, ""]

    def __init__(self, g: Float[ArrayLike, ""] = 1.0):
        self.g = scalar("g", g)

    def __check_init__(self):
        require("g", self.g, nonnegative, "a finite number >= 0")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.g.dtype if dtype is None else dtype
        return operators.Dense(self.g.astype(dtype) * jax.random.normal(key, (n, n), dtype) / math.sqrt(n))

    def blocks(self, t12, t21, p, *, physical=False):
        zero = jnp.zeros_like(t21)
        return zero, zero, self.variance().astype(t21.dtype)

    def four_point(self, s1, s2):
        zero = jnp.zeros_like(s1)
        return FourPoint(self.variance().astype(s1.dtype), zero, zero, zero, zero)

    def variance(self):
        return self.g**2

    def fourth_cumulant(self):
        return jnp.zeros_like(self.g)

    def rank_fraction(self):
        return jnp.where(self.g > 0, jnp.inf, jnp.zeros_like(self.g))

    def poles(self):
        return no_pole(self.g)

    def is_symmetric(self):
        return False

    def is_memoryless(self):
        return True


class Elliptic(Ensemble):
    r"""Gaussian weights of variance g^2 / N with corr(J_ij, J_ji) = s.

    $$ S(T) = g^2 \begin{pmatrix} T_{22} & s\, T_{21} \\ s\, T_{12} & T_{11} \end{pmatrix} $$

    The diagonal has variance (1 + s) g^2 / N, as in J = sqrt((1+s)/2) A + sqrt((1-s)/2) B with A symmetric and B
    antisymmetric. Raises `ValueError` for a negative `g` or |`symmetry`| > 1. Source: Sommers et al. 1988.
    """

    g: Float[Array, ""]
    symmetry: Float[Array, ""]

    def __init__(self, g: Float[ArrayLike, ""] = 1.0, symmetry: Float[ArrayLike, ""] = 0.0):
        self.g = scalar("g", g)
        self.symmetry = scalar("symmetry", symmetry, known_array)

    def __check_init__(self):
        require("g", self.g, nonnegative, "a finite number >= 0")
        require("symmetry", self.symmetry, correlation, "a number in [-1, 1]")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.g.dtype if dtype is None else dtype
        x = jax.random.normal(key, (n, n), dtype) / math.sqrt(n)
        s = self.symmetry.astype(dtype)
        mixed = jnp.sqrt((1 + s) / 4) * (x + x.T) + jnp.sqrt((1 - s) / 4) * (x - x.T)
        return operators.Dense(self.g.astype(dtype) * mixed, symmetric=self.is_symmetric())

    def blocks(self, t12, t21, p, *, physical=False):
        g2, s = self.variance().astype(t21.dtype), self.symmetry.astype(t21.dtype)
        return g2 * s * t21, g2 * s * t12, g2

    def four_point(self, s1, s2):
        g2, zero = self.variance().astype(s1.dtype), jnp.zeros_like(s1)
        return FourPoint(g2, self.symmetry.astype(s1.dtype) * g2, zero, zero, zero)

    def variance(self):
        return self.g**2

    def fourth_cumulant(self):
        return jnp.zeros_like(self.g)

    def rank_fraction(self):
        return jnp.where(self.g > 0, jnp.inf, jnp.zeros_like(self.g))

    def poles(self):
        return no_pole(self.g)

    def site(self, certain=False):
        if not may_vanish(self.symmetry, certain):
            return None
        return Site(self.variance() * vanishes(self.symmetry), None)

    def feedback(self, angles=32):
        none = jnp.zeros(0, self.g.dtype)
        symmetry = self.symmetry.astype(self.g.dtype)
        return Feedback(symmetry * self.variance(), self.variance(), none, none, none)

    def is_symmetric(self):
        return is_concrete(self.symmetry) and bool(np.all(np.asarray(self.symmetry) == 1))
