"""Mean field and dimension at 100 points, their gradients, and the same with NumPy and SciPy.

    python benchmarks/meanfield.py [--quick | --full]

tanh, 25 strengths g from 1.2 to 5 at four effective ranks PR^D (1e9 stands for infinity: one ensemble serves all).
State and dimension of rates and states are solved at each point, to the same accuracy: by jaxnets in one vmapped call,
by the other script one after the other. The other script is timed at a few points and extrapolated; `--full` runs it at
all points, `--quick` takes 8 points in all. Prints one table, with the compilation and the best of three runs apart.
"""

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev
from scipy.fft import dct
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from table import Row

import jaxnets as jn

AIM, AIM_RATIO = 3.0, 3.0  # seconds for 100 points on 2 cores; gradient over value


def theory(g, rank):
    ensemble = jn.couplings.RandomModes.of_rank(g, rank)
    state = jn.meanfield.stationary(ensemble, jn.transfer.Tanh())
    found = jn.population.dimension(state)
    return jnp.stack([found.phi, found.x]), found.converged & state.converged


def by_scipy(g, rank, nodes=201, degree=50, spacing=0.08):
    """PR^phi/N and PR^x/N: energy condition, orbit in l = -ln C/C(0), cosine transform, sum over two frequencies."""
    z = np.linspace(-9, 9, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def energy(c):
        Phi = np.log(np.cosh(np.sqrt(c) * z))
        return g**2 * (weights @ Phi**2 - (weights @ Phi) ** 2) - c**2 / 2

    c0 = brentq(energy, 1e-3, 2 * g**2, xtol=1e-14)
    beta = weights @ np.cosh(np.sqrt(c0) * z) ** -2
    rate = np.sqrt(1 - (g * beta) ** 2)

    def G(t):  # C^phi = n G(n^2) at correlation n
        n = np.sqrt(t)
        shared = [np.tanh(np.sqrt(c0) * (np.sqrt(m) * z[:, None] + np.sqrt(1 - m) * z)) @ weights for m in n]
        return np.array([weights @ f**2 for f in shared]) / n

    share = Chebyshev.interpolate(G, degree, domain=[0, 1])
    u, gauss = np.polynomial.legendre.leggauss(degree)  # an integral over a small t would lose digits
    mean = Chebyshev.interpolate(lambda t: share(np.outer(t, (u + 1) / 2)) @ gauss / 2, degree, domain=[0, 1])
    last = max(16 / rate, 8 / rate**2)
    tau = np.linspace(0, last, int(last / spacing))

    def force(_, y):
        t = np.exp(-2 * y[0])
        return [y[1], g**2 / c0 * (share(t) - mean(t))]

    orbit = solve_ivp(force, (0, tau[-1]), [0, 0], method="DOP853", t_eval=tau, rtol=1e-9, atol=1e-9)
    n = np.exp(-orbit.y[0])
    C_phi, C_x = n * share(n**2), c0 * n
    # Sums at the spacing pi / T are exact up to e^{-2 T width}, and the ridge has the width rate^2. Spectra of smooth
    # activity fall exponentially.
    w = np.pi * np.arange(tau.size) / last
    w = w[w < 40 * rate]
    phi, x = (np.concatenate([s[:0:-1], s]) for s in (tau[1] * dct(c, 1)[: w.size] for c in (C_phi, C_x)))
    S = beta / (1 + 1j * np.concatenate([-w[:0:-1], w]))
    ladder = g**2 * np.conj(S)[:, None] * S
    both, pairs = np.abs(ladder) ** 2, 1 / np.abs(1 - ladder) ** 2
    area = (w[1] / (2 * np.pi)) ** 2
    return np.array(
        [
            C_phi[0] ** 2 / (area * phi @ ((1 + both / rank) * pairs) @ phi),
            C_x[0] ** 2 / (area * x @ ((2 + 1 / rank - both) * pairs) @ x),
        ]
    )


def timed(function, *args, repeats=3):
    """Seconds of the compilation and of the best run, and what came out."""
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compiling, seconds = time.perf_counter() - began, []
    for _ in range(repeats):
        began = time.perf_counter()
        result = jax.block_until_ready(compiled(*args))
        seconds.append(time.perf_counter() - began)
    return compiling, min(seconds), result


def main(quick: bool, full: bool = False) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    strengths, ranks = np.geomspace(1.2, 5, 2 if quick else 25), np.array([1e9, 1.0, 0.25, 0.1])
    g, rank = (a.ravel() for a in np.meshgrid(strengths, ranks, indexing="ij"))

    every = jax.vmap(theory)
    value = lambda g, rank: jnp.sum(every(g, rank)[0])
    compiling, seconds, (found, converged) = timed(every, g, rank)
    compiling_sum, seconds_sum, _ = timed(value, g, rank)
    compiling_grad, seconds_grad, slopes = timed(jax.grad(value), g, rank)
    step, of_four = 1e-4, jax.jit(value)
    check = (of_four(g[:4] + step, rank[:4]) - of_four(g[:4] - step, rank[:4])) / (2 * step)

    # Every point, or one in nine: both ends of the strengths, and all ranks, since 9 and 4 have no common divisor.
    chosen = np.arange(0, g.size, 1 if full or quick else 9)
    began = time.perf_counter()
    other = np.array([by_scipy(g[i], rank[i]) for i in chosen])
    scipy_seconds = (time.perf_counter() - began) * g.size / chosen.size
    difference = np.max(np.abs(np.asarray(found)[chosen] / other - 1))

    aim = AIM * g.size / 100
    print(f"{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}, float64, {g.size} points")
    print(f"{'':44s}{'compile s':>10s}{'run s':>10s}{'aim':>10s}")
    print(f"{'states and dimensions, ours':44s}{compiling:10.1f}{seconds:10.2f}{aim:9.2f}s")
    print(f"{'the sum of dimensions':44s}{compiling_sum:10.1f}{seconds_sum:10.2f}")
    print(f"{'its gradient by all strengths':44s}{compiling_grad:10.1f}{seconds_grad:10.2f}")
    print(f"{'  over the value':44s}{'':10s}{seconds_grad / seconds_sum:10.2f}{AIM_RATIO:10.1f}")
    print(f"{f'NumPy and SciPy ({chosen.size} points run)':44s}{'':10s}{scipy_seconds:10.2f}")
    print(f"{'  over ours':44s}{'':10s}{scipy_seconds / seconds:10.1f}")
    print(f"converged: {int(np.sum(converged))} of {g.size}; largest relative difference of the two: {difference:.1e};")
    print(f"sum of the gradient against differences, g = {g[0]:g}: {float(jnp.sum(slopes[:4]) / check - 1):.0e}")
    return [
        Row(f"mean-field state and dimension, {g.size} points", seconds, compiling, "NumPy and SciPy", scipy_seconds),
        Row("their slopes by g", seconds_grad, compiling_grad, "central differences", 2 * seconds_sum),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--quick", action="store_true", help="8 points")
    choice.add_argument("--full", action="store_true", help="the other script at all points")
    main(**vars(parser.parse_args()))
