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

from .._laws import Discrete
from .._numerics import Root, as_complex, find_root, frozen, iterate, polish_root, square_modulus
from .._results import Result
from ..couplings import Ensemble, Scaled, Sum
from . import tolerances


class Point(Result):
    """The solution at one z: t, u, g = green, whether z lies in the support, and how well the equations hold."""

    t: Complex[Array, ""]
    u: Float[Array, ""]
    green: Complex[Array, ""]
    inside: Bool[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class _Chart(eqx.Module):
    """The ensemble with the coordinate c in which its h is one smooth function all over the support.

    Without singular modes c = u. For singular modes h(u) has two branches, which join if c = 1/x^2. One such part is
    the `pivot`; further ones keep to their outer branch.
    """

    pivot: Discrete | None
    rest: Ensemble | None

    def u(self, c):
        return c if self.pivot is None else c * _pivot_means(self.pivot, c)[0] ** 2

    def rest_blocks(self, t, u):
        if self.rest is None:
            return jnp.zeros_like(t), jnp.zeros_like(u)
        s, _, h = self.rest.blocks(jnp.conj(t), t, -u, physical=True)
        return s, h.real

    def blocks(self, t, c):
        s, h = self.rest_blocks(t, self.u(c))
        if self.pivot is not None:
            v, w = _pivot_means(self.pivot, c)
            h = h + w / v**2
        return s, h


def _pivot_means(law: Discrete, c: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """<1/(1 + s^2 c)> and <s^2/(1 + s^2 c)>."""
    response = law.weights / (1 + law.values**2 * c)
    return jnp.sum(response), jnp.sum(law.values**2 * response)


def _chart(ensemble: Ensemble) -> _Chart:
    pivot, rest = None, []
    for factor, part in ensemble.parts():
        known = part.singular_law() if pivot is None else None
        if known is not None:
            pivot = Discrete(jnp.abs(factor * known.values), known.weights)
        else:
            rest.append(Scaled(factor, part))
    return _Chart(pivot, Sum(tuple(rest)) if rest else None)


def inner_void(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Centre and radius of the disc that invertible singular modes keep free of eigenvalues, or radius 0.

    $$ \langle |z/G - r_0|^2 \rangle + \kappa_0 = \langle s^{-2} \rangle^{-1} $$

    with r_0 and kappa_0 of the rest of the ensemble at t = 0. In this disc T = 0 while S diverges, so that no zeta maps
    into it. For singular modes alone and G = 1, the radius is the inner one of the single ring (Guionnet et al. 2011).
    """
    chart = _chart(ensemble)
    zero = jnp.zeros_like(ensemble.variance())
    if chart.pivot is None:
        return zero, zero
    r0, kappa0 = (zero, zero) if chart.rest is None else chart.rest.r_and_kappa(as_complex(zero))
    values, weights = chart.pivot.values, chart.pivot.weights
    invertible = jnp.all((values > 0) | (weights == 0)) & jnp.all((gains.values != 0) | (gains.weights == 0))
    inverse_square = jnp.sum(weights / jnp.where(values > 0, values, 1) ** 2)
    inverse_gains = 1 / jnp.where(gains.values == 0, 1, gains.values)
    a, b = gains.mean(inverse_gains), gains.mean(inverse_gains**2)
    centre = r0.real * a / b
    square = (1 / inverse_square - kappa0 - r0.real**2) / b + centre**2
    open_ = invertible & (square > 0)
    return centre, jnp.where(open_, jnp.sqrt(jnp.where(open_, square, 1)), 0)


class _State(eqx.Module):
    """The equations at a guess (t, c) for one z: `error` and one of `slack` and c vanish at the solution."""

    error: Float[Array, " 2"]
    slack: Float[Array, ""]
    green: Complex[Array, ""]


def solve(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]) -> Point:
    """The physical solution at z, differentiable in z, the ensemble and the gains."""
    chart, z, scale = _problem(ensemble, z)
    root, inside = _root(chart, gains, z, scale)
    return _point(ensemble, gains, z, root, inside, _state(root.value, chart, gains, z, scale))


def _problem(ensemble, z):
    """Chart, z and unit of t. A point next to 0 replaces z = 0: t may have a pole there, but the density is smooth."""
    scale = jnp.sqrt(ensemble.variance())
    beside = tolerances.BESIDE_ORIGIN * scale
    return _chart(ensemble), jnp.where(jnp.abs(z) < beside, as_complex(beside), z), scale


def _root(chart, gains, z, scale) -> tuple[Root, Bool[Array, ""]]:
    """(Re t, Im t, c), differentiable, and whether c > 0."""
    y, inside = _search(*frozen((chart, gains, z, scale)))

    def equations(y, args):  # one of the two factors of the complementarity
        state = _state(y, *args)
        return jnp.append(state.error, jnp.where(inside, state.slack, scale**2 * y[2]))

    return polish_root(equations, y, (chart, gains, z, scale), tolerances.RESIDUAL, num_steps=1), inside


def _point(ensemble, gains, z, root, inside, state) -> Point:
    """The root as a solution, if it has the signs of the physical one or z is in the void where nothing is solved."""
    y, scale = root.value, jnp.sqrt(ensemble.variance())
    certified = jnp.where(inside, scale**2 * y[2], state.slack) > -tolerances.UNSURE
    centre, radius = inner_void(ensemble, gains)
    in_void = jnp.abs(z - as_complex(centre)) < radius
    zero = jnp.zeros_like(z)
    return Point(
        jnp.where(in_void, zero, jax.lax.complex(y[0], y[1])),
        jnp.where(in_void, 0, _chart(ensemble).u(y[2])),
        jnp.where(in_void, zero, state.green),
        inside & ~in_void,
        jnp.where(in_void, 0, root.residual),
        in_void | (root.converged & certified),
    )


def density(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]) -> tuple[Float[Array, ""], Point]:
    """rho(z) = (1/pi) dg / d conj z = (d_x Re g - d_y Im g) / 2 pi, per unit area, and the solution there."""
    chart, z, scale = _problem(ensemble, z)
    root, inside = _root(chart, gains, z, scale)

    def stacked(state):
        return jnp.stack([*state.error, state.slack, state.green.real, state.green.imag])

    def along_y(y):
        blocks = chart.blocks(jax.lax.complex(y[0], y[1]), y[2])
        state = _state(y, chart, gains, z, scale, blocks)
        return stacked(state), (state, blocks)

    by_y, (state, blocks) = jax.jacfwd(along_y, has_aux=True)(root.value)
    # The R-transform does not depend on z.
    along_x = lambda x: stacked(_state(root.value, chart, gains, jax.lax.complex(x[0], x[1]), scale, blocks))
    by_x = jax.jacfwd(along_x)(jnp.stack([z.real, z.imag]))
    dg = by_x[3:] - by_y[3:] @ jnp.linalg.solve(by_y[:3], by_x[:3])
    point = _point(ensemble, gains, z, root, inside, state)
    return jnp.where(point.inside, (dg[0, 0] - dg[1, 1]) / (2 * jnp.pi), 0), point


def line_density(ensemble: Ensemble, gains: Discrete, x: Float[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    r"""Density per unit length at real x for symmetric J and G >= 0, and whether it was found.

    $$ t = \langle G / (x - G r(t)) \rangle, \quad \operatorname{Im} t \le 0, \qquad
       \rho(x) = -\frac1\pi \operatorname{Im} \langle 1 / (x - G r(t)) \rangle $$

    The solution with Im t < 0 is unique where it exists; elsewhere t is real and m < 1.
    """
    scale = jnp.sqrt(ensemble.variance())

    def resolvent(t, x, ensemble, gains):
        r, kappa = ensemble.r_and_kappa(t)
        inverse = 1 / (x - as_complex(gains.values) * r)
        return inverse, gains.mean(as_complex(gains.values) * inverse), kappa

    def equations(y, args):
        ensemble, gains, x = args
        t = jax.lax.complex(y[0], y[1])
        error = as_complex(scale) * (t - resolvent(t, as_complex(x), ensemble, gains)[1])
        return jnp.stack([error.real, error.imag])

    args = (ensemble, gains, x)
    fixed = frozen(args)

    def attempt(carry):
        trial, t, eta, _ = carry
        steps = tolerances.LINE_DAMPED * 2**trial
        ratio = jnp.exp(-jnp.log(tolerances.REGULARISER) / steps.astype(float)).astype(scale.dtype)

        def damped(_, carry):
            t, eta = carry
            mean = resolvent(t, jax.lax.complex(fixed[2], eta), *fixed[:2])[1]
            return (t + mean) / 2, eta * ratio

        t, eta = jax.lax.fori_loop(0, steps, damped, (t, eta))
        y = find_root(equations, jnp.stack([t.real, t.imag]), fixed)
        root = jax.lax.complex(y[0], y[1])
        good = certified(root, t, *fixed) & (jnp.max(jnp.abs(equations(y, fixed))) < tolerances.LINE_RESIDUAL)
        return trial + 1, jnp.where(good, root, t), eta, good

    def certified(t, before, ensemble, gains, x):
        inverse, _, kappa = resolvent(t, as_complex(x), ensemble, gains)
        m = kappa * gains.mean(gains.values**2 * jnp.abs(inverse) ** 2)
        # On the support m = 1 exactly. Off the support the imaginary part is rounding, and in the damped iteration it
        # has fallen with eta. Other real solutions lie among the poles of a continuum of modes, whose quadrature has
        # finitely many: there the imaginary part of the iteration has not fallen.
        off = (m < 1 + tolerances.LINE_MARGIN) & (-before.imag * scale < tolerances.LINE_DECAYED)
        return jnp.where(-t.imag * scale > tolerances.LINE_POSITIVE, True, off)

    start = (jnp.zeros((), int), jax.lax.complex(jnp.zeros_like(x), -1 / scale), scale, jnp.zeros((), bool))
    unfinished = lambda carry: ~carry[-1] & (carry[0] < tolerances.LINE_ATTEMPTS)
    *_, t, _, found = jax.lax.while_loop(unfinished, attempt, start)
    root = polish_root(equations, jnp.stack([t.real, t.imag]), args)
    inverse, _, _ = resolvent(jax.lax.complex(*root.value), as_complex(x), ensemble, gains)
    return jnp.maximum(-gains.mean(inverse).imag / jnp.pi, 0), found


def _averages(gains, z, s, k):
    """<G^2/D>, <G conj(z - G s)/D> and <conj(z - G s)/D> with D = |z - G s|^2 + G^2 k."""
    g = gains.values
    shifted = jnp.conj(z - as_complex(g) * s)
    inverse = 1 / (square_modulus(shifted) + g**2 * k)
    over = shifted * as_complex(inverse)
    return gains.mean(g**2 * inverse), gains.mean(as_complex(g) * over), gains.mean(over)


def _state(y, chart, gains, z, scale, blocks=None) -> _State:
    """The two real equations for t, and slack, which has the sign of 1 - h <G^2/D>.

    At the solution slack and c are both >= 0, and one of the two vanishes. `blocks` may be given if the blocks of the
    chart at y are known.
    """
    t, c = jax.lax.complex(y[0], y[1]), y[2]
    s, h = chart.blocks(t, c) if blocks is None else blocks
    square, mean, green = _averages(gains, z, s, chart.u(c) * h**2)
    error = as_complex(scale) * (t - mean)
    if chart.pivot is None:
        slack = 1 / (h * square) - 1  # close to linear in c
    else:  # towards the inner void of singular modes h <G^2/D> tends to 1 as 1/c, for every z
        slack = (1 - h * square) * (1 + scale**2 * jnp.maximum(c, 0))
    return _State(jnp.stack([error.real, error.imag]), slack, green)


def _search(chart, gains, z, scale):
    """(t, c) to some digits, and whether c > 0: inside the support.

    First a damped iteration of the equations with a regulariser eta > 0: every step keeps the signs, and it converges
    for every z. Then Newton's method at eta = 0, on both sides of the boundary at once. If this fails, the iteration
    goes on with a smaller eta.
    """

    def damped(_, carry):
        v, t, b, eta, ratio = carry
        s, h = chart.rest_blocks(t, v**2)
        total = eta + b + v * h
        square, mean, _ = _averages(gains, z, s, total**2)
        v_new = total * square
        if chart.pivot is not None:
            x = jnp.maximum(1 / v_new - b, tolerances.SINGULAR_LEAST * scale)
            b = (b + x / _pivot_means(chart.pivot, 1 / x**2)[0] - x) / 2
        return (v + v_new) / 2, (t + mean) / 2, b, eta * ratio, ratio

    def equations(y):
        state = _state(y, chart, gains, z, scale)
        value = jnp.append(state.error, state.slack)
        return value, value

    def newton(carry, _):
        # Not Newton's method alone: the complementarity c, slack >= 0, c slack = 0 of the linearised equations is
        # solved exactly. Its solution has error = slack = 0 if c > 0 there, else it is the point c = 0 of the line
        # error = 0 through that point. If slack falls with c along the line, both may hold, and the factor that is
        # smaller by now decides.
        y, _ = carry
        jacobian, value = jax.jacfwd(equations, has_aux=True)(y)
        change, line = jnp.linalg.solve(jacobian, jnp.stack([value, jnp.eye(3, dtype=y.dtype)[2]], 1)).T
        a = scale**2 * y[2]
        miss = jnp.max(jnp.abs(value.at[2].set(jnp.minimum(value[2], a))))
        y = y - change
        inside = (y[2] > 0) & ((line[2] > 0) | (value[2] < a))
        return (jnp.where(inside, y, (y - y[2] / line[2] * line).at[2].set(0)), inside), miss

    def attempt(carry):
        trial, v, t, b, eta, *_ = carry
        steps = tolerances.DAMPED * 2**trial
        ratio = jnp.exp(-jnp.log(tolerances.REGULARISER) / steps.astype(float)).astype(scale.dtype)  # of successive eta
        v, t, b, eta, _ = jax.lax.fori_loop(0, steps, damped, (v, t, b, eta, ratio))
        c = v**2 if chart.pivot is None else 1 / jnp.maximum(1 / v - b, tolerances.SINGULAR_LEAST * scale) ** 2
        start = jnp.stack([t.real, t.imag, c]), jnp.zeros((), bool)
        first, more = tolerances.NEWTON_STEPS
        (y, inside), miss = iterate(newton, start, None, tolerances.UNSURE, first + more * trial)
        return trial + 1, v, t, b, eta, y, inside, ~(miss < tolerances.UNSURE)

    b, no = jnp.zeros_like(scale) if chart.pivot is None else scale, jnp.zeros((), bool)
    start = (jnp.zeros((), int), 1 / scale, jnp.zeros_like(z), b, scale, jnp.zeros(3, scale.dtype), no, ~no)
    *_, y, inside, _ = jax.lax.while_loop(lambda carry: carry[-1] & (carry[0] < tolerances.ATTEMPTS), attempt, start)
    return y, inside
