r"""Covariances of a deep network for infinitely many units in each layer: a recursion of four numbers.

$$ h'_i = \phi(\mu_i + D_i), \qquad D_i = \frac{g}{\sqrt N} \sum_k w_{ik} (h_k - \langle h_k \rangle), \qquad
   \mu_i = \frac{g}{\sqrt N} \sum_k w_{ik} \langle h_k \rangle + b_i $$

with averages < > over inputs. Weights have mean 0 and variance 1, and two weights from one unit to two others have the
correlation r / sqrt(N), the only scaling with a limit of its own. A unit's D is Gaussian, and covariances between units
are of order 1 / sqrt(N), so that to leading order each is multiplied by two mean slopes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import in_one_precision, nonnegative, require, require_instance, require_whole, scalar
from .._laws import Discrete
from .._numerics import as_program, is_concrete
from .._results import one_line
from ..couplings import IID, Product, SingularModes
from ..transfer import PiecewiseLinear, Transfer
from .networks import FeedForward, sampled
from .propagation import Propagation, jumps, propagation
from .statistics import LayerStatistics, unit_averages, unit_weights


class Inputs(eqx.Module):
    """What the first layer receives: the averages of `LayerStatistics` without outliers, white inputs of variance 1.

    A `variance_square` of None is the square of the variance, of units that are alike. Raises `ValueError` for numbers
    that are negative, a variance of 0, and a `variance_square` below the square of the variance.
    """

    __repr__ = one_line

    mean_square: Float[Array, ""]
    variance: Float[Array, ""]
    variance_square: Float[Array, ""]
    off_diagonal: Float[Array, ""]

    def __init__(
        self,
        *,
        mean_square: Float[ArrayLike, ""] = 0.0,
        variance: Float[ArrayLike, ""] = 1.0,
        variance_square: Float[ArrayLike, ""] | None = None,
        off_diagonal: Float[ArrayLike, ""] = 0.0,
    ):
        K1 = scalar("variance", variance)
        square = K1**2 if variance_square is None else scalar("variance_square", variance_square)
        given = scalar("mean_square", mean_square), K1, square, scalar("off_diagonal", off_diagonal)
        self.mean_square, self.variance, self.variance_square, self.off_diagonal = in_one_precision(*given)

    def __check_init__(self):
        for name in ("mean_square", "variance", "variance_square", "off_diagonal"):
            require(name, getattr(self, name), nonnegative, "a finite number >= 0")
        require("variance", self.variance, lambda x: x > 0, "a number > 0")
        least = self.variance_square - self.variance**2 * (1 - 1e-6)
        require("variance_square", least, lambda x: x >= 0, "at least the square of `variance`, whose excess over it")


class Layers(eqx.Module):
    r"""A law of deep networks: any number of layers of units with the function `transfer`.

    `g` is the strength of weights, of variance g^2 / N; `r` makes the correlation r / sqrt(N) of two weights from one
    unit; b_i has the standard deviation `bias`. All three may be traced. Raises `ValueError` for negative numbers.
    Source: Huang 2018 (arXiv 1710.01467); Zhou & Huang 2021 (arXiv 2006.11569); any transfer function, derived here.
    """

    __repr__ = one_line

    transfer: Transfer
    g: Float[Array, ""]
    r: Float[Array, ""]
    bias: Float[Array, ""]

    def __init__(
        self,
        transfer: Transfer,
        g: Float[ArrayLike, ""] = 1.0,
        r: Float[ArrayLike, ""] = 0.0,
        bias: Float[ArrayLike, ""] = 0.0,
    ):
        require_instance("transfer", transfer, Transfer, "a function of `jaxnets.transfer`")
        self.transfer = transfer
        self.g, self.r, self.bias = in_one_precision(scalar("g", g), scalar("r", r), scalar("bias", bias))

    def __check_init__(self):
        for name in ("g", "r", "bias"):
            require(name, getattr(self, name), nonnegative, "a finite number >= 0")

    def recursion(self, depth: int, inputs: Inputs | None = None, *, nodes: int = 201) -> LayerStatistics:
        r"""Means, variances, covariances and dimension in layers 1 to `depth`, for N to infinity.

        $$ Q' = \langle F^2 \rangle_u, \quad K_1' = \langle V \rangle_u, \quad K_2' = \langle V^2 \rangle_u, \quad
           S' = g^4 \langle B^2 \rangle_u^2\, (K_2 + S + r^2 K_1^2) $$

        with F, F^2 + V and B the averages of phi, phi^2 and phi' at inputs of mean sqrt(g^2 Q + bias^2) u and variance
        g^2 K_1, and u a standard normal variable. `inputs` are white and of variance 1 if None. The quadratures have
        `nodes`; tanh at g^2 K_1 up to 25 is right to 1e-9. Covariances of finite networks fluctuate by about
        1 / sqrt(N); where r > 0, layers after the first have up to 1 / sqrt(N) less off-diagonal covariance.

        Raises `ValueError` unless `depth` >= 1 and `nodes` >= 16 are whole numbers and `inputs` are an `Inputs`.
        """
        return _recursion(self, _checked(depth, inputs, nodes), depth, nodes)[0]

    def outliers(self, n: int, depth: int, inputs: Inputs | None = None, *, nodes: int = 201) -> Float[Array, "L L"]:
        r"""Eigenvalues of order sqrt(N) of the covariances of layers of n units, a row for each layer.

        $$ \lambda_{l, j} = \sqrt N\, r K_1^{(j-1)} \prod_{m=j}^{l} a_m, \qquad a_m = g^2 \langle B^2 \rangle_m,
           \qquad j = 1 \dots l $$

        to leading order: each layer makes one, and those before go on. They hold all that correlated weights take from
        the dimension. The result has the next order as well, 1, for units that are alike, and repulsion: for white
        inputs, a_1 (r sqrt(N) + 2) + K_1 - a_1 in the first layer. Networks of 300 to 400 units have some 10 % less in
        the second and third layer, up to 14 % for tanh. Largest first, 0 in place of the outliers of later
        layers. Valid for r sqrt(N) well above 1. Raises `ValueError` as `recursion`, and unless n is a whole number.
        Source: derived here.
        """
        require_whole("n", n)
        return _outliers(self, _checked(depth, inputs, nodes), n, depth, nodes)

    def sample(
        self, n: int, depth: int, *, key: PRNGKeyArray, binary: bool = False, dtype: jnp.dtype | None = None
    ) -> FeedForward:
        """One network with `depth` layers of n units, from n inputs; weights as in `correlated_weights`.

        Raises `ValueError` unless n and `depth` are whole numbers, for r >= sqrt(n), and without a key.
        """
        return sampled(self.transfer, (self.g, self.r, self.bias), n, depth, key, binary, dtype)

    def jacobian(
        self, depth: int, inputs: Inputs | None = None, *, orthogonal: bool = False, nodes: int = 201
    ) -> Product:
        r"""The ensemble of Jacobians of the layer at `depth` by the input.

        $$ J = D_L W_L \cdots D_2 W_2\, D_1 W_1, \qquad D_l = \mathrm{diag}(\phi') $$

        The factors are free of each other for many units, so that `spectra.law` has its eigenvalues and
        `spectra.singular_profile` its singular values: how signals and gradients grow along depth. `orthogonal` weights
        are g times orthogonal matrices in place of Gaussian ones. Weights with r > 0 add outliers, which are not in it.
        The other arguments are those of `recursion`.

        Raises `ValueError` as `recursion`, and for a transfer function with jumps. Source: Pennington, Schoenholz &
        Ganguli 2017 (arXiv 1711.04735).
        """
        inputs = _checked(depth, inputs, nodes)
        if isinstance(self.transfer, PiecewiseLinear) and is_concrete(self.transfer) and np.any(jumps(self.transfer)):
            raise ValueError(f"`transfer` must have no jumps here, where its slope is infinite, got {self.transfer!r}")
        weights = SingularModes(self.g[None]) if orthogonal else IID(self.g)
        slopes = _slope_laws(self, inputs, depth, nodes)
        laws = [SingularModes(slopes.values[k], slopes.weights[k]) for k in reversed(range(depth))]
        return Product([factor for law in laws for factor in (law, weights)])

    def propagation(self) -> Propagation:
        r"""Where the sizes and the correlation of two signals go along depth, and over how many layers.

        With $q$ the variance of inputs to units, over units, and $c$ the correlation of those of two signals,

        $$ q' = g^2 \langle \phi^2 \rangle_q + b^2, \qquad
           c' = \big(g^2 \langle \phi(x) \phi(y) \rangle_{q, c} + b^2\big) / q', \qquad
           \frac{dc'}{dc} = g^2 \langle \phi'(x) \phi'(y) \rangle_{q, c} $$

        This is the recursion for Q and K_1, of independent inputs: q = g^2 (Q + K_1) + b^2, and c q is without K_1.
        The fixed point c = 1 is stable where its slope, `chi`, is below 1: order, else chaos.

        Valid where q has a fixed point, the largest one that signals of variance 1 or less reach; NaN, not converged,
        where they grow without end. Weights that are correlated (r > 0) change neither q nor c.
        """
        return propagation(self.transfer, self.g, self.bias)


def _checked(depth: int, inputs: Inputs | None, nodes: int) -> Inputs:
    require_whole("depth", depth)
    require_whole("nodes", nodes, least=16)
    inputs = Inputs() if inputs is None else inputs
    require_instance("inputs", inputs, Inputs, "an `Inputs`")
    return inputs


@as_program
def _slope_laws(layers: Layers, inputs: Inputs, depth: int, nodes: int) -> Discrete:
    """The laws of |phi'| in all layers, stacked."""
    found, _ = _recursion(layers, inputs, depth, nodes)
    first = (inputs.mean_square + inputs.variance).astype(layers.g.dtype)
    power = jnp.concatenate([first[None], (found.mean_square + found.variance)[:-1]])

    def of(variance):
        law = layers.transfer.slope_law(jnp.zeros_like(variance), variance)
        return Discrete(jnp.abs(law.values), law.weights)

    return jax.vmap(of)(layers.g**2 * power + layers.bias**2)


@as_program
def _recursion(layers: Layers, inputs: Inputs, depth: int, nodes: int) -> tuple[LayerStatistics, Float[Array, " L"]]:
    """The statistics of each layer, and its <B^2>."""

    def layer(at, _):
        found = _layer(layers, at, nodes)
        return found[0], found

    at = tuple(x.astype(layers.g.dtype) for x in jax.tree.leaves(inputs))
    (Q, K1, K2, S), slopes = jax.lax.scan(layer, at, None, length=depth)[1]
    return LayerStatistics(Q, K1, K2, S, K1**2 / (K2 + S)), slopes


def _layer(layers: Layers, at, nodes: int):
    """Q, K_1, K_2 and S of the next layer, and its <B^2>."""
    (Q, K1, K2, S), square = at, layers.g**2
    F, V, B = unit_averages(layers.transfer, square * Q + layers.bias**2, square * K1, nodes)
    weights = unit_weights(nodes, Q.dtype)
    slope = weights @ B**2
    S = (square * slope) ** 2 * (K2 + S + layers.r**2 * K1**2)
    return (weights @ F**2, weights @ V, weights @ V**2, S), slope


@as_program
def _outliers(layers: Layers, inputs: Inputs, n: int, depth: int, nodes: int) -> Float[Array, "L L"]:
    r"""With theta = r sqrt(N) + 1, the outliers of g^2 w C w^T / N are eigenvalues of a matrix of few numbers.

    w^T w is a Wishart matrix and, free of it, theta v v^T for a random vector v of length sqrt(N). So 1 = g^2 theta
    v^T C^(1/2) (lambda - X)^-1 C^(1/2) v / N, in which C has outliers lambda_j and a bulk, of which its first two
    moments matter.
    """
    found, slopes = _recursion(layers, inputs, depth, nodes)
    start = tuple(
        x.astype(layers.g.dtype)[None] for x in (inputs.variance, inputs.variance_square + inputs.off_diagonal)
    )
    before = [
        jnp.concatenate([first, x[:-1]])
        for first, x in zip(start, (found.variance, found.variance_square + found.off_diagonal), strict=True)
    ]
    square, theta = layers.g**2, layers.r * np.sqrt(n) + 1

    def layer(outliers, row):
        K1, second, new_K1, slope, count = row
        bulk, bulk_second = K1 - jnp.sum(outliers) / n, second - jnp.sum(outliers**2) / n
        old = jnp.arange(depth) < count
        is_new = (jnp.arange(depth) == count).astype(K1.dtype)
        diagonal = jnp.where(old, outliers + bulk, 0) + is_new * bulk_second / bulk
        along = jnp.sqrt(theta * jnp.where(old, outliers / n, 0) + theta * is_new * bulk)
        values = jnp.linalg.eigvalsh(square * (jnp.diag(diagonal) + along[:, None] * along[None]))[::-1]
        values = jnp.where(jnp.arange(depth) <= count, slope * values + new_K1 - square * slope * K1, 0)
        return values, values

    rows = (*before, found.variance, slopes, jnp.arange(depth))
    return jax.lax.scan(layer, jnp.zeros(depth, layers.g.dtype), rows)[1]
