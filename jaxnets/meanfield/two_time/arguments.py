"""Arguments of courses: the times, the classes of units, the input of each class and its covariance across units."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._arguments import nonnegative, positive, real_array, require, scalar, traced_output, vector
from ..._numerics import is_concrete

# Points and weights of the Gauss rule for inputs, in parts of a step.
_POINTS, _WEIGHTS = (np.polynomial.legendre.leggauss(3) + np.array([[1.0], [0.0]])) / 2
# Times of the longest course: a covariance of that many takes 3 GB.
_MOST = 20_000

Course = Float[ArrayLike, "*K"] | Callable[[Float[Array, ""]], Float[ArrayLike, "*K"]]
Covariance = Float[ArrayLike, ""] | Callable[[Float[Array, ""], Float[Array, ""]], Float[ArrayLike, ""]]


def times_of(duration: float, step: float, block: int) -> tuple[np.ndarray, int]:
    """The times, filled up to whole blocks: courses of nearly one length share a program. And how many are wanted."""
    for name, value in (("duration", duration), ("step", step)):
        if not is_concrete(value):
            raise ValueError(f"`{name}` must be a number, as it sets the number of times, got the traced {value}")
        require(name, scalar(name, value), positive, "a finite number > 0")
    count = math.ceil(min(duration / step, 2.0 * _MOST) - 1e-6) + 1
    if count > _MOST:
        raise ValueError(
            f"`duration` must be below {_MOST} steps, as covariances of all pairs of times are kept, got {duration:g} "
            f"in steps of {step:g}"
        )
    return step * np.arange(-(-count // block) * block), count


class Units(NamedTuple):
    """What tells units apart: the fraction of each class, and the mean at its start."""

    weights: Float[Array, " K"]
    mean: Float[Array, "*K"]


def classes_of(weights: Float[ArrayLike, " K"] | None, mean: Float[ArrayLike, "*K"], dtype: Any) -> Units:
    """The classes of units, one of them without `weights`."""
    shares = jnp.ones(1, dtype) if weights is None else vector("weights", weights)
    require("weights", shares, lambda w: nonnegative(w) & (abs(np.sum(w) - 1) < 1e-5), "numbers >= 0 that sum to 1")
    start = real_array("mean", mean)
    if start.shape not in ((), shares.shape):
        raise ValueError(f"`mean` must be a number or have shape {shares.shape}, got shape {start.shape}")
    require("mean", start, np.isfinite, "finite numbers")
    return Units(shares, start)


def input_at(input: Course | None, times: np.ndarray, classes: tuple[int, ...]) -> Float[Array, "K n q"]:
    """The input of each class at the points of a Gauss rule within each step, so that it may jump between steps."""
    within = times[:-1, None] + (times[1] - times[0]) * _POINTS
    if not callable(input):
        values = real_array("input", 0.0 if input is None else input)
        if values.shape not in ((), classes):
            raise ValueError(f"`input` must be a number or have shape {classes}, got shape {values.shape}")
        require("input", values, np.isfinite, "finite numbers")
        return jnp.broadcast_to(jnp.atleast_1d(values)[:, None, None], (*classes, *within.shape))
    shape = getattr(traced_output("input", input, jax.ShapeDtypeStruct((), times.dtype)), "shape", None)
    if shape not in ((), classes):
        raise ValueError(f"`input` must give a number or shape {classes} at each time, got {shape}")
    values = jax.vmap(lambda t: jnp.broadcast_to(jnp.asarray(input(t)), classes), out_axes=1)(
        jnp.asarray(within.ravel())
    )
    require("input", values, np.isfinite, "finite at all times")
    return values.reshape(*classes, *within.shape)


def covariance_at(covariance, times: np.ndarray) -> Float[Array, "T T"] | None:
    """The covariance of inputs across units at all pairs of times."""
    if covariance is None:
        return None
    if callable(covariance):
        t = jnp.asarray(times)
        values = jax.vmap(lambda s: jax.vmap(lambda t: jnp.asarray(covariance(s, t)))(t))(t)
        if values.shape != (times.size,) * 2:
            raise ValueError(f"`input_covariance` must give a number at two times, got shape {values.shape[2:]}")
        if is_concrete(values) and not np.allclose(values, np.asarray(values).T, rtol=1e-5):
            raise ValueError("`input_covariance` must be symmetric in its two times, and is not")
    else:
        values = jnp.broadcast_to(scalar("input_covariance", covariance), (times.size,) * 2)
    require("input_covariance", values, np.isfinite, "finite")
    require("input_covariance", jnp.diagonal(values), nonnegative, ">= 0 at equal times")
    return values


def pushes(step: Float[Array, ""], current: Float[Array, "K n q"]) -> Float[Array, "K n"]:
    """What the inputs within each step add to x at its end."""
    points, weights = (jnp.asarray(a, step.dtype) for a in (_POINTS, _WEIGHTS))
    return current @ (step * weights * jnp.exp(-step * (1 - points)))
