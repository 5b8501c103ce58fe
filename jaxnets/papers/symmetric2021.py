"""Symmetric deep-Hebbian couplings, Jiang et al. 2021 (arXiv 2103.14324): densities, largest eigenvalue, glass."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import memory, plotting, spectra
from ..couplings import DeepHebbian
from ..plotting import BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper
from .planes import off_zero

PRINTED = 6e-5  # the rounding of four decimals
WINDOW = 3  # windows are filled up with zeros to this length, so that one compiled law serves all


Case = tuple[float, int, float]  # load, d, gamma; d = 0 for gamma = 0


@dataclass(frozen=True)
class Sizes:
    units: int
    samples: int
    strengths: int  # points of a line of theory
    sampled: int  # of these, points with samples


QUICK = Sizes(units=1000, samples=4, strengths=41, sampled=5)
FULL = Sizes(units=8000, samples=10, strengths=101, sampled=11)


def _window(d: int, gamma: float) -> np.ndarray:
    return np.where(np.arange(WINDOW) < d, gamma, 0.0)


def _ensemble(load: float, d: int, gamma: float) -> DeepHebbian:
    """c = 1, as everywhere in the paper."""
    return DeepHebbian(load, 1.0, _window(d, gamma), symmetric=True)


def _name(load: float, d: int, gamma: float) -> str:
    return f"d = {d}, γ = {gamma:g}, α = {load:g}" if d else f"γ = 0, α = {load:g}"


@jax.jit
@jax.vmap
def _edges(load, window):
    """Largest eigenvalue, the temperature that belongs to it, and whether they were found."""
    edge = spectra.law(DeepHebbian(load, 1.0, window, symmetric=True)).rightmost()
    return edge.z.real, edge.zeta.real, edge.converged


@jax.jit
@jax.vmap
def _glass(load, window):
    return memory.glass_temperature(DeepHebbian(load, 1.0, window, symmetric=True)).temperature


# --- densities ------------------------------------------------------------------------------------------------

DRAWN: list[Case] = [(0.5, 0, 0.0), (0.3, 1, 0.5), (1.0, 2, 1.0), (0.05, 3, 0.4)]


def draw_densities(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n = sizes.units
    rows = []
    panels = [ax for row in plotting.table(2, 2, width=3.5, height=2.1) for ax in row]
    for i, (ax, case) in enumerate(zip(panels, DRAWN, strict=True)):
        ensemble = _ensemble(*case)
        law = spectra.law(ensemble)
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.samples)
        values = np.stack([np.real(spectra.eigenvalues(ensemble.sample(n, key=one))) for one in keys])
        left, right = float(law.left_edge()), float(law.right_edge())
        # Quadratic towards the right edge, where the density is a square root.
        x = right - (right - left) * np.linspace(0, 1, 500) ** 2
        density = np.where(x == right, 0.0, np.asarray(law.density(x)))
        rows.append(
            Comparison(
                f"largest difference of the shares of eigenvalues above λ, {_name(*case)}",
                theory=0.0,
                sample=_distance(x, density, values),
                # Shares of one network fluctuate as 1 / n.
                allowance=5 / n,
                note="sample against the integral of the density, λ above a tenth of the largest",
            )
        )
        bulk = off_zero(values)
        plotting.histogram(bulk, ax, mass=bulk.size / values.size, num_bins=60, label="sample")
        plotting.line(x, density, ax, label="theory")
        ax.set(xlabel="eigenvalue λ", ylabel="density", ylim=(0, 1.5 * np.nanmax(density[x > 0.1 * right])))
        ax.set_title(_name(*case), fontsize=8)
    panels[0].legend(frameon=False)
    caption = (
        f"Density of the eigenvalues of symmetric couplings, c = 1: {sizes.samples} networks of {n} units (bars) and "
        "theory (lines, with a gap where no solution was found). Eigenvalues that are 0, a share 1 - α, are left out."
    )
    return Figure(panels[0], caption, rows)


def _distance(x: np.ndarray, density: np.ndarray, values: np.ndarray) -> float:
    """Between the shares of eigenvalues above x, which falls from the right edge on, of theory and of samples."""
    above = np.append(0, np.cumsum(-np.diff(x) * (density[1:] + density[:-1]) / 2))
    sampled = 1 - np.searchsorted(np.sort(values.ravel()), x) / values.size
    return float(np.max(np.abs(above - sampled)[x > 0.1 * x[0]]))


# --- largest eigenvalue, and the temperature of the glass -----------------------------------------------------

# Largest eigenvalue and T_SG; without neighbours, the values of the Hopfield model.
PUBLISHED: dict[Case, tuple[float, float]] = {
    (0.3, 1, 0.5): (3.4269, 2.4911),
    (1.0, 2, 1.0): (9.7793, 6.6660),
} | {(load, 0, 0.0): ((1 + np.sqrt(load)) ** 2, 1 + np.sqrt(load)) for load in (0.138, 0.5)}
LINES = (1, 2, 3)  # d
COLORS, STYLES, MARKERS = (BLUE, VERMILLION, GREEN), ("-", "--", "-."), ("o", "s", "^")


def draw_edges(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n, load = sizes.units, 0.3
    gammas = np.linspace(0, 1, sizes.strengths)
    picked = np.linspace(0, sizes.strengths - 1, sizes.sampled).round().astype(int)
    lines: list[Case] = [(load, d, float(gamma)) for d in LINES for gamma in gammas]
    marks: list[Case] = [(load, d, float(gammas[k])) for d in LINES for k in picked]
    cases = list(PUBLISHED)
    edges, temperatures, converged = map(np.asarray, _edges(*_parameters(lines + cases)))
    edges, temperatures = np.where(converged, edges, np.nan), np.where(converged, temperatures, np.nan)
    replicas = np.asarray(_glass(*_parameters(marks + cases)))
    largest = np.array(
        [
            [_largest(_ensemble(*case), n, one) for one in jax.random.split(jax.random.fold_in(key, i), sizes.samples)]
            for i, case in enumerate(marks + cases)
        ]
    )

    left, right = plotting.table(1, 2, width=3.5, height=2.7)[0]
    for i, d in enumerate(LINES):
        line = slice(i * len(gammas), (i + 1) * len(gammas))
        mark = slice(i * len(picked), (i + 1) * len(picked))
        for ax, values in ((left, edges), (right, temperatures)):
            plotting.profile(gammas, values[line], ax, color=COLORS[i], style=STYLES[i], label=f"d = {d}")
        error = largest[mark].std(axis=1, ddof=1) / np.sqrt(sizes.samples)
        for ax, values, bars in ((left, largest[mark].mean(axis=1), error), (right, replicas[mark], None)):
            plotting.samples(gammas[picked], values, ax, error=bars, color=COLORS[i], marker=MARKERS[i])
    left.set(xlabel="strength γ", ylabel="largest eigenvalue")
    right.set(xlabel="strength γ", ylabel="spin-glass temperature $T_{SG}$")
    for ax in (left, right):
        plotting.legend(ax, num_columns=3)
    rows = []
    for i, case in enumerate(cases):
        at, sampled = len(lines) + i, largest[len(marks) + i]
        rows += _edge_rows(case, edges[at], temperatures[at], replicas[len(marks) + i], sampled, n)
    caption = (
        f"c = 1, α = {load:g}. Left: right edge of the spectrum (lines) and the mean largest eigenvalue of "
        f"{sizes.samples} networks of {n} units (marks). Right: temperature of the glass from the spectrum (lines) and "
        "from replicas (marks)."
    )
    return Figure(left, caption, rows)


def _parameters(cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Loads, and windows."""
    return np.array([load for load, _, _ in cases]), np.stack([_window(d, gamma) for _, d, gamma in cases])


def _edge_rows(
    case: Case, edge: float, temperature: float, replicas: float, largest: np.ndarray, n: int
) -> list[Comparison]:
    published_edge, published_temperature = PUBLISHED[case]
    exact = case[1] == 0  # formulas
    tolerance, note = (1e-7, "published as a formula") if exact else (PRINTED, "")
    return [
        Comparison(
            f"largest eigenvalue, {_name(*case)}",
            published=published_edge,
            theory=float(edge),
            sample=float(np.mean(largest)),
            sample_error=standard_error(largest),
            tolerance=tolerance,
            # Tracy and Widom: the mean is 1.2 scales of about edge n^(-2/3) below the edge.
            allowance=2 * published_edge * n ** (-2 / 3),
            note=note,
        ),
        *(
            Comparison(
                f"T_SG from {source}, {_name(*case)}",
                published=published_temperature,
                theory=float(value),
                tolerance=tolerance,
                note=note,
            )
            for source, value in (("the spectrum", temperature), ("replicas", replicas))
        ),
    ]


def _largest(ensemble: DeepHebbian, n: int, key: PRNGKeyArray) -> float:
    return float(np.max(np.real(spectra.eigenvalues(ensemble.sample(n, key=key)))))


PAPER = Paper(
    number="2103.14324",
    subject="Symmetric deep-Hebbian couplings: density of eigenvalues, largest eigenvalue, temperature of the glass",
    choices=(
        "The parameters of the densities are chosen here, and include the two with published largest eigenvalues; "
        "gamma = 0 is the Hopfield model, where edge and glass are formulas."
    ),
    figures={"densities": draw_densities, "edges": draw_edges},
    quick=QUICK,
    full=FULL,
)
