"""Running a sweep: here, in local worker processes, or on a cluster; stopped at any moment, it goes on from its files.

The process that runs a sweep holds its lock and hands out units of work, a bounded number at a time. Whoever computes
a unit writes its chunks. dask.distributed decides who does, and starts again what a dead worker had.
"""

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .._arguments import require_instance, require_whole
from .computation import FAILED, NOT_CONVERGED, Computation, Plan, blank, computation
from .results import Status, status
from .specification import Sweep, to_text
from .store import (
    FULL,
    MANIFEST,
    Chunk,
    Damaged,
    Header,
    Manifest,
    chunk_numbers,
    differences,
    locked,
    read_chunk,
    read_manifest,
    remove_temporaries,
    require_own_folder,
    write_chunk,
    write_manifest,
)

Unit = tuple[int, ...]  # numbers of chunks that are computed together


class Interrupted(KeyboardInterrupt):
    """The sweep was stopped by Ctrl-C or a signal; what was done is kept."""


def run(
    sweep: Sweep,
    output: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    progress: bool = True,
) -> Status:
    """Computes what is missing of a sweep, and returns how it ended.

    Without more it computes in this process; with `workers`, in so many local processes that share the cores or have a
    GPU each (a script that asks for them keeps its own work below `if __name__ == "__main__":`); with `scheduler`, on
    the dask cluster at that address, whose workers see `output` and can import the function. `retry` computes again
    the chunks with points that failed or did not converge.

    Results do not depend on workers, chunks, order or restarts, bit for bit on one kind of device.

    A point that raises is recorded with its error, and one whose `converged` is False or whose results are not finite
    is kept and marked; none stops the others. Damaged files are computed again.

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
        with _interruptible(), _pool(workers, scheduler) as pool:
            text = to_text(sweep)
            pool.call(check, text)
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                remove_temporaries(folder)
                manifest = _manifest(sweep, text, folder, pool)
                _compute(manifest, folder, pool, retry, progress)
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


def _manifest(sweep: Sweep, text: str, folder: Path, pool: "Pool") -> Manifest:
    """That of the output if it has one and it is of this sweep, or a new one."""
    old = read_manifest(folder) if (folder / MANIFEST).exists() else None
    known = old.batches if old and to_text(old.sweep) == text else [None] * sweep.grid.combinations
    batches = [sweep.batch or batch for batch in known]
    plan: Plan = pool.call(make_plan, text, batches, sweep.chunk or (old.chunk if old else None))
    versions = {name: version(name) for name in ("jaxnets", "jax", "jaxlib")}
    new = Manifest(sweep, plan.takes_key, plan.results, plan.batches, plan.chunk, versions | {"device": plan.device})
    if old is None:
        write_manifest(folder, new)
    elif changed := differences(old, new):
        raise ValueError(f"`output`: {folder} holds another sweep:\n  " + "\n  ".join(changed))
    return new


def _compute(manifest: Manifest, folder: Path, pool: "Pool", retry: bool, progress: bool) -> None:
    waiting, counts = _waiting(folder, manifest, retry)
    total = manifest.grid.total
    with tqdm(total=total, initial=int(counts.sum()), unit="point", disable=not progress, smoothing=0.05) as bar:
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
    """Which chunks are to be computed, and how many points of each status the others have. Reads every file."""
    waiting, counts = np.ones(manifest.chunks, bool), np.zeros(4, int)
    for number in chunk_numbers(folder):
        if isinstance(number, Path) or number >= manifest.chunks:
            continue
        try:
            header = read_chunk(folder, manifest, number).header
        except (Damaged, FileNotFoundError):
            continue
        found = _counts(header)
        if not (retry and found[FAILED] + found[NOT_CONVERGED]):
            waiting[number] = False
            counts += found
    return waiting, counts


def _counts(header: Header) -> np.ndarray:
    return np.array([header.counts.get(str(code), 0) for code in range(4)])


def _units(manifest: Manifest, waiting: np.ndarray) -> Iterator[Unit]:
    """A chunk, or all chunks of one call where that holds several."""
    for combination, batch in enumerate(manifest.batches):
        group = max(1, batch // manifest.chunk)
        begin = combination * manifest.chunks_each
        end = begin + manifest.chunks_each
        for first in range(begin, end, group):
            last = min(first + group, end)
            if waiting[first:last].any():
                yield tuple(int(k) for k in first + np.flatnonzero(waiting[first:last]))


# --- what workers do. Tasks carry strings and numbers; the function's name comes from who started the run.

_ONE_AT_A_TIME = threading.Lock()  # a worker with several threads: two eigenproblems at once can deadlock jaxlib


def check(text: str) -> None:
    """Imports and traces the function of a sweep."""
    with _ONE_AT_A_TIME:
        computation(text)


def make_plan(text: str, batches: list[int | None], chunk: int | None) -> Plan:
    with _ONE_AT_A_TIME:
        return computation(text).plan(batches, chunk)


def compute(function: str, folder: str, digest: str, numbers: Unit) -> np.ndarray:
    """Computes chunks, of one call if they are several, writes them, and returns how many points have each status."""
    import jax

    with _ONE_AT_A_TIME:
        manifest, run = _opened(function, folder, digest)
        combination, start, _ = manifest.span(numbers[0])
        _, _, stop = manifest.span(numbers[-1])
        batch = manifest.batches[combination]
        start = start // batch * batch
        outcomes = list(run.evaluate(combination, start, stop, batch))
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
        _, first, last = manifest.span(number)
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
        count = manifest.count(number)
        results = manifest.results[manifest.span(number)[0]]
        values = {name: blank((count, *shape), dtype) for name, (shape, dtype) in results.items()}
        marks = np.full(count, FAILED, np.uint8)
        total += _write(Path(folder), manifest, number, values, marks, {reason: list(range(count))}, [], "")
    return total


def _write(folder, manifest, number, values, marks, failed, widths, device) -> np.ndarray:
    codes, sizes = np.unique(marks, return_counts=True)
    counts = {str(code): int(size) for code, size in zip(codes, sizes, strict=True)}
    header = Header(manifest.digest, number, counts, failed, widths, device)
    write_chunk(folder, Chunk(header, values, marks))
    return _counts(header)


@functools.lru_cache(maxsize=1)
def _opened(function: str, folder: str, digest: str) -> tuple[Manifest, Computation]:
    """The sweep of a folder, for all units that this process computes of it."""
    manifest = read_manifest(Path(folder))
    if (manifest.sweep.function, manifest.digest) != (function, digest):
        raise ValueError(f"`output`: {folder} has become another sweep")
    run = computation(to_text(manifest.sweep))
    if run.results != manifest.results:
        raise ValueError(f"`function`: the results of {function} are not those of {folder}")
    return manifest, run


# --- who does it


class Pool(NamedTuple):
    """`call(f, *args)` gives f's result; `each(f, args, units, most)` pairs of a unit and f's result, or None where
    computing it killed workers, with at most so many at a time."""

    call: Callable[..., Any]
    each: Callable[..., Iterator[tuple[Unit, Any]]]


@contextlib.contextmanager
def _pool(workers: int | None, scheduler: str | None) -> Iterator[Pool]:
    if workers is None and scheduler is None:
        yield Pool(lambda f, *arguments: f(*arguments), _each_here)
        return
    try:
        import distributed
    except ImportError:
        name = "workers" if scheduler is None else "scheduler"
        raise ValueError(f"`{name}` needs dask: python -m pip install 'jaxnets[distributed]'") from None
    local = contextlib.nullcontext(scheduler) if workers is None else _local_cluster(workers)
    with local as address, distributed.Client(address, set_as_default=False) as client:
        yield Pool(
            lambda f, *arguments: client.submit(f, *arguments, pure=False).result(),
            functools.partial(_each_on_cluster, client),
        )


def _each_here(f, arguments, units, most):
    for unit in units:
        yield unit, f(*arguments, unit)


def _each_on_cluster(client, f, arguments, units, most):
    from distributed import KilledWorker, as_completed

    running: dict[Any, Unit] = {}
    finished = as_completed(loop=client.loop)

    def start(unit):
        future = client.submit(f, *arguments, unit, pure=False)
        running[future] = unit
        finished.add(future)

    def fill():
        room = most or 2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        while len(running) < room and (unit := next(units, None)) is not None:
            start(unit)

    fill()
    for future in finished:
        unit = running.pop(future)
        if future.status in ("cancelled", "lost"):
            start(unit)
            continue
        error = future.exception()
        if error is not None and not isinstance(error, KilledWorker):
            raise error
        yield unit, None if error is not None else future.result()
        fill()


@contextlib.contextmanager
def _local_cluster(workers: int):
    """One process a worker, with its share of the cores, or a GPU each."""
    import dask.config
    from distributed import Nanny, Scheduler, SpecCluster

    share = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NPROC": str(max(1, _cores() // workers))}
    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "silence_logs": logging.CRITICAL}
    own = [share | {"CUDA_VISIBLE_DEVICES": name} for name in _gpus()] or [share]
    spec = {k: {"cls": Nanny, "options": options | {"env": own[k % len(own)]}} for k in range(workers)}
    leader = {"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1", "port": 0}}
    quiet: Any = logging.CRITICAL  # declared as bool, taken as a level
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": share}),
        SpecCluster(spec, leader, silence_logs=quiet) as cluster,
    ):
        yield cluster


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """GPUs of this machine by the names that CUDA_VISIBLE_DEVICES has for them, without waking any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


@contextlib.contextmanager
def _interruptible():
    """SIGTERM, by which batch systems stop a job, is taken as Ctrl-C is."""
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
