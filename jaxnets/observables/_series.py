"""Recorded time series x of shape (time, ..., n), as all of this room read them.

The axes between time and units are trajectories: repetitions by one network, of which each unit has one mean, over
time and trajectories. Other networks are other arrays: map over them with `vmap`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import nonnegative, positive, real_array, require, scalar
from .._numerics import is_concrete


def time_series(name: str, value: ArrayLike) -> Float[Array, "time trajectories n"]:
    """Checked, with one axis of trajectories."""
    x = real_array(name, value)
    if x.ndim < 2 or x.shape[0] < 2 or x.size == 0:
        raise ValueError(f"`{name}` must have shape (time, ..., n) with 2 times or more, got {x.shape}")
    if is_concrete(x):
        # Where x lies: a long record should not travel from its device to be looked at.
        with jax.ensure_compile_time_eval():
            finite = bool(jnp.all(jnp.isfinite(x)))
        if not finite:
            raise ValueError(f"`{name}` must be finite, got NaN or infinite entries")
    return x.reshape(x.shape[0], -1, x.shape[-1])


def centred(x: Float[Array, "time trajectories n"], centre: bool) -> Float[Array, "time trajectories n"]:
    """Without the mean of each unit over time and trajectories, or as it is."""
    return x - jnp.mean(x, axis=(0, 1), keepdims=True) if centre else x


def sampling_interval(dt: ArrayLike, dtype: jnp.dtype) -> Float[Array, ""]:
    require("dt", scalar("dt", dt), positive, "a finite number > 0")
    return jnp.asarray(dt).astype(dtype)


def in_samples(name: str, duration: ArrayLike, dt: ArrayLike) -> float:
    """A duration in units of dt, for a shape: both must be known while tracing."""
    if not is_concrete(duration, dt):
        raise ValueError(f"`{name}` and `dt` set shapes: under `jit` and `vmap` they must be known numbers, not traced")
    require("dt", scalar("dt", dt), positive, "a finite number > 0")
    require(name, scalar(name, duration), nonnegative, "a finite number >= 0")
    return float(np.asarray(duration)) / float(np.asarray(dt))


def product(a: Float[Array, "i k"], b: Float[Array, "k j"]) -> Float[Array, "i j"]:
    """a b in the full precision of its arguments, which GPUs do not give to float32 unless asked."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
