"""Mean field at two times: 400 Gaussian steps, and 2000 paths over 160 steps, against NumPy scripts.

    python benchmarks/transients.py [--quick]

Gaussian: i.i.d. weights, g = 2. Paths: elliptic weights, g = 1.5 and symmetry .5. tanh, steps of .1. `--quick` takes a
quarter of the steps and of the paths. Prints one table, with compilation and the best of two runs apart, how far the
variances are from those of the script, and, for paths, the standard errors.
"""

import argparse
import platform
import time

import jax
import numpy as np
from scripts import gaussian_course, path_course
from table import HEAD, Row
from timing import timed

import jaxnets as jn

AIM = 5.0  # times as fast as the script


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    steps, path_steps, paths = (100, 40, 600) if quick else (400, 160, 2000)
    tanh, key = jn.transfer.Tanh(), jax.random.key(0)
    print(f"{platform.processor() or platform.machine()}, JAX {jax.__version__}")

    gaussian = lambda: jn.meanfield.transient(jn.couplings.IID(2.0), tanh, duration=0.1 * steps, variance=0.5)
    compiling, seconds, run = timed(gaussian, repeats=2)
    began = time.perf_counter()
    theirs = gaussian_course(2.0, steps + 1, 0.1, 0.5)
    script = time.perf_counter() - began
    print(f"Gaussian: off by {np.max(np.abs(run.variance / theirs - 1)):.1e}, {script / seconds:.3g} x (aim {AIM:g})")
    rows = [Row(f"course, Gaussian, {steps} steps", seconds, compiling, "NumPy", script)]

    ensemble = jn.couplings.Elliptic(1.5, 0.5)
    arguments = {"key": key, "duration": 0.1 * path_steps, "num_paths": paths, "variance": 1.0}
    by_paths = lambda: jn.meanfield.transient_by_paths(ensemble, tanh, **arguments)
    compiling, seconds, run = timed(by_paths, repeats=2)
    began = time.perf_counter()
    theirs = path_course(1.5, 0.5, path_steps + 1, 0.1, 1.0, paths)
    script = time.perf_counter() - began
    error = np.diagonal(run.c_x_error)[-1] / run.variance[-1]
    print(
        f"paths: last variance off by {run.variance[-1] / theirs[-1] - 1:.1e}, own error {error:.1e}, "
        f"{script / seconds:.3g} x (aim {AIM:g})"
    )
    return [*rows, Row(f"course, {paths} paths, {path_steps} steps", seconds, compiling, "NumPy", script)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps and paths")
    print("\n".join([HEAD, *(row.markdown() for row in main(**vars(parser.parse_args())))]))
