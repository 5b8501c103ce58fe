"""All stable patterns of a threshold network against NumPy and the limits of the machine; flows per second.

    python benchmarks/multistability.py [--quick]

NumPy looks at all patterns by matrix products of many of them at once, with as many BLAS threads as it likes. Limits,
measured here: `product` is the matrix product of J with all patterns alone, at the best speed of square products;
`memory` is the N / 8 bytes of bit sets that the search reads for each pattern, at the speed of a copy of 64 MB. The
search reads its sets from the caches, and may be faster than that. Flows start from normal states of unit variance
and end at an attractor, or after 1000 events; `flow` runs them in lanes that take a new start when one ends. The
alternative is the same loop over events in NumPy, for all starts together and without sliding (J_ii >= 0).
"""

import argparse
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import scripts
from table import Row

from jaxnets.multistability import flow, stable_patterns


def seconds(run, repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first call, with compilation, and the best of later ones."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return times[0], min(times[1:])


def numpy_flows(J: np.ndarray, b: np.ndarray, x: np.ndarray, max_events: int = 1000) -> np.ndarray:
    """The patterns at the ends of flows without sliding."""
    s, x = x > 0, x.copy()
    rows = np.arange(len(x))
    for _ in range(max_events):
        f = s @ J.T + b
        with np.errstate(divide="ignore", invalid="ignore"):
            waits = np.where((s & (f < 0)) | (~s & (f > 0)), np.log1p(-x / f), np.inf)
        i = np.argmin(waits, 1)
        wait = waits[rows, i]
        going = np.isfinite(wait)
        if not np.any(going):
            break
        x = np.where(going[:, None], f + (x - f) * np.exp(-np.where(going, wait, 0))[:, None], x)
        x[rows[going], i[going]] = 0
        s[rows[going], i[going]] ^= True
    return s


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    print(f"device: {jax.devices()[0].device_kind}, {os.cpu_count()} cores; jax {jax.__version__}")

    def product_flops(dtype: str) -> float:
        n = 1000 if jax.default_backend() == "cpu" else 8000
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        square = jax.jit(lambda a: a @ a)
        return 2 * n**3 / seconds(lambda: square(a), 5)[1]

    block = jnp.zeros(2**24, jnp.uint32)
    flip = jax.jit(jnp.invert)
    bandwidth = 2 * block.nbytes / seconds(lambda: flip(block), 5)[1]
    print(f"copy: {bandwidth / 1e9:.1f} GB/s")

    print("\nall stable patterns, in 10^6 patterns/s; NumPy and the limits the same")
    print(f"{'N':>3} {'dtype':>8} {'compile s':>10} {'run s':>8} {'rate':>8} {'numpy':>8} {'ratio':>7}", end="")
    print(f" {'product':>9} {'memory':>8}")
    rows = []
    for n in (20,) if quick else (20, 24):
        for dtype in ("float32", "float64"):
            J = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
            found = []
            first, run = seconds(lambda J=J, found=found: found.append(stable_patterns(J).patterns))
            start = time.perf_counter()
            expected = scripts.stable_patterns(J)
            alternative = time.perf_counter() - start
            assert {tuple(s) for s in found[0]} == {tuple(s) for s in expected}
            rates = [2**n / t / 1e6 for t in (run, alternative)]
            limits = [product_flops(dtype) / (2 * n**2) / 1e6, bandwidth / (n / 8) / 1e6]
            print(f"{n:3} {dtype:>8} {first - run:10.2f} {run:8.4f} {rates[0]:8.0f} {rates[1]:8.1f}", end="")
            print(f" {rates[0] / rates[1]:7.0f} {limits[0]:9.0f} {limits[1]:8.0f}")
            what, least = f"all stable patterns of N = {n}, {dtype}", 2**n / limits[1] / 1e6
            rows.append(Row(what, run, first - run, "NumPy, products", alternative, "GB/s", least))

    print("\nexact flows, float64")
    print(
        f"{'N':>3} {'starts':>7} {'sliding':>8} {'compile s':>10} {'run s':>8} {'flows/s':>9} {'events/s':>9}", end=""
    )
    print(f" {'numpy/run':>10} {'decided':>8}")
    for n, starts in ((10, 1000),) if quick else ((10, 1000), (10, 10000), (30, 1000), (100, 100)):
        for slides in (True, False):
            rng = np.random.default_rng(n)
            J, b = rng.standard_normal((n, n)), rng.standard_normal(n)
            if not slides:
                np.fill_diagonal(J, np.abs(np.diag(J)))
            x0s = rng.standard_normal((starts, n))
            first, run = seconds(lambda J=J, b=b, x0s=x0s: flow(J, x0s, b))
            ends = flow(J, x0s, b)
            decided, events = float(jnp.mean(ends.fixed | ends.cycle)), float(jnp.sum(ends.events))
            ratio, numpy = "-", None
            if not slides:
                # As many events as ours took, since NumPy does not know a cycle.
                last = int(jnp.max(ends.events))
                start = time.perf_counter()
                s = numpy_flows(J, b, x0s, last)
                numpy = time.perf_counter() - start
                ratio = f"{numpy / run:.1f}"
                fixed = np.asarray(ends.fixed)
                assert np.array_equal(s[fixed], np.asarray(ends.activity)[fixed] == 1)
            print(f"{n:3} {starts:7} {'yes' if slides else 'no':>8} {first - run:10.2f} {run:8.4f}", end="")
            print(f" {starts / run:9.0f} {events / run:9.0f} {ratio:>10} {decided:8.3f}")
            what = f"{starts} exact flows, N = {n}, {'with' if slides else 'without'} sliding"
            rows.append(Row(what, run, first - run, "" if slides else "NumPy, all starts", numpy))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="N = 20 and few starts only")
    main(parser.parse_args().quick)
