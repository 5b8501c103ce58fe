"""Recorders: measurements made while a simulation runs, for records that would not fit in memory.

A recorder gives the same result, to rounding, as the function of this room for the whole record. It has three methods.
`init(x, rates)` makes the carry from any state of the right shape, (..., n), whose values do not count.
`update(carry, x, rates)` takes in the state at one kept time and may return an output, which is stacked over time.
`finish(carry, outputs)` gives the result. The leading axes of a state are trajectories of one network; means are taken
over them too. NaN says that there were not enough data.

A new recorder is one more class with these methods, and nothing else has to change: `simulate` knows no others.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._arguments import nonnegative, real_array, require, require_whole, whole_array
from .._public import public
from .._results import Result
from ._series import product
from .patterns import overlaps

State = Float[Array, "*trajectories n"]


class Recorder(eqx.Module):
    """A measurement at every kept time, and the result at the end."""

    @abc.abstractmethod
    def init(self, x: State, rates: State) -> Any:
        """The carry before the first kept time, from `x` and `rates` of the right shape."""

    @abc.abstractmethod
    def update(self, carry: Any, x: State, rates: State) -> tuple[Any, Any]:
        """The carry after a kept time with states `x` and `rates`, and the output of that time, or None."""

    @abc.abstractmethod
    def finish(self, carry: Any, outputs: Any) -> Any:
        """The result, from the last `carry` and the stacked `outputs`."""


class Recorded(Result):
    """The same quantity for the `states` x and for the `rates` phi(x)."""

    states: Any
    rates: Any


class Moments(Result, axes={"n": "unit"}):
    """The `mean` and `variance` of every unit, over time and trajectories."""

    mean: Float[Array, " n"]
    variance: Float[Array, " n"]


# --- moments at equal times


class _Scatter(eqx.Module):
    """Sums of squares about the mean so far, so that a large mean leaves no rounding errors in them (Welford 1962)."""

    times: Int[Array, ""]
    mean: Float[Array, " n"]
    scatter: Float[Array, "*n n"]

    def covariance(self) -> Float[Array, "*n n"]:
        return self.scatter / self.times.astype(self.scatter.dtype)


def _no_scatter(x: State, n_axes: int) -> _Scatter:
    n = x.shape[-1]
    return _Scatter(jnp.zeros((), int), jnp.zeros(n, x.dtype), jnp.zeros((n,) * n_axes, x.dtype))


def _more_scatter(old: _Scatter, x: State, squares: Callable[[Float[Array, "rows n"]], Array]) -> _Scatter:
    """The sums with one more time; ``squares`` gives the entries of A^T A that are kept, for rows A."""
    samples = x.reshape(-1, x.shape[-1])
    times = old.times + 1
    t = times.astype(x.dtype)
    here = jnp.mean(samples, axis=0)
    step = here - old.mean
    rows = jnp.concatenate([(samples - here[None]) / len(samples) ** 0.5, (jnp.sqrt(1 - 1 / t) * step)[None]])
    return _Scatter(times, old.mean + step / t, old.scatter + squares(rows))


class Means(Recorder):
    """The mean and the variance of every unit, for states and rates: `Recorded` of `Moments`."""

    def init(self, x: State, rates: State) -> tuple[_Scatter, _Scatter]:
        return _no_scatter(x, 1), _no_scatter(rates, 1)

    def update(self, carry: tuple[_Scatter, _Scatter], x: State, rates: State) -> tuple[Any, None]:
        squares = lambda rows: jnp.sum(rows**2, axis=0)
        return (_more_scatter(carry[0], x, squares), _more_scatter(carry[1], rates, squares)), None

    def finish(self, carry: tuple[_Scatter, _Scatter], outputs: None) -> Recorded:
        return Recorded(*(Moments(jnp.where(z.times > 0, z.mean, jnp.nan), z.covariance()) for z in carry))


class Covariance(Recorder):
    """The `covariance` of the rates, (n, n), or of the states if `states`; every kept time costs n^2."""

    states: bool = eqx.field(static=True, default=False)

    def init(self, x: State, rates: State) -> _Scatter:
        return _no_scatter(x if self.states else rates, 2)

    def update(self, carry: _Scatter, x: State, rates: State) -> tuple[_Scatter, None]:
        return _more_scatter(carry, x if self.states else rates, lambda rows: product(rows.T, rows)), None

    def finish(self, carry: _Scatter, outputs: None) -> Float[Array, "n n"]:
        return carry.covariance()


# --- moments at different times


class _Lagged(eqx.Module):
    """Sums of x - `origin`, the first mean over trajectories: the mean that is removed at the end is small then."""

    times: Int[Array, ""]
    origin: Float[Array, " n"]
    total: Float[Array, " n"]
    first: Float[Array, "lags n"]
    recent: Float[Array, "lags *trajectories n"]
    products: Float[Array, " lags"]


def _no_lagged(x: State, num: int) -> _Lagged:
    none = jnp.zeros(x.shape[-1], x.dtype)
    few = jnp.zeros((num, x.shape[-1]), x.dtype)
    return _Lagged(jnp.zeros((), int), none, none, few, jnp.zeros((num, *x.shape), x.dtype), few[:, 0])


def _more_lagged(old: _Lagged, x: State) -> _Lagged:
    num = len(old.first)
    trajectories = tuple(range(x.ndim - 1))
    origin = jnp.where(old.times == 0, jnp.mean(x, axis=trajectories), old.origin)
    y = x - jnp.expand_dims(origin, trajectories)
    mean = jnp.mean(y, axis=trajectories)

    # A ring: time t lies in slot t % num. Slots not yet written are zero and add nothing.
    recent = old.recent.at[old.times % num].set(y)
    here_and_before = jnp.mean(recent * y[None], axis=tuple(range(1, recent.ndim)))
    lags = jnp.arange(num)
    # `first` keeps the first times only.
    first = old.first.at[old.times].set(mean, mode="drop")
    products = old.products + here_and_before[(old.times - lags) % num]
    return _Lagged(old.times + 1, origin, old.total + mean, first, recent, products)


def _autocovariance(end: _Lagged, centre: bool) -> Float[Array, " lags"]:
    r"""The average over units of (sum_t y_t y_{t+k} - m (sum_{t < T-k} y_t + sum_{t >= k} y_t)) / (T - k) + m^2."""
    num = len(end.first)
    lags = jnp.arange(num)
    pairs = jnp.where(lags < end.times, (end.times - lags).astype(end.total.dtype), jnp.nan)
    last = jnp.mean(end.recent, axis=tuple(range(1, end.recent.ndim - 1)))[(end.times - 1 - lags) % num]
    # Sums of the first k and of the last k times.
    ends = jnp.cumsum(end.first + last, axis=0) - (end.first + last)
    T = end.times.astype(end.total.dtype)
    m = end.total / T if centre else -end.origin
    cross = jnp.mean(m[None] * (2 * end.total[None] - ends), axis=1)
    return (end.products - cross) / pairs + jnp.mean(m**2)


class Autocovariance(Recorder):
    """The `autocovariance` at the lags 0, 1, ..., `num_lags` - 1 in kept times, for states and rates.

    It holds the last `num_lags` states and rates of all trajectories. The result is `Recorded` of arrays (num_lags,),
    NaN at lags as long as the record. `centre` removes the mean of each unit, as in the function `autocovariance`.
    Raises `ValueError` unless `num_lags` is a whole number >= 1.
    """

    num_lags: int = eqx.field(static=True)
    centre: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        require_whole("num_lags", self.num_lags)

    def init(self, x: State, rates: State) -> tuple[_Lagged, _Lagged]:
        return _no_lagged(x, self.num_lags), _no_lagged(rates, self.num_lags)

    def update(self, carry: tuple[_Lagged, _Lagged], x: State, rates: State) -> tuple[Any, None]:
        return (_more_lagged(carry[0], x), _more_lagged(carry[1], rates)), None

    def finish(self, carry: tuple[_Lagged, _Lagged], outputs: None) -> Recorded:
        return Recorded(*(_autocovariance(part, self.centre) for part in carry))


# --- a few numbers of every state


class Overlaps(Recorder):
    """The `overlaps` of the rates with `patterns` at every kept time: (time, ..., P).

    Raises `ValueError` for patterns that are not finite numbers.
    """

    patterns: Float[Array, "P n"]

    def __init__(self, patterns: Float[ArrayLike, "P n"]):
        self.patterns = real_array("patterns", patterns)
        require("patterns", self.patterns, np.isfinite, "finite")

    def init(self, x: State, rates: State) -> tuple[()]:
        overlaps(self.patterns, rates)
        return ()

    def update(self, carry: tuple[()], x: State, rates: State) -> tuple[tuple[()], Float[Array, "*trajectories P"]]:
        return carry, overlaps(self.patterns, rates)

    def finish(self, carry: tuple[()], outputs: Float[Array, "time *trajectories P"]) -> Array:
        return outputs


class Units(Recorder):
    """The states and rates of some units at every kept time: `Recorded` of arrays (time, ..., m).

    Raises `ValueError` unless `indices` are whole numbers >= 0, one or more, and in a run below the number of units.
    """

    indices: Int[Array, " m"]

    def __init__(self, indices: Int[ArrayLike, " m"]):
        self.indices = whole_array("indices", indices, "a non-empty 1-d array of whole numbers")
        if self.indices.ndim != 1 or not self.indices.size:
            raise ValueError(
                f"`indices` must be a non-empty 1-d array of whole numbers, got {self.indices.dtype} of shape "
                f"{self.indices.shape}"
            )
        require("indices", self.indices, nonnegative, "whole numbers >= 0")

    def init(self, x: State, rates: State) -> tuple[()]:
        n = x.shape[-1]
        require("indices", self.indices, lambda i: i < n, f"below the number of units, {n}")
        return ()

    def update(self, carry: tuple[()], x: State, rates: State) -> tuple[tuple[()], Recorded]:
        return carry, Recorded(x[..., self.indices], rates[..., self.indices])

    def finish(self, carry: tuple[()], outputs: Recorded) -> Recorded:
        return outputs


class Projections(Recorder):
    r"""The coordinates of states and rates along the columns of `directions` (n, P), such as principal components.

    $$ y_p = \sum_i d_{ip} x_i $$

    At every kept time: `Recorded` of arrays (time, ..., P). Raises `ValueError` unless `directions` is finite with two
    axes, and in a run as many rows as there are units.
    """

    directions: Float[Array, "n P"]

    def __init__(self, directions: Float[ArrayLike, "n P"]):
        self.directions = real_array("directions", directions)
        if self.directions.ndim != 2:
            raise ValueError(f"`directions` must have shape (n, P), got {self.directions.shape}")
        require("directions", self.directions, np.isfinite, "finite")

    def init(self, x: State, rates: State) -> tuple[()]:
        if x.shape[-1] != self.directions.shape[0]:
            raise ValueError(f"`directions` must have shape ({x.shape[-1]}, P), got {self.directions.shape}")
        return ()

    def update(self, carry: tuple[()], x: State, rates: State) -> tuple[tuple[()], Recorded]:
        return carry, Recorded(*(self._coordinates(z) for z in (x, rates)))

    def _coordinates(self, z: State) -> Float[Array, "*trajectories P"]:
        return jnp.tensordot(z, self.directions.astype(z.dtype), axes=1, precision="highest")

    def finish(self, carry: tuple[()], outputs: Recorded) -> Recorded:
        return outputs


__dir__ = public(__name__)
