"""Recorded time series x of shape (time, ..., n), as all measurements of this room read them.

The axes between time and units are trajectories of one network. A unit has one mean, over time and trajectories.
Recordings of other networks are other arrays: map over them with `vmap`.

All measurements are made in a unit in which x is of order one, a power of two of the unit that came, so that neither
squares nor fourth powers leave the range of single precision. Results are given in the unit that came, by
`Series.in_unit`.
"""

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import host_array, nonnegative, positive, real_array, require, scalar
from .._numerics import binary_scale, is_concrete


class Series(NamedTuple):
    """A time series x * unit, x of order one."""

    x: Float[Array, "time trajectories n"]
    unit: Float[Array, ""]

    def in_unit(self, values: Float[Array, "..."], power: int = 2) -> Float[Array, "..."]:
        """Values that were measured on x, in the unit that came; covariances have the power 2."""
        for _ in range(power):
            values = values * self.unit
        return values


def time_series(name: str, value: ArrayLike) -> Series:
    """The checked time series, with one axis of trajectories."""
    x = real_array(name, value)
    if x.ndim < 2 or x.shape[0] < 2 or x.size == 0:
        raise ValueError(f"`{name}` must have shape (time, ..., n) with 2 times or more, got {x.shape}")
    if not is_concrete(x):
        return _scaled(x)[0]
    # A long record is looked at where it lies, on its device.
    with jax.ensure_compile_time_eval():
        series, finite = _scaled(x)
        if not finite:
            _refuse_gaps(name, np.asarray(x))
    return series


@jax.jit
def _scaled(x: Float[Array, "time ... n"]) -> tuple[Series, Array]:
    unit = binary_scale(x).reshape(())
    return Series((x / unit).reshape(x.shape[0], -1, x.shape[-1]), unit), jnp.all(jnp.isfinite(x))


def _refuse_gaps(name: str, x: Float[np.ndarray, "time ... n"]) -> None:
    gaps = ~np.isfinite(x)
    place = tuple(np.argwhere(gaps)[0])
    trajectory = f", trajectory {', '.join(map(str, place[1:-1]))}" if x.ndim > 2 else ""
    units = gaps.any(axis=tuple(range(x.ndim - 1))).sum()
    raise ValueError(
        f"`{name}` must be finite, got {x[place]} at time {place[0]}{trajectory}, unit {place[-1]}, and {gaps.sum()} "
        f"such entries in {units} units: leave these units out, or take a piece without gaps"
    )


def transposed_hint(name: str, x: Float[Array, "time trajectories n"]) -> str:
    """What to try for one trajectory with fewer times than units, at the end of a refusal."""
    return f"; if this is units x time, try `{name}.T`" if x.shape[1] == 1 and x.shape[0] < x.shape[2] else ""


# Roundings of the activity up to which it counts as constant: sums of rounding errors over times and units stay below.
ROUNDINGS = 10


def require_varying(
    name: str, x: Float[Array, "time trajectories n"], centre: bool = True, *, all_units: bool = False
) -> None:
    """Raises `ValueError` if no unit varies, and warns of constant units where `all_units` should.

    If not ``centre``, they vary unless they are 0. Traced values pass.
    """
    if not is_concrete(x):
        return
    with jax.ensure_compile_time_eval():
        constant = np.flatnonzero(np.asarray(_constant(x, centre)))
    if constant.size == x.shape[2]:
        hint = transposed_hint(name, x)
        raise ValueError(f"`{name}` must vary, got the same values at all times in all {constant.size} units{hint}")
    if all_units and constant.size:
        shown = ", ".join(map(str, constant[:8])) + (", ..." if constant.size > 8 else "")
        one = constant.size == 1
        counted = "unit ({}): it counts as a silent unit" if one else "units ({}): they count as silent units"
        warnings.warn(
            f"`{name}` has {constant.size} constant {counted.format(shown)} of the population; "
            f"leave {'it' if one else 'them'} out if {'it was' if one else 'they were'} not recorded",
            RuntimeWarning,
            stacklevel=3,
        )


@partial(jax.jit, static_argnums=1)
def _constant(x: Float[Array, "time trajectories n"], centre: bool) -> Bool[Array, " n"]:
    low, high = jnp.min(x, axis=(0, 1)), jnp.max(x, axis=(0, 1))
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return high - low <= ROUNDINGS * jnp.finfo(x.dtype).eps * largest if centre else largest == 0


def centred(x: Float[Array, "time trajectories n"], centre: bool) -> Float[Array, "time trajectories n"]:
    """The time series without the mean of each unit over time and trajectories; as it is, if not ``centre``."""
    return x - jnp.mean(x, axis=(0, 1), keepdims=True) if centre else x


def sampling_interval(interval: ArrayLike, dtype: jnp.dtype) -> Float[Array, ""]:
    number = scalar("interval", interval)
    require("interval", number, positive, "a finite number > 0")
    return number.astype(dtype)


def in_samples(name: str, duration: ArrayLike, interval: ArrayLike) -> float:
    """A duration in units of the interval, for a shape: both must be known while tracing."""
    if not is_concrete(duration, interval):
        raise ValueError(f"`{name}` and `interval` set shapes: under `jit` and `vmap` they must be known, not traced")
    step, length = host_array("interval", interval, ()), host_array(name, duration, ())
    require("interval", step, positive, "a finite number > 0")
    require(name, length, nonnegative, "a finite number >= 0")
    return float(length) / float(step)


def product(a: Float[Array, "i k"], b: Float[Array, "k j"]) -> Float[Array, "i j"]:
    """The product a b in the full precision of its arguments, which GPUs do not give to float32 unless asked."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
