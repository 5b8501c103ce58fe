"""How far one network of N units is from the theory for N -> infinity: right edges, and the dimension of activity.

    python benchmarks/finite_size.py [--quick] [--edges] [--activity]

For each kind of ensemble and each N, networks are drawn; the deviation of one network is its right edge over that of
the theory, less 1. The root mean square over networks holds scatter and offset: it is what one network may be off by.
Of activity the same for the variance of a unit and for PR / N, with rates of tanh units at g = 3. The table in
`jaxnets/couplings/deviations.py` has its numbers from here, by a fit of a N^-b to the root mean squares.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
C = jn.couplings
WINDOW = {"auto": 0.3, "hetero": (0.6, 0.6, 0.6)}
LARVA = C.from_matrix(C.larva_connectome("left"))
EDGES = {
    "IID": C.IID(1.0),
    "Elliptic, symmetry 0.5": C.Elliptic(1.0, 0.5),
    "Elliptic, symmetry 1": C.Elliptic(1.0, 1.0),
    "CellTypes, two": C.CellTypes([0.7, 0.3], np.sqrt([[1.0, 2.5], [0.6, 1.6]])),
    "CellTypes, a tenth strong": C.CellTypes([0.9, 0.1], [[0.2, 0.2], [0.2, 3.0]]),
    "SingularModes, 0 to 1": C.SingularModes(np.linspace(0, 1, 64)),
    "SingularModes, larva": LARVA,
    **{f"RandomModes, PR^D {rank}": C.RandomModes.of_rank(1.0, rank) for rank in (0.05, 0.2, 1.0)},
    "RandomModes, PR^D 0.2, overlap 0.5": C.RandomModes.of_rank(1.0, 0.2, overlap=0.5),
    **{f"DeepHebbian, load {load}": C.DeepHebbian(load, **WINDOW) for load in (0.05, 0.2, 0.8, 1.13)},
    **{f"DeepHebbian, load {load}, one step": C.DeepHebbian(load, hetero=(1.0,)) for load in (0.3, 1.13)},
    **{f"DeepHebbian, load {load}, eight steps": C.DeepHebbian(load, hetero=(0.9,) * 8) for load in (0.3, 1.13)},
}
ACTIVE = {
    "IID": C.IID(3.0),
    **{f"RandomModes, PR^D {rank}": C.RandomModes.of_rank(3.0, rank) for rank in (0.1, 0.25)},
}
TANH = jn.transfer.Tanh()
VARIANCE = 1.0  # of the inputs of the gains


def edges(ensemble, with_gains, n, num, seed):
    """Right edges of `num` networks over that of the theory, less 1."""
    law = jn.spectra.law(ensemble, TANH, variance=VARIANCE) if with_gains else jn.spectra.law(ensemble)
    expected, found = float(law.right_edge()), []
    for key in jax.random.split(jax.random.key(seed), num):
        key_network, key_gains = jax.random.split(key)
        gains = TANH.slope(jax.random.normal(key_gains, (n,)) * VARIANCE**0.5) if with_gains else None
        values = jn.eigen.host_eigenvalues(ensemble.sample(n, key=key_network), gains)
        found.append(values.real.max() / expected - 1)
    return np.array(found)


def activity(ensemble, n, num, seed, duration=400.0):
    """Variances of rates of `num` networks, and PR / N, over those of the theory, less 1."""
    state = jn.meanfield.stationary(ensemble, TANH)
    expected = np.array([state.c_phi[0], jn.population.dimension(state).phi])
    # Of the theory, since small networks may end in cycles, which never decay.
    decay = 2 * np.trapezoid((state.c_phi / state.c_phi[0]) ** 2, state.lags)
    found = []
    for key in jax.random.split(jax.random.key(seed), num):
        key_network, key_start = jax.random.split(key)
        net = jn.dynamics.RateNetwork(ensemble.sample(n, key=key_network, dtype=jnp.float32), TANH)
        start = jax.random.normal(key_start, (4, n), jnp.float32)
        run = jn.dynamics.simulate(
            net, start, duration=duration + 100, discard=100.0, dt=0.1, save_every=10, progress=False
        )
        rates = run.rates
        ratio = jn.observables.participation_ratio(rates, run.interval, correlation_time=decay, centre=False) / n
        found.append(np.array([float(jnp.mean(rates**2)), float(ratio)]) / expected - 1)
    print(f"  N = {n}: dimension {expected[1]:.4f} in theory", flush=True)
    return np.array(found).T


def report(name, sizes, deviations):
    """One line: the root mean square, offset and largest deviation at each N, and a N^-b through the former."""
    rms = [np.sqrt(np.mean(d**2)) for d in deviations]
    slope, level = np.polyfit(np.log(sizes), np.log(rms), 1) if len(sizes) > 1 else (np.nan, np.nan)
    cells = [f"{n}: {r:.4f} ({d.mean():+.4f}, {d.max():+.3f})" for n, r, d in zip(sizes, rms, deviations, strict=True)]
    print(f"| {name} | {' | '.join(cells)} | {np.exp(level):.2f} N^{slope:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three small sizes, five networks each")
    parser.add_argument("--edges", action="store_true", help="edges alone")
    parser.add_argument("--activity", action="store_true", help="activity alone")
    options = parser.parse_args()
    sizes, num = ((100, 200, 400), 5) if options.quick else ((125, 250, 500, 1000), 20)
    if not options.activity:
        for name, ensemble in EDGES.items():
            for with_gains in (False, True):
                title = f"{name}{', gains' if with_gains else ''}"
                report(title, sizes, [edges(ensemble, with_gains, n, num, seed=n) for n in sizes])
    if not options.edges:
        for name, ensemble in ACTIVE.items():
            larger = [n for n in sizes if n >= 200]
            found = [activity(ensemble, n, 12 if num > 12 else num, seed=n) for n in larger]
            for part, title in enumerate(("variance", "dimension")):
                report(f"{name}, {title}", larger, [deviations[part] for deviations in found])


if __name__ == "__main__":
    main()
