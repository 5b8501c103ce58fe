"""Overlaps of activity with patterns."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arguments import real_array
from ._series import product


def overlaps(patterns: Float[ArrayLike, "n P"], rates: Float[ArrayLike, "*batch n"]) -> Float[Array, "*batch P"]:
    r"""The overlap of each pattern with the rates.

    $$ m_\mu = \frac{1}{n} \sum_i \xi_i^\mu \phi_i $$

    The leading axes of `rates`, such as time and trajectories, are kept. The columns of `patterns` are taken in the
    precision of the rates.

    Raises:
        ValueError: if ``patterns`` is not (n, P), or the last axis of ``rates`` is not n.
    """
    patterns, rates = real_array("patterns", patterns), real_array("rates", rates)
    if patterns.ndim != 2 or rates.shape[-1:] != patterns.shape[:1]:
        raise ValueError(
            f"`patterns` must have shape (n, P) and `rates` (..., n), got {patterns.shape} and {rates.shape}"
        )
    n, num = patterns.shape
    flat = product(rates.reshape(-1, n), patterns.astype(rates.dtype)) / n
    return jnp.reshape(flat, (*rates.shape[:-1], num))
