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

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import as_complex, find_root, frozen, implicit_root, in_batches, iterate, polish_root, square_modulus
from .._results import Result
from ..couplings import Ensemble, Scaled, Sum
from ..couplings.parts import inverse_square, scaled_law
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
    """The ensemble, with coordinates c in which its h is one smooth function all over the support.

    Without singular modes c = u, one number. For singular modes h(u) has branches, which join as functions of
    c = 1/x^2. So each such part, a `pivot`, has a c of its own, and u is the same for all of them.
    """

    pivots: tuple[Any, ...]
    rest: Ensemble | None

    def u(self, c):
        return c[0] if not self.pivots else c[0] * pivot_means(self.pivots[0], c[0])[0] ** 2

    def rest_blocks(self, t, u):
        if self.rest is None:
            return jnp.zeros_like(t), jnp.zeros_like(u)
        s, _, h = self.rest.blocks(jnp.conj(t), t, -u, physical=True)
        return s, h.real

    def blocks(self, t, c) -> "_Blocks":
        if not self.pivots:
            return _Blocks(*self.rest_blocks(t, c[0]), c[0], c[1:])
        v, w = jnp.stack([jnp.stack(pivot_means(law, c[k])) for k, law in enumerate(self.pivots)], 1)
        u = c * v**2
        s, h = self.rest_blocks(t, u[0])
        return _Blocks(s, h + jnp.sum(w / v**2), u[0], u[1:] - u[0])


class _Blocks(eqx.Module):
    """s, h and u at (t, c), and by how much the u of further pivots exceed the u of the first one."""

    s: Complex[Array, ""]
    h: Float[Array, ""]
    u: Float[Array, ""]
    apart: Float[Array, " k"]


def pivot_means(law: Any, c: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """<1/(1 + s^2 c)> and <s^2/(1 + s^2 c)>."""
    if not isinstance(law, Discrete):
        return law.means(c)
    response = law.weights / (1 + law.values**2 * c)
    return jnp.sum(response), jnp.sum(law.values**2 * response)


def chart_of(ensemble: Ensemble) -> _Chart:
    pivots, rest = [], []
    for factor, part in ensemble.parts():
        known = part.singular_law()
        if known is not None:
            pivots.append(scaled_law(factor, known))
        else:
            rest.append(Scaled(factor, part))
    return _Chart(tuple(pivots), Sum(tuple(rest)) if rest else None)


def inner_void(ensemble: Ensemble, gains: Discrete) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Centre and radius of the disc that invertible singular modes keep free of eigenvalues, or radius 0.

    $$ \langle |z/G - r_0|^2 \rangle + \kappa_0 = \langle s^{-2} \rangle^{-1} $$

    with r_0 and kappa_0 of the rest of the ensemble at t = 0. In this disc T = 0 while S diverges, so that no zeta maps
    into it. For singular modes alone and G = 1, the radius is the inner one of the single ring (Guionnet et al. 2011).
    Of a sum of several, at most one part, which outweighs all others, has such a disc.
    """
    chart = chart_of(ensemble)
    zero = jnp.zeros_like(ensemble.variance())
    if not chart.pivots:
        return zero, zero
    r0, kappa0 = (zero, zero) if chart.rest is None else chart.rest.r_and_kappa(as_complex(zero))
    left = reserve(chart.pivots) - kappa0 - r0.real**2
    invertible = jnp.all((gains.values != 0) | (gains.weights == 0))
    inverse_gains = 1 / jnp.where(gains.values == 0, 1, gains.values)
    a, b = gains.mean(inverse_gains), gains.mean(inverse_gains**2)
    centre = r0.real * a / b
    square = left / b + centre**2
    open_ = invertible & (square > 0)
    return centre, jnp.where(open_, jnp.sqrt(jnp.where(open_, square, 1)), 0)


def reserve(pivots: tuple[Any, ...]) -> Float[Array, ""]:
    """1 / <s^-2> of the part that outweighs all others, less their <s^2>; 0 in place of the first if some s is 0."""
    powers = jnp.stack([pivot.moment(2) for pivot in pivots])
    inverses = [inverse_square(law) if isinstance(law, Discrete) else law.inverse() for law in pivots]
    margins = [inverse - (jnp.sum(powers) - power) for inverse, power in zip(inverses, powers, strict=True)]
    return jnp.max(jnp.stack(margins))


# --- the solution at a point ----------------------------------------------------------------------------------


def solve(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]) -> Point:
    """The physical solution at z, differentiable in z, the ensemble and the gains."""
    problem = _problem(ensemble, gains, z)
    y = implicit_root(_search, _equations, problem)
    state = _state(y, problem)
    return _point(ensemble, y, state.errors, state.slack, state.green, problem)


def density(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]) -> tuple[Float[Array, ""], Point]:
    """rho(z) = (1/pi) dg / d conj z = (d_x Re g - d_y Im g) / 2 pi, per unit area, and the solution there."""
    problem = _problem(ensemble, gains, z)
    y = implicit_root(_search, _equations, problem)
    return _density(ensemble, y, _linearised(y, problem), problem)


class _Problem(eqx.Module):
    """What the equations depend on; `scale` is the unit of z and of 1/t."""

    chart: _Chart
    gains: Discrete
    z: Complex[Array, ""]
    scale: Float[Array, ""]


def _problem(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]) -> _Problem:
    """A point next to 0 replaces z = 0: t may have a pole there, but the density is smooth."""
    scale = jnp.sqrt(ensemble.variance())
    beside = tolerances.BESIDE_ORIGIN * scale
    return _Problem(chart_of(ensemble), gains, jnp.where(jnp.abs(z) < beside, as_complex(beside), z), scale)


def _is_inside(y) -> Bool[Array, ""]:
    """Outside, the search makes c exactly 0."""
    return jnp.max(y[2:]) > 0


def _point(ensemble, y, errors, slack, green, problem: _Problem) -> Point:
    """y as a solution, if it has the signs of the physical one or z is in the void where nothing is solved."""
    inside, zero = _is_inside(y), jnp.zeros_like(green)
    size = problem.scale**2 * jnp.max(y[2:])
    misses = jnp.where(inside, jnp.max(jnp.abs(errors)), jnp.maximum(jnp.max(jnp.abs(errors[:2])), jnp.abs(size)))
    residual = jax.lax.stop_gradient(misses)
    tolerance = max(tolerances.RESIDUAL, tolerances.ROUNDINGS * float(jnp.finfo(y.dtype).eps))
    certified = jnp.where(inside, size, slack) > -tolerances.UNSURE
    centre, radius = inner_void(ensemble, problem.gains)
    in_void = jnp.abs(problem.z - as_complex(centre)) < radius
    return Point(
        jnp.where(in_void, zero, jax.lax.complex(y[0], y[1])),
        jnp.where(in_void, 0, problem.chart.u(y[2:])),
        jnp.where(in_void, zero, green),
        inside & ~in_void,
        jnp.where(in_void, 0, residual),
        in_void | ((residual <= tolerance) & certified),
    )


def _density(ensemble, y, at: "_Linear", problem: _Problem) -> tuple[Float[Array, ""], Point]:
    """Density and solution at y, from the equations at a point so close that they are linear between the two."""
    n = y.shape[0]
    moved = at.values + jnp.sum(at.by_y * (y - at.y)[None], 1)
    by_z = _slopes_by_z(at, problem)
    dg = by_z[n:] - at.by_y[n:] @ _solved(at.by_y[:n], by_z[:n])
    point = _point(ensemble, y, at.values[:n], moved[2], jax.lax.complex(moved[n], moved[n + 1]), problem)
    return jnp.where(point.inside, (dg[0, 0] - dg[1, 1]) / (2 * jnp.pi), 0), point


# --- many concrete points -------------------------------------------------------------------------------------


def densities(
    ensemble: Ensemble, gains: Discrete, z: Complex[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Point]:
    """`density` at many concrete points, by two small compiled programs that are driven from the host.

    Points that are found leave, so that a slow one does not hold up the others.
    """
    law, size = (ensemble, gains), tolerances.BATCH if z.size > tolerances.FEW else tolerances.FEW
    num_pivots = len(eqx.filter_eval_shape(chart_of, ensemble).pivots)
    one, left = np.ones_like(np.real(z)), np.arange(z.size)
    state = one, 0 * z, np.ones((z.size, num_pivots), one.dtype), one.copy()
    y = np.zeros((z.size, 2 + max(num_pivots, 1)), one.dtype)
    for trial in range(tolerances.ATTEMPTS):
        steps = np.int32(tolerances.DAMPED * 2**trial)
        found = _approach_many(law, (z[left], tuple(array[left] for array in state)), size, steps)
        for array, new in zip((*state, y), (*found[0], found[1]), strict=True):
            array[left] = new
        lost = [left[:0]]
        for _ in range(_newton_steps(trial)):
            y[left], miss, _ = _advance_many(law, (z[left], y[left]), size, np.bool_(False))
            lost.append(left[np.isnan(miss)])
            left = left[miss > tolerances.UNSURE]
            if left.size == 0:
                break
        left = np.concatenate([left, *lost])
        if left.size == 0:
            break
    return _advance_many(law, (z, y), size, np.bool_(True))[2]


@in_batches
def _approach_many(law: tuple[Ensemble, Discrete], rows, steps):
    return jax.vmap(lambda z, state: _approach(_problem(*law, z), state, steps))(*rows)


@in_batches
def _advance_many(law: tuple[Ensemble, Discrete], rows, wanted):
    """One Newton step from each y, the error of the equations before it, and the answer after it where it is wanted."""
    z, y = rows

    def advance(z, y):
        problem = _problem(*law, z)
        at = _linearised(y, problem)
        return *_newton(y, at.values, at.by_y, problem), at

    y, miss, at = jax.vmap(advance)(z, y)
    answers = functools.partial(jax.vmap(lambda z, y, at: _density(law[0], y, at, _problem(*law, z))), z, y, at)
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(answers))
    return y, miss, jax.lax.cond(wanted, answers, lambda: none)


# --- on a line ------------------------------------------------------------------------------------------------


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


# --- equations ------------------------------------------------------------------------------------------------


class _State(eqx.Module):
    """The equations at y = (Re t, Im t, *c) for one z, and g.

    `errors` are two real equations for t, the slack, and one for each pivot after the first. The slack has the sign of
    1 - h <G^2/D>. At the solution all but the slack vanish, slack and c are >= 0, and one of the two vanishes.
    """

    errors: Float[Array, " n"]
    green: Complex[Array, ""]

    @property
    def slack(self):
        return self.errors[2]


def _state(y, problem: _Problem, blocks: _Blocks | None = None) -> _State:
    """The equations at y; `blocks` may be given if the blocks of the chart at y are known."""
    t, c, scale = jax.lax.complex(y[0], y[1]), y[2:], problem.scale
    at = problem.chart.blocks(t, c) if blocks is None else blocks
    square, mean, green = _averages(problem.gains, problem.z, at.s, at.u * at.h**2)
    error = as_complex(scale) * (t - mean)
    if not problem.chart.pivots:
        slack = 1 / (at.h * square) - 1  # close to linear in c
    else:  # towards the inner void of singular modes h <G^2/D> tends to 1 and u to 0 as 1/c, for every z
        rise = 1 + scale**2 * jnp.maximum(jnp.max(c), 0)
        slack = (1 - at.h * square) * rise
    apart = at.apart if len(problem.chart.pivots) < 2 else at.apart * scale**2 * rise
    return _State(jnp.concatenate([jnp.stack([error.real, error.imag, slack]), apart]), green)


def _averages(gains, z, s, k):
    """<G^2/D>, <G conj(z - G s)/D> and <conj(z - G s)/D> with D = |z - G s|^2 + G^2 k."""
    g = gains.values
    shifted = jnp.conj(z - as_complex(g) * s)
    inverse = 1 / (square_modulus(shifted) + g**2 * k)
    over = shifted * as_complex(inverse)
    return gains.mean(g**2 * inverse), gains.mean(as_complex(g) * over), gains.mean(over)


def _equations(y, problem: _Problem):
    """Zero at the solution: the errors inside; outside, c in place of the slack and of what ties the pivots."""
    errors = _state(y, problem).errors
    return jnp.where(_is_inside(y), errors, jnp.concatenate([errors[:2], problem.scale**2 * y[2:]]))


class _Linear(eqx.Module):
    """The errors and (Re g, Im g) at y with their slopes by y, and the blocks of the chart there."""

    y: Float[Array, " n"]
    values: Float[Array, " n+2"]
    by_y: Float[Array, "n+2 n"]
    blocks: _Blocks


def _linearised(y, problem: _Problem) -> _Linear:
    def along_y(y):
        blocks = problem.chart.blocks(jax.lax.complex(y[0], y[1]), y[2:])
        values = _stacked(_state(y, problem, blocks))
        return values, (values, blocks)

    by_y, (values, blocks) = jax.jacfwd(along_y, has_aux=True)(y)
    return _Linear(y, values, by_y, blocks)


def _slopes_by_z(at: _Linear, problem: _Problem) -> Float[Array, "n+2 2"]:
    """By Re z and Im z, on which the blocks do not depend."""

    def along_z(x):
        moved = eqx.tree_at(lambda problem: problem.z, problem, jax.lax.complex(x[0], x[1]))
        return _stacked(_state(at.y, moved, at.blocks))

    return jax.jacfwd(along_z)(jnp.stack([problem.z.real, problem.z.imag]))


def _stacked(state: _State):
    return jnp.concatenate([state.errors, jnp.stack([state.green.real, state.green.imag])])


def _solved(matrix: Float[Array, "n n"], columns: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """The solutions of linear equations; of three in closed form, which is faster to compile and to run."""
    if matrix.shape[0] != 3:
        return jnp.linalg.solve(matrix, columns)
    a, b, c = matrix.T
    rows = jnp.stack([_cross(b, c), _cross(c, a), _cross(a, b)])
    return jnp.sum(rows[:, :, None] * columns[None], 1) / jnp.sum(a * rows[0])


def _cross(a, b):
    return jnp.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


# --- search ---------------------------------------------------------------------------------------------------


def _search(problem: _Problem) -> Float[Array, " n"]:
    """y to rounding, with c = 0 outside the support.

    First a damped iteration of the equations with a regulariser eta > 0: every step keeps the signs, and it converges
    for every z. Then Newton's method at eta = 0, on both sides of the boundary at once. If this fails, the iteration
    goes on with a smaller eta.
    """
    dtype, num_pivots = problem.scale.dtype, len(problem.chart.pivots)

    def newton(carry, _):
        y, before = carry

        def errors(y):
            value = _state(y, problem).errors
            return value, value

        by_y, values = jax.jacfwd(errors, has_aux=True)(y)
        y, miss = _newton(y, values, by_y, problem)
        return (y, miss), before  # so that one more step follows the one that has converged

    def attempt(carry):
        trial, state, *_ = carry
        state, y = _approach(problem, state, tolerances.DAMPED * 2**trial)
        start = y, jnp.array(jnp.inf, dtype)
        (y, _), miss = iterate(newton, start, None, tolerances.UNSURE, 1 + _newton_steps(trial))
        return trial + 1, state, y, ~(miss < tolerances.UNSURE)

    one = jnp.ones_like(problem.scale)
    state = one, jnp.zeros_like(problem.z), jnp.ones(num_pivots, dtype), one
    start = jnp.zeros((), int), state, jnp.zeros(2 + max(num_pivots, 1), dtype), jnp.ones((), bool)
    return jax.lax.while_loop(lambda carry: carry[-1] & (carry[0] < tolerances.ATTEMPTS), attempt, start)[2]


def _newton_steps(trial):
    first, more = tolerances.NEWTON_STEPS
    return first + more * trial


def _approach(problem: _Problem, state, steps):
    """Damped steps of the regularised equations, and y there.

    The state is v = sqrt(u), t, for each pivot its share x - 1/v of the self-energy, and eta, in units of the scale. It
    starts at 1, 0, 1 and 1.
    """
    chart, gains, z, scale = problem.chart, problem.gains, problem.z, problem.scale
    ratio = jnp.exp(-jnp.log(tolerances.REGULARISER) / steps.astype(float)).astype(scale.dtype)  # of successive eta
    least = tolerances.SINGULAR_LEAST * scale

    def damped(_, carry):
        v, t, b, eta = carry
        s, h = chart.rest_blocks(t, v**2)
        total = eta + jnp.sum(b) + v * h
        square, mean, _ = _averages(gains, z, s, total**2)
        v_new = total * square
        if chart.pivots:
            x = jnp.maximum(1 / v_new - b, least)
            means = jnp.stack([pivot_means(law, 1 / x[k] ** 2)[0] for k, law in enumerate(chart.pivots)])
            b = (b + x / means - x) / 2
        return (v + v_new) / 2, (t + mean) / 2, b, eta * ratio

    v, t, b, eta = state
    v, t, b, eta = jax.lax.fori_loop(0, steps, damped, (v / scale, t / as_complex(scale), b * scale, eta * scale))
    c = 1 / jnp.maximum(1 / v - b, least) ** 2 if chart.pivots else v[None] ** 2
    y = jnp.concatenate([jnp.stack([t.real, t.imag]), c])
    return (v * scale, t * as_complex(scale), b / scale, eta / scale), y


def _newton(y, values, by_y, problem: _Problem):
    """The next y, and the error of the equations at this one.

    Not Newton's method alone: the complementarity c, slack >= 0, c slack = 0 of the linearised equations is solved
    exactly. Their solution has slack = 0 if c > 0 there, else it is the point c = 0 of the line on which all errors but
    the slack vanish. If the slack falls with c along the line, both may hold, and the factor that is smaller by now
    decides. Of several pivots, the largest c decides: one c diverges towards an inner void while the others vanish.
    """
    n, square = y.shape[0], problem.scale**2
    values, third = values[:n], jnp.eye(n, dtype=y.dtype)[2]
    change, line = _solved(by_y[:n], jnp.stack([values, third], 1)).T
    lead = 2 if n == 3 else 2 + jnp.argmax(y[2:])
    size = square * y[lead]
    miss = jnp.max(jnp.abs(values.at[2].set(jnp.minimum(values[2], size))))
    moved = y - change
    inside = (moved[lead] > 0) & ((line[lead] > 0) | (values[2] < size))
    outside = (moved - moved[lead] / line[lead] * line).at[2:].set(0)
    if n > 3:
        moved = moved.at[2:].set(jnp.maximum(moved[2:], y[2:] / 10))
    return jnp.where(inside, moved, outside), miss
