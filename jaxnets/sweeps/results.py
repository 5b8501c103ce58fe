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
from .store import (
    CHUNKS,
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

DATA = "data.zarr"
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
    grid, variables = manifest.grid, _variables(manifest)
    flat = {name: blank((grid.combinations, grid.points, *shape), dtype) for name, (shape, dtype) in variables.items()}
    flat["status"][:] = MISSING
    for number in range(manifest.chunks):
        chunk = _whole_chunk(folder, manifest, number)
        if chunk is not None:
            combination, start, stop = manifest.span(number)
            for name, array in _arrays(chunk).items():
                flat[name][(combination, slice(start, stop), *map(slice, array.shape[1:]))] = array
    leading = _leading(manifest)
    dims, coordinates = tuple(leading), _coordinates(manifest)
    data = {
        name: ((*dims, *inner_dimensions(name, array.ndim - 2)), array.reshape((*leading.values(), *array.shape[2:])))
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
        combination, start, _ = manifest.span(number)
        for reason, points in header.failed.items():
            for k in points[: listed - len(failures)]:
                failures.append(Failure(manifest.grid.describe(combination, start + k), reason))
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
    foreign = [path for path in folder.iterdir() if path.name not in (MANIFEST, LOCK, CHUNKS, DATA)]
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
    for name, (_, dtype) in manifest.results[0].items():
        shapes = [results[name][0] for results in manifest.results]
        variables[name] = (tuple(max(lengths) for lengths in zip(*shapes, strict=True)), dtype)
    return variables | {"status": ((), "|u1")}


def _leading(manifest: Manifest) -> dict[str, int]:
    grid = manifest.grid
    leading = {axis.name: len(axis) for axis in (*grid.static, *grid.axes)}
    return leading | ({"realisation": grid.realisations} if manifest.takes_key else {})


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
    for where, first, last in _blocks(tuple(leading.values()), block):
        parts = {name: blank((last - first, *shape), dtype) for name, (shape, dtype) in variables.items()}
        parts["status"][:] = MISSING
        for start, arrays in _between(folder, manifest, first, last):
            for name, array in arrays.items():
                inside = (slice(start - first, start - first + len(array)), *map(slice, array.shape[1:]))
                parts[name][inside] = array
        lengths = tuple(s.stop - s.start for s in where)
        for name, part in parts.items():
            targets[name][where] = part.reshape((*lengths, *part.shape[1:]))
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


def _between(folder: Path, manifest: Manifest, first: int, last: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The known points with global indices first..last, piece by piece."""
    points = manifest.grid.points
    position = first
    while position < last:
        combination, index = divmod(position, points)
        number = combination * manifest.chunks_each + index // manifest.chunk
        _, start, stop = manifest.span(number)
        chunk = _whole_chunk(folder, manifest, number)
        end = min(last, combination * points + stop)
        if chunk is not None:
            piece = slice(index - start, index - start + end - position)
            yield position, {name: array[piece] for name, array in _arrays(chunk).items()}
        position = end
