r"""Edges of the support of J G: the rightmost point, where it meets a given value, and all crossings of the real axis.

Each is a root of the equations of `outside`, found on lines of the zeta plane where m crosses 1, and made exact and
differentiable by Newton's method. To add another kind of edge, bracket it with `image`, then polish it with
`_edge_equations`.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import Root, as_complex, bisect, find_root, frozen, is_concrete, polish_root
from .._results import Result
from ..couplings import Ensemble
from . import tolerances
from .inside import inner_void
from .outside import extent, image, slope


class Edge(Result):
    """The rightmost point z of the support and its zeta, with the residual of the edge equations there."""

    z: Complex[Array, ""]
    zeta: Complex[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def rightmost(ensemble: Ensemble, gains: Discrete) -> Edge:
    """The point of the support with the largest real part (of a conjugate pair, the one with Im z >= 0).

    Newton's method from the best crossing of m = 1 on a family of horizontal lines in the zeta plane, on

        zeta <G / (z - G r)> = 1,   m = 1,   d m / d Im z = 0,

    where the last is replaced by Im zeta = 0 if that crossing is on the real axis. Differentiable in every float of
    the ensemble and of the gains. Where the eigenvalues of a core of few modes come arbitrarily close to 0, so does
    the support, and has no regular edge there: the edge is then the point 0, without a derivative.
    """
    start, on_axis = _edge_guess(*frozen((ensemble, gains)))

    def equations(y, args):
        ensemble, gains = args
        return _edge_equations(ensemble, gains, y, on_axis)

    # The guess is close enough for Newton's method as it is; off the axis it starts between two lines.
    root = polish_root(equations, start, (ensemble, gains), num_steps=tolerances.EDGE_STEPS)
    y = root.value
    fixed = frozen((ensemble, gains))
    reach = extent(*fixed)
    # The crossing next to such a pole is as close to 0 as the halving is fine.
    at_zero = _touches_zero(*fixed) & ~(start[2] > tolerances.EDGE_AT_ZERO * reach)
    # The guess is a point of the edge: where Newton's method ends to its left, it left for another tangent.
    kept = y[2] > start[2] - tolerances.KEPT * reach
    return Edge(
        jnp.where(at_zero, 0, jax.lax.complex(y[2], y[3])),
        jnp.where(at_zero, 0, jax.lax.complex(y[0], y[1])),
        jnp.where(at_zero, 0, root.residual),
        at_zero | (root.converged & kept),
    )


def _touches_zero(ensemble: Ensemble, gains: Discrete) -> Bool[Array, ""]:
    """Whether poles reach zeta = 0, which maps to z = 0, while m < 1 right beside it."""
    reach = extent(ensemble, gains)
    beside = image(ensemble, gains, as_complex(tolerances.BESIDE_ZERO * reach))
    return _pole_at_zero(ensemble, reach) & (beside.m < 1)


def _pole_at_zero(ensemble: Ensemble, reach: Float[Array, ""]) -> Bool[Array, ""]:
    return jnp.any(jnp.abs(ensemble.poles()) < tolerances.POLE_AT_ZERO * reach)


def critical(
    ensemble_at: Callable[[Float[Array, ""]], Ensemble],
    gains: Discrete,
    guess: Float[Array, ""],
    edge: Float[Array, ""],
) -> Root:
    """The p near ``guess`` with Re z = ``edge`` for the rightmost point z of ``ensemble_at(p)``.

    Newton's method for p together with the edge at p. It counts as converged only if the point it followed is still
    the rightmost one.
    """
    start, on_axis = _edge_guess(*frozen((ensemble_at(guess), gains)))

    def equations(y, args):
        ensemble_at, gains, edge = args
        return jnp.append(_edge_equations(ensemble_at(y[4]), gains, y[:4], on_axis), y[2] / edge - 1)

    args = (ensemble_at, gains, edge)
    root = polish_root(equations, find_root(equations, jnp.append(start, guess), args), args)
    p = root.value[4]
    final, _ = _edge_guess(*frozen((ensemble_at(p), gains)))
    return Root(p, root.residual, root.converged & (jnp.abs(final[2] - edge) < tolerances.FOLLOWED * jnp.abs(edge)))


def _edge_guess(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, " 4"], Bool[Array, ""]]:
    """(Re zeta, Im zeta, Re z, Im z) close to the rightmost point, and whether that is on the real axis."""
    zeta, on_axis = _best_crossing(ensemble, gains)
    z = image(ensemble, gains, zeta).z
    return jnp.stack([zeta.real, zeta.imag, z.real, z.imag]), on_axis


def _edge_equations(ensemble, gains, y, on_axis):
    """Zero at a vertical tangent of the boundary: zeta <G / (z - G r)> = 1, m = 1 and dm / d Im z = 0."""
    zeta, z = jax.lax.complex(y[0], y[1]), jax.lax.complex(y[2], y[3])
    at = slope(ensemble, gains, zeta, z)
    size = jax.lax.stop_gradient(jnp.abs(zeta) + jnp.sqrt(ensemble.variance()))
    steepness = jax.lax.stop_gradient(size * jnp.abs(at.gradient))
    # The sine between boundary and vertical, as zeta moves by i / (dz/dzeta) when z moves upwards.
    lean = (jnp.conj(at.gradient * at.dz) * 1j).real / (jnp.abs(at.gradient) * jnp.abs(at.dz))
    tilt = jax.lax.stop_gradient(jnp.abs(lean))
    # As distances over the size: close to poles m is steep and uncertain. Re z is off by the square of the lean only.
    misses = [
        *(jax.lax.stop_gradient(jnp.abs(zeta)) / size * part for part in (at.error.real, at.error.imag)),
        (at.m - 1) / jnp.maximum(1, steepness),
        jnp.where(on_axis, y[1] / size, lean * jnp.maximum(tilt, tolerances.LEAST_LEAN)),
    ]
    return jnp.stack(misses)


def _best_crossing(ensemble, gains):
    """zeta on m = 1 with about the largest Re z, and whether it lies on the real axis.

    One line through each of the rightmost poles, which starts inside since m diverges there, and lines at heights
    that crowd towards the real axis, which start inside only if the halving says so.
    """
    poles, reach = ensemble.poles(), extent(ensemble, gains)
    right, top = jnp.max(poles.real), jnp.max(poles.imag) + reach
    above = jnp.where(poles.imag >= 0, poles.real, -jnp.inf)
    poles = poles[jnp.argsort(-above)[: tolerances.RIGHTMOST_POLES]]
    levels = top * jnp.linspace(0, 1, tolerances.HEIGHTS, dtype=top.dtype) ** 2
    start = jnp.concatenate([jax.lax.complex(jnp.full_like(levels, right), levels), poles])
    end = jax.lax.complex(jnp.full_like(start.real, right + 1.01 * reach), start.imag)
    state = jax.vmap(lambda zeta: image(ensemble, gains, zeta))
    inner, outer = bisect(lambda zeta, _: ~(state(zeta).m < 1), start, end, None, tolerances.HALVINGS)
    at = state(outer)
    # A line has met support if it starts in it, as lines through poles do, or if a halving moved its inner end. A line
    # without support is halved down to its start, and one that ends in support has m > 1 at its end.
    met = (jnp.arange(start.shape[0]) >= tolerances.HEIGHTS) | (inner != start)
    crossed = met & (at.m < 1) & (at.m > 0.5)
    position = jnp.where(crossed, at.z.real, -jnp.inf)
    best = jnp.argmax(position)
    # Where the whole edge has one real part (s = -1), rounding must not choose a point off the axis.
    axis = position[0] >= position[best] - tolerances.ON_AXIS * reach
    return jnp.where(axis, outer[0], outer[best]), axis


# --- crossings of the real axis -------------------------------------------------------------------------------


def real_crossings(ensemble: Ensemble, gains: Discrete, most: int) -> Float[Array, " k"]:
    """Where the boundary crosses the real axis, by size; NaN where the equations do not converge.

    With traced arguments k = `most` + 2, for crossings in the plane of zeta and the ends of the inner void of singular
    modes: NaN after the last crossing, and all NaN if `most` are too few.
    """
    zeta, inside = _real_axis(*frozen((ensemble, gains)))
    changes = inside[1:] != inside[:-1]
    centre, radius = inner_void(ensemble, gains)
    void = centre + jnp.stack([-radius, radius])
    if is_concrete(ensemble, gains):
        index = np.flatnonzero(changes)
        # Slots in powers of two, so that few sizes are compiled.
        slots = np.resize(index, 2 ** max(index.size - 1, 1).bit_length())
        found = _crossings(ensemble, gains, zeta[slots], zeta[slots + 1])[: index.size]
        return jnp.sort(jnp.concatenate([found, void]) if radius > 0 else found)
    index, count = jnp.nonzero(changes, size=most, fill_value=0)[0], jnp.sum(changes)
    # Slots without a crossing repeat the first one, because even unused derivatives must be finite.
    taken = jnp.arange(most) < count
    index = jnp.where(taken, index, index[0])
    found = jnp.where(taken, _crossings(ensemble, gains, zeta[index], zeta[index + 1]), jnp.nan)
    found = jnp.concatenate([found, jnp.where(radius > 0, void, jnp.nan)])
    return jnp.where(count <= most, jnp.sort(found), jnp.nan)  # NaN sorts last


@eqx.filter_jit
def _real_axis(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Points zeta of the real axis by size, from outside to outside, and which of them have m >= 1."""
    poles, reach = ensemble.poles(), extent(ensemble, gains)
    left, right = jnp.min(poles.real) - 1.01 * reach, jnp.max(poles.real) + 1.01 * reach
    # Off a rational part of the interval, so that no real pole is a point of the grid by chance.
    share = (jnp.arange(tolerances.AXIS_POINTS, dtype=reach.dtype) + 0.37) / tolerances.AXIS_POINTS
    beyond = reach * tolerances.BEYOND ** jnp.arange(1, 7, dtype=reach.dtype)
    grid = jnp.sort(jnp.concatenate([left - beyond, left + (right - left) * share, right + beyond]))
    inside = ~(jax.lax.map(lambda zeta: image(ensemble, gains, as_complex(zeta)).m, grid, batch_size=512) < 1)
    # Each real pole is a point of its own: m diverges there, however thin the support is around it.
    real = jnp.abs(poles.imag) < tolerances.POLE_AT_ZERO * reach
    grid = jnp.concatenate([grid, jnp.where(real, poles.real, grid[0])])
    inside = jnp.concatenate([inside, real])
    order = jnp.argsort(grid)
    return grid[order], inside[order]


@eqx.filter_jit
@functools.partial(jax.vmap, in_axes=(None, None, 0, 0))
def _crossings(ensemble: Ensemble, gains: Discrete, low: Float[Array, ""], high: Float[Array, ""]) -> Float[Array, ""]:
    """The real z at the crossing of m = 1 between two real points zeta on its two sides, NaN if it is not found."""
    fixed = frozen((ensemble, gains))
    at = lambda zeta: image(*fixed, zeta=as_complex(zeta))
    is_inside = lambda zeta: ~(at(zeta).m < 1)
    low, high = bisect(lambda zeta, _: is_inside(zeta) == is_inside(low), low, high, None, tolerances.CROSSING_HALVINGS)
    zeta = jnp.where(is_inside(low), high, low)  # the side on which z is known
    start = jnp.stack([zeta, 0 * zeta, at(zeta).z.real, 0 * zeta])

    def equations(y, args):
        ensemble, gains = args
        return _edge_equations(ensemble, gains, y, jnp.array(True))

    reach = extent(*fixed)
    at_zero = _pole_at_zero(ensemble, reach) & (jnp.abs(start[2]) < tolerances.CROSSING_AT_ZERO * reach)
    root = polish_root(equations, start, (ensemble, gains))
    kept = root.converged & (jnp.abs(root.value[0] - zeta) < tolerances.CROSSING_KEPT * reach)
    return jnp.where(at_zero, 0, jnp.where(kept, root.value[2], jnp.nan))
