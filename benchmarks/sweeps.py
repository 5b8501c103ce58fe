"""What a sweep costs beside its work: a bare loop, two workers, many chunks, and a million points.

    python benchmarks/sweeps.py [--quick]

Eigenvalues of i.i.d. couplings, N = 200, in calls of 16: the time of a sweep over the time of the same compiled calls
in a loop. Then the speed of two local workers over the speed of one (one core each, after all have delivered a chunk).
A thousand chunks of trivial work on 32 workers that share a process, scheduler included: the time of one is the least
time that a chunk may take if the scheduler is not to be the limit. A million points of the onset of chaos, with the
largest memory of a process that had only its first two calls to compute, and of one that computed all. Prints one
table; `--quick` works 10 s where else it is 60, on 10^5 points.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Before NumPy is imported: one BLAS thread a matrix.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import jax
import numpy as np
from table import Row

import jaxnets as jn

BATCH = 16
WORKERS = 32


def spectrum(g, key, n=200):
    return jn.spectra.eigenvalues(jn.couplings.IID(g=g).sample(n, key=key))


def onset(g, load):
    found = jn.meanfield.chaos_onset(jn.couplings.RandomModes.flat(g, load=load), jn.transfer.Tanh())
    return {"scale": found.value, "converged": found.converged}


def nothing(x):
    return x


def spectra(calls: int, **fields) -> jn.sweeps.Sweep:
    return jn.sweeps.Sweep("sweeps:spectrum", axes={"g": [1.0]}, realisations=calls * BATCH, batch=BATCH, **fields)


def onsets(side: int) -> jn.sweeps.Sweep:
    axes = {"g": {"linspace": [0.5, 2.0, side]}, "load": {"logspace": [0.1, 10.0, side]}}
    return jn.sweeps.Sweep("sweeps:onset", axes=axes, chunk=2**14)


def loop(calls: int):
    """Seconds of the calls that the sweep makes, with their results brought to the host, and nothing else."""

    def point(index):
        return spectrum(jax.numpy.ones(()), jax.random.fold_in(jax.random.key(0), index))

    indices = np.arange(calls * BATCH, dtype=np.uint32).reshape(calls, BATCH)
    program = jax.jit(jax.vmap(point)).lower(indices[0]).compile()
    jax.device_get(program(indices[0]))

    def run(some):
        began = time.perf_counter()
        for index in some:
            jax.device_get(program(index))
        return time.perf_counter() - began

    return lambda: run(indices)


def overhead(seconds: float, folder: Path) -> tuple[float, float]:
    """Seconds of the sweep and of the loop; the loop is run in two halves around it, as other work comes and goes."""
    once = loop(8)
    calls = int(np.ceil(seconds / (once() / 8) / 2)) * 2
    half = loop(calls // 2)
    sweep = spectra(calls, chunk=BATCH * 4)
    jn.sweeps.estimate(sweep)  # compiles
    before = half()
    began = time.perf_counter()
    jn.sweeps.run(sweep, folder / "overhead", progress=False)
    taken = time.perf_counter() - began
    return taken, before + half()


def speed(workers: int, calls: int, folder: Path) -> float:
    """Points a second, from the second chunk of every worker to the last but one."""
    output = folder / f"workers{workers}"
    jn.sweeps.run(spectra(calls, chunk=BATCH), output, workers=workers, progress=False)
    times = np.sort([path.stat().st_mtime for path in (output / "chunks").rglob("0*") if path.is_file()])
    first, last = 2 * workers, len(times) - workers
    return (last - first) * BATCH / (times[last - 1] - times[first - 1])


def many_chunks(folder: Path, chunks: int = 1000) -> float:
    """Seconds a chunk."""
    from distributed import LocalCluster

    sweep = jn.sweeps.Sweep("sweeps:nothing", axes={"x": {"linspace": [0, 1, chunks]}}, batch=1, chunk=1)
    cluster = LocalCluster(WORKERS, threads_per_worker=1, processes=False, dashboard_address=":0")
    with cluster:
        began = time.perf_counter()
        jn.sweeps.run(sweep, folder / "many", scheduler=cluster.scheduler_address, progress=False)
        return (time.perf_counter() - began) / chunks


def memory(side: int, folder: Path) -> tuple[float, float]:
    """Largest resident MB of a process that runs the sweep of side^2 points, and the seconds that it took."""
    command = [sys.executable, __file__, "--onsets", str(side), str(folder / f"onsets{side}")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    megabytes, seconds = map(float, out.split())
    return megabytes, seconds


def run_onsets(side: str, output: str) -> None:
    began = time.perf_counter()
    jn.sweeps.run(onsets(int(side)), output, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - began)


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    seconds, side = (10, 316) if quick else (60, 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken, bare = overhead(seconds, folder)
        rows = [(f"sweep over bare loop, {bare:.0f} s of eigenvalues", taken / bare, "at most", 1.05)]
        calls = int(seconds * BATCH * 30 / BATCH**2)
        one, two = speed(1, calls, folder), speed(2, calls, folder)
        rows.append((f"two workers over one ({one:.0f} points/s)", two / one, "at least", 1.7))
        chunk = many_chunks(folder)
        rows.append((f"ms a chunk, 1000 on {WORKERS} workers", 1e3 * chunk, "at most", 5e3 / WORKERS))
        few, _ = memory(91, folder)  # two calls of 4096
        all_, took = memory(side, folder)
        rows.append(
            (f"memory, {side**2} points over {91**2} ({all_:.0f} MB, {took:.0f} s)", all_ / few, "at most", 1.1)
        )
    print(f"{jax.devices()[0].device_kind}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}")
    print(f"{'':60s}{'':>10s}{'':>10s}{'aim':>8s}{'over aim':>10s}")
    for what, value, sense, aim in rows:
        print(f"{what:60s}{value:10.3g}{sense:>10s}{aim:8.3g}{value / aim:10.2f}")
    points = 100 * BATCH
    return [
        Row(f"sweep of eigenvalues, {bare:.0f} s of work", taken, None, "the bare loop", bare, "the loop", bare),
        Row(
            f"{points} points by two workers",
            points / two,
            None,
            "by one",
            points / one,
            "half of it",
            points / one / 2,
        ),
        Row(f"one of 1000 chunks on {WORKERS} workers, no work", chunk),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 s where else it is 60, and 10^5 points")
    parser.add_argument("--onsets", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.onsets:
        run_onsets(*chosen.onsets)
    else:
        main(chosen.quick)
