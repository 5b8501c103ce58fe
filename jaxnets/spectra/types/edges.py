r"""The rightmost point of the support, for units with types or time constants.

Lines of constant Im z are searched from the right, along which t follows z. The best crossing of m = 1 is made exact,
with t and Re z as unknowns, so that it stays regular where J is symmetric and t has a branch point on the edge. Along
the boundary, Im z then moves to where Re z is largest.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from ..._numerics import as_complex, frozen, polish_root, solve_few
from ..._results import Result
from ...couplings import Ensemble
from .. import tolerances
from .outside import Look, conditions, look, r_and_kappa, spectral_radius
from .units import Units


class TypedEdge(Result, axes={"K": "type"}):
    """The rightmost point z of the support and t there, with the residual of the edge equations."""

    z: Complex[Array, ""]
    t: Complex[Array, " K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Box(NamedTuple):
    """The smallest and largest Re z, and largest Im z, between which the support is sought."""

    left: Float[Array, ""]
    right: Float[Array, ""]
    top: Float[Array, ""]


def rightmost(ensemble: Ensemble, units: Units, sign: Float[Array, ""]) -> TypedEdge:
    """The point of the support with the largest real part for sign A; of a conjugate pair, the one with Im z >= 0.

    Differentiable in every float of the ensemble and the units: Re z to first order, and to any order where the point
    is real. To first order Re z does not depend on where along the boundary it is read.
    """
    law = sign * ensemble, units.mirrored(sign)
    fixed = frozen(law)
    guess, size = _best_crossing(*fixed)
    near, height = _highest(fixed, guess)
    root = polish_root(_edge_equations, near, (*law, height))
    x, t = root.value[0], jax.lax.complex(*jnp.split(root.value[1:], 2))
    kept = frozen(x) > guess.x - tolerances.KEPT * size
    return TypedEdge(jax.lax.complex(x, height), t, root.residual, root.converged & kept & guess.found)


class _Line(NamedTuple):
    """A line of constant Im z: the leftmost point x that was reached outside the support, and its t.

    `inner` is a point inside the support, where one was found.
    """

    x: Float[Array, ""]
    t: Complex[Array, " K"]
    inner: Float[Array, ""]
    found: Bool[Array, ""]
    height: Float[Array, ""]


def frame(ensemble: Ensemble, units: Units) -> Box:
    """Bounds of the support, from its size where all is explicit, widened until m < 1 on three sides."""
    zero = as_complex(jnp.zeros_like(units.fractions))
    _, kappa = r_and_kappa(ensemble, units.fractions, zero)
    reach = 2 * (jnp.sqrt(spectral_radius(kappa)) + jnp.max(jnp.abs(ensemble.poles())))
    reach = reach * jnp.max(jnp.abs(units.gains))

    def box(reach):
        right = jnp.max((reach - units.decay) / units.tau)
        return Box(jnp.min((-reach - units.decay) / units.tau), right, jnp.max(reach / units.tau))

    def is_free(reach):
        left, right, top = box(reach)
        share = jnp.linspace(0, 1, tolerances.FRAME_POINTS, dtype=reach.dtype)
        x = jnp.concatenate([jnp.full_like(share, left), jnp.full_like(share, right), left + (right - left) * share])
        y = jnp.concatenate([top * share, top * share, jnp.full_like(share, top)])
        near = as_complex(jnp.zeros_like(units.fractions))
        at = jax.vmap(lambda z: look(ensemble, units, z, near, tolerances.T_STEPS))(jax.lax.complex(x, y))
        return jnp.all(_is_outside(at))

    reaches = reach * tolerances.BEYOND ** jnp.arange(4, dtype=reach.dtype)
    free = jax.lax.map(is_free, reaches)
    beyond = jnp.flip(jnp.cumprod(jnp.flip(free.astype(int))))  # this reach and all larger ones
    return box(reaches[jnp.argmax(beyond)])


def _is_outside(at: Look) -> Bool[Array, "..."]:
    return (at.m < 1) & (at.miss < tolerances.T_MISS)


def _best_crossing(ensemble: Ensemble, units: Units) -> tuple[_Line, Float[Array, ""]]:
    """The line that meets the support furthest to the right, the real axis if none beats it, and the size of all."""
    left, right, top = frame(ensemble, units)
    heights = top * jnp.linspace(0, 1, tolerances.LINES, dtype=top.dtype) ** 2
    lines = jax.vmap(lambda y: _first_crossing(ensemble, units, y, left, right))(heights)
    position = jnp.where(lines.found, lines.x, -jnp.inf)
    best = jnp.argmax(position)
    best = jnp.where(position[0] >= position[best] - tolerances.ON_AXIS * (right - left), 0, best)
    return jax.tree.map(lambda leaf: leaf[best], lines), right - left


def _first_crossing(ensemble, units, y, left, right) -> _Line:
    """The first crossing of m = 1 on a line, from the right.

    Steps go to where 1/sqrt(m) = 1 on its tangent, which is exact around one disc. They are halvings where a
    point inside is known and closer. A point next to a wrong one, from which t could not be followed, takes its place.
    """
    longest = (right - left) / tolerances.LINE_CELLS

    def step(carry):
        count, line, (m, slope, dt) = carry
        level, by_x = 1 / jnp.sqrt(m) - 1, -slope / (2 * m * jnp.sqrt(m))
        ahead = jnp.where(by_x > 0, level / jnp.where(by_x > 0, by_x, 1), jnp.inf)
        halved = (line.x - line.inner) / 2
        newton = jnp.where(ahead < 1.5 * halved, ahead, halved)  # a step to the point inside would come again
        length = jnp.where(line.found, newton, jnp.minimum(jnp.minimum(ahead, longest), line.x - left))
        length = jnp.where(count == 0, 0, length)  # t far outside is found from 0
        x = line.x - length
        at = look(ensemble, units, jax.lax.complex(x, y), line.t - as_complex(length) * dt, tolerances.LINE_T_STEPS)
        outside = _is_outside(at)
        new = _Line(x, at.t, line.inner, line.found, y)
        line = jax.tree.map(lambda a, b: jnp.where(outside, a, b), new, line)
        known = tuple(
            jnp.where(outside, a, b) for a, b in zip((at.m, at.gradient.real, at.slope), (m, slope, dt), strict=True)
        )
        inner, found = jnp.where(outside, line.inner, x), line.found | ~outside
        wrong = (line.x - inner < tolerances.ON_AXIS * longest) & (known[0] < tolerances.FAR_FROM_EDGE)
        return count + 1, line._replace(inner=jnp.where(wrong, left, inner), found=found & ~wrong), known

    def unfinished(carry):
        count, line, (m, *_) = carry
        done = (m > 1 - tolerances.ON_AXIS) & (count > 1) | (line.x <= left)
        return ~done & (count < tolerances.LINE_STEPS)

    near = units.mean(as_complex(units.gains) / units.zeta(jax.lax.complex(right, y)))
    first = _Line(right, near, left, jnp.zeros((), bool), y), (jnp.ones_like(y), jnp.zeros_like(y), 0 * near)
    _, line, (m, *_) = jax.lax.while_loop(unfinished, step, (0, *first))
    return line._replace(found=m > tolerances.FAR_FROM_EDGE)


def _edge_equations(y: Float[Array, " 2K+1"], args: tuple[Ensemble, Units, Float[Array, ""]]) -> Float[Array, " 2K+1"]:
    """Zero at a point of the boundary: m = 1, and the equations of t; y holds Re z, Re t and Im t, args Im z."""
    ensemble, units, height = args
    z, t = jax.lax.complex(y[0], height), jax.lax.complex(*jnp.split(y[1:], 2))
    error, m = conditions(ensemble, units, z, t)
    return jnp.concatenate([jnp.stack([m - 1]), error.real, error.imag])


def _highest(law: tuple[Ensemble, Units], guess: _Line) -> tuple[Float[Array, " 2K+1"], Float[Array, ""]]:
    """The rightmost point near the guess and its Im z, by secants of dx / d Im z along the boundary; 0 stays."""

    def newton(height):
        def step(_, carry):
            y, _ = carry
            at = lambda y, height: (_edge_equations(y, (*law, height)),) * 2
            (by_y, by_height), value = jax.jacfwd(at, argnums=(0, 1), has_aux=True)(y, height)
            both = jax.vmap(lambda column: solve_few(by_y, column))(jnp.stack([value, by_height]))
            return y - both[0], -both[1]

        return step

    def step(carry):
        y, height, before, _, count = carry
        y, moved = jax.lax.fori_loop(0, tolerances.T_STEPS, newton(height), (y, jnp.zeros_like(y)))
        apart = height - before[0]
        curvature = (moved[0] - before[1]) / jnp.where(apart == 0, 1, apart)
        limit = 2 * jnp.abs(apart)
        change = jnp.where(curvature < 0, jnp.clip(-moved[0] / curvature, -limit, limit), jnp.sign(moved[0]) * limit)
        change = jnp.where(count == 0, tolerances.FIRST_LENGTH * height, change)
        new = jnp.abs(height + change)
        done = jnp.abs(new - height) <= tolerances.HEIGHT_STEP * height
        return y + moved * (new - height), new, (height, moved[0]), done, count + 1

    start = jnp.concatenate([jnp.stack([guess.x]), guess.t.real, guess.t.imag])
    zero, none = jnp.zeros_like(guess.height), jnp.zeros((), bool)
    unfinished = lambda carry: ~carry[3] & (carry[4] < tolerances.HEIGHT_STEPS)
    found = jax.lax.while_loop(unfinished, step, (start, guess.height, (zero, zero), none, 0))
    return frozen(found[:2])
