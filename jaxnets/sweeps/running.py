"""Running a sweep: here, in local worker processes, or on a cluster; stopped at any moment, it goes on from its files.

The process that runs a sweep holds its lock and hands out units of work, a bounded number at a time. The worker that
computes a unit writes its chunks. dask.distributed chooses the worker, and hands the unit of a dead worker to another.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .._arguments import require_instance, require_whole
from .._progress import moving, stage
from .computation import FAILED, NOT_CONVERGED, Plan
from .extension import Region, added, grid_of, whole
from .pools import Pool, pool_of
from .results import Status, status
from .specification import Sweep, to_text
from .store import (
    FULL,
    MANIFEST,
    Damaged,
    Manifest,
    chunk_numbers,
    differences,
    locked,
    read_chunk,
    read_manifest,
    remove_temporaries,
    require_own_folder,
    write_manifest,
)
from .tasks import Unit, check, compute, make_plan, point_counts, record_failure


class Interrupted(KeyboardInterrupt):
    """The sweep was stopped by Ctrl-C or a signal; all chunks written stay."""


def run(
    sweep: Sweep,
    output: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    progress: bool = True,
) -> Status:
    """Computes the missing points of a sweep, and returns its status at the end.

    By default it computes in this process. With `workers` it computes in that many local processes of one core or one
    GPU each; a script that asks for them keeps its own work below `if __name__ == "__main__":`. With `scheduler` it
    computes on the dask cluster at that address, whose workers must see `output` and be able to import the function.
    `retry` computes again the chunks with points that failed or did not converge.

    A sweep of the folder may be extended: with more values along its axes, or more realisations, what is new is
    computed and what is there stays as it is.

    Results do not depend on workers, chunks, order or restarts, bit for bit on one kind of device.

    A point that raises is recorded with its error. A point whose `converged` is False, or whose results are not finite,
    is kept and marked. No such point stops the others. Damaged files are computed again.

    Raises:
        ValueError: for a sweep that cannot be run, and an output that holds another one (the difference is shown).
        BlockingIOError: when another process runs this sweep.
        OSError: when a file cannot be written, as when the disk is full. All chunks written stay.
        Interrupted: (a `KeyboardInterrupt`) after Ctrl-C or SIGTERM. Run again to go on.
    """
    require_instance("sweep", sweep, Sweep, "a `Sweep`")
    if workers is not None:
        require_whole("workers", workers)
        if scheduler is not None:
            raise ValueError("`workers` must be None when `scheduler` is given, whose workers are used")
    if output is None and sweep.output is None:
        raise ValueError("`output` must be given: the sweep has none")
    folder = Path(output if output is not None else sweep.output or "").absolute()
    require_own_folder(folder)
    try:
        with _interruptible(), pool_of(workers, scheduler) as pool:
            text = to_text(sweep)
            with stage("tracing", progress):
                pool.call(check, text)
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                remove_temporaries(folder)
                with stage("compiling, and timing a call", progress):
                    manifest = _manifest(sweep, text, folder, pool)
                _compute(manifest, folder, pool, retry, progress)
                remove_temporaries(folder)  # of workers that died in this run
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno, f"{error.strerror}; what is written in {folder} stays: make room, and {_GO_ON}"
        ) from None
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is written in {folder} stays: {_GO_ON}") from None
    return status(folder)


_GO_ON = "run the same sweep again to go on"


def _manifest(sweep: Sweep, text: str, folder: Path, pool: Pool) -> Manifest:
    """The manifest of the output: a new one, or the one that is there, which grows if the sweep has.

    Raises `ValueError` when there is another sweep.
    """
    old = read_manifest(folder) if (folder / MANIFEST).exists() else None
    fresh = [whole(sweep)] if old is None else _added(folder, old.sweep, sweep)
    parts = () if old is None else old.parts
    regions = [*(part.region for part in parts), *fresh]
    batches: list[list[int | None]] = [[sweep.batch or batch for batch in part.batches] for part in parts]
    batches += [[sweep.batch] * grid_of(region).combinations for region in fresh]
    plan: Plan = pool.call(make_plan, text, regions, batches, sweep.chunk or (old.chunk if old is not None else None))
    versions = {name: version(name) for name in ("jaxnets", "jax", "jaxlib")} | {"device": plan.device}
    planned = list(zip(regions, plan.results, plan.batches, strict=True))
    new = Manifest.of(sweep, plan.takes_key, plan.chunk, versions, planned)
    if old is not None:
        same = Manifest.of(old.sweep, plan.takes_key, plan.chunk, versions, planned[: len(parts)])
        _require_same(folder, old.made_by, same.made_by)
        _require_same(folder, old.plain(), same.plain())
        if not fresh:
            return old
    write_manifest(folder, new)
    return new


def require_same_sweep(sweep: Sweep, folder: Path) -> None:
    """Raises `ValueError` if the folder holds a sweep of which this one is no extension."""
    if (folder / MANIFEST).exists():
        _added(folder, read_manifest(folder).sweep, sweep)


def _added(folder: Path, old: Sweep, new: Sweep) -> list[Region]:
    try:
        return added(old, new)
    except ValueError as error:
        raise ValueError(f"`output`: {folder} holds another sweep:\n  {error}") from None


def _require_same(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    if lines := differences(old, new):
        raise ValueError(f"`output`: {folder} holds another sweep:\n  " + "\n  ".join(lines))


def _compute(manifest: Manifest, folder: Path, pool: Pool, retry: bool, progress: bool) -> None:
    waiting, counts = _waiting(folder, manifest, retry)
    total = manifest.grid.total
    with moving(
        tqdm(total=total, initial=int(counts.sum()), unit="point", disable=not progress, smoothing=0.05)
    ) as bar:
        arguments = (manifest.sweep.function, str(folder), manifest.digest)
        suspects: list[Unit] = []
        for unit, found in pool.each(compute, arguments, _units(manifest, waiting), None):
            if found is None:
                suspects.append(unit)
                continue
            counts += found
            bar.set_postfix(_marks(counts), refresh=False)
            bar.update(sum(found))
        # A worker dies with all that it was given: what is innocent of it goes through when it is alone.
        for unit, found in pool.each(compute, arguments, iter(suspects), 1):
            if found is None:
                found = record_failure(*arguments, unit, "the workers that computed it died")
            counts += found
            bar.set_postfix(_marks(counts), refresh=False)
            bar.update(sum(found))


def _marks(counts: np.ndarray) -> dict[str, int]:
    return {"failed": int(counts[FAILED]), "not converged": int(counts[NOT_CONVERGED])}


def _waiting(folder: Path, manifest: Manifest, retry: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which chunks have to be computed, and how many points of each status the others have. Reads every file."""
    waiting, counts = np.ones(manifest.chunks, bool), np.zeros(4, int)
    for number in chunk_numbers(folder):
        if isinstance(number, Path) or number >= manifest.chunks:
            continue
        try:
            header = read_chunk(folder, manifest, number).header
        except (Damaged, FileNotFoundError):
            continue
        found = point_counts(header)
        if not (retry and found[FAILED] + found[NOT_CONVERGED]):
            waiting[number] = False
            counts += found
    return waiting, counts


def _units(manifest: Manifest, waiting: np.ndarray) -> Iterator[Unit]:
    """The units of work: a chunk each, or all chunks of one call where a call holds several."""
    for part in manifest.parts:
        for combination, batch in enumerate(part.batches):
            group = max(1, batch // part.chunk)
            begin = part.first + combination * part.chunks_each
            end = begin + part.chunks_each
            for first in range(begin, end, group):
                last = min(first + group, end)
                if waiting[first:last].any():
                    yield tuple(int(k) for k in first + np.flatnonzero(waiting[first:last]))


@contextlib.contextmanager
def _interruptible():
    """SIGTERM, by which batch systems stop a job, has the same effect as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
