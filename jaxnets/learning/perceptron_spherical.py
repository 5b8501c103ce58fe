r"""The perceptron of Gardner: real weights, whose capacity is exact, with prescribed signs and sparse coding.

$$ \zeta_\mu \Big( \frac{1}{\sqrt N} \sum_i \xi_i^\mu w_i + b \Big) > \kappa, \qquad P(\zeta = 1) = f, \qquad
   \frac1N \sum_i w_i^2 = 1 $$

For N -> infinity patterns can be stored up to the load at which the most that the weights can follow a random vector g
no longer outweighs what the patterns ask of them (Gordon 1988),

$$ \alpha_c = \max_w \Big( \frac{\langle g w \rangle}{|w|} \Big)^2 \Big/ \min_b \big[ f\, m_2(\kappa - b)
   + (1 - f)\, m_2(\kappa + b) \big], \qquad m_2(c) = \langle (c + z)_+^2 \rangle $$

The numerator is 1 for free signs and 1/2 for prescribed ones. `store` and `storable` are the same for given patterns.

Source: Gardner 1988; Amit, Wong & Campbell 1989 for signs; Brunel et al. 2004 and Chapeton et al. 2012 for a given mean
weight; the form above is derived here.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import require
from .._numerics import as_program, bisect, frozen, normal_density, polish_root
from .._results import Result, one_line
from ..replica import SphericalWeights
from ..replica.saddles import either_way, solve
from ..replica.spherical import positive_moments

STEPS = 60
# Cuts B of the law of weights, max(g + B, 0), among which the best is looked for: nearly all or none are silent.
CUTS = (-6.0, 6.0)


class SphericalState(Result):
    """Typical solutions, made by `SphericalPerceptron.saddle`.

    `overlap` q of two of them, `volume`, (1/N) ln of the part of the sphere that solves the patterns, the `bias` b, and
    `stability` Lambda, which is below 1.
    """

    overlap: Float[Array, ""]
    volume: Float[Array, ""]
    bias: Float[Array, ""]
    stability: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Capacity(Result):
    """The largest load `value`, made by `SphericalPerceptron.capacity`.

    `bias` is b there, and `silent` the part of weights that are 0: without prescribed signs there are none.
    """

    value: Float[Array, ""]
    bias: Float[Array, ""]
    silent: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class SphericalPerceptron(eqx.Module):
    """A perceptron of real weights at the load `alpha` = P / N with the margin `kappa`.

    - `coding`: the coding level f, the part of patterns with output +1. Inputs of any coding level are the same problem
      in units of their standard deviation, with a free bias: their mean shifts it.
    - `free_bias`: the bias, or threshold, is chosen along with the weights, else b = 0.
    - `signed`: each weight has a given sign (Dale's law).
    - `fixed_mean`: weights have the mean 1 in place of the mean square 1, as where a threshold of order N fixes their
      sum; then kappa is a robustness against noise of given size. Asks for `signed` and `free_bias`.

    All methods can be mapped and differentiated. Valid for N -> infinity and random patterns. Raises `ValueError` for
    alpha <= 0, a kappa that is not finite, f outside of (0, 1), and fixed means without prescribed signs and free bias.
    Source: Gardner 1988; Amit, Wong & Campbell 1989; Brunel et al. 2004.
    """

    __repr__ = one_line

    alpha: Float[Array, ""]
    kappa: Float[Array, ""]
    coding: Float[Array, ""]
    free_bias: bool = eqx.field(static=True)
    signed: bool = eqx.field(static=True)
    fixed_mean: bool = eqx.field(static=True)

    def __init__(
        self,
        alpha: Float[ArrayLike, ""],
        kappa: Float[ArrayLike, ""] = 0.0,
        *,
        coding: Float[ArrayLike, ""] = 0.5,
        free_bias: bool = False,
        signed: bool = False,
        fixed_mean: bool = False,
    ):
        problem = SphericalWeights(alpha, kappa, coding, free_bias=free_bias, signed=signed)
        self.alpha, self.kappa, self.coding = problem.alpha, problem.kappa, problem.coding
        self.free_bias, self.signed, self.fixed_mean = free_bias, signed, fixed_mean

    def __check_init__(self):
        if self.fixed_mean and not (self.signed and self.free_bias):
            raise ValueError(
                "`fixed_mean` must go with `signed=True` and `free_bias=True`, got "
                f"signed={self.signed} and free_bias={self.free_bias}"
            )
        if self.fixed_mean:
            require("kappa", self.kappa, lambda k: k >= 0, "a number >= 0 if the mean is fixed")

    def saddle(self) -> SphericalState:
        """Typical solutions below the capacity, beyond which there is no state.

        Raises `ValueError` for a `fixed_mean`, of which only the capacity is known here.
        """
        if self.fixed_mean:
            raise ValueError("`fixed_mean` must be False for a state, got True: `capacity` serves both")
        options = {"free_bias": self.free_bias, "signed": self.signed}
        return _state(SphericalWeights(self.alpha, self.kappa, self.coding, **options))

    def capacity(self) -> Capacity:
        r"""The load up to which random patterns can be stored, at this kappa and coding level.

        $$ \alpha_c = \max_B \frac{H(-B)^2}{\langle (g + B)_+^2 \rangle} \Big/ \min_b [ \dots ]_{\kappa |w|} $$

        for fixed means, where weights are max(g + B, 0), of mean 1 and norm |w|: larger margins ask for larger norms,
        and make more of them silent, H(B) > 1/2.
        """
        return _capacity_by_mean(self) if self.fixed_mean else _capacity(self)


@either_way
def _state(problem: SphericalWeights) -> SphericalState:
    found = solve(problem, problem.guess(), STEPS)
    return SphericalState(
        overlap=found.y[0],
        volume=-found.free_energy,
        bias=found.y[2],
        stability=1 - found.replicon,
        residual=found.residual,
        converged=found.converged,
    )


@as_program
def _capacity(perceptron: SphericalPerceptron) -> Capacity:
    kappa, f = perceptron.kappa, perceptron.coding
    room = 0.5 if perceptron.signed else 1.0
    bias, residual, found = jnp.zeros_like(kappa), jnp.zeros_like(kappa), jnp.asarray(True)
    if perceptron.free_bias:
        equation = lambda b, args: _by_bias(b[0], *args)[None]
        root = polish_root(equation, _rough_bias(*frozen((kappa, f)))[None], (kappa, f))
        bias, residual, found = root.value[0], root.residual, root.converged
    value = room / _asked(bias, kappa, f)
    return Capacity(value, bias, jnp.full_like(value, 1 - room), residual, found & jnp.isfinite(value))


@as_program
def _capacity_by_mean(perceptron: SphericalPerceptron) -> Capacity:
    def equations(unknown, perceptron):
        """The slope of ln alpha by the cut, and the equation of the bias."""
        cut, bias = unknown
        chance, mean, square = positive_moments(cut)
        kappa, f = _in_norms(cut, perceptron), perceptron.coding
        by_kappa = 2 * (f * positive_moments(kappa - bias)[1] + (1 - f) * positive_moments(kappa + bias)[1])
        change = perceptron.kappa * (chance - mean**2 / square) / jnp.sqrt(square)
        slope = 2 * normal_density(cut) / chance - 2 * mean / square - by_kappa / _asked(bias, kappa, f) * change
        return jnp.stack([slope, _by_bias(bias, kappa, f)])

    fixed = frozen(perceptron)
    best = lambda cut: _rough_bias(_in_norms(cut, fixed), fixed.coding)
    ends = [jnp.asarray(end, perceptron.kappa.dtype) for end in CUTS]
    rising = lambda cut, fixed: equations(jnp.stack([cut, best(cut)]), fixed)[0] > 0
    cut = sum(bisect(rising, ends[0], ends[1], fixed)) / 2
    root = polish_root(equations, jnp.stack([cut, best(cut)]), perceptron)
    cut, bias = root.value
    chance, _, square = positive_moments(cut)
    value = chance**2 / square / _asked(bias, _in_norms(cut, perceptron), perceptron.coding)
    return Capacity(value, bias, 1 - chance, root.residual, root.converged)


def _in_norms(cut, perceptron) -> Float[Array, ""]:
    """The margin in units of the norm of weights max(g + B, 0), from units of their mean."""
    _, mean, square = positive_moments(cut)
    return perceptron.kappa * mean / jnp.sqrt(square)


def _asked(bias, kappa, f) -> Float[Array, ""]:
    """What patterns ask of the weights, f m_2(kappa - b) + (1 - f) m_2(kappa + b)."""
    return f * positive_moments(kappa - bias)[2] + (1 - f) * positive_moments(kappa + bias)[2]


def _by_bias(bias, kappa, f) -> Float[Array, ""]:
    """0 for the bias that asks least; in logarithms, since both sides are small for rare outputs."""
    on, off = (jnp.log(positive_moments(kappa + sign * bias)[1]) for sign in (-1, 1))
    return jnp.log(f) + on - jnp.log1p(-f) - off


def _rough_bias(kappa, f) -> Float[Array, ""]:
    far = jnp.abs(kappa) + 8 + jnp.sqrt(-2 * jnp.log(jnp.minimum(f, 1 - f)))
    low, high = bisect(lambda b, args: _by_bias(b, *args) > 0, -far, far, (kappa, f))
    return (low + high) / 2
