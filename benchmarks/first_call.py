"""First calls: CPU seconds to trace, lower, compile and run one point, beside a NumPy or SciPy script for the same.

    python benchmarks/first_call.py [--against CHECKOUT] [NAME ...]

Every case runs in a process of its own, without a compilation cache, imports not counted: the first call; another point
of the same size; where there is one, a point of another size (window, N); the first point again; and the script of
`scripts.py`. The numbers of both must agree. CPU seconds count all threads, so that a busy machine changes little.
Programs are those compiled, instructions the lines of their StableHLO. `--against` runs the cases on another checkout
of the package too.
"""

import argparse
import dataclasses
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scripts
from table import Row

import jaxnets as jn

HERE = Path(__file__).resolve()
AIM, SCRIPT_AIM = 5.0, 2.0  # CPU seconds of a first call, and its ratio to the script


@dataclasses.dataclass
class Case:
    """One number: ours and a script's as functions of a point; points of one size, and one of another size."""

    ours: Callable[..., Any]
    script: Callable[..., Any] | None
    points: list[tuple]
    other: tuple | None = None
    tolerance: float = 1e-4  # relative to the largest number


# --- spectra


def right_edge() -> Case:
    ours = lambda *p: _law(*p).right_edge()
    return Case(ours, scripts.right_edge, [(0.5, 0.5, (0.6, 0.4)), (0.7, 0.3, (0.5, 0.5))], (0.5, 0.5, (0.6, 0.4, 0.2)))


def right_edge_gains() -> Case:
    ours = lambda *p: jn.spectra.law(jn.couplings.DeepHebbian(*p), jn.transfer.Tanh(), variance=0.5).right_edge()
    script = lambda *p: scripts.right_edge(*p, gains=scripts.tanh_gains(0.5))
    return Case(
        ours, script, [(0.5, 0.5, (0.6, 0.4)), (0.7, 0.3, (0.5, 0.5))], (0.5, 0.5, (0.6, 0.4, 0.2)), tolerance=1e-2
    )


def boundary() -> Case:
    def areas(*p):
        curves = _law(*p).boundary()
        found = np.array([abs(np.sum(np.conj(z[:-1]) * z[1:]).imag) / 2 for z in curves])
        return np.sort(found)[::-1]

    return Case(
        areas, scripts.boundary_areas, [(1.5, 0.5, (0.6,)), (1.2, 0.4, (0.7,))], (1.5, 0.5, (0.6, 0.4)), tolerance=1e-3
    )


def density() -> Case:
    x, y = np.linspace(-0.4, 2.6, 50), np.linspace(0.02, 1.5, 50)

    def ours(*p):
        return _law(*p).density(x[None] + 1j * y[:, None])

    # Both lose digits at the boundary, where the density jumps: most points are compared.
    middle = lambda found: np.array(
        [np.sum(found) * (x[1] - x[0]) * (y[1] - y[0]), *np.asarray(found)[5:15, 15:25].ravel()]
    )
    return Case(
        lambda *p: middle(np.nan_to_num(ours(*p))),
        lambda *p: middle(scripts.density(*p, x, y)),
        [(1.5, 0.5, (0.6,)), (1.2, 0.4, (0.7,))],
        (1.5, 0.5, (0.6, 0.3)),
        tolerance=1e-2,
    )


def critical_value() -> Case:
    def ours(load, auto, low, high):
        at = lambda gamma: jn.couplings.DeepHebbian(load, auto, (gamma,))
        return jn.spectra.critical_value(at, (low + high) / 2).value

    return Case(ours, scripts.critical_value, [(0.1, 0.5, 0.2, 0.5), (0.05, 0.5, 0.3, 0.6)])


def _law(*p):
    return jn.spectra.law(jn.couplings.DeepHebbian(*p))


# --- mean field


def stationary() -> Case:
    def ours(g):
        state = _state(g)
        return np.array([state.c_x[0], state.c_phi[0]])

    return Case(ours, lambda g: np.array(scripts.stationary(g)[:2]), [(2.0,), (3.0,)])


def dimension() -> Case:
    def ours(g, rank):
        found = jn.population.dimension(_state(g), jn.couplings.RandomModes.of_rank(g, rank))
        return np.array([found.phi, found.x])

    return Case(ours, scripts.dimension, [(2.0, 0.25), (3.0, 1.0)])


def chaos_onset() -> Case:
    ours = lambda *p: jn.meanfield.chaos_onset(jn.couplings.DeepHebbian(*p), jn.transfer.Tanh()).value
    script = lambda *p: 1 / scripts.right_edge(*p)
    return Case(ours, script, [(0.5, 0.5, (0.6, 0.4)), (0.7, 0.3, (0.5, 0.5))], (0.5, 0.5, (0.6, 0.4, 0.2)))


def largest_lyapunov() -> Case:
    ours = lambda g: jn.meanfield.largest_lyapunov(_state(g)).value
    return Case(ours, scripts.largest_lyapunov, [(2.0,), (3.0,)], tolerance=1e-2)


def static_state() -> Case:
    def ours(g, overlap):
        state = _static(g, overlap)
        return np.array([state.kappa[0], state.variance])

    return Case(ours, scripts.static_state, [(0.5, 2.0), (0.7, 2.5)])


def static_stability() -> Case:
    def ours(g, overlap):
        found = jn.meanfield.static_stability(_static(g, overlap))
        outliers = np.asarray(found.outliers).real
        return np.array([found.edge, *outliers[outliers > float(found.edge)]])

    return Case(ours, scripts.static_stability, [(0.5, 2.0), (0.4, 1.5)])


def _state(g):
    return jn.meanfield.stationary(jn.couplings.IID(g), jn.transfer.Tanh())


def _static(g, overlap):
    ensemble = jn.couplings.IID(g) + jn.couplings.LowRank(overlap)
    return jn.meanfield.static_state(ensemble, jn.transfer.Tanh())


# --- memory


def capacity() -> Case:
    ours = lambda T: jn.memory.capacity(jn.couplings.DeepHebbian(0.1, 1.0, (0.0,), symmetric=True), [1.0], T).load
    return Case(ours, scripts.capacity, [(0.2,), (0.3,)], tolerance=1e-3)


def replica_state() -> Case:
    def ours(patterns, gamma, load, T):
        ensemble = jn.couplings.DeepHebbian(load, 1.0, (gamma,), symmetric=True)
        return jn.memory.replica_state(ensemble, np.eye(patterns)[patterns // 2], T).m

    return Case(ours, scripts.replica_state, [(5, 0.2, 0.01, 0.2), (5, 0.2, 0.02, 0.25)], (9, 0.2, 0.01, 0.2))


# --- networks


def is_stable() -> Case:
    ours = lambda J, s: np.asarray(jn.multistability.is_stable(J, s))
    script = lambda J, s: np.all((2 * s - 1) * (s @ J.T) > 0, 1)
    of = lambda n, seed: (_normal(seed, n, n), (_normal(seed + 1, 100, n) > 0).astype(float))
    return Case(ours, script, [of(20, 0), of(20, 2)], of(24, 4))


def stable_patterns() -> Case:
    code = lambda found: np.sort(np.asarray(found) @ 2.0 ** np.arange(found.shape[1]))
    ours = lambda J: code(jn.multistability.stable_patterns(J).patterns)
    script = lambda J: code(scripts.stable_patterns(J))
    return Case(ours, script, [(_normal(0, 16, 16),), (_normal(1, 16, 16),)], (_normal(2, 18, 18),))


def piecewise_fixed_points() -> Case:
    order = lambda kappa: np.asarray(kappa)[np.lexsort(np.asarray(kappa).T)]
    ours = lambda *p: order(jn.multistability.piecewise_fixed_points(p[0], p[1], jn.transfer.ReLU(), p[2]).kappa)
    of = lambda n, seed: (_normal(seed, n, 2), 4 * _normal(seed + 1, n, 2) / n, _normal(seed + 2, n))
    return Case(ours, lambda *p: order(scripts.piecewise_fixed_points(*p)), [of(40, 0), of(40, 3)], of(64, 6))


def fixed_points() -> Case:
    def of(n, seed):
        patterns = np.sign(_normal(seed, 4, n))
        return 2 * patterns.T @ patterns / n, 1.9 * patterns

    def ours(J, starts):
        net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
        found = jn.dynamics.fixed_points(net, starts, progress=False)
        return np.asarray(found.points)[np.asarray(found.index)]

    return Case(ours, scripts.fixed_points, [of(200, 0), of(200, 1)], of(160, 2))


def simulate() -> Case:
    def ours(J, starts):
        net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
        return jn.dynamics.simulate(net, starts, duration=20.0, dt=0.05, save_every=100, progress=False).final

    of = lambda n, seed: (1.5 * _normal(seed, n, n) / n**0.5, _normal(seed + 1, 4, n))
    return Case(ours, lambda J, x: scripts.simulate(J, x, 20.0, 0.05), [of(200, 0), of(200, 2)], of(160, 4))


def lyapunov_spectrum() -> Case:
    def ours(J, x):
        net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
        options = dict(num_exponents=5, duration=250.0, discard=50.0, key=jax.random.key(0), progress=False)
        return jnp.mean(jn.dynamics.lyapunov_spectrum(net, x, **options).exponents[:2])

    script = lambda J, x: np.mean(scripts.lyapunov_spectrum(J, x, 5, 250.0, 0.05, 50.0, 0.5)[:2])
    # At rest, where the exponents do not depend on the tangents; of chaotic orbits they scatter.
    of = lambda n, seed: (0.7 * _normal(seed, n, n) / n**0.5, _normal(seed + 1, n))
    return Case(ours, script, [of(100, 0), of(100, 2)], of(80, 4), tolerance=0.05)


# --- fits


def fit_recording() -> Case:
    def of(n, seed):
        J, x = 4 * _normal(seed, n, n) / n**0.5, _normal(seed + 1, 1, n)
        rates = []
        for _ in range(1200):
            x = scripts.simulate(J, x, 0.5, 0.1)
            rates.append(np.tanh(x[0]))
        return np.array(rates[100:]), 0.5

    def ours(rates, interval):
        found = jn.fitting.fit_recording(rates, interval, population_size=rates.shape[1])
        return np.array([found.g, found.time_constant])

    script = lambda rates, interval: scripts.fit_recording(rates, interval)[:2]
    # The script weighs other lags, within the error of g.
    return Case(ours, script, [of(400, 0), of(400, 2)], of(300, 4), tolerance=0.15)


def fit_ensemble() -> Case:
    loads, start = np.linspace(0.1, 1.5, 8), 0.3 * np.ones(8)
    truth = lambda decay: 0.6 * np.exp(-np.arange(8) / decay)
    data = lambda window: np.array([scripts.real_edge(load, 0.2, window) for load in loads])

    def misses(params, edges):
        edge = lambda load: jn.spectra.law(jn.couplings.DeepHebbian(load, 0.2, params["window"])).right_edge()
        return jax.vmap(edge)(jnp.asarray(loads)) - edges

    def ours(edges):
        held = {"window": jn.fitting.Positive()}
        found = jn.fitting.least_squares(misses, {"window": start}, edges, transforms=held)
        return data(np.asarray(found.params["window"]))

    script = lambda edges: data(scripts.fit_window(loads, 0.2, edges, start))
    return Case(ours, script, [(data(truth(3.0)),), (data(truth(4.0)),)])


def fit_spectrum() -> Case:
    def of(load, auto, gamma, seed, n=400):
        xi = np.sign(_normal(seed, n, round(load * n)))
        J = (auto * xi + gamma * np.roll(xi, 1, axis=1)) @ xi.T / n
        return (jn.fitting.spectral_statistics(np.linalg.eigvals(J)[None]),)

    def misses(params, data):
        return jn.fitting.spectrum_misses(jn.couplings.DeepHebbian(**params), data)

    def ours(data):
        start = {"load": 0.5, "auto": 0.4, "hetero": np.array([0.6])}
        held = {name: jn.fitting.Positive() for name in start}
        found = jn.fitting.least_squares(misses, start, data, transforms=held).params
        return np.array([found["load"], found["auto"], found["hetero"][0]])

    return Case(ours, None, [of(0.6, 0.5, 0.8, 0), of(0.6, 0.5, 0.7, 1)])


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


CASES = {
    case.__name__: case
    for case in (
        *(right_edge, right_edge_gains, boundary, density, critical_value),
        *(stationary, dimension, chaos_onset, largest_lyapunov, static_state, static_stability),
        *(capacity, replica_state, is_stable, stable_patterns, piecewise_fixed_points),
        *(fixed_points, lyapunov_spectrum, simulate, fit_recording, fit_ensemble, fit_spectrum),
    )
}


# --- one case, in a process of its own


class Heard:
    """CPU seconds, programs and instructions since it was last asked, and seconds of tracing, lowering, compiling."""

    EVENTS = {"jaxpr_trace": "trace", "jaxpr_to_mlir_module": "lower", "backend_compile": "compile"}

    def __init__(self, dump: str):
        self.dump, self.seconds, self.known = dump, [], set()
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, seconds: float, **_):
        for name, short in self.EVENTS.items():
            if event.endswith(f"{name}_duration"):
                self.seconds.append((short, seconds))

    def call(self, function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        self.seconds.clear()
        began, cpu = time.perf_counter(), time.process_time()
        value = jax.device_get(jax.block_until_ready(function()))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        files = set(glob.glob(f"{self.dump}/*")) - self.known
        self.known |= files
        lines = sum(" = " in line for file in files for line in open(file, errors="replace"))
        # These are seconds of wall time, which other processes stretch.
        parts = {
            short: cpu / wall * sum(s for kind, s in self.seconds if kind == short) for short in self.EVENTS.values()
        }
        programs = sum(kind == "compile" for kind, _ in self.seconds)
        return np.asarray(value, float), {"cpu": cpu, "programs": programs, "instructions": lines, **parts}


def measure(name: str) -> dict[str, Any]:
    """The calls of one case, and the largest difference from the script, relative to the largest number."""
    with tempfile.TemporaryDirectory() as dump:
        jax.config.update("jax_dump_ir_to", dump)
        jnp.ones(3).block_until_ready()
        case = CASES[name]()
        heard, found, points = Heard(dump), {}, dict(zip(("first", "second"), case.points, strict=True))
        points |= {} if case.other is None else {"other": case.other}
        values = {}
        for call, point in (*points.items(), ("again", case.points[0])):
            values[call], found[call] = heard.call(lambda point=point: case.ours(*point))
    if case.script is not None:
        began, differences = [], []
        for call, point in points.items():
            began.append(time.process_time())
            theirs = np.asarray(case.script(*point), float)
            same = theirs.shape == values[call].shape
            scale = max(np.max(np.abs(theirs), initial=0), 1e-300)
            differences.append(float(np.max(np.abs(theirs - values[call]), initial=0) / scale) if same else np.inf)
        began.append(time.process_time())
        found |= {"script": began[1] - began[0], "difference": max(differences), "allowed": case.tolerance}
    return found


# --- all cases


def lines_of(name: str, checkout: Path | None) -> dict[str, Any] | str:
    """What `measure` finds, in a new process with the package of that checkout, or what went wrong."""
    paths = [] if checkout is None else [str(checkout)]
    settings = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    settings.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, str(HERE), "--measure", name], env=settings, capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr[-2000:]


HEAD = (
    "| call | CPU s | trace | lower | compile | programs | instructions | next point: CPU s | programs "
    "| another size: CPU s | programs | later: CPU s | script: CPU s | first / script |\n" + "| --- " * 14 + "|"
)


def line(name: str, found: dict[str, Any]) -> str:
    """One row of the table."""
    first, second, again, other = (found.get(call) for call in ("first", "second", "again", "other"))
    cells = [name, f"{first['cpu']:.2f}", *(f"{first[part]:.1f}" for part in Heard.EVENTS.values())]
    cells += [f"{first['programs']}", f"{first['instructions']}", f"{second['cpu']:.2f}", f"{second['programs']}"]
    cells += ["", ""] if other is None else [f"{other['cpu']:.2f}", f"{other['programs']}"]
    cells += [f"{again['cpu']:.3f}"]
    known = "script" in found
    cells += [f"{found['script']:.2f}", f"{first['cpu'] / max(found['script'], 1e-3):.2g}"] if known else ["", ""]
    if known and not found["difference"] <= found["allowed"]:
        cells[0] += f" (differs by {found['difference']:.1e})"
    return f"| {' | '.join(cells)} |"


def main(quick: bool, names: list[str] | None = None, against: Path | None = None) -> list[Row]:
    names = names or list(CASES)[: 2 if quick else None]
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        raise SystemExit(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    rows, failed = [], []
    print(f"aim: first calls of at most {AIM:g} CPU s and {SCRIPT_AIM:g} scripts\n{HEAD}", flush=True)
    for name in names:
        for checkout in (None,) if against is None else (against, None):
            found = lines_of(name, checkout)
            where = name if checkout is None else f"{name}, {checkout.name}"
            if isinstance(found, str):
                print(f"| {where} failed: {found} |", flush=True)
                failed.append(where)
                continue
            print(line(where, found), flush=True)
            if checkout is None:
                rows.append(
                    Row(f"first call of {name}, CPU s", found["first"]["cpu"], None, "script", found.get("script"))
                )
            if "script" in found and not found["difference"] <= found["allowed"]:
                failed.append(where)
    if failed:
        print(f"failed, or differ from the script: {', '.join(failed)}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"cases, all by default: {', '.join(CASES)}")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of the package, run as well")
    parser.add_argument("--measure", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        jax.config.update("jax_enable_x64", True)
        for room in ("spectra", "meanfield", "population", "dynamics", "memory", "multistability", "fitting"):
            getattr(jn, room)
        print(json.dumps(measure(arguments.measure)))
    else:
        main(False, arguments.names, arguments.against)
