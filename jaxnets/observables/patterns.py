"""Overlaps of activity with patterns."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import real_array, require
from ._series import product


def overlaps(patterns: Float[ArrayLike, "P n"], rates: Float[ArrayLike, "*batch n"]) -> Float[Array, "*batch P"]:
    r"""The overlap of each pattern with the rates.

    $$ m_\mu = \frac{1}{n} \sum_i \xi_i^\mu \phi_i $$

    The leading axes of `rates`, such as time and trajectories, are kept. The rows of `patterns` are taken in the
    precision of the rates. NaN where a rate is NaN.

    Raises:
        ValueError: if ``patterns`` is not (P, n), or the last axis of ``rates`` is not n, or ``patterns`` is
            not finite.
    """
    patterns, rates = real_array("patterns", patterns), real_array("rates", rates)
    if patterns.ndim != 2 or rates.shape[-1:] != patterns.shape[1:]:
        raise ValueError(
            f"`patterns` must have shape (P, n) and `rates` (..., n), got {patterns.shape} and {rates.shape}"
        )
    require("patterns", patterns, np.isfinite, "finite")
    num_patterns, n = patterns.shape
    flat = product(rates.reshape(-1, n), patterns.astype(rates.dtype).T) / n
    return jnp.reshape(flat, (*rates.shape[:-1], num_patterns))
