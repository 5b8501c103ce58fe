"""What the theory of one unit asks of phi and of the couplings, and what it must know of phi: its scale and its kinks.

All of it is read from the values of phi and of its slopes at one grid of points, over all orders of magnitude, since
phi(x / q) belongs to the units of x.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._arguments import require, require_instance
from ..._numerics import as_program, is_concrete
from ...couplings import Ensemble
from ...transfer import Transfer

# The grid: 0, and points at equal distances of log x. Decades on either side of 1, in double and in single precision;
# tanh'(x) changes by .04 between two points at most.
_DECADES, _DECADES_SINGLE, _PER_DECADE = 30, 15, 40
# phi counts as odd if phi(x) + phi(-x) is below this part of its size, up to so many scales: some hundred roundings of
# float32.
_ODD, _SCALES = 1e-5, 4.0
# A slope at 0 is right if phi(x) / x comes so close to it.
_NEAR = 1e-2
# A kink may lie where slopes change by more than this part of the largest, and by so many times the changes beside. It
# is one if halving the interval so often leaves a change, of more than that part.
_CHANGE, _TIMES, _HALVINGS, _MOST_KINKS = 1e-3, 3.0, 60, 16


class Shape(NamedTuple):
    """What is known of phi: whether it is odd; the scale of x on which it bends; and where, unless it is smooth."""

    odd: Bool[Array, ""]
    scale: Float[Array, ""]
    breaks: Float[Array, " d"] | None


def shape_of(transfer: Transfer, dtype: Any, *, must_be_odd: bool = True) -> Shape:
    """The shape of phi.

    The scale is the largest x of the grid with phi(x) / x above half of its maximum; 1 if phi is linear. A traced phi
    is taken to have no kink. Raises `ValueError` for a `transfer` of another type, if phi is known not to have its
    slope at 0, and if it `must_be_odd` and is known not to be.
    """
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    if not is_concrete(transfer):
        values = _values(transfer, jnp.asarray(_grid(dtype), dtype))
        return Shape(_even_part(values, dtype) <= _ODD, _scale(values, dtype), None)
    with jax.ensure_compile_time_eval():  # within `jit` too: a transfer function without traced fields is known
        values = tuple(map(np.asarray, _values(transfer, jnp.asarray(_grid(dtype).astype(dtype)))))
        even, scale = (of(values, dtype) for of in (_even_part, _scale))
        if must_be_odd:
            require("transfer", even, lambda e: e <= _ODD, "odd, with phi(x) + phi(-x) = 0")
        _require_slope_at_0(_grid(dtype), *(v.astype(float) for v in values[:3]))
        breaks = _breaks(transfer, dtype, *values[2:])
        breaks = None if breaks is None else jnp.asarray(breaks.astype(dtype))
        return Shape(jnp.asarray(np.asarray(even <= _ODD)), jnp.asarray(scale), breaks)


def require_no_mean(ensemble: Ensemble) -> None:
    """Raises `ValueError` for a finite-rank part, which gives units a common mean, and for other types."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    if ensemble.finite_rank().rank > 0:
        parts = [part.ensemble for part in ensemble.parts() if part.ensemble.finite_rank().rank > 0]
        raise ValueError(f"`ensemble` must have no finite-rank part, which gives units a common mean, got {parts[0]!r}")


# --- phi on a grid ----------------------------------------------------------------------------------------------


def _grid(dtype: Any) -> np.ndarray:
    decades = _DECADES if dtype == jnp.float64 else _DECADES_SINGLE
    return np.append(0, np.logspace(-decades, decades, 2 * decades * _PER_DECADE + 1))


@as_program
def _values(transfer: Transfer, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], ...]:
    """phi(x), phi(-x), phi'(x) and x phi''(x)."""
    slope, bend = jax.jvp(transfer.slope, (x,), (x,))
    return transfer(x), transfer(-x), slope, bend


def _scale(values: tuple[Float[Array | np.ndarray, " n"], ...], dtype: Any) -> Float[Any, ""]:
    on: Any = jnp if not is_concrete(values) else np
    x = _grid(dtype)[1:].astype(dtype)
    gain = on.abs(values[0][1:] / x)
    gain = on.where(on.isfinite(gain), gain, 0)
    last = gain.shape[0] - 1 - on.argmax((gain >= on.max(gain) / 2)[::-1])
    return on.where(last == gain.shape[0] - 1, 1, on.asarray(x)[last]).astype(dtype)


def _even_part(values: tuple[Float[Array | np.ndarray, " n"], ...], dtype: Any) -> Float[Any, ""]:
    """The largest |phi(x) + phi(-x)| up to some scales, over the largest |phi| there."""
    on = jnp if not is_concrete(values) else np
    near = _grid(dtype).astype(dtype) <= _SCALES * _scale(values, dtype)
    size = on.max(on.where(near, on.abs(values[0]), 0))
    return on.max(on.where(near, on.abs(values[0] + values[1]), 0)) / on.where(size > 0, size, 1)


def _require_slope_at_0(x: np.ndarray, phi: np.ndarray, opposite: np.ndarray, slope: np.ndarray) -> None:
    """Raises `ValueError` unless slope(0) is the slope of phi at 0.

    Automatic derivatives of |x| and of the sign of x are 0 at 0, so that they may be wrong there alone.
    """
    for values, side in ((phi, 1), (opposite, -1)):
        quotients = side * values[1:] / x[1:]
        smallest, larger = abs(quotients[0]), abs(quotients[_PER_DECADE])
        near = np.any(np.abs(quotients - slope[0]) <= _NEAR * abs(slope[0])) if slope[0] else smallest <= larger / 2
        if not (np.isfinite(slope[0]) and near):
            raise ValueError(
                f"`transfer` must have a slope at 0, where phi(x) / x is {quotients[_PER_DECADE]:.3g} for small x, got "
                f"slope(0) = {slope[0]:.3g}: write out `slope`, since automatic derivatives are wrong at a kink"
            )


def scale_of(transfer: Transfer, dtype: Any) -> Float[Array, ""]:
    """The scale of x on which phi bends, for phi that need not be odd; 1 if it is linear for x > 0."""
    return jnp.asarray(_scale(_values(transfer, jnp.asarray(_grid(dtype).astype(dtype))), dtype))


class _Mirrored(Transfer):
    """phi(-x)."""

    of: Transfer

    def __call__(self, x):
        return self.of(-x)

    def slope(self, x):
        return -self.of.slope(-x)


def kinks_of(transfer: Transfer, dtype: Any) -> Float[Array, " d"] | None:
    """Where phi' or phi'' jumps, for phi that need not be odd, in rising order; None if they do nowhere.

    For each kink x the list may hold -x too. A traced phi is taken to have no kink.
    """
    if not is_concrete(transfer):
        return None
    with jax.ensure_compile_time_eval():
        found: list[np.ndarray] = []
        nearest: list[float] = []
        size = 0.0
        for phi in (transfer, _Mirrored(transfer)):
            values = tuple(map(np.asarray, _values(phi, jnp.asarray(_grid(dtype).astype(dtype)))))
            nearest.append(float(values[2][1]))
            size = max(size, np.nanmax(np.abs(values[2])))
            kinks = _breaks(phi, dtype, *values[2:]) if np.nanmax(np.abs(values[2])) > 0 else None
            found += [] if kinks is None else [kinks]
        if abs(nearest[0] + nearest[1]) > _CHANGE * size:  # slopes on either side of 0
            found.append(np.zeros(1))
        return jnp.asarray(np.unique(np.concatenate(found)).astype(dtype)) if found else None


def _breaks(transfer: Transfer, dtype: Any, slope: np.ndarray, bend: np.ndarray) -> np.ndarray | None:
    """Where phi' or phi'' jumps, in rising order; None if they do nowhere."""
    x, size = _grid(dtype), np.nanmax(np.abs(slope))

    def jump(low, high):
        """The change of phi' and of x phi'' between neighbouring entries, over the largest slope."""
        change = np.maximum(*(np.abs(np.nan_to_num(high[k]) - np.nan_to_num(low[k])) for k in range(2)))
        return change / size

    values = np.stack([slope, bend])
    change = jump(values[:, 1:-1], values[:, 2:])
    beside = np.maximum(np.append(0, change[:-1]), np.append(change[1:], 0))
    found = 1 + np.flatnonzero((change > _CHANGE) & (change > _TIMES * beside))[:_MOST_KINKS]
    kinks: list[float] = []
    if len(found):
        # All intervals at once, in an array of the size of the grid: no further program.
        low, high = np.resize(x[found], x.size), np.resize(x[found + 1], x.size)
        at = lambda y: np.stack([np.asarray(v) for v in _values(transfer, jnp.asarray(y.astype(dtype)))[2:]])
        left, right = at(low), at(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            between = at(middle)
            first = jump(left, between) > jump(between, right)
            low, high = np.where(first, low, middle), np.where(first, middle, high)
            left, right = np.where(first, left, between), np.where(first, between, right)
        kinks = list(high[: len(found)][jump(left, right)[: len(found)] > _CHANGE])
    # phi' is even: if it bends at 0 it changes like x, else like x^2.
    change = np.abs(slope - slope[0]) / size
    first = int(np.argmax(change > _CHANGE))
    half = first - round(_PER_DECADE * np.log10(2))
    if first > 1 and half > 0 and change[first] < 3 * change[half]:
        kinks.append(0.0)
    return np.unique([*kinks, *(-k for k in kinks)]) if kinks else None
