"""`jaxnets learn perceptron`: the entropy of a binary perceptron, its ends, and samples of three sizes."""

from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from .. import __version__, learning, plotting
from .._progress import moving
from ..learning import BinaryPerceptron
from .outputs import MAKER, check_replaceable, made_by, replacing, table

FIGURE, STORE = "learn.png", "learn.zarr"
LOADS, SAMPLED, SAMPLES = np.linspace(0.02, 1.0, 50), (0.3, 0.5, 0.7), 6


def run(n: int, seed: int, out: Path) -> None:
    """Sizes are n / 4, n / 2 and n."""
    check_replaceable(out, (FIGURE, STORE))
    states = [BinaryPerceptron(alpha).saddle() for alpha in LOADS]
    capacity, limit = BinaryPerceptron(0.5).capacity(), BinaryPerceptron(0.5).stability_limit()
    sizes = [max(8, n // part) for part in (4, 2, 1)]
    found = np.full((len(sizes), len(SAMPLED), SAMPLES), np.nan)
    with moving(tqdm(total=found.size, unit="sample", delay=0.1)) as bar:
        for place in np.ndindex(found.shape):
            rng = np.random.default_rng((seed, *place))
            size, alpha = sizes[place[0]], SAMPLED[place[1]]
            messages = learning.amp(rng.choice(np.array([-1, 1], np.int8), (round(alpha * size), size)))
            found[place] = messages.entropy if messages.converged else np.nan
            bar.update()
    data = xr.Dataset(
        {
            "entropy": ("load", np.array([state.entropy for state in states])),
            "stability": ("load", np.array([state.stability for state in states])),
            "entropy_of_messages": (("size", "sampled_load", "sample"), found),
        },
        {"load": LOADS, "size": sizes, "sampled_load": list(SAMPLED)},
        {"capacity": float(capacity.value), "stability_limit": float(limit.value), "seed": seed} | made_by("learn"),
    )
    with replacing(out, (FIGURE, STORE)) as folder:
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    rows = [("capacity", f"{capacity.value:.6f}"), ("end of stability", f"{limit.value:.6f}")]
    mean, error = _means(data)
    for k, alpha in enumerate(SAMPLED):
        rows.append((f"entropy at alpha = {alpha:g}", f"{BinaryPerceptron(alpha).entropy().value:.5f}"))
        rows += [(f"  messages, N = {size}", f"{mean[i, k]:.4f} +- {error[i, k]:.4f}") for i, size in enumerate(sizes)]
    print(table(f"binary perceptron, kappa = 0, {SAMPLES} samples of each size", rows))
    print(f"wrote {out / FIGURE} and {out / STORE}")


def _means(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Over samples, with standard errors."""
    values = data.entropy_of_messages.values
    return values.mean(-1), values.std(-1, ddof=1) / np.sqrt(values.shape[-1])


def _draw(data: xr.Dataset) -> plotting.Axes:
    ax = plotting.figure(4.2, 3.2)
    plotting.profile(LOADS, data.entropy.values, ax, color=plotting.BLUE, label="entropy")
    plotting.profile(LOADS, data.stability.values, ax, color=plotting.VERMILLION, style="--", label="stability Λ")
    for mean, error, size, marker in zip(*_means(data), data["size"].values, "os^", strict=True):
        plotting.samples(np.array(SAMPLED), mean, ax, error=error, marker=marker, label=f"messages, N = {size}")
    plotting.level(data.attrs["capacity"], ax, label="capacity")
    ax.set(xlabel="load α = P / N", ylabel="entropy, stability")
    plotting.legend(ax)
    return ax
