r"""Cell types: couplings whose mean, variance, symmetry and sparseness depend on the types of both units.

Types are a, b = 1 .. K with fractions f_a of the units, which stand in contiguous groups (`labels`). Theory has one T
for each type, and every R-transform maps all of them to one S for each (`Ensemble.field`).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, ArrayLike, Float, Inexact, Int, PRNGKeyArray

from .._arguments import (
    correlation,
    in_one_precision,
    nonnegative,
    real_array,
    require,
    require_key,
    require_whole,
    scalar,
    vector,
)
from .._numerics import is_concrete
from . import operators
from .ensemble import Ensemble, FourPoint, Part, may_vanish, no_pole, vanishes
from .parts import FiniteRank, Site, no_modes, no_quartic
from .sparse import Sparse

# How far fractions of units may be from a sum of 1: a hundred of them in float32 add to 1 within it.
_SUM = 1e-6


class CellTypes(Ensemble):
    r"""Random weights between K types of units: N Var J_ij = g_ab^2 and N E J_ij = M_ab, from type b to type a.

    $$ S_a(T) = \sum_b f_b \begin{pmatrix} g_{ab}^2 T_{b,22} & s_{ab} g_{ab} g_{ba} T_{b,21} \\
       s_{ab} g_{ab} g_{ba} T_{b,12} & g_{ba}^2 T_{b,11} \end{pmatrix}, \qquad
       s_{ab} = \mathrm{corr}(J_{ij}, J_{ji}) $$

    N counts all units, of which type a has the share f_a: g_ab does not depend on how many units a type has. `g`,
    `symmetry` (s) and `means` (M) are numbers, the same for all pairs of types, or (K, K). The means add eigenvalues
    outside the bulk, and change neither its edge nor its density.

    The law of single weights matters to samples alone. They are Gaussian, or:

    - with a `probability` (a number or (K, K)), connections exist independently with that probability, and their
      weights have the mean and variance that give g and M;
    - with `signs`, one of 1 and -1 for each type, weights from units of a type have that sign (Dale's law). Sizes of
      weights are log-normal. Every mean must have the sign of its column and not be 0.

    `balanced` makes the random part of every row sum to 0, by the same shift of all weights of a row that exist.

    Raises `ValueError` for fractions that are not positive or do not sum to 1, arrays that are not (K, K), negative g,
    |s| > 1, s that is not symmetric, a probability outside (0, 1], symmetry of weights that are sparse or have signs,
    and means of the wrong sign. `sample` raises it where no weight has the variance g^2 / N and the mean M / N.
    Source: Rajan & Abbott 2006; Aljadeff, Stern & Sharpee 2015; with symmetry, derived here.
    """

    fractions: Float[Array, " K"]
    g: Float[Array, "K K"]
    symmetry: Float[Array, "K K"]
    means: Float[Array, "K K"]
    probability: Float[Array, "K K"] | None
    signs: tuple[int, ...] | None = eqx.field(static=True)
    balanced: bool = eqx.field(static=True)

    def __init__(
        self,
        fractions: Float[ArrayLike, " K"],
        g: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] = 1.0,
        symmetry: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] = 0.0,
        means: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] = 0.0,
        probability: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] | None = None,
        signs: ArrayLike | None = None,
        balanced: bool = False,
    ):
        fractions = vector("fractions", fractions)
        given = {"g": g, "symmetry": symmetry, "means": means}
        tables = (pair_table(name, value, fractions.shape[0]) for name, value in given.items())
        self.fractions, self.g, self.symmetry, self.means = in_one_precision(fractions, *tables)
        num_types = fractions.shape[0]
        p = None if probability is None else pair_table("probability", probability, num_types)
        self.probability = None if p is None else p.astype(self.g.dtype)
        self.signs = None if signs is None else tuple(np.asarray(signs).ravel().tolist())
        self.balanced = balanced

    def __check_init__(self):
        require_fractions(self.fractions)
        require("g", self.g, nonnegative, "finite numbers >= 0")
        require("symmetry", self.symmetry, correlation, "numbers in [-1, 1]")
        require("symmetry", self.symmetry, lambda s: s == s.T, "the same for (a, b) and (b, a)")
        require("means", self.means, np.isfinite, "finite numbers")
        if self.probability is not None:
            require("probability", self.probability, lambda p: (p > 0) & (p <= 1), "numbers in (0, 1]")
        if self.probability is not None or self.signs is not None:
            require("symmetry", self.symmetry, lambda s: s == 0, "0 where weights are sparse or have signs")
        if self.signs is not None:
            if len(self.signs) != len(self.fractions) or not set(self.signs) <= {1, -1}:
                raise ValueError(f"`signs` must be 1 or -1 for each of {len(self.fractions)} types, got {self.signs}")
            expected = "positive where the sign of the column is 1, and negative where it is -1"
            require("means", self.means, lambda m: m * np.asarray(self.signs) > 0, expected)

    @classmethod
    def from_weights(
        cls,
        fractions: Float[ArrayLike, " K"],
        weights: Float[ArrayLike, "K K"],
        *,
        size: int,
        probability: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] = 1.0,
        spread: Float[ArrayLike, "K K"] | Float[ArrayLike, ""] = 0.0,
        dale: bool = True,
        balanced: bool = False,
    ) -> "CellTypes":
        r"""Couplings of a network of `size` units whose connections, where they exist, have the mean `weights`.

        $$ M_{ab} = N p_{ab} w_{ab}, \qquad g_{ab}^2 = N p_{ab} w_{ab}^2 (1 + c_{ab}^2 - p_{ab}) $$

        with the `probability` p of a connection and the `spread` c, the standard deviation of a weight over its mean.
        With `dale`, weights of a column of types have one sign, and each single weight has it too. M / g grows as
        sqrt(N): the theory for N -> infinity is applied to networks of `size` units.

        Raises `ValueError` as the class, for weights that are 0, a negative spread, and with `dale` for columns of
        both signs.
        """
        f = vector("fractions", fractions)
        given = {"weights": weights, "probability": probability, "spread": spread}
        f, w, p, c = in_one_precision(f, *(pair_table(name, value, f.shape[0]) for name, value in given.items()))
        require_whole("size", size)
        require("weights", w, lambda w: np.isfinite(w) & (w != 0), "finite numbers that are not 0")
        require("probability", p, lambda p: (p > 0) & (p <= 1), "numbers in (0, 1]")
        most = np.sqrt(np.finfo(c.dtype).max)
        require("spread", c, lambda c: (c >= 0) & (c < most), "numbers >= 0 whose square is finite")
        signs = None
        if dale:
            if not is_concrete(w):
                raise ValueError("`weights` must be concrete to have signs: give `dale=False`")
            found = np.sign(np.asarray(w))
            require("weights", w, lambda w: found == found[0], "of one sign in each column, as `dale` asks")
            signs = found[0].astype(int)
        return cls(f, jnp.abs(w) * jnp.sqrt(size * p * (1 + c**2 - p)), 0.0, size * p * w, p, signs, balanced)

    @classmethod
    def second_order(
        cls,
        g: Float[ArrayLike, ""] = 1.0,
        mean: Float[ArrayLike, ""] = 0.0,
        *,
        reciprocal: Float[ArrayLike, ""] = 0.0,
        convergent: Float[ArrayLike, ""] = 0.0,
        divergent: Float[ArrayLike, ""] = 0.0,
        chain: Float[ArrayLike, ""] = 0.0,
    ) -> "CellTypes":
        r"""Couplings with second-order motifs: units differ in how much they receive, l_i, and send, c_i.

        $$ N\, E J_{ij} = M l_i c_j, \qquad N\, \mathrm{Var} J_{ij} = g^2 l_i c_j, \qquad
           \langle l \rangle = \langle c \rangle = 1 $$

        `convergent` and `divergent` are the variances of l and c, which are the relative variances of in- and
        out-degrees and of two connections to, or from, one unit. `chain` is their covariance, and `reciprocal` the
        correlation of J_ij and J_ji about their means. l and c have two values each, so there are four types. Edges
        depend on these numbers alone: the right edge of J is g sqrt(1 + chain) without `reciprocal`, and the outlier
        of the mean M (1 + chain). Densities depend on the law of l and c.

        Raises `ValueError` for variances outside [0, 1), and unless chain^2 < convergent divergent (or all are 0).
        Source: Zhao, Beverlin, Netoff & Nykamp 2011 for the motifs; the spectrum as `CellTypes`.
        """
        given = {"convergent": convergent, "divergent": divergent, "chain": chain}
        given |= {"g": g, "mean": mean, "reciprocal": reciprocal}
        to, of, both, g, mean, reciprocal = in_one_precision(*(scalar(name, value) for name, value in given.items()))
        require("reciprocal", reciprocal, correlation, "a number in [-1, 1]")
        for name, value in (("convergent", to), ("divergent", of)):
            require(name, value, lambda v: (v >= 0) & (v < 1), "a number in [0, 1)")
        limit = to * of
        if is_concrete(both, limit) and not (both == 0 or both**2 < limit):
            raise ValueError(f"`chain` must be below sqrt(convergent divergent) = {limit**0.5:.6g} in size, got {both}")
        correlated = jnp.where(both == 0, 0, both / jnp.sqrt(jnp.where(both == 0, 1, limit)))
        one = jnp.array([1.0, 1.0, -1.0, -1.0], correlated.dtype), jnp.array([1.0, -1.0, 1.0, -1.0], correlated.dtype)
        received, sent = 1 + jnp.sqrt(to) * one[0], 1 + jnp.sqrt(of) * one[1]
        table = received[:, None] * sent[None]
        return cls((1 + correlated * one[0] * one[1]) / 4, g * jnp.sqrt(table), reciprocal, mean * table)

    def labels(self, n: int) -> Int[np.ndarray, " n"]:
        """The type of each of n units, a number below K: groups in order, with sizes rounded so that their sum is n.

        Raises `ValueError` for n < 1, traced fractions, and fractions that leave a type without a unit.
        """
        return labels(self.fractions, n)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.g.dtype if dtype is None else dtype
        of = labels(self.fractions, n)

        def spread_out(table):
            return table.astype(dtype)[of[:, None], of[None]]

        mean = spread_out(self.means) / n
        if self.probability is None and self.signs is None:
            random = jnp.ones((n, n), bool), self._gaussian(n, of, key, dtype)
        else:
            random = self._weights(n, key, dtype, spread_out, mean)
        exists, rest = random
        if self.balanced:
            count = jnp.maximum(jnp.sum(exists, axis=1, keepdims=True, dtype=dtype), 1)
            rest = rest - jnp.where(exists, jnp.sum(rest, axis=1, keepdims=True) / count, 0)
        return operators.Dense(mean + rest, symmetric=self.is_symmetric())

    def sample_sparse(self, n: int, *, key: PRNGKeyArray, dtype: Any = None) -> Sparse:
        """One sparse network of n units, whose weights that do not exist take no memory; as `sample` otherwise.

        For concrete ensembles with a `probability`, of weights that are not `balanced`; drawn block by block on the
        host, with as many connections in each block as independent draws have. Raises `ValueError` for others, and as
        `sample`.
        """
        require_key("key", key)
        if self.probability is None or self.balanced or not is_concrete(self):
            raise ValueError("`sample_sparse` is for a concrete ensemble with a `probability` that is not `balanced`")
        of = labels(self.fractions, n)
        typical, variance = (np.asarray(x, float) for x in self._of_weights(n))
        rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
        ends = np.searchsorted(of, np.arange(len(self.fractions) + 1))
        drawn = [
            _sparse_block(rng, ends[a : a + 2], ends[b : b + 2], float(p), typical[a, b], variance[a, b], self.signs)
            for (a, b), p in np.ndenumerate(np.asarray(self.probability))
        ]
        rows, columns, weights = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        weights = weights.astype(self.g.dtype if dtype is None else dtype)
        return Sparse(scipy.sparse.coo_array((weights, (rows, columns)), shape=(n, n)))

    def _gaussian(self, n, of, key, dtype):
        """Gaussian weights of mean 0, each pair with its correlation."""
        x = jax.random.normal(key, (n, n), dtype) / np.sqrt(n).astype(dtype)
        s = self.symmetry.astype(dtype)[of[:, None], of[None]]
        mixed = jnp.sqrt((1 + s) / 4) * (x + x.T) + jnp.sqrt((1 - s) / 4) * (x - x.T)
        return self.g.astype(dtype)[of[:, None], of[None]] * mixed

    def _weights(self, n, key, dtype, spread_out, mean):
        """Which connections exist, and how far every weight is from its mean."""
        typical, variance = self._of_weights(n)
        p = jnp.ones_like(self.g) if self.probability is None else self.probability
        draw, which = jax.random.split(key)
        x = jax.random.normal(draw, (n, n), dtype)
        weights = _weights_that_exist(jnp, spread_out(typical), spread_out(variance), self.signs is not None, x)
        exists = jax.random.uniform(which, (n, n), dtype) < spread_out(p)
        return exists, jnp.where(exists, weights, 0) - mean

    def _of_weights(self, n):
        """Mean and variance of weights that exist, w: p <w> = M / n and p <w^2> - p^2 <w>^2 = g^2 / n."""
        p = jnp.ones_like(self.g) if self.probability is None else self.probability
        typical = self.means / (n * p)
        variance = (self.g**2 / n + p * (p - 1) * typical**2) / p
        if is_concrete(variance):
            least = -8 * jnp.finfo(variance.dtype).eps * typical**2
            expected = f"at least |M| sqrt((1 - p) / (n p)) at n = {n}, as connections that exist or not vary by that"
            require("g", np.asarray(self.g), lambda _: np.asarray(variance >= least), expected)
        return typical, jnp.maximum(variance, 0)

    def type_fractions(self):
        return self.fractions

    def block_means(self):
        return self.means

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        both, square = self.symmetry * self.g * self.g.T, self.g**2
        weighted = lambda t: fractions.astype(t.dtype) * t
        s12, s21 = applied(both, weighted(t21)), applied(both, weighted(t12))
        return s12, s21, applied(square, weighted(t22)), applied(square.T, weighted(t11))

    def blocks(self, t12, t21, p, *, physical=False):
        require_one_type(self)
        g2, s = self.g[0, 0].astype(t21.dtype) ** 2, self.symmetry[0, 0].astype(t21.dtype)
        return g2 * s * t21, g2 * s * t12, g2

    def four_point(self, s1, s2):
        require_one_type(self)
        g2, zero = self.g[0, 0].astype(s1.dtype) ** 2, jnp.zeros_like(s1)
        return FourPoint(g2, self.symmetry[0, 0].astype(s1.dtype) * g2, zero, zero, zero)

    def parts(self):
        if is_concrete(self.means) and not np.any(np.asarray(self.means)):
            return (Part(1.0, self),)
        # Zeros of NumPy are known under `jit` too, so that the rest is one part.
        rest = eqx.tree_at(lambda e: e.means, self, np.zeros(self.g.shape, self.g.dtype))
        return (Part(1.0, rest), Part(1.0, BlockMeans(self.fractions, self.means)))

    def variance(self):
        """sum_ab f_a g_ab^2 f_b: the mean over all pairs of units."""
        return self.fractions @ self.g**2 @ self.fractions

    def fourth_cumulant(self):
        return jnp.zeros((), self.g.dtype)

    def quartic(self, num_types):
        return no_quartic(num_types, self.g.dtype)

    def rank_fraction(self):
        return jnp.where(jnp.any(self.g > 0), jnp.inf, jnp.zeros((), self.g.dtype))

    def poles(self):
        return no_pole(self.g)

    def site(self, certain=False):
        require_one_type(self)
        if not may_vanish(self.symmetry, certain):
            return None
        return Site(self.variance() * vanishes(self.symmetry), None)

    def is_symmetric(self):
        tables = (self.symmetry, self.g, self.means)
        if not is_concrete(*tables) or self.balanced:
            return False
        s, g, m = map(np.asarray, tables)
        return bool(np.all(s == 1) and np.all(g == g.T) and np.all(m == m.T))

    def is_memoryless(self):
        return self.g.shape[0] == 1 and may_vanish(self.symmetry, True)


class BlockMeans(Ensemble):
    r"""Means that depend on the types of both units, J_ij = M_ab / N, from type b to type a: S(T) = 0.

    They have finite rank, leave the bulk of any ensemble they are added to as it is, and add outliers. `fractions` and
    `means` are as in `CellTypes`. Raises `ValueError` for fractions that are not positive or do not sum to 1, and means
    that are not (K, K) finite numbers. Source: as `CellTypes`.
    """

    fractions: Float[Array, " K"]
    means: Float[Array, "K K"]

    def __init__(self, fractions: Float[ArrayLike, " K"], means: Float[ArrayLike, "K K"] | Float[ArrayLike, ""]):
        fractions = vector("fractions", fractions)
        self.fractions, self.means = in_one_precision(fractions, pair_table("means", means, fractions.shape[0]))

    def __check_init__(self):
        require_fractions(self.fractions)
        require("means", self.means, np.isfinite, "finite numbers")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.means.dtype if dtype is None else dtype
        left = jax.nn.one_hot(labels(self.fractions, n), self.means.shape[0], dtype=dtype)
        return operators.Modes(left, left @ self.means.T.astype(dtype), operators.Diagonal(jnp.ones_like(left[0])))

    def type_fractions(self):
        return self.fractions

    def block_means(self):
        return self.means

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        zero, real = jnp.zeros_like(t21), jnp.zeros_like(t11)
        return zero, zero, real, real

    def blocks(self, t12, t21, p, *, physical=False):
        zero = jnp.zeros_like(t21)
        return zero, zero, zero

    def four_point(self, s1, s2):
        zero = jnp.zeros_like(s1)
        return FourPoint(zero, zero, zero, zero, zero)

    def finite_rank(self):
        if self.means.shape[0] > 1:
            return no_modes(self.means.dtype)
        return FiniteRank(self.means, jnp.zeros(1, self.means.dtype), (True,))

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


def require_one_type(ensemble: Ensemble) -> None:
    """Raises `ValueError` for an ensemble with types, on behalf of theory that has one T."""
    num_types = ensemble.type_fractions().shape[0]
    if num_types > 1:
        raise ValueError(f"`ensemble` has {num_types} cell types: this theory is for units of one type")


def labels(fractions: Float[Array, " K"], n: int) -> Int[np.ndarray, " n"]:
    """The type of each of n units: groups in order, their sizes rounded so that their sum is n."""
    require_whole("n", n)
    if not is_concrete(fractions):
        raise ValueError("`fractions` must be concrete to give units their types: transform functions of the law alone")
    ends = np.rint(np.cumsum(np.asarray(fractions, float)) * n).astype(int)
    ends[-1] = n
    counts = np.diff(ends, prepend=0)
    if np.any(counts < 1):
        empty = int(np.argmin(counts))
        raise ValueError(f"`n` = {n} is too small: type {empty}, {float(fractions[empty]):g} of the units, has no unit")
    return np.repeat(np.arange(len(counts)), counts)


def _weights_that_exist(xp, mean, variance, have_signs, x):
    """Weights of this mean and variance from normal numbers x: log-normal ones if they have signs, else Gaussian."""
    if not have_signs:
        return mean + xp.sqrt(variance) * x
    log_variance = xp.log1p(variance / mean**2)
    return mean * xp.exp(xp.sqrt(log_variance) * x - log_variance / 2)


def _sparse_block(rng, rows, columns, p, typical, variance, signs):
    """Rows, columns and weights of the connections from one type to another, without repetition."""
    shape = int(rows[1] - rows[0]), int(columns[1] - columns[0])
    count = rng.binomial(shape[0] * shape[1], p)
    place = rng.choice(shape[0] * shape[1], count, replace=False, shuffle=False)
    x = rng.standard_normal(count)
    weights = _weights_that_exist(np, typical, variance, signs is not None, x)
    return rows[0] + place // shape[1], columns[0] + place % shape[1], weights


def require_fractions(fractions: Any) -> None:
    """Raises `ValueError` unless the fractions are positive and sum to 1."""
    require("fractions", fractions, lambda f: f > 0, "positive")
    require("fractions", fractions, lambda f: abs(np.sum(f) - 1) <= _SUM, "of sum 1")


def applied(table: Float[Array, "K K"], t: Inexact[Array, " K"]) -> Inexact[Array, " K"]:
    """The sums over types: products and sums, as matrix products are rounded to fewer digits on GPUs."""
    return jnp.sum(table.astype(t.dtype) * t[None], axis=-1)


def pair_table(name: str, value: Any, num_types: int) -> Float[Array, "K K"]:
    """A number, or one for each pair of types, as (K, K)."""
    table = real_array(name, value)
    if table.shape not in ((), (num_types, num_types)):
        raise ValueError(
            f"`{name}` must be a number or ({num_types}, {num_types}), for {num_types} types, got {table.shape}"
        )
    return jnp.broadcast_to(table, (num_types, num_types))
