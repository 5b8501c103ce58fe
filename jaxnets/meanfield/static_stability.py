r"""All fixed points of a network for N -> infinity, and the spectrum of the Jacobian at each.

The Jacobian at a fixed point is J G - 1 with G = phi'(x). Its bulk is that of J G with G independent of J. Its
isolated eigenvalues are those of the order parameters: a perturbation e^{(z-1) t / tau} of the one-unit equations,

$$ \phi_1 = q\, (\eta_1 + u \cdot \kappa_1 + T\, S_1\, \phi_0), \qquad q = \frac{G}{z - r(t)\, G}, \quad
   t = \langle q \rangle $$

changes the modes, kappa_1 = E[v phi_1], the covariance of rates, b = <phi_0 phi_1>, and the response of the later
state to earlier fields, S_1 = < d phi_1 / d h >. The noise eta_1 follows the static one where they are correlated,

$$ \langle \eta_0 \eta_1 \rangle = \kappa(S, t)\, b + u_1 \langle \phi_0^2 \rangle S_1 , $$

with kappa, T and u_1 of `Ensemble.four_point` at (S, t): the perturbed responses enter r and kappa as a triangular
matrix ((S, 0), (S_1, t)), of which any function has a divided difference off the diagonal. This is a linear map of
(kappa_1, b, S_1), M(z), and eigenvalues are where det(1 - M(z)) = 0.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int, PRNGKeyArray

from .._arguments import positive, require, require_whole, scalar
from .._numerics import as_complex, frozen, is_concrete, square_modulus
from ..couplings import Ensemble
from ..eigen import eigenvalues
from ..spectra.exterior import Gains, rightmost
from ..transfer import Transfer
from .static import Input, Problem, StaticState, field_at, has_spread, problem_of, solve


class StaticStability(eqx.Module):
    """Leading eigenvalues z of J phi'(x) at a fixed point (z - 1 of the Jacobian, per tau); made by `static_stability`.

    `edge` is the largest real part of the bulk (0 without a random part). `outliers` are sorted by falling real part,
    each once, followed by NaN. `missed` is how many more there are with Re z > `searched_from`, a line between the edge
    and 1 if the edge is below 1, counted with their multiplicity: 0 says that the list is complete there, -1 that they
    could not be counted. Left of the line there may be others.

    `stable` says that all real parts are below 1, and is True only where none is missed; a marginal state, as on a
    ring, is not stable. `residual` is that of the outliers' equations and of the edge's; `converged` asks for 1e-6 and
    for none missed.
    """

    edge: Float[Array, ""]
    outliers: Complex[Array, " k"]
    stable: Bool[Array, ""]
    searched_from: Float[Array, ""]
    missed: Int[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]

    @property
    def rightmost(self) -> Complex[Array, ""]:
        """What decides stability: the first outlier if it lies beyond the edge, else the edge."""
        first = self.outliers[..., 0]
        return jnp.where(first.real > self.edge, first, as_complex(self.edge))


def static_stability(state: StaticState) -> StaticStability:
    r"""The right edge of the bulk and the isolated eigenvalues of J phi'(x) at a `static_state`.

    $$ \kappa(t) \langle |q|^2 \rangle = 1 \;\text{ on the edge}, \qquad D(z) = \det(1 - M(z)) = 0, \quad
       q = \frac{\phi'}{z - r(t) \phi'}, \quad t = \langle q \rangle $$

    For one mode and no random part the outlier is z = O <phi' + (h - <h>) phi''>. With independent weights and inputs,
    but no mode, it is z = g^2 <phi'^2 + phi phi''> if that is beyond the bulk, of radius g <phi'^2>^(1/2).

    D is holomorphic right of the bulk and 1 at infinity, so that along a vertical line its phase winds once for each
    zero on the right (Nyquist's criterion). Integrals of w^p / (1 - M) along the line, w a coordinate in which that
    half-plane is a disc, give guesses of these zeros (Beyn 2012), Newton's method makes them exact, and the winding of
    what remains when they are divided out says how many are missed.

    Valid for N -> infinity; isolated eigenvalues of samples scatter by 1 / sqrt(N). Not differentiable (`state.bulk`
    is); works under `jit` and `vmap`.

    Source: Mastrogiuseppe & Ostojic 2018, with the fluctuations at finite z and memory kernels derived here.
    """
    return _stability(frozen(state))


@eqx.filter_jit
def _stability(state: StaticState) -> StaticStability:
    problem = state.problem
    gains = Gains(problem.transfer.slope(state.x), state.weights)
    variance = problem.ensemble.variance()
    bulk = rightmost(problem.ensemble, gains)
    edge = jnp.where(variance > 0, jnp.where(bulk.converged, bulk.z.real, jnp.nan), 0)
    unmet = jnp.where(variance > 0, bulk.residual, 0)

    line = half_plane(state, gains, edge)
    found = _distinct(jax.vmap(lambda z: _outlier(state, gains, z))(_guesses(line)))
    isolated = ~jnp.isnan(found.z.real)
    missed = number_missed(line, found.z, found.order)
    residual = jnp.maximum(jnp.max(jnp.where(isolated, found.residual, 0)), unmet)
    order = jnp.lexsort((-found.z.imag, jnp.where(isolated, -found.z.real, jnp.inf)))
    stable = (edge < 1 - _MARGIN) & ~jnp.any(found.z.real >= 1 - _MARGIN) & (missed == 0)
    converged = state.converged & (residual <= 1e-6) & (missed == 0)
    return StaticStability(edge, found.z[order], stable, line.start, missed, residual, converged)


_MARGIN = 1e-6  # within which an eigenvalue is marginal


# --- the half-plane right of the bulk -------------------------------------------------------------------------


class _Line(eqx.Module):
    """Points z = start + length (1 + w) / (1 - w) of a vertical line, Im z > 0, |w| = 1, with 1 - M there."""

    start: Float[Array, ""]
    length: Float[Array, ""]
    w: Complex[Array, " n"]
    z: Complex[Array, " n"]
    matrix: Complex[Array, "n m m"]
    at_start: Complex[Array, "m m"]  # 1 - M where the line meets the real axis
    outside: Bool[Array, ""]  # that all points lie outside of the bulk, without which there is no telling


_POINTS = 128


def half_plane(state: StaticState, gains: Gains, edge: Float[Array, ""]) -> _Line:
    """The line from which on outliers are sought."""
    # Not left of 0, where eigenvalues decide nothing: then rays from 0 lead to all points without crossing the bulk.
    first = jnp.maximum(edge, 0)
    start = first + jnp.where(first < 1, jnp.minimum(0.05, (1 - first) / 2), 0.05)
    length = jnp.maximum(start, 1)
    angle = (jnp.arange(_POINTS, dtype=edge.dtype) + 0.5) * jnp.pi / _POINTS
    w = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    z = jax.lax.complex(jnp.full_like(angle, start), length / jnp.tan(angle / 2))

    def at(z):
        t, outside = _response_at(state.problem.ensemble, gains, z)
        return _one_less(order_parameter_map(state, gains, z, t)), outside

    matrices, outside = jax.vmap(at)(jnp.append(z, as_complex(start)))
    return _Line(start, length, w, z, matrices[:-1], matrices[-1], jnp.all(outside))


def _guesses(line: _Line) -> Complex[Array, " k"]:
    """Where D may vanish: right of the line, by integrals along it; anywhere, if M falls as 1 / z."""
    inverse = jnp.linalg.inv(line.matrix)
    # The lower half of the circle is the complex conjugate of the upper one.
    A = [jnp.mean((line.w ** (p + 1))[:, None, None] * inverse, axis=0).real for p in range(4)]
    low, high = jnp.block([[A[0], A[1]], [A[1], A[2]]]), jnp.block([[A[1], A[2]], [A[2], A[3]]])
    # As many eigenvalues as `low` has directions are zeros w of D, the others are 0.
    w = eigenvalues(_finite(jnp.linalg.pinv(_finite(low), rtol=1e-8) @ high))
    right = as_complex(line.start) + as_complex(line.length) * (1 + w) / (1 - w)

    M = _one_less(line.at_start)
    anywhere = as_complex(line.start) * eigenvalues(_finite(M.real))
    # An eigenvalue 0 is no outlier, but a combination of order parameters that does not act back.
    return jnp.concatenate([right, jnp.where(jnp.abs(anywhere) > 1e-6, anywhere, jnp.nan)])


def number_missed(line: _Line, z: Complex[Array, " k"], order: Float[Array, " k"]) -> Int[Array, ""]:
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


def _response_at(
    ensemble: Ensemble, gains: Gains, z: Complex[Array, ""], steps: int = 16
) -> tuple[Complex[Array, ""], Bool[Array, ""]]:
    """t(z) = <q>, followed from infinity along the ray to z, and whether z lies outside of the bulk there."""

    def follow(k, carry):  # along the ray, then on the spot
        t, _ = carry
        part = jnp.minimum((k + 1) / steps, 1)
        ahead = jnp.where(k < steps, (k + 1) / jnp.maximum(k, 1), 1)
        return _settled(ensemble, gains, z / as_complex(part), t * as_complex(ahead))

    start = as_complex(gains.moment(1)) / (steps * z), jnp.zeros_like(z.real)
    t, miss = jax.lax.fori_loop(0, steps + 5, follow, start)
    return t, (miss < 1e-6 * jnp.abs(t)) & _is_outside(ensemble, gains, z, t)


def _settled(ensemble: Ensemble, gains: Gains, z, t) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """One Newton step from t towards <q> at z, and how far they were apart."""
    miss, slope = jax.jvp(lambda t: _mean_response(ensemble, gains, z, t) - t, (t,), (jnp.ones_like(t),))
    return t - miss / slope, jnp.abs(miss)


def _mean_response(ensemble: Ensemble, gains: Gains, z, t) -> Complex[Array, ""]:
    """<q> if it were t."""
    g = as_complex(gains.values)
    return gains.average(g / (z - ensemble.r_and_kappa(t)[0] * g))


def _is_outside(ensemble: Ensemble, gains: Gains, z: Complex[Array, ""], t: Complex[Array, ""]) -> Bool[Array, ""]:
    """m < 1: there is one such t at most, and only outside of the bulk (see `spectra.exterior`)."""
    r, strength = ensemble.r_and_kappa(t)
    g = as_complex(gains.values)
    return strength * gains.average(square_modulus(g / (z - r * g))) < 1


def _one_less(M: Complex[Array, "m m"]) -> Complex[Array, "m m"]:
    return jnp.eye(M.shape[0], dtype=M.dtype) - M


def _finite(a: Array) -> Array:
    """For decompositions that know no NaN: what they give for 0 is certified like any other guess."""
    return jnp.where(jnp.all(jnp.isfinite(a)), a, jnp.zeros_like(a))


# --- one outlier ----------------------------------------------------------------------------------------------


class _Outlier(eqx.Module):
    """A zero of D outside of the bulk (NaN if there is none), its order, and how well the equations hold."""

    z: Complex[Array, ""]
    order: Float[Array, ""]
    residual: Float[Array, ""]


def _distinct(found: _Outlier) -> _Outlier:
    """Each zero once, NaN in place of those that are there already."""
    near = jnp.abs(found.z[:, None] - found.z[None]) <= 1e-5 * (1 + jnp.abs(found.z))[None]
    repeated = jnp.any(jnp.tril(near, -1), axis=1)
    return _Outlier(jnp.where(repeated, jnp.nan, found.z), found.order, found.residual)


def _outlier(state: StaticState, gains: Gains, guess: Complex[Array, ""], steps: int = 30) -> _Outlier:
    """Newton's method for z and t with D = 0 and t = <q>."""
    ensemble = state.problem.ensemble

    def D(z, t):
        return jnp.linalg.det(_one_less(order_parameter_map(state, gains, z, t)))

    def equations(z, t):
        errors = _mean_response(ensemble, gains, z, t) - t, D(z, t)
        return errors, errors

    def step(_, carry):
        z, t = carry
        ((f_z, f_t), (D_z, D_t)), (f, D) = jax.jacfwd(equations, (0, 1), holomorphic=True, has_aux=True)(z, t)
        pivot = f_z * D_t - f_t * D_z
        # At a root that is double by symmetry the pivot vanishes too: there the step ends.
        move = (jnp.abs(f) + jnp.abs(D) > 1e-13) & (pivot != 0)
        pivot = jnp.where(move, pivot, 1)
        dz, dt = (D * f_t - f * D_t) / pivot, (f * D_z - D * f_z) / pivot
        return jnp.where(move, z + dz, z), jnp.where(move, t + dt, t)

    def beside(offset):
        at = z + jax.lax.complex(offset, offset)  # between the directions in which other zeros crowd
        nearby, miss = jax.lax.fori_loop(0, 4, lambda _, carry: _settled(ensemble, gains, at, carry[0]), (t, offset))
        return jnp.abs(D(at, nearby)), miss

    z, t = jax.lax.fori_loop(0, steps, step, (guess, _response_at(ensemble, gains, guess)[0]))
    # D grows as the distance to the power of its order.
    distance = float(jnp.finfo(z.real.dtype).eps) ** 0.25 * (1 + jnp.abs(z))
    size, miss = jax.vmap(beside)(distance * jnp.array([0, 1, 2], z.real.dtype))
    order = jnp.maximum(jnp.round(jnp.log2(size[2] / size[1])), 1)
    residual = size[0] + miss[0]
    found = (residual < 1e-6) & (jnp.abs(z) > 1e-6) & _is_outside(ensemble, gains, z, t)
    return _Outlier(jnp.where(found, z, jnp.nan), order, residual)


def order_parameter_map(
    state: StaticState, gains: Gains, z: Complex[Array, ""], t: Complex[Array, ""]
) -> Complex[Array, "K+2 K+2"]:
    """M(z): what (kappa_1, b / <phi^2>^(1/2), S_1 <phi^2>^(1/2)) become when units respond to them, t = <q>."""
    problem = state.problem
    ensemble, modes = problem.ensemble, problem.modes
    field = field_at(problem, jnp.concatenate([state.kappa, jnp.stack([state.rate_power, state.response])]))
    at = ensemble.four_point(as_complex(state.response), t)
    r, _ = ensemble.r_and_kappa(t)

    # Directions of h in units of its standard deviation, 0 where there is none.
    spread = has_spread(field.variance)
    sd = jnp.sqrt(jnp.where(spread, field.variance, 1))
    over_sd = jnp.where(spread, 1 / sd, 0)
    a = as_complex((1 - modes.uniform) * field.left * over_sd)  # of h along U
    d = as_complex(problem.input.right * over_sd)  # along W
    has_noise = field.random > 0
    c = jnp.sqrt(jnp.where(has_noise, state.rate_power, 1))
    along_eta = as_complex(jnp.where(has_noise, jnp.sqrt(jnp.where(has_noise, field.random, 1)) * over_sd, 0))
    # eta_1 = (...) times the unit variable of eta_0: from b, and from S_1.
    per_eta = as_complex(jnp.where(has_noise, 1 / jnp.sqrt(jnp.where(has_noise, field.strength, 1)), 0))
    eta_of_b, eta_of_S = at.kappa * per_eta, at.u1 * per_eta

    # h in those units.
    zeta = as_complex((state.x - state.reaction * problem.transfer(state.x) - state.mean) / sd)
    phi = as_complex(jnp.where(has_noise, problem.transfer(state.x) / c, 0))
    g = as_complex(gains.values)
    q = g / (z - r * g)
    mean = gains.average
    q0, q1, q2 = mean(q), mean(q * zeta), mean(q * (zeta**2 - 1))
    p0, p1, p2 = mean(phi * q), mean(phi * q * zeta), mean(phi**2 * q)
    e = as_complex(modes.uniform)

    # Gaussian variables u with h = ... + a u obey <u f(h)> = a <zeta f>, <u u' f> = <f> delta + a a' <(zeta^2 - 1) f>.
    to_kappa = (
        jnp.diag(q0 * (1 - e)) + q0 * jnp.outer(e, e) + q1 * (jnp.outer(a, e) + jnp.outer(e, a)) + q2 * jnp.outer(a, a)
    )
    u_phi = jnp.concatenate(
        [
            to_kappa,
            (along_eta * eta_of_b * (q2 * a + q1 * e))[:, None],
            (along_eta * eta_of_S * (q2 * a + q1 * e) + at.T * (p1 * a + p0 * e))[:, None],
        ],
        axis=1,
    )
    slope = jnp.concatenate(  # sd S_1
        [q2 * a + q1 * e, (along_eta * eta_of_b * q2)[None], (along_eta * eta_of_S * q2 + at.T * p1)[None]]
    )
    b = jnp.concatenate(
        [p1 * a + p0 * e, (along_eta * eta_of_b * p1)[None], (along_eta * eta_of_S * p1 + at.T * p2)[None]]
    )
    kappa = as_complex(modes.overlaps) @ u_phi + jnp.outer(as_complex(modes.noise) * d, slope)
    return jnp.concatenate([kappa, b[None], (as_complex(c * over_sd) * slope)[None]])


class StaticStates(eqx.Module):
    """Distinct solutions, sorted by the variance of their field, then by kappa; made by `static_states`.

    Every array of `state` (its problem too) and of `stability` has a leading axis (k,); `counts` starts arrived at each
    solution, `failed` at none.
    """

    state: StaticState
    stability: StaticStability
    counts: Int[Array, " k"]
    failed: Int[Array, ""]  # starts that arrived nowhere


def static_states(
    ensemble: Ensemble,
    transfer: Transfer,
    input: Input | None = None,
    *,
    key: PRNGKeyArray,
    starts: int = 64,
    scale: Float[ArrayLike, ""] = 2.0,
    nodes: int = 100,
    same: float = 1e-6,
) -> StaticStates:
    """All solutions of `static_state` found from random guesses, each once, with its stability.

    The first guess is no field beside the input, from which the rest state is found. The others have kappa_k Gaussian
    of standard deviation `scale`, and log-normal variances around `scale`^2, over three orders of magnitude. Two
    results of which no order parameter differs by more than `same`, relative to 1 + its size, are one. There is no
    promise that all are found: compare with more `starts`. Solutions that are not isolated, as the points of a ring,
    are returned as many as were found.

    Merging depends on values: under `jit` and `vmap`, and for derivatives, use `static_state`.

    Raises:
        ValueError: for traced arguments, starts < 1, a scale or `same` that is not positive, where no start arrives at
            a solution, and where `static_state` does.

    Source: as `static_state`.
    """
    problem = problem_of(ensemble, transfer, input)
    if not is_concrete(problem):
        raise ValueError("`ensemble` and `input` must be concrete to merge solutions: transform `static_state` instead")
    require_whole("starts", starts)
    require_whole("nodes", nodes, least=20)
    scale = scalar("scale", scale)
    require("scale", scale, positive, "a finite number > 0")
    require("same", same, positive, "a finite number > 0")

    K, dtype = problem.modes.noise.shape[0], problem.modes.noise.dtype
    key_kappa, key_variance = jax.random.split(key)
    scale = scale.astype(dtype)
    kappa = scale * jax.random.normal(key_kappa, (starts, K), dtype)
    variance = scale**2 * jnp.exp(2 * jax.random.normal(key_variance, (starts,), dtype))
    found = _solve_many(problem, kappa.at[0].set(0), variance.at[0].set(0), nodes)

    y = np.concatenate([found.kappa, np.stack([found.rate_power, found.response], -1)], -1)
    index, kept = _merged(y, np.where(found.converged, found.residual, np.inf), same)
    if not kept:
        raise ValueError(f"`starts` must reach a solution, got none from {starts}: try others, or more `nodes`")
    order = np.lexsort((*y[kept, :K].T[::-1], np.round(np.asarray(found.variance)[kept] / same)))
    kept = np.array(kept)[order]
    state = jax.tree.map(lambda leaf: leaf[kept], found)
    return StaticStates(
        state=state,
        stability=jax.vmap(static_stability)(state),
        counts=jnp.asarray(np.bincount(index[index >= 0], minlength=len(kept))[order]),
        failed=jnp.asarray(np.sum(index < 0)),
    )


@eqx.filter_jit
def _solve_many(problem: Problem, kappa: Float[Array, "m K"], variance: Float[Array, " m"], nodes: int) -> StaticState:
    return jax.vmap(lambda kappa, variance: solve(problem, kappa, variance, nodes))(kappa, variance)


def _merged(y: np.ndarray, residuals: np.ndarray, same: float) -> tuple[np.ndarray, list[int]]:
    """Which distinct row each row of y belongs to (-1 for an infinite residual), and a representative of each."""
    index, kept = np.full(len(y), -1), []
    for i in np.argsort(residuals, kind="stable"):
        if not np.isfinite(residuals[i]):
            break
        near = np.flatnonzero(np.all(np.abs(y[kept] - y[i]) <= same * (1 + np.abs(y[i])), axis=-1))
        index[i] = near[0] if len(near) else len(kept)
        if not len(near):
            kept.append(i)
    return index, kept
