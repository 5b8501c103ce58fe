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
from jaxtyping import Array, Bool, Complex, Float

from ..._laws import Discrete
from ..._numerics import as_complex, square_modulus
from ...couplings import Ensemble
from .averages import has_spread
from .state import StaticState, field_at


def response_at(
    ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""], steps: int = 16
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


def _settled(ensemble: Ensemble, gains: Discrete, z, t) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """One Newton step from t towards <q> at z, and how far they were apart."""
    miss, slope = jax.jvp(lambda t: _mean_response(ensemble, gains, z, t) - t, (t,), (jnp.ones_like(t),))
    return t - miss / slope, jnp.abs(miss)


def _mean_response(ensemble: Ensemble, gains: Discrete, z, t) -> Complex[Array, ""]:
    """<q> if it were t."""
    g = as_complex(gains.values)
    return gains.mean(g / (z - ensemble.r_and_kappa(t)[0] * g))


def _is_outside(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]) -> Bool[Array, ""]:
    """m < 1: there is one such t at most, and only outside of the bulk (see `spectra.exterior`)."""
    r, strength = ensemble.r_and_kappa(t)
    g = as_complex(gains.values)
    return strength * gains.mean(square_modulus(g / (z - r * g))) < 1


def one_less(M: Complex[Array, "m m"]) -> Complex[Array, "m m"]:
    return jnp.eye(M.shape[0], dtype=M.dtype) - M


def finite(a: Array) -> Array:
    """For decompositions that know no NaN: what they give for 0 is certified like any other guess."""
    return jnp.where(jnp.all(jnp.isfinite(a)), a, jnp.zeros_like(a))


# --- one outlier ----------------------------------------------------------------------------------------------


class Outlier(eqx.Module):
    """A zero of D outside of the bulk (NaN if there is none), its order, and how well the equations hold."""

    z: Complex[Array, ""]
    order: Float[Array, ""]
    residual: Float[Array, ""]


def distinct(found: Outlier) -> Outlier:
    """Each zero once, NaN in place of those that are there already."""
    near = jnp.abs(found.z[:, None] - found.z[None]) <= 1e-5 * (1 + jnp.abs(found.z))[None]
    repeated = jnp.any(jnp.tril(near, -1), axis=1)
    return Outlier(jnp.where(repeated, jnp.nan, found.z), found.order, found.residual)


def outlier(state: StaticState, gains: Discrete, guess: Complex[Array, ""], steps: int = 30) -> Outlier:
    """Newton's method for z and t with D = 0 and t = <q>."""
    ensemble = state.problem.ensemble

    def D(z, t):
        return jnp.linalg.det(one_less(order_parameter_map(state, gains, z, t)))

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

    z, t = jax.lax.fori_loop(0, steps, step, (guess, response_at(ensemble, gains, guess)[0]))
    # D grows as the distance to the power of its order.
    distance = float(jnp.finfo(z.real.dtype).eps) ** 0.25 * (1 + jnp.abs(z))
    size, miss = jax.vmap(beside)(distance * jnp.array([0, 1, 2], z.real.dtype))
    order = jnp.maximum(jnp.round(jnp.log2(size[2] / size[1])), 1)
    residual = size[0] + miss[0]
    found = (residual < 1e-6) & (jnp.abs(z) > 1e-6) & _is_outside(ensemble, gains, z, t)
    return Outlier(jnp.where(found, z, jnp.nan), order, residual)


def order_parameter_map(
    state: StaticState, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]
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
