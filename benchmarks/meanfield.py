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
import scripts
from table import Row

import jaxnets as jn

AIM, AIM_RATIO = 3.0, 3.0  # seconds for 100 points on 2 cores; gradient over value


def theory(g, rank):
    ensemble = jn.couplings.RandomModes.of_rank(g, rank)
    state = jn.meanfield.stationary(ensemble, jn.transfer.Tanh())
    found = jn.population.dimension(state)
    return jnp.stack([found.phi, found.x]), found.converged & state.converged


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
    other = np.array([scripts.dimension(g[i], rank[i]) for i in chosen])
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
