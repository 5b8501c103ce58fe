"""Theory of the spectrum against sampling to the same accuracy: right edge, boundary, density, chaos threshold.

    python benchmarks/spectral_law.py [--quick]

Sampling needs eigenvalues of N x N matrices, N^3 operations each. The error of its right edge is measured at two sizes
and extrapolated as a power of N to the accuracy of the theory; a density is a count, with relative error
1/sqrt(eigenvalues in a cell). The limit of a density is one evaluation of the 2 x 2 R-transform and its derivatives at
each point; a solution takes tens of them. Prints one table; compilation is apart from the run, the median of several.
"""

import argparse
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from table import Row

import jaxnets as jn

ACCURACY = 1e-6  # of theory, relative


def timed(function, *args, repeats):
    """Seconds of the first call and the median of the later ones."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return seconds[0] - statistics.median(seconds[1:]), statistics.median(seconds[1:])


def sampling(ensemble, sizes, samples):
    """Seconds for one matrix of the larger size, and the rms error of its right edge at both."""
    edge, errors, seconds = float(jn.spectra.law(ensemble).right_edge()), [], 0.0
    for n in sizes:
        found = []
        for key in jax.random.split(jax.random.key(0), samples):
            start = time.perf_counter()
            found.append(np.asarray(jn.spectra.eigenvalues(ensemble.sample(n, key=key))).real.max())
            seconds = time.perf_counter() - start
        errors.append(np.sqrt(np.mean((np.array(found) - edge) ** 2)) / edge)
    return seconds, errors


def edge_by_sampling(seconds, errors, sizes):
    """Seconds for a single matrix that is large enough to have the right edge to the accuracy of theory."""
    power = np.log(errors[0] / errors[1]) / np.log(sizes[1] / sizes[0])
    return seconds * (errors[1] / ACCURACY) ** (3 / power)


@jax.jit
@jax.vmap
def edges(load, auto):
    return jn.spectra.law(jn.couplings.DeepHebbian(load=load, auto=auto, hetero=(0.5, 0.5))).right_edge()


@jax.jit
def threshold(load):
    return jn.spectra.critical_value(
        lambda gamma: jn.couplings.DeepHebbian(load=load, auto=0.5, hetero=gamma[None]), 0.3
    ).value


@jax.jit
def transform_and_derivatives(ensemble, z):
    """At all points of z, by forward derivatives in three directions as in Newton's method."""

    def parts(y):
        t = jax.lax.complex(y[0], y[1])
        return jnp.stack(ensemble.blocks(t, jnp.conj(t), y[2], physical=True)).real

    point = lambda z: jax.jacfwd(parts)(jnp.stack([z.real, z.imag, jnp.ones(())]))
    return jax.lax.map(point, 1 / z.ravel(), batch_size=512)


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    repeats, sizes, samples = (2, (100, 200), 5) if quick else (5, (250, 1000), 10)
    voids = jn.couplings.DeepHebbian(load=0.8, auto=0.3, hetero=(0.6, 0.6, 0.6))
    law, ring = jn.spectra.law(voids), jn.spectra.law(jn.couplings.DeepHebbian(load=0.8, auto=0.3, hetero=(0.6,)))
    tanh_law = jn.spectra.law(voids, gains=jn.transfer.Tanh(), variance=0.5)
    loads, autos = jnp.linspace(0.05, 2, 1000), jnp.linspace(0, 1, 1000)
    x = np.linspace(-0.6, 3.0, 200)
    grid = jnp.asarray(x[None] + 1j * np.linspace(-2, 2, 200)[:, None])
    one_matrix, errors = sampling(voids, sizes, samples)
    edge_seconds = edge_by_sampling(one_matrix, errors, sizes)
    density_seconds = one_matrix / sizes[1] * grid.size / ACCURACY**2

    rows = [
        ("right edge, one of 1000 vmapped, d = 2", 1000, edges, (loads, autos), edge_seconds, 1.4e-3),
        ("boundary, 512 points, void, d = 1", 1, ring.boundary, (512,), edge_seconds, 0.1),
        ("boundary, 512 points, 4 voids, d = 3", 1, law.boundary, (512,), edge_seconds, 0.1),
        ("the same with tanh gains", 1, tanh_law.boundary, (512,), edge_seconds, None),
        ("density, 200 x 200, d = 1", 1, ring.density, (grid,), density_seconds, 2.0),
        ("density, 200 x 200, d = 3", 1, law.density, (grid,), density_seconds, 2.0),
        ("chaos threshold, alpha = .1, c = .5, d = 1", 1, threshold, (jnp.asarray(0.1),), edge_seconds, 16e-3),
    ]
    print(f"{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}, float64")
    print(f"sampling: N = {sizes[1]}, {one_matrix:.2f} s a matrix, right edge to {errors[1]:.1e}")
    print(f"{'':44s}{'compile s':>10s}{'run s':>10s}{'aim s':>10s}{'sampling to 1e-6, s':>22s}{'ratio':>10s}")
    lines, sample = [], f"one sample, edge off by {errors[1]:.1%}"
    for name, count, function, args, alternative, aim in rows:
        compiling, seconds = timed(function, *args, repeats=repeats)
        seconds /= count
        target = "" if aim is None else f"{aim:.1e}"
        print(
            f"{name:44s}{compiling:10.1f}{seconds:10.2e}{target:>10s}{alternative:22.1e}{alternative / seconds:10.0e}",
            flush=True,
        )
        limit, least = "", None
        if name.startswith("density"):
            limit, least = (
                "R-transform once",
                timed(transform_and_derivatives, function.__self__.ensemble, *args, repeats=3)[1],
            )
        lines.append(Row(name, seconds, compiling, sample, one_matrix, limit, least))
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small samples, two runs")
    main(parser.parse_args().quick)
