"""New axes and their labels, and the checks of what is drawn into them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._arguments import host_array, require

_LONGEST_NAME = 16  # letters, a fifth of the width of a figure


def checked_curve(name: str, x: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The checked points of a curve; NaN leaves a gap."""
    x = host_array(name, x, (None,))
    return x, host_array("values", values, x.shape)


def checked_errors(error: ArrayLike | None, values: np.ndarray) -> np.ndarray | None:
    """The checked standard errors, if there are any; NaN where they are not known."""
    if error is None:
        return None
    error = host_array("error", error, values.shape)
    require("error", error, lambda e: np.isnan(e) | (e >= 0), ">= 0, or NaN where it is not known")
    return error


def checked_map(x: ArrayLike, y: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The checked places and values of a map; NaN leaves a gap."""
    x, y = checked_places("x", x), checked_places("y", y)
    return x, y, host_array("values", values, (len(y), len(x)))


def checked_places(name: str, x: ArrayLike) -> np.ndarray:
    """The checked places of cells or pixels along an axis."""
    x = host_array(name, x, (None,))
    require(name, x, np.isfinite, "finite")
    if not len(x):
        raise ValueError(f"`{name}` must not be empty")
    return x


def new_axes(width: float, height: float) -> Axes:
    """Axes in a new figure of pyplot's, which notebooks show."""
    return bare(plt.subplots(figsize=(width, height), layout="constrained")[1])


def bare(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def figure_of(ax: Axes) -> Figure:
    fig = ax.get_figure(root=True)
    assert fig is not None
    return fig


def complex_plane(ax: Axes | None) -> Axes:
    ax = new_axes(5.6, 5.2) if ax is None else ax
    ax.set(xlabel="Re λ", ylabel="Im λ")
    ax.set_aspect("equal", adjustable="box")
    return ax


def real_line(ax: Axes | None) -> Axes:
    ax = new_axes(5.6, 3.6) if ax is None else ax
    ax.set(xlabel="λ", ylabel="density")
    return ax


def activity(ax: Axes | None, x: str, y: str) -> Axes:
    ax = new_axes(5.6, 2.8) if ax is None else ax
    ax.set(xlabel=x, ylabel=y)
    return ax


def named_rows(ax: Axes, names: Sequence[str] | None) -> Axes:
    """Names beside rows 1, 2, ..., every second or third where there are many; long ones are cut."""
    if names is None:
        return ax
    size = 7.0  # points; a line takes 1.3 of it
    room = max(1, int(72 * ax.get_window_extent().height / figure_of(ax).dpi / (1.3 * size)))
    rows = list(range(1, len(names) + 1, -(-len(names) // room)))
    shown = [names[row - 1] for row in rows]
    cut = [name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…" for name in shown]
    ax.set_yticks(rows, cut, fontsize=size)
    return ax


def faintness(points: int) -> tuple[float, float]:
    """Area and opacity of each of so many points, for an even grey in sum."""
    return float(np.clip(4e4 / max(points, 1), 1.5, 12.0)), float(np.clip(6e3 / max(points, 1), 0.15, 0.7))
