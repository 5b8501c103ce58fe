"""Mean field of two cell types at 100 points in one vmapped call, beside one type.

    python benchmarks/meanfield_types.py [--quick]

tanh, strengths from 1.3 to 5 (root of the largest eigenvalue of f_b g_ab^2), time constants 1 and 2. States converge
to the same accuracy, 1e-6. `--quick` takes 8 points. Prints one table, with compilation and the best of two runs apart.
"""

import argparse
import platform

import jax
import jax.numpy as jnp
import numpy as np
from meanfield import timed
from table import HEAD, Row

import jaxnets as jn

AIM = 10.0  # at most this times the seconds of one type
FRACTIONS, G2 = np.array([0.7, 0.3]), np.array([[1.0, 2.5], [0.6, 1.6]])
SHAPE = np.sqrt(G2 / np.max(np.abs(np.linalg.eigvals(G2 * FRACTIONS))))


def one_type(g):
    state = jn.meanfield.stationary(jn.couplings.IID(g), jn.transfer.Tanh())
    return state.c_x[0], state.converged


def two_types(g):
    types = jn.couplings.CellTypes(FRACTIONS, g * SHAPE)
    state = jn.meanfield.stationary(types, jn.transfer.Tanh(), tau=(1.0, 2.0))
    return state.variance, state.converged


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    g = jnp.asarray(np.geomspace(1.3, 5, 8 if quick else 100))
    compiling_one, seconds_one, (_, found_one) = timed(jax.vmap(one_type), g, repeats=2)
    compiling, seconds, (_, found) = timed(jax.vmap(two_types), g, repeats=2)
    print(f"{platform.processor() or platform.machine()}, JAX {jax.__version__}, {g.size} points")
    print(f"converged: {int(np.sum(found_one))} of one type, {int(np.sum(found))} of two types")
    print(f"two types take {seconds / seconds_one:.2g} times as long as one (aim: at most {AIM:g})")
    return [
        Row(f"mean field, one type, {g.size} points", seconds_one, compiling_one),
        Row(f"mean field, two types, {g.size} points", seconds, compiling),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 points")
    print("\n".join([HEAD, *(row.markdown() for row in main(**vars(parser.parse_args())))]))
