r"""A vertical line right of the bulk: guesses of the outliers beyond it, and how many of them there are.

Outliers are zeros of D(z) = det(1 - M(z)), see `outliers`. Right of the bulk D is holomorphic, and D = 1 at infinity.
So the integrals of w^p / (1 - M) along the line, where w maps the half-plane on a disc, give guesses of all zeros
(Beyn 2012), and the phase of D winds once around 0 for each zero (Nyquist's criterion), which counts them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from ..._laws import Discrete
from ..._numerics import as_complex
from ...eigen import eigenvalues
from .outliers import one_less, order_parameter_map, response_at
from .state import StaticState

# Points of the upper half of the line. Their number limits the guesses alone: a phase that turns faster than they
# resolve is reported.
_POINTS = 128
# The line lies this far right of the edge, or half way between edge and 1 where that is nearer. M is smooth there, and
# all that is missed lies left of 1.
_AHEAD = 0.05
# Directions of the moment matrix with less than this part of its largest singular value are rounding errors.
_RANK = 1e-8
# Guesses this close to 0 are combinations of order parameters that do not act back, not outliers.
_NO_OUTLIER = 1e-6
# The largest turn of the phase between two points, in full turns, at which its direction is certain.
_LARGEST_TURN = 0.25


class Line(eqx.Module):
    """Points z = start + length (1 + w) / (1 - w) of a vertical line, |w| = 1, and 1 - M(z) there.

    Only points with Im z > 0 are held: the others are their complex conjugates.
    """

    start: Float[Array, ""]
    length: Float[Array, ""]
    w: Complex[Array, " n"]
    z: Complex[Array, " n"]
    matrix: Complex[Array, "n m m"]
    at_start: Complex[Array, "m m"]  # 1 - M where the line meets the real axis
    outside: Bool[Array, ""]  # whether all points lie outside of the bulk: if not, nothing can be counted


def half_plane(state: StaticState, gains: Discrete, edge: Float[Array, ""]) -> Line:
    """A line a little right of the ``edge`` of the bulk; outliers are sought beyond it."""
    # Not left of 0, where no eigenvalue decides stability. Then no ray from 0 to a point of the line crosses the bulk.
    first = jnp.maximum(edge, 0)
    start = first + jnp.where(first < 1, jnp.minimum(_AHEAD, (1 - first) / 2), _AHEAD)
    length = jnp.maximum(start, 1)
    angle = (jnp.arange(_POINTS, dtype=edge.dtype) + 0.5) * jnp.pi / _POINTS
    w = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    z = jax.lax.complex(jnp.full_like(angle, start), length / jnp.tan(angle / 2))

    def at(z):
        t, outside = response_at(state.problem.ensemble, gains, z)
        return one_less(order_parameter_map(state, gains, z, t)), outside

    matrices, outside = jax.vmap(at)(jnp.append(z, as_complex(start)))
    return Line(start, length, w, z, matrices[:-1], matrices[-1], jnp.all(outside))


def guesses(line: Line) -> Complex[Array, " k"]:
    """Guesses of zeros of D: those right of the line, and those anywhere if M were to fall as 1 / z."""
    inverse = jnp.linalg.inv(line.matrix)
    # The lower half of the circle is the complex conjugate of the upper one.
    A = [jnp.mean((line.w ** (p + 1))[:, None, None] * inverse, axis=0).real for p in range(4)]
    low, high = jnp.block([[A[0], A[1]], [A[1], A[2]]]), jnp.block([[A[1], A[2]], [A[2], A[3]]])
    # As many eigenvalues as `low` has directions are zeros w of D, the others are 0.
    w = eigenvalues(_finite(jnp.linalg.pinv(_finite(low), rtol=_RANK) @ high))
    right = as_complex(line.start) + as_complex(line.length) * (1 + w) / (1 - w)

    M = one_less(line.at_start)
    anywhere = as_complex(line.start) * eigenvalues(_finite(M.real))
    return jnp.concatenate([right, jnp.where(jnp.abs(anywhere) > _NO_OUTLIER, anywhere, jnp.nan)])


def number_missed(line: Line, z: Complex[Array, " k"], order: Float[Array, " k"]) -> Int[Array, ""]:
    """How many zeros D has right of the line beside the known zeros z, of these orders; NaN stands for no zero.

    It is the winding number of D along the line, divided by its known factors. -1 if the phase is not resolved.
    """
    # Known zeros are moved to the left of the line, where they do not count. To divide them out alone would leave a
    # phase that turns at infinity.
    left = as_complex(line.start - line.length)
    known = ~jnp.isnan(z.real)
    ratio = (line.z[:, None] - left) / (line.z[:, None] - jnp.where(known, z, left)[None])
    phase = jnp.angle(jnp.linalg.det(line.matrix)) + jnp.angle(ratio) @ jnp.where(known, order, 0)
    # From above down the line, then its complex conjugate below the real axis.
    around = jnp.concatenate([phase, -phase[::-1]])
    turns = (jnp.roll(around, -1) - around) / (2 * jnp.pi)
    turns = turns - jnp.round(turns)
    resolved = line.outside & jnp.all(jnp.abs(turns) < _LARGEST_TURN)
    zeros = jnp.round(jnp.sum(jnp.where(resolved, turns, 0))).astype(int)
    return jnp.where(resolved, jnp.maximum(zeros, -1), -1)


def _finite(a: Array) -> Array:
    """0 in place of a matrix with NaN, which decompositions do not take. All guesses are checked later."""
    return jnp.where(jnp.all(jnp.isfinite(a)), a, jnp.zeros_like(a))
