r"""Patterns to store, the P rows of an array (P, n), and the Hebbian couplings that store them.

The couplings are the operators that `couplings.DeepHebbian` samples, for patterns that one has made or measured.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import positive, real_array, require, require_key, require_whole, scalar, vector
from .._numerics import is_concrete
from ..couplings import Modes
from ..couplings.operators import Shifts


def binary(n: int, num_patterns: int, *, key: PRNGKeyArray, dtype: Any = None) -> Float[Array, "num_patterns n"]:
    """Independent patterns of n entries +1 or -1 with equal chances; ValueError unless n, num_patterns >= 1."""
    require_key("key", key)
    require_whole("n", n)
    require_whole("num_patterns", num_patterns)
    return jax.random.rademacher(key, (n, num_patterns), _precision(dtype)).T


def gaussian(n: int, num_patterns: int, *, key: PRNGKeyArray, dtype: Any = None) -> Float[Array, "num_patterns n"]:
    """Independent patterns of n standard normal entries; ValueError unless n, num_patterns >= 1."""
    require_key("key", key)
    require_whole("n", n)
    require_whole("num_patterns", num_patterns)
    return jax.random.normal(key, (n, num_patterns), _precision(dtype)).T


def correlated_gaussian(
    n: int, correlation: Float[ArrayLike, "P P"], *, key: PRNGKeyArray, dtype: Any = None
) -> Float[Array, "P n"]:
    r"""Gaussian patterns with the correlation C that is asked for, along the sequence.

    $$ \langle \xi_i^\mu \xi_i^\nu \rangle = C_{\mu\nu} $$

    and entries of different units are independent. `correlation` is C, such as `exponential_correlation` gives; it may
    be singular (a pattern repeated).

    Raises:
        ValueError: if ``n`` < 1, or ``correlation`` is not a symmetric matrix with unit diagonal and no negative
            eigenvalue.
    """
    require_key("key", key)
    require_whole("n", n)
    root = _root("correlation", _correlation(correlation))
    return (jax.random.normal(key, (n, root.shape[0]), _precision(dtype)) @ root.astype(_precision(dtype))).T


def correlated_binary(
    n: int, correlation: Float[ArrayLike, "P P"], *, key: PRNGKeyArray, dtype: Any = None
) -> Float[Array, "P n"]:
    r"""Patterns of entries +1 or -1 with the correlation C that is asked for, along the sequence.

    $$ \xi = \operatorname{sgn} z, \qquad \langle z^\mu z^\nu \rangle = \sin\big(\tfrac{\pi}{2} C_{\mu\nu}\big),
       \qquad \langle \xi_i^\mu \xi_i^\nu \rangle = C_{\mu\nu} $$

    by the arcsine law; entries of different units are independent. Not every C of binary variables can be had from
    signs of Gaussians, and not every correlation matrix from binary variables at all.

    Raises:
        ValueError: if ``n`` < 1, ``correlation`` is not a symmetric matrix with unit diagonal, or sin(pi C / 2) has a
            negative eigenvalue, as it does whenever C has one.

    Source: Van Vleck & Middleton, Proc. IEEE 54, 2 (1966).
    """
    require_key("key", key)
    require_whole("n", n)
    sines = np.sin(np.pi / 2 * _correlation(correlation))
    root = _root("correlation", sines, " after sin(pi C / 2), the correlation of the Gaussians whose signs are taken")
    z = jax.random.normal(key, (n, root.shape[0]), _precision(dtype)) @ root.astype(_precision(dtype))
    return jnp.where(z >= 0, 1, -1).astype(z.dtype).T


def exponential_correlation(
    num_patterns: int, length: Float[ArrayLike, ""], *, ring: bool = True
) -> Float[Array, "P P"]:
    r"""C_{mu nu} = exp(-|mu - nu| / length) between P = `num_patterns` patterns, around the ring if `ring`.

    Raises:
        ValueError: if ``num_patterns`` < 1 or ``length`` is not positive.
    """
    require_whole("num_patterns", num_patterns)
    length = scalar("length", length)
    require("length", length, positive, "a finite number > 0")
    steps = np.abs(np.subtract.outer(np.arange(num_patterns), np.arange(num_patterns)))
    distance = np.minimum(steps, num_patterns - steps) if ring else steps
    return jnp.exp(-jnp.asarray(distance, length.dtype) / length)


def hebbian(
    patterns: Float[ArrayLike, "P n"],
    auto: Float[ArrayLike, ""] = 0.0,
    hetero: Float[ArrayLike, " d"] | Sequence[Float[ArrayLike, ""]] = (1.0,),
    *,
    ring: bool = True,
    symmetric: bool = False,
) -> Modes:
    r"""The couplings that store given patterns as a sequence.

    $$ J_{ij} = \frac1n \sum_\mu \Big[ c\, \xi_i^\mu \xi_j^\mu
       + \sum_{r=1}^d \gamma_r\, \xi_i^{\mu+r} \xi_j^\mu \Big] $$

    `auto` is c, `hetero` the synaptic window gamma_1..gamma_d; indices are modulo P on a `ring`, and terms beyond the
    last pattern are left out otherwise. `symmetric` couples each pattern to its d predecessors too. The operator is
    the one that `couplings.DeepHebbian.sample` draws, in the precision of the patterns.

    Raises:
        ValueError: if ``patterns`` is not (P, n) with n, P >= 1 or not finite, or the strengths are not finite.

    Source: Jiang et al. 2022 (arXiv 2208.11411).
    """
    patterns = stored("patterns", patterns)
    auto, hetero = scalar("auto", auto), vector("hetero", hetero)
    require("auto", auto, np.isfinite, "a finite number")
    require("hetero", hetero, np.isfinite, "finite numbers")
    dtype = patterns.dtype
    core = Shifts(auto.astype(dtype), hetero.astype(dtype), patterns.shape[0], ring=ring, symmetric=symmetric)
    modes = patterns.T
    return Modes(modes, modes, core)


def stored(name: str, patterns: Float[ArrayLike, "P n"]) -> Float[Array, "P n"]:
    """Patterns as rows, or a `ValueError` that names them."""
    patterns = real_array(name, patterns)
    if patterns.ndim != 2 or patterns.size == 0:
        raise ValueError(f"`{name}` must have shape (P, n) with n, P >= 1, got {patterns.shape}")
    require(name, patterns, np.isfinite, "finite numbers")
    return patterns


def _precision(dtype: Any) -> Any:
    return jnp.result_type(float) if dtype is None else dtype


def _correlation(correlation: Float[ArrayLike, "P P"]) -> np.ndarray:
    C = real_array("correlation", correlation)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or C.size == 0:
        raise ValueError(f"`correlation` must be a square matrix, got shape {C.shape}")
    if not is_concrete(C):
        raise ValueError("`correlation` must be known when patterns are drawn, got a traced array")
    dtype = C.dtype
    C = np.asarray(C, np.float64)
    error = 10 * float(jnp.finfo(dtype).eps)
    if not (np.allclose(np.diag(C), 1, rtol=0, atol=error) and np.allclose(C, C.T, rtol=0, atol=error)):
        raise ValueError("`correlation` must be symmetric with ones on the diagonal, got another matrix")
    return C


def _root(name: str, C: np.ndarray, where: str = "") -> Float[Array, "P P"]:
    """The symmetric square root of C."""
    values, vectors = np.linalg.eigh(C)
    if values[0] < -1e-6 * len(C):  # what rounding in float32 makes of a zero
        raise ValueError(f"`{name}` must have no negative eigenvalue{where}, got {values[0]:.3g}")
    return jnp.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
