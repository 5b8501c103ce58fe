r"""At any point z: the Hermitised Green's function of J G for N -> infinity, and the density of eigenvalues.

With T_21 = t, T_12 = conj t, T_11 T_22 = -u the 2x2 equations T = < Gam (Z - Gam S(T) Gam)^{-1} Gam > become

$$ h \Big\langle \frac{G^2}{D} \Big\rangle = 1, \qquad
   t = \Big\langle \frac{G\, \overline{(z - G s)}}{D} \Big\rangle, \qquad
   g(z) = \Big\langle \frac{\overline{z - G s}}{D} \Big\rangle, \qquad D = |z - G s|^2 + G^2 u h^2 $$

with s(t, u) and h(t, u) the blocks of the R-transform: three real equations for (t, u). Inside the support u > 0.
Outside u = 0, the first equation becomes m = h <G^2/D> < 1, and t is holomorphic. The regularised equations have one
solution of the right signs, so every solution with u > 0, and every one with u = 0 and m < 1, is the physical one:
a result certifies itself however it was found. Source: theory of Hermitised Dyson equations (Feinberg & Zee 1997;
Helton, Rashidi Far & Speicher 2007).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from .._numerics import as_complex, find_root, polish_root
from ..couplings import Ensemble, Scaled, SingularModes, Sum
from .exterior import Gains, r_and_kappa


class Point(eqx.Module):
    """The solution at one z: t, u, g = green, whether z lies in the support, and how well the equations hold."""

    t: Complex[Array, ""]
    u: Float[Array, ""]
    green: Complex[Array, ""]
    inside: Bool[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class _Chart(eqx.Module):
    """The ensemble with the coordinate c in which its h is one smooth function all over the support.

    That is c = u, except with singular modes, whose h(u) has two branches that join in c = 1/x^2. One such part is
    the `pivot`; further ones keep to their outer branch.
    """

    pivot: SingularModes | None
    rest: Ensemble | None

    def pivot_means(self, c):
        """<1/(1 + s^2 c)> and <s^2/(1 + s^2 c)>."""
        response = self.pivot.weights / (1 + self.pivot.values**2 * c)
        return jnp.sum(response), jnp.sum(self.pivot.values**2 * response)

    def u(self, c):
        return c if self.pivot is None else c * self.pivot_means(c)[0] ** 2

    def rest_blocks(self, t, u):
        if self.rest is None:
            return jnp.zeros_like(t), jnp.zeros_like(u)
        s, _, h = self.rest.blocks(jnp.conj(t), t, as_complex(-u))
        return s, h.real

    def blocks(self, t, c):
        s, h = self.rest_blocks(t, self.u(c))
        if self.pivot is not None:
            v, w = self.pivot_means(c)
            h = h + w / v**2
        return s, h


def parts(ensemble: Ensemble, factor: float | Float[Array, ""] = 1.0) -> list[tuple[Array | float, Ensemble]]:
    """The independent parts of sums and multiples, as (factor, ensemble) with neither left inside."""
    match ensemble:
        case Sum(terms=terms):
            return [part for term in terms for part in parts(term, factor)]
        case Scaled(factor=q, ensemble=inner):
            return parts(inner, factor * q)
    return [(factor, ensemble)]


def _chart(ensemble: Ensemble) -> _Chart:
    pivot, rest = None, []
    for factor, part in parts(ensemble):
        if pivot is None and isinstance(part, SingularModes):
            pivot = SingularModes(jnp.abs(factor * part.values), part.weights)
        else:
            rest.append(Scaled(factor, part))
    return _Chart(pivot, Sum(tuple(rest)) if rest else None)


def inner_void(ensemble: Ensemble, gains: Gains) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Centre and radius of the disc that invertible singular modes keep free of eigenvalues; radius 0 if none is.

    $$ \langle |z/G - r_0|^2 \rangle + \kappa_0 = \langle s^{-2} \rangle^{-1} $$

    with r_0, kappa_0 those of the rest of the ensemble at t = 0: there T = 0 while S diverges, a void that no zeta
    reaches. Alone and with G = 1, the inner radius of the single ring (Guionnet et al. 2011).
    """
    chart = _chart(ensemble)
    zero = jnp.zeros_like(ensemble.variance())
    if chart.pivot is None:
        return zero, zero
    r0, kappa0 = (zero, zero) if chart.rest is None else r_and_kappa(chart.rest, as_complex(zero))
    values, weights = chart.pivot.values, chart.pivot.weights
    invertible = jnp.all((values > 0) | (weights == 0)) & jnp.all((gains.values != 0) | (gains.weights == 0))
    inverse_square = jnp.sum(weights / jnp.where(values > 0, values, 1) ** 2)
    inverse_gains = 1 / jnp.where(gains.values == 0, 1, gains.values)
    a, b = gains.average(inverse_gains), gains.average(inverse_gains**2)
    centre = r0.real * a / b
    square = (1 / inverse_square - kappa0 - r0.real**2) / b + centre**2
    open_ = invertible & (square > 0)
    return centre, jnp.where(open_, jnp.sqrt(jnp.where(open_, square, 1)), 0)


def solve(ensemble: Ensemble, gains: Gains, z: Complex[Array, ""]) -> Point:
    """The physical solution at z, differentiable in z, the ensemble and the gains."""
    chart = _chart(ensemble)
    scale = jnp.sqrt(ensemble.variance())
    centre, radius = inner_void(ensemble, gains)
    frozen = jax.lax.stop_gradient((chart, gains, z, scale))
    start = _search(*frozen)
    inside = start[2] > 0

    def equations(y, args):  # one of the two factors of the complementarity
        *error, c, slack = _equations(y, *args)
        return jnp.stack([*error, jnp.where(inside, slack, c)])

    y = polish_root(equations, start, (chart, gains, z, scale))
    t, c = jax.lax.complex(y.value[0], y.value[1]), y.value[2]
    s, h = chart.blocks(t, c)
    square, _, green = _averages(gains, z, s, chart.u(c) * h**2)
    certified = jnp.where(inside, c > 0, h * square <= 1)
    in_void = jnp.abs(z - as_complex(centre)) < radius
    zero = jnp.zeros_like(t)
    return Point(
        jnp.where(in_void, zero, t),
        jnp.where(in_void, 0, chart.u(c)),
        jnp.where(in_void, zero, green),
        inside & ~in_void,
        jnp.where(in_void, 0, y.residual),
        in_void | (y.converged & certified),
    )


def density(ensemble: Ensemble, gains: Gains, z: Complex[Array, ""]) -> tuple[Float[Array, ""], Point]:
    """rho(z) = (1/pi) dg / d conj z = (d_x Re g - d_y Im g) / 2 pi, per unit area, and the solution there."""

    def green(x, y):
        point = solve(ensemble, gains, jax.lax.complex(x, y))
        return jnp.stack([point.green.real, point.green.imag]), point

    (dx, dy), point = jax.jacfwd(green, argnums=(0, 1), has_aux=True)(z.real, z.imag)
    return jnp.where(point.inside, (dx[0] - dy[1]) / (2 * jnp.pi), 0), point


def line_density(ensemble: Ensemble, gains: Gains, x: Float[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    r"""Density per unit length at real x for symmetric J and G >= 0, and whether it was found.

    $$ t = \langle G / (x - G r(t)) \rangle, \quad \operatorname{Im} t \le 0, \qquad
       \rho(x) = -\frac1\pi \operatorname{Im} \langle 1 / (x - G r(t)) \rangle $$

    The solution with Im t < 0 is unique where it exists; elsewhere t is real and m < 1.
    """
    scale = jnp.sqrt(ensemble.variance())

    def resolvent(t, x, ensemble, gains):
        r, kappa = r_and_kappa(ensemble, t)
        inverse = 1 / (x - as_complex(gains.values) * r)
        return inverse, gains.average(as_complex(gains.values) * inverse), kappa

    def equations(y, args):
        ensemble, gains, x = args
        t = jax.lax.complex(y[0], y[1])
        error = as_complex(scale) * (t - resolvent(t, as_complex(x), ensemble, gains)[1])
        return jnp.stack([error.real, error.imag])

    args = (ensemble, gains, x)
    frozen = jax.lax.stop_gradient(args)

    def attempt(carry):
        trial, t, eta, _ = carry
        steps = 32 * 2**trial
        ratio = jnp.exp(-jnp.log(100.0) / steps.astype(float)).astype(scale.dtype)

        def iterate(_, carry):
            t, eta = carry
            mean = resolvent(t, jax.lax.complex(frozen[2], eta), *frozen[:2])[1]
            return (t + mean) / 2, eta * ratio

        t, eta = jax.lax.fori_loop(0, steps, iterate, (t, eta))
        y = find_root(equations, jnp.stack([t.real, t.imag]), frozen)
        root = jax.lax.complex(y[0], y[1])
        good = certified(root, *frozen) & (jnp.max(jnp.abs(equations(y, frozen))) < 1e-8)
        return trial + 1, jnp.where(good, root, t), eta, good

    def certified(t, ensemble, gains, x):
        inverse, _, kappa = resolvent(t, as_complex(x), ensemble, gains)
        m = kappa * gains.average(gains.values**2 * jnp.abs(inverse) ** 2)
        # On the support m = 1 exactly, and off it the imaginary part is rounding.
        return jnp.where(-t.imag * scale > 1e-7, True, m < 1 + 1e-6)

    start = (jnp.zeros((), int), jax.lax.complex(jnp.zeros_like(x), -1 / scale), scale, jnp.zeros((), bool))
    *_, t, _, found = jax.lax.while_loop(lambda carry: ~carry[-1] & (carry[0] < 4), attempt, start)
    root = polish_root(equations, jnp.stack([t.real, t.imag]), args)
    inverse, _, _ = resolvent(jax.lax.complex(*root.value), as_complex(x), ensemble, gains)
    return jnp.maximum(-gains.average(inverse).imag / jnp.pi, 0), found


def _averages(gains, z, s, k):
    """<G^2/D>, <G conj(z - G s)/D> and <conj(z - G s)/D> with D = |z - G s|^2 + G^2 k."""
    g = gains.values
    shifted = jnp.conj(z - as_complex(g) * s)
    d = jnp.abs(shifted) ** 2 + g**2 * k
    over = shifted / as_complex(d)
    return gains.average(g**2 / d), gains.average(as_complex(g) * over), gains.average(over)


def _equations(y, chart, gains, z, scale):
    """The two real equations for t, and the pair c >= 0, 1 - h <G^2/D> >= 0 of which one vanishes."""
    t, c = jax.lax.complex(y[0], y[1]), y[2]
    s, h = chart.blocks(t, c)
    square, mean, _ = _averages(gains, z, s, chart.u(c) * h**2)
    error = as_complex(scale) * (t - mean)
    # Towards the inner void of singular modes h <G^2/D> tends to 1 as 1/c whatever z is.
    weight = 1 if chart.pivot is None else 1 + scale**2 * jnp.maximum(c, 0)
    return error.real, error.imag, scale**2 * c, (1 - h * square) * weight


def _complementarity(y, args):
    """Zero exactly at the physical solution (Fischer & Burmeister: a + b = sqrt(a^2 + b^2) iff a, b >= 0 = a b)."""
    *error, a, b = _equations(y, *args)
    return jnp.stack([*error, a + b - jnp.sqrt(a**2 + b**2 + 1e-30)])


def _search(chart, gains, z, scale, trials=3):
    """(t, c) to some digits, with c > 0 inside the support.

    Damped iteration of the equations with a regulariser eta > 0, of which every step keeps the signs and which
    converges for every z; from there Newton's method at eta = 0, on both sides of the boundary at once. Where that
    fails, on with a smaller eta.
    """

    def iterate(_, carry):
        v, t, b, eta, ratio = carry
        s, h = chart.rest_blocks(t, v**2)
        total = eta + b + v * h
        square, mean, _ = _averages(gains, z, s, total**2)
        v_new = total * square
        if chart.pivot is not None:
            x = jnp.maximum(1 / v_new - b, 1e-6 * scale)
            b = (b + x / chart.pivot_means(1 / x**2)[0] - x) / 2
        return (v + v_new) / 2, (t + mean) / 2, b, eta * ratio, ratio

    def attempt(carry):
        trial, v, t, b, eta, *_ = carry
        steps = 24 * 2**trial
        ratio = jnp.exp(-jnp.log(30.0) / steps.astype(float)).astype(scale.dtype)  # of successive eta: 1/30 a trial
        v, t, b, eta, _ = jax.lax.fori_loop(0, steps, iterate, (v, t, b, eta, ratio))
        c = v**2 if chart.pivot is None else 1 / jnp.maximum(1 / v - b, 1e-6 * scale) ** 2
        guess = jnp.stack([t.real, t.imag, c])
        args = (chart, gains, z, scale)
        y = find_root(_complementarity, guess, args, tolerance=1e-6, max_steps=16)
        failed = ~(jnp.max(jnp.abs(_complementarity(y, args))) < 1e-4)
        return trial + 1, v, t, b, eta, jnp.where(failed, guess, y), failed

    def unfinished(carry):
        return carry[-1] & (carry[0] < trials)

    b = jnp.zeros_like(scale) if chart.pivot is None else scale
    start = (jnp.zeros((), int), 1 / scale, jnp.zeros_like(z), b, scale, jnp.zeros(3, scale.dtype), jnp.ones((), bool))
    *_, y, _ = jax.lax.while_loop(unfinished, attempt, start)
    # Between the two factors the larger one is not zero.
    *_, a, b = _equations(y, chart, gains, z, scale)
    return y.at[2].set(jnp.where(a > b, y[2], 0))
