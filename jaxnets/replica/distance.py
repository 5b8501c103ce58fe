r"""Solutions of the binary perceptron near a typical one, as a replica-symmetric problem (Franz & Parisi).

All solutions at overlap p = 1 - 2 d with a typical solution have three overlaps: p with it, t with all other typical
ones, and r among themselves. A weight of the typical solution has the field sqrt(qh) z and the sign s, and a pattern
gives it w sqrt(1 - q) + sqrt(q) z > kappa. Given these, fields of the constrained solutions are Gaussian:

$$ A = \frac{\hat t}{\sqrt{\hat q}} z + (\hat p - \hat t) s + \sqrt{\hat r - \hat t^2 / \hat q}\, y, \qquad
   B = \frac{t}{\sqrt q} z + \frac{p - t}{\sqrt{1 - q}} w + \sqrt{r - t^2 / q - (p - t)^2 / (1 - q)}\, y $$

In B only sqrt(r - t^2 / q) zeta, the sum of the last two terms, matters. Given z and zeta, w is Gaussian with variance
1 - rho^2, so that the chance of w > X is known: averages over patterns take two dimensions, not three.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._numerics import graded_quadrature, tail
from .._numerics.host import loop, namespace
from .perceptron import BinaryWeights, every_of, log_two_cosh, rule_error, step_at
from .problem import Problem

# Part of a step of t, r and their conjugates that the iteration takes: whole steps alternate for p near 1.
DAMPING = 0.5
# The longest step of the conjugate of p, which has to grow like ln(1 / d) as d falls.
LONGEST = 1.0
# A step on the host so short that Newton's method goes on.
SHORT = 1e-3


class Constrained(NamedTuple):
    """Averages over weights, or over patterns, of the constrained solutions."""

    log: Float[Any, ""]  # <ln 2cosh A>, or <ln H(Y)> with Y = (kappa - B) / sqrt(1 - r)
    with_other: Float[Any, ""]  # <tanh(sqrt(qh) z) tanh A>, or the product of the slopes of both ln H
    among: Float[Any, ""]  # <sech^2 A>, or <(d ln H)^2>
    with_typical: Float[Any, ""]  # <1 - s tanh A>, or 0
    curvature: Float[Any, ""]  # <sech^4 A>, or <(d^2 ln H)^2>


class NearbyWeights(Problem):
    r"""Solutions at a `distance` d from one of the `typical` ones, which overlap by q; y = (q - t, ln(1 - r), hat p).

    $$ s = \mathrm{extr}\; -\hat p p + \hat t t + \hat r \frac{r - 1}{2} + \langle \ln 2\cosh A \rangle
       + \alpha \Big\langle \ln H \Big( \frac{\kappa - B}{\sqrt{1 - r}} \Big) \Big\rangle $$

    The free energy is -s, and the replicon is 1 - Lambda of the constrained solutions. `stability` is the determinant
    of the equations, 0 at a fold. Averages have `nodes` by half as many points. `in_numpy`: all methods take
    NumPy arrays too. Source: Huang & Kabashima 2014 (arXiv
    1408.1784); the two-dimensional form is derived here.
    """

    in_numpy: ClassVar[bool] = True
    typical: BinaryWeights
    q: Float[Array, ""]
    distance: Float[Array, ""]
    nodes: int = eqx.field(static=True)

    def __init__(self, typical: BinaryWeights, q: Float[Array, ""], distance: Float[Array, ""], *, nodes: int = 121):
        self.typical, self.q, self.distance, self.nodes = typical, q, distance, nodes

    def at_log_distance(self, log_distance: Float[Array, ""]) -> "NearbyWeights":
        """The same problem at the distance exp(`log_distance`)."""
        return eqx.tree_at(lambda problem: problem.distance, self, namespace(log_distance).exp(log_distance))

    def guess(self) -> Float[Array, " 3"]:
        """Order parameters as if the constrained solutions were independent but for p."""
        xp, q, d = namespace(self.q), self.q, self.distance
        p = 1 - 2 * d
        rest = xp.maximum(1 - q - (p - q) ** 2 / (1 - q), 1 - abs(p))
        return xp.stack([xp.zeros_like(q), xp.log(rest), self.typical.conjugate(xp.atleast_1d(q))])

    def mismatch(self, y):
        xp, of = namespace(y), self._weights(y, *self._conjugates(y))
        # Relative to 1 - r and 1 - p, which are small at small distances.
        misses = [self.q - y[0] - of.with_other, 1 - of.among / xp.exp(y[1]), 1 - of.with_typical / (2 * self.distance)]
        return xp.stack(misses)

    def relaxed(self, y, num_steps):
        xp = namespace(y)

        def step(_, carry):
            y, th, rh = carry
            new_th, new_rh = self._conjugates(y)
            th, rh = th + DAMPING * (new_th - th), rh + DAMPING * (new_rh - rh)
            of = self._weights(y, th, rh)
            # Newton's step for hat p, whose equation has the slope <sech^2>.
            change = xp.clip((of.with_typical - 2 * self.distance) / of.among, -LONGEST, LONGEST)
            moved = xp.stack([DAMPING * (self.q - of.with_other - y[0]), DAMPING * (xp.log(of.among) - y[1]), change])
            return (y + moved, th, rh), xp.where(xp.max(xp.abs(moved)) > SHORT, 1, 0)

        return loop(step, (y, *self._conjugates(y)), num_steps, numpy=xp is np)[0]

    def free_energy(self, y):
        th, rh = self._conjugates(y)
        lag, log_rest, ph = y
        energy = ph * (1 - 2 * self.distance) - th * (self.q - lag) + rh * namespace(y).exp(log_rest) / 2
        return energy - self._weights(y, th, rh).log - self.typical.alpha * self._patterns(y).log

    def replicon(self, y):
        weights = self._weights(y, *self._conjugates(y))
        return 1 - self.typical.alpha * self._patterns(y).curvature * weights.curvature

    def stability(self, y):
        return namespace(y).linalg.det(self.jacobian(y))

    def quadrature_error(self, y):
        return rule_error(lambda every: self._averages(y, every))

    def _averages(self, y, every):
        patterns, weights = self._patterns(y, every), self._weights(y, *self._conjugates(y), every)
        scale = 1 + self.typical.alpha * self._patterns(y).among
        return [self.typical.alpha * patterns.among / scale, weights.with_other, weights.among, weights.with_typical]

    def is_admissible(self, y, tolerance):
        r = self.among(y)
        return (r >= -tolerance) & ((self.q - y[0]) ** 2 <= self.q * r + tolerance)

    def among(self, y: Float[Array, " 3"]) -> Float[Array, ""]:
        """r, the overlap of the constrained solutions with each other."""
        return -namespace(y).expm1(y[1])

    @property
    def _outer(self) -> int:
        """Nodes over z, where the typical solution has no small scale."""
        return self.nodes // 4 * 2 + 1

    def _conjugates(self, y: Float[Array, " 3"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Hat t and hat r: covariances of slopes of ln H."""
        of = self._patterns(y)
        return self.typical.alpha * of.with_other, self.typical.alpha * of.among

    def _patterns(self, y: Float[Array, " 3"], every: int = 1) -> Constrained:
        xp, kappa, q, lag = namespace(y), self.typical.kappa, self.q, y[0]
        t, turned = q - lag, 2 * self.distance
        tiny = float(jnp.finfo(y.dtype).eps) ** 2
        root, spread, width = xp.sqrt(q), xp.sqrt(1 - q), xp.exp(y[1] / 2)
        z, dz = every_of(every, *graded_quadrature(*step_at(kappa, root, spread), self._outer))
        X = (kappa - root * z) / spread
        # zeta = rho w + sqrt(1 - rho^2) y, which together have the spread `both`.
        with_w = (1 - q - turned + lag) / spread
        # r - t^2 / q - (p - t)^2 / (1 - q), of which large parts cancel.
        free = 2 * turned - width**2 - lag**2 / q - (lag - turned) ** 2 / (1 - q)
        free = xp.maximum(free, tiny)
        both = xp.sqrt(with_w**2 + free)
        rho, left = with_w / both, xp.sqrt(free) / both
        place = kappa - t / root * z
        centre, scale = step_at(place, both, xp.minimum(width, left * both))
        zeta, dzeta = every_of(every, *graded_quadrature(centre, scale + 0 * centre, self.nodes))
        Y = (place[:, None] - both * zeta) / width
        typical, nearby = tail(X), tail(Y)
        chance = xp.exp(tail((X[:, None] - rho * zeta) / left).log - typical.log[:, None])
        slope, bend = nearby.ratio / width, nearby.ratio * nearby.excess / width**2
        with_other = slope * (typical.ratio / spread)[:, None]
        averaged = xp.stack([nearby.log, with_other, slope**2, xp.zeros_like(slope), bend**2])
        return Constrained(*xp.sum((dz[:, None] * dzeta * chance)[None] * averaged, (1, 2)))

    def _weights(
        self, y: Float[Array, " 3"], th: Float[Array, ""], rh: Float[Array, ""], every: int = 1
    ) -> Constrained:
        xp, ph = namespace(y), y[2]
        tiny = float(jnp.finfo(y.dtype).eps) ** 2
        qh = self.typical.conjugate(xp.atleast_1d(self.q))
        root, spread = xp.sqrt(qh), xp.sqrt(xp.maximum(rh - th**2 / qh, tiny))
        z, dz = every_of(every, *graded_quadrature(*step_at(xp.zeros_like(qh), root, xp.ones_like(qh)), self._outer))
        # s = 1 alone: s = -1 gives the same, with z and y of the other sign.
        mean = th / root * z + ph - th
        centre, scale = step_at(-mean, spread, xp.ones_like(ph))
        y_, dy = every_of(every, *graded_quadrature(centre, scale + 0 * centre, self.nodes))
        A = mean[:, None] + spread * y_
        decay = xp.exp(-2 * xp.abs(A))
        rest = 4 * decay / (1 + decay) ** 2
        measure = (dz * (1 + xp.tanh(root * z)))[:, None] * dy
        with_other = xp.tanh(A) * xp.tanh(root * z)[:, None]
        turned = xp.where(A > 0, 2 * decay, 2) / (1 + decay)
        averaged = xp.stack([log_two_cosh(A), with_other, rest, turned, rest**2])
        return Constrained(*xp.sum(measure[None] * averaged, (1, 2)))
