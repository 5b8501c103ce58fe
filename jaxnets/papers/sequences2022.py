"""Deep-Hebbian networks, Jiang et al. 2022 (arXiv 2208.11411): spectra, instability, regimes and retrieval."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .. import memory, plotting, spectra
from ..couplings import DeepHebbian
from ..dynamics import RateNetwork, jacobian_eigenvalues, simulate
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from ..transfer import Tanh
from . import retrieval2022
from .comparison import ERRORS, Comparison, error_of_one, standard_error
from .paper import Figure, Paper
from .planes import draw_plane
from .retrieval2022 import GAMMA, LENGTH, STEPS, draw_exponents, draw_phases, draw_regimes

PRINTED = 6e-5  # the rounding of four decimals
WINDOW = 3  # windows are filled up with zeros to this length, so that one compiled law serves all


@dataclass(frozen=True)
class Sizes(retrieval2022.Sizes):
    spectrum_units: int
    spectrum_samples: int
    grid: int  # points of a map of density along the real axis
    threshold_patterns: int
    threshold_samples: int
    state_units: int
    state_samples: int
    state_duration: float


QUICK = Sizes(
    spectrum_units=1000,
    spectrum_samples=3,
    grid=50,
    threshold_patterns=300,
    threshold_samples=4,
    state_units=1000,
    state_samples=5,
    state_duration=250.0,
    regime_units=2000,
    regime_patterns=20,
    regime_samples=5,
    regime_duration=110.0,
    loads=(0.04, 0.08, 0.16, 0.32, 0.64),
    strengths=(0.7, 1.0, 1.5, 2.2),
    phase_units=500,
    phase_samples=1,
    retrieval_samples=6,
    exponent_units=2000,
    exponent_samples=3,
    exponent_duration=450.0,
)
FULL = Sizes(
    spectrum_units=4000,
    spectrum_samples=5,
    grid=200,
    threshold_patterns=1000,
    threshold_samples=10,
    state_units=2000,
    state_samples=10,
    state_duration=1000.0,
    regime_units=4000,
    regime_patterns=40,
    regime_samples=10,
    regime_duration=200.0,
    loads=(0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0),
    strengths=(0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.2, 2.6, 3.0),
    phase_units=2000,
    phase_samples=5,
    retrieval_samples=20,
    exponent_units=2000,
    exponent_samples=16,
    exponent_duration=1500.0,
)


def _sequence(load: float, auto: float, gamma: float, d: int) -> DeepHebbian:
    """gamma_1 = ... = gamma_d = gamma, in a window of `WINDOW` steps."""
    return DeepHebbian(load, auto, np.where(np.arange(WINDOW) < d, gamma, 0.0))


def _name(load: float, auto: float, gamma: float, d: int) -> str:
    return f"c = {auto:g}, d = {d}, γ = {gamma:g}, α = {load:g}"


# --- spectra of J ---------------------------------------------------------------------------------------------

DRAWN = [(0.3, 0.0, 1.0, 1), (1.5, 0.5, 1.0, 1), (1.5, 1.0, 0.5, 2), (0.1, 1.0, 0.5, 2), (0.8, 0.3, 0.6, 3)]
EDGES = {
    (1.5, 0.0, 1.0, 1): 1.5811,
    (1.5, 0.5, 1.0, 1): 3.3589,
    (1.5, 1.0, 1.0, 1): 5.4542,
    (1.5, 0.0, 0.5, 2): 1.3956,
    (1.5, 0.5, 0.5, 2): 3.1468,
    (1.5, 1.0, 0.5, 2): 5.2712,
}
CIRCLE = (0.3, 0.0, 1.0, 1)  # the case with a law in closed form


def draw_spectra(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n = sizes.spectrum_units
    cases = list(dict.fromkeys([*DRAWN, *EDGES]))
    ensembles = {case: _sequence(*case) for case in cases}
    laws = {case: spectra.law(ensemble) for case, ensemble in ensembles.items()}
    boundaries = {case: laws[case].boundary(num_points=300) for case in DRAWN}
    samples = {}
    for i, (case, ensemble) in enumerate(ensembles.items()):
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.spectrum_samples)
        samples[case] = np.stack([np.asarray(spectra.eigenvalues(ensemble.sample(n, key=one))) for one in keys])

    rows = []
    for case, printed in EDGES.items():
        largest = samples[case].real.max(axis=1)
        rows.append(
            Comparison(
                f"right edge of J, {_name(*case)}",
                published=printed,
                theory=float(laws[case].right_edge()),
                sample=float(largest.mean()),
                sample_error=standard_error(largest),
                tolerance=PRINTED,
                allowance=printed / np.sqrt(n),
                note="eigenvalues at an edge are n^(-1/2) apart",
            )
        )
    for case in DRAWN:
        shares = spectra.coverage(samples[case], boundaries[case], margin=0.03)
        rows.append(
            Comparison(
                f"share of eigenvalues beyond edges and in voids, {_name(*case)}",
                theory=0.0,
                sample=float(shares.outside + shares.in_voids),
                allowance=0.01,
                note="by more than 3% of the radius",
            )
        )
    rows += _circle_rows(laws[CIRCLE], samples[CIRCLE])

    panels = [ax for row in plotting.table(2, 3, width=2.33, height=2.45) for ax in row]
    for ax, case in zip(panels, DRAWN, strict=False):
        draw_plane(ax, samples[case], boundaries[case], laws[case], sizes.grid)
        ax.set_title(_name(*case), fontsize=7)
    _draw_circle(panels[-1], samples[CIRCLE])
    caption = (
        f"Eigenvalues of {sizes.spectrum_samples} networks of {n} units (points), the predicted boundary with its "
        "voids (lines) and density (shade, white is 0). Last panel: share of eigenvalues within a radius, for c = 0, "
        f"d = 1, γ = 1, α = {CIRCLE[0]:g}: closed form (line) and sample (circles)."
    )
    return Figure(panels[0], caption, rows)


def _radius(share: Float[np.ndarray, " k"] | float, load: float) -> Float[np.ndarray, " k"]:
    """The radius that holds a share of the eigenvalues, for c = 0, d = 1, gamma = 1: the closed form of the paper."""
    share = np.asarray(share)
    return (2 * share - 1 + load) * np.sqrt(share / (share + load))


def _circle_rows(law: spectra.SpectralLaw, samples: np.ndarray) -> list[Comparison]:
    load, n = CIRCLE[0], samples.shape[1]
    *_, void, edge = (float(x) for x in law.real_crossings())
    radii = np.abs(samples)
    radii = np.where(radii > 1e-6, radii, np.nan)  # the others are 0: fewer modes than units
    # By the midpoint rule, which asks for no density on the edges.
    r, step = np.linspace(void, edge, 401, retstep=True)
    r = r[:-1] + step / 2
    within = 1 - load + np.cumsum(2 * np.pi * r * np.asarray(law.density(r))) * step
    half = float(np.interp(1 - load / 2, within, r + step / 2))
    inner, median, outer = (f(radii, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    spacing = 1 / np.sqrt(n)
    return [
        Comparison(
            f"{quantity}, c = 0, d = 1, γ = 1, α = {load:g}",
            published=float(closed),
            theory=theory,
            sample=float(sample.mean()),
            sample_error=standard_error(sample),
            tolerance=tolerance,
            allowance=spacing,
            note="published as a formula",
        )
        for quantity, closed, theory, sample, tolerance in (
            ("outer radius", np.sqrt(1 + load), edge, outer, 1e-8),
            ("radius of the void", (1 - load) ** 1.5, void, inner, 1e-8),
            # The midpoint rule misses the interval of one step at the most.
            ("median radius of eigenvalues that are not 0", _radius(1 - load / 2, load), half, median, 1e-3),
        )
    ]


def _draw_circle(ax: plotting.Axes, samples: np.ndarray) -> None:
    load = CIRCLE[0]
    share = np.linspace(1 - load, 1, 100)
    plotting.profile(_radius(share, load), share, ax, color=VERMILLION, label="closed form")
    radii = np.sort(np.abs(samples).ravel())
    picked = np.linspace(1 - load, 1, 16)[1:-1]
    plotting.samples(np.quantile(radii, picked), picked, ax, label="sample")
    ax.set(xlabel="radius |λ|", ylabel="share of eigenvalues")
    ax.set_title(_name(*CIRCLE), fontsize=7)
    ax.legend(frameon=False, loc="lower right")


# --- the instability of rest ----------------------------------------------------------------------------------

# (c, d): thresholds gamma_c at loads.
THRESHOLDS = {
    (0.0, 1): {0.05: 0.9759, 0.1: 0.9535, 0.25: 0.8944, 0.5: 0.8165},
    (0.0, 2): {0.05: 0.4919, 0.1: 0.4842, 0.25: 0.4633, 0.5: 0.4343},
    (0.5, 1): {0.05: 0.4016, 0.1: 0.3011},
}
COLORS = (BLUE, VERMILLION, GREEN)
STYLES = ("-", "--", "-.")
MARKERS = ("o", "s", "^")


def draw_thresholds(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    num, gone = sizes.threshold_patterns, (np.sqrt(2) - 1) ** 2
    # Every curve has the same number of loads, so that one compiled map serves all; published ones come first.
    loads = {
        (c, d): np.array([*known, *np.linspace(0.005, 0.6 if c == 0 else 0.999 * gone, 28 - len(known))])
        for (c, d), known in THRESHOLDS.items()
    }
    line = jax.jit(jax.vmap(lambda load, c, window: memory.instability(load, window, c, transfer=Tanh())))
    rows, ax = [], plotting.figure(3.4, 2.9)
    for i, ((c, d), known) in enumerate(THRESHOLDS.items()):
        window = np.where(np.arange(2) < d, 1.0, 0.0)
        found = line(jnp.asarray(loads[c, d]), jnp.full(28, c), jnp.tile(jnp.asarray(window), (28, 1)))
        theory = np.where(found.converged, found.value, np.nan)
        order = np.argsort(loads[c, d])
        label = f"c = {c:g}, d = {d}"
        plotting.profile(loads[c, d][order], theory[order], ax, color=COLORS[i], style=STYLES[i], label=label)
        measured = []
        for k, (load, printed) in enumerate(known.items()):
            keys = jax.random.split(jax.random.fold_in(key, 10 * i + k), sizes.threshold_samples)
            sampled = np.array([_sampled_threshold(num, load, c, window, theory[k], one) for one in keys])
            measured.append((sampled.mean(), standard_error(sampled)))
            rows.append(
                Comparison(
                    f"threshold γ of rest, c = {c:g}, d = {d}, α = {load:g}",
                    published=printed,
                    theory=float(theory[k]),
                    sample=float(measured[-1][0]),
                    sample_error=measured[-1][1],
                    tolerance=PRINTED,
                    # Half the distance of eigenvalues, which the part of the edge that grows with gamma has to cross.
                    allowance=printed / (2 * np.sqrt(num) * (1 - c * (1 + np.sqrt(load)) ** 2)),
                    note=f"{num} eigenvalues are {num}^(-1/2) apart",
                )
            )
        values, errors = np.array(measured).T
        plotting.samples(np.array(list(known)), values, ax, error=errors, color=COLORS[i], marker=MARKERS[i])
    ax.set(xlabel="load α = P / N", ylabel="strength γ at which x = 0 is unstable", ylim=(0, 1.05))
    plotting.legend(ax, num_columns=3)
    caption = (
        "The silent state loses its stability at this strength of the sequence: theory (lines), and where the largest "
        f"real part of the eigenvalues of {sizes.threshold_samples} sampled networks of {num} patterns is 1 (marks, "
        "bars of two standard errors). With c = 0.5 the line ends at α = (√2 - 1)² = 0.172."
    )
    return Figure(ax, caption, rows)


def _sampled_threshold(num: int, load: float, c: float, window: np.ndarray, theory: float, key: PRNGKeyArray) -> float:
    """Where the largest real part for one sequence of `num` patterns, which do not depend on gamma, is 1."""
    gammas = theory * np.linspace(0.8, 1.2, 5)
    couplings = [DeepHebbian(load, c, gamma * window).sample(round(num / load), key=key) for gamma in gammas]
    edges = [float(jnp.max(spectra.eigenvalues(J).real)) for J in couplings]
    return float(np.interp(1.0, edges, gammas, left=np.nan, right=np.nan))


# --- the spectrum of the Jacobian in the steady state ---------------------------------------------------------

STEADY = {0.01: (0.80, 0.975), 0.5: (1.36, 1.07), 1.0: (2.2, 1.11)}  # load: sigma^2 and right edge
DENSITIES = {2.0: 0.0826, 1.0: 0.2261}  # on the real axis, of J G with alpha = 1.5, c = d = gamma = 1, sigma^2 = .5


def draw_jacobians(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    with_gains = spectra.law(DeepHebbian(1.5, 1.0, (1.0,)), Tanh(), variance=0.5)
    rows = [
        Comparison(
            f"density of J G at λ = {z:g}, α = 1.5, c = 1, d = 1, γ = 1, σ² = 0.5",
            published=printed,
            theory=float(at),
            tolerance=PRINTED,
        )
        for (z, printed), at in zip(DENSITIES.items(), with_gains.density(np.array(list(DENSITIES))), strict=True)
    ]

    (panels,) = plotting.table(1, 3, width=2.33, height=2.5)
    for i, (ax, (load, (variance, edge))) in enumerate(zip(panels, STEADY.items(), strict=True)):
        ensemble = DeepHebbian(load, 0.0, (GAMMA,))
        n = max(sizes.state_units, round(LENGTH / load))
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.state_samples)
        states = [_steady_states(ensemble, n, sizes.state_duration, one) for one in keys]
        variances = np.array([float(np.var(x)) for _, x in states])
        laws = [spectra.law(ensemble, Tanh(), variance=v) for v in variances]
        theory = np.array([float(memory.self_organised_edge(ensemble, Tanh(), variance=v)) for v in variances])
        values = [1 + np.asarray(jacobian_eigenvalues(net, x[-1:], progress=False)) for net, x in states]
        rightmost = np.array([np.real(z).max() for z in values])
        rows.append(
            Comparison(
                f"σ² of the steady state, c = 0, d = 1, γ = {GAMMA:g}, α = {load:g}",
                published=variance,
                sample=float(variances.mean()),
                sample_error=error_of_one(variances),
                allowance=0.05 * variance,
                note="printed for one network: the error here is for one, too",
            )
        )
        rows.append(
            Comparison(
                f"right edge of J G there, α = {load:g}",
                published=edge,
                theory=float(theory.mean()),
                # The eigenvalues of twenty modes have no edge yet.
                sample=float(rightmost.mean()) if load > 0.1 else None,
                sample_error=standard_error(rightmost),
                tolerance=max(0.05 * edge, ERRORS * error_of_one(theory)),
                allowance=edge * 2 / np.sqrt(n),
                note="theory: Gaussian x of the measured variance, as in the paper",
            )
        )
        boundary = laws[0].boundary(num_points=300)
        draw_plane(ax, values[0], boundary, laws[0], sizes.grid)
        plotting.level(1.0, ax, color=BLACK, style=":")
        ax.set_title(f"α = {load:g}, σ² = {variances[0]:.2f}", fontsize=8)
    caption = (
        f"Eigenvalues of J G, G = diag(φ'(x)), of one network of {sizes.state_units} units, or more for {LENGTH} "
        "patterns, in the steady state of a sequence (points), with the boundary and density for Gaussian x of the "
        f"same variance; c = 0, d = 1, γ = {GAMMA:g}. Perturbations grow beyond the dotted line, near which networks "
        "settle."
    )
    return Figure(panels[0], caption, rows)


def _steady_states(ensemble: DeepHebbian, n: int, duration: float, key: PRNGKeyArray) -> tuple[RateNetwork, np.ndarray]:
    coupling = ensemble.sample(n, key=key, dtype=jnp.float32)
    net = RateNetwork(coupling, Tanh())
    run = simulate(net, coupling.left[:, 0], duration=duration, discard=duration / 2, save_every=20, **STEPS)
    assert run.states is not None
    return net, np.asarray(run.states)


PAPER = Paper(
    number="2208.11411",
    subject="Deep-Hebbian networks: spectra, instability, regimes and retrieval of sequences",
    choices=(
        "Parameters of the spectra are chosen here, and include the published edges. Criteria of regimes and of "
        "retrieval come from `jaxnets.memory`. Published Lyapunov exponents belong to Euler's map with a step of τ / "
        "2, and are given here per τ. At α = .01 and .1, where sequences are retrieved, they are drawn and not judged. "
        "The cycle of a map is quasi-periodic, with exponent 0, or locked to its step, with exponents that differ "
        "between networks. α = .01 is kept in the smaller networks, with fewer patterns."
    ),
    figures={
        "spectra": draw_spectra,
        "thresholds": draw_thresholds,
        "jacobians": draw_jacobians,
        "regimes": draw_regimes,
        "phases": draw_phases,
        "exponents": draw_exponents,
    },
    quick=QUICK,
    full=FULL,
)
