r"""Outside the support of the spectrum of J G (N -> infinity): the holomorphic equations, and the edges they set.

There the Hermitised Green's function is diagonal and t(z) = <G / (z - G r(t))> is holomorphic. With zeta = 1/t as
coordinate everything but one scalar root is explicit:

$$ \zeta \mapsto z: \quad \zeta\, \langle G / (z - G\, r(1/\zeta)) \rangle_G = 1 \qquad
   (G = 1:\; z = \zeta + r(1/\zeta)), \qquad m(\zeta) = \kappa(1/\zeta)\, \langle G^2 / |z - G r|^2 \rangle_G $$

A point z lies outside the support if and only if it is the image of a zeta with m < 1: such a zeta solves the
regularised equations to first order with the right signs, and these have one solution. Hence every closed curve
m = 1 maps to an edge or to a void of the support, and none is spurious. Source: theory of Hermitised Dyson equations
(Feinberg & Zee 1997; Alt, Erdos & Kruger 2018).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import Root, as_complex, find_root, frozen, polish_root
from ..couplings import Ensemble


class Exterior(eqx.Module):
    """The image z of one point zeta = 1/t, and m there."""

    z: Complex[Array, ""]
    m: Float[Array, ""]


def exterior(ensemble: Ensemble, gains: Discrete, zeta: Complex[Array, ""]) -> Exterior:
    """z and m at zeta."""
    r, kappa = ensemble.r_and_kappa(1 / zeta)
    z = _preimage(gains, zeta, r)
    return Exterior(z, kappa * _square_resolvent(gains, z, r))


def _square_resolvent(gains, z, r):
    """<G^2 / |z - G r|^2>."""
    return gains.mean(gains.values**2 / jnp.abs(z - as_complex(gains.values) * r) ** 2)


def _preimage(gains: Discrete, zeta, r):
    """z with <G / (z - G r)> = 1 / zeta, NaN where it is not found. No reverse mode."""
    g = as_complex(gains.values)
    if g.shape[0] == 1:
        return g[0] * (zeta + r)

    def newton(carry):
        z, _, step = carry
        change = _newton_step(gains, zeta, r, z)
        return z * jnp.exp(change), jnp.abs(change) < 1e-12, step + 1

    # On the physical side of the cut of z / r along the gains: beyond the largest of them, or before 0.
    mean, largest = gains.moment(1), jnp.max(jnp.where(gains.weights > 0, gains.values, -jnp.inf))
    offset = jnp.where((r / zeta).real > 0, jnp.maximum(largest, mean), mean)
    start = zeta * as_complex(mean) + r * as_complex(offset), jnp.zeros((), bool), 0
    z, found, _ = jax.lax.while_loop(lambda carry: ~carry[1] & (carry[2] < 40), newton, start)
    return jnp.where(found, z, jnp.nan)


def preimage_step(ensemble: Ensemble, gains: Discrete, zeta, z) -> Complex[Array, ""]:
    """One Newton step from z towards the image of zeta."""
    return z * jnp.expm1(_newton_step(gains, zeta, ensemble.r_and_kappa(1 / zeta)[0], z))


def _newton_step(gains, zeta, r, z):
    """Newton's step in log z for log(<z / (z - G r)> / <G / (z - G r)>) = log(zeta + r).

    The same equation as zeta <G / (z - G r)> = 1, but exactly linear for one gain and close to it for many, also
    where gains that vary by orders of magnitude spread the images z of a small region of zeta as much.
    """
    g = as_complex(gains.values)
    inverse = 1 / (z - g * r)
    h, t, b = z * gains.mean(inverse), gains.mean(g * inverse), gains.mean(g * inverse**2)
    change = jnp.log((zeta + r) * t / h) * h * t / (z * b)
    return change / jnp.maximum(1, jnp.abs(change) / _LONGEST).astype(change.dtype)


_LONGEST = 2.0  # of a Newton step in log z


class Slope(eqx.Module):
    """m at zeta, its gradient dm/dx + i dm/dy along zeta = x + i y, dz/dzeta, and zeta <G / (z - G r)> - 1."""

    m: Float[Array, ""]
    gradient: Complex[Array, ""]
    dz: Complex[Array, ""]
    error: Complex[Array, ""]


def slope(ensemble: Ensemble, gains: Discrete, zeta: Complex[Array, ""], z: Complex[Array, ""]) -> Slope:
    """How m and z change with zeta, which are tied by zeta <G / (z - G r)> = 1."""
    one = jnp.ones_like(zeta)

    def blocks(zeta):
        return ensemble.r_and_kappa(1 / zeta)

    def along(direction):
        return jax.jvp(blocks, (zeta,), (direction,))

    # Mapped, as every copy of the blocks takes long to compile.
    (r, kappa), (dr, (kappa_x, kappa_y)) = jax.vmap(along, out_axes=(None, 0))(jnp.stack([one, 1j * one]))
    dr = dr[0]
    g = as_complex(gains.values)
    inverse = 1 / (z - g * r)
    a, b, c = (gains.mean(f) for f in (g * inverse, g * inverse**2, (g * inverse) ** 2))
    dz = (a + zeta * c * dr) / (zeta * b)
    power = gains.values**2 * jnp.abs(inverse) ** 2
    q = gains.mean(power)
    dq = -2 * gains.mean(as_complex(power) * inverse * (dz - g * dr))  # dq/dx = Re, dq/dy = -Im
    x, y = kappa_x * q + kappa * dq.real, kappa_y * q - kappa * dq.imag
    return Slope(kappa * q, jax.lax.complex(x, y), dz, zeta * a - 1)


def extent(ensemble: Ensemble, gains: Discrete) -> Float[Array, ""]:
    """A distance from the poles in the zeta plane beyond which m < 1 (exact for G = 1, where m <= (g / distance)^2)."""
    spread = jnp.sqrt(gains.moment(2)) / jnp.abs(gains.moment(1))
    widening = 1.0 if gains.values.shape[0] == 1 else 2.0
    poles = jnp.max(jnp.abs(ensemble.poles()))
    return spread * jnp.sqrt(ensemble.variance()) * widening + (spread - 1) * poles * widening


class Edge(eqx.Module):
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
    the support, without a regular edge there: the point 0 then counts, and has no derivative.
    """
    start, on_axis = _edge_guess(*frozen((ensemble, gains)))

    def equations(y, args):
        ensemble, gains = args
        return _edge_equations(ensemble, gains, y, on_axis)

    # The guess is close enough for Newton's method as it is; off the axis it starts between two lines.
    root = polish_root(equations, start, (ensemble, gains), num_steps=10)
    y = root.value
    fixed = frozen((ensemble, gains))
    reach = extent(*fixed)
    # The crossing next to such a pole is as close to 0 as the halving is fine.
    at_zero = _touches_zero(*fixed) & ~(start[2] > 1e-4 * reach)
    # The guess is a point of the edge: where Newton's method ends to its left, it left for another tangent.
    kept = y[2] > start[2] - 1e-3 * reach
    return Edge(
        jnp.where(at_zero, 0, jax.lax.complex(y[2], y[3])),
        jnp.where(at_zero, 0, jax.lax.complex(y[0], y[1])),
        jnp.where(at_zero, 0, root.residual),
        at_zero | (root.converged & kept),
    )


def _touches_zero(ensemble: Ensemble, gains: Discrete) -> Bool[Array, ""]:
    """Whether poles reach zeta = 0, which maps to z = 0, while m < 1 right beside it."""
    reach = extent(ensemble, gains)
    beside = exterior(ensemble, gains, as_complex(1e-6 * reach))
    return jnp.any(jnp.abs(ensemble.poles()) < 1e-9 * reach) & (beside.m < 1)


def critical(
    ensemble_at: Callable[[Float[Array, ""]], Ensemble],
    gains: Discrete,
    start: Float[Array, ""],
    edge: Float[Array, ""],
) -> Root:
    """The p near ``start`` with Re z = ``edge`` for the rightmost point z of ``ensemble_at(p)``.

    Newton's method for p together with the edge at p. It counts as converged only if the point it followed is still
    the rightmost one.
    """
    guess, on_axis = _edge_guess(*frozen((ensemble_at(start), gains)))

    def equations(y, args):
        ensemble_at, gains, edge = args
        return jnp.append(_edge_equations(ensemble_at(y[4]), gains, y[:4], on_axis), y[2] / edge - 1)

    args = (ensemble_at, gains, edge)
    root = polish_root(equations, find_root(equations, jnp.append(guess, start), args), args)
    p = root.value[4]
    final, _ = _edge_guess(*frozen((ensemble_at(p), gains)))
    return Root(p, root.residual, root.converged & (jnp.abs(final[2] - edge) < 1e-3 * jnp.abs(edge)))


def _edge_guess(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, " 4"], Bool[Array, ""]]:
    """(Re zeta, Im zeta, Re z, Im z) close to the rightmost point, and whether that is on the real axis."""
    zeta, on_axis = _best_crossing(ensemble, gains)
    z = exterior(ensemble, gains, zeta).z
    return jnp.stack([zeta.real, zeta.imag, z.real, z.imag]), on_axis


def _edge_equations(ensemble, gains, y, on_axis):
    """Zero at a vertical tangent of the boundary: zeta <G / (z - G r)> = 1, m = 1 and dm / d Im z = 0."""
    zeta, z = jax.lax.complex(y[0], y[1]), jax.lax.complex(y[2], y[3])
    at = slope(ensemble, gains, zeta, z)
    size = jax.lax.stop_gradient(jnp.abs(zeta) + jnp.sqrt(ensemble.variance()))
    steepness = jax.lax.stop_gradient(size * jnp.abs(at.gradient))
    # The sine between boundary and vertical, as zeta moves by i / (dz/dzeta) when z moves upwards.
    lean = (jnp.conj(at.gradient * at.dz) * 1j).real / (jnp.abs(at.gradient) * jnp.abs(at.dz))
    # As distances over the size: close to poles m is steep and uncertain. Re z is off by the square of the lean only.
    misses = [
        *(jax.lax.stop_gradient(jnp.abs(zeta)) / size * part for part in (at.error.real, at.error.imag)),
        (at.m - 1) / jnp.maximum(1, steepness),
        jnp.where(on_axis, y[1] / size, lean * jnp.maximum(jax.lax.stop_gradient(jnp.abs(lean)), 0.01)),
    ]
    return jnp.stack(misses)


def preimage_error(ensemble: Ensemble, gains: Discrete, zeta, z) -> Complex[Array, ""]:
    """zeta <G / (z - G r)> - 1, which vanishes at the z of zeta."""
    r, _ = ensemble.r_and_kappa(1 / zeta)
    g = as_complex(gains.values)
    return zeta * gains.mean(g / (z - g * r)) - 1


def stability(ensemble: Ensemble, gains: Discrete, zeta, z) -> Float[Array, ""]:
    """m, below 1 outside the support."""
    r, kappa = ensemble.r_and_kappa(1 / zeta)
    return kappa * _square_resolvent(gains, z, r)


def _best_crossing(ensemble, gains, heights: int = 12, max_poles: int = 32, halvings: int = 16):
    """zeta on m = 1 with about the largest Re z, and whether it lies on the real axis.

    One line through each of the rightmost poles, which starts inside since m diverges there, and lines at heights
    that crowd towards the real axis, which start inside only if the halving says so.
    """
    poles, reach = ensemble.poles(), extent(ensemble, gains)
    right, top = jnp.max(poles.real), jnp.max(poles.imag) + reach
    # The rightmost of those above the axis: a law may have one for each of thousands of amplitudes.
    above = jnp.where(poles.imag >= 0, poles.real, -jnp.inf)
    poles = poles[jnp.argsort(-above)[:max_poles]]
    levels = top * jnp.linspace(0, 1, heights, dtype=top.dtype) ** 2
    inner = jnp.concatenate([jax.lax.complex(jnp.full_like(levels, right), levels), poles])
    outer = jax.lax.complex(jnp.full_like(inner.real, right + 1.01 * reach), inner.imag)

    state = jax.vmap(lambda zeta: exterior(ensemble, gains, zeta))

    def halve(bracket, _):
        inner, outer, met = bracket
        middle = (inner + outer) / 2
        inside = ~(state(middle).m < 1)
        return (jnp.where(inside, middle, inner), jnp.where(inside, outer, middle), met | inside), None

    met = jnp.arange(inner.shape[0]) >= heights  # support: on lines through poles from the start
    (inner, outer, met), _ = jax.lax.scan(halve, (inner, outer, met), None, length=halvings)
    at = state(outer)
    # Elsewhere the line was halved down to its inner end, or m was never below 1.
    crossed = met & (at.m < 1) & (at.m > 0.5)
    position = jnp.where(crossed, at.z.real, -jnp.inf)
    best = jnp.argmax(position)
    # Where the whole edge has one real part (s = -1), rounding must not choose a point off the axis.
    axis = position[0] >= position[best] - 1e-4 * reach
    return jnp.where(axis, outer[0], outer[best]), axis
