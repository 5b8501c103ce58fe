r"""The rightmost point of the support, for units with types or time constants.

Lines of constant Im z are searched from the right, along which t follows z. The best crossing of m = 1 is made exact,
with t and Re z as unknowns, so that it stays regular where J is symmetric and t has a branch point on the edge. Along
the boundary, Im z then moves to where Re z is largest.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from ..._numerics import as_complex, as_program, frozen, in_batches, in_parts, is_concrete, polish_root, solve_few
from ..._numerics.host import from_host, namespace, on_host, plane, repeated
from ..._results import Result
from ...couplings import Ensemble
from .. import tolerances
from .outside import Look, conditions, look, look_along, r_and_kappa, spectral_radius
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


@in_parts
def rightmost(ensemble: Ensemble, units: Units, sign: Float[ArrayLike, ""]) -> TypedEdge:
    """The point of the support with the largest real part for sign A; of a conjugate pair, the one with Im z >= 0.

    Differentiable in every float of the ensemble and the units: Re z to first order, and to any order where the point
    is real. To first order Re z does not depend on where along the boundary it is read.
    """
    if is_concrete(ensemble, units):
        return _rightmost_from_host(ensemble, units, sign)
    sign = jnp.asarray(sign)
    law = sign * ensemble, units.mirrored(sign)
    fixed_ensemble, fixed_units = fixed = frozen(law)

    def looks(z, near):
        at = lambda z, near: look_along(fixed_ensemble, fixed_units, z, near, tolerances.T_STEPS)
        return jax.vmap(at)(z, near)

    guess, size = _best_crossing(looks, _first_reach(fixed_ensemble, fixed_units), fixed_units)
    start = jnp.concatenate([guess.x[None], guess.t.real, guess.t.imag])
    near, height = frozen(_highest(functools.partial(_along_boundary, fixed), start, guess.height))
    root = polish_root(_edge_equations, near, (*law, height), num_steps=tolerances.TYPED_EDGE_STEPS)
    x, t = root.value[0], jax.lax.complex(*jnp.split(root.value[1:], 2))
    kept = frozen(x) > guess.x - tolerances.LINE_END * size
    return TypedEdge(jax.lax.complex(x, height), t, root.residual, root.converged & kept & guess.found)


def _rightmost_from_host(ensemble: Ensemble, units: Units, sign: Any) -> TypedEdge:
    """`rightmost` of one concrete law, whose spectrum is mirrored for the sign -1, by a few small programs."""
    sign = np.asarray(sign)
    mirrored = eqx.tree_at(lambda units: units.decay, units, sign * np.asarray(units.decay))
    looks = functools.partial(looks_from_host, (ensemble, units), sign)
    guess, size = _best_crossing(looks, reach_from_host(ensemble, units), on_host(mirrored))

    def along(y, height):
        y, moved = on_host(_along_boundary_alone((ensemble, units), sign * y, sign * height))
        return sign * y, moved

    start = np.concatenate([guess.x[None], guess.t.real, guess.t.imag])
    near, height = _highest(along, start, guess.height)
    args = (ensemble, units, np.asarray(sign * height))
    found = polish_root(_edge_equations, sign * near, args, num_steps=tolerances.TYPED_EDGE_STEPS)
    y, residual = sign * np.asarray(found.value), np.asarray(found.residual)
    kept = y[0] > guess.x - tolerances.LINE_END * size
    converged = np.asarray(bool(found.converged) & bool(kept) & bool(guess.found))
    t = plane(*np.split(y[1:], 2))
    return TypedEdge(*from_host((np.asarray(plane(y[0], height)), t, residual, converged)))


def looks_from_host(law: tuple[Ensemble, Units], sign: Any, z: Any, near: Any) -> Look:
    """`look` at concrete points of sign A, as NumPy arrays."""
    at = _look_many(law, (sign * z, sign * near), tolerances.FEW)
    return at._replace(t=sign * at.t, gradient=sign * at.gradient)


@in_batches
def _look_many(law: tuple[Ensemble, Units], rows):
    return jax.vmap(lambda z, near: look(*law, z, near, tolerances.T_STEPS))(*rows)


class _Line(NamedTuple):
    """Lines of constant Im z: the leftmost point x that was reached outside the support, and its t.

    `inner` is a point inside the support, where one was found. The next step is no longer than `longest`.
    """

    x: Float[Array, " l"]
    t: Complex[Array, "l K"]
    inner: Float[Array, " l"]
    found: Bool[Array, " l"]
    longest: Float[Array, " l"]
    height: Float[Array, " l"]


def _first_reach(ensemble: Ensemble, units: Units) -> Float[Array, ""]:
    """Twice the radius of the support of J G, where all is explicit."""
    zero = as_complex(jnp.zeros_like(units.fractions))
    _, kappa = r_and_kappa(ensemble, units.fractions, zero)
    reach = 2 * (jnp.sqrt(spectral_radius(kappa)) + jnp.max(jnp.abs(ensemble.poles())))
    return reach * jnp.max(jnp.abs(units.gains))


_reach_alone = as_program(_first_reach)


def reach_from_host(ensemble: Ensemble, units: Units) -> np.ndarray:
    """The `reach` of a concrete law."""
    return np.asarray(_reach_alone(ensemble, units))


def frame(looks: Callable, reach: Float[Any, ""], units: Units) -> Box:
    """Bounds of the support, from its size where all is explicit, widened until m < 1 on three sides."""
    xp = namespace(reach)
    share = xp.linspace(0, 1, tolerances.FRAME_POINTS, dtype=reach.dtype)
    along, up = xp.concatenate([0 * share, 0 * share + 1, share]), xp.concatenate([share, share, 0 * share + 1])
    near = plane(0 * along[:, None] * units.fractions[None], 0 * along[:, None] * units.fractions[None])

    def box(reach):
        left, right = ((-reach - units.decay) / units.tau).min(), ((reach - units.decay) / units.tau).max()
        return Box(left, right, (reach / units.tau).max())

    def wider(carry):
        reach, _, count = carry
        reach = xp.where(count > 0, tolerances.BEYOND * reach, reach)
        left, right, top = box(reach)
        z = plane(left + (right - left) * along, top * up)
        return reach, _is_outside(looks(z, near)).all(), count + 1

    start = reach, reach < 0, 0
    unfinished = lambda carry: ~carry[1] & (carry[2] < tolerances.FRAMES)
    return box(repeated(wider, unfinished, start, numpy=xp is np)[0])


def _is_outside(at: Look) -> Bool[Any, "..."]:
    return (at.m < 1) & (at.miss < tolerances.T_MISS)


def _best_crossing(looks: Callable, reach: Float[Any, ""], units: Units) -> tuple[_Line, Float[Any, ""]]:
    """The line that meets the support furthest to the right, the real axis if none beats it, and the size of all."""
    xp = namespace(reach)
    box = frame(looks, reach, units)
    heights = box.top * xp.linspace(0, 1, tolerances.LINES, dtype=reach.dtype) ** 2
    lines = _first_crossings(looks, units, heights, box)
    position = xp.where(lines.found, lines.x, -xp.inf)
    best = xp.argmax(position)
    best = xp.where(position[0] >= position[best] - tolerances.ON_AXIS * (box.right - box.left), 0, best)
    return _Line(*(leaf[best] for leaf in lines)), box.right - box.left


def _first_crossings(looks: Callable, units: Units, y: Float[Any, " l"], box: Box) -> _Line:
    """The first crossing of m = 1 on each line, from the right.

    Steps go to where 1/sqrt(m) = 1 on its tangent, which is exact around one disc. They are halvings where a point
    inside is known and closer. The last step is taken without a look.
    """
    xp, left, size = namespace(y), box.left, box.right - box.left
    longest = size / tolerances.LINE_CELLS

    def ahead(line, m, slope):
        """The distance to where 1/sqrt(m) = 1 on its tangent."""
        level, by_x = 1 / xp.sqrt(m) - 1, -slope / (2 * m * xp.sqrt(m))
        return xp.where(by_x > 0, level / xp.where(by_x > 0, by_x, 1), xp.inf)

    def step(carry):
        count, line, (m, slope, dt) = carry
        halved, newton = (line.x - line.inner) / 2, ahead(line, m, slope)
        length = xp.minimum(xp.minimum(newton, line.longest), line.x - left)
        # Not again to the point inside.
        length = xp.where(line.found & (length > 1.5 * halved), halved, length)
        length = xp.where(count == 0, 0, length)  # t far outside is found from 0
        x = line.x - length
        at = looks(plane(x, y), line.t - plane(length, 0 * length)[:, None] * dt)
        known, going = at.miss < tolerances.T_MISS, unfinished(carry)
        outside, inside = known & (at.m < 1) & going, known & (at.m >= 1) & going
        # Where t could not be followed, steps get shorter.
        limit = xp.where(known, xp.minimum(2 * line.longest, longest), length / 4)
        new = _Line(x, at.t, line.inner, line.found, limit, y)
        line = _Line(*(_where(xp, outside, a, b) for a, b in zip(new, line, strict=True)))
        line = line._replace(
            inner=xp.where(inside, x, line.inner),
            found=line.found | inside,
            longest=xp.where(going, limit, line.longest),
        )
        facts = zip((at.m, at.gradient.real, at.slope), (m, slope, dt), strict=True)
        return count + 1, line, tuple(_where(xp, outside, a, b) for a, b in facts)

    def arrived(carry):
        count, line, (m, slope, _) = carry
        return (m > tolerances.FAR_FROM_EDGE) & (ahead(line, m, slope) < tolerances.LINE_END * size) & (count > 1)

    def unfinished(carry):
        count, line, _ = carry
        # Lines to the left of where another one has arrived are of no use.
        first = xp.where(arrived(carry), line.x, -xp.inf).max() - 2 * tolerances.LINE_END * size
        return ~(arrived(carry) | (line.x <= left) | (line.x < first)) & (count < tolerances.LINE_STEPS)

    right = 0 * y + box.right
    zeta = plane(units.decay + units.tau[None] * right[:, None, None], units.tau[None] * y[:, None, None])
    weights = units.weights * units.gains
    near = (plane(weights, 0 * weights)[None] / zeta).sum(-1)
    line = _Line(right, near, 0 * y + left, right < left, 0 * y + longest, y)
    carry = 0, line, (1 + 0 * y, 0 * y, 0 * near)
    carry = repeated(step, lambda carry: unfinished(carry).any(), carry, numpy=xp is np)
    _, line, (m, slope, dt) = carry
    found = arrived(carry) | (m > 1 - tolerances.ON_AXIS)
    length = xp.where(found, xp.minimum(ahead(line, m, slope), line.x - line.inner), 0)
    t = line.t - plane(length, 0 * length)[:, None] * dt
    return line._replace(x=line.x - length, t=t, found=found)


def _where(xp: Any, rows: Bool[Any, " l"], new, old):
    return xp.where(rows.reshape(rows.shape + (1,) * (new.ndim - 1)), new, old)


def _edge_equations(y: Float[Array, " 2K+1"], args: tuple[Ensemble, Units, Float[Array, ""]]) -> Float[Array, " 2K+1"]:
    """Zero at a point of the boundary: m = 1, and the equations of t; y holds Re z, Re t and Im t, args Im z."""
    ensemble, units, height = args
    z, t = jax.lax.complex(y[0], height), jax.lax.complex(*jnp.split(y[1:], 2))
    error, m = conditions(ensemble, units, z, t)
    return jnp.concatenate([jnp.stack([m - 1]), error.real, error.imag])


def crossing(ensemble: Ensemble, units: Units, x: Any, t: Any) -> float:
    """Where m = 1 on the real axis next to x, NaN where that is not found."""
    start: Any = np.concatenate([[x], t.real, t.imag])
    args = (ensemble, units, np.zeros_like(start[0]))
    root = polish_root(_edge_equations, start, args, num_steps=tolerances.TYPED_EDGE_STEPS)
    return float(root.value[0]) if root.converged else np.nan


def _along_boundary(law: tuple[Ensemble, Units], y: Float[Array, " 2K+1"], height: Float[Array, ""]):
    """A point of the boundary at Im z = `height` near y, by Newton's method, and its slope by the height."""

    def newton(_, carry):
        at = lambda point: (_edge_equations(point[:-1], (*law, point[-1])),) * 2
        slopes, value = jax.jacfwd(at, has_aux=True)(jnp.append(carry[0], height))
        both = jax.vmap(lambda column: solve_few(slopes[:, :-1], column))(jnp.stack([value, slopes[:, -1]]))
        return carry[0] - both[0], -both[1]

    return jax.lax.fori_loop(0, tolerances.T_STEPS, newton, (y, jnp.zeros_like(y)))


_along_boundary_alone = as_program(_along_boundary)


def _highest(along: Callable, y: Float[Any, " 2K+1"], height: Float[Any, ""]):
    """The rightmost point near y and its Im z, by secants of dx / d Im z along the boundary; 0 stays."""
    xp = namespace(height)

    def step(carry):
        y, height, before, _, count = carry
        y, moved = along(y, height)
        apart = height - before[0]
        curvature = (moved[0] - before[1]) / xp.where(apart == 0, 1, apart)
        limit = 2 * abs(apart)
        falling = curvature < 0
        change = xp.clip(-moved[0] / xp.where(falling, curvature, 1), -limit, limit)
        change = xp.where(falling, change, xp.sign(moved[0]) * limit)
        change = xp.where(count == 0, tolerances.FIRST_LENGTH * height, change)
        new = abs(height + change)
        done = abs(new - height) <= tolerances.HEIGHT_STEP * height
        return y + moved * (new - height), new, (height, moved[0]), done, count + 1

    unfinished = lambda carry: ~carry[3] & (carry[4] < tolerances.HEIGHT_STEPS)
    # On the axis there is nothing to do.
    start = y, height, (0 * height, 0 * height), height == 0, 0
    return repeated(step, unfinished, start, numpy=xp is np)[:2]
