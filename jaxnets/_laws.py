r"""Laws of discrete values: the one place where values and their weights are checked and normalised.

Gains of units, amplitudes of modes, singular values and eigenvalues of cores are all laws of this form. A class that
shows them under its own names (`amplitudes` and `weights`, which a fit varies separately) takes them from
`values_and_weights`; everything else holds a `Discrete`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Inexact

from ._arguments import known_array, nonnegative, require, vector
from ._numerics import is_concrete
from ._results import one_line


class Discrete(eqx.Module):
    r"""A random number with finitely many values.

    $$ \langle f \rangle = \sum_k w_k f(x_k), \qquad \sum_k w_k = 1 $$

    `values` are x_k; `weights` are w_k >= 0, equal if None, and are normalised. Both may be traced. Raises
    `ValueError` for values that are empty or not finite, and for weights that are negative, all 0 or not as many.
    """

    __repr__ = one_line

    values: Float[Array, " K"]
    weights: Float[Array, " K"]

    def __init__(self, values: Float[ArrayLike, " K"], weights: Float[ArrayLike, " K"] | None = None):
        self.values, self.weights = values_and_weights("values", values, weights)

    def mean(self, of: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """The mean of a function from its samples at the values, along the first axis."""
        # A sum of products: XLA merges it with the operations around it, where a matrix product stands alone and
        # is computed in fewer digits on GPUs.
        return (self.weights.astype(of.dtype).reshape(-1, *(1,) * (of.ndim - 1)) * of).sum(axis=0)

    def moment(self, power: int) -> Float[Array, ""]:
        """The mean of x^power."""
        return self.mean(self.values**power)


def values_and_weights(
    name: str,
    values: Float[ArrayLike, " K"],
    weights: Float[ArrayLike, " K"] | None,
    holds: Callable[[np.ndarray], Any] = np.isfinite,
    expected: str = "finite numbers",
) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """The checked values, called ``name`` in errors, and their normalised weights, in the precision of the values.

    Raises `ValueError` as `Discrete`, and for values for which ``holds`` is false.
    """
    x = vector(name, values, known_array)
    require(name, x, holds, expected)
    if weights is None:
        return x, known_array("weights", np.full(x.shape, 1 / x.shape[0], x.dtype))
    w = vector("weights", weights, known_array)
    w = w if w.dtype == x.dtype else w.astype(x.dtype)
    if w.shape != x.shape:
        raise ValueError(f"`weights` must have the shape of `{name}`, {x.shape}, got {w.shape}")
    require("weights", w, lambda w: nonnegative(w) & (np.sum(w) > 0), "finite numbers >= 0, not all 0")
    # In NumPy if the weights are known, because each small operation would be compiled.
    if is_concrete(w):
        w = np.asarray(w)
        return x, known_array("weights", w / np.sum(w))
    return x, w / jnp.sum(w)
