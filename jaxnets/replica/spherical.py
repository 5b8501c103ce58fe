r"""The perceptron of Gardner as a replica-symmetric problem: weights on a sphere, of free or of prescribed signs.

$$ \frac1N \sum_i w_i^2 = 1, \qquad \zeta_\mu \Big( \frac{1}{\sqrt N} \sum_i \xi_i^\mu w_i + b \Big) > \kappa,
   \qquad P(\zeta = 1) = f $$

Two weight vectors overlap by q. A pattern acts as for binary weights (`perceptron`), and a weight has the Gaussian law
of precision a with a random field, cut at 0 if its sign is prescribed. The space of solutions is convex, which makes
replica symmetry exact.
"""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import in_one_precision, positive, require, scalar
from .._numerics import graded_quadrature, tail
from .._numerics.host import loop, namespace
from .perceptron import LEAST, PatternAverages, every_of, pattern_averages, require_odd, rule_error, step_at
from .problem import Problem

# Part of a step of the iteration that is taken, and the step on the host so short that Newton's method goes on.
DAMPING, SHORT = 0.5, 1e-3


class RealAverages(NamedTuple):
    """Averages over a real weight: its mean's square, its variance, and the logarithm of its normalisation."""

    square: Float[Any, ""]  # <<w>^2>
    variance: Float[Any, ""]  # <<w^2> - <w>^2>
    log: Float[Any, ""]  # <ln int dw exp(-a w^2 / 2 + sqrt(qh) z w)>


class SphericalWeights(Problem):
    r"""Typical solutions of the spherical perceptron at the load `alpha`; y = (q, ln a (1 - q), b).

    $$ \langle \mathrm{Var}\, w \rangle = 1 - q, \quad \langle w^2 \rangle = 1, \quad
       \partial_b \langle \ln H \rangle = 0, \qquad
       P(w) \propto e^{-a w^2 / 2 + \sqrt{\hat q} z w}, \quad \hat q = \alpha \langle (\partial_w \ln H)^2 \rangle $$

    `coding` is f, the part of patterns with output +1. `free_bias`: b maximises the volume, else b = 0. `signed`: each
    weight has a given sign, all positive without loss of generality. The free energy is minus (1/N) ln of the part of
    the sphere that solves the patterns. The replicon is 1 - Lambda; `stability` is the determinant of the equations.
    Averages have so many `nodes`, of which methods may take `every` second one, and take NumPy arrays too
    (`in_numpy`). Raises `ValueError` for alpha <= 0, a kappa that is not finite and a coding level outside of (0, 1).
    Source: Gardner 1988; Amit, Wong & Campbell 1989.
    """

    in_numpy: ClassVar[bool] = True
    alpha: Float[Array, ""]
    kappa: Float[Array, ""]
    coding: Float[Array, ""]
    free_bias: bool = eqx.field(static=True)
    signed: bool = eqx.field(static=True)
    nodes: int = eqx.field(static=True)

    def __init__(
        self,
        alpha: Float[ArrayLike, ""],
        kappa: Float[ArrayLike, ""] = 0.0,
        coding: Float[ArrayLike, ""] = 0.5,
        *,
        free_bias: bool = False,
        signed: bool = False,
        nodes: int = 161,
    ):
        numbers = scalar("alpha", alpha), scalar("kappa", kappa), scalar("coding", coding)
        self.alpha, self.kappa, self.coding = in_one_precision(*numbers)
        self.free_bias, self.signed, self.nodes = free_bias, signed, nodes

    def __check_init__(self):
        require("alpha", self.alpha, positive, "a finite number > 0")
        require("kappa", self.kappa, np.isfinite, "a finite number")
        require("coding", self.coding, lambda f: (f > 0) & (f < 1), "a number between 0 and 1")
        require_odd(self.nodes)

    def guess(self) -> Float[Array, " 3"]:
        """Where the iteration starts: nearly independent weights."""
        xp = namespace(self.alpha)
        mean = math.sqrt(2 / math.pi) if self.signed else 0.0
        return xp.asarray([mean**2 + 1e-3, 0.0, 0.0], self.alpha.dtype)

    def patterns(self, y: Float[Array, " 3"], every: int = 1) -> tuple[PatternAverages, Float[Array, ""]]:
        """Averages over patterns of both outputs, and the slope of <ln H> by the bias."""
        on, off = (pattern_averages(self.kappa - sign * y[2], y[0], self.nodes, every) for sign in (1, -1))
        both = PatternAverages(*(self.coding * a + (1 - self.coding) * b for a, b in zip(on, off, strict=True)))
        return both, self.coding * on.slope - (1 - self.coding) * off.slope

    def weights(self, y: Float[Array, " 3"], qh: Float[Array, ""], every: int = 1) -> RealAverages:
        """Averages over a weight whose field has the variance `qh`."""
        xp = namespace(y)
        a = xp.exp(y[1]) / (1 - y[0])
        if not self.signed:
            return RealAverages(qh / a**2, 1 / a, xp.log(2 * math.pi / a) / 2 + qh / (2 * a))
        spread = xp.sqrt(xp.maximum(qh / a, LEAST))
        z, weights = graded_quadrature(*step_at(xp.zeros_like(qh), spread, xp.ones_like(qh)), self.nodes)
        z, weights = every_of(every, z, weights)
        x = spread * z
        log, ratio, excess = tail(-x)
        mean, variance, log = excess, 1 - ratio * excess, log + x**2 / 2
        square, variance, log = weights @ xp.stack([mean**2, variance, log], -1)
        return RealAverages(square / a, variance / a, log + xp.log(2 * math.pi / a) / 2)

    def mismatch(self, y):
        of, by_bias = self.patterns(y)
        weights = self.weights(y, self.alpha * of.square)
        by_bias = by_bias / (1 + of.slope) if self.free_bias else -y[2]
        misses = [1 - weights.variance / (1 - y[0]), weights.square + weights.variance - 1, by_bias]
        return namespace(y).stack(misses)

    def relaxed(self, y, num_steps):
        """q and a follow their equations, and the bias takes steps up the slope."""
        xp = namespace(y)

        def step(_, y):
            of, by_bias = self.patterns(y)
            weights = self.weights(y, self.alpha * of.square)
            # The shape of the law at this field, in the unit of its norm.
            norm = weights.square + weights.variance
            q = DAMPING * weights.square / norm + (1 - DAMPING) * y[0]
            a = xp.exp(y[1]) / (1 - y[0]) * norm
            b = y[2] + DAMPING * by_bias * (1 - y[0]) * (self.alpha / (1 + self.alpha)) if self.free_bias else y[2]
            new = xp.stack([q, xp.log(a * (1 - q)), b])
            return new, xp.where(xp.max(xp.abs(new - y)) > SHORT * (1 - q), 1, 0)

        return loop(step, y, 4 * num_steps, numpy=xp is np)

    def free_energy(self, y):
        of, _ = self.patterns(y)
        xp, qh = namespace(y), self.alpha * of.square
        a = xp.exp(y[1]) / (1 - y[0])
        # Less the same of the whole sphere, ln(2 pi e) / 2.
        volume = a / 2 - qh * (1 - y[0]) / 2 + self.weights(y, qh).log - math.log(2 * math.pi * math.e) / 2
        return -volume - self.alpha * of.log_chance

    def replicon(self, y):
        # <Var^2> of a weight is the square of its variance where the law is Gaussian.
        of, _ = self.patterns(y)
        return 1 - self.alpha * of.curvature * self._variance_square(y, self.alpha * of.square)

    def _variance_square(self, y, qh):
        xp = namespace(y)
        a = xp.exp(y[1]) / (1 - y[0])
        if not self.signed:
            return 1 / a**2
        spread = xp.sqrt(xp.maximum(qh / a, LEAST))
        z, weights = graded_quadrature(*step_at(xp.zeros_like(qh), spread, xp.ones_like(qh)), self.nodes)
        of = tail(-spread * z)
        return weights @ (1 - of.ratio * of.excess) ** 2 / a**2

    def stability(self, y):
        return -namespace(y).linalg.det(self.jacobian(y))

    def quadrature_error(self, y):
        return rule_error(lambda every: self._averages(y, every))

    def _averages(self, y, every):
        of, _ = self.patterns(y, every)
        weights = self.weights(y, self.alpha * of.square, every)
        return [of.square / (1 + of.square), weights.square, weights.variance]

    def is_admissible(self, y, tolerance):
        return (y[0] >= -tolerance) & (y[0] < 1)


def positive_moments(c: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """<1>, <c + z> and <(c + z)^2> of a standard normal z, where c + z > 0."""
    of = tail(-c)
    chance = jnp.exp(of.log)
    # (c + z) has the mean c + R, with R - (-c) known to all digits.
    return chance, chance * of.excess, chance * (1 + c * of.excess)
