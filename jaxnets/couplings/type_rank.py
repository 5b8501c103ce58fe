"""Few modes whose vectors have means and overlaps in each type of units, as block means have."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import in_one_precision, real_array, require, require_key, require_whole, vector
from . import operators
from .cell_types import labels, require_fractions
from .ensemble import Ensemble, FourPoint, no_pole
from .parts import TypedRank, no_quartic


class TypeRank(Ensemble):
    r"""R modes of finite rank, whose vectors are Gaussian with a law of their own in each of K types.

    $$ J_{ij} = \frac1N \sum_k x_{ik}\, y_{jk}, \qquad E[(x_i, y_i)] = \mathtt{means}_a, \quad
       \mathrm{Cov}(x_i, y_i) = \mathtt{covariances}_a, \qquad i \in a $$

    `means` (K, 2R) and `covariances` (K, 2R, 2R) hold x of all modes, then y. S(T) = 0: the modes leave the bulk of any
    ensemble that they are added to as it is, and add outliers. Beside `CellTypes` they interact with its means through
    the means of x and y. Mean field refuses them. Raises `ValueError` for fractions that are not positive or do not sum
    to 1, other shapes, and covariances that are not symmetric or have negative eigenvalues. Source: derived here.
    """

    fractions: Float[Array, " K"]
    means: Float[Array, "K 2R"]
    covariances: Float[Array, "K 2R 2R"]

    def __init__(
        self,
        fractions: Float[ArrayLike, " K"],
        means: Float[ArrayLike, "K 2R"],
        covariances: Float[ArrayLike, "K 2R 2R"],
    ):
        given = {"means": means, "covariances": covariances}
        arrays = vector("fractions", fractions), *(real_array(name, value) for name, value in given.items())
        self.fractions, self.means, self.covariances = in_one_precision(*arrays)

    def __check_init__(self):
        require_fractions(self.fractions)
        shape, (num,) = self.means.shape, self.fractions.shape
        if len(shape) != 2 or shape[0] != num or shape[1] % 2 or shape[1] == 0:
            raise ValueError(f"`means` must be ({num}, 2R), of x and y of R modes, got shape {shape}")
        if self.covariances.shape != (*shape, shape[1]):
            raise ValueError(f"`covariances` must be {(*shape, shape[1])}, got shape {self.covariances.shape}")
        require("means", self.means, np.isfinite, "finite numbers")
        require("covariances", self.covariances, _is_covariance, "symmetric, without negative eigenvalues")

    def labels(self, n: int):
        """The type of each of n units, as `CellTypes.labels`."""
        return labels(self.fractions, n)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.means.dtype if dtype is None else dtype
        squares, vectors = jnp.linalg.eigh(self.covariances)
        roots = vectors * jnp.sqrt(jnp.maximum(squares, 0))[:, None]
        of, num = labels(self.fractions, n), self.means.shape[1] // 2
        z = jax.random.normal(key, (n, 2 * num), dtype)
        x = self.means.astype(dtype)[of] + jnp.einsum("nij,nj->ni", roots.astype(dtype)[of], z)
        return operators.Modes(x[:, :num], x[:, num:], operators.Diagonal(jnp.ones(num, dtype)))

    def type_fractions(self):
        return self.fractions

    def typed_rank(self, num_types):
        num = self.means.shape[1] // 2
        rows, columns = self.means[:, :num], self.means[:, num:]
        both = columns[:, :, None] * rows[:, None] + self.covariances[:, num:, :num]
        return TypedRank(rows.T, columns.T, both)

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        zero, real = jnp.zeros_like(t21), jnp.zeros_like(t11)
        return zero, zero, real, real

    def blocks(self, t12, t21, p, *, physical=False):
        zero = jnp.zeros_like(t21)
        return zero, zero, zero

    def four_point(self, s1, s2):
        zero = jnp.zeros_like(s1)
        return FourPoint(zero, zero, zero, zero, zero)

    def variance(self):
        return jnp.zeros((), self.means.dtype)

    def fourth_cumulant(self):
        return jnp.zeros((), self.means.dtype)

    def quartic(self, num_types):
        return no_quartic(num_types, self.means.dtype)

    def rank_fraction(self):
        return jnp.zeros((), self.means.dtype)

    def poles(self):
        return no_pole(self.means)

    def is_symmetric(self):
        return False


def _is_covariance(of: Float[np.ndarray, "K m m"]) -> np.ndarray:
    squares = np.linalg.eigvalsh((of + of.swapaxes(1, 2)) / 2)
    least = squares[:, 0] >= -1e-6 * np.abs(squares).max()
    return np.array(np.allclose(of, of.swapaxes(1, 2), atol=1e-6 * np.abs(of).max()) and np.all(least))
