"""The binary perceptron: many saddle points at once, and messages of large systems.

    python benchmarks/perceptron.py [--quick]

Saddle points: states at 1000 loads in one program by `vmap`, against Brent's method and adaptive integrals of SciPy
for the same equations, one load after the other. Messages: `amp` at N = 4000 and alpha = .7, against the same loop in
NumPy on floating-point patterns of the same precision. The limit is the time of its two products with the patterns at
the flops of a large product.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erfcx
from table import Row
from timing import flops, timed

from jaxnets.learning import BinaryPerceptron, amp

ALPHA, TOLERANCE = 0.7, 1e-5


def ratio(x):
    return np.sqrt(2 / np.pi).astype(x.dtype) / erfcx(x / np.sqrt(2).astype(x.dtype))


def overlap_by_scipy(alpha):
    """The root of q = <tanh^2> by adaptive integrals."""
    density = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    def mismatch(q):
        x = lambda z: -np.sqrt(q / (1 - q)) * np.float64(z)
        qh = alpha / (1 - q) * quad(lambda z: density(z) * ratio(x(z)) ** 2, -9, 9)[0]
        return quad(lambda z: density(z) * np.tanh(np.sqrt(qh) * z) ** 2, -9, 9)[0] - q

    return brentq(mismatch, 1e-6, 0.9, xtol=1e-10)


def messages_by_numpy(patterns):
    n = patterns.shape[1]
    root = np.sqrt(n).astype(patterns.dtype)
    m, g = np.zeros(n, patterns.dtype), np.zeros(len(patterns), patterns.dtype)
    change = np.inf
    while change > TOLERANCE:
        variance = 1 - np.mean(m**2)
        spread = np.sqrt(variance)
        x = -(patterns @ m / root - variance * g) / spread
        r = ratio(x)
        g = r / spread
        new = np.tanh(g @ patterns / root + np.sum(r * (r - x)) / (n * variance) * m)
        change, m = np.sqrt(np.mean((new - m) ** 2)), new
    return m


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    loads = np.linspace(0.01, 0.83, 100 if quick else 1000)
    states = jax.jit(jax.vmap(lambda alpha: BinaryPerceptron(alpha).saddle()))
    compiling, seconds, _ = timed(states, jnp.asarray(loads))
    picked = loads[:: len(loads) // 10]
    start = time.perf_counter()
    theirs = [overlap_by_scipy(alpha) for alpha in picked]
    alone = (time.perf_counter() - start) / len(picked) * len(loads)
    np.testing.assert_allclose(theirs, states(jnp.asarray(picked)).overlap, atol=1e-7)
    rows = [Row(f"{len(loads)} saddle points of the perceptron", seconds, compiling, "SciPy, one by one", alone)]

    n = 1000 if quick else 4000
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (round(ALPHA * n), n))
    for dtype in (np.float32, np.float64):
        patterns = signs.astype(dtype)
        run = lambda patterns=patterns: amp(patterns, tolerance=TOLERANCE)
        compiling, seconds, _ = timed(run)
        _, theirs, _ = timed(lambda patterns=patterns: messages_by_numpy(patterns))
        least = int(run().sweeps) * 4 * signs.size / flops(dtype)
        what = f"messages of a perceptron, N = {n}, {np.dtype(dtype).name}"
        rows.append(Row(what, seconds, compiling, "NumPy", theirs, "its products", least))
    for row in rows:
        print(row.markdown(), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 loads, N = 1000")
    main(parser.parse_args().quick)
