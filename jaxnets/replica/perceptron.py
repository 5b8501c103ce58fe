r"""The binary perceptron as a replica-symmetric problem: N weights s = +-1, P = alpha N patterns, margin kappa.

$$ u_\mu = \frac1{\sqrt N} \sum_i \xi_i^\mu s_i > \kappa \quad \text{for all } \mu $$

Two solutions overlap by q. A pattern that a typical solution has not seen yet has a field of mean w, which is Gaussian
with variance q, and of variance 1 - q around w. So the pattern is met with probability H(X), and all averages over
patterns are averages of H and its derivatives by w (`PatternAverages`):

$$ X = \frac{\kappa - w}{\sqrt{1 - q}}, \quad \partial_w \ln H(X) = \frac{R(X)}{\sqrt{1 - q}}, \quad
   \partial_w^2 \ln H(X) = -\frac{R (R - X)}{1 - q}, \quad R = G / H $$

with the density G and the upper tail H of a standard normal variable.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import in_one_precision, positive, require, require_whole, scalar
from .._numerics import graded_quadrature, tail
from .._numerics.host import loop, namespace
from .problem import Problem

# The closest that the iteration lets q come to 1, where the fields of patterns have no variance left.
NEAREST = 1e-10
# No state is told from q = 1 above this: at kappa = 0 and loads beyond 4 / pi, where there is none, errors of averages
# make one with 1 - q below 2e-6, while 1 - q = .8 (4 / pi - alpha) of true ones.
RESOLVED = 1e-5
# The least q whose root is taken; a q below is 0 to rounding, perhaps negative.
LEAST = 1e-30
# A step of q on the host so short that Newton's method goes on.
SHORT = 1e-3
# The longest iteration on the host: q moves by 1.4 % of its distance in a step at kappa = 0 and alpha = 1.2.
PATIENCE = 400


def log_two_cosh(x: Float[Any, "..."]) -> Float[Any, "..."]:
    """ln 2cosh x without overflow."""
    xp = namespace(x)
    return xp.abs(x) + xp.log1p(xp.exp(-2 * xp.abs(x)))


class PatternAverages(NamedTuple):
    """Averages over a pattern not seen before: of ln H(X), and of its slopes by w."""

    log_chance: Float[Any, ""]  # <ln H>
    slope: Float[Any, ""]  # <d ln H>
    square: Float[Any, ""]  # <(d ln H)^2>
    curvature: Float[Any, ""]  # <(d^2 ln H)^2>
    growth: Float[Any, ""]  # d <(d ln H)^2> / dq


def pattern_averages(kappa: Float[Any, ""], q: Float[Any, ""], nodes: int, every: int = 1) -> PatternAverages:
    """Averages over w = sqrt(q) z, by a rule that is fine where w passes kappa; by `every` second node, if asked."""
    xp = namespace(q)
    root, spread = xp.sqrt(xp.maximum(q, LEAST)), xp.sqrt(1 - q)
    z, weights = every_of(every, *graded_quadrature(*step_at(kappa, root, spread), nodes))
    X = (kappa - root * z) / spread
    log, ratio, excess = tail(X)
    slope, bend = ratio / spread, ratio * excess / spread**2
    # ln H obeys d/dV = (d^2 + (d)^2) / 2 as the variance V = 1 - q around w grows.
    growth = bend**2 + 2 * slope**2 * bend
    return PatternAverages(*(weights @ xp.stack([log, slope, slope**2, bend**2, growth], -1)))


def step_at(place: Float[Any, ""], spread: Float[Any, ""], width: Float[Any, ""]) -> tuple[Any, Any]:
    """Centre and scale, in z, of a step at place of the variable `spread` z that is as wide as `width`."""
    xp = namespace(spread)
    tiny = float(jnp.finfo(spread.dtype).tiny)
    # A step wider than the density needs no nodes of its own.
    return place / xp.maximum(spread, tiny), xp.minimum(width / xp.maximum(spread, tiny), 1)


def every_of(every: int, z: Any, weights: Any) -> tuple[Any, Any]:
    """A rule by fewer of its nodes."""
    return z[..., ::every], weights[..., ::every] / weights[..., ::every].sum(-1, keepdims=True)


class WeightAverages(NamedTuple):
    """Averages over a binary weight with the field h = sqrt(qh) z: of sech^2, sech^4 and ln 2cosh."""

    rest: Float[Any, ""]  # <sech^2 h>
    fourth: Float[Any, ""]  # <sech^4 h>
    growth: Float[Any, ""]  # d <tanh^2 h> / dqh
    log: Float[Any, ""]  # <ln 2cosh h>


def weight_averages(qh: Float[Any, ""], nodes: int, every: int = 1) -> WeightAverages:
    """The averages over z, by a rule that is fine where h changes its sign."""
    xp = namespace(qh)
    root = xp.sqrt(xp.maximum(qh, LEAST))
    z, weights = every_of(every, *graded_quadrature(*step_at(xp.zeros_like(qh), root, xp.ones_like(qh)), nodes))
    h = root * z
    decay = xp.exp(-2 * xp.abs(h))
    rest = 4 * decay / (1 + decay) ** 2
    return WeightAverages(*(weights @ xp.stack([rest, rest**2, 3 * rest**2 - 2 * rest, log_two_cosh(h)], -1)))


class BinaryWeights(Problem):
    r"""Typical solutions of the binary perceptron at the load `alpha` and margin `kappa`; y = (q).

    $$ F = 1 - \frac{\langle \mathrm{sech}^2 \sqrt{\hat q} z \rangle}{1 - q}, \qquad
       \hat q = \alpha \big\langle (\partial_w \ln H)^2 \big\rangle $$

    The free energy is minus the entropy (1/N) ln(number of solutions), the replicon is 1 - Lambda, and `stability` is 1
    less the slope of the map from q to <tanh^2>. Averages have so many `nodes`, and all methods take NumPy arrays too
    (`in_numpy`). Raises `ValueError` for a load that is not positive, a margin that is not finite and nodes < 21 or
    even. Source: Krauth & Mezard 1989.
    """

    in_numpy: ClassVar[bool] = True
    alpha: Float[Array, ""]
    kappa: Float[Array, ""]
    nodes: int = eqx.field(static=True)

    def __init__(self, alpha: Float[ArrayLike, ""], kappa: Float[ArrayLike, ""] = 0.0, *, nodes: int = 161):
        self.alpha, self.kappa = in_one_precision(scalar("alpha", alpha), scalar("kappa", kappa))
        self.nodes = nodes

    def __check_init__(self):
        require("alpha", self.alpha, positive, "a finite number > 0")
        require("kappa", self.kappa, np.isfinite, "a finite number")
        require_odd(self.nodes)

    def at_load(self, alpha: Float[Array, ""]) -> "BinaryWeights":
        """The same problem at another load."""
        return eqx.tree_at(lambda problem: problem.alpha, self, alpha)

    def annealed(self) -> Float[Array, ""]:
        """The load at which the mean number of solutions is 1; no typical patterns have solutions beyond it."""
        return -math.log(2) / tail(self.kappa).log

    def at_log_part(self, log_part: Float[Array, ""]) -> "BinaryWeights":
        """The same problem at exp(`log_part`) times the load `annealed`."""
        return self.at_load(namespace(log_part).exp(log_part) * self.annealed())

    def patterns(self, y: Float[Array, " 1"]) -> PatternAverages:
        """What a new pattern meets."""
        return pattern_averages(self.kappa, y[0], self.nodes)

    def weights(self, qh: Float[Array, ""]) -> WeightAverages:
        """What a weight with a field of variance `qh` does."""
        return weight_averages(qh, self.nodes)

    def conjugate(self, y: Float[Array, " 1"]) -> Float[Array, ""]:
        """The variance of the field of a weight."""
        return self.alpha * self.patterns(y).square

    def evolved(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """<tanh^2>: the overlap after one more sweep of messages."""
        return 1 - self.weights(self.conjugate(y)).rest[None]

    def mismatch(self, y):
        # Relative to 1 - q, since <tanh^2> = q = 1 is no solution.
        return 1 - self.weights(self.conjugate(y)).rest / (1 - y)

    def slope(self, y: Float[Array, " 1"]) -> Float[Array, ""]:
        """The derivative of `evolved`."""
        of = self.patterns(y)
        return self.weights(self.alpha * of.square).growth * self.alpha * of.growth

    def jacobian(self, y):
        of = self.patterns(y)
        weights = self.weights(self.alpha * of.square)
        slope = weights.growth * self.alpha * of.growth
        return ((slope - weights.rest / (1 - y)) / (1 - y))[None]

    def relaxed(self, y, num_steps):
        """The overlap of messages, from the guess on; they come to the smallest q that solves the equations."""
        xp = namespace(y)

        def step(_, y):
            new = xp.minimum(self.evolved(y), 1 - NEAREST)
            return new, xp.where(xp.max(xp.abs(new - y)) > SHORT * (1 - y[0]), 1, 0)

        return loop(step, y, max(num_steps, PATIENCE) if num_steps and xp is np else num_steps, numpy=xp is np)

    def free_energy(self, y):
        of = self.patterns(y)
        qh = self.alpha * of.square
        return qh * (1 - y[0]) / 2 - self.weights(qh).log - self.alpha * of.log_chance

    def instability(self, y: Float[Array, " 1"]) -> Float[Array, ""]:
        """Lambda, the factor by which the square of a small difference of messages grows in a sweep."""
        of = self.patterns(y)
        return self.alpha * of.curvature * self.weights(self.alpha * of.square).fourth

    def replicon(self, y):
        return 1 - self.instability(y)

    def stability(self, y):
        return 1 - self.slope(y)

    def quadrature_error(self, y):
        return rule_error(lambda every: self._averages(y, every))

    def _averages(self, y, every):
        of = pattern_averages(self.kappa, y[0], self.nodes, every)
        return [of.square / (1 + of.square), weight_averages(self.alpha * of.square, self.nodes, every).rest]

    def is_admissible(self, y, tolerance):
        return (y[0] >= -tolerance) & (y[0] < 1 - RESOLVED)


def require_odd(nodes: int) -> None:
    """Every second node must be a rule of its own."""
    require_whole("nodes", nodes, least=21)
    if nodes % 2 == 0:
        raise ValueError(f"`nodes` must be odd, got {nodes}")


def rule_error(averages: Callable[[int], list]) -> Float[Array, ""]:
    """The error of averages of order one, `averages(every)`, whose rules converge exponentially.

    Half of the nodes err by the square root of what all of them do.
    """
    misses = [fine - coarse for fine, coarse in zip(averages(1), averages(2), strict=True)]
    xp = namespace(misses[0])
    return xp.max(xp.stack(misses) ** 2)
