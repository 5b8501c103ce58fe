"""Spike times in files: a list of arrays, a cell array, or two columns of times and units."""

import re
from pathlib import Path

import numpy as np

from .containers import BINARY, TEXT, entries_of, kind_of
from .tables import table_of_text

_UNIT = re.compile(r"(unit|neuron|cluster|cell|id|units|clusters|unit_id|cluster_id|neuron_id)", re.IGNORECASE)
_TIME = re.compile(r"(time|times|t|spike|spikes|spike_time|spike_times|seconds|sec|s)([ _(\[].*)?", re.IGNORECASE)


def is_spikes(path: Path) -> bool:
    """Whether a table of text says by its two titles that it holds times and units."""
    if kind_of(path) not in TEXT:
        return False
    table = table_of_text(path)
    return table.numbers.shape[1] == 2 and _order(table.label(0, 0), table.label(0, 1)) is not None


def read_spikes(path: Path, name: str | None) -> tuple[list[np.ndarray], list[str], str]:
    """Sorted times of each unit, the names of units, and what was read; raises `ValueError` for other content."""
    if kind_of(path) in TEXT:
        return _of_table(path)
    if kind_of(path) not in BINARY:
        raise ValueError(f"spike times must be in a {', '.join((*TEXT[:3], *BINARY))} or .nwb file")
    entries = entries_of(path)
    if name is not None:
        if name not in entries:
            raise ValueError(f"it has no array {name!r}; it holds {', '.join(entries) or 'nothing'}")
        entries = {name: entries[name]}
    cells = {key: value for key, value in entries.items() if isinstance(value, list)}
    if len(cells) == 1:
        ((key, times),) = cells.items()
        return _sorted(times), [str(k) for k in range(len(times))], f"cell array {key}"
    arrays = {key: np.asarray(value) for key, value in entries.items() if not isinstance(value, list)}
    pairs = [key for key, value in arrays.items() if value.ndim == 2 and value.shape[1] == 2]
    if len(pairs) == 1:
        return *_of_columns(arrays[pairs[0]][:, 0], arrays[pairs[0]][:, 1]), f"times and units in {pairs[0]}"
    flat = {
        key: value.ravel()
        for key, value in arrays.items()
        if value.dtype.kind in "iuf" and max(value.shape) == value.size
    }
    named = [next((key for key in flat if kind.fullmatch(key)), None) for kind in (_TIME, _UNIT)]
    times, units = named
    if times is not None and units is not None and flat[times].size == flat[units].size:
        return *_of_columns(flat[times], flat[units]), f"times {times} of units {units}"
    if not flat or len(flat) < len(arrays):
        shown = ", ".join(f"{key} ({' x '.join(map(str, value.shape))})" for key, value in arrays.items()) or "nothing"
        raise ValueError(f"it must hold spike times, one list a unit or two columns of times and units; it has {shown}")
    return _sorted(list(flat.values())), list(flat), "one array of times a unit"


def _of_table(path: Path) -> tuple[list[np.ndarray], list[str], str]:
    table = table_of_text(path)
    if table.numbers.shape[1] != 2:
        raise ValueError(f"spike times must be two columns, time and unit, got {table.numbers.shape[1]} columns")
    order = _order(table.label(0, 0), table.label(0, 1))
    header = order is not None or (0, 0) in table.texts
    of_times, of_units = order or (0, 1)
    rows = range(int(header), len(table.numbers))
    times = table.numbers[int(header) :, of_times]
    return *_of_columns(times, [table.label(i, of_units) for i in rows]), "columns of times and units"


def _order(first: str, second: str) -> tuple[int, int] | None:
    """The columns of times and of units, by their titles."""
    if _TIME.fullmatch(first) and _UNIT.fullmatch(second):
        return 0, 1
    return (1, 0) if _UNIT.fullmatch(first) and _TIME.fullmatch(second) else None


def _of_columns(times, units) -> tuple[list[np.ndarray], list[str]]:
    times, units = np.asarray(times, float), np.asarray(units)
    wrong = np.flatnonzero(~np.isfinite(times))
    if wrong.size:
        raise ValueError(f"spike times must be finite, got {times[wrong[0]]} in row {wrong[0]}")
    if units.dtype.kind in "US" and all(re.fullmatch(r"\d+", unit) for unit in units.tolist()):
        units = units.astype(int)
    names = np.unique(units)
    shown = [str(int(name)) if names.dtype.kind in "iuf" and name == int(name) else str(name) for name in names]
    return _sorted([times[units == name] for name in names]), shown


def _sorted(times: list) -> list[np.ndarray]:
    return [np.sort(np.asarray(part, float).ravel()) for part in times]
