"""The distribution of Lyapunov exponents: 11 thresholds of independent weights and of random modes.

    python benchmarks/exponents.py [--quick]

256 paths at 80 times, two regulators and one ring or two at each threshold. The alternative is the spectrum of one
network of 1000 units over 300 time constants, half as many exponents again as its attractor has dimensions: its numbers
have errors of some 5 %, and those of theory of .1 %. The limit is the time of the factorisations and products of all
paths at the flops of a large product: 13/3 m^3 for each path and step, about 10 steps of each solution.
"""

import argparse

import jax
import numpy as np
from table import Row
from timing import flops, timed

import jaxnets as jn


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    tanh, key = jn.transfer.Tanh(), jax.random.key(0)
    num_paths, points = (64, 40) if quick else (256, 80)
    state = jn.meanfield.stationary(jn.couplings.IID(3.0), tanh)
    n, duration = (200, 100.0) if quick else (1000, 300.0)
    net = jn.dynamics.RateNetwork(jn.couplings.IID(3.0).sample(n, key=key), tanh)
    run = lambda: (
        jn.dynamics.lyapunov_spectrum(
            net,
            np.ones(n),
            num_exponents=n // 11,
            duration=duration,
            discard=duration / 3,
            dt=0.1,
            key=key,
            progress=False,
        ).exponents
    )
    _, alone, _ = timed(run, repeats=1)
    rows = []
    for name, ensemble in (
        ("independent weights", jn.couplings.IID(3.0)),
        ("random modes", jn.couplings.RandomModes.of_rank(3.0, 0.25)),
    ):
        settings = {"num_paths": num_paths, "points": points, "period": 0.4 * points}
        found = lambda ensemble=ensemble, settings=settings: (
            jn.population.lyapunov_distribution(state, ensemble, tanh, key=key, **settings).cdf
        )
        compiling, seconds, _ = timed(found, repeats=1)
        solutions = 1 + 2 * (11 + 2)  # two thresholds need both rings
        least = solutions * 10 * num_paths * 13 / 3 * points**3 / flops(np.float64)
        what = f"distribution of exponents, {name}, {num_paths} paths, 11 thresholds"
        other = f"spectrum of one network, N = {n}"
        rows.append(Row(what, seconds, compiling, other, alone, "its products", least))
        print(rows[-1].markdown(), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 paths at 40 times, N = 200")
    main(parser.parse_args().quick)
