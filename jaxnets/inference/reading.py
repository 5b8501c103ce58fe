"""Recordings in files, as fits take them: trials of counts or values, time x units, and inputs on the same steps.

What a file was taken for is always said. Formats are read by `jaxnets._files`.
"""

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .._arguments import positive, require
from .._files import nwb, rates, spikes
from .._files.containers import BINARY, entries_of, kind_of
from .recordings import trials_of
from .spikes import bin_spikes, onto_bins, smoothed

KINDS = ("counts", "values")
_FEWEST_STEPS = 6  # of a piece of a trial, as fits ask
_SHOWN = 8  # names in a row of the table


@dataclass(frozen=True)
class RecordingFile:
    """A recording as it stands in files, made by `read_recording`; print it to see what it was taken for.

    `data` are the trials (T_i, M), with NaN for what is missing, and go to `fit_low_rank` as they are. `interval` is
    the time of a step. `labels` name the units. `kind` is "counts" for whole numbers >= 0, for a `Poisson` law, or
    "values". `inputs` are the trials of inputs (T_i, I), None without any, named by `input_labels`. `said` are the
    rows of the table.
    """

    data: tuple[Float[np.ndarray, "_ M"], ...]
    interval: float
    labels: tuple[str, ...]
    kind: str
    inputs: tuple[Float[np.ndarray, "_ I"], ...] | None
    input_labels: tuple[str, ...]
    said: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        width = max(len(what) for what, _ in self.said)
        return "\n".join(f"{what.ljust(width)}  {text}" for what, text in self.said)


def read_recording(
    path: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    interval: float | None = None,
    bin_width: float | None = None,
    start: float | None = None,
    smoothing: float | None = None,
    trial_length: float | None = None,
    kind: str | None = None,
    name: str | None = None,
    columns: Sequence[str] = (),
    transpose: bool = False,
    inputs: Sequence[str] = (),
    inputs_file: str | os.PathLike | None = None,
    same_units: bool = False,
) -> RecordingFile:
    """The recording in a file: activity sampled in time, or spike times; several files are several sessions.

    `path` is one file, or a list of them. Activity is a table of text, or an array (time, units) or (trials, time,
    units) of a .npy, .npz or .mat file, or a series of an NWB file. `interval` is the time between samples, if the file
    has no times. Spike times are the units of an NWB file, a list of arrays (a cell array of a .mat file, or one array
    a unit in an .npz file), or two columns of times and units; they need `bin_width`, and are counted in bins from
    `start` on, the first spike if None (see `bin_spikes`). `smoothing` is the standard deviation, in time, of a
    Gaussian kernel along which counts are spread; they are values then. `kind` ("counts" or "values") overrides what
    numbers look like. `name` is one of several arrays or series, `columns` are the units to take, and `transpose` is
    for files with units before time.

    Trials are those of an array or of the table of trials of an NWB file; `trial_length`, a time, cuts what is longer
    into pieces, as fits that hold trials out need them. Of several sessions, each trial has NaN for the units of the
    others. Units are told apart by session and name, or by name alone with `same_units`. Units that never
    change, as those without a spike, are left out.

    `inputs` are names of series in the same file: columns of a table, arrays with a value for each time, series of an
    NWB file. `inputs_file` is a table with a column of times. Series with times are averaged over each step, from the
    start of the recording.

    Raises:
        ValueError: for a file that cannot be read, holds several arrays or none, seems to have units before time, has
            counts that are not whole where `kind` asks for them, or no number in a trial or of a unit; and for
            arguments that do not fit the file.
    """
    one = isinstance(path, (str, os.PathLike))
    paths = [Path(path)] if one else [Path(part) for part in path]
    if not paths:
        raise ValueError("`path` must be a file, or a list of files, one a session, got none")
    _require_settings(interval, bin_width, smoothing, trial_length, kind)
    if start is not None and bin_width is None:
        raise ValueError("`start` is that of bins of spikes: give `bin_width`")
    behaviour = None if inputs_file is None else Path(inputs_file)
    how = _How(interval, bin_width, name, tuple(columns), transpose, tuple(inputs), behaviour, start)
    sessions = [_session(file, how) for file in paths]
    whole = _joined(sessions, same_units)
    whole = _cut(whole, trial_length)
    return _finished(whole, [session.said for session in sessions], kind, smoothing)


@dataclass(frozen=True)
class _How:
    """How a file is read: the arguments of `read_recording` that concern one session."""

    interval: float | None
    bin_width: float | None
    name: str | None
    columns: tuple[str, ...]
    transpose: bool
    inputs: tuple[str, ...]
    inputs_file: Path | None
    start: float | None


@dataclass(frozen=True)
class _Session:
    """Trials of one session, or of several; each begins at a time of `starts`."""

    path: Path
    trials: list[Float[np.ndarray, "_ M"]]
    starts: list[float]
    interval: float
    names: list[str]
    inputs: list[Float[np.ndarray, "_ I"]] | None
    input_names: list[str]
    said: str
    notes: tuple[tuple[str, str], ...] = ()


# --- one session


def _session(path: Path, how: _How) -> _Session:
    """The session in one file; `ValueError` with the name of the file for what cannot be read."""
    try:
        if nwb.is_nwb(path):
            found = _of_nwb(path, how)
        elif how.bin_width is not None:
            found = _of_spikes(path, *spikes.read_spikes(path, how.name), how)
        elif spikes.is_spikes(path):
            raise ValueError("`bin_width` must be given for a table of spike times")
        else:
            found = _of_samples(path, how)
        if how.inputs_file is not None:
            found = _with_inputs(found, [_series_of_table(how.inputs_file)], [how.inputs_file.stem])
        return _with_columns(found, how.columns)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"cannot read {path}: {reason or type(error).__name__}") from error


def _of_samples(path: Path, how: _How) -> _Session:
    """Activity that was sampled, from a table or an array."""
    read = rates.read_rates(path, how.name, how.transpose, with_trials=True)
    values = np.asarray(read.values, float)
    interval = rates.sampling_interval(how.interval, read.times)
    trials = list(values) if values.ndim == 3 else [values]
    seconds = None if read.times is None else rates.as_seconds(read.times)
    start = 0.0 if seconds is None or how.interval is not None else float(seconds[0])
    found = _Session(path, trials, [start] * len(trials), interval, read.names, None, [], read.said)
    if not how.inputs:
        return found
    if kind_of(path) in BINARY:
        entries = entries_of(path)
        missing = [name for name in how.inputs if name not in entries]
        if missing:
            raise ValueError(f"`inputs`: it has no array {missing[0]!r}; it holds {', '.join(entries)}")
        given = [_sampled_input(name, np.asarray(entries[name], float), values.shape) for name in how.inputs]
        u = np.concatenate(given, -1)
        names = [f"{name}{k}" if part.shape[-1] > 1 else name
                 for name, part in zip(how.inputs, given, strict=True) for k in range(part.shape[-1])]  # fmt: skip
        return replace(found, inputs=list(u), input_names=names)
    missing = [name for name in how.inputs if name not in read.names]
    if missing:
        raise ValueError(f"`inputs`: it has no column {missing[0]!r}; it has {_listed(read.names)}")
    of_inputs = [read.names.index(name) for name in how.inputs]
    rest = [k for k in range(len(read.names)) if k not in of_inputs]
    u = [trial[:, of_inputs] for trial in trials]
    names = [read.names[k] for k in rest]
    return replace(
        found, trials=[trial[:, rest] for trial in trials], names=names, inputs=u, input_names=list(how.inputs)
    )


def _sampled_input(name: str, u: np.ndarray, shape: tuple[int, ...]) -> Float[np.ndarray, "B T I"]:
    """An input with a value for each time of the recording, the same in all trials if it has no axis of them."""
    B, T = (1, *shape[:1]) if len(shape) == 2 else shape[:2]
    if u.ndim == 2 and 1 in u.shape and u.size == T:  # a vector as MATLAB keeps it
        u = u.reshape(T)
    fits = {(T,): lambda: np.broadcast_to(u[None, :, None], (B, T, 1)), (B, T): lambda: u[..., None]}
    if u.shape in fits:
        return fits[u.shape]()
    if u.ndim == 2 and u.shape[0] == T:
        return np.broadcast_to(u, (B, *u.shape))
    if u.ndim == 3 and u.shape[:2] == (B, T):
        return u
    raise ValueError(f"`inputs`: {name} must have a value for each time, {B} x {T} or {T}, got shape {u.shape}")


def _of_spikes(path: Path, times, names, said: str, how: _How) -> _Session:
    if how.inputs:
        raise ValueError("`inputs` by name need times: give `inputs_file`, a table with a column of times")
    assert how.bin_width is not None
    if how.interval is not None:
        raise ValueError("`interval` has no meaning for spike times: steps are bins of `bin_width`")
    start = _first(times, how)
    counts = bin_spikes(times, how.bin_width, start=start)
    text = f"spike times of {len(times)} units, {said}"
    notes = (("spikes", f"{sum(map(len, times))}, bins from {start:g} on"),)
    return _Session(path, [counts], [start], how.bin_width, names, None, [], text, notes)


def _first(times, how: _How) -> float:
    """Where bins begin: the first spike, unless it is given."""
    return min((float(part[0]) for part in times if len(part)), default=0.0) if how.start is None else how.start


def _of_nwb(path: Path, how: _How) -> _Session:
    held = nwb.read_nwb(path)
    wanted = [name for name, series in held.series.items() if series.values.ndim == 2 and series.values.shape[1] > 1]
    if held.spikes is not None and how.name in (None, "units"):
        if how.bin_width is None:
            raise ValueError("`bin_width` must be given for the spike times of its units")
        if how.interval is not None:
            raise ValueError("`interval` has no meaning for spike times: steps are bins of `bin_width`")
        found = _nwb_spikes(path, held, how)
    else:
        if how.bin_width is not None:
            raise ValueError("`bin_width` is for spike times, and there is no table of units, or `name` is a series")
        name = how.name
        if name is None:
            fitting = [one for one in wanted if one not in how.inputs and one.split("/")[-1] not in how.inputs]
            if len(fitting) != 1:
                several = ": say which by its name" if fitting else ""
                raise ValueError(
                    f"it has no units with spikes, and holds {', '.join(held.series) or 'no series'}{several}"
                )
            (name,) = fitting
        found = _nwb_series(path, name, held, how)
    series = [held.find(name) for name in how.inputs]
    return _with_inputs(found, series, [name.split("/")[-1] for name in how.inputs]) if series else found


def _nwb_spikes(path: Path, held: nwb.Session, how: _How) -> _Session:
    times, bin_width = held.spikes, how.bin_width
    assert times is not None and bin_width is not None
    said = f"NWB, spike times of {len(times)} units"
    if held.trials is None:
        start = _first(times, how)
        trials, starts = [bin_spikes(times, bin_width, start=start)], [start]
    elif how.start is not None:
        raise ValueError("`start` has no meaning beside a table of trials, each of which has its own")
    else:
        trials = [bin_spikes(times, bin_width, start=begin, stop=end) for begin, end in held.trials]
        starts, said = [float(begin) for begin, _ in held.trials], f"{said}, its table of trials"
    notes = (("spikes", f"{sum(map(len, times))}, of which {int(sum(map(np.sum, trials)))} in bins"),)
    return _Session(path, trials, starts, bin_width, held.units, None, [], said, notes)


def _nwb_series(path: Path, name: str, held: nwb.Session, how: _How) -> _Session:
    series = held.find(name)
    if series.values.ndim != 2:
        raise ValueError(f"{name} must be time x units, got shape {series.values.shape}")
    values = series.values.T if how.transpose else series.values
    if len(values) != len(series.times):
        raise ValueError(f"{name} has {len(series.times)} times and shape {values.shape}")
    interval = rates.sampling_interval(how.interval, tuple(map(repr, series.times.tolist())))
    names = [str(k) for k in range(values.shape[1])]
    said = f"NWB, series {name}"
    if held.trials is None:
        return _Session(path, [values], [float(series.times[0])], interval, names, None, [], said)
    trials, starts = [], []
    for begin, end in held.trials:
        inside = (series.times >= begin) & (series.times < end)
        if not inside.any():
            raise ValueError(f"{name} has no sample in the trial from {begin:g} to {end:g}")
        trials.append(values[inside])
        starts.append(float(series.times[inside][0]))
    return _Session(path, trials, starts, interval, names, None, [], f"{said}, its table of trials")


def _series_of_table(path: Path) -> nwb.Series:
    read = rates.read_rates(path, None, False)
    times = None if read.times is None else rates.as_seconds(read.times)
    if times is None:
        raise ValueError(f"`inputs_file` must have a column of times, got {path}, with {read.said}")
    return nwb.Series(times, np.asarray(read.values, float))


def _with_inputs(found: _Session, series: list[nwb.Series], names: list[str]) -> _Session:
    """Series in time as inputs on the steps of all trials, beside those that are there."""
    columns = [part.values.reshape(len(part.values), -1) for part in series]
    try:
        u = [
            np.concatenate(
                [
                    onto_bins(part.times, values, start, found.interval, len(trial))
                    for part, values in zip(series, columns, strict=True)
                ],
                1,
            )
            for trial, start in zip(found.trials, found.starts, strict=True)
        ]
    except ValueError as error:
        raise ValueError(f"{', '.join(names)}: {error}") from error
    if found.inputs is not None:
        u = [np.concatenate(both, 1) for both in zip(found.inputs, u, strict=True)]
    widths = zip(names, columns, strict=True)
    labels = [f"{name}{k}" if values.shape[1] > 1 else name for name, values in widths for k in range(values.shape[1])]
    return replace(found, inputs=u, input_names=[*found.input_names, *labels])


def _with_columns(found: _Session, columns: tuple[str, ...]) -> _Session:
    unknown = [unit for unit in columns if unit not in found.names]
    if unknown:
        raise ValueError(f"`columns`: it has no unit {', '.join(unknown)}; it has {_listed(found.names)}")
    if not columns:
        return found
    at = [found.names.index(unit) for unit in columns]
    return replace(found, trials=[trial[:, at] for trial in found.trials], names=list(columns))


# --- sessions together, and trials


def _joined(sessions: list[_Session], same_units: bool) -> _Session:
    """All trials over the units of all sessions."""
    first = sessions[0]
    if len(sessions) == 1:
        return first
    for session in sessions[1:]:
        if abs(session.interval / first.interval - 1) > 1e-3:
            raise ValueError(
                f"sessions must have steps of the same time, got {first.interval:g} in {first.path} and "
                f"{session.interval:g} in {session.path}"
            )
        if session.input_names != first.input_names and len(session.input_names) != len(first.input_names):
            raise ValueError(f"sessions must have the same inputs, got others in {session.path} than in {first.path}")
    name = lambda session, unit: unit if same_units else f"{session.path.stem}/{unit}"
    names = list(dict.fromkeys(name(session, unit) for session in sessions for unit in session.names))
    if not same_units and len(names) < sum(len(session.names) for session in sessions):
        raise ValueError("sessions must be files of different names, or share units, with `same_units`")
    trials = []
    for session in sessions:
        at = [names.index(name(session, unit)) for unit in session.names]
        for trial in session.trials:
            full = np.full((len(trial), len(names)), np.nan)
            full[:, at] = trial
            trials.append(full)
    all_inputs = [u for session in sessions for u in session.inputs or []]
    starts = [start for session in sessions for start in session.starts]
    u = all_inputs if first.inputs is not None else None
    return replace(first, trials=trials, starts=starts, names=names, inputs=u)


def _cut(whole: _Session, trial_length: float | None) -> _Session:
    """Trials in pieces of `trial_length`; what is left at an end is a shorter trial, or dropped if too short to fit."""
    if trial_length is None:
        return whole
    steps = round(trial_length / whole.interval)
    if steps < _FEWEST_STEPS:
        raise ValueError(
            f"`trial_length` must be {_FEWEST_STEPS} steps of {whole.interval:g} or more, got {trial_length:g}"
        )
    pieces = lambda parts: [
        part[begin : begin + steps]
        for part in parts
        for begin in range(0, len(part), steps)
        if begin == 0 or len(part) - begin >= _FEWEST_STEPS
    ]
    return replace(
        whole, trials=pieces(whole.trials), starts=[], inputs=None if whole.inputs is None else pieces(whole.inputs)
    )


def _finished(whole: _Session, said: list[str], kind: str | None, smoothing: float | None) -> RecordingFile:
    """The result after all checks; `ValueError` for data that no fit could take."""
    every = np.concatenate(whole.trials)
    seen = np.isfinite(every)
    if not seen.any():
        raise ValueError(f"{whole.path} must hold numbers, got only NaN")
    empty = [unit for unit, some in zip(whole.names, np.any(seen, 0), strict=True) if not some]
    if empty:
        only = f"got only NaN of {_listed(empty)}"
        raise ValueError(f"{whole.path} must have a number of each unit, {only}: take others, by `columns`")
    kept = np.nanmax(every, 0) > np.nanmin(every, 0)
    if not kept.any():
        raise ValueError(f"{whole.path} must have a unit that changes in time, got {len(kept)} constant ones")
    dropped = [unit for unit, keep in zip(whole.names, kept, strict=True) if not keep]
    trials = [trial[:, kept] for trial in whole.trials]
    values = every[:, kept][seen[:, kept]]
    whole_numbers = bool(np.all(values >= 0) and np.all(values == np.round(values)))
    kind = kind or ("counts" if whole_numbers else "values")
    if smoothing is not None:
        if kind != "counts":
            raise ValueError("`smoothing` is for counts of spikes, and these are values")
        trials, kind = [smoothed(trial, smoothing / whole.interval) for trial in trials], "values"
    try:
        trials_of(trials, counts=kind == "counts")
    except ValueError as error:
        reason = (
            str(error)
            .replace("`np.swapaxes(recording, -1, -2)`", "`transpose`")
            .replace("`recording`", str(whole.path))
        )
        raise ValueError(reason.replace("take `Gaussian()` for other data", 'take `kind="values"`')) from error
    for u in whole.inputs or []:
        if not np.all(np.isfinite(u)):
            raise ValueError(f"inputs of {whole.path} must be finite: what drives a network has no gaps")
    labels = [unit for unit, keep in zip(whole.names, kept, strict=True) if keep]
    rows = _rows(whole, said, trials, labels, dropped, kind, smoothing)
    return RecordingFile(
        data=tuple(trials),
        interval=float(whole.interval),
        labels=tuple(labels),
        kind=kind,
        inputs=None if whole.inputs is None else tuple(np.array(u) for u in whole.inputs),
        input_labels=tuple(whole.input_names),
        said=rows,
    )


def _rows(whole: _Session, said, trials, labels, dropped, kind: str, smoothing) -> tuple[tuple[str, str], ...]:
    lengths = sorted({len(trial) for trial in trials})
    steps = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    numbers = np.concatenate([trial.ravel() for trial in trials])
    seen = np.isfinite(numbers)
    what = "counts: whole numbers" if kind == "counts" else "values"
    if smoothing is not None:
        what = f"counts per step, smoothed by a Gaussian of {smoothing:g}"
    average = f"{np.mean(numbers[seen]):.3g} on average, {np.min(numbers[seen]):.3g} to {np.max(numbers[seen]):.3g}"
    rows = [
        *((f"session {k + 1}" if len(said) > 1 else "taken for", text) for k, text in enumerate(said)),
        *whole.notes,
    ]
    rows += [
        ("trials", f"{len(trials)} of {steps} steps"),
        ("step", f"{whole.interval:g}"),
        ("units", f"{len(labels)}: {_listed(labels)}"),
        ("numbers", f"{what}, {average}"),
    ]
    if not seen.all():
        rows.append(("missing", f"{100 * np.mean(~seen):.3g} %"))
    if dropped:
        rows.append(("left out", f"{len(dropped)} that never change: {_listed(dropped)}"))
    if whole.input_names:
        rows.append(("inputs", _listed(whole.input_names)))
    return tuple(rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _require_settings(interval, bin_width, smoothing, trial_length, kind) -> None:
    given = {"interval": interval, "bin_width": bin_width, "smoothing": smoothing, "trial_length": trial_length}
    for name, value in given.items():
        if value is not None:
            require(name, np.asarray(value), positive, "a finite number > 0, or None")
    if kind not in (None, *KINDS):
        raise ValueError(f'`kind` must be "counts", "values" or None, got {kind!r}')
