"""The results of a sweep so far, as a dataset with named axes, and checks of its files. Reads files, computes nothing.

The dataset has a dimension for each static axis, each axis, the realisations (if the function takes a key), and each
axis of a result; these last ones are numbered. Points that are missing or failed are NaN, 0 or False. `status` tells
them apart: 0 done, 1 not converged, 2 not finite, 3 failed, 4 missing.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .computation import DONE, FAILED, MISSING, NOT_CONVERGED, NOT_FINITE, blank, inner_dimensions
from .specification import Grid
from .store import (
    CHUNKS,
    DATA,
    HELD,
    LOCK,
    MANIFEST,
    Chunk,
    Damaged,
    Manifest,
    Stale,
    chunk_numbers,
    chunk_path,
    is_running,
    is_temporary,
    locked,
    read_chunk,
    read_header,
    read_manifest,
)

if TYPE_CHECKING:  # elsewhere imported where they are needed: workers do without, and start a second earlier
    import xarray as xr

_MEANINGS = {
    DONE: "done",
    NOT_CONVERGED: "not_converged",
    NOT_FINITE: "not_finite",
    FAILED: "failed",
    MISSING: "missing",
}
_BLOCK_BYTES = 16 * 2**20


def open(output: str | Path) -> "xr.Dataset":
    """All results so far, in memory; also while the sweep runs.

    For results that do not fit into memory, see `assemble`.

    Raises `ValueError` when `output` is not the folder of a sweep.
    """
    import xarray as xr

    folder = Path(output)
    manifest = read_manifest(folder)
    variables, leading = _variables(manifest), _leading(manifest)
    total = manifest.grid.total
    flat = {name: blank((total, *shape), dtype) for name, (shape, dtype) in variables.items()}
    flat["status"][:] = MISSING
    for part in manifest.parts:
        places = _places(manifest.grid, part.grid)
        for number in range(part.first, part.last):
            chunk = _whole_chunk(folder, manifest, number)
            if chunk is not None:
                combination, start, stop = part.span(number)
                inside = np.arange(combination * part.grid.points + start, combination * part.grid.points + stop)
                for name, array in _arrays(chunk).items():
                    flat[name][(places[inside], *map(slice, array.shape[1:]))] = array
    dims, coordinates = tuple(leading), _coordinates(manifest)
    data = {
        name: ((*dims, *inner_dimensions(name, array.ndim - 1)), array.reshape((*leading.values(), *array.shape[1:])))
        for name, array in flat.items()
    }
    return xr.Dataset(data, coordinates, _attributes(manifest)).assign(
        status=lambda d: d["status"].assign_attrs(_flags())
    )


def assemble(output: str | Path) -> Path:
    """Writes the results so far as `data.zarr` in the folder of the sweep, in constant memory, and returns its path.

    The new data replace older ones once they are whole. Open them with `xarray.open_zarr`.

    Raises `ValueError` when `output` is not the folder of a sweep; `BlockingIOError` while the sweep runs.
    """
    folder = Path(output)
    manifest = read_manifest(folder)
    with locked(folder):
        new, old, final = folder / ".data.new", folder / ".data.old", folder / DATA
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            _write_zarr(new, folder, manifest)
            if final.exists():
                final.rename(old)
            new.rename(final)
        finally:
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
    return final


class Failure(NamedTuple):
    """A point that failed: its `parameters`, and its error as the `reason`."""

    parameters: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Status:
    """The progress of a sweep.

    Each of its `points` is counted as `done`, `not_converged`, `not_finite`, `failed` or `missing`. `failures` lists
    the first points that failed. `running` says whether a process works on the sweep. `rate` is the number of points a
    second in the present or last run, and `seconds_left` the time that the missing points take at this rate.
    """

    points: int
    done: int
    not_converged: int
    not_finite: int
    failed: int
    missing: int
    failures: tuple[Failure, ...]
    running: bool
    rate: float
    seconds_left: float

    @property
    def finished(self) -> bool:
        """Whether no point is missing."""
        return self.missing == 0


def status(output: str | Path, *, listed: int = 100) -> Status:
    """The progress of the sweep of a folder, with the first `listed` failures.

    Raises `ValueError` when `output` is not the folder of a sweep.
    """
    folder = Path(output)
    manifest = read_manifest(folder)
    counts = dict.fromkeys(_MEANINGS.values(), 0)
    failures, times, recent = [], [], 0
    try:
        began = (folder / LOCK).stat().st_mtime
    except FileNotFoundError:
        began = math.inf
    for number in range(manifest.chunks):
        try:
            header = read_header(folder, manifest, number)
            written = chunk_path(folder, number).stat().st_mtime
        except (Damaged, FileNotFoundError):
            counts["missing"] += manifest.count(number)
            continue
        for code, count in header.counts.items():
            counts[_MEANINGS[int(code)]] += count
        if written >= began:
            times.append(written)
            recent += manifest.count(number)
        part = manifest.part(number)
        combination, start, _ = part.span(number)
        for reason, points in header.failed.items():
            for k in points[: listed - len(failures)]:
                failures.append(Failure(part.grid.describe(combination, start + k), reason))
    running = is_running(folder)
    until = time.time() if running else max(times, default=0)
    rate = recent / (until - began) if until > began else math.nan
    left = counts["missing"] / rate if counts["missing"] and rate else 0.0 if not counts["missing"] else math.inf
    return Status(
        manifest.grid.total, **counts, failures=tuple(failures), running=running, rate=rate, seconds_left=left
    )


@dataclass(frozen=True)
class Verification:
    """Numbers of chunks that are `damaged`, `stale` (of another configuration) or `missing`, and `foreign` files."""

    damaged: tuple[int, ...]
    stale: tuple[int, ...]
    missing: tuple[int, ...]
    foreign: tuple[Path, ...]

    @property
    def whole(self) -> bool:
        """Whether every chunk is there and right."""
        return not (self.damaged or self.stale or self.missing)


def verify(output: str | Path) -> Verification:
    """Reads every file of a sweep and compares it with its checksum and with the manifest.

    Raises `ValueError` when `output` is not the folder of a sweep, or its manifest is damaged.
    """
    folder = Path(output)
    manifest = read_manifest(folder)
    damaged, stale, missing = [], [], []
    for number in range(manifest.chunks):
        try:
            read_chunk(folder, manifest, number)
        except FileNotFoundError:
            missing.append(number)
        except Stale:
            stale.append(number)
        except Damaged:
            damaged.append(number)
    foreign = [path for path in folder.iterdir() if path.name not in (MANIFEST, LOCK, HELD, CHUNKS, DATA)]
    for entry in chunk_numbers(folder):
        if isinstance(entry, Path):
            foreign.append(entry)
        elif entry >= manifest.chunks:
            foreign.append(chunk_path(folder, entry))
    foreign = [path for path in foreign if not is_temporary(path)]
    return Verification(tuple(damaged), tuple(stale), tuple(missing), tuple(foreign))


# --- the form of the data set


def _whole_chunk(folder: Path, manifest: Manifest, number: int) -> Chunk | None:
    try:
        return read_chunk(folder, manifest, number)
    except (Damaged, FileNotFoundError):
        return None


def _arrays(chunk: Chunk) -> dict[str, np.ndarray]:
    return chunk.values | {"status": chunk.status}


def _variables(manifest: Manifest) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each result, with the largest shape that any static values give."""
    variables = {}
    every = [results for part in manifest.parts for results in part.results]
    for name, (_, dtype) in every[0].items():
        shapes = [results[name][0] for results in every]
        variables[name] = (tuple(max(lengths) for lengths in zip(*shapes, strict=True)), dtype)
    return variables | {"status": ((), "|u1")}


def _leading(manifest: Manifest) -> dict[str, int]:
    grid = manifest.grid
    leading = {axis.name: len(axis) for axis in (*grid.static, *grid.axes)}
    return leading | ({"realisation": len(grid.realisations)} if manifest.takes_key else {})


def _coordinates(manifest: Manifest) -> dict[str, tuple[str, np.ndarray]]:
    grid = manifest.grid
    coordinates = {name: (axis.name, np.asarray(v)) for axis in grid.axes for name, v in axis.values.items()}
    for axis in grid.static:
        for name, values in axis.values.items():
            plain = all(isinstance(v, str | bool | int | float) for v in values)
            coordinates[name] = (axis.name, np.array(values if plain else [json.dumps(v) for v in values]))
    return coordinates


def _attributes(manifest: Manifest) -> dict[str, Any]:
    sweep = manifest.sweep
    about = {"function": sweep.function, "seed": sweep.seed, "precision": sweep.precision}
    fixed = {"fixed": json.dumps(sweep.fixed)} if sweep.fixed else {}
    return about | fixed | {"maker": "jaxnets"} | {f"{name}_version": v for name, v in manifest.made_by.items()}


def _flags() -> dict[str, Any]:
    return {"flag_values": list(_MEANINGS), "flag_meanings": " ".join(_MEANINGS.values())}


# --- zarr


def _write_zarr(path: Path, folder: Path, manifest: Manifest) -> None:
    """Writes block after block. A block is a range of points in a row, which few chunks hold."""
    import xarray as xr
    import zarr

    variables, leading = _variables(manifest), _leading(manifest)
    largest = max(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in variables.values())
    block = _block(tuple(leading.values()), max(1, _BLOCK_BYTES // max(largest, 1)))
    xr.Dataset(coords=_coordinates(manifest), attrs=_attributes(manifest)).to_zarr(
        path, mode="w", zarr_format=2, consolidated=False
    )
    group = zarr.open_group(path, mode="a", zarr_format=2)
    targets = {}
    for name, (shape, dtype) in variables.items():
        attributes: dict[str, Any] = {"_ARRAY_DIMENSIONS": [*leading, *inner_dimensions(name, len(shape))]}
        targets[name] = group.create_array(
            name,
            shape=(*leading.values(), *shape),
            chunks=(*block, *(max(n, 1) for n in shape)),
            dtype=dtype,
            fill_value=None,  # xarray would take it for a mark of missing values, and turn flags into numbers
            attributes=attributes | (_flags() if name == "status" else {}),
        )
    whereabouts = [_whereabouts(manifest.grid, part.grid) for part in manifest.parts]
    for where, first, last in _blocks(tuple(leading.values()), block):
        values = {name: blank((last - first, *shape), dtype) for name, (shape, dtype) in variables.items()}
        values["status"][:] = MISSING
        for inside, arrays in _between(folder, manifest, whereabouts, first, last):
            for name, array in arrays.items():
                values[name][(inside, *map(slice, array.shape[1:]))] = array
        lengths = tuple(s.stop - s.start for s in where)
        for name, array in values.items():
            targets[name][where] = array.reshape((*lengths, *array.shape[1:]))
    zarr.consolidate_metadata(path, zarr_format=2)


def _block(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Lengths of a block of at most so many points that follow each other: the last axes whole, one cut, others 1."""
    lengths, room = [], most
    for n in reversed(shape):
        length = max(1, min(n, room))
        lengths.append(length)
        room = room // n if length == n else 0
    return tuple(reversed(lengths))


def _blocks(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], int, int]]:
    """Where each block lies in the array, and the range of points that it is."""
    counts = tuple(-(-n // b) for n, b in zip(shape, block, strict=True))
    for k in range(math.prod(counts)):
        corner = [int(i) * b for i, b in zip(np.unravel_index(k, counts) if counts else (), block, strict=True)]
        where = tuple(slice(c, min(c + b, n)) for c, b, n in zip(corner, block, shape, strict=True))
        first = int(np.ravel_multi_index(corner, shape)) if shape else 0
        yield where, first, first + math.prod(s.stop - s.start for s in where)


def _between(
    folder: Path, manifest: Manifest, whereabouts: list[list[np.ndarray]], first: int, last: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The known points with global indices first..last, chunk by chunk: their places in this range, and values."""
    shape = (*manifest.grid.static_shape, *manifest.grid.shape)
    where = np.unravel_index(np.arange(first, last), shape)
    for part, along in zip(manifest.parts, whereabouts, strict=True):
        own = [positions[k] for positions, k in zip(along, where, strict=True)]
        inside = np.flatnonzero(np.all([k >= 0 for k in own], 0))
        indices = np.ravel_multi_index([k[inside] for k in own], (*part.grid.static_shape, *part.grid.shape))
        combinations, indices = np.divmod(indices, part.grid.points)
        numbers = part.first + combinations * part.chunks_each + indices // part.chunk
        for number in np.unique(numbers):
            chunk = _whole_chunk(folder, manifest, int(number))
            if chunk is not None:
                here = numbers == number
                yield inside[here], {n: array[indices[here] % part.chunk] for n, array in _arrays(chunk).items()}


# --- where the points of a part lie in the whole


def _whereabouts(grid: Grid, part: Grid) -> list[np.ndarray]:
    """For each axis of the grid, and for realisations, the positions of its values in the part; -1 for others."""
    pairs = zip((*grid.static, *grid.axes), (*part.static, *part.axes), strict=True)
    found = []
    for axis, own in pairs:
        known = {identity: k for k, identity in enumerate(own.identities())}
        found.append(np.array([known.get(identity, -1) for identity in axis.identities()]))
    realisations = np.array([k - part.realisations.start if k in part.realisations else -1 for k in grid.realisations])
    return [*found, realisations]


def _places(grid: Grid, part: Grid) -> np.ndarray:
    """The global index of each point of a part."""
    along = [np.flatnonzero(k >= 0)[np.argsort(k[k >= 0])] for k in _whereabouts(grid, part)]
    shape = (*grid.static_shape, *grid.shape)
    return np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), shape).ravel()
