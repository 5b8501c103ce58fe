r"""Networks whose single weights have laws that training shapes: spikes at 0 beside Gaussian slabs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import in_one_precision, nonnegative, real_array, require, require_key
from . import operators
from .ensemble import Ensemble
from .parts import Moments
from .unequal import Profile

_LEAST_VARIANCE = 1e-4  # of a slab in its entropy, which falls to -infinity as the slab narrows (as published)


class Entropy(NamedTuple):
    """Entropies of each connection in nats: of being absent or not (`spike`), and of its strength (`slab`)."""

    spike: Float[Array, "m n"]
    slab: Float[Array, "m n"]


class SpikeSlab(Ensemble):
    r"""Independent weights, each absent with a probability of its own, else Gaussian.

    $$ P(J_{ij}) = \pi_{ij}\, \delta(J_{ij}) + (1 - \pi_{ij})\, N(J_{ij} \mid m_{ij}, \Xi_{ij}) $$

    `mean` is m and `variance` is Xi, of the slab of a single weight, not times N; `sparsity` is pi. The field of Xi is
    `slab_variance`, as the method `variance` is the mean of N Var J_ij of every ensemble. All three are
    matrices of one shape, or numbers for all weights. The ensemble has the size of the matrices. A rectangular one, as
    of weights from inputs, has `moments`, `entropy` and `draw`, and no spectrum. For N -> infinity only the moments
    count: theory is that of `Profile`, valid where no single weight stands out.

    Raises `ValueError` unless all are finite, the sparsity lies in [0, 1] and the variance is not negative, and for
    shapes that differ. Source: Zou, Li & Huang 2021 (arXiv 2102.03740).
    """

    mean: Float[Array, "m n"]
    sparsity: Float[Array, "m n"]
    slab_variance: Float[Array, "m n"]

    def __init__(
        self,
        mean: Float[ArrayLike, "m n"],
        sparsity: Float[ArrayLike, "m n"] | Float[ArrayLike, ""],
        variance: Float[ArrayLike, "m n"] | Float[ArrayLike, ""],
    ):
        given = {"mean": mean, "sparsity": sparsity, "variance": variance}
        tables = [real_array(name, value) for name, value in given.items()]
        shapes = {table.shape for table in tables} - {()}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 2:
            got = ", ".join(str(table.shape) for table in tables)
            raise ValueError(
                f"`mean`, `sparsity` and `variance` must be numbers or matrices of one shape, got shapes {got}"
            )
        tables = [jnp.broadcast_to(table, shape) for table in tables]
        self.mean, self.sparsity, self.slab_variance = in_one_precision(*tables)

    def __check_init__(self):
        require("mean", self.mean, np.isfinite, "finite numbers")
        require("sparsity", self.sparsity, lambda p: (p >= 0) & (p <= 1), "probabilities from 0 to 1")
        require("variance", self.slab_variance, nonnegative, "finite numbers >= 0")

    def moments(self) -> Moments:
        """mu = (1 - pi) m and v = (1 - pi)(Xi + pi m^2) of each weight."""
        present = 1 - self.sparsity
        return Moments(present * self.mean, present * (self.slab_variance + self.sparsity * self.mean**2))

    def entropy(self) -> Entropy:
        """-pi ln pi - (1 - pi) ln(1 - pi) and ln(2 pi e Xi) / 2 of each weight, where Xi is at least 1e-4."""
        spike = jax.scipy.special.entr(self.sparsity) + jax.scipy.special.entr(1 - self.sparsity)
        slab = jnp.log(2 * jnp.pi * jnp.e * jnp.maximum(self.slab_variance, _LEAST_VARIANCE)) / 2
        return Entropy(spike, slab)

    def draw(self, *, key: PRNGKeyArray) -> Float[Array, "m n"]:
        """One matrix of weights; differentiable by means and variances, and not by the sparsity.

        Raises `ValueError` without a key.
        """
        require_key("key", key)
        kept, strength = jax.random.split(key)
        uniform = jax.random.uniform(kept, self.mean.shape, self.mean.dtype)
        normal = jax.random.normal(strength, self.mean.shape, self.mean.dtype)
        # The slope of a root is infinite at 0, where training puts many variances.
        spread = jnp.where(self.slab_variance > 0, self.slab_variance, 1) ** 0.5
        slab = self.mean + jnp.where(self.slab_variance > 0, spread, 0) * normal
        return jnp.where(uniform >= self.sparsity, slab, 0)

    def profile(self) -> Profile:
        """The law of the same moments, which all theory reads.

        Raises `ValueError` for a rectangular one.
        """
        mean, variance = self.moments()
        if mean.shape[0] != mean.shape[1]:
            raise ValueError(f"a rectangular `SpikeSlab` of shape {mean.shape} has no spectrum: only square ones have")
        return Profile(mean, variance)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        size, inputs = self.mean.shape
        if not n == size == inputs:
            raise ValueError(f"`n` must be the size of a square ensemble, and it is {self.mean.shape}, got {n}")
        matrix = self.draw(key=key)
        return operators.Dense(matrix if dtype is None else matrix.astype(dtype))

    def parts(self):
        return self.profile().parts()

    def type_fractions(self):
        return self.profile().type_fractions()

    def block_means(self):
        return self.profile().block_means()

    def single_weights(self):
        return self.profile().single_weights()

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        return self.profile().field(t12, t21, t11, t22, fractions, physical=physical)

    def blocks(self, t12, t21, p, *, physical=False):
        return self.profile().blocks(t12, t21, p, physical=physical)

    def four_point(self, s1, s2):
        return self.profile().four_point(s1, s2)

    def variance(self):
        """N Var J_ij, the mean over all pairs of units."""
        return self.profile().variance()

    def fourth_cumulant(self):
        return self.profile().fourth_cumulant()

    def rank_fraction(self):
        return self.profile().rank_fraction()

    def poles(self):
        return self.profile().poles()

    def site(self, certain=False):
        return self.profile().site(certain)

    def is_symmetric(self):
        return False
