"""Time against N, trials, modes and number of points, with fitted exponents, and a figure of it.

    python benchmarks/scaling.py [--quick]

The exponent is the slope of log time over log size in the upper half of the sizes, where the cost of a call no longer
counts. float64, compiled before, the best of three. Writes scaling.png beside this script, at full size.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Before NumPy is imported: one BLAS thread a matrix.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import jax
import jax.numpy as jnp
import numpy as np
import table

import jaxnets as jn
from jaxnets import plotting

COLORS = (plotting.BLUE, plotting.VERMILLION, plotting.GREEN, plotting.PURPLE)
FIGURE = Path(__file__).with_name("scaling.png")


@dataclass(frozen=True)
class Curve:
    """Seconds of one piece of work at several sizes, and the exponent that counting operations predicts."""

    work: str
    size: str
    sizes: np.ndarray
    seconds: np.ndarray
    expected: float

    @property
    def exponent(self) -> float:
        upper = slice(-max(2, -(-len(self.sizes) // 2)), None)
        return float(np.polyfit(np.log(self.sizes[upper]), np.log(self.seconds[upper]), 1)[0])

    def markdown(self) -> str:
        span = f"{self.sizes[0]} to {self.sizes[-1]}"
        return f"| {self.work} | {self.size} | {span} | {self.exponent:.2f} | {self.expected:g} |"


def best(run: Callable, repeats: int = 3) -> float:
    """Seconds of the fastest call after the first."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return min(times[1:])


def curve(work: str, size: str, sizes: Sequence[int], expected: float, at: Callable[[int], float]) -> Curve:
    found = Curve(work, size, np.array(sizes), np.array([at(n) for n in sizes]), expected)
    print(found.markdown(), flush=True)
    return found


def evaluation(n: int, trials: int, modes: int | None) -> float:
    """Seconds of one evaluation of the right-hand side, in Heun's scheme of two a step."""
    if modes is None:
        J = jn.couplings.IID(g=1.5).sample(n, key=jax.random.key(0))
    else:
        J = jn.couplings.RandomModes.flat(1.5, load=modes / n).sample(n, key=jax.random.key(0))
    net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
    x0 = jax.random.normal(jax.random.key(1), (trials, n))
    steps = int(np.clip(3e8 / (n * trials * (n if modes is None else 2 * modes)), 4, 400))
    run = lambda: jn.dynamics.simulate(net, x0, duration=steps * 0.05, dt=0.05, save_every=steps, progress=False).final
    return best(run) / (2 * steps)


def spectrum(n: int, modes: int | None) -> float:
    ensemble = jn.couplings.IID() if modes is None else jn.couplings.RandomModes.flat(1.0, load=modes / n)
    J = ensemble.sample(n, key=jax.random.key(0))
    return best(lambda: jn.spectra.eigenvalues(J), 1 if n > 500 else 3)


def edges(points: int) -> float:
    @jax.jit
    @jax.vmap
    def edge(load):
        return jn.spectra.law(jn.couplings.DeepHebbian(load, 0.5, (0.5, 0.5))).right_edge()

    loads = jnp.linspace(0.05, 2, points)
    return best(lambda: edge(loads))


def density(points: int) -> float:
    law = jn.spectra.law(jn.couplings.DeepHebbian(load=0.8, auto=0.3, hetero=(0.6,)))
    z = jnp.linspace(-0.6, 3.0, points) + 0.5j
    return best(lambda: law.density(z))


def states(points: int) -> float:
    @jax.jit
    @jax.vmap
    def theory(g):
        ensemble = jn.couplings.RandomModes.flat(g, load=1.0)
        state = jn.meanfield.stationary(ensemble, jn.transfer.Tanh())
        return jn.population.dimension(state, ensemble).phi

    g = jnp.linspace(1.5, 5, points)
    return best(lambda: theory(g))


def measure(quick: bool) -> list[Curve]:
    largest = lambda sizes: sizes[:-2] if quick else sizes
    ns, few = largest((250, 500, 1000, 2000, 4000)), largest((100, 200, 300, 500, 700, 1000))
    trials, modes = largest((1, 4, 16, 64, 256, 512)), largest((25, 50, 100, 200, 400, 800))
    points = largest((1, 10, 100, 1000, 10000))
    return [
        curve("right-hand side, dense, 32 trials", "neurons", ns, 2, lambda n: evaluation(n, 32, None)),
        curve("right-hand side, N / 10 modes, 32 trials", "neurons", ns, 2, lambda n: evaluation(n, 32, n // 10)),
        curve("right-hand side, dense, N = 1000", "trials", trials, 1, lambda b: evaluation(1000, b, None)),
        curve("right-hand side, 100 modes, N = 1000", "trials", trials, 1, lambda b: evaluation(1000, b, 100)),
        curve("right-hand side, N = 2000, 32 trials", "modes", modes, 1, lambda p: evaluation(2000, 32, p)),
        curve("eigenvalues, dense", "neurons", few, 3, lambda n: spectrum(n, None)),
        curve("eigenvalues, N / 10 modes", "neurons", (*few, 2000, 4000), 3, lambda n: spectrum(n, n // 10)),
        curve("right edges", "points", points, 1, edges),
        curve("density", "points", points, 1, density),
        curve("mean-field states and dimensions", "points", points[:-1], 1, states),
    ]


def draw(curves: Sequence[Curve]) -> None:
    """A panel a size; lines with the counted exponent through the last point."""
    sizes = list(dict.fromkeys(c.size for c in curves))
    with plotting.printed_size():
        panels = [ax for row in plotting.table(2, 2, width=3.5, height=2.9) for ax in row]
        for ax, size in zip(panels, sizes, strict=True):
            for i, c in enumerate([c for c in curves if c.size == size]):
                color = COLORS[i]
                ax.loglog(c.sizes, c.seconds, "osv^"[i], color=color, ms=4, label=f"{c.work}: {c.exponent:.2f}")
                ax.loglog(c.sizes, c.seconds[-1] * (c.sizes / c.sizes[-1]) ** c.expected, color=color, lw=0.8)
            ax.set(xlabel=f"number of {size}", ylabel="time (s)")
            shown = max((c.sizes for c in curves if c.size == size), key=len)[::2]
            ax.set_xticks(shown, labels=map(str, shown))
            ax.set_xticks([], minor=True)
            plotting.legend(ax, "fitted exponent (lines: counted)")
        plotting.save(panels[0], FIGURE)


def main(quick: bool) -> list[Curve]:
    jax.config.update("jax_enable_x64", True)
    print(table.SCALING)
    curves = measure(quick)
    if not quick:
        draw(curves)
    return curves


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the two largest of the sizes")
    main(parser.parse_args().quick)
