"""What a process does for a sweep: checks it, plans it, computes chunks and writes them.

Tasks carry strings and numbers. The name of the function comes from whoever started the run, never from the disk alone.
"""

import functools
import threading
from pathlib import Path

import jax
import numpy as np

from .computation import FAILED, Computation, Plan, blank, computation
from .extension import Region, grid_of
from .specification import to_text
from .store import Chunk, Header, Manifest, read_manifest, write_chunk

Unit = tuple[int, ...]  # numbers of chunks of one part that are computed together

_ONE_AT_A_TIME = threading.Lock()  # a worker with several threads: two eigenproblems at once can deadlock jaxlib


def check(text: str) -> None:
    """Imports and traces the function of a sweep."""
    with _ONE_AT_A_TIME:
        computation(text)


def make_plan(text: str, regions: list[Region], batches: list[list[int | None]], chunk: int | None) -> Plan:
    with _ONE_AT_A_TIME:
        return computation(text).plan([grid_of(region) for region in regions], batches, chunk)


def compute(function: str, folder: str, digest: str, numbers: Unit) -> np.ndarray:
    """Computes chunks, of one call if they are several, writes them, and returns how many points have each status."""
    with _ONE_AT_A_TIME:
        manifest, run = _opened(function, folder, digest)
        part = manifest.part(numbers[0])
        combination, start, _ = part.span(numbers[0])
        _, _, stop = part.span(numbers[-1])
        batch = part.batches[combination]
        # Whole calls, also where only some of their chunks are asked for.
        start, stop = start // batch * batch, min(-(-stop // batch) * batch, part.grid.points)
        outcomes = list(run.evaluate(part.grid, combination, start, stop, batch))
        device = jax.local_devices()[0].device_kind
    values = {name: np.concatenate([o.values[name] for o in outcomes]) for name in outcomes[0].values}
    marks = np.concatenate([o.status for o in outcomes])
    widths = sorted({o.width for o in outcomes})
    errors: dict[int, str] = {}
    position = 0
    for outcome in outcomes:
        errors |= {position + k: reason for k, reason in outcome.errors.items()}
        position += len(outcome.status)
    total = np.zeros(4, int)
    for number in numbers:
        _, first, last = part.span(number)
        inside = slice(first - start, last - start)
        failed: dict[str, list[int]] = {}
        for k in range(inside.start, inside.stop):
            if k in errors:
                failed.setdefault(errors[k], []).append(k - inside.start)
        total += _write(
            Path(folder),
            manifest,
            number,
            {n: v[inside] for n, v in values.items()},
            marks[inside],
            failed,
            widths,
            device,
        )
    return total


def record_failure(function: str, folder: str, digest: str, numbers: Unit, reason: str) -> np.ndarray:
    """Writes chunks of which every point failed."""
    manifest = read_manifest(Path(folder))
    total = np.zeros(4, int)
    for number in numbers:
        part = manifest.part(number)
        count = part.count(number)
        results = part.results[part.span(number)[0]]
        values = {name: blank((count, *shape), dtype) for name, (shape, dtype) in results.items()}
        marks = np.full(count, FAILED, np.uint8)
        total += _write(Path(folder), manifest, number, values, marks, {reason: list(range(count))}, [], "")
    return total


def _write(folder, manifest, number, values, marks, failed, widths, device) -> np.ndarray:
    codes, sizes = np.unique(marks, return_counts=True)
    counts = {str(code): int(size) for code, size in zip(codes, sizes, strict=True)}
    header = Header(manifest.digest_of(number), number, counts, failed, widths, device)
    write_chunk(folder, Chunk(header, values, marks))
    return point_counts(header)


@functools.lru_cache(maxsize=1)
def _opened(function: str, folder: str, digest: str) -> tuple[Manifest, Computation]:
    """The sweep of a folder, for all units that this process computes of it."""
    manifest = read_manifest(Path(folder))
    if (manifest.sweep.function, manifest.digest) != (function, digest):
        raise ValueError(f"`output`: {folder} has become another sweep")
    run = computation(to_text(manifest.sweep))
    if any(run.results(part.grid) != part.results for part in manifest.parts):
        raise ValueError(f"`function`: the results of {function} differ from the results in {folder}")
    return manifest, run


def point_counts(header: Header) -> np.ndarray:
    """How many points of a chunk have each status, as far as they are there."""
    return np.array([header.counts.get(str(code), 0) for code in range(4)])
