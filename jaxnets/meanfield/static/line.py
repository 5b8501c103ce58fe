"""The line right of which outliers are sought: guesses of them by integrals along it, and how many there are.

See `outliers` for D(z) = det(1 - M(z)), whose zeros outliers are.
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


class Line(eqx.Module):
    """Points z = start + length (1 + w) / (1 - w) of a vertical line, Im z > 0, |w| = 1, with 1 - M there."""

    start: Float[Array, ""]
    length: Float[Array, ""]
    w: Complex[Array, " n"]
    z: Complex[Array, " n"]
    matrix: Complex[Array, "n m m"]
    at_start: Complex[Array, "m m"]  # 1 - M where the line meets the real axis
    outside: Bool[Array, ""]  # that all points lie outside of the bulk, without which there is no telling


_POINTS = 128


def half_plane(state: StaticState, gains: Discrete, edge: Float[Array, ""]) -> Line:
    """The line from which on outliers are sought."""
    # Not left of 0, where eigenvalues decide nothing: then rays from 0 lead to all points without crossing the bulk.
    first = jnp.maximum(edge, 0)
    start = first + jnp.where(first < 1, jnp.minimum(0.05, (1 - first) / 2), 0.05)
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
    """Where D may vanish: right of the line, by integrals along it; anywhere, if M falls as 1 / z."""
    inverse = jnp.linalg.inv(line.matrix)
    # The lower half of the circle is the complex conjugate of the upper one.
    A = [jnp.mean((line.w ** (p + 1))[:, None, None] * inverse, axis=0).real for p in range(4)]
    low, high = jnp.block([[A[0], A[1]], [A[1], A[2]]]), jnp.block([[A[1], A[2]], [A[2], A[3]]])
    # As many eigenvalues as `low` has directions are zeros w of D, the others are 0.
    w = eigenvalues(finite(jnp.linalg.pinv(finite(low), rtol=1e-8) @ high))
    right = as_complex(line.start) + as_complex(line.length) * (1 + w) / (1 - w)

    M = one_less(line.at_start)
    anywhere = as_complex(line.start) * eigenvalues(finite(M.real))
    # An eigenvalue 0 is no outlier, but a combination of order parameters that does not act back.
    return jnp.concatenate([right, jnp.where(jnp.abs(anywhere) > 1e-6, anywhere, jnp.nan)])


def number_missed(line: Line, z: Complex[Array, " k"], order: Float[Array, " k"]) -> Int[Array, ""]:
    """The zeros of D right of the line beside the known ones, z (NaN where there is none) of these orders.

    The winding number of D along the line with these divided out; -1 if its phase is not resolved.
    """
    # Each zero is moved to the left, where it does not count: next to the line it would hide what the phase does there.
    left = as_complex(line.start - line.length)
    known = ~jnp.isnan(z.real)
    ratio = (line.z[:, None] - left) / (line.z[:, None] - jnp.where(known, z, left)[None])
    phase = jnp.angle(jnp.linalg.det(line.matrix)) + jnp.angle(ratio) @ jnp.where(known, order, 0)
    # All around: from above down the line, its conjugate below.
    around = jnp.concatenate([phase, -phase[::-1]])
    turns = (jnp.roll(around, -1) - around) / (2 * jnp.pi)
    turns = turns - jnp.round(turns)
    resolved = line.outside & jnp.all(jnp.abs(turns) < 0.25)
    zeros = jnp.round(jnp.sum(jnp.where(resolved, turns, 0))).astype(int)
    return jnp.where(resolved, jnp.maximum(zeros, -1), -1)
