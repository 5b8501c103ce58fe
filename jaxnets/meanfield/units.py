"""Units that differ by a gain: a law of gains of rows, J_ij -> gamma_i J_ij, and what each gain sees in a state."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arguments import nonnegative, positive, require, vector


class RowGains(eqx.Module):
    """A law of gains: `values` > 0 with `weights` >= 0 (equal if None), which are normalised.

    Unit i has x_i = gamma_i u_i, where u_i is what all weights without gain would give it. Raises `ValueError` for
    values that are not positive, and weights that are negative, all 0 or not as many. Source: derived here.
    """

    values: Float[Array, " K"]
    weights: Float[Array, " K"]

    def __init__(self, values: Float[ArrayLike, " K"], weights: Float[ArrayLike, " K"] | None = None):
        self.values = vector("values", values)
        require("values", self.values, positive, "finite numbers > 0")
        weights = jnp.ones_like(self.values) if weights is None else vector("weights", weights)
        require("weights", weights, lambda w: nonnegative(w) & (w.sum() > 0), "finite numbers >= 0, not all 0")
        if weights.shape != self.values.shape:
            raise ValueError(f"`weights` must have the shape of `values`, {self.values.shape}, got {weights.shape}")
        self.weights = weights.astype(self.values.dtype) / jnp.sum(weights).astype(self.values.dtype)

    def mean(self, of: Float[Array, "..."]) -> Float[Array, "..."]:
        """The average over units `of` what each gain has, along the first axis."""
        return jnp.tensordot(self.weights, of, 1)


class Units(eqx.Module):
    """What the units of each of the `gains` do: `c_x`, `c_phi` and `beta` = <phi'>; made by `stationary`."""

    gains: RowGains
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    beta: Float[Array, " K"]  # <phi'>
