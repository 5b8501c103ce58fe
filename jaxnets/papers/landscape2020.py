"""Weight space by least structured models, Zou & Huang (arXiv 2007.08093): what a pairwise model of solutions shows."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .. import learning, plotting
from ..plotting import BLACK, BLUE, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper

SHRINKAGE = 1e-3  # of moments, which are those of constraints


@dataclass(frozen=True)
class Sizes:
    weights: int
    patterns: int
    sets: int
    fits: int  # sets of samples for errors
    samples: int


QUICK = Sizes(weights=11, patterns=4, sets=4, fits=12, samples=2000)
FULL = Sizes(weights=15, patterns=5, sets=20, fits=60, samples=8000)


def draw_distances(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    """Chances of distances between solutions, of data and of pairwise models, and entropies of each order."""
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    n, rows = sizes.weights, []
    entropies = np.full((sizes.sets, 3), np.nan)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for k in range(sizes.sets):
        weights = np.zeros((0, n))
        while len(weights) < 20:
            found = learning.solutions(rng.choice([-1, 1], (sizes.patterns, n)))
            weights = found.weights.astype(float)
        means, pairs = weights.mean(0), weights.T @ weights / len(weights)
        fit = learning.maximum_entropy(means, pairs, shrinkage=SHRINKAGE)
        p = (1 + (1 - SHRINKAGE) * means) / 2
        independent = -np.mean(p * np.log(p) + (1 - p) * np.log1p(-p))
        entropies[k] = independent, fit.model.exact().entropy, found.entropy
        drawn.append((_of_data(weights), _of_model(weights, fit.model)))
    data, model = np.mean(np.array(drawn), 0)
    for first, second, order in ((0, 1, "independent weights and pairs"), (1, 2, "pairs and all solutions")):
        rows.append(
            Comparison(
                f"least difference of the entropies of {order}",
                theory=0.0,
                sample=float(min(0.0, np.min(entropies[:, first] - entropies[:, second]))),
                allowance=1e-12,
                note="each order of moments lowers the entropy: the sample is 0 or negative",
            )
        )
    rows.append(
        Comparison(
            "mean distance of the model over that of the solutions",
            theory=1.0,
            sample=float(np.arange(n + 1) @ model / (np.arange(n + 1) @ data)),
            allowance=2 * SHRINKAGE,
            note="a moment that is fitted",
        )
    )
    ax = plotting.figure(3.6, 2.7)
    plotting.profile(np.arange(n + 1), model, ax, color=VERMILLION, label="pairwise model")
    plotting.samples(np.arange(n + 1), data, ax, color=BLUE, label="solutions")
    ax.set(xlabel="distance from a solution", ylabel="probability")
    plotting.legend(ax)
    caption = (
        f"Distances between solutions of binary perceptrons of {n} weights and {sizes.patterns} patterns, mean over "
        f"{sizes.sets} sets: all solutions by enumeration (marks), and pairwise models with their moments (line). Mean "
        f"entropies of independent weights, of pairs and of all solutions: {entropies.mean(0).round(4).tolist()}."
    )
    return Figure(ax, caption, rows)


def _of_data(weights: Float[np.ndarray, "Z N"]) -> Float[np.ndarray, " N+1"]:
    n = weights.shape[1]
    distances = (n - weights @ weights.T) / 2
    return np.bincount(distances.astype(int).ravel(), minlength=n + 1) / distances.size


def _of_model(weights: Float[np.ndarray, "Z N"], model: learning.Ising) -> Float[np.ndarray, " N+1"]:
    """From solutions to configurations of the model."""
    n = weights.shape[1]
    s = 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    log = ((s @ np.asarray(model.J)) * s).sum(1) / 2 + s @ np.asarray(model.h)
    chances = np.exp(log - float(model.exact().log_z))
    distances = ((n - s @ weights.T) / 2).astype(int)
    return np.bincount(distances.ravel(), np.repeat(chances, len(weights)), n + 1) / len(weights)


def draw_errors(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    """Errors of pseudo-likelihood fits of a spin glass over those of the formula."""
    n, betas = 8, (0.3, 0.6, 1.0)
    ratios: list[list[float]] = []
    rng, rows = np.random.default_rng(np.asarray(jax.random.key_data(key))), []
    upper = np.triu_indices(n, 1)
    s = 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    for beta in betas:
        J = np.triu(rng.normal(size=(n, n)) * beta / np.sqrt(n), 1)
        model = learning.Ising(J + J.T)
        expected, _ = learning.pseudo_likelihood_error(model, sizes.samples)
        log = ((s @ (J + J.T)) * s).sum(1) / 2
        chances = np.exp(log - np.max(log))
        found: list[float] = []
        for _ in range(sizes.fits):
            drawn = s[rng.choice(len(s), sizes.samples, p=chances / chances.sum())]
            fit = learning.pseudo_likelihood(drawn)
            found.append(float(np.mean((np.asarray(fit.model.J - model.J)[upper] / np.asarray(expected)[upper]) ** 2)))
        ratios.append(found)
        rows.append(
            Comparison(
                f"squared errors of couplings over the formula, β = {beta:g}",
                theory=1.0,
                sample=float(np.mean(found)),
                sample_error=standard_error(np.array(found)),
                allowance=20 / sizes.samples,
                note=f"{sizes.samples} samples of {n} spins",
            )
        )
    ax = plotting.figure(3.4, 2.6)
    errors = np.array([standard_error(np.array(found)) for found in ratios])
    plotting.samples(np.array(betas), np.mean(np.array(ratios), 1), ax, error=errors, label="fits")
    plotting.profile(np.array(betas), np.ones(len(betas)), ax, color=BLACK, label="formula")
    ax.set(xlabel="strength β of couplings", ylabel="squared error over its theory", ylim=(0, 2))
    plotting.legend(ax)
    caption = (
        f"Couplings of spin glasses of {n} spins by pseudo-likelihood from {sizes.samples} samples: mean squared "
        f"errors of {sizes.fits} fits (marks), in units of the formula (line)."
    )
    return Figure(ax, caption, rows)


PAPER = Paper(
    number="2007.08093",
    subject="Weight space by least structured models: distances between solutions, entropies, errors of fits",
    choices="Sizes, loads and spin glasses are chosen here; the paper's own settings are not known.",
    figures={"distances": draw_distances, "errors": draw_errors},
    quick=QUICK,
    full=FULL,
)
