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
from ..spectra.eigen import eigenvalues
from ..spectra.exterior import Gains, rightmost
from ..transfer import Transfer
from .static import Input, Problem, StaticState, field_at, has_spread, problem_of, solve


class StaticStability(eqx.Module):
    """Leading eigenvalues of J phi'(x) at a fixed point: those of the Jacobian are z - 1, per tau.

    `outliers` (K + 2,) are sorted by falling real part, each once, followed by NaN; they lie beyond the bulk, whose
    largest real part is `edge` (0 without a random part). `stable` says that all real parts are below 1; a marginal
    state, as on a ring, is not stable. `residual` is that of the outliers' equations and of the edge's; `converged`
    asks for 1e-6.
    """

    edge: Float[Array, ""]
    outliers: Complex[Array, " K+2"]
    stable: Bool[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def static_stability(state: StaticState) -> StaticStability:
    r"""The right edge of the bulk and the isolated eigenvalues of J phi'(x) at a `static_state`.

    $$ \kappa(t) \langle |q|^2 \rangle = 1 \;\text{ on the edge}, \qquad \det(1 - M(z)) = 0, \quad
       q = \frac{\phi'}{z - r(t) \phi'}, \quad t = \langle q \rangle $$

    For one mode and no random part the outlier is z = O <phi' + (h - <h>) phi''>. With independent weights and inputs,
    but no mode, it is z = g^2 <phi'^2 + phi phi''> if that is beyond the bulk, of radius g <phi'^2>^(1/2).

    Valid for N -> infinity; isolated eigenvalues of samples scatter by 1 / sqrt(N). Where neither r nor kappa depends
    on t they are those of one matrix; else each is sought by Newton's method from that matrix at z = 1, so that one
    far from its guess may be missed. Not differentiable (`state.bulk` is); works under `jit` and `vmap`.

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
    missed = jnp.where(variance > 0, bulk.residual, 0)
    outliers, residuals = _outliers(state, gains)
    outliers = _distinct(outliers)
    isolated = ~jnp.isnan(outliers.real)
    residual = jnp.maximum(jnp.max(jnp.where(isolated, residuals, 0)), missed)
    order = jnp.lexsort((-outliers.imag, jnp.where(isolated, -outliers.real, jnp.inf)))
    stable = (edge < 1 - _MARGIN) & ~jnp.any(outliers.real >= 1 - _MARGIN)
    return StaticStability(edge, outliers[order], stable, residual, state.converged & (residual <= 1e-6))


_MARGIN = 1e-6  # within which an eigenvalue is marginal


def _distinct(z: Complex[Array, " k"]) -> Complex[Array, " k"]:
    """Each value once, NaN in place of those that are there already."""
    near = jnp.abs(z[:, None] - z[None]) <= 1e-5 * (1 + jnp.abs(z))[None]
    repeated = jnp.any(jnp.tril(near, -1), axis=1)
    return jnp.where(repeated, jnp.nan, z)


def _outliers(state: StaticState, gains: Gains) -> tuple[Complex[Array, " K+2"], Float[Array, " K+2"]]:
    """z, NaN where no outlier is found, and the residuals."""
    one, response = as_complex(jnp.ones_like(state.mean)), as_complex(state.response)
    at_1 = eigenvalues(order_parameter_map(state, gains, one, response).real)

    def follow(z):
        z, t, residual = _newton(state, gains, z)
        r, strength = state.problem.ensemble.r_and_kappa(t)
        g = as_complex(gains.values)
        outside = strength * gains.average(square_modulus(g / (z - r * g))) < 1
        size = jnp.abs(z)
        return jnp.where(outside & (residual < 1e-6) & (size > 1e-6), z, jnp.nan), residual

    # An eigenvalue 0 is no outlier, but a combination of order parameters that does not act back.
    start = jnp.where(jnp.abs(at_1) > 1e-6, at_1, jnp.nan)
    return jax.vmap(follow)(start)


def _newton(
    state: StaticState, gains: Gains, z: Complex[Array, ""], steps: int = 30
) -> tuple[Complex[Array, ""], Complex[Array, ""], Float[Array, ""]]:
    """z and t = <q> with det(1 - M) = 0, and what is left of these equations."""

    def equations(z, t):
        r, _ = state.problem.ensemble.r_and_kappa(t)
        g = as_complex(gains.values)
        M = order_parameter_map(state, gains, z, t)
        det = jnp.linalg.det(jnp.eye(M.shape[0], dtype=M.dtype) - M)
        return gains.average(g / (z - r * g)) - t, det

    def step(_, carry):
        z, t = carry
        one, zero = jnp.ones_like(z), jnp.zeros_like(z)
        (f, det), (f_z, det_z) = jax.jvp(equations, (z, t), (one, zero))
        _, (f_t, det_t) = jax.jvp(equations, (z, t), (zero, one))
        pivot = f_z * det_t - f_t * det_z
        # At a root that is double by symmetry the pivot vanishes too: there the step ends.
        move = (jnp.abs(f) + jnp.abs(det) > 1e-13) & (pivot != 0)
        pivot = jnp.where(move, pivot, 1)
        dz, dt = (det * f_t - f * det_t) / pivot, (f * det_z - det * f_z) / pivot
        return jnp.where(move, z + dz, z), jnp.where(move, t + dt, t)

    z, t = jax.lax.fori_loop(0, steps, step, (z, as_complex(state.response) / z))
    f, det = equations(z, t)
    return z, t, jnp.abs(f) + jnp.abs(det)


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
    """Distinct solutions, sorted by the variance of their field, then by kappa. Made by `static_states`.

    Every array of `state` (its problem too) and of `stability` has a leading axis (k,); `counts` starts arrived at each
    solution.
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
