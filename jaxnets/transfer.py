r"""Transfer functions phi: the rate of a unit as a function of its input, and averages over Gaussian inputs.

Theory needs of phi its slope, its antiderivative and Gaussian averages: of phi, of phi^2, of the slope, and of
products phi(x) phi(y) of the rates of two inputs. `Transfer` has a quadrature for each.

To add a transfer function that is smooth, write a final subclass of `Transfer` with `__call__` and `slope`. Write out
whatever else has a closed form. A function with kinks or jumps must write out all averages, because quadratures for
smooth functions converge slowly for it; if it is made of lines, it is a `PiecewiseLinear`.
"""

import abc
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, ArrayLike, Float, Int

from ._arguments import positive, real_array, require, scalar
from ._laws import Discrete
from ._numerics import (
    gaussian_quadrature,
    interval_moments,
    normal_density,
    pair_density_rule,
    pair_exponential,
)
from ._numerics.host import namespace
from ._public import public
from ._results import one_line


class Transfer(eqx.Module):
    r"""A function phi: R -> R applied to each unit.

    The averages of this class are trapezoid rules, for analytic phi. Their errors for tanh, at 201 `nodes`, are 1e-12,
    5e-9 and 1e-6 at standard deviations 3.5, 5 and 7 of x; beyond, `nodes` must grow like the deviation.
    """

    __repr__ = one_line

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """phi(x)."""

    @abc.abstractmethod
    def slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """phi'(x)."""

    def antiderivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Phi(x), the integral of phi from 0 to x, here by a Gauss-Legendre rule of 64 points."""
        nodes, weights = np.polynomial.legendre.leggauss(64)
        points, weights = (jnp.asarray(a, x.dtype) for a in ((nodes + 1) / 2, weights / 2))
        return x * jnp.tensordot(self(x[..., None] * points.reshape((1,) * x.ndim + (64,))), weights, 1)

    def slope_law(self, mean: Float[Array, ""], variance: Float[Array, ""]) -> Discrete:
        """The law of phi'(x) for x of Gaussian law N(mean, variance).

        Exact where phi' takes few values, else a quadrature.
        """
        z, weights = gaussian_quadrature()
        return Discrete(self.slope(mean + jnp.sqrt(variance) * z.astype(variance.dtype)), weights)

    def expected(self, mean: Float[Array, ""], variance: Float[Array, ""], nodes: int = 201) -> Float[Array, ""]:
        """<phi(x)> for x of Gaussian law N(mean, variance)."""
        return _average(self, mean, variance, nodes)

    def expected_square(self, mean: Float[Array, ""], variance: Float[Array, ""], nodes: int = 201) -> Float[Array, ""]:
        """<phi(x)^2> for x of Gaussian law N(mean, variance)."""
        return _average(lambda x: self(x) ** 2, mean, variance, nodes)

    def expected_product(
        self, mean: Float[Array, "2"], covariance: Float[Array, "2 2"], nodes: tuple[int, int] = (201, 201)
    ) -> Float[Array, ""]:
        r"""<phi(x) phi(y)> for a Gaussian pair (x, y) of any `mean` and `covariance`.

        $$ \langle \phi(x) \phi(y) \rangle = \big\langle \phi(x)\, \langle \phi(y) \,|\, x \rangle \big\rangle_x, \qquad
           y \,|\, x \sim N\Big(\bar y + \frac{C_{xy}}{C_{xx}} (x - \bar x),\; C_{yy} - \frac{C_{xy}^2}{C_{xx}}\Big) $$

        `nodes` are the points for x, and for y given x. Derivatives by the covariance need C_xy^2 < C_xx C_yy; where
        the two inputs are one, use `expected_square`.
        """
        z, weights = (a.astype(mean.dtype) for a in gaussian_quadrature(nodes[0], width=9.0))
        spread, correlation = _spreads_and_correlation(covariance)
        given = mean[1] + spread[1] * correlation * z
        own = covariance[1, 1] * jnp.maximum(1 - correlation**2, 0)
        return weights @ (self(mean[0] + spread[0] * z) * jax.vmap(lambda m: self.expected(m, own, nodes[1]))(given))

    def covariance(
        self, variance: Float[Array, ""], correlation: Float[Array, ""], nodes: tuple[int, int] = (201, 201)
    ) -> Float[Array, ""]:
        r"""<phi(x) phi(y)> for centred Gaussian inputs x and y of one variance, with -1 <= `correlation` <= 1.

        $$ \langle \phi(x) \phi(y) \rangle = \big\langle \varphi(z)\, \varphi(\pm z) \big\rangle_z, \qquad
           \varphi(z) = \big\langle \phi(\sqrt{C_0} (\sqrt{|c|}\, z + \sqrt{1 - |c|}\, u)) \big\rangle_u $$

        with C_0 the variance, c the correlation and +- its sign. `nodes` are the points for what x and y share, z, and
        for what each has alone, u. Mean field solves for correlations with this method: as both inputs have one law,
        one average over u is enough.
        """
        pairs = (gaussian_quadrature(n, width=9.0) for n in nodes)
        (z, share), (u, weights) = ([a.astype(variance.dtype) for a in pair] for pair in pairs)
        shared, own = jnp.sqrt(variance * jnp.abs(correlation)), jnp.sqrt(variance * (1 - jnp.abs(correlation)))
        given_shared = self(shared * z[:, None] + own * u[None]) @ weights
        return share @ (given_shared * jnp.where(correlation < 0, given_shared[::-1], given_shared))


def _average(f, mean, variance, nodes: int):
    """<f(x)> by the trapezoid rule, over nine standard deviations: polynomials of low order are right to rounding."""
    z, weights = (a.astype(mean.dtype) for a in gaussian_quadrature(nodes, width=9.0))
    return weights @ f(mean + jnp.sqrt(variance) * z)


def _spreads_and_correlation(covariance: Float[Array, "2 2"]) -> tuple[Float[Array, "2"], Float[Array, ""]]:
    """Standard deviations and the correlation, which is 0 where an input does not vary."""
    variances = jnp.diagonal(covariance)
    varies = variances > 0
    spread = jnp.where(varies, jnp.sqrt(jnp.where(varies, variances, 1)), 0)
    product = jnp.prod(spread)
    correlation = covariance[0, 1] / jnp.where(product > 0, product, 1)
    return spread, jnp.where(product > 0, jnp.clip(correlation, -1, 1), 0)


# --- smooth functions -----------------------------------------------------------------------------------------


class Tanh(Transfer):
    """phi(x) = tanh x."""

    def __call__(self, x):
        return jnp.tanh(x)

    def slope(self, x):
        return 1 / jnp.cosh(x) ** 2

    def antiderivative(self, x):
        """log cosh x, to full relative precision at both ends."""
        near = jnp.clip(x, -1, 1)
        far = jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - math.log(2)
        return jnp.where(jnp.abs(x) < 1, jnp.log1p(2 * jnp.sinh(near / 2) ** 2), far)


class Logistic(Transfer):
    """phi(x) = (1 + tanh(beta x)) / 2, with beta the `steepness`; the step H(x) for infinite steepness.

    Raises `ValueError` unless `steepness` is a positive number.
    """

    steepness: Float[Array, ""]

    def __init__(self, steepness: Float[ArrayLike, ""]):
        self.steepness = scalar("steepness", steepness)
        require("steepness", self.steepness, positive, "a finite number > 0")

    def __call__(self, x):
        return (1 + namespace(x).tanh(self.steepness.astype(x.dtype) * x)) / 2

    def slope(self, x):
        beta = self.steepness.astype(x.dtype)
        return beta / 2 / namespace(x).cosh(beta * x) ** 2

    def antiderivative(self, x):
        """(x + log cosh(beta x) / beta) / 2."""
        beta = self.steepness.astype(x.dtype)
        return (x + (jnp.logaddexp(beta * x, -beta * x) - jnp.log(jnp.asarray(2, x.dtype))) / beta) / 2


class Erf(Transfer):
    """phi(x) = erf(sqrt(pi) x / 2), of slope 1 at 0."""

    def __call__(self, x):
        return erf(math.sqrt(math.pi) / 2 * x)

    def slope(self, x):
        return jnp.exp(-math.pi / 4 * x**2)

    def antiderivative(self, x):
        return x * self(x) + 2 / math.pi * jnp.expm1(-math.pi / 4 * x**2)

    def expected(self, mean, variance, nodes=201):
        """phi(mean / sqrt(1 + pi C / 2)), with C the variance; exact, so `nodes` have no effect."""
        return self(mean / jnp.sqrt(1 + math.pi / 2 * variance))

    def covariance(self, variance, correlation, nodes=(201, 201)):
        """(2/pi) arcsin(C / (C_0 + 2/pi)) (Williams 1998)."""
        return 2 / math.pi * jnp.arcsin(variance * correlation / (variance + 2 / math.pi))


class Linear(Transfer):
    """phi(x) = x."""

    def __call__(self, x):
        return x

    def slope(self, x):
        return jnp.ones_like(x)

    def antiderivative(self, x):
        return x**2 / 2

    def slope_law(self, mean, variance):
        return Discrete(jnp.ones(1, variance.dtype))

    def expected(self, mean, variance, nodes=201):
        return mean

    def expected_square(self, mean, variance, nodes=201):
        return mean**2 + variance

    def expected_product(self, mean, covariance, nodes=(201, 201)):
        return mean[0] * mean[1] + covariance[0, 1]

    def covariance(self, variance, correlation, nodes=(201, 201)):
        return variance * correlation


# --- functions made of lines ----------------------------------------------------------------------------------


class PiecewiseLinear(Transfer):
    r"""phi(x) = slopes[k] x + intercepts[k], with k the number of `breaks` below x; jumps are allowed.

    At a break point the piece to the left holds, as for H(0) = 0. `slope` and `slope_law` leave out the jumps, where
    the slope is infinite. All averages are exact, but for the integral over the correlation of two inputs
    (`expected_product`), a quadrature right to 1e-8.

    Raises `ValueError` unless `breaks` (d,) increase and `slopes` and `intercepts` are (d + 1,), all finite.
    """

    breaks: Float[Array, " d"]
    slopes: Float[Array, " d+1"]
    intercepts: Float[Array, " d+1"]

    def __init__(
        self,
        breaks: ArrayLike | Sequence[float],
        slopes: ArrayLike | Sequence[float],
        intercepts: ArrayLike | Sequence[float],
    ):
        self.breaks = real_array("breaks", breaks)
        self.slopes = real_array("slopes", slopes)
        self.intercepts = real_array("intercepts", intercepts)

    def __check_init__(self):
        if self.breaks.ndim != 1:
            raise ValueError(f"`breaks` must be a 1-d array, got shape {self.breaks.shape}")
        require("breaks", self.breaks, np.isfinite, "finite numbers")
        require("breaks", self.breaks, lambda breaks: np.all(np.diff(breaks) > 0), "increasing")
        for name, values in (("slopes", self.slopes), ("intercepts", self.intercepts)):
            if values.shape != (len(self.breaks) + 1,):
                raise ValueError(f"`{name}` must have shape ({len(self.breaks) + 1},), got {values.shape}")
            require(name, values, np.isfinite, "finite numbers")

    def piece(self, x: Float[Array, "..."]) -> Int[Array, "..."]:
        """The number of break points below x."""
        return jnp.searchsorted(self.breaks.astype(x.dtype), x, side="left")

    def __call__(self, x):
        k = self.piece(x)
        return self.slopes.astype(x.dtype)[k] * x + self.intercepts.astype(x.dtype)[k]

    def slope(self, x):
        return self.slopes.astype(x.dtype)[self.piece(x)]

    def antiderivative(self, x):
        breaks, slopes, intercepts = self._in(x.dtype)
        left = slopes[:-1] * breaks**2 / 2 + intercepts[:-1] * breaks
        right = slopes[1:] * breaks**2 / 2 + intercepts[1:] * breaks
        # Constants join the parabolas of neighbouring pieces, and make the antiderivative 0 at 0.
        constants = jnp.concatenate([jnp.zeros(1, x.dtype), jnp.cumsum(left - right)])
        constants = constants - constants[self.piece(jnp.zeros((), x.dtype))]
        k = self.piece(x)
        return slopes[k] * x**2 / 2 + intercepts[k] * x + constants[k]

    def slope_law(self, mean, variance):
        chances, _, _ = interval_moments(self._edges(mean, variance))
        return Discrete(self.slopes.astype(chances.dtype), jnp.maximum(chances, 0))  # a difference may round below 0

    def expected(self, mean, variance, nodes=201):
        chance, first, _ = interval_moments(self._edges(mean, variance))
        at_mean, rise = self._lines(mean, variance)
        return jnp.sum(at_mean * chance + rise * first)

    def expected_square(self, mean, variance, nodes=201):
        chance, first, second = interval_moments(self._edges(mean, variance))
        at_mean, rise = self._lines(mean, variance)
        return jnp.sum(at_mean**2 * chance + 2 * at_mean * rise * first + rise**2 * second)

    def expected_product(self, mean, covariance, nodes=(201, 201)):
        r"""The average without correlation, and an integral over the covariance from 0 to C_xy.

        $$ \frac{d}{dC} \langle \phi(x) \phi(y) \rangle = \langle \phi'(x) \phi'(y) \rangle, \qquad
           \phi' = \text{slopes} + \sum_k \text{jump}_k\, \delta(x - b_k) $$

        (Price 1958), applied twice where both factors are slopes: only densities of pairs at the breaks are left.
        """
        spread, correlation = _spreads_and_correlation(covariance)
        h, k = (self._standard(m, s) for m, s in zip(mean, spread, strict=True))  # breaks in standard deviations
        breaks, slopes, intercepts = self._in(mean.dtype)
        bends = jnp.diff(slopes)
        jumps = bends * breaks + jnp.diff(intercepts)
        sine, cosine, weights = pair_density_rule(correlation)

        def mean_slope(at, given):
            """<phi'> without jumps, where breaks ``at`` meet an input that is known from the other one, ``given``."""
            away = sine[:, None, None] * given[None, :, None] - at[None, None]
            return slopes[0] + ndtr(away / cosine[:, None, None]) @ bends

        def at_jumps(here, there, width):
            """Jumps of one input times the slopes of the other."""
            return width * mean_slope(there, here) @ (jumps * normal_density(here))

        at_breaks = pair_exponential(h[None, :, None], k[None, None], sine[:, None, None], cosine[:, None, None])
        remaining = spread[0] * spread[1] * (correlation - sine)  # C_xy less the covariance at each angle
        two_bends = remaining * jnp.einsum("akl,k,l->a", at_breaks, bends, bends)
        two_jumps = jnp.einsum("akl,k,l->a", at_breaks, jumps, jumps)
        jump_and_slope = cosine * (at_jumps(h, k, spread[1]) + at_jumps(k, h, spread[0]))

        variances = jnp.diagonal(covariance)
        rates = [self.expected(m, v) for m, v in zip(mean, variances, strict=True)]
        mean_slopes = [slopes[0] + ndtr(-at) @ bends for at in (h, k)]
        uncorrelated = rates[0] * rates[1] + jnp.prod(spread) * correlation * mean_slopes[0] * mean_slopes[1]
        return uncorrelated + weights @ (two_bends + two_jumps + jump_and_slope)

    def covariance(self, variance, correlation, nodes=(201, 201)):
        covariance = variance * correlation
        matrix = jnp.stack([variance, covariance, covariance, variance]).reshape(2, 2)
        return self.expected_product(jnp.zeros(2, variance.dtype), matrix)

    def _in(self, dtype):
        return self.breaks.astype(dtype), self.slopes.astype(dtype), self.intercepts.astype(dtype)

    def _standard(self, mean, spread):
        # Of an input that does not vary every break is far away; beyond 38 the density is 0 in double precision.
        away = (self.breaks.astype(mean.dtype) - mean) / jnp.where(spread > 0, spread, 1)
        side = jnp.where(away < 0, -_FAR, _FAR).astype(mean.dtype)
        return jnp.where(spread > 0, jnp.clip(away, -_FAR, _FAR), side)

    def _edges(self, mean, variance):
        spread, _ = _spreads_and_correlation(jnp.diag(jnp.stack([variance, variance])))
        far = jnp.full(1, _FAR, mean.dtype)
        return jnp.concatenate([-far, self._standard(mean, spread[0]), far])

    def _lines(self, mean, variance):
        """The lines of all pieces, in standard units: their values at the mean, and their rise."""
        _, slopes, intercepts = self._in(mean.dtype)
        return slopes * mean + intercepts, slopes * jnp.sqrt(variance)


_FAR = 40.0  # standard deviations


class ReLU(Transfer):
    """phi(x) = max(x, 0), threshold-linear units; the slope at 0 is taken to be 0."""

    def __call__(self, x):
        return jnp.maximum(x, 0)

    def slope(self, x):
        return (x > 0).astype(x.dtype)

    def antiderivative(self, x):
        return jnp.maximum(x, 0) ** 2 / 2

    def slope_law(self, mean, variance):
        active = ndtr(mean / jnp.sqrt(variance))
        return Discrete(jnp.array([0.0, 1.0], variance.dtype), jnp.stack([1 - active, active]))

    def expected(self, mean, variance, nodes=201):
        return as_piecewise_linear(self).expected(mean, variance)

    def expected_square(self, mean, variance, nodes=201):
        return as_piecewise_linear(self).expected_square(mean, variance)

    def expected_product(self, mean, covariance, nodes=(201, 201)):
        return as_piecewise_linear(self).expected_product(mean, covariance)

    def covariance(self, variance, correlation, nodes=(201, 201)):
        """C_0 (sin a + (pi - a) cos a) / (2 pi), a = arccos of the correlation (Cho & Saul 2009)."""
        angle = jnp.arccos(correlation)
        return variance / (2 * math.pi) * (jnp.sin(angle) + (math.pi - angle) * correlation)


def heaviside() -> PiecewiseLinear:
    """1 for x > 0, else 0: threshold units."""
    return PiecewiseLinear([0.0], [0.0, 0.0], [0.0, 1.0])


def sign() -> PiecewiseLinear:
    """1 for x > 0, else -1."""
    return PiecewiseLinear([0.0], [0.0, 0.0], [-1.0, 1.0])


def clipped_linear(low: float = 0.0, high: float = 1.0) -> PiecewiseLinear:
    """x between `low` and `high`, and these values beyond.

    Raises `ValueError` unless low < high.
    """
    return PiecewiseLinear([low, high], [0.0, 1.0, 0.0], [low, 0.0, high])


def as_piecewise_linear(transfer: Transfer) -> PiecewiseLinear:
    """A transfer function made of lines, by its pieces: a `PiecewiseLinear`, `ReLU` or `Linear`.

    Raises `ValueError` for any other.
    """
    match transfer:
        case PiecewiseLinear():
            return transfer
        case ReLU():
            return PiecewiseLinear([0.0], [0.0, 1.0], [0.0, 0.0])
        case Linear():
            return PiecewiseLinear(jnp.zeros(0), [1.0], [0.0])
    raise ValueError(f"`transfer` must be made of lines: a `PiecewiseLinear`, `ReLU` or `Linear`, got {transfer!r}")


__dir__ = public(__name__)
