"""Tables of activity in files of any kind, time x units or trials x time x units, and the time between samples."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .containers import BINARY, TEXT, kind_of, open_container
from .tables import recording, table_of_text


class Rates(NamedTuple):
    """Numbers with the names of units, the labels of times in the file, None if it has none, and what was read."""

    values: np.ndarray
    names: list[str]
    times: tuple[str, ...] | None
    said: str
    named: bool  # by the file, not by their places


def read_rates(path: Path, name: str | None, transpose: bool, *, with_trials: bool = False) -> Rates:
    """The activity in a file; a column of times is set apart, and `transpose` is for units x time.

    `name` is one of several arrays. Raises `ValueError` for what is no table of real numbers, and what `open` raises.
    """
    times = names = None
    if kind_of(path) in BINARY:
        wanted = (lambda shape: len(shape) in (2, 3)) if with_trials else (lambda shape: len(shape) == 2)
        found = open_container(path, name, wanted, "a table", labelled=-2 if transpose else -1)
        values = found.values.toarray() if scipy.sparse.issparse(found.values) else np.asarray(found.values)
        names, notes = found.labels, [f"array {found.name}"] if found.name != path.stem else []
    elif kind_of(path) in TEXT:
        table = table_of_text(path).transposed() if transpose else table_of_text(path)
        values, times, names, _, said = recording(table)
        notes = [*filter(None, [said.replace("column", "column of times" if times else "column")]), *table.notes]
    else:
        raise ValueError(f"the recording must be a {', '.join((*TEXT[:3], *BINARY))} file")
    if values.ndim != 2 and not (with_trials and values.ndim == 3):
        raise ValueError(f"it must be time x units, got shape {values.shape}")
    if transpose:
        values = np.swapaxes(values, -1, -2) if kind_of(path) in BINARY else values
        notes = ["transposed", *notes]
    if values.dtype.kind not in "biuf":
        raise ValueError(f"it must hold real numbers, time x units, got {values.dtype} of shape {values.shape}")
    shown = list(names) if names is not None else [str(k) for k in range(values.shape[-1])]
    trials = f"{values.shape[0]} trials of " if values.ndim == 3 else ""
    said = ", ".join([f"{trials}{values.shape[-2]} times of {values.shape[-1]} units", *notes])
    return Rates(values, shown, times, said, names is not None)


# Of seconds in milliseconds, microseconds and nanoseconds: files and users choose their own.
_UNITS = [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9]
_SAME_STEP = 1e-3  # relative: times are written with few digits


def sampling_interval(given: float | None, times: tuple[str, ...] | None) -> float:
    """The time between samples: `given`, or the step of `times`, which may not contradict each other.

    Numbers 0, 1, 2, ... count samples and say nothing of time. Dates are in seconds. Raises `ValueError` if neither is
    known, both are and differ by more than the unit, or the times are not evenly spaced.
    """
    step = None if times is None else _step(times)
    if given is None:
        if step is None:
            raise ValueError("`interval` must be given: the time between samples, which the file does not say")
        return step
    if step is None:
        return given
    if not any(abs(given / (unit * step) - 1) < _SAME_STEP for unit in _UNITS):
        raise ValueError(f"`interval` is {given:g}, but times in the file are {step:g} apart: leave the option out")
    return given


def as_seconds(times: tuple[str, ...]) -> Any:
    """Times as numbers, dates as seconds since the first one; None for what is no time."""
    try:
        return np.array(times, float)
    except ValueError:
        try:
            stamps = np.array(times, "datetime64[ns]")
        except ValueError:
            return None
        return (stamps - stamps[0]).astype(np.int64) * 1e-9


def _step(times: tuple[str, ...]) -> float | None:
    """The step of even times, None for numbers of samples and what is no time."""
    numbers = as_seconds(times)
    if numbers is None:
        return None
    steps = np.diff(numbers)
    if len(steps) == 0 or np.all(steps == 1):
        return None
    least, most = float(steps.min()), float(steps.max())
    if not (least > 0 and most - least <= _SAME_STEP * most):
        spaced = f"got steps from {least:g} to {most:g}"
        raise ValueError(f"times in the file must be evenly spaced, {spaced}: resample them")
    return float(np.mean(steps))
