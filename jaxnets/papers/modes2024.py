"""Random modes, Clark et al. 2024 (arXiv 2409.01969), and the dimension of activity, 2023 (arXiv 2207.12373)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import meanfield, observables, plotting, population, spectra
from ..couplings import IID, Ensemble, RandomModes
from ..dynamics import RateNetwork, rk4, simulate
from ..plotting import BLACK, BLUE, GREEN, PURPLE, VERMILLION
from ..transfer import Tanh
from .comparison import Comparison, standard_error
from .paper import Figure, Paper
from .planes import draw_plane


@dataclass(frozen=True)
class Sizes:
    units: int
    networks: int
    duration: float
    gains: int  # points of a line of theory
    spectrum_units: int
    spectrum_samples: int
    grid: int  # points of a map of density along the real axis


QUICK = Sizes(units=1000, networks=3, duration=160.0, gains=9, spectrum_units=1000, spectrum_samples=3, grid=50)
FULL = Sizes(units=16384, networks=4, duration=400.0, gains=33, spectrum_units=4000, spectrum_samples=5, grid=200)


def _modes(g, rank) -> RandomModes:
    """Modes of equal amplitude, of strength g and effective rank `rank`: g^2 = load amplitude^2, PR^D = load."""
    return RandomModes.of_rank(g, rank)


@jax.jit
@jax.vmap
def _state(g):
    return meanfield.stationary(IID(g), Tanh())


@jax.jit
@jax.vmap
def _dimension(g, state):
    return population.dimension(state, IID(g))


@jax.jit
@jax.vmap
def _dimension_of_modes(g, rank, state):
    return population.dimension(state, _modes(g, rank))


def _run(ensemble: Ensemble, n: int, duration: float, key: PRNGKeyArray) -> np.ndarray:
    """Rates of eight trajectories of one network, at every tau."""
    key_network, key_start = jax.random.split(key)
    net = RateNetwork(ensemble.sample(n, key=key_network, dtype=jnp.float32), Tanh())
    x0 = jax.random.normal(key_start, (8, n), jnp.float32)
    run = simulate(net, x0, duration=duration, discard=50.0, dt=0.1, scheme=rk4, save_every=10, progress=False)
    assert run.rates is not None
    return np.asarray(run.rates)


# --- autocovariance and dimension -----------------------------------------------------------------------------

# The strength, and PR / N of rates with its error, of independent weights at N = 16384.
SIMULATED = {1.5: (0.0057, 1e-4), 2.0: (0.0192, 2e-4), 3.0: (0.0439, 3e-4), 5.0: (0.0734, 4e-4)}
VARIANCES = {1.5: 0.342093, 2.0: 0.513178, 3.0: 0.68058, 5.0: 0.81075}  # C^phi(0)
# g and PR^D: PR / N of rates.
RANKED = {(3.0, 1.0): 0.024955, (3.0, 0.25): 0.010741, (3.0, 0.1): 0.005021, (2.0, 0.25): 0.004415}
RANKS = (1.0, 0.25, 0.1)
# Networks of these, the effective rank last: drawn, and compared.
SAMPLED = [(3.0, np.inf), (5.0, np.inf), (3.0, 1.0), (3.0, 0.25)]
LAGS = 16  # in tau
COLORS, STYLES, MARKERS = (BLUE, VERMILLION, GREEN, PURPLE), ("-", "--", "-.", ":"), ("o", "s", "^", "D")


def draw_dimension(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    gains = np.unique(np.append(np.linspace(1.3, 5.0, sizes.gains), list(SIMULATED)))
    states = _state(jnp.asarray(gains))
    of = {np.inf: _dimension(jnp.asarray(gains), states)}
    of |= {rank: _dimension_of_modes(jnp.asarray(gains), jnp.full(len(gains), rank), states) for rank in RANKS}
    theory = {rank: np.where(found.converged, found.phi, np.nan) for rank, found in of.items()}
    at = {g: int(np.flatnonzero(gains == g)[0]) for g in SIMULATED}

    covariances, inverse = {}, {}
    for i, (g, rank) in enumerate(SAMPLED):
        ensemble = IID(g) if np.isinf(rank) else _modes(g, rank)
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.networks)
        rates = [_run(ensemble, sizes.units, sizes.duration, one) for one in keys]
        covariances[g, rank] = np.array([observables.autocovariance(r, 1.0, max_lag=LAGS).values for r in rates])
        # Of inverse dimensions: they are linear in the squared covariances, so that their mean is less biased.
        inverse[g, rank] = np.array([sizes.units / observables.dimension_estimate(r, 1.0).value for r in rates])

    rows = _dimension_rows(sizes, states, theory, at, covariances, inverse)
    panels = plotting.table(1, 3, width=2.33, height=2.7)[0]
    _draw_covariances(panels[0], states, at, covariances)
    _draw_dimensions(panels[1], panels[2], gains, theory, inverse)
    caption = (
        "Left: autocovariance of rates, which knows the strength g alone: theory for N to infinity (lines) and "
        f"{sizes.networks} networks of {sizes.units} units each (marks, bars of two standard errors). Middle: PR / N "
        "of rates against g for independent weights (∞) and modes of effective rank PR$^D$ N: theory (lines), "
        "networks here (marks) and published simulations (crosses). Right: the same against PR$^D$ at g = 3."
    )
    return Figure(panels[0], caption, rows)


def _dimension_rows(
    sizes: Sizes, states, theory: dict, at: dict[float, int], covariances: dict, inverse: dict
) -> list[Comparison]:
    """Printed dimensions and variances beside theory, at the positions `at` of its strengths, and networks here."""
    rows = []
    for g, (published, error) in SIMULATED.items():
        rows.append(
            Comparison(
                f"dimension PR / N of rates, g = {g:g}, independent weights",
                published=published,
                theory=float(theory[np.inf][at[g]]),
                # Three printed errors; nearest to the onset there are a hundred dimensions, and N still counts.
                tolerance=3 * error if g > 1.5 else 0.1 * published,
                note="published of simulations, N = 16384",
                **_sampled_dimension(inverse, g, np.inf, sizes.units),
            )
        )
    for (g, rank), published in RANKED.items():
        rows.append(
            Comparison(
                f"dimension PR / N of rates, g = {g:g}, PR^D = {rank:g} N",
                published=published,
                theory=float(theory[rank][at[g]]),
                tolerance=6e-7,
                note="reference value of theory",
                **_sampled_dimension(inverse, g, rank, sizes.units),
            )
        )
    for g, published in VARIANCES.items():
        found = covariances.get((g, np.inf))
        rows.append(
            Comparison(
                f"variance of rates, g = {g:g}",
                published=published,
                theory=float(states.c_phi[at[g], 0]),
                sample=None if found is None else float(found[:, 0].mean()),
                sample_error=0.0 if found is None else standard_error(found[:, 0]),
                tolerance=6e-6 if g >= 3 else 6e-7,
                # Finite networks differ by the inverse of the number of their independent directions.
                allowance=0.0 if found is None else float(published * np.mean(inverse[g, np.inf]) / sizes.units),
                note="reference value of theory",
            )
        )
    return rows


def _sampled_dimension(inverse: dict, g: float, rank: float, n: int) -> dict[str, float]:
    """What a comparison says of networks, if there are any."""
    if (g, rank) not in inverse:
        return {}
    values = inverse[g, rank]
    mean = 1 / values.mean()
    # Networks of 1000 units are 10 % above the limit, and those of N differ by as much as 1 / N.
    return {
        "sample": float(mean),
        "sample_error": standard_error(values) * mean**2,
        "allowance": float(0.1 * mean * min(1.0, 1000 / n)),
    }


def _draw_covariances(ax: plotting.Axes, states, at: dict[float, int], covariances: dict) -> None:
    for i, (g, rank) in enumerate([(3.0, np.inf), (5.0, np.inf), (3.0, 0.25)]):
        if np.isinf(rank):
            lags, values = np.asarray(states.lags[at[g]]), np.asarray(states.c_phi[at[g]])
            within = lags <= LAGS
            plotting.autocovariance(
                lags[within], values[within], ax, color=COLORS[i], style=STYLES[i], label=f"g = {g:g}"
            )
        found = covariances[g, rank]
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        plotting.samples(
            np.arange(LAGS + 1)[::2],
            found.mean(axis=0)[::2],
            ax,
            error=error[::2],
            color=COLORS[i],
            marker=MARKERS[i],
            label=None if np.isinf(rank) else f"g = {g:g}, PR$^D$ = {rank:g}",
        )
    ax.set(xlabel="lag (τ)", ylabel="autocovariance of rates")
    plotting.legend(ax, num_columns=2)


def _draw_dimensions(by_gain: plotting.Axes, by_rank: plotting.Axes, gains, theory: dict, inverse: dict) -> None:
    for i, (rank, values) in enumerate(theory.items()):
        name = "∞" if np.isinf(rank) else f"{rank:g}"
        plotting.dimension(gains, values, by_gain, color=COLORS[i], style=STYLES[i], label=f"PR$^D$ = {name}")
        for (g, other), measured in inverse.items():
            if other == rank:
                error = standard_error(measured) / measured.mean() ** 2
                plotting.samples(
                    np.array([g]),
                    np.array([1 / measured.mean()]),
                    by_gain,
                    error=np.array([error]),
                    color=COLORS[i],
                    marker=MARKERS[i],
                )
    published = np.array([value for value, _ in SIMULATED.values()])
    plotting.samples(np.array(list(SIMULATED)), published, by_gain, color=BLACK, marker="x", label="published")
    by_gain.set(xlabel="strength g", ylabel="dimension PR / N", yscale="log")
    plotting.legend(by_gain, num_columns=2)

    k = int(np.flatnonzero(gains == 3)[0])
    # 1 / PR is linear in 1 / PR^D.
    ranks = np.geomspace(0.08, 4, 50)
    limit, single = 1 / theory[np.inf][k], 1 / theory[1.0][k]
    plotting.dimension(ranks, 1 / (limit + (single - limit) / ranks), by_rank, color=BLUE, label="theory")
    for (g, rank), measured in inverse.items():
        if g == 3 and np.isfinite(rank):
            error = standard_error(measured) / measured.mean() ** 2
            plotting.samples(np.array([rank]), np.array([1 / measured.mean()]), by_rank, error=np.array([error]))
    plotting.profile(ranks, np.full(50, 1 / limit), by_rank, style=":", label="independent weights")
    by_rank.set(xlabel="effective rank PR$^D$ (N)", ylabel="dimension PR / N, g = 3", xscale="log", yscale="log")
    by_rank.set_ylim(3e-3, 0.1)
    plotting.legend(by_rank, num_columns=1)


# --- spectra with overlaps ------------------------------------------------------------------------------------

SPECTRA = {
    "equal amplitudes, ρ = 0.6": RandomModes.flat(1.4, 0.7, 0.6),
    "amplitudes 1 and 5, ρ = 0.7": RandomModes(np.array([1.0, 5.0]), load=0.05, overlap=0.7),
    "exponential amplitudes, ρ = 0.4": RandomModes.exponential(0.3, amplitude=2.0, load=1.0, overlap=0.4, nodes=8),
}


def draw_spectra(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n = sizes.spectrum_units
    rows = []
    panels = plotting.table(1, 3, width=2.33, height=2.3)[0]
    for i, (ax, (name, ensemble)) in enumerate(zip(panels, SPECTRA.items(), strict=True)):
        law = spectra.law(ensemble)
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.spectrum_samples)
        values = np.stack([np.asarray(spectra.eigenvalues(ensemble.sample(n, key=one))) for one in keys])
        curves = law.boundary(num_points=300)
        shares = spectra.coverage(values, curves, margin=0.04)
        largest = np.real(values).max(axis=1)
        edge = float(law.right_edge())
        rows += [
            Comparison(
                f"right edge of J, {name}",
                # rho (1 + alpha) + (1 + rho^2) sqrt(alpha) amplitudes, the end of an ellipse.
                published=1.4 * (0.6 * 1.7 + 1.36 * np.sqrt(0.7)) if i == 0 else None,
                theory=edge,
                sample=float(largest.mean()),
                sample_error=standard_error(largest),
                tolerance=1e-7,
                allowance=edge / (2 * np.sqrt(n * float(ensemble.load))),
                note="published as a formula" if i == 0 else "eigenvalues of P modes are P^(-1/2) apart",
            ),
            Comparison(
                f"share of eigenvalues beyond the edges, {name}",
                theory=0.0,
                sample=float(shares.outside + shares.in_voids),
                allowance=0.01,
                note="by more than 4% of the radius",
            ),
        ]
        draw_plane(ax, values, curves, law, sizes.grid)
        ax.locator_params(axis="y", nbins=4)
        ax.set_title(name, fontsize=7)
    caption = (
        f"Eigenvalues of {sizes.spectrum_samples} networks of {n} units with random modes, left and right sides "
        f"overlapping by ρ (points), with the predicted boundary (lines) and density (shade)."
    )
    return Figure(panels[0], caption, rows)


PAPER = Paper(
    number="2409.01969",
    companion="2207.12373",
    subject="Dimension of activity with random modes: strength, effective rank and overlaps",
    choices=(
        "Strengths and effective ranks are drawn where values are published; amplitudes and overlaps of the spectra "
        "are chosen here. Without overlaps only g and PR$^D$ enter, so that modes of equal amplitude stand for all "
        "others. A network of 1000 units scatters by some ten per cent, and by more the fewer "
        "modes it has."
    ),
    figures={"dimension": draw_dimension, "spectra": draw_spectra},
    quick=QUICK,
    full=FULL,
)
