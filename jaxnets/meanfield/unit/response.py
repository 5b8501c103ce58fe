"""The dressed response: the response of a unit inside the network, whose units answer back.

To leading order in 1/N all units act on each other as in a linear network, so sums over pairs need it as well.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from ..._arguments import complex_array, require
from ..._numerics import Root, as_complex, as_program, find_root, polish_root, square_modulus
from ...couplings import Ensemble

# S is followed along the ray in this many parts, to this relative error: Newton steps follow, which square the error.
_RAY, _FOLLOWED = 16, 1e-4


def dressed(ensemble: Ensemble, s: Complex[ArrayLike, ""]) -> Root:
    r"""The response S of a unit inside the network, from the response s of the unit alone, for N to infinity.

    $$ S = \frac{1}{1/s - r(S)}, \qquad S / s = \frac1N \mathrm{tr}\, (1 - s J)^{-1} $$

    The solution is followed along the ray from s = 0, where S = s. It is differentiable in `s` and the ensemble.
    `residual` is the error of S / s = 1 + S r(S). Valid where 1/s lies outside the support of the spectrum of J:
    `converged` asks for kappa(S) |S|^2 < 1, which one S at most satisfies, and only there. Raises `ValueError` if `s`
    is not one finite number. Source: derived here, from the R-transform.
    """
    return _dressed(ensemble, complex_scalar("s", s))


@as_program
def _dressed(ensemble: Ensemble, s: Complex[Array, ""]) -> Root:
    def misfit(y, args):
        ensemble, s = args
        ratio = jax.lax.complex(y[0], y[1])
        miss = ratio - 1 - s * ratio * r_and_power(ensemble, s * ratio)[0]
        return jnp.stack([miss.real, miss.imag])

    def follow(y, part):
        return find_root(misfit, y, (ensemble, part * s), tolerance=_FOLLOWED), None

    parts = jnp.linspace(0, 1, _RAY + 1, dtype=s.real.dtype)[1:]
    y, _ = jax.lax.scan(follow, jnp.array([1, 0], parts.dtype), as_complex(parts))
    root = polish_root(misfit, y, (ensemble, s))
    S = s * jax.lax.complex(root.value[0], root.value[1])
    return Root(S, root.residual, root.converged & (r_and_power(ensemble, S)[1] < 1))


def complex_scalar(name: str, value: Complex[ArrayLike, ""]) -> Complex[Array, ""]:
    """One finite number, real or complex."""
    array = complex_array(name, value)
    if array.ndim != 0:
        raise ValueError(f"`{name}` must be a number, got shape {array.shape}: map over more with `jax.vmap`")
    require(name, array, np.isfinite, "a finite number")
    return array


def responses(s1: Complex[ArrayLike, ""], s2: Complex[ArrayLike, ""]) -> tuple[Complex[Array, ""], Complex[Array, ""]]:
    """Two finite numbers, in the higher precision of the two."""
    first, second = complex_scalar("s1", s1), complex_scalar("s2", s2)
    dtype = np.result_type(first.dtype, second.dtype)
    return first.astype(dtype), second.astype(dtype)


def r_and_power(ensemble: Ensemble, s: Complex[Array, ""]) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """r(S) and kappa(S) |S|^2 of a dressed response S; the latter is below 1 in a stationary network."""
    r, kappa = ensemble.r_and_kappa(s)
    return r, kappa * square_modulus(s)
