r"""Isolated eigenvalues of the Jacobian at a fixed point: the order parameters respond to themselves.

The Jacobian at a fixed point is J G - 1 with G = phi'(x). Its bulk is the bulk of J G with G independent of J. Its
isolated eigenvalues belong to the order parameters: a perturbation e^{(z-1) t / tau} of the one-unit equations,

$$ \phi_1 = q\, (\eta_1 + u \cdot \kappa_1 + T\, S_1\, \phi_0), \qquad q = \frac{G}{z - r(t)\, G}, \quad
   t = \langle q \rangle $$

changes the modes, kappa_1 = E[v phi_1], the covariance of rates, b = <phi_0 phi_1>, and the response of the later
state to earlier fields, S_1 = <d phi_1 / d h>. The noise eta_1 is correlated with the static noise eta_0,

$$ \langle \eta_0 \eta_1 \rangle = \kappa(S, t)\, b + u_1 \langle \phi_0^2 \rangle S_1 , $$

with kappa, T and u_1 of `Ensemble.four_point` at (S, t). (Perturbed responses enter r and kappa as the triangular
matrix ((S, 0), (S_1, t)), and a function of it has a divided difference off the diagonal.) This is a linear map M(z) of
(kappa_1, b, S_1), and z is an eigenvalue where D(z) = det(1 - M(z)) = 0. A further order parameter is one more row and
column of `order_parameter_map`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from ..._laws import Discrete
from ..._numerics import as_complex, follow_line, iterate, newton_step, square_modulus
from ...couplings import Ensemble
from .averages import has_spread
from .state import StaticState, field_at

# t(z) is followed from infinity in this many parts of the ray, then by Newton steps at z, which square the error; the
# relative error at which t is found.
_RAY, _NEWTON_STEPS, _FOLLOWED = 16, 5, 1e-6
# Newton steps to an outlier, and the sum of the two errors at which they stop: some roundings of D, of order one.
_MOST_STEPS, _EXACT = 30, 1e-13
# Largest error of an outlier's equations. Outliers nearer to 0 than this are combinations that do not act back.
TOLERANCE, _NO_OUTLIER = 1e-6, 1e-6
# The order of a zero shows in D at twice this distance and at once: where D is far above rounding also for a double
# zero, and zeros that differ by more than 1e-3 count as two.
_ASIDE = 0.25  # as a power of the rounding unit, 1e-4 in float64
# Two Newton searches that end this close, relative to 1 + |z|, found one zero.
_SAME = 1e-5


def response_at(
    ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""]
) -> tuple[Complex[Array, ""], Bool[Array, ""]]:
    """t(z) = <q>, followed from infinity along the ray to z, and whether z lies outside of the bulk."""

    def step(scaled, _, part):
        """A Newton step for t z, which is <G> at infinity."""
        at = z / as_complex(jnp.asarray(part, z.real.dtype))
        t, miss = _towards(ensemble, gains, at, scaled / at)
        return t * at, miss

    scaled, miss = follow_line(step, as_complex(gains.moment(1)), None, _RAY, 0.0, _NEWTON_STEPS)
    t = scaled / z
    return t, (miss < _FOLLOWED * jnp.abs(t)) & _is_outside(ensemble, gains, z, t)


def _towards(
    ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]
) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """One Newton step for t = <q> at z, and the error before the step."""
    return newton_step(lambda t: _mean_response(ensemble, gains, z, t) - t, t)


def _mean_response(
    ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]
) -> Complex[Array, ""]:
    """<q> for a given t."""
    g = as_complex(gains.values)
    return gains.mean(g / (z - ensemble.r_and_kappa(t)[0] * g))


def _is_outside(ensemble: Ensemble, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]) -> Bool[Array, ""]:
    """Whether kappa(t) <|q|^2> < 1: outside of the bulk one t at most has it, inside none (see `spectra.outside`)."""
    r, strength = ensemble.r_and_kappa(t)
    g = as_complex(gains.values)
    return strength * gains.mean(square_modulus(g / (z - r * g))) < 1


def one_less(M: Complex[Array, "m m"]) -> Complex[Array, "m m"]:
    """1 - M."""
    return jnp.eye(M.shape[0], dtype=M.dtype) - M


# --- one outlier ----------------------------------------------------------------------------------------------


class Outlier(eqx.Module):
    """A zero z of D outside of the bulk, its order, and the error of its equations; z is NaN if none was found."""

    z: Complex[Array, ""]
    order: Float[Array, ""]
    residual: Float[Array, ""]


def distinct(found: Outlier) -> Outlier:
    """The outliers of several searches, with NaN in place of a z that is there already; under `jit`, unlike `merge`."""
    near = jnp.abs(found.z[:, None] - found.z[None]) <= _SAME * (1 + jnp.abs(found.z))[None]
    repeated = jnp.any(jnp.tril(near, -1), axis=1)
    return Outlier(jnp.where(repeated, jnp.nan, found.z), found.order, found.residual)


def outlier(state: StaticState, gains: Discrete, guess: Complex[Array, ""]) -> Outlier:
    """The outlier near a guess, by Newton's method for z and t with D = 0 and t = <q>."""
    ensemble = state.problem.ensemble

    def D(z, t):
        return jnp.linalg.det(one_less(order_parameter_map(state, gains, z, t)))

    def equations(z, t):
        errors = _mean_response(ensemble, gains, z, t) - t, D(z, t)
        return errors, errors

    # Not `find_root`: at a zero that is double by symmetry the Jacobian is singular, and there the search has to end.
    def step(_, carry):
        z, t = carry
        ((f_z, f_t), (D_z, D_t)), (f, D) = jax.jacfwd(equations, (0, 1), holomorphic=True, has_aux=True)(z, t)
        pivot = f_z * D_t - f_t * D_z
        move = (jnp.abs(f) + jnp.abs(D) > _EXACT) & (pivot != 0)
        pivot = jnp.where(move, pivot, 1)
        dz, dt = (D * f_t - f * D_t) / pivot, (f * D_z - D * f_z) / pivot
        return jnp.where(move, z + dz, z), jnp.where(move, t + dt, t)

    def beside(offset):
        at = z + jax.lax.complex(offset, offset)  # between the axes, along which other zeros crowd
        nearby, miss = iterate(lambda t, _: _towards(ensemble, gains, at, t), t, None, 0.0, 4)
        return jnp.abs(D(at, nearby)), miss

    z, t = jax.lax.fori_loop(0, _MOST_STEPS, step, (guess, response_at(ensemble, gains, guess)[0]))
    # D grows as the distance to the power of its order.
    distance = float(jnp.finfo(z.real.dtype).eps) ** _ASIDE * (1 + jnp.abs(z))
    size, miss = jax.vmap(beside)(distance * jnp.array([0, 1, 2], z.real.dtype))
    order = jnp.maximum(jnp.round(jnp.log2(size[2] / size[1])), 1)
    residual = size[0] + miss[0]
    found = (residual < TOLERANCE) & (jnp.abs(z) > _NO_OUTLIER) & _is_outside(ensemble, gains, z, t)
    return Outlier(jnp.where(found, z, jnp.nan), order, residual)


# --- the order parameters -------------------------------------------------------------------------------------


class _Directions(eqx.Module):
    """The parts of the field h, in units of its standard deviation; 0 where h has no spread.

    c is <phi^2>^(1/2). eta_1 is the unit variable of eta_0 times (`eta_of_b` b / c + `eta_of_S` c S_1).
    """

    sd: Float[Array, ""]
    over_sd: Float[Array, ""]
    a: Complex[Array, " K"]  # of h along U
    d: Complex[Array, " K"]  # of h along W
    along_eta: Complex[Array, ""]
    eta_of_b: Complex[Array, ""]
    eta_of_S: Complex[Array, ""]
    has_noise: Bool[Array, ""]
    c: Float[Array, ""]
    T: Complex[Array, ""]


def _directions(state: StaticState, t: Complex[Array, ""]) -> _Directions:
    problem = state.problem
    field = field_at(problem, jnp.concatenate([state.kappa, jnp.stack([state.rate_power, state.response])]))
    at = problem.ensemble.four_point(as_complex(state.response), t)
    spread, has_noise = has_spread(field.variance), field.random > 0
    sd = jnp.sqrt(jnp.where(spread, field.variance, 1))
    over_sd = jnp.where(spread, 1 / sd, 0)
    noise_sd = jnp.where(has_noise, jnp.sqrt(jnp.where(has_noise, field.random, 1)), 0)
    per_eta = as_complex(jnp.where(has_noise, 1 / jnp.sqrt(jnp.where(has_noise, field.strength, 1)), 0))
    return _Directions(
        sd=sd,
        over_sd=over_sd,
        a=as_complex((1 - problem.modes.uniform) * field.left * over_sd),
        d=as_complex(problem.input.right * over_sd),
        along_eta=as_complex(noise_sd * over_sd),
        eta_of_b=at.kappa * per_eta,
        eta_of_S=at.u1 * per_eta,
        has_noise=has_noise,
        c=jnp.sqrt(jnp.where(has_noise, state.rate_power, 1)),
        T=at.T,
    )


def order_parameter_map(
    state: StaticState, gains: Discrete, z: Complex[Array, ""], t: Complex[Array, ""]
) -> Complex[Array, "K+2 K+2"]:
    """M(z), with t = <q>: the response of units to (kappa_1, b / c, c S_1), in these variables; c = <phi^2>^(1/2)."""
    modes, transfer = state.problem.modes, state.problem.transfer
    on = _directions(state, t)
    a, e = on.a, as_complex(modes.uniform)
    eta_of_b, eta_of_S = on.along_eta * on.eta_of_b, on.along_eta * on.eta_of_S

    zeta = as_complex((state.x - state.reaction * transfer(state.x) - state.mean) / on.sd)  # (h - <h>) / sd
    phi = as_complex(jnp.where(on.has_noise, transfer(state.x) / on.c, 0))
    g = as_complex(gains.values)
    q = g / (z - state.problem.ensemble.r_and_kappa(t)[0] * g)
    mean = gains.mean
    q0, q1, q2 = mean(q), mean(q * zeta), mean(q * (zeta**2 - 1))
    p0, p1, p2 = mean(phi * q), mean(phi * q * zeta), mean(phi**2 * q)

    # Gaussian variables u with h = ... + a u obey <u f(h)> = a <zeta f>, <u u' f> = <f> delta + a a' <(zeta^2 - 1) f>.
    to_kappa = (
        jnp.diag(q0 * (1 - e)) + q0 * jnp.outer(e, e) + q1 * (jnp.outer(a, e) + jnp.outer(e, a)) + q2 * jnp.outer(a, a)
    )
    u_phi = jnp.concatenate(  # <u phi_1>
        [
            to_kappa,
            (eta_of_b * (q2 * a + q1 * e))[:, None],
            (eta_of_S * (q2 * a + q1 * e) + on.T * (p1 * a + p0 * e))[:, None],
        ],
        axis=1,
    )
    slope = jnp.concatenate([q2 * a + q1 * e, (eta_of_b * q2)[None], (eta_of_S * q2 + on.T * p1)[None]])  # sd S_1
    b = jnp.concatenate([p1 * a + p0 * e, (eta_of_b * p1)[None], (eta_of_S * p1 + on.T * p2)[None]])
    kappa = as_complex(modes.overlaps) @ u_phi + jnp.outer(as_complex(modes.noise) * on.d, slope)
    return jnp.concatenate([kappa, b[None], (as_complex(on.c * on.over_sd) * slope)[None]])
