r"""Ensembles of weights that are unequal beyond types: gains of rows and columns, and a law for each single weight."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import correlation, in_one_precision, nonnegative, require, require_key, scalar, square_matrix, vector
from .._numerics import is_concrete
from . import operators
from .cell_types import BlockMeans, CellTypes, applied, labels, pair_table, require_fractions, require_one_type
from .ensemble import Ensemble, Part, no_pole
from .parts import Moments, Quartic

# Of means that are modes of finite rank. Eight types have eight at most; of means without structure N/2 count.
_FEW_MODES, _FEW_SHARE = 8, 0.05


class TypeGains(Ensemble):
    r"""An `ensemble` X without types, rows and columns multiplied by type: J_ij = l_a X_ij c_b.

    $$ S_a(T) = D_a\, S^X\Big(\sum_b f_b D_b T_b D_b\Big) D_a, \qquad D_a = \mathrm{diag}(l_a, c_a) $$

    `row_gains` are l and `gains` are c, one for each of K types with the given `fractions`. Modes of finite rank in X
    are refused: add them as a part of a sum. Raises `ValueError` for fractions that are not positive or do not sum to
    1, gains that are not K finite numbers, and for an ensemble with types or with modes of finite rank. Source: derived
    here.
    """

    fractions: Float[Array, " K"]
    ensemble: Ensemble
    row_gains: Float[Array, " K"]
    gains: Float[Array, " K"]

    def __init__(
        self,
        fractions: Float[ArrayLike, " K"],
        ensemble: Ensemble,
        row_gains: Float[ArrayLike, " K"],
        gains: Float[ArrayLike, " K"],
    ):
        given = {"fractions": fractions, "row_gains": row_gains, "gains": gains}
        self.fractions, self.row_gains, self.gains = in_one_precision(
            *(vector(name, value) for name, value in given.items())
        )
        self.ensemble = ensemble

    def __check_init__(self):
        require_fractions(self.fractions)
        for name, value in (("row_gains", self.row_gains), ("gains", self.gains)):
            require(name, value, np.isfinite, "finite numbers")
            if value.shape != self.fractions.shape:
                shape = self.fractions.shape
                raise ValueError(f"`{name}` must have the shape of `fractions`, {shape}, got {value.shape}")
        if self.ensemble.type_fractions().shape[0] > 1 or self.ensemble.finite_rank().rank > 0:
            raise ValueError("`ensemble` must have neither types nor modes of finite rank, got one with them")

    def labels(self, n: int):
        """The type of each of n units, as `CellTypes.labels`."""
        return labels(self.fractions, n)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        of = labels(self.fractions, n)
        inner = self.ensemble.sample(n, key=key, dtype=dtype, max_modes=max_modes).dense()
        rows, columns = (x.astype(inner.dtype)[of] for x in (self.row_gains, self.gains))
        return operators.Dense(rows[:, None] * inner * columns[None])

    def type_fractions(self):
        return self.fractions

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        rows, columns = self.row_gains, self.gains
        both, of_left, of_right = (
            (rows * columns).astype(t21.dtype),
            *(x.astype(t11.dtype) for x in (rows**2, columns**2)),
        )
        inner = both * t12, both * t21, of_left * t11, of_right * t22
        s12, s21, s11, s22 = self.ensemble.field(*inner, fractions, physical=physical)
        return both * s12, both * s21, of_left * s11, of_right * s22

    def blocks(self, t12, t21, p, *, physical=False):
        return self._of_one().blocks(t12, t21, p, physical=physical)

    def four_point(self, s1, s2):
        return self._of_one().four_point(s1, s2)

    def _of_one(self) -> Ensemble:
        require_one_type(self)
        return (self.row_gains * self.gains)[0] * self.ensemble

    def variance(self):
        """N Var J_ij, the mean over all pairs of units."""
        rows, columns = (jnp.sum(self.fractions * x**2) for x in (self.row_gains, self.gains))
        return rows * columns * self.ensemble.variance()

    def fourth_cumulant(self):
        rows, columns = (jnp.sum(self.fractions * x**2) for x in (self.row_gains, self.gains))
        return (rows * columns) ** 2 * self.ensemble.fourth_cumulant()

    def quartic(self, num_types):
        inner = self.ensemble.quartic(num_types)
        return Quartic(inner.weights, self.row_gains[None] ** 2 * inner.rows, self.gains[None] ** 2 * inner.columns)

    def rank_fraction(self):
        rows, columns = (jnp.sum(self.fractions * (x != 0).astype(x.dtype)) for x in (self.row_gains, self.gains))
        return jnp.minimum(self.ensemble.rank_fraction(), jnp.minimum(rows, columns))

    def poles(self):
        return self._of_one().poles()

    def is_symmetric(self):
        alike = is_concrete(self.row_gains, self.gains) and np.array_equal(self.row_gains, self.gains)
        return alike and self.ensemble.is_symmetric()


class Profile(Ensemble):
    r"""Independent weights, or pairs of weights, each with a `mean` and `variance` of its own, both (N, N).

    $$ S_i(T) = \sum_j \begin{pmatrix} V_{ij} T_{j,22} & s \sqrt{V_{ij} V_{ji}}\, T_{j,21} \\
       s \sqrt{V_{ij} V_{ji}}\, T_{j,12} & V_{ji} T_{j,11} \end{pmatrix} $$

    V_ij is the variance of the single weight J_ij, not N times it, and `symmetry` s the correlation of J_ij and J_ji.
    It is `CellTypes` with as many types as units: valid for large N where no single weight stands out. Means of few
    modes are a part of finite rank. Means of many modes shape the bulk: then `spectra.law` is a `ProfileLaw`, for
    s = 0, and other theory refuses them. Samples are Gaussian networks of N units. Raises
    `ValueError` unless both are finite square matrices of one shape, for negative variances, and for |s| > 1.
    Source: Ajanki, Erdos & Kruger 2017; Alt, Erdos & Kruger 2018 (variance profiles).
    """

    mean: Float[Array, "N N"]
    variances: Float[Array, "N N"]
    symmetry: Float[Array, ""]

    def __init__(
        self,
        mean: Float[ArrayLike, "N N"] | Float[ArrayLike, ""],
        variance: Float[ArrayLike, "N N"],
        symmetry: Float[ArrayLike, ""] = 0.0,
    ):
        variances = square_matrix("variance", variance)
        tables = variances, pair_table("mean", mean, variances.shape[0]), scalar("symmetry", symmetry)
        self.variances, self.mean, self.symmetry = in_one_precision(*tables)

    def __check_init__(self):
        require("variance", self.variances, nonnegative, "finite numbers >= 0")
        require("mean", self.mean, np.isfinite, "finite numbers")
        require("symmetry", self.symmetry, correlation, "a number in [-1, 1]")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        size = self.variances.shape[0]
        if n != size:
            raise ValueError(f"`n` must be {size}, as the variances are those of a network of {size} units, got {n}")
        require_key("key", key)
        pairs, alone = jax.random.split(key)
        matrix = self._types().sample(n, key=pairs, dtype=dtype).matrix
        # A pair with itself would have the variance (1 + s) V.
        own = jnp.sqrt(jnp.diag(self.variances)).astype(matrix.dtype) * jax.random.normal(alone, (n,), matrix.dtype)
        diagonal = jnp.diag(self.mean).astype(matrix.dtype) + own
        return operators.Dense(jnp.where(jnp.eye(n, dtype=bool), diagonal, matrix), symmetric=self.is_symmetric())

    def _types(self) -> CellTypes:
        """The units as types."""
        n = self.variances.shape[0]
        return CellTypes(self.type_fractions(), jnp.sqrt(n * self.variances), self.symmetry, n * self.mean)

    def parts(self):
        if is_concrete(self.mean) and not np.any(np.asarray(self.mean)):
            return (Part(1.0, self),)
        # Of NumPy's zeros, which are known to be 0 while JAX traces, too.
        rest = eqx.tree_at(lambda profile: profile.mean, self, np.zeros(self.variances.shape, self.variances.dtype))
        return (Part(1.0, rest), Part(1.0, BlockMeans(self.type_fractions(), self.block_means())))

    def _many_modes(self) -> float | None:
        """The effective number of modes of the means, if they are too many to stand beside a bulk."""
        if not is_concrete(self.mean):
            return None
        values = np.linalg.svd(np.asarray(self.mean, float), compute_uv=False)
        powers = (values / max(values[0], np.finfo(float).tiny)) ** 2
        modes = float(powers.sum() ** 2 / max(np.sum(powers**2), 1))
        return modes if modes > max(_FEW_MODES, powers.size * _FEW_SHARE) else None

    def single_weights(self):
        independent = is_concrete(self.symmetry) and not np.any(np.asarray(self.symmetry))
        return Moments(self.mean, self.variances) if independent and self._many_modes() else None

    def type_fractions(self):
        n = self.variances.shape[0]
        return jnp.full(n, 1 / n, self.variances.dtype)

    def block_means(self):
        n = self.variances.shape[0]
        if modes := self._many_modes():
            raise ValueError(
                f"`mean` must have few modes here, got about {modes:.0f} in {n} units: `spectra.law` of independent "
                "weights takes them, and samples have everything else"
            )
        return n * self.mean

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        both = self.symmetry * jnp.sqrt(self.variances * self.variances.T)
        tables = (both, t21), (both, t12), (self.variances, t22), (self.variances.T, t11)
        return tuple(applied(table, t) for table, t in tables)

    def blocks(self, t12, t21, p, *, physical=False):
        return self._types().blocks(t12, t21, p, physical=physical)

    def four_point(self, s1, s2):
        return self._types().four_point(s1, s2)

    def variance(self):
        """N Var J_ij, the mean over all pairs of units."""
        return jnp.sum(self.variances) / self.variances.shape[0]

    def fourth_cumulant(self):
        return jnp.zeros((), self.variances.dtype)

    def rank_fraction(self):
        return self._types().rank_fraction()

    def poles(self):
        return no_pole(self.variances)

    def site(self, certain=False):
        return self._types().site(certain)

    def is_symmetric(self):
        return self._types().is_symmetric()
