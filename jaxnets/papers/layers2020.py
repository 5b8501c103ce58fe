"""Weakly correlated synapses in deep networks, 2020 (arXiv 2006.11569): dimension along depth, and outliers."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .. import plotting
from ..layers import Layers
from ..plotting import BLUE, GREEN, VERMILLION
from ..transfer import Tanh, Transfer, sign
from .comparison import Comparison, standard_error
from .paper import Figure, Paper


@dataclass(frozen=True)
class Sizes:
    units: int
    networks: int
    depth: int


QUICK = Sizes(units=300, networks=8, depth=4)
FULL = Sizes(units=1000, networks=20, depth=8)

STRENGTHS = (0.0, 0.5, 1.0)  # r
COLORS, STYLES, MARKERS = (BLUE, GREEN, VERMILLION), ("-", "--", "-."), ("o", "^", "s")
UNITS: dict[str, tuple[Transfer, float]] = {"tanh, g = 1.5": (Tanh(), 1.5), "sign": (sign(), 1.0)}


def _networks(layers: Layers, sizes: Sizes, key: PRNGKeyArray) -> list:
    """Means and covariances in networks with weights that are signs, over white inputs."""
    keys = jax.random.split(key, sizes.networks)
    return [layers.sample(sizes.units, sizes.depth, key=one, binary=True).closure() for one in keys]


def draw_dimension(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows, depth = [], np.arange(1, sizes.depth + 1)
    panels = plotting.table(1, 2, width=3.5, height=2.7)[0]
    for ax, (name, (transfer, g)) in zip(panels, UNITS.items(), strict=True):
        for i, r in enumerate(STRENGTHS):
            layers = Layers(transfer, g, r)
            theory = np.asarray(layers.recursion(sizes.depth).dimension)
            sampled = _networks(layers, sizes, jax.random.fold_in(key, i))
            found = np.array([np.asarray(one.statistics.dimension) for one in sampled])
            plotting.profile(depth, theory, ax, color=COLORS[i], style=STYLES[i], label=f"r = {r:g}")
            error = found.std(axis=0, ddof=1) / np.sqrt(sizes.networks)
            plotting.samples(depth, found.mean(axis=0), ax, error=error, color=COLORS[i], marker=MARKERS[i])
            for layer in (0, sizes.depth - 1):
                rows.append(
                    Comparison(
                        f"dimension PR / N in layer {layer + 1}, {name}, r = {r:g}",
                        theory=float(theory[layer]),
                        sample=float(found[:, layer].mean()),
                        sample_error=standard_error(found[:, layer]),
                        allowance=float((2 if layer else 0.5) * theory[layer] / np.sqrt(sizes.units)),
                        note=f"{sizes.networks} networks of {sizes.units} units",
                    )
                )
        ax.set(xlabel="layer", ylabel="dimension PR / N", ylim=(0, 0.8), xticks=depth)
        ax.set_title(name, fontsize=8, loc="right")
        plotting.legend(ax, num_columns=3)
    rows += _exact_rows()
    caption = (
        "Dimension of activity along depth, for correlations r / √N of two weights from one unit: theory for N → ∞ "
        f"(lines) and {sizes.networks} networks of {sizes.units} units (marks, with Gaussian inputs in each layer). "
        "Signs keep a finite dimension at any depth."
    )
    return Figure(panels[0], caption, rows)


def _exact_rows() -> list[Comparison]:
    """Layers of signs: the closed form at any depth."""
    a, rows = 4 / np.pi**2, []
    for r in (0.0, 1.0):
        far = Layers(sign(), 1.0, r).recursion(40).dimension[-1]
        exact = 1 / (1 + (1 + r**2) * a / (1 - a))
        rows.append(
            Comparison(
                f"dimension far down, sign, r = {r:g}",
                published=float(exact),
                theory=float(far),
                tolerance=1e-8,
                note="1 / (1 + (1 + r²) a / (1 − a)), a = 4 / π²: a formula",
            )
        )
    return rows


def draw_outliers(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    layers, depth = Layers(Tanh(), 1.5, 1.0), min(sizes.depth, 4)
    numbers = np.unique(np.geomspace(sizes.units / 4, sizes.units, 4).round().astype(int))
    theory = np.array([np.asarray(layers.outliers(int(n), depth)) for n in numbers])
    ax, rows = plotting.figure(3.5, 2.7), []
    largest = []
    for k, n in enumerate(numbers):
        smaller = Sizes(units=int(n), networks=sizes.networks, depth=depth)
        largest.append(_largest(_networks(layers, smaller, jax.random.fold_in(key, k))))
        # The first layer has corrections of 1 / sqrt(N), those after it as many of their own.
        for layer in range(2):
            values = largest[-1][:, layer]
            rows.append(
                Comparison(
                    f"largest eigenvalue of layer {layer + 1}, tanh, g = 1.5, r = 1, N = {n}",
                    theory=float(theory[k, layer, 0]),
                    sample=float(values.mean()),
                    sample_error=standard_error(values),
                    allowance=float((0.7, 2 * theory[k, layer, 0])[layer] / np.sqrt(n)),
                )
            )
    found = np.array(largest)
    for layer, (color, style, marker) in enumerate(zip(COLORS[:2], STYLES, MARKERS, strict=False)):
        error = found[:, :, layer].std(axis=1, ddof=1) / np.sqrt(sizes.networks)
        plotting.profile(numbers, theory[:, layer, 0], ax, color=color, style=style, label=f"layer {layer + 1}")
        plotting.samples(numbers, found[:, :, layer].mean(axis=1), ax, error=error, color=color, marker=marker)
    ax.set(xlabel="units N", ylabel="largest eigenvalue")
    plotting.legend(ax, num_columns=2)
    caption = (
        "Largest eigenvalue of the covariance in the first two layers, tanh, g = 1.5, r = 1: theory (lines) and "
        f"{sizes.networks} networks each (marks). It grows as √N: all that correlated weights take from the dimension."
    )
    return Figure(ax, caption, rows)


def _largest(closures: list) -> Float[np.ndarray, "networks depth"]:
    return np.array([np.linalg.eigvalsh(np.asarray(one.covariances))[:, -1] for one in closures])


PAPER = Paper(
    number="2006.11569",
    subject="Weakly correlated synapses promote dimension reduction in deep networks",
    choices=(
        "The paper's numbers are not at hand: the parameters are chosen here, and theory, derived here for any "
        "transfer function, is compared with networks and with the exact form for signs. Weights are signs, which "
        "removes the scatter of the shared part. Layers after the first lose about 1 / √N of their covariances."
    ),
    figures={"dimension": draw_dimension, "outliers": draw_outliers},
    quick=QUICK,
    full=FULL,
)
