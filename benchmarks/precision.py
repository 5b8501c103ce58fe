"""float32 at the highest matmul precision against float64: time, Lyapunov exponents and C(tau) of chaotic networks.

    python benchmarks/precision.py [--quick]

Both have the same couplings and starts. Chaos separates the two orbits after some tens of time constants, so that
only averages can be compared. Their difference is given in standard errors of the float64 average over the starts: it
is of order sqrt(2), however long the runs, if rounding does nothing but choose another orbit.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from table import Row, machine

import jaxnets as jn

STARTS, EXPONENTS = 8, 5


def measured(g: float, n: int, duration: float, dtype) -> tuple[np.ndarray, np.ndarray, list[float], list[float]]:
    """Exponents and C^phi(tau) of each start; seconds to compile and to run of each."""
    J = jn.couplings.IID(g=g).sample(n, key=jax.random.key(0)).dense().astype(dtype)
    net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
    x0 = jax.random.normal(jax.random.key(1), (STARTS, n)).astype(dtype)

    @jax.jit
    @jax.vmap
    def exponents(x0):
        return jn.dynamics.lyapunov_spectrum(
            net, x0, num_exponents=EXPONENTS, duration=50 + duration, discard=50.0, key=jax.random.key(0)
        ).exponents

    def covariances(x0):
        kept = dict(save_every=10, discard=50.0, progress=False)
        run = jn.dynamics.simulate(net, x0, duration=50 + duration, dt=0.05, **kept)
        return jax.vmap(lambda r: jn.observables.autocovariance(r, run.interval, max_lag=10.0).values, 1)(run.rates)

    (first, again, lyapunov), (first_c, again_c, C) = twice(exponents, x0), twice(covariances, x0)
    return np.asarray(lyapunov), np.asarray(C), [first - again, first_c - again_c], [again, again_c]


def twice(run, argument):
    """Seconds of the first and of the second call, and the result."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        found = jax.block_until_ready(run(argument))
        times.append(time.perf_counter() - began)
    return *times, found


def gpu() -> list[Row]:
    return main(False)


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    n, duration = (300, 100.0) if quick else (1000, 400.0)
    print(f"{machine()}; N = {n}, {STARTS} starts of {duration:g} tau")
    titles = ("g", "lambda_1", "its s.e.", "f32 - f64", "in s.e.", "largest of all", "C(0)", "its s.e.", "f32 - f64")
    print("".join(f"{title:>15}" for title in (*titles, "largest in s.e.")))
    rows = []
    for g in (1.5, 3.0):
        single = measured(g, n, duration, jnp.float32)
        double = measured(g, n, duration, jnp.float64)
        cells = [f"{g:g}"]
        for ours, exact in zip(single[:2], double[:2], strict=True):
            error = exact.std(0, ddof=1) / STARTS**0.5
            difference = ours.mean(0) - exact.mean(0)
            worst = np.max(np.abs(difference / error))
            cells += [f"{exact.mean(0)[0]:.4f}", f"{error[0]:.4f}", f"{difference[0]:.4f}"]
            cells += [f"{abs(difference[0] / error[0]):.1f}"] if len(cells) == 4 else []
            cells += [f"{worst:.1f}"]
        print("".join(f"{cell:>15}" for cell in cells), flush=True)
        for what, compiling, ours, theirs in zip(
            (f"{EXPONENTS} Lyapunov exponents", "simulation with C(tau)"), single[2], single[3], double[3], strict=True
        ):
            work = f"{what} in float32, N = {n}, g = {g:g}, {STARTS} starts"
            rows.append(Row(work, ours, compiling, "ours in float64", theirs))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller networks and shorter runs")
    main(parser.parse_args().quick)
