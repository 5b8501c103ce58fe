"""What sums over pairs of units need of each response alone."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import require
from .._numerics import as_complex, as_float, square_modulus
from ..couplings import Ensemble


def complex_scalar(name: str, value: Complex[ArrayLike, ""]) -> Complex[Array, ""]:
    """One finite number, real or complex."""
    array = jnp.asarray(value)
    if array.ndim != 0:
        raise ValueError(f"`{name}` must be a number, got shape {array.shape}: map over more with `jax.vmap`")
    require(name, array, np.isfinite, "a finite number")
    # The explicit type makes Python numbers, which have none, like any other.
    return array.astype(array.dtype) if jnp.iscomplexobj(array) else as_complex(as_float(array))


def r_and_power(ensemble: Ensemble, s: Complex[Array, ""]) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """r(S) and kappa(S) |S|^2 of a dressed response S, which is below 1 in a stationary network."""
    r, _, kappa = ensemble.blocks(jnp.conj(s), s, jnp.zeros_like(s.real))
    return r, kappa.real * square_modulus(s)
