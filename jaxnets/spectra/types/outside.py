r"""Outside the support, for units with types or time constants: one holomorphic t for each type.

$$ t_a = \Big\langle \frac{G}{\zeta - G\, r_a(t)} \Big\rangle_a, \qquad
   q_a = \Big\langle \frac{G^2}{|\zeta - G\, r_a|^2} \Big\rangle_a, \qquad
   m(z) = \text{spectral radius of } [q_a\, \kappa_{ab}(t)] $$

A point z lies outside the support if and only if these equations have a solution with m < 1, and they have only one.
With one type 1/t is a coordinate in which everything is explicit (`spectra.outside`); with several types z itself is
the coordinate, and t follows z by Newton's method. Where m < 1, the equations for t are a contraction.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ..._numerics import as_complex, solve_few, square_modulus
from ...couplings import Ensemble
from .. import tolerances
from .units import Units


class Look(NamedTuple):
    """At one z: t, the relative error of its equations, dt/dz, m, and dm/dx + i dm/dy."""

    t: Complex[Array, " K"]
    miss: Float[Array, ""]
    slope: Complex[Array, " K"]
    m: Float[Array, ""]
    gradient: Complex[Array, ""]


def r_and_kappa(
    ensemble: Ensemble, fractions: Float[Array, " K"], t: Complex[Array, " K"]
) -> tuple[Complex[Array, " K"], Float[Array, "K K"]]:
    """r_a(t) and kappa_ab(t), which maps T_22 to the field of each type where T_11 = 0."""
    zero = jnp.zeros_like(t.real)

    def of_type(unit):
        s12, _, s11, _ = ensemble.field(jnp.conj(t), t, zero, unit, fractions, physical=True)
        return s12, s11

    r, columns = jax.vmap(of_type)(jnp.eye(t.shape[0], dtype=zero.dtype))
    return r[0], columns.T


def conditions(
    ensemble: Ensemble, units: Units, z: Complex[Array, ""], t: Complex[Array, " K"]
) -> tuple[Complex[Array, " K"], Float[Array, ""]]:
    """The errors t_a - <G / (zeta - G r_a)>, over the largest t that |zeta - G r_a| allows, and m."""
    r, kappa = r_and_kappa(ensemble, units.fractions, t)
    response = as_complex(units.gains) / (units.zeta(z) - as_complex(units.gains) * r[:, None])
    q = units.mean(square_modulus(response))
    size = jax.lax.stop_gradient(jnp.sqrt(q))
    error = (t - units.mean(response)) / as_complex(jnp.where(size > 0, size, 1))
    return error, spectral_radius(q[:, None] * jnp.abs(kappa))  # kappa < 0 at some t that are not physical


def look(ensemble: Ensemble, units: Units, z: Complex[Array, ""], near: Complex[Array, " K"], num_steps: int) -> Look:
    """t from one that is close by `num_steps` of Newton's, and all that depends on it."""
    t, miss, slope, along = _followed_with_slope(ensemble, units, z, near, num_steps)
    m, by = jax.vmap(along, out_axes=(None, 0))(jnp.array([1, 1j], z.dtype))
    return Look(t, miss, slope, m, jax.lax.complex(by[0], by[1]))


def look_along(ensemble: Ensemble, units: Units, z: Complex[Array, ""], near: Complex[Array, " K"], num_steps) -> Look:
    """`look` with the slope of m along the real axis alone."""
    t, miss, slope, along = _followed_with_slope(ensemble, units, z, near, num_steps)
    m, by = along(jnp.ones_like(z))
    return Look(t, miss, slope, m, as_complex(by))


def _followed_with_slope(ensemble, units, z, near, num_steps):
    """t, its error and slope, and a function of a direction that returns m and its change."""
    start = near, jnp.zeros_like(near[0].real), near
    step = lambda _, carry: _linearised(ensemble, units, z, carry[0])
    t, miss, slope = jax.lax.fori_loop(0, num_steps, step, start)

    def along(direction):
        moved = (direction, direction * slope)
        return jax.jvp(lambda z, t: conditions(ensemble, units, z, t)[1], (z, t), moved)

    return t, miss, slope, along


def followed(
    ensemble: Ensemble, units: Units, z: Complex[Array, ""], near: Complex[Array, " K"], num_steps: int
) -> tuple[Complex[Array, " K"], Float[Array, ""]]:
    """t from one that is close by `num_steps` of Newton's, and the error before the last one."""

    def step(_, carry):
        return _linearised(ensemble, units, z, carry[0])[:2]

    return jax.lax.fori_loop(0, num_steps, step, (near, jnp.zeros_like(near[0].real)))


def field_r(ensemble: Ensemble, units: Units, t: Complex[Array, " K"]) -> Complex[Array, " K"]:
    """r_a(t)."""
    zero = jnp.zeros_like(t.real)
    return ensemble.field(jnp.conj(t), t, zero, zero, units.fractions, physical=True)[0]


def _linearised(ensemble, units, z, t):
    """One Newton step from t, the error before it, relative to t, and dt/dz."""
    along = lambda e: jax.jvp(lambda t: field_r(ensemble, units, t), (t,), (e,))  # holomorphic, so real steps serve
    r, dr = jax.vmap(along, out_axes=(None, 1))(jnp.eye(t.shape[0], dtype=t.dtype))
    response = as_complex(units.gains) / (units.zeta(z) - as_complex(units.gains) * r[:, None])
    mean, power = units.mean(response), units.mean(response**2)
    matrix = jnp.eye(t.shape[0], dtype=t.dtype) - power[:, None] * dr
    error = t - mean
    by_z = -units.mean(_over_gain(units, response) * as_complex(units.tau))
    size = jnp.sqrt(units.mean(square_modulus(response)))
    miss = jnp.max(jnp.abs(error) / jnp.where(size > 0, size, 1))
    change, slope = jax.vmap(lambda column: solve_few(matrix, column))(jnp.stack([error, by_z]))
    return t - change, miss, slope


def _over_gain(units: Units, response):
    """G / (zeta - G r)^2."""
    g = as_complex(units.gains)
    return response**2 / jnp.where(g == 0, 1, g)


@jax.custom_jvp
def spectral_radius(matrix: Float[Array, "K K"]) -> Float[Array, ""]:
    """The largest eigenvalue of a matrix of numbers >= 0."""
    return _perron(matrix)[0]


@spectral_radius.defjvp
def _(primals, tangents):
    radius, projector = _perron(primals[0])
    return radius, jnp.sum(projector.T * tangents[0])


def _perron(matrix: Float[Array, "K K"]) -> tuple[Float[Array, ""], Float[Array, "K K"]]:
    """The spectral radius, and the projector on its eigenvector along the others.

    Squares of the matrix tend to a multiple of the projector. A multiple of 1 keeps eigenvalues of one modulus apart.
    """
    num = matrix.shape[0]
    if num == 1:
        return matrix[0, 0], jnp.ones_like(matrix)
    if num == 2:  # in closed form, which takes a tenth of the time of all that is computed at a point
        (a, b), (c, d) = matrix
        gap = ((a - d) / 2) ** 2 + b * c
        root = jnp.where(gap > 0, jnp.sqrt(jnp.where(gap > 0, gap, 1)), 0)
        apart = jnp.where(root > 0, 2 * root, 1)
        other = jnp.stack([jnp.stack([(a - d) / 2 + root, b]), jnp.stack([c, (d - a) / 2 + root])]) / apart
        return (a + d) / 2 + root, jnp.where(root > 0, other, jnp.eye(2, dtype=matrix.dtype) / 2)
    one = jnp.eye(num, dtype=matrix.dtype)
    bound = jnp.max(jnp.sum(matrix, axis=1))
    start = matrix / jnp.where(bound > 0, bound, 1) + one

    def square(_, power):
        power = jnp.sum(power[:, :, None] * power[None], axis=1)
        return power / jnp.max(power)

    power = jax.lax.fori_loop(0, tolerances.SQUARINGS, square, start)
    projector = power / jnp.trace(power)
    return jnp.sum(projector.T * matrix), projector
