"""NWB files: spike times of units, series of numbers in time, and trials, straight from their HDF5 layout."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Series(NamedTuple):
    """Numbers in time, in the units that the file states; `times` are in seconds of the session."""

    times: Float[np.ndarray, " T"]
    values: Float[np.ndarray, "T ..."]


class Session(NamedTuple):
    """What an NWB file holds: `spikes` of each unit and their names, series by their paths, ends of trials."""

    spikes: list[Float[np.ndarray, " _"]] | None
    units: list[str]
    series: dict[str, Series]
    trials: Float[np.ndarray, "B 2"] | None

    def find(self, name: str) -> Series:
        """The series of that path, or of that last name; `ValueError` if there is none, or several."""
        fits = [path for path in self.series if path == name or path.split("/")[-1] == name]
        if name in self.series:
            fits = [name]
        if len(fits) != 1:
            held = ", ".join(self.series) or "no series"
            why = f"has several series {name!r}" if fits else f"has no series {name!r}"
            raise ValueError(f"it {why}; it holds {held}")
        return self.series[fits[0]]


def is_nwb(path: Path) -> bool:
    """Whether the name of a file is that of an NWB file."""
    return path.suffix.lower() == ".nwb"


def read_nwb(path: Path) -> Session:
    """The content of an NWB 2 file; raises `ValueError` without h5py, and for files that are none."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("it is an NWB file, which needs h5py: pip install 'jaxnets[nwb]'") from None
    open(path, "rb").close()  # for the words of the system where it is missing
    try:
        file = h5py.File(path)
    except OSError as error:
        raise ValueError(f"it is no NWB file of HDF5: {error}") from error
    with file:
        series: dict[str, Series] = {}

        def look(name: str, node: Any) -> None:
            if isinstance(node, h5py.Group) and not name.startswith(("specifications", "units", "general")):
                found = _series(node)
                if found is not None:
                    series[name] = found

        file.visititems(look)
        spikes, units = _units(file.get("units"))
        return Session(spikes, units, series, _trials(file.get("intervals/trials")))


def _series(node: Any) -> Series | None:
    """The numbers of a group that is a TimeSeries, None for others."""
    data = node.get("data")
    if data is None or not hasattr(data, "dtype") or data.dtype.kind not in "biuf" or not data.shape:
        return None
    if "timestamps" in node:
        times = np.asarray(node["timestamps"], float)
    elif "starting_time" in node:
        start = node["starting_time"]
        times = float(start[()]) + np.arange(len(data)) / float(start.attrs["rate"])
    else:
        return None
    factor, offset = (float(data.attrs.get(name, usual)) for name, usual in (("conversion", 1.0), ("offset", 0.0)))
    return Series(times, np.asarray(data, float) * factor + offset)


def _units(table: Any) -> tuple[list[np.ndarray] | None, list[str]]:
    if table is None or "spike_times" not in table:
        return None, []
    times = np.asarray(table["spike_times"], float)
    ends = np.asarray(table["spike_times_index"], int)
    names = [str(name) for name in np.asarray(table["id"])] if "id" in table else [str(k) for k in range(len(ends))]
    return [np.sort(part) for part in np.split(times, ends[:-1])], names


def _trials(table: Any) -> Float[np.ndarray, "B 2"] | None:
    if table is None:
        return None
    return np.stack([np.asarray(table[name], float) for name in ("start_time", "stop_time")], 1)
