"""Who computes: this process, local worker processes, or a cluster. dask.distributed is needed for the last two."""

import contextlib
import functools
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .tasks import Unit


class Pool(NamedTuple):
    """`call(f, *args)` gives f's result. `each(f, args, units, most)` gives pairs of a unit and f's result, with at
    most `most` units at a time; the result is None for a unit that killed its workers."""

    call: Callable[..., Any]
    each: Callable[..., Iterator[tuple[Unit, Any]]]


@contextlib.contextmanager
def pool_of(workers: int | None, scheduler: str | None) -> Iterator[Pool]:
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

    room, counted = most or 0, -math.inf
    running: dict[Any, Unit] = {}
    finished = as_completed(loop=client.loop)

    def start(unit):
        future = client.submit(f, *arguments, unit, pure=False)
        running[future] = unit
        finished.add(future)

    def fill():
        nonlocal room, counted
        if most is None and time.monotonic() - counted > 5:  # workers come and go; to ask each time would take long
            room, counted = 2 * max(1, len(client.nthreads())), time.monotonic()
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
    """One process a worker, with one thread for all that it computes, or a GPU each."""
    import dask.config
    from distributed import Nanny, Scheduler, SpecCluster

    share = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NPROC": "1"}
    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "silence_logs": logging.CRITICAL}
    own = [share | {"CUDA_VISIBLE_DEVICES": name} for name in _gpus()] or [share]
    spec = {k: {"cls": Nanny, "options": options | {"env": own[k % len(own)]}} for k in range(workers)}
    # Any free port, for its pages too: several sweeps run beside each other.
    free = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    leader = {"cls": Scheduler, "options": free}
    # A worker that died is started again by its nanny, which the cluster would else close when that takes long.
    settings = {"distributed.nanny.pre-spawn-environ": share, "distributed.deploy.lost-worker-timeout": "1 day"}
    quiet: Any = logging.CRITICAL  # declared as bool, taken as a level
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        with _without_interrupts():
            cluster = stack.enter_context(SpecCluster(spec, leader, silence_logs=quiet))
        yield cluster


@contextlib.contextmanager
def _without_interrupts():
    """Keeps Ctrl-C from threads and processes that start here: the terminal sends it to all of them, but only the
    process that runs the sweep may answer it. Windows has no such masks; there workers stop with the sweep."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or starting the first process would, and let all signals through again
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _gpus() -> list[str]:
    """GPUs of this machine by their names in CUDA_VISIBLE_DEVICES, without starting any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
