r"""Sums over all pairs of units of the squared cross-covariance, for any ensemble.

To leading order in 1/N units act on each other as in a linear network. Let S_b be the bare response of a unit, S =
S_b (1 + S r(S)) its dressed response, and F = (1 - S_b J)^{-1}. Then rates phi have the cross-spectra C = F c0 F^*, and
states x have c0 (F - 1)(F - 1)^* / |S_b (1 + i w)|^2. Independent noise of spectrum 2 sigma^2 adds
2 sigma^2 (F + F^* - 1) / |1 + i w|^2 to the latter. At two frequencies, k = 1 and 2,

$$ \frac1N \mathrm{tr}\, F_1 F_1^* F_2 F_2^* = n_1 n_2 |F|^2 \{ b |S_1 S_2|^2 - 1 + 2\, \mathrm{Re}\, P V_1 V_2 \}, $$

$$ F = \frac{1}{1 - \kappa_{12} \bar S_1 S_2}, \quad P = \frac{1}{1 - S_1 S_2 T}, \quad V_1 = 1 + |S_1|^2 S_2 u_1,
   \quad V_2 = 1 + |S_2|^2 S_1 u_2, \quad
   n_k = \frac1N \mathrm{tr}\, F_k F_k^* = \frac{|A_k|^2}{1 - \kappa(S_k) |S_k|^2}, $$

with A_k = 1 + S_k r(S_k) and kappa_12, T, u_k, b of `Ensemble.four_point`. Shorter products follow from the same
parts, because F_2 F_1 = (s_2 F_2 - s_1 F_1) / (s_2 - s_1) for the bare s_k:

$$ \frac1N \mathrm{tr}\, F_1 F_2 = A_1 A_2 P, \quad \frac1N \mathrm{tr}\, F_1 F_2^* = A_1 \bar A_2 \bar F, \quad
   \frac1N \mathrm{tr}\, F_1 F_1^* F_2 = n_1 A_2 P F V_1. $$

Source: Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373) for independent weights and Clark et al. 2024 (arXiv
2409.01969) for modes without overlaps.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import require, scalar
from .._numerics import as_complex, as_program, square_modulus
from ..couplings import Ensemble
from ..meanfield.unit.response import r_and_power, responses


def four_point_sum(ensemble: Ensemble, s1: Complex[ArrayLike, ""], s2: Complex[ArrayLike, ""]) -> Float[Array, ""]:
    r"""(1/N) tr C(w_1) C(w_2) of rates, in units of C^phi(w_1) C^phi(w_2), the spectra averaged over units.

    $$ |F|^2 \{ b |S_1 S_2|^2 - 1 + 2\, \mathrm{Re}\, P V_1 V_2 \} $$

    `s1` and `s2` are the dressed responses S(w_1) and S(w_2) = <d phi / d eta>; the head of this module explains the
    other symbols. Equal frequencies give at least 1. NaN unless kappa(S_k) |S_k|^2 < 1, which holds in stationary
    states. Raises `ValueError` if a response is not one finite number.
    """
    return _four_point_sum(ensemble, *responses(s1, s2))


@as_program
def _four_point_sum(ensemble: Ensemble, s1: Complex[Array, ""], s2: Complex[Array, ""]) -> Float[Array, ""]:
    return four_point_sums(ensemble, s1, s2, jnp.zeros_like(s1.real), jnp.zeros_like(s1.real))[0]


def four_point_sum_x(
    ensemble: Ensemble,
    s1: Complex[ArrayLike, ""],
    s2: Complex[ArrayLike, ""],
    noise1: Float[ArrayLike, ""] = 0.0,
    noise2: Float[ArrayLike, ""] = 0.0,
) -> Float[Array, ""]:
    r"""(1/N) tr C^x(w_1) C^x(w_2) of states, in units of C^x(w_1) C^x(w_2), the spectra averaged over units.

    $$ \frac{\frac1N \mathrm{tr}\, X_1 X_2}{\frac1N \mathrm{tr} X_1\, \frac1N \mathrm{tr} X_2}, \qquad
       X_k \propto (1 - q_k)\, \frac{(F_k - 1)(F_k - 1)^*}{m_k} + z_k\, (F_k + F_k^* - 1), \qquad
       m_k = \frac1N \mathrm{tr}\, (F_k - 1)(F_k - 1)^* = n_k - 2\, \mathrm{Re}\, A_k + 1 $$

    `noise1` and `noise2` are z_k = 2 sigma^2 / ((1 + w_k^2) C^x(w_k)), for independent noise of each unit, which rates
    follow. The part q_k = z_k (2 Re A_k - 1) of C^x does not come from the couplings.

    Validity and errors are as for `four_point_sum`. S_k must not vanish; rounding errors are about the machine
    precision over the smaller of |S_1|^2 and |S_2|^2. NaN where nothing recurs, m_k = 0.
    """
    s1, s2 = responses(s1, s2)
    z1, z2 = scalar("noise1", noise1).astype(s1.real.dtype), scalar("noise2", noise2).astype(s1.real.dtype)
    require("noise1", z1, np.isfinite, "a finite number")
    require("noise2", z2, np.isfinite, "a finite number")
    return _four_point_sum_x(ensemble, s1, s2, z1, z2)


@as_program
def _four_point_sum_x(
    ensemble: Ensemble,
    s1: Complex[Array, ""],
    s2: Complex[Array, ""],
    z1: Float[Array, ""],
    z2: Float[Array, ""],
) -> Float[Array, ""]:
    return four_point_sums(ensemble, s1, s2, z1, z2)[1]


def four_point_sums(
    ensemble: Ensemble,
    s1: Complex[Array, ""],
    s2: Complex[Array, ""],
    z1: Float[Array, ""],
    z2: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`four_point_sum` and `four_point_sum_x`, from the parts that they share."""
    (r1, power1), (r2, power2) = r_and_power(ensemble, s1), r_and_power(ensemble, s2)
    pair = _pair(ensemble, s1, s2)
    rates = square_modulus(pair.F) * (pair.b - 1 + 2 * (pair.P * pair.V1 * pair.V2).real)
    # Written in A_k - 1 and F - 1: with A_k and F themselves the terms would cancel for small S_k.
    e1, e2 = s1 * r1, s2 * r2
    A1, A2 = 1 + e1, 1 + e2
    n1, n2 = square_modulus(A1) / (1 - power1), square_modulus(A2) / (1 - power2)
    m1, m2 = n1 * power1 + square_modulus(e1), n2 * power2 + square_modulus(e2)
    Q1 = jnp.conj(A1) * as_complex(1 / (1 - power1)) * pair.F * pair.V1 - 1
    Q2 = jnp.conj(A2) * as_complex(1 / (1 - power2)) * jnp.conj(pair.F) * pair.V2 - 1
    recurrent = (
        n1 * n2 * (square_modulus(pair.F) * pair.b - 2 * pair.f.real - square_modulus(pair.f))
        - (m1 + 2 * e1.real) * (m2 + 2 * e2.real)
        + 2 * (A1 * A2 * pair.P * Q1 * Q2 + e1 * jnp.conj(e2) + A1 * jnp.conj(A2 * pair.f)).real
    )
    # Traces with G_k = F_k + F_k^* - 1 in place of both (F_k - 1)(F_k - 1)^*, of the first, or of the second.
    both = 2 * (A1 * A2 * pair.P + A1 * jnp.conj(A2 * pair.F) - A1 - A2).real + 1
    first = 2 * n1 * (A2 * pair.P * pair.F * pair.V1).real - n1 - both
    second = 2 * n2 * (A1 * pair.P * jnp.conj(pair.F) * pair.V2).real - n2 - both
    y1, y2 = (1 - z1 * (1 + 2 * e1.real)) / m1, (1 - z2 * (1 + 2 * e2.real)) / m2
    states = y1 * y2 * recurrent + y1 * z2 * first + y2 * z1 * second + z1 * z2 * both
    stationary = (power1 < 1) & (power2 < 1)
    return jnp.where(stationary, rates, jnp.nan), jnp.where(stationary, states, jnp.nan)


class _Pair(eqx.Module):
    """F, f = F - 1, P, V_1, V_2 and b |S_1 S_2|^2, as at the head of this module."""

    F: Complex[Array, ""]
    f: Complex[Array, ""]
    P: Complex[Array, ""]
    V1: Complex[Array, ""]
    V2: Complex[Array, ""]
    b: Float[Array, ""]


def _pair(ensemble: Ensemble, s1: Complex[Array, ""], s2: Complex[Array, ""]) -> _Pair:
    at = ensemble.four_point(s1, s2)
    size1, size2 = s1 * jnp.conj(s1), s2 * jnp.conj(s2)
    recurrence = at.kappa * jnp.conj(s1) * s2
    F, P = _inverse(1 - recurrence), _inverse(1 - s1 * s2 * at.T)
    return _Pair(F, recurrence * F, P, 1 + size1 * s2 * at.u1, 1 + size2 * s1 * at.u2, (at.b * size1 * size2).real)


def _inverse(z: Complex[Array, ""]) -> Complex[Array, ""]:
    """1 / z of numbers of order one: XLA's complex division guards against overflow, at ten times the instructions."""
    return jnp.conj(z) * as_complex(1 / square_modulus(z))
