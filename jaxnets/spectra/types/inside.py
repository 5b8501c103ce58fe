r"""At any point z, for units with types or time constants: the Hermitised Green's function, and the density.

With T_22 = -i u, T_11 = -i v, T_21 = t of each type, A_a = sum_b kappa_ab u_b and B_a = sum_b (kappa_ba f_b / f_a) v_b,

$$ c_a = \Big\langle \frac{G^2}{D} \Big\rangle_a, \quad u_a = c_a A_a, \quad v_a = c_a B_a, \quad
   t_a = \Big\langle \frac{G\, \overline{(\zeta - G r_a)}}{D} \Big\rangle_a, \quad
   D = |\zeta - G r_a|^2 + G^2 A_a B_a $$

$$ g(z) = \sum_a f_a \Big\langle \frac{\tau\, \overline{(\zeta - G r_a)}}{D} \Big\rangle_a $$

Only products of u and v count: (u, v) -> (k u, v / k) is a gauge. Newton's method solves for u and v of mean 1, t, and
the square p of their size, so that D holds p A B. It is regular at the boundary, where p changes sign. Inside the
support p > 0 and u, v >= 0; outside p = 0 and m < 1 (`outside`). The equations have one such solution, so that a result
certifies itself however it was found.

Parts of singular modes see the means of u and v alone. Their h has branches in p, which join as functions of a c with
p = c <1/(1 + s^2 c)>^2 (`pivots`). So c is the unknown in place of p, and each further such part has one more.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from ..._numerics import as_complex, frozen, implicit_root, in_batches, square_modulus
from ..._numerics.host import plane
from ..._results import Result
from ...couplings import Ensemble
from .. import tolerances
from ..inside import pivot_means
from .outside import conditions, followed, spectral_radius
from .pivots import Pivots, inner_void
from .units import Units


class TypedPoint(Result, axes={"K": "type"}):
    """The solution at one z for each type: t, u = -T_11 T_22, and g = green, the mean over units.

    `inside` says whether z lies in the support. `level` is 1/sqrt(m) - 1 outside, 0 on the boundary, negative inside.
    """

    t: Complex[Array, " K"]
    u: Float[Array, " K"]
    green: Complex[Array, ""]
    level: Float[Array, ""]
    inside: Bool[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class _Problem(eqx.Module):
    """What the equations depend on."""

    ensemble: Ensemble
    units: Units
    z: Complex[Array, ""]
    pivots: Pivots

    @property
    def counts(self) -> tuple[int, int]:
        """How many types there are, and coordinates c."""
        return self.units.fractions.shape[0], max(len(self.pivots.laws), 1)


class _Unknown(eqx.Module):
    """u and v of mean 1, c in place of the square p of their size, and t; u, v and c are 0 outside the support."""

    u: Float[Array, " K"]
    v: Float[Array, " K"]
    c: Float[Array, " q"]
    t: Complex[Array, " K"]

    @property
    def stacked(self) -> Float[Array, " n"]:
        return jnp.concatenate([self.u, self.v, self.c, self.t.real, self.t.imag])

    @property
    def inside(self) -> Bool[Array, ""]:
        return jnp.max(self.c) > 0


def _unknown(y: Float[Array, " n"], problem: _Problem) -> _Unknown:
    num, more = problem.counts
    u, v, c, x, y = jnp.split(y, np.cumsum([num, num, more, num]))
    return _Unknown(u, v, c, jax.lax.complex(x, y))


def _problem(ensemble: Ensemble, units: Units, z: Complex[Array, ""]) -> _Problem:
    return _Problem(ensemble, units, _beside_poles(units, z), Pivots.of(ensemble))


def solve(ensemble: Ensemble, units: Units, z: Complex[Array, ""]) -> TypedPoint:
    """The physical solution at z, differentiable in z, the ensemble and the units."""
    problem = _problem(ensemble, units, z)
    y = implicit_root(_search, _equations, problem)
    at = _unknown(y, problem)
    state = _state(at, problem, True)
    return _point(y, state, _misses(at, state, problem), problem)


def density(ensemble: Ensemble, units: Units, z: Complex[Array, ""]) -> tuple[Float[Array, ""], TypedPoint]:
    """rho(z) = (d_x Re g - d_y Im g) / 2 pi, per unit area, and the solution there."""
    problem = _problem(ensemble, units, z)
    return _density(implicit_root(_search, _equations, problem), problem)


def densities(
    ensemble: Ensemble, units: Units, z: Complex[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], TypedPoint]:
    """`density` at many concrete points, by two compiled programs that are driven from the host.

    Points that are found leave, so that a slow one does not hold up the others.
    """
    law, num = (ensemble, units), units.fractions.shape[0]
    size, left = tolerances.BATCH if z.size > tolerances.FEW else tolerances.FEW, np.arange(z.size)
    one = np.real(z)[:, None] * np.ones(num, np.real(z).dtype)
    state = _start(one, np.ones_like, len(eqx.filter_eval_shape(Pivots.of, ensemble).laws))
    found: Any = None
    for trial in range(tolerances.ATTEMPTS):
        now = jax.tree.map(lambda leaf, left=left: leaf[left], state)
        now, y = _approach_many(law, (z[left], now), size, np.int32(tolerances.DAMPED * 2**trial))
        for array, new in zip(jax.tree.leaves(state), jax.tree.leaves(now), strict=True):
            array[left] = new
        answers = _both_sides(law, z[left], y, size)
        found = answers if found is None else _replaced(found, left, answers)
        left = left[~answers[1].converged]
        if left.size == 0:
            break
    return found


def _both_sides(law: tuple[Ensemble, Units], z, y, size: int):
    """Density and solution next to each y: outside the support where such a solution exists, else inside."""
    outer, is_outer = _outer_many(law, (z, y), size)
    y = np.where(is_outer[:, None], outer, y)
    found: Any = None
    left, near = np.arange(len(y)), is_outer
    for _ in range(tolerances.SOLVE_STEPS + 1):
        y[left], miss, answers = _advance_many(law, (z[left], y[left]), size)
        found = answers if found is None else _replaced(found, left, answers)
        # One more step after a small miss leaves rounding.
        ended, near[left] = near[left] | np.isnan(miss), miss < tolerances.UNSURE
        left = left[~ended]
        if left.size == 0:
            break
    return found


def _replaced(found, rows, by):
    """What was found, with other answers in some rows."""

    def replace(old, new):
        old = np.array(old)
        old[rows] = new
        return old

    return jax.tree.map(replace, found, by)


@in_batches
def _approach_many(law: tuple[Ensemble, Units], rows, steps):
    """A state after more damped steps, and y there."""
    return jax.vmap(lambda z, state: _approach(_problem(*law, z), state, steps))(*rows)


@in_batches
def _outer_many(law: tuple[Ensemble, Units], rows):
    """The solution outside the support next to y, and whether it is one."""

    def outer(z, y):
        problem = _problem(*law, z)
        return _outer(problem, _unknown(y, problem).t)

    return jax.vmap(outer)(*rows)


@in_batches
def _advance_many(law: tuple[Ensemble, Units], rows):
    """One Newton step from each y, the error of the equations before it, and the answers there."""
    return jax.vmap(lambda z, y: _advance(y, _problem(*law, z)))(*rows)


def _beside_poles(units: Units, z: Complex[Array, ""]) -> Complex[Array, ""]:
    """A point next to z where some zeta is 0 there: t may have a pole, but the density is smooth."""
    zeta = jnp.min(jnp.abs(units.zeta(z)))
    size = jnp.max(jnp.abs(units.gains)) + jnp.abs(units.decay)
    beside = tolerances.BESIDE_ORIGIN * size / jnp.max(units.tau)
    return jnp.where(zeta < tolerances.BESIDE_ORIGIN * size, z + as_complex(beside), z)


# --- equations ------------------------------------------------------------------------------------------------


def _fields(problem: _Problem, t, u, v):
    """r and its conjugate, -A and B where T_22 = -i u and T_11 = -i v, without singular modes."""
    fractions = problem.units.fractions
    return problem.pivots.rest.field(jnp.conj(t), t, v, -u, fractions, physical=True)


def _averages(units: Units, z, r, k):
    """<G^2/D>, <G conj(zeta - G r)/D> and <tau conj(zeta - G r)/D> with D = |zeta - G r|^2 + G^2 k, of each type."""
    g = units.gains
    shifted = jnp.conj(units.zeta(z) - as_complex(g) * r[:, None])
    inverse = 1 / (square_modulus(shifted) + g**2 * k[:, None])
    over = shifted * as_complex(inverse)
    return units.mean(g**2 * inverse), units.mean(as_complex(g) * over), units.mean(as_complex(units.tau) * over)


class _State(NamedTuple):
    """A and B of unit size, the averages c, of t and of g, and kappa, where it is asked for."""

    a: Float[Array, " K"]
    b: Float[Array, " K"]
    c: Float[Array, " K"]
    mean: Complex[Array, " K"]
    green: Complex[Array, " K"]
    kappa: Float[Array, "K K"] | None = None


def _state(at: _Unknown, problem: _Problem, with_kappa: bool = False) -> _State:
    # A is linear in u and B in v, at a given p u v: the size stands in v for A, and in u for B.
    units, (p, h, _) = problem.units, problem.pivots.at(at.c)
    left, right = [p * at.v, at.v], [at.u, p * at.u]
    if with_kappa:  # the unit vectors of u, with a v that keeps the mean of p u v
        left += list((p * at.v)[None] / units.fractions[:, None])
        right += list(jnp.eye(len(at.u), dtype=at.u.dtype))
    r, _, a, b = jax.vmap(lambda u, v: _fields(problem, at.t, u, v))(jnp.stack(right), jnp.stack(left))
    A, B = h * units.total(at.u) - a[0], h * units.total(at.v) + b[1]
    averages = _averages(units, problem.z, r[0], p * A * B)
    return _State(A, B, *averages, h * units.fractions[None] - a[2:].T if with_kappa else None)


def _misses(at: _Unknown, state: _State, problem: _Problem) -> Float[Array, " n"]:
    """Zero at the solution inside, with p of any sign; the errors of t are those outside too, where u = v = p = 0."""
    a, b, c, mean = state[:4]
    units, apart = problem.units, problem.pivots.at(at.c)[2]
    # One of the equations of u and v follows from the others; the gauge takes its place.
    gauge = units.total(at.u - at.v)
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.abs(c)))
    error = (at.t - mean) / as_complex(jnp.where(size > 0, size, 1))
    total = units.total(at.u + at.v) - 2
    equations = [at.u - c * a + gauge, at.v - c * b - gauge, total[None], apart * _scale(problem) ** 2]
    return jnp.concatenate([*equations, error.real, error.imag])


def _equations(y, problem: _Problem) -> Float[Array, " n"]:
    """Zero at the solution: outside u, v and c are 0."""
    at = _unknown(y, problem)
    misses = _misses(at, _state(at, problem), problem)
    return jnp.where(at.inside | _is_of_t(y, problem), misses, y)


def _is_of_t(y, problem: _Problem) -> Bool[np.ndarray, " n"]:
    """Which entries are t and the equations of t."""
    return np.arange(len(y)) >= len(y) - 2 * problem.counts[0]


def _multiplier(state: _State) -> Float[Array, ""]:
    """The spectral radius of [c_a kappa_ab]: m outside, and inside 1 for all groups of types that act on each other."""
    assert state.kappa is not None
    return spectral_radius(state.c[:, None] * jnp.abs(state.kappa))


# --- search ---------------------------------------------------------------------------------------------------


def _start(one, ones, num_pivots: int):
    """u, v, t, the share of each part of singular modes in the self-energy, and eta, in units of a scale."""
    shares = ones(one[..., :1].repeat(num_pivots, axis=-1))
    return ones(one), ones(one), plane(0 * one, 0 * one), shares, ones(one[..., 0])


def _scale(problem: _Problem) -> Float[Array, ""]:
    """The unit of J."""
    return jnp.sqrt(jnp.max(problem.ensemble.variance()))


def _search(problem: _Problem) -> Float[Array, " 4K+1"]:
    """y to rounding: attempts of more and more damped steps, each followed by Newton's method on both sides."""
    problem = frozen(problem)
    num, more = problem.counts

    def attempt(carry):
        trial, state, _, _ = carry
        return trial + 1, *_attempt(problem, state, tolerances.DAMPED * 2**trial)

    zero = jnp.zeros(4 * num + more, problem.units.weights.dtype)
    state = _start(jnp.ones(num, zero.dtype), jnp.ones_like, len(problem.pivots.laws))
    start = jnp.zeros((), int), state, zero, jnp.zeros((), bool)
    unfinished = lambda carry: ~carry[3] & (carry[0] < tolerances.ATTEMPTS)
    return jax.lax.while_loop(unfinished, attempt, start)[2]


def _attempt(problem: _Problem, state, steps):
    """A state after more damped steps, the solution next to it on one side of the boundary, and whether it is one."""
    state, y = _approach(problem, state, steps)
    outer, is_outer = _outer(problem, _unknown(y, problem).t)
    inner, miss = _newton(problem, y)
    at = _unknown(inner, problem)
    m = _multiplier(_state(at, problem, True))
    is_inner = (miss < _tolerance(miss.dtype)) & _is_positive(at) & (m < 1 + tolerances.RESIDUAL)
    return state, jnp.where(is_outer, outer, inner), is_outer | is_inner


def _outer(problem: _Problem, t: Complex[Array, " K"]) -> tuple[Float[Array, " 4K+1"], Bool[Array, ""]]:
    """The solution outside the support next to t, and whether it is one."""
    t, miss = followed(problem.ensemble, problem.units, problem.z, t, tolerances.SOLVE_STEPS)
    _, m = conditions(problem.ensemble, problem.units, problem.z, t)
    zero = jnp.zeros_like(t.real)
    good = (miss < _tolerance(miss.dtype)) & (m < 1 + tolerances.UNSURE)
    none = jnp.zeros(problem.counts[1], zero.dtype)
    return _Unknown(zero, zero, none, t).stacked, good


def _is_positive(at: _Unknown) -> Bool[Array, ""]:
    """c > 0 and u, v >= 0."""
    return at.inside & (jnp.minimum(jnp.min(at.u), jnp.min(at.v)) > -tolerances.UNSURE)


def _tolerance(dtype) -> float:
    return max(tolerances.RESIDUAL, tolerances.ROUNDINGS * float(jnp.finfo(dtype).eps))


def _newton(problem: _Problem, y):
    """The inner solution next to y, and the error before the last step."""

    def errors(y):
        at = _unknown(y, problem)
        misses = _misses(at, _state(at, problem), problem)
        return misses, misses

    def step(_, carry):
        jacobian, value = jax.jacfwd(errors, has_aux=True)(carry[0])
        return _moved(carry[0], jnp.linalg.solve(jacobian, value), problem), jnp.max(jnp.abs(value))

    return jax.lax.fori_loop(0, tolerances.SOLVE_STEPS, step, (y, jnp.zeros((), y.dtype)))


def _moved(y, change, problem: _Problem):
    """The next y; c of singular modes, which diverges towards their void, keeps its sign."""
    num, more = problem.counts
    moved, of_c = y - change, slice(2 * num, 2 * num + more)
    return moved.at[of_c].set(jnp.maximum(moved[of_c], y[of_c] / 10)) if problem.pivots.laws else moved


def _approach(problem: _Problem, state, steps):
    """Damped steps of the equations with a regulariser eta > 0, which falls from one scale of J by a factor a call.

    Returns the state, and y inside next to it. Every step keeps the signs, and it converges for every z.
    """
    units, scale = problem.units, _scale(problem)
    ratio = jnp.exp(-jnp.log(tolerances.REGULARISER) / steps.astype(float)).astype(scale.dtype)

    laws, least = problem.pivots.laws, tolerances.SINGULAR_LEAST * scale
    size = lambda u, v: jnp.sqrt(units.total(u) * units.total(v))

    def damped(_, carry):
        u, v, t, shares, eta = carry
        r, _, a, b = _fields(problem, t, u, v)
        energy = jnp.sum(shares) / size(u, v)
        a, b = eta + energy * units.total(u) - a, eta + energy * units.total(v) + b
        c, mean, _ = _averages(units, problem.z, r, a * b)
        new = (u + c * a) / 2, (v + c * b) / 2, (t + mean) / 2
        if laws:
            x = jnp.maximum(1 / size(c * a, c * b) - shares, least)
            means = jnp.stack([pivot_means(law, 1 / x[k] ** 2)[0] for k, law in enumerate(laws)])
            shares = (shares + x / means - x) / 2
        return *new, shares, eta * ratio

    u, v, t, shares, eta = state
    start = u / scale, v / scale, t / as_complex(scale), shares * scale, eta * scale
    u, v, t, shares, eta = jax.lax.fori_loop(0, steps, damped, start)
    c = 1 / jnp.maximum(1 / size(u, v) - shares, least) ** 2 if laws else size(u, v)[None] ** 2
    y = _Unknown(u / units.total(u), v / units.total(v), c, t).stacked
    return (u * scale, v * scale, t * as_complex(scale), shares / scale, eta / scale), y


# --- answers --------------------------------------------------------------------------------------------------


def _point(y, state: _State, misses, problem: _Problem) -> TypedPoint:
    at, m = _unknown(y, problem), _multiplier(state)
    inside, p = at.inside, problem.pivots.at(at.c)[0]
    wanted = jnp.abs(jnp.where(inside | _is_of_t(y, problem), misses, 0))
    residual = jax.lax.stop_gradient(jnp.max(wanted))
    # The equations inside have other solutions, of p < 0, near the boundary.
    outside = (jnp.max(jnp.abs(at.c)) == 0) & (m < 1 + tolerances.UNSURE)
    certified = jnp.where(inside, _is_positive(at) & (m < 1 + tolerances.RESIDUAL), outside)
    size = problem.units.total(at.u * at.v) * p * _scale(problem) ** 2
    level = jnp.where(inside, -size, 1 / jnp.sqrt(m) - 1)
    u, green = jnp.where(inside, p * at.u * at.v, 0), problem.units.total(state.green)
    converged = certified & (residual <= _tolerance(residual.dtype))
    if not problem.pivots.laws:
        return TypedPoint(at.t, u, green, level, inside, residual, converged)
    # Where nothing is solved: T = 0.
    centre, radius = inner_void(problem.ensemble, problem.units)
    away = jnp.abs(problem.z - as_complex(centre))
    void = away < radius
    none = lambda of: jnp.where(void, jnp.zeros_like(of), of)
    level = jnp.where(void, 1 - away / jnp.where(radius > 0, radius, 1), level)
    return TypedPoint(none(at.t), none(u), none(green), level, inside & ~void, none(residual), converged | void)


def _density(y, problem: _Problem) -> tuple[Float[Array, ""], TypedPoint]:
    """Density and solution at the solution y, whose slopes by z are those of the implicit function."""
    return _advance(y, problem)[2]


def _advance(y, problem: _Problem):
    """One Newton step from y, inside where p > 0 and outside where p = 0; the error before it; the answers at y."""
    n = len(y)

    def values(y_and_z):
        y, z = y_and_z[:n], jax.lax.complex(y_and_z[n], y_and_z[n + 1])
        moved, at = _Problem(problem.ensemble, problem.units, z, problem.pivots), _unknown(y, problem)
        state = _state(at, moved, True)
        misses, green = _misses(at, state, moved), moved.units.total(state.green)
        return jnp.concatenate([misses, jnp.stack([green.real, green.imag])]), (state, misses)

    point = jnp.concatenate([y, jnp.stack([problem.z.real, problem.z.imag])])
    slopes, (state, misses) = jax.jacfwd(values, has_aux=True)(point)
    by_y, by_z = slopes[:, :n], slopes[:, n:]
    point = _point(y, state, misses, problem)
    # Outside u, v and p stay 0.
    solved = _unknown(y, problem).inside | _is_of_t(y, problem)
    matrix = jnp.where(solved[:, None], by_y[:n], jnp.eye(n, dtype=y.dtype))
    columns = jnp.where(solved[:, None], jnp.concatenate([misses[:, None], by_z[:n]], axis=1), 0)
    change, *moves = jnp.linalg.solve(matrix, columns).T
    dg = by_z[n:] - by_y[n:] @ jnp.stack(moves, axis=1)
    density = jnp.where(point.inside, (dg[0, 0] - dg[1, 1]) / (2 * jnp.pi), 0)
    return _moved(y, change, problem), jnp.max(jnp.abs(columns[:, 0])), (density, point)
