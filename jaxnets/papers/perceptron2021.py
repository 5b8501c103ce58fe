"""The binary perceptron, Huang 2021 (arXiv 2111.13302): entropy and its end, messages, isolated solutions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import learning, plotting
from ..learning import BinaryPerceptron
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper

PRINTED = 6e-4  # the rounding of .833, the capacity of Krauth and Mezard


@dataclass(frozen=True)
class Sizes:
    weights: int
    samples: int
    loads: int  # points of a line


QUICK = Sizes(weights=500, samples=6, loads=41)
FULL = Sizes(weights=4000, samples=24, loads=201)
SAMPLED = (0.3, 0.5, 0.7)
DISTANT = (0.3, 0.5, 0.8)
COLORS, STYLES = (BLUE, VERMILLION, GREEN), ("-", "--", "-.")


def draw_entropy(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    """Entropy against load: theory, and messages of samples."""
    loads = np.linspace(0.01, 1.0, sizes.loads)
    states = [BinaryPerceptron(alpha).saddle() for alpha in loads]
    capacity, limit = BinaryPerceptron(0.5).capacity(), BinaryPerceptron(0.5).stability_limit()
    rows = [
        Comparison("capacity at κ = 0", published=0.833, theory=float(capacity.value), tolerance=PRINTED),
    ]
    found, n = np.full((len(SAMPLED), sizes.samples), np.nan), sizes.weights
    for i, alpha in enumerate(SAMPLED):
        signs = jax.random.rademacher(jax.random.fold_in(key, i), (sizes.samples, round(alpha * n), n), jnp.int8)
        for k, xi in enumerate(np.asarray(signs)):
            messages = learning.amp(xi)
            found[i, k] = messages.entropy if messages.converged else np.nan
        rows.append(
            Comparison(
                f"entropy at α = {alpha:g}",
                theory=float(BinaryPerceptron(alpha).entropy().value),
                sample=float(np.mean(found[i])),
                sample_error=standard_error(found[i]),
                note=f"messages at N = {n}",
            )
        )
    ax = plotting.figure(3.6, 2.7)
    plotting.profile(loads, np.array([state.entropy for state in states]), ax, color=BLUE, label="entropy s(α)")
    stable = np.array([state.stability for state in states])
    plotting.profile(loads, stable, ax, color=VERMILLION, style="--", label="stability Λ")
    errors = np.array([standard_error(row) for row in found])
    plotting.samples(np.array(SAMPLED), np.mean(found, 1), ax, error=errors, label="messages")
    plotting.profile(loads[[0, -1]], np.zeros(2), ax, color=BLACK, style=":", label=None)
    ax.set(xlabel="load α = P / N", ylabel="entropy, stability")
    plotting.legend(ax)
    caption = (
        "Entropy of the solutions of a binary perceptron, κ = 0, and its stability: lines from the saddle point, marks "
        f"from messages of {sizes.samples} samples of {n} weights. The entropy vanishes at α = {capacity.value:.4f}, "
        f"and the state would lose its stability at α = {limit.value:.4f}."
    )
    return Figure(ax, caption, rows)


def draw_distance(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    """Entropy of solutions at a distance from a typical one."""
    ax, rows = plotting.figure(3.6, 2.7), []
    distances = np.geomspace(0.003, 0.4, sizes.loads // 3)
    for alpha, color, style in zip(DISTANT, COLORS, STYLES, strict=True):
        perceptron = BinaryPerceptron(alpha)
        curve = [perceptron.distance_entropy(d) for d in distances]
        values = np.array([point.entropy if point.converged else np.nan for point in curve])
        plotting.profile(distances, values, ax, color=color, style=style, label=f"α = {alpha:g}")
        state, d = perceptron.saddle(), 1e-3
        law = -d * np.log(d) - (1 - d) * np.log1p(-d) - 2 * alpha * state.margin_density * 0.4775354 * np.sqrt(d)
        rows.append(
            Comparison(
                f"largest entropy at a distance, α = {alpha:g}",
                published=float(state.entropy),
                theory=float(perceptron.distance_entropy((1 - float(state.overlap)) / 2).entropy),
                tolerance=1e-6,
                note="reference value: the entropy of all solutions",
            )
        )
        near = perceptron.distance_entropy(d)
        if near.converged:  # at large loads no symmetric state is so near
            rows.append(
                Comparison(
                    f"entropy at the distance .001, α = {alpha:g}",
                    published=float(law),
                    theory=float(near.entropy),
                    tolerance=1e-3,
                    note="reference value: the law of small distances",
                )
            )
    plotting.profile(distances[[0, -1]], np.zeros(2), ax, color=BLACK, style=":", label=None)
    ax.set(xlabel="distance d from a typical solution", ylabel="entropy s(d)", xscale="log")
    plotting.legend(ax)
    caption = (
        "Solutions at a distance d from a typical one, κ = 0: none where s < 0, so that each solution is isolated."
    )
    return Figure(ax, caption, rows)


PAPER = Paper(
    number="2111.13302",
    subject="The binary perceptron: entropy, stability, messages of samples, isolation of solutions",
    choices="Loads and sizes of samples are chosen here; patterns are binary, and the margin is 0.",
    figures={"entropy": draw_entropy, "distance": draw_distance},
    quick=QUICK,
    full=FULL,
)
