"""Lyapunov spectra of chaotic networks (arXiv 2006.02427; Clark, rnn-lyapunov): dimension and entropy of attractors."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import plotting
from ..couplings import IID, DeepHebbian, Ensemble, RandomModes
from ..dynamics import (
    LyapunovSpectrum,
    RateNetwork,
    entropy_rate,
    kaplan_yorke_dimension,
    lyapunov_spectrum,
)
from ..meanfield import stationary
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from ..population import LyapunovDistribution, lyapunov_distribution
from ..transfer import Tanh
from .comparison import ERRORS, Comparison, standard_error
from .paper import Figure, Paper


@dataclass(frozen=True)
class Sizes:
    strengths: tuple[float, ...]
    paths: int
    units: int
    samples: int
    duration: float


QUICK = Sizes(strengths=(3.0, 5.0), paths=128, units=300, samples=2, duration=160.0)
FULL = Sizes(strengths=(1.5, 3.0, 5.0), paths=256, units=2000, samples=4, duration=600.0)

# Stored in davidclark1/rnn-lyapunov at 41ba738, for g: dimension and entropy rate of theory, extrapolated to eta = 0
# from its thresholds and one set of paths; and of one network of 8192, 4096 and 4096 units.
PUBLISHED = {
    1.5: ((0.01407, 1.473e-4), (0.01387, 1.416e-4)),
    3.0: ((0.06163, 3.231e-3), (0.06094, 3.135e-3)),
    5.0: ((0.08077, 7.335e-3), (0.08013, 7.194e-3)),
}
# Of an independent program: one network of 1000, 2000 and 1000 units, with the errors of its orbit.
REFERENCE = {
    "PR^D = 1, g = 3": ((0.0464, 0.0028), (2.25e-3, 0.26e-3)),
    "PR^D = 1/4, g = 3": ((0.0238, 0.0009), (1.16e-3, 0.08e-3)),
    "shift, γ = 2, α = 1": ((0.0179, 0.0018), (4.4e-4, 0.9e-4)),
}
PATHS = 0.015  # what numbers of theory there scatter by, and here by less
ONSET = 0.05  # at g = 1.5 the entropy rate falls by 4 % with a smaller regulator than is used here
NETWORK = 0.03  # a network of thousands of units lies lower by so much, and scatters
FINITE = 2.0  # networks of N units of rank r N have less, by this times (r N)^(-2/3): read off networks of 500 to 2000
LOOKS = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"))
NAMES = ("dimension D / N of the attractor", "entropy rate h / N")


def _theory(solved: Ensemble, ensemble: Ensemble, g: float, paths: int) -> LyapunovDistribution:
    period, points = (64.0, 160) if g < 2 else (32.0, 80)  # near the onset activity is slow
    state = stationary(solved, Tanh())
    return lyapunov_distribution(
        state, ensemble, Tanh(), key=jax.random.key(0), num_paths=paths, period=period, points=points
    )


def _sampled(ensemble: Ensemble, sizes: Sizes, key: PRNGKeyArray) -> list[LyapunovSpectrum]:
    def one(key):
        couplings, start, tangents = jax.random.split(key, 3)
        net = RateNetwork(ensemble.sample(sizes.units, key=couplings), Tanh())
        x0 = jax.random.normal(start, (sizes.units,), net.dtype)
        num = round(0.12 * sizes.units)
        return lyapunov_spectrum(
            net, x0, num_exponents=num, duration=sizes.duration, discard=60.0, dt=0.1, key=tangents, progress=False
        )

    return [one(key) for key in jax.random.split(key, sizes.samples)]


def _rows(
    name: str,
    found: LyapunovDistribution,
    sampled: list[LyapunovSpectrum],
    n: int,
    rank: float,
    published=(),
    within=PATHS,
):
    theory = float(found.kaplan_yorke()), float(found.entropy_rate())
    measured = [[float(f(s.exponents)) / n for s in sampled] for f in (kaplan_yorke_dimension, entropy_rate)]
    rows = []
    for k, (quantity, value, values) in enumerate(zip(NAMES, theory, measured, strict=True)):
        rows.append(
            Comparison(
                f"{quantity}, {name}",
                published=published[0][k] if published else None,
                theory=value,
                sample=float(np.mean(values)),
                sample_error=standard_error(np.array(values)),
                tolerance=within * value,
                allowance=FINITE * (rank * n) ** (-2 / 3) * value * (k + 1) * 2,
                note="published: theory on one set of paths" if published else "",
            )
        )
        if published:
            rows.append(
                Comparison(
                    f"{quantity}, {name}, one network",
                    published=published[1][k],
                    theory=value,
                    tolerance=NETWORK * value * (1 + k),
                    note="published: one network of 4096 units or more",
                )
            )
    return rows


def _draw(cases: dict[str, tuple[LyapunovDistribution, list[LyapunovSpectrum]]], n: int) -> plotting.Axes:
    ax = plotting.figure(3.7, 2.8)
    for (name, (found, sampled)), (color, marker) in zip(cases.items(), LOOKS, strict=False):
        share = np.linspace(0, 0.12, 121)
        plotting.profile(share, np.asarray(found.quantile(jnp.asarray(1 - share))), ax, color=color, label=name)
        exponents = np.mean([np.asarray(s.exponents) for s in sampled], axis=0)
        picked = np.arange(0, len(exponents), max(len(exponents) // 24, 1))
        plotting.samples((picked + 0.5) / n, exponents[picked], ax, color=color, marker=marker)
    ax.axhline(0, color=BLACK, lw=0.5)
    ax.set(xlabel="share of larger exponents", ylabel="Lyapunov exponent τ")
    plotting.legend(ax)
    return ax


def draw_strengths(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    cases, rows = {}, []
    for i, g in enumerate(sizes.strengths):
        found = _theory(IID(g), IID(g), g, sizes.paths)
        sampled = _sampled(IID(g), sizes, jax.random.fold_in(key, i))
        cases[f"g = {g:g}"] = found, sampled
        rows += _rows(f"g = {g:g}", found, sampled, sizes.units, 1.0, PUBLISHED[g], ONSET if g < 2 else PATHS)
    caption = (
        f"Largest Lyapunov exponents of networks with independent weights: theory (lines) and the mean of "
        f"{sizes.samples} networks of {sizes.units} units (points)."
    )
    return Figure(_draw(cases, sizes.units), caption, rows)


def draw_ranks(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    g = 3.0
    ensembles = {
        "PR^D = 1, g = 3": (IID(g), RandomModes.of_rank(g, 1.0), 1.0),
        "PR^D = 1/4, g = 3": (IID(g), RandomModes.of_rank(g, 0.25), 0.25),
        "shift, γ = 2, α = 1": (DeepHebbian(1.0, 0.0, (2.0,)),) * 2 + (1.0,),
    }
    cases, rows = {}, []
    for i, (name, (solved, ensemble, rank)) in enumerate(ensembles.items()):
        found = _theory(solved, ensemble, g, sizes.paths)
        sampled = _sampled(ensemble, sizes, jax.random.fold_in(key, i))
        cases[name] = found, sampled
        rows += _rows(name, found, sampled, sizes.units, rank)
        values = found.kaplan_yorke(), found.entropy_rate()
        for quantity, value, (mean, error) in zip(NAMES, values, REFERENCE[name], strict=True):
            rows.append(
                Comparison(
                    f"{quantity}, {name}, one network",
                    published=mean,
                    theory=float(value),
                    tolerance=ERRORS * error,
                    note="reference: an independent program, 1000 or 2000 units",
                )
            )
    caption = (
        "As above for random modes of one strength and two effective ranks, whose single units and largest exponent "
        "are the same for N to infinity, and for the shift of a sequence. No theory of these is published."
    )
    return Figure(_draw(cases, sizes.units), caption, rows)


PAPER = Paper(
    number="2006.02427",
    subject="Lyapunov spectra of chaotic networks: dimension and entropy rate of the attractor",
    choices=(
        "The published numbers, of theory and of networks, are those stored in the repository of D. G. Clark, Lyapunov "
        "spectrum of random neural networks (davidclark1/rnn-lyapunov). Small networks have smaller attractors: the "
        "edge of the spectrum is blurred by (rank)^(-2/3), and allowances follow this."
    ),
    figures={"strengths": draw_strengths, "ranks": draw_ranks},
    quick=QUICK,
    full=FULL,
)
