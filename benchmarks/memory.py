"""Sequences in factor form against dense couplings, and many equilibrium states in one call against a SciPy script.

    python benchmarks/memory.py [--quick]

N = 4000 tanh neurons that store P = 40 patterns (1000 and 10 with --quick), Heun steps in float32, the overlaps
recorded every fifth: J as its modes, as a dense matrix, and a hand-written NumPy loop over the modes. The limit is the
time to read the modes once for each product, at the memory bandwidth measured as a pass over a large vector; modes that
fit into the cache are faster. Then 1000 states of the Hopfield model, and as many with nine condensed patterns, over
loads and temperatures: ours in one vmapped call, and SciPy's root of the same equations one after the other, at some of
the points and extrapolated.
"""

import argparse
import itertools
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import root
from table import Row
from timing import timed

import jaxnets as jn

DT = 0.05
AIM = 20  # dense over factors


def bandwidth() -> float:
    """Bytes a second of a pass over a large vector: read and written."""
    v = jnp.ones(2**25 if jax.default_backend() == "cpu" else 2**29, jnp.float32)
    passes = jax.jit(lambda v: jax.lax.fori_loop(0, 10, lambda _, v: v + 1, v))
    return 20 * v.nbytes / timed(passes, v)[1]


def sequences(n: int, num: int, trials: int):
    patterns = jn.memory.binary(n, num, key=jax.random.key(0), dtype=jnp.float32)
    modes = jn.memory.hebbian(patterns, 0.0, (1.5,))
    starts = patterns[np.arange(trials) % num]
    duration = 20.0 if trials > 1 else 50.0
    evaluations = 2 * round(duration / DT)

    def run(J):
        net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
        recorder = jn.observables.online.Overlaps(patterns)
        return jn.dynamics.simulate(
            net, starts, duration=duration, dt=DT, save_every=5, record=recorder, progress=False
        ).records

    def by_numpy():
        xi = np.asarray(patterns).T
        x, recorded = np.asarray(starts).T, []
        drift = lambda x: -x + xi @ (1.5 * np.roll(xi.T @ np.tanh(x), 1, axis=0)) / np.float32(n)
        for step in range(evaluations // 2):
            if step % 5 == 0:
                recorded.append(xi.T @ np.tanh(x) / n)
            k = drift(x)
            x = x + np.float32(DT / 2) * (k + drift(x + np.float32(DT) * k))
        return np.array(recorded)

    compiling, factors, overlaps = timed(run, modes)
    _, dense, others = timed(run, jn.couplings.Dense(modes.dense()), repeats=1)
    _, script, theirs = timed(by_numpy, repeats=1)
    difference = max(np.max(np.abs(overlaps - other)) for other in (others, theirs.transpose(0, 2, 1)))
    return compiling, *(1e6 * seconds / evaluations for seconds in (factors, dense, script)), difference


WINDOWS = {1: 0.0, 9: 0.2}  # condensed patterns, and the coupling of each to its two neighbours


def states(patterns: int, loads, temperatures):
    @jax.jit
    @jax.vmap
    def solve(load, T):
        ensemble = jn.couplings.DeepHebbian(load, 1.0, (WINDOWS[patterns],), symmetric=True)
        return jn.memory.replica_state(ensemble, np.eye(patterns)[patterns // 2], T)

    return timed(solve, loads, temperatures)


def by_scipy(patterns: int, load: float, T: float):
    """The overlaps: all patterns of a unit, 201 nodes of the noise, 512 angles, and SciPy's root from retrieval."""
    z, theta = np.linspace(-8, 8, 201), 2 * np.pi * np.arange(512) / 512
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    signs = np.array(list(itertools.product([1.0], *[[1.0, -1.0]] * (patterns - 1))))  # the other half is its image
    K = np.eye(patterns) + WINDOWS[patterns] * (np.eye(patterns, k=1) + np.eye(patterns, k=-1))
    lam = 1 + 2 * WINDOWS[patterns] * np.cos(theta)

    def equations(y):
        m, q, r = y[:-2], y[-2], y[-1]
        s = np.tanh(((signs @ (K @ m))[:, None] + np.sqrt(load * abs(r)) * z) / T)
        noise = np.mean(lam**2 / (1 - (1 - q) / T * lam) ** 2)
        return [*((s @ weights) @ signs / len(signs) - m), np.mean(s**2 @ weights) - q, q - r / noise]

    return root(equations, [*np.eye(patterns)[patterns // 2], 0.95, 1.0], tol=1e-10).x[:-2]


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    n, num = (1000, 10) if quick else (4000, 40)
    rate = bandwidth()
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}; {rate / 1e9:.0f} GB/s")
    print(f"\nN = {n}, P = {num}, float32; us of one evaluation, overlaps recorded (aim: dense / modes > {AIM})")
    names = ("trials", "compile s", "modes", "dense", "NumPy", "dense/modes", "NumPy/modes", "limit/modes", "differ by")
    print("".join(f"{name:>13}" for name in names))
    rows = []
    for trials in (1, 10):
        compiling, factors, dense, script, difference = sequences(n, num, trials)
        limit = 1e6 * 2 * 4 * n * num / rate
        cells = [f"{trials}", f"{compiling:.1f}", f"{factors:.1f}", f"{dense:.1f}", f"{script:.1f}"]
        cells += [f"{dense / factors:.1f}", f"{script / factors:.2f}", f"{limit / factors:.2f}", f"{difference:.0e}"]
        print("".join(f"{cell:>13}" for cell in cells))
        theirs, by = min((dense, "dense J"), (script, "NumPy, modes"))
        what = f"right-hand side of sequences, N = {n}, P = {num}, {trials} trials, float32"
        rows.append(Row(what, 1e-6 * factors, compiling, by, 1e-6 * theirs, "GB/s", 1e-6 * limit))

    side = 8 if quick else 32
    grid = np.meshgrid(np.linspace(0.005, 0.045, side), np.linspace(0.1, 0.3, side))
    loads, temperatures = (a.ravel() for a in grid)
    print(f"\n{loads.size} states, float64")
    print(
        "".join(
            f"{name:>13}"
            for name in ("patterns", "compile s", "run s", "converged", "SciPy s", "SciPy/ours", "the same")
        )
    )
    for patterns in WINDOWS:
        compiling, seconds, found = states(patterns, jnp.asarray(loads), jnp.asarray(temperatures))
        chosen = np.arange(0, loads.size, 7 if patterns == 1 else 41)
        began = time.perf_counter()
        theirs = np.array([by_scipy(patterns, loads[i], temperatures[i]) for i in chosen])
        script = (time.perf_counter() - began) * loads.size / chosen.size
        same = np.max(np.abs(theirs - found.m[chosen]), 1) < 1e-6
        cells = [f"{patterns}", f"{compiling:.1f}", f"{seconds:.2f}", f"{int(np.sum(found.converged))}"]
        cells += [f"{script:.2f}", f"{script / seconds:.1f}", f"{np.sum(same)} of {same.size}"]
        print("".join(f"{cell:>13}" for cell in cells))
        what = f"{loads.size} equilibrium states, {patterns} condensed"
        rows.append(Row(what, seconds, compiling, "SciPy's root", script))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    main(parser.parse_args().quick)
