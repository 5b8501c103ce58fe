"""What cell types cost in spectra: edges, densities and the boundary of two types beside those of one type.

    python benchmarks/cell_types.py [--quick]

Prints one table. Edges are mapped over networks and compiled together; compilation is apart from the run.
"""

import argparse
import platform

import jax
import jax.numpy as jnp
import numpy as np
from timing import timed

import jaxnets as jn

FRACTIONS, TAU = np.array([0.7, 0.3]), np.array([1.0, 3.0])
SYMMETRY = np.array([[0.5, -0.6], [-0.6, 0.3]])


@jax.jit
@jax.vmap
def one_type(g):
    return jn.spectra.law(jn.couplings.Elliptic(g, 0.3)).right_edge()


@jax.jit
@jax.vmap
def two_types(g):
    return jn.spectra.law(jn.couplings.CellTypes(FRACTIONS, g, SYMMETRY), tau=TAU).right_edge()


def main(quick: bool) -> None:
    jax.config.update("jax_enable_x64", True)
    count, repeats = (100, 2) if quick else (1000, 5)
    scales = jnp.linspace(0.5, 2.0, count)
    tables = scales[:, None, None] * jnp.sqrt(jnp.array([[1.0, 2.5], [0.6, 1.6]]))
    one = jn.spectra.law(jn.couplings.Elliptic(1.0, 0.3))
    two = jn.spectra.law(jn.couplings.CellTypes(FRACTIONS, np.asarray(tables[0]), SYMMETRY), tau=TAU)
    grid = np.linspace(-2, 1, 100) + 1j * np.linspace(-1, 1, 100)[:, None]
    print(f"{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}, float64")
    print(
        f"{'':40s}{'one type':>22s}{'two types':>22s}{'ratio':>8s}\n{'':40s}" + 2 * f"{'compile s':>11s}{'run s':>11s}"
    )
    for name, share, first, second in (
        (f"right edge, one of {count} mapped", count, (one_type, scales), (two_types, tables)),
        ("density, 100 x 100", 1, (one.density, grid), (two.density, grid)),
        ("boundary, 512 points", 1, (one.boundary, 512), (two.boundary, 512)),
    ):
        one, two = (timed(*call, repeats=repeats)[:2] for call in (first, second))
        (compile_one, run_one), (compile_two, run_two) = one, two
        print(
            f"{name:40s}{compile_one:11.1f}{run_one / share:11.1e}{compile_two:11.1f}{run_two / share:11.1e}"
            f"{run_two / run_one:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few networks, two runs")
    main(parser.parse_args().quick)
