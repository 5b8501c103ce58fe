"""Linear networks, F = (1 - s J)^{-1}: the dressed response, sums over pairs of units, and one network's own matrix.

A linear network x' = -x + J x + noise has s = 1 / (1 + i w). All holds for any complex s, as long as 1/s lies outside
the spectrum of J.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import complex_array, real_array, require
from .._numerics import as_complex, as_program, square_modulus
from ..couplings import Ensemble
from ..couplings.operators import Operator
from ..couplings.sparse import as_operator
from ..meanfield.unit.response import dressed, r_and_power, responses
from .sums import four_point_sum


def linear_sum(ensemble: Ensemble, s1: Complex[ArrayLike, ""], s2: Complex[ArrayLike, ""]) -> Float[Array, ""]:
    r"""(1/N) tr F_1 F_1^* F_2 F_2^* of F_k = (1 - s_k J)^{-1}, for N to infinity.

    $$ n_1 n_2\, \mathtt{four\_point\_sum}(S_1, S_2), \qquad
       n_k = \frac1N \mathrm{tr}\, F_k F_k^* = \frac{|S_k / s_k|^2}{1 - \kappa(S_k) |S_k|^2} $$

    `s1` and `s2` are bare responses of a unit alone; the dressed responses S_k follow by `dressed`. NaN if one 1/s_k
    lies in the support of the spectrum of J, or its S_k is not found. Raises `ValueError` if a response is not one
    finite number. Source: derived here.
    """
    return _linear_sum(ensemble, *responses(s1, s2))


@as_program
def _linear_sum(ensemble: Ensemble, s1: Complex[Array, ""], s2: Complex[Array, ""]) -> Float[Array, ""]:
    (S1, n1), (S2, n2) = _gain(ensemble, s1), _gain(ensemble, s2)
    return n1 * n2 * four_point_sum(ensemble, S1, S2)


def _gain(ensemble: Ensemble, s: Complex[Array, ""]) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """S and (1/N) tr F F^*."""
    root = dressed(ensemble, s)
    r, power = r_and_power(ensemble, root.value)
    n = square_modulus(1 + root.value * r) / (1 - power)
    return root.value, jnp.where(root.converged, n, jnp.nan)


def cross_spectrum(
    J: Operator | Float[ArrayLike, "n n"], s: Complex[ArrayLike, "*freq"], c0: Float[ArrayLike, "*#freq"] = 1.0
) -> Complex[Array, "*freq n n"]:
    r"""Cross-spectra between all units of one network, sampled or measured, to leading order in 1/n.

    $$ C(w) = (1 - s J)^{-1}\, c_0\, (1 - s J)^{-\dagger} $$

    `s` is the bare response S_b at each frequency, and `c0` >= 0 the spectrum of the own fluctuations of a unit, which
    broadcasts to the shape of `s`. C_ij(w) is Hermitian: the transform of <phi_i(t + tau) phi_j(t)> with e^{-i w tau}.
    Each frequency takes one inverse of an n x n matrix. Infinite or NaN where 1/s is an eigenvalue of J. Raises
    `ValueError` if `J` is not one square matrix, if c0 does not fit `s`, and for numbers that are not finite. Source:
    derived here.
    """
    J = as_operator("J", J)
    if len(J.shape) != 2 or J.shape[-1] == 0:
        raise ValueError(f"`J` must be one network, got shape {J.shape}: map over more with `jax.vmap`")
    matrix, s, c0 = J.dense(), complex_array("s", s), real_array("c0", c0)
    require("J", matrix, np.isfinite, "finite")
    require("s", s, np.isfinite, "finite")
    require("c0", c0, lambda c: np.isfinite(c) & (c >= 0), "finite and >= 0")
    try:
        if np.broadcast_shapes(s.shape, c0.shape) != s.shape:
            raise ValueError
    except ValueError:
        raise ValueError(f"`c0` of shape {c0.shape} must broadcast to the shape of `s`, {s.shape}") from None
    matrix = as_complex(matrix)
    c0 = jnp.broadcast_to(c0, s.shape).astype(matrix.dtype)
    return _cross_spectrum(matrix, s.astype(matrix.dtype), c0)


@as_program
def _cross_spectrum(J, s, c0):
    def one(s, c0):
        F = jnp.linalg.inv(jnp.eye(J.shape[0], dtype=J.dtype) - s * J)
        return c0 * (F @ jnp.conj(F.T))

    return jnp.vectorize(one, signature="(),()->(n,n)")(s, c0)
