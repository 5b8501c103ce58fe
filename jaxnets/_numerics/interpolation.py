"""Interpolation of equally spaced samples."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def cubic_interpolation(values: Float[Array, "s T"], x: Float[Array, " L"]) -> Float[Array, "s L"]:
    """Each row at places x in [0, T - 1], where entry k lies at x = k, by the cubic through the four nearest entries.

    The error is of fourth order in the spacing. T must be at least 4. Beyond the ends the last cubic goes on.
    """
    start = jnp.clip(jnp.floor(x).astype(int) - 1, 0, values.shape[1] - 4)
    u = x - start.astype(x.dtype)
    p, q = u * (u - 1), (u - 2) * (u - 3)
    weights = jnp.stack([(1 - u) * q / 6, u * q / 2, p * (3 - u) / 2, p * (u - 2) / 6])
    return jnp.sum(weights[None] * values[:, start[None] + jnp.arange(4)[:, None]], axis=1)
