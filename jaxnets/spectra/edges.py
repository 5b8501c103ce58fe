r"""Edges of the support of J G: the rightmost point, where it meets a given value, and all crossings of the real axis.

Each is a root of the equations of `outside`, found on lines of the zeta plane where m crosses 1, and made exact and
differentiable by Newton's method. To add another kind of edge, bracket it with `image`, then polish it with
`_edge_equations`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import (
    Root,
    as_complex,
    as_program,
    bisect,
    find_root,
    frozen,
    implicit_tangent,
    in_parts,
    is_concrete,
    iterate,
    polish_root,
)
from .._numerics.host import from_host, namespace, on_host, plane
from .._results import Result
from ..couplings import Ensemble
from . import tolerances
from .inside import inner_void
from .outside import Image, extent, halved, halved_from_host, image, image_and_slope, image_near, images, slope


class Edge(Result):
    """The rightmost point z of the support and its zeta, with the residual of the edge equations there."""

    z: Complex[Array, ""]
    zeta: Complex[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class _Tangent(NamedTuple):
    """A vertical tangent of the boundary."""

    zeta: Complex[Array, ""]
    z_real: Float[Array, ""]
    z_imag: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def rightmost(ensemble: Ensemble, gains: Discrete, sign: Float[ArrayLike, ""] = 1.0) -> Edge:
    """The point of the support with the largest real part (of a conjugate pair, the one with Im z >= 0).

    Newton's method from the best crossing of m = 1 on a family of horizontal lines in the zeta plane, on

        zeta <G / (z - G r)> = 1,   m = 1,   d m / d Im z = 0,

    where the last is replaced by Im zeta = 0 if that crossing is on the real axis. Differentiable in every float of
    the ensemble and of the gains. Where the eigenvalues of a core of few modes come arbitrarily close to 0, so does
    the support, and has no regular edge there: the edge is then the point 0, without a derivative. For `sign` J, where
    the sign is 1 or -1.
    """
    found = _rightmost(_tangent, ensemble, gains, sign)
    if is_concrete(found):
        found = on_host(found)
        return Edge(*from_host((plane(found.z_real, found.z_imag), found.zeta, found.residual, found.converged)))
    return Edge(jax.lax.complex(found.z_real, found.z_imag), found.zeta, found.residual, found.converged)


def largest_real(ensemble: Ensemble, gains: Discrete, sign: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Any]:
    """Re z of `rightmost`, and whether it was found. Its first derivatives need first derivatives of the law alone."""
    found = _rightmost(_real_part, ensemble, gains, sign)
    return found.z_real, found.converged


@in_parts
def _rightmost(find: Callable, ensemble: Ensemble, gains: Discrete, sign: Float[ArrayLike, ""]) -> _Tangent:
    if is_concrete(ensemble, gains):
        return _rightmost_from_host(ensemble, gains, sign)
    ensemble = jnp.asarray(sign, gains.weights.dtype) * ensemble
    fixed = frozen((ensemble, gains))
    poles, reach = _frame(*fixed)
    guess = _best_crossing(functools.partial(halved, *fixed, num_steps=tolerances.HALVINGS), poles, reach)
    found = find((guess.zeta, guess.z), (ensemble, gains, guess.on_axis))
    # The guess is a point of the edge: where Newton's method ends to its left, it left for another tangent.
    kept = found.converged & (found.z_real > guess.z.real - tolerances.KEPT * reach)
    found = jax.tree.map(lambda x: jnp.where(guess.at_zero, jnp.zeros_like(x), x), found)
    return found._replace(converged=guess.at_zero | kept)


def _rightmost_from_host(ensemble: Ensemble, gains: Discrete, sign: Any) -> _Tangent:
    """`_rightmost` of one concrete law: on the axis from images alone, off it by one small program."""
    ensemble = ensemble.padded()
    poles, reach = on_host(_framed(ensemble, gains))

    def narrow(start, end, num_steps=tolerances.HALVINGS) -> Any:  # the lines of -J are mirrored
        *ends, at = halved_from_host(ensemble, gains, sign * start, sign * end, num_steps)
        return *(sign * zeta for zeta in ends), Image(sign * at.z, at.m, sign * at.r)

    guess: Any = _best_crossing(narrow, sign * poles, reach)
    if guess.at_zero:
        zero = 0 * reach
        return _Tangent(*from_host((0 * guess.z, zero, zero, zero, np.array(True))))
    if guess.on_axis:
        found = _axis_crossing(lambda zeta: narrow(zeta, zeta, 0)[2], guess.inner.real, guess.zeta.real)
        zeta, z, residual = found.zeta + 0j, found.z.real + 0j, found.residual
    if not (guess.on_axis and residual <= _tolerance(reach.dtype)):  # or the image was not found at one end
        args: Any = (ensemble, gains, np.array(guess.on_axis))
        zeta, z, residual = on_host(_search_tangent((sign * guess.zeta, sign * guess.z), args))
        zeta, z = sign * zeta, sign * z
    converged = (residual <= _tolerance(reach.dtype)) & (z.real > guess.z.real - tolerances.KEPT * reach)
    residual = np.asarray(residual, reach.dtype)
    return _Tangent(*from_host((zeta, np.asarray(z.real), np.asarray(z.imag), residual, np.asarray(converged))))


@as_program
def _framed(ensemble, gains):
    return _frame(ensemble, gains)


def _frame(ensemble: Ensemble, gains: Discrete) -> tuple[Complex[Array, " k"], Float[Array, ""]]:
    """The poles, and the distance from them beyond which m < 1."""
    return ensemble.poles(), extent(ensemble, gains)


def _pole_at_zero(poles: Complex[Array, " k"], reach: Float[Array, ""]) -> Bool[Array, ""]:
    return (abs(poles) < tolerances.POLE_AT_ZERO * reach).any()


class _Guess(NamedTuple):
    """A point on m = 1 with about the largest Re z, one inside next to it, and whether it is real, or the point 0."""

    zeta: Complex[Array, ""]
    z: Complex[Array, ""]
    inner: Complex[Array, ""]
    on_axis: Bool[Array, ""]
    at_zero: Bool[Array, ""]


def _best_crossing(narrow: Callable, poles, reach) -> _Guess:
    """The best crossing of m = 1 on horizontal lines, which `narrow` halves as `halved`.

    One line through each of the rightmost poles, which starts inside since m diverges there, and lines at heights
    that crowd towards the real axis, which start inside only if the halving says so. The last line is one point, right
    beside 0: if m < 1 there, and poles reach 0, which maps to z = 0, so does the support.
    """
    xp = namespace(poles)
    right, top = poles.real.max(), poles.imag.max() + reach
    above = xp.where(poles.imag >= 0, poles.real, -xp.inf)
    rightmost_poles = poles[xp.argsort(-above, stable=True)[: tolerances.RIGHTMOST_POLES]]
    levels = top * xp.linspace(0, 1, tolerances.HEIGHTS, dtype=top.dtype) ** 2
    beside = tolerances.BESIDE_ZERO * reach
    x = xp.concatenate([xp.full_like(levels, right), rightmost_poles.real, beside[None]])
    y = xp.concatenate([levels, rightmost_poles.imag, 0 * beside[None]])
    end = xp.append(xp.full_like(x[:-1], right + 1.01 * reach), beside)
    start, end = plane(x, y), plane(end, y)

    inner, outer, at = narrow(start, end)
    # A line has met support if it starts in it, as lines through poles do, or if a halving moved its inner end. A line
    # without support is halved down to its start, and one that ends in support has m > 1 at its end.
    met = (xp.arange(x.shape[0]) >= tolerances.HEIGHTS) | (inner != start)
    # Where m is steep, its rounding is a part of it in single precision, and so is the one of z: m is far from 1 then.
    least = 0.5 if x.dtype == np.float64 else tolerances.LEAST_SINGLE
    crossed = (met & (at.m < 1) & (at.m > least))[:-1]
    position = xp.where(crossed, at.z.real[:-1], -xp.inf)
    best = xp.argmax(position)
    # Where the whole edge has one real part (s = -1), rounding must not choose a point off the axis.
    on_axis = position[0] >= position[best] - tolerances.ON_AXIS * reach
    best = xp.where(on_axis, 0, best)
    # The crossing next to a pole at 0 is as close to 0 as the halving is fine.
    touches = _pole_at_zero(poles, reach) & (at.m[-1] < 1)
    at_zero = touches & ~(at.z.real[best] > tolerances.EDGE_AT_ZERO * reach)
    return _Guess(outer[best], at.z[best], inner[best], on_axis, at_zero)


@eqx.filter_custom_jvp
def _tangent(guess, args: tuple[Ensemble, Discrete, Bool[Array, ""]]) -> _Tangent:
    """The tangent next to a guess (zeta, z), by Newton's method; differentiable in `args`, to any order."""
    zeta, z, residual = _search_tangent(guess, args)
    return _Tangent(zeta, z.real, z.imag, residual, residual <= _tolerance(residual.dtype))


def _search_tangent(guess, args):
    """(zeta, z), and the residual; on the host if all is concrete."""
    unknown = np.zeros((), guess[0].real.dtype)
    if unknown.dtype != np.float64:  # in which the lean beside steep m is too uncertain to be differenced
        y = jnp.stack([part for point in guess for part in (point.real, point.imag)])
        root = polish_root(_edge_equations, y, frozen(args), num_steps=tolerances.EDGE_STEPS)
        y = root.value
        return jax.lax.complex(y[0], y[1]), jax.lax.complex(y[2], y[3]), root.residual
    start = *guess, unknown
    (zeta, z, _), residual = iterate(_towards_tangent, start, args, tolerances.EDGE_MISS, tolerances.EDGE_STEPS)
    return zeta, z, residual


@_tangent.def_jvp
def _(primals, tangents):
    found = _tangent(*primals)
    y = jnp.stack([found.zeta.real, found.zeta.imag, found.z_real, found.z_imag])
    moved = implicit_tangent(_edge_equations, y, (primals[1],), (tangents[1],))
    return found, _moved(jax.lax.complex(moved[0], moved[1]), moved[2], moved[3])


@eqx.filter_custom_jvp
def _real_part(guess, args) -> _Tangent:
    """`_tangent`, where only Re z is differentiable."""
    return _tangent(guess, args)


@_real_part.def_jvp
def _(primals, tangents):
    found, (ensemble, gains, _) = _tangent(*primals), primals[1]
    zeta, z = found.zeta, jax.lax.complex(found.z_real, found.z_imag)
    near = lambda args: image_near(args[0], args[1], zeta, z)
    # What no perturbed number enters has no tangent: the z of independent weights, for one.
    there, moves = eqx.filter_jvp(near, (primals[1],), (tangents[1],))
    z_moved, m_moved = (jnp.zeros_like(x) if move is None else move for x, move in zip(there, moves, strict=True))
    at = slope(ensemble, gains, zeta, z)
    # To first order Re z does not depend on where along the boundary it is read: straight across is as good as any.
    across = -as_complex(m_moved) * at.gradient / as_complex(at.gradient.real**2 + at.gradient.imag**2)
    z_real = (z_moved + at.dz * across).real
    return found, _moved(0 * zeta, z_real, 0 * z_real)


def _moved(zeta, z_real, z_imag) -> _Tangent:
    none: Any = np.zeros((), jax.dtypes.float0)
    return _Tangent(zeta, z_real, z_imag, jnp.zeros_like(z_real), none)


def _towards_tangent(at, args):
    """One step of Newton's method towards m = 1 and dm / d Im z = 0, where z follows zeta; and the miss before it.

    How the lean of the boundary changes is differenced over a part of `length`, in which m changes by itself, 0 where
    it is not known: so no second derivative of the ensemble is compiled, and Re z depends on it to second order only.
    """
    zeta, z, length = at
    ensemble, gains, on_axis = args
    first = tolerances.FIRST_LENGTH * _size(ensemble, zeta)
    h = jnp.where(length > 0, length, first) * jnp.finfo(length.dtype).eps ** (1 / 3)
    shifts = jax.lax.complex(jnp.stack([0 * h, h, 0 * h]), jnp.stack([0 * h, 0 * h, h]))

    def look(shift):
        z_there, there = image_and_slope(ensemble, gains, zeta + shift, near=z)
        return z_there, there, _lean(there)

    points, slopes, leans = jax.vmap(look)(shifts)
    here, z = jax.tree.map(lambda x: x[0], slopes), points[0]
    miss = jnp.max(jnp.abs(_edge_misses(ensemble, here, zeta, on_axis)))
    gradient, zero = here.gradient, jnp.zeros_like(h)
    # Two linear equations: m = 1, and no lean or, on the axis, Im zeta = 0.
    a, b = gradient.real, gradient.imag
    c, d = jnp.where(on_axis, zero, (leans[1] - leans[0]) / h), jnp.where(on_axis, 1, (leans[2] - leans[0]) / h)
    e, f = 1 - here.m, jnp.where(on_axis, -zeta.imag, -leans[0])
    change = jax.lax.complex(d * e - b * f, a * f - c * e) / as_complex(a * d - b * c)
    return (zeta + change, z + here.dz * change, here.m / jnp.abs(gradient)), miss


def _edge_equations(y: Float[Array, "4"], args: tuple[Ensemble, Discrete, Bool[Array, ""]]) -> Float[Array, "4"]:
    """Zero at a vertical tangent of the boundary: zeta <G / (z - G r)> = 1, m = 1 and dm / d Im z = 0."""
    ensemble, gains, on_axis = args
    zeta, z = jax.lax.complex(y[0], y[1]), jax.lax.complex(y[2], y[3])
    return _edge_misses(ensemble, slope(ensemble, gains, zeta, z), zeta, on_axis)


def _edge_misses(ensemble, at, zeta, on_axis) -> Float[Array, "4"]:
    error, excess, size = _misses(ensemble, at, zeta)
    lean = _lean(at)
    tilt = jax.lax.stop_gradient(jnp.abs(lean))
    # Re z is off by the square of the lean only.
    tangent = jnp.where(on_axis, zeta.imag / size, lean * jnp.maximum(tilt, tolerances.LEAST_LEAN))
    return jnp.stack([error.real, error.imag, excess, tangent])


def _lean(at) -> Float[Array, ""]:
    """The sine between boundary and vertical, as zeta moves by i / (dz/dzeta) when z moves upwards."""
    return (jnp.conj(at.gradient * at.dz) * 1j).real / (jnp.abs(at.gradient) * jnp.abs(at.dz))


def _misses(ensemble, at, zeta):
    """zeta <G / (z - G r)> - 1 and m - 1 as distances over the size: close to poles m is steep and uncertain."""
    size = jax.lax.stop_gradient(_size(ensemble, zeta))
    steepness = jax.lax.stop_gradient(size * jnp.abs(at.gradient))
    error = as_complex(jax.lax.stop_gradient(jnp.abs(zeta)) / size) * at.error
    return error, (at.m - 1) / jnp.maximum(1, steepness), size


def _size(ensemble, zeta):
    return jnp.abs(zeta) + jnp.sqrt(ensemble.variance())


# --- where the edge meets a value -----------------------------------------------------------------------------


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
    start = _traced_guess(ensemble_at(guess), gains)

    def equations(y, args):
        ensemble_at, gains, edge = args
        tangent = _edge_equations(y[:4], (ensemble_at(y[4]), gains, start.on_axis))
        return jnp.append(tangent, y[2] / edge - 1)

    args = (ensemble_at, gains, edge)
    y = jnp.stack([start.zeta.real, start.zeta.imag, start.z.real, start.z.imag, guess])
    root = polish_root(equations, find_root(equations, y, args), args)
    p = root.value[4]
    final = _traced_guess(ensemble_at(p), gains).z.real
    return Root(p, root.residual, root.converged & (jnp.abs(final - edge) < tolerances.FOLLOWED * jnp.abs(edge)))


@as_program
def _traced_guess(ensemble, gains):
    fixed = frozen((ensemble, gains))
    return _best_crossing(functools.partial(halved, *fixed, num_steps=tolerances.HALVINGS), *_frame(*fixed))


def critical_from_host(
    ensemble_at: Callable[[Float[Array, ""]], Ensemble], gains: Discrete, guess: Float[Array, ""], edge: float
) -> Root:
    """`critical` of one concrete problem: secants of the right edge by p, for which nothing new is compiled."""
    dtype = guess.dtype

    def miss(p):
        try:
            ensemble = ensemble_at(from_host(np.asarray(p, dtype)))
        except ValueError:  # a parameter out of its range
            return np.nan
        found = rightmost(ensemble, gains)
        return on_host(found.z).real.item() / edge - 1 if found.converged else np.nan

    p, eps = float(guess), float(jnp.finfo(dtype).eps)
    before, value = p, miss(p)
    p, before_value = p + tolerances.SECANT * (abs(p) or tolerances.SECANT), value
    value = miss(p)
    for _ in range(tolerances.SECANTS):
        if np.isnan(value):
            p = (p + before) / 2
            value = miss(p)
            continue
        if not abs(value - before_value) > 0:  # found to rounding
            break
        after = p - value * (p - before) / (value - before_value)
        before, before_value, p = p, value, after
        value = miss(p)
        if not abs(p - before) > 4 * eps * abs(p):
            break
    if abs(before_value) < abs(value):
        p, value = before, before_value
    residual = abs(value)
    return Root(*from_host((np.array(p, dtype), np.array(residual, dtype), residual <= _tolerance(dtype))))


def _tolerance(dtype) -> float:
    """The largest residual of a root."""
    return max(tolerances.EDGE_RESIDUAL, tolerances.ROUNDINGS * float(jnp.finfo(dtype).eps))


# --- crossings of the real axis -------------------------------------------------------------------------------


def real_crossings(ensemble: Ensemble, gains: Discrete, most: int) -> Float[Array, " k"]:
    """Where the boundary crosses the real axis, by size; NaN where the equations do not converge.

    With traced arguments k = `most` + 2, for crossings in the plane of zeta and the ends of the inner void of singular
    modes: NaN after the last crossing, and all NaN if `most` are too few.
    """
    if is_concrete(ensemble, gains):
        return _crossings_from_host(ensemble, gains)
    zeta, inside = _real_axis(*frozen((ensemble, gains)))
    changes = inside[1:] != inside[:-1]
    centre, radius = inner_void(ensemble, gains)
    void = centre + jnp.stack([-radius, radius])
    index, count = jnp.nonzero(changes, size=most, fill_value=0)[0], jnp.sum(changes)
    # Slots without a crossing repeat the first one, because even unused derivatives must be finite.
    taken = jnp.arange(most) < count
    index = jnp.where(taken, index, index[0])
    found = jnp.where(taken, _crossings(ensemble, gains, zeta[index], zeta[index + 1]), jnp.nan)
    found = jnp.concatenate([found, jnp.where(radius > 0, void, jnp.nan)])
    return jnp.where(count <= most, jnp.sort(found), jnp.nan)  # NaN sorts last


def _crossings_from_host(ensemble: Ensemble, gains: Discrete) -> Float[Array, " k"]:
    ensemble = ensemble.padded()
    poles, reach, curves, centre, radius = on_host(_framed_with_void(ensemble, gains))
    look = lambda zeta: images(ensemble, gains, zeta)
    zeta, inside = _along_axis(lambda grid: look(grid).m, poles, reach, curves)
    found = []
    for i in np.flatnonzero(inside[1:] != inside[:-1]):
        inner, outer = (zeta[i], zeta[i + 1]) if inside[i] else (zeta[i + 1], zeta[i])
        crossing = _axis_crossing(look, inner, outer)
        if _pole_at_zero(poles, reach) and abs(crossing.z.real) < tolerances.CROSSING_AT_ZERO * reach:
            found.append(0.0)
        else:
            found.append(crossing.z.real if crossing.residual <= _tolerance(reach.dtype) else np.nan)
    if radius > 0:
        found += [centre - radius, centre + radius]
    return from_host(np.sort(np.array(found, reach.dtype)))


@as_program
def _framed_with_void(ensemble, gains):
    return *_frame(ensemble, gains), ensemble.pole_curves(), *inner_void(ensemble, gains)


class _Crossing(NamedTuple):
    """A real zeta with m = 1, its z, and m - 1 as a distance over the size."""

    zeta: Any
    z: Any
    residual: Any


def _axis_crossing(look: Callable[[Complex[np.ndarray, " n"]], Any], inner: Any, outer: Any) -> _Crossing:
    """Where m = 1 between two real points, inside and outside of the support: the last crossing from `inner` on.

    Each look sees points that divide the bracket evenly, and others that crowd around the root of a straight line in
    1/sqrt(m), which is close to linear in zeta. A few looks narrow the bracket down to rounding, without derivatives.
    """
    eps = np.finfo(type(outer)).eps
    half = tolerances.ROW // 2
    even, near = np.linspace(0, 1, half), 10.0 ** -np.arange(1, half // 2 + 1)
    share, steepness, z, m = np.linspace(0, 1, tolerances.ROW), 0.0, np.nan, np.inf
    for _ in range(tolerances.LOOKS):
        zeta = (inner + (outer - inner) * share).astype(type(outer))
        zeta[-1] = outer
        at = look(zeta + 0j)
        inside = ~(at.m < 1)
        if inside[-1] or not inside.any():
            return _Crossing(outer, at.z[-1], np.inf)
        last = np.flatnonzero(inside)[-1]
        if zeta[last + 1] != outer:
            steepness = abs((at.m[-1] - at.m[last + 1]) / (outer - zeta[last + 1]))
        inner, outer, z, m = zeta[last], zeta[last + 1], at.z[last + 1], at.m[last + 1]
        if abs(outer - inner) <= 4 * eps * max(abs(inner), abs(outer)):
            break
        beyond = 1 / np.sqrt(max(m, eps)) - 1  # next to a pole at 0 m is rounding, and may be negative
        short = 1 / np.sqrt(at.m[last]) - 1 if at.m[last] >= 1 else -1
        guess = short / (short - beyond)
        share = np.sort(np.concatenate([even, guess * (1 - near), guess + (1 - guess) * near]))
    return _Crossing(outer, z, abs(m - 1) / max(1, abs(outer) * steepness))


def _along_axis(m_at: Callable, poles, reach, curves) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Points zeta of the real axis by size, from outside to outside, and which of them have m >= 1."""
    xp = namespace(poles)
    left, right = poles.real.min() - 1.01 * reach, poles.real.max() + 1.01 * reach
    # Off a rational part of the interval, so that no real pole is a point of the grid by chance.
    share = (xp.arange(tolerances.AXIS_POINTS, dtype=reach.dtype) + 0.37) / tolerances.AXIS_POINTS
    beyond = reach * tolerances.BEYOND ** xp.arange(1, 7, dtype=reach.dtype)
    grid = xp.sort(xp.concatenate([left - beyond, left + (right - left) * share, right + beyond]))
    inside = ~(m_at(plane(grid, 0 * grid)) < 1)
    # Each real pole is a point of its own: m diverges there, however thin the support is around it.
    real = abs(poles.imag) < tolerances.POLE_AT_ZERO * reach
    # A curve of poles that lies on the axis is inside from end to end, though sums over its points have m < 1 between.
    on_axis = (abs(curves.imag) < tolerances.POLE_AT_ZERO * reach).all(1, keepdims=True)
    between = (curves.real.min(1, keepdims=True) < grid[None]) & (grid[None] < curves.real.max(1, keepdims=True))
    inside |= (on_axis & between).any(0)
    grid = xp.concatenate([grid, xp.where(real, poles.real, grid[0])])
    inside = xp.concatenate([inside, real])
    order = xp.argsort(grid, stable=True)
    return grid[order], inside[order]


@as_program
def _real_axis(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    def m_at(grid):  # in equal batches, since a smaller last one would be a program of its own
        rows = grid.reshape(tolerances.AXIS_BATCHES, -1)
        return jax.lax.map(jax.vmap(lambda zeta: image(ensemble, gains, zeta).m), rows).ravel()

    return _along_axis(m_at, *_frame(ensemble, gains), ensemble.pole_curves())


@as_program
@functools.partial(jax.vmap, in_axes=(None, None, 0, 0))
def _crossings(ensemble: Ensemble, gains: Discrete, low: Float[Array, ""], high: Float[Array, ""]) -> Float[Array, ""]:
    """The real z at the crossing of m = 1 between two real points zeta on its two sides, NaN if it is not found."""
    fixed = frozen((ensemble, gains))
    at = lambda zeta: image(*fixed, zeta=as_complex(zeta))
    is_inside = lambda zeta: ~(at(zeta).m < 1)
    low_inside = is_inside(low)
    low, high = bisect(lambda zeta, _: is_inside(zeta) == low_inside, low, high, None, tolerances.CROSSING_HALVINGS)
    zeta = jnp.where(low_inside, high, low)  # the side on which z is known
    z = at(zeta).z.real
    poles, reach = _frame(*fixed)
    at_zero = _pole_at_zero(poles, reach) & (jnp.abs(z) < tolerances.CROSSING_AT_ZERO * reach)
    root = polish_root(_axis_equations, jnp.stack([zeta, z]), (ensemble, gains))
    kept = root.converged & (jnp.abs(root.value[0] - zeta) < tolerances.CROSSING_KEPT * reach)
    return jnp.where(at_zero, 0, jnp.where(kept, root.value[1], jnp.nan))


def _axis_equations(y: Float[Array, "2"], args: tuple[Ensemble, Discrete]) -> Float[Array, "2"]:
    """`_edge_equations` for real zeta and z, where only two are not 0 by symmetry."""
    ensemble, gains = args
    zeta, z = as_complex(y[0]), as_complex(y[1])
    error, excess, _ = _misses(ensemble, slope(ensemble, gains, zeta, z), zeta)
    return jnp.stack([error.real, excess])
