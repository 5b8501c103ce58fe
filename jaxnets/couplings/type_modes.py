r"""Random modes that weigh more in some types of units than in others."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import correlation, in_one_precision, positive, real_array, require, require_key, scalar, vector
from .._numerics import as_complex, binary_scale, is_concrete
from . import operators
from .cell_types import labels, require_fractions, require_one_type
from .ensemble import Ensemble, no_pole
from .modes import RandomModes, number_of_modes
from .parts import Quartic


class TypeModes(Ensemble):
    r"""Random Gaussian modes with a strength of their own in each of K types, for rows and for columns.

    $$ J_{ij} = \frac1N \sum_\alpha D_\alpha\, l_{\alpha a} L_{i\alpha} R_{j\alpha}\, c_{\alpha b}, \qquad
       E[L_{i\alpha} R_{i\alpha}] = \rho_{\alpha a}, \qquad i \in a,\; j \in b $$

    A mode sees the sums over types, and each type sees its modes:

    $$ T^\alpha_{12} = \sum_a f_a\, \rho_{\alpha a} l_{\alpha a} c_{\alpha a} T_{a,12}, \quad
       T^\alpha_{11} = \sum_a f_a\, l_{\alpha a}^2 T_{a,11}, \quad
       T^\alpha_{22} = \sum_a f_a\, c_{\alpha a}^2 T_{a,22} $$

    $$ S_a = \frac{P}{N} \Big\langle \frac{D}{\Delta_\alpha} \begin{pmatrix} l_{\alpha a}^2 D\, T^\alpha_{22} &
       \rho l c\, (1 - D T^\alpha_{12}) \\ \rho l c\, (1 - D T^\alpha_{21}) & c_{\alpha a}^2 D\, T^\alpha_{11}
       \end{pmatrix} \Big\rangle_\alpha, \qquad
       \Delta = (1 - D T_{12})(1 - D T_{21}) - D^2 T_{11} T_{22} $$

    `amplitudes` are P values of D, `row_gains` and `gains` are l and c, (P, K), and `overlap` is rho, a number or
    (P, K). `load` is P / N of a network; a sample gives its modes the quantiles of the P values in their order. With l
    and c that are the same for all modes it is `TypeGains` of `RandomModes`. Raises `ValueError` for fractions that are
    not positive or do not sum to 1, values that are not finite, shapes that differ, |overlap| > 1 and a load that is
    not positive. Source: derived here.
    """

    fractions: Float[Array, " K"]
    amplitudes: Float[Array, " P"]
    row_gains: Float[Array, "P K"]
    gains: Float[Array, "P K"]
    overlap: Float[Array, "P K"]
    load: Float[Array, ""]

    def __init__(
        self,
        fractions: Float[ArrayLike, " K"],
        amplitudes: Float[ArrayLike, " P"],
        row_gains: Float[ArrayLike, "P K"],
        gains: Float[ArrayLike, "P K"],
        overlap: Float[ArrayLike, "P K"] | Float[ArrayLike, ""] = 0.0,
        load: Float[ArrayLike, ""] = 1.0,
    ):
        given = vector("fractions", fractions), vector("amplitudes", amplitudes)
        tables = {"row_gains": row_gains, "gains": gains, "overlap": overlap}
        arrays = in_one_precision(*given, *(real_array(k, v) for k, v in tables.items()), scalar("load", load))
        self.fractions, self.amplitudes, self.row_gains, self.gains, overlap, self.load = arrays
        shape = (self.amplitudes.shape[0], self.fractions.shape[0])
        for name, value in (("row_gains", self.row_gains), ("gains", self.gains), ("overlap", overlap)):
            if value.shape != shape and not (name == "overlap" and value.shape == ()):
                raise ValueError(f"`{name}` must be {shape}, one row for each mode, got {value.shape}")
        self.overlap = jnp.broadcast_to(overlap, shape)

    def __check_init__(self):
        require_fractions(self.fractions)
        for name in ("amplitudes", "row_gains", "gains"):
            require(name, getattr(self, name), np.isfinite, "finite numbers")
        require("overlap", self.overlap, correlation, "numbers in [-1, 1]")
        require("load", self.load, positive, "a finite number > 0")

    def labels(self, n: int):
        """The type of each of n units, as `CellTypes.labels`."""
        return labels(self.fractions, n)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        dtype = self.amplitudes.dtype if dtype is None else dtype
        columns, modes = number_of_modes(n, self.load, max_modes)
        index = (jnp.arange(columns) * self.amplitudes.shape[0]) // modes
        index = jnp.minimum(index, self.amplitudes.shape[0] - 1)
        of = labels(self.fractions, n)
        amplitudes = jnp.where(jnp.arange(columns) < modes, self.amplitudes[index], 0).astype(dtype)
        rows, gains, rho = (x.astype(dtype)[index][:, of].T for x in (self.row_gains, self.gains, self.overlap))
        left, own = (jax.random.normal(k, (n, columns), dtype) for k in jax.random.split(key))
        right = rho * left + jnp.sqrt(1 - rho**2) * own
        return operators.Modes(rows * left, gains * right, operators.Diagonal(amplitudes))

    def type_fractions(self):
        return self.fractions

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        both = self.overlap * self.row_gains * self.gains
        d = self.amplitudes.astype(t21.dtype)

        def seen(table, t):
            return jnp.sum((table * fractions.astype(table.dtype)[None]).astype(t.dtype) * t[None], axis=1)

        inner12, inner21 = seen(both, t12), seen(both, t21)
        inner11, inner22 = seen(self.row_gains**2, t11), seen(self.gains**2, t22)
        delta = (1 - d * inner12) * (1 - d * inner21) - d**2 * as_complex(inner11 * inner22)
        share = self.load.astype(d.dtype) / d.shape[0] * d / delta

        def given(table, of_mode):
            return jnp.sum(table.astype(of_mode.dtype) * of_mode[:, None], axis=0)

        power = share * d
        power = power.real if jnp.isrealobj(t11) else power
        s12, s21 = given(both, share * (1 - d * inner12)), given(both, share * (1 - d * inner21))
        return s12, s21, given(self.row_gains**2, power * inner22), given(self.gains**2, power * inner11)

    def blocks(self, t12, t21, p, *, physical=False):
        return self._of_one().blocks(t12, t21, p, physical=physical)

    def four_point(self, s1, s2):
        return self._of_one().four_point(s1, s2)

    def _of_one(self) -> RandomModes:
        require_one_type(self)
        amplitudes = self.amplitudes * self.row_gains[:, 0] * self.gains[:, 0]
        return RandomModes(amplitudes, load=self.load, overlap=self.overlap[:, 0])

    def _power(self) -> Float[Array, " P"]:
        """The squares of singular values of single modes in large networks."""
        rows, columns = (jnp.sum(self.fractions[None] * x**2, axis=1) for x in (self.row_gains, self.gains))
        return self.amplitudes**2 * rows * columns

    def variance(self):
        """N Var J_ij, the mean over all pairs of units."""
        return self.load * jnp.mean(self._power())

    def fourth_cumulant(self):
        return self.load * jnp.mean(self._power() ** 2)

    def quartic(self, num_types):
        weights = self.load / self.amplitudes.shape[0] * self.amplitudes**4
        return Quartic(weights, self.row_gains**2, self.gains**2)

    def _in_one_unit(self):
        scaled = self.amplitudes / binary_scale(self.amplitudes)
        return TypeModes(self.fractions, scaled, self.row_gains, self.gains, self.overlap, self.load)

    def rank_fraction(self):
        return self.load * jnp.mean((self._power() != 0).astype(self.load.dtype))

    def poles(self):
        return self._of_one().poles() if self.fractions.shape[0] == 1 else no_pole(self.amplitudes)

    def is_symmetric(self):
        alike = is_concrete(self.row_gains, self.gains, self.overlap) and np.array_equal(self.row_gains, self.gains)
        return bool(alike) and bool(np.all(np.asarray(self.overlap) == 1))
