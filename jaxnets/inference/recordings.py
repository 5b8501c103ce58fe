"""Recordings as arrays (trials, time, units): what is missing is NaN, and short trials end in NaN."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import real_array
from .._numerics import as_host, is_concrete

Recording = Float[ArrayLike, "*B T M"] | Sequence[Float[ArrayLike, "_ M"]]

# An axis is taken for time if neighbours along it are so much more correlated than along the other one. Neighbours in
# time have .9 or so in smooth currents, and .1 in sparse counts; of unordered units they have as much as any two.
_MORE_ALIKE = 0.2


def trials_of(recording: Recording, *, counts: bool = False, look: bool = True) -> Float[np.ndarray, "B T M"]:
    """A recording (T, M), (B, T, M) or a list of trials (T_i, M) as one array, filled up with NaN.

    Whole numbers >= 0 are asked for by `counts`. With `look`, axes that seem to have changed places are refused, units
    without a number too. Raises `ValueError` for what is no such recording.
    """
    listed: Any = recording if isinstance(recording, (list, tuple)) else ()
    if listed and all(np.ndim(trial) == 2 for trial in listed):
        y = _stacked([as_host(trial, f"`recording`, trial {k}") for k, trial in enumerate(listed)])
    else:
        if not is_concrete(recording):
            raise ValueError("`recording` must be concrete, got a traced array: only the model may be traced")
        y = as_host(recording, "`recording`")
        y = y[None] if y.ndim == 2 else y
    if y.ndim != 3 or 0 in y.shape:
        raise ValueError(
            "`recording` must have shape (time, units) or (trials, time, units), or be a list of trials (time, units), "
            f"got {len(y.shape)} axes, shape {y.shape}"
        )
    infinite = np.isinf(y)
    if infinite.any():
        raise ValueError(f"`recording` must be finite, with NaN for what is missing, got {_place(y, infinite)}")
    if counts:
        wrong = ~np.isnan(y) & ((y < 0) | (y != np.round(y)))
        if wrong.any():
            raise ValueError(
                f"`recording` must be counts for a Poisson law, whole numbers >= 0, got {_place(y, wrong)}: take "
                "`Gaussian()` for other data"
            )
    if not look:
        return y
    _require_time_first(y)
    silent = np.flatnonzero(np.all(np.isnan(y), axis=(0, 1)))
    if silent.size:
        raise ValueError(f"`recording` must have a number of each unit, got only NaN of units {_listed(silent)}: "
                         "leave them out")  # fmt: skip
    empty = np.flatnonzero(np.all(np.isnan(y), axis=(1, 2)))
    if empty.size:
        raise ValueError(f"`recording` must have a number in each trial, got only NaN in trials {_listed(empty)}")
    return y


def _stacked(trials: list[np.ndarray]) -> Float[np.ndarray, "B T M"]:
    units, steps = {trial.shape[1] for trial in trials}, {trial.shape[0] for trial in trials}
    if len(units) > 1:
        turned = ": these seem to be (units, time), give the transpose of each" if len(steps) == 1 else ""
        raise ValueError(f"`recording` must have the same units in all trials, got {sorted(units)} units{turned}")
    y = np.full((len(trials), max(steps), *units), np.nan)
    for filled, trial in zip(y, trials, strict=True):
        filled[: len(trial)] = trial
    return y


def _require_time_first(y: Float[np.ndarray, "B T M"]) -> None:
    """Raises `ValueError` for more units than steps where neighbours are alike along the axis of units."""
    _, T, M = y.shape
    if T >= M:
        return
    along_time, along_units = _neighbours(y, 1), _neighbours(y, 2)
    few = y.shape[0] * T < M
    if few or along_units > along_time + _MORE_ALIKE:
        why = "" if few else f", and neighbouring units more alike ({along_units:.2f}) than steps ({along_time:.2f})"
        raise ValueError(
            f"`recording` must have time before units, got shape {y.shape}, more units than steps{why}: this seems to "
            "be (units, time), give `np.swapaxes(recording, -1, -2)`, or, if not, record for longer or shuffle units"
        )


def _neighbours(y: Float[np.ndarray, "B T M"], axis: int) -> float:
    """The correlation of neighbours along an axis, about the means along it."""
    x = y - np.nanmean(y, axis=axis, keepdims=True) if np.isfinite(y).all() else np.nan_to_num(y - np.nanmean(y))
    if x.shape[axis] < 2:
        return 0.0
    before, after = (np.take(x, range(*ends), axis) for ends in ((0, x.shape[axis] - 1), (1, x.shape[axis])))
    size = float(np.sqrt(np.sum(before**2) * np.sum(after**2)))
    return float(np.sum(before * after)) / size if size > 0 else 0.0


def num_inputs_of(inputs: Any) -> int:
    """The number of inputs, 0 without any; `ValueError` for what has no such axis."""
    if inputs is None:
        return 0
    if isinstance(inputs, (list, tuple)) and inputs and all(np.ndim(trial) == 2 for trial in inputs):
        inputs = inputs[0]
    shape = np.shape(as_host(inputs, "`inputs`") if is_concrete(inputs) else inputs)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"`inputs` must have shape (time, inputs) or (trials, time, inputs), got {shape}")
    return shape[-1]


def inputs_of(inputs: Any, num: int, num_trials: int, num_steps: int, dtype: Any) -> Float[Array, "B T I"] | None:
    """Inputs of all trials, or None; `ValueError` if they are not as many as the model has, or do not fit."""
    if not num and inputs is None:
        return None
    if not num:
        raise ValueError("`inputs` must be None for a model without `input_weights`")
    if inputs is None:
        raise ValueError(
            f"`inputs` must be given to a model with {num} inputs, as (time, {num}) or (trials, time, {num})"
        )
    if isinstance(inputs, (list, tuple)) and inputs and all(np.ndim(trial) == 2 for trial in inputs):
        u = np.nan_to_num(_stacked([as_host(trial, f"`inputs`, trial {k}") for k, trial in enumerate(inputs)]))
    else:
        u = as_host(inputs, "`inputs`") if is_concrete(inputs) else real_array("inputs", inputs)
    if isinstance(u, np.ndarray) and not np.all(np.isfinite(u)):
        raise ValueError("`inputs` must be finite: what drives a network has no gaps")
    u = jnp.broadcast_to(u, (num_trials, *u.shape)) if u.ndim == 2 else jnp.asarray(u)
    if u.shape != (num_trials, num_steps, num):
        raise ValueError(f"`inputs` must have shape ({num_trials}, {num_steps}, {num}), got {u.shape}")
    return u.astype(dtype)


def _place(y: Float[np.ndarray, "B T M"], wrong: np.ndarray) -> str:
    trial, step, unit = np.argwhere(wrong)[0]
    return f"{y[trial, step, unit]:g} in trial {trial}, step {step}, unit {unit}"


def _listed(indices: np.ndarray) -> str:
    return f"{indices[:8].tolist()}" + f" and {len(indices) - 8} more" * (len(indices) > 8)
