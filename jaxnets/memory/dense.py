r"""Dense memories of sequences: binary units that step from pattern to pattern through an interaction of high order.

$$ s_i(t + 1) = \operatorname{sgn} \sum_\mu \xi_i^{\mu + 1} f(m^\mu(t)), \qquad m^\mu = \frac1n \sum_j \xi_j^\mu s_j $$

All patterns but the present one add crosstalk to the field, and a bit is wrong where crosstalk outweighs the signal
f(1) = 1. An `interaction` is f, in a network of n units and P = `num_patterns` patterns; a new one is one more final
`Interaction`. Patterns are the rows of an array (P, n).
Source: Chaudhry et al. 2023 (arXiv 2306.04532).
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray
from scipy.special import erfc, erfcinv, gammaln
from tqdm import tqdm

from .._arguments import real_array, require, require_instance, require_key, require_whole
from .._numerics import as_program
from .._public import public
from .._results import Result, one_line
from ..observables import overlaps
from .patterns import binary, stored
from .sequences import Probability

# Points of the grid on which the law of the crosstalk is found, and standard deviations that it spans on either side
# beyond the signal. A Gaussian has 4e-33 of its mass beyond twelve: only rounding, 1e-12, limits the law.
GRID, SPAN = 2**16, 12
# Values of the characteristic function above 1 - .5 are raised to a power by their logarithm, which keeps the digits of
# a law that is almost all at 0.
NEAR_ONE = 0.5


class Interaction(eqx.Module):
    """f of an overlap, with f(1) = 1, in networks of n units."""

    __repr__ = one_line

    @abc.abstractmethod
    def __call__(self, m: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "..."]:
        """f(m), of NumPy arrays in double precision."""

    @abc.abstractmethod
    def weights(self, m: Float[Array, "*batch P"], n: int) -> Float[Array, "*batch P"]:
        """f(m) up to a positive factor common to all patterns, which makes the largest modulus 1: no underflow."""

    @abc.abstractmethod
    def second_moment(self, n: int) -> float:
        """<f(m)^2> for the overlap m of two independent binary patterns, exactly."""


class Polynomial(Interaction):
    """f(m) = m^order; order 1 is the Hebbian sequence network.

    Raises `ValueError` unless `order` is a whole number >= 1.
    """

    order: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        require_whole("order", self.order)

    def __call__(self, m, n):
        return m**self.order

    def weights(self, m, n):
        top = jnp.max(jnp.abs(m), -1, keepdims=True)
        return (m / jnp.where(top == 0, 1, top)) ** self.order

    def second_moment(self, n):
        """(2 order - 1)!! / n^order for large n."""
        m, chances = _overlap_law(n)
        return float(chances @ m ** (2 * self.order))


class Exponential(Interaction):
    """f(m) = exp((n - 1)(m - 1))."""

    def __call__(self, m, n):
        return np.exp((n - 1) * (m - 1))

    def weights(self, m, n):
        return jnp.exp((n - 1) * (m - jnp.max(m, -1, keepdims=True)))

    def second_moment(self, n):
        """exp(-2 (n - 1)) cosh(2 (n - 1) / n)^n, the product over units of their averages."""
        return math.exp(n * math.log(math.cosh(2 * (n - 1) / n)) - 2 * (n - 1))


def _overlap_law(n: int) -> tuple[Float[np.ndarray, " n+1"], Float[np.ndarray, " n+1"]]:
    """Values and chances of the overlap of two independent binary patterns."""
    k = np.arange(n + 1)
    chances = np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * math.log(2))
    return (n - 2 * k) / n, chances


# --- dynamics


class Recall(Result, axes={"P": "pattern", "n": "unit", "trials": "trial"}):
    """The `overlaps` with all patterns at the steps 0, 1, ..., and the `final` state."""

    overlaps: Float[Array, "time *trials P"]
    final: Float[Array, "*trials n"]


def recall(
    interaction: Interaction,
    patterns: Float[ArrayLike, "P n"],
    states: Float[ArrayLike, "*trials n"],
    *,
    num_steps: int,
    ring: bool = True,
) -> Recall:
    """Parallel updates of binary states, many trials of one network at once; a bit whose field is 0 stays as it is.

    A field below the rounding error of its sum, a few machine precisions of sum |f|, is 0. On a chain, not a `ring`,
    the last pattern calls none. `vmap` over patterns and states for many networks. The overlaps are what `retrieval`
    measures, with times that are steps.

    Raises:
        ValueError: if ``patterns`` is not (P, n), ``states`` not (..., n) of entries 1 and -1, or ``num_steps`` < 1.
    """
    patterns = stored("patterns", patterns)
    states = _binary_states(states, patterns)
    require_instance("interaction", interaction, Interaction, "an `Interaction` such as `Polynomial(2)`")
    require_whole("num_steps", num_steps)

    def step(s, _):
        s = _step(interaction, patterns, s, ring)
        return s, overlaps(patterns, s)

    final, later = jax.lax.scan(step, states, None, length=num_steps)
    return Recall(jnp.concatenate([overlaps(patterns, states)[None], later]), final)


def _binary_states(states: ArrayLike, patterns: Float[Array, "P n"]) -> Float[Array, "*trials n"]:
    states = real_array("states", states)
    if states.shape[-1:] != patterns.shape[1:]:
        raise ValueError(f"`states` must have shape (..., {patterns.shape[1]}), got {states.shape}")
    require("states", states, lambda s: np.abs(s) == 1, "of entries 1 and -1")
    return states.astype(patterns.dtype)


def _step(interaction, patterns, s, ring):
    weights = interaction.weights(overlaps(patterns, s), patterns.shape[1])
    if not ring:
        weights = weights.at[..., -1].set(0)
    field = jnp.matmul(weights, jnp.roll(patterns, -1, axis=0), precision="highest")
    rounding = 4 * jnp.finfo(field.dtype).eps * jnp.sum(jnp.abs(weights), axis=-1, keepdims=True)
    return jnp.where(jnp.abs(field) <= rounding, s, jnp.sign(field))


def sampled_bit_error(
    interaction: Interaction, n: int, num_patterns: int, *, num_networks: int, key: PRNGKeyArray, progress: bool = True
) -> Probability:
    """Share of wrong bits one step after each of the stored patterns, and its standard error over networks.

    Raises:
        ValueError: if ``n``, ``num_patterns`` or ``num_networks`` is not a whole number >= 1, 2 and 2.
    """
    require_key("key", key)
    require_whole("n", n)
    require_whole("num_patterns", num_patterns, 2)
    require_whole("num_networks", num_networks, 2)
    keys = tqdm(jax.random.split(key, num_networks), desc="Bit errors", unit="network", delay=1, disable=not progress)
    shares = jnp.stack([_share_of_errors(interaction, n, num_patterns, key) for key in keys])
    return Probability(jnp.mean(shares), jnp.std(shares, ddof=1) / math.sqrt(num_networks))


@as_program
def _share_of_errors(interaction, n, num_patterns, key):
    patterns = binary(n, num_patterns, key=key)
    after = _step(interaction, patterns, patterns, True)
    return jnp.mean(after != jnp.roll(patterns, -1, axis=0), dtype=patterns.dtype)


# --- theory


def crosstalk_variance(interaction: Interaction, n: int, num_patterns: int) -> float:
    r"""Variance of the crosstalk from `num_patterns` - 1 independent binary patterns, (P - 1) <f(m)^2>.

    Raises:
        ValueError: if ``n`` or ``num_patterns`` is not a whole number >= 1.
    """
    require_whole("n", n)
    require_whole("num_patterns", num_patterns)
    return (num_patterns - 1) * interaction.second_moment(n)


def gaussian_bit_error(interaction: Interaction, n: int, num_patterns: int) -> float:
    r"""Chance that Gaussian crosstalk of the same variance flips a bit in one step, erfc(1 / sqrt(2 var)) / 2.

    Valid for polynomial interactions and many patterns. The crosstalk of the exponential interaction comes from the few
    patterns nearest to the state, and is not Gaussian: this gives .0025 for n = 10, P = 100, where a bit is wrong with
    chance .022. See `bit_error`.

    Raises:
        ValueError: as `crosstalk_variance`.
    """
    variance = crosstalk_variance(interaction, n, num_patterns)
    return float(erfc(1 / math.sqrt(2 * variance)) / 2) if variance > 0 else 0.0


def bit_error(interaction: Interaction, n: int, num_patterns: int) -> float:
    r"""Chance that crosstalk flips a bit in one step from a stored pattern, from the law of the crosstalk itself.

    $$ P\Big( \sum_{\mu = 1}^{P - 1} \eta_\mu f(m_\mu) < -1 \Big) + \tfrac12 P(\dots = -1), \qquad \eta_\mu = \pm 1 $$

    The terms are independent, and each overlap m is the mean of n fair coins of values +1 and -1. The law of the sum is
    the Fourier transform of a power, on a grid of 2^16 points over twelve standard deviations and two units on either
    side. A term is shared by the three points nearest to it, so that its mean and variance are exact. Computed in
    double precision; chances below 1e-12 are not resolved.

    Raises:
        ValueError: as `crosstalk_variance`.
    """
    variance = crosstalk_variance(interaction, n, num_patterns)
    per_unit = max(
        1, math.floor(GRID / 2 / (2 + SPAN * math.sqrt(variance)))
    )  # whole, so that 1 is a point of the grid
    m, chances = _overlap_law(n)
    values = interaction(m, n) * per_unit
    # The law of one term minus a unit mass at 0: nearly all terms of a long sequence are next to nothing, and the
    # difference keeps their digits.
    rest = np.zeros(GRID)
    for signed in (values, -values):
        nearest = np.rint(signed)
        d = signed - nearest
        for offset, share in ((-1, (d**2 - d) / 2), (0, (nearest != 0) - d**2), (1, (d**2 + d) / 2)):
            np.add.at(rest, (nearest.astype(int) + offset) % GRID, chances * share / 2)
        rest[0] -= np.sum(chances[nearest != 0]) / 2
    less, terms = np.fft.fft(rest).real, float(num_patterns - 1)
    power = np.where(less > -NEAR_ONE, np.exp(terms * np.log1p(np.maximum(less, -NEAR_ONE))), (1 + less) ** terms)
    law = np.fft.ifft(power).real
    # Even, and from the point 0 on: the upper tail is the lower one.
    return float(max(np.sum(law[per_unit + 1 : GRID // 2]) + law[per_unit] / 2, 0.0))


def capacity(interaction: Interaction, n: int, *, error_rate: float, whole: bool = False) -> int:
    """The largest number P of patterns with a one-step bit error of at most `error_rate`, by bisection of `bit_error`.

    With `whole`, the `error_rate` is the mean number of wrong bits among the P n bits of one pass through the whole
    sequence, if each step starts from the pattern itself. 1 if two patterns are too many; at most 2^40.

    Raises:
        ValueError: if ``n`` is not a whole number >= 1, or ``error_rate`` not in [1e-12, 1/2), with `whole` below 1e-6.
    """
    require_whole("n", n)
    if whole:
        require("error_rate", error_rate, lambda e: np.isfinite(e) & (e >= 1e-6), "a finite number >= 1e-6")
    else:
        require("error_rate", error_rate, lambda e: (e >= 1e-12) & (e < 0.5), "in [1e-12, 1/2)")

    def too_many(num_patterns: int) -> bool:
        return bit_error(interaction, n, num_patterns) * (num_patterns * n if whole else 1) > error_rate

    low, high = 1, 2
    while high < 2**40 and not too_many(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if too_many(middle) else (middle, high)
    return low


def gaussian_capacity(interaction: Interaction, n: int, *, error_rate: float) -> float:
    r"""The number of patterns at which `gaussian_bit_error` is `error_rate` e: 1 + 1 / (2 <f^2> erfcinv(2 e)^2).

    Raises:
        ValueError: if ``n`` is not a whole number >= 1, or ``error_rate`` not in (0, 1/2).
    """
    require_whole("n", n)
    require("error_rate", error_rate, lambda e: (e > 0) & (e < 0.5), "in (0, 1/2)")
    return 1 + 1 / (2 * interaction.second_moment(n) * float(erfcinv(2 * error_rate)) ** 2)


__dir__ = public(__name__)
