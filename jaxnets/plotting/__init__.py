"""Figures: each function draws its data into `ax` (a new one if None) and returns it, so that calls stack.

This module knows no physics: the arguments are arrays. `color`, `style` and `label` belong to the added data; `label`
is their entry in the legend, none if None. Layers have a fixed order from back to front, whatever the order of calls:
density maps, points, curves, marks. All raise `ValueError` for arrays of the wrong kind or shape, before anything is
drawn; NaN leaves a gap where the docstring says so. This is the one module that imports matplotlib. A new figure is one
more function that draws into `ax` with `zorder` of its layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Complex, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.spines import Spine
from matplotlib.ticker import LogLocator
from matplotlib.typing import ColorType

from .._arguments import host_array, host_complex, nonnegative, require
from .._public import public
from . import axes as _axes

# Okabe & Ito (2008): told apart with every kind of colour vision, and in grey.
BLUE, VERMILLION, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#8E4585", "#222222"

# For densities. Every colour can be told from white, the lightness falls all along, and points are legible on the last.
QUIET = LinearSegmentedColormap.from_list("quiet", ["#fdf3c8", "#f9dc6f", "#e8a013", "#c87800"])

# For curves in the order of a parameter: from dark to light, and still legible on white.
COLD = LinearSegmentedColormap.from_list("cold", ["#1b1e4b", "#2166a5", "#1fa187", "#9bc53d"])
WARM = LinearSegmentedColormap.from_list("warm", ["#3b0f4f", "#a3265f", "#e0592a", "#f2b134"])

# For areas of different kinds, which curves are drawn over: the colours of the same scheme, paler.
TINTS = ("#e6e6e6", "#7fb8d8", "#eaae7f", "#7fceb9", "#c6a1c2", "#f3df9a")

_MAP, _POINTS, _CURVES, _MARKS = 1.0, 2.0, 3.0, 4.0
# Of a map of states: white lines between more rows than these would cover the cells, and names of more columns touch.
_SEPARATE_ROWS, _WIDE_COLUMNS = 40, 12
_PALE_TO_BLACK = LinearSegmentedColormap.from_list("pale to black", ["#ececec", "#000000"])


def figure(width: float = 5.6, height: float = 5.2) -> Axes:
    """Axes in a new figure of that `width` and `height` in inches, for a file: pyplot opens no window for it."""
    return _axes.bare(Figure(figsize=(width, height), layout="constrained").add_subplot())


def panels(num_panels: int, width: float = 5.6, height: float = 2.6) -> list[Axes]:
    """`num_panels` axes one below the other in a new figure, each of `width` x `height` inches, for a file."""
    fig = Figure(figsize=(width, num_panels * height), layout="constrained")
    return [_axes.bare(ax) for ax in fig.subplots(num_panels, squeeze=False)[:, 0]]


def table(num_rows: int, num_columns: int, width: float = 3.4, height: float = 2.8) -> list[list[Axes]]:
    """`num_rows` rows of `num_columns` axes in a new figure, each of `width` x `height` inches, for a file."""
    fig = Figure(figsize=(num_columns * width, num_rows * height), layout="constrained")
    return [[_axes.bare(ax) for ax in row] for row in fig.subplots(num_rows, num_columns, squeeze=False)]


def printed_size() -> AbstractContextManager[None]:
    """Within it, figures are drawn and saved with the type of a journal, 7 to 8 points, to be printed at their size."""
    return plt.rc_context({"font.size": 8, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7})


def eigenvalues(
    values: Complex[np.ndarray, "*batch n"],
    ax: Axes | None = None,
    *,
    color: str = BLUE,
    label: str | None = None,
) -> Axes:
    """`values` as points in the complex plane, smaller and fainter the more there are, rasterised in vector formats."""
    values = np.ravel(host_complex("values", values))
    ax = _axes.complex_plane(ax)
    size, alpha = _axes.faintness(values.size)
    # For the whole of a figure of 5.6 inches; in a small panel the same number of points takes less of its area.
    shrink = min(1.0, ax.get_window_extent().width / _axes.figure_of(ax).dpi / 4.0) ** 2
    ax.scatter(
        np.real(values),
        np.imag(values),
        s=max(shrink * size, 2.0),
        c=color,
        alpha=alpha,
        linewidths=0,
        rasterized=True,
        zorder=_POINTS,
        label=label,
    )
    return ax


def boundary(
    curves: Iterable[Complex[np.ndarray, " points"]],
    ax: Axes | None = None,
    *,
    color: str = VERMILLION,
    style: str = "-",
    label: str | None = None,
) -> Axes:
    """Curves in the complex plane, all in one style and under one entry of the legend."""
    ax = _axes.complex_plane(ax)
    for i, curve in enumerate(curves):
        curve = host_complex("curves", curve, (None,))
        entry = label if i == 0 else None
        ax.plot(np.real(curve), np.imag(curve), style, color=color, lw=1.4, zorder=_CURVES, label=entry)
    return ax


def density(
    x: Float[np.ndarray, " x"],
    y: Float[np.ndarray, " y"],
    values: Float[np.ndarray, "y x"],
    ax: Axes | None = None,
    *,
    label: str | None = "density",
) -> Axes:
    """A map of `values` at the points x + i y, under everything else, with a colour bar unless `label` is None.

    White is zero (and NaN). The colour scale is logarithmic, from the 1st to the 98th percentile of the positive values
    and over a decade at least: a faint ring shows beside a dense core, and an integrable divergence does not take the
    whole scale. The colour bar has an arrow where values lie beyond its end.
    """
    x, y, values = _axes.checked_map(x, y, values)
    ax = _axes.complex_plane(ax)
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        positive = np.ones(1)
    low, top = np.percentile(positive, [1, 98])
    spare = max(10 * low / top, 1.0) ** 0.5  # flat densities have the middle of the scale
    low, top = low / spare, top * spare
    shown = np.ma.masked_where(~(np.isfinite(values) & (values > 0)), values)
    mesh = ax.pcolormesh(
        x, y, shown, cmap=QUIET, norm=LogNorm(low, top), shading="gouraud", rasterized=True, zorder=_MAP
    )
    if label is not None:
        # An inset keeps to the height of axes whose aspect is fixed.
        place = ax.inset_axes((1.03, 0.0, 0.02, 1.0))
        below, above = positive.min() < low, positive.max() > top
        extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        bar = _axes.figure_of(ax).colorbar(
            mesh, cax=place, label=label, extend=extend[below, above], ticks=LogLocator(subs=(1, 2, 5)), format="{x:g}"
        )
        bar.minorticks_off()
        cast(Spine, bar.outline).set_visible(False)
    return ax


def marks(
    values: Complex[np.ndarray, " points"],
    ax: Axes | None = None,
    *,
    color: str = BLACK,
    label: str | None = None,
) -> Axes:
    """Open circles around `values` in the complex plane, to single points out; without any, `label` is left out."""
    values = host_complex("values", values, (None,))
    ax = _axes.complex_plane(ax)
    look = {"facecolors": "none", "edgecolors": color, "lw": 1.1, "zorder": _MARKS}
    ax.scatter(np.real(values), np.imag(values), s=42, label=label if values.size else None, **look)
    return ax


def histogram(
    values: Float[np.ndarray, "*batch n"],
    ax: Axes | None = None,
    *,
    mass: float = 1.0,
    num_bins: int = 100,
    color: str = BLUE,
    label: str | None = None,
) -> Axes:
    """Histogram of real `values` as a density on the line, in `num_bins` bins, with the integral `mass`."""
    values = np.ravel(host_array("values", values))
    require("values", values, np.isfinite, "finite")
    ax = _axes.real_line(ax)
    heights, limits = np.histogram(values, num_bins)
    heights = mass * heights / (max(values.size, 1) * np.diff(limits))
    ax.stairs(heights, limits, fill=True, color=color, alpha=0.35, zorder=_POINTS, label=label)
    return ax


def line(
    x: Float[np.ndarray, " x"],
    values: Float[np.ndarray, " x"],
    ax: Axes | None = None,
    *,
    color: str = VERMILLION,
    label: str | None = None,
) -> Axes:
    """A density on the real line, `values` at x; NaN leaves a gap."""
    x, values = _axes.checked_curve("x", x, values)
    ax = _axes.real_line(ax)
    ax.plot(x, values, color=color, lw=1.4, zorder=_CURVES, label=label)
    return ax


# --- activity


def raster(
    times: Float[np.ndarray, " time"],
    values: Float[np.ndarray, "time units"],
    ax: Axes | None = None,
    *,
    label: str | None = "rate",
    top: float | None = None,
    names: Sequence[str] | None = None,
) -> Axes:
    """Every unit as a row, whose colour is its value in time.

    From dark at -`top` to light at `top`, the largest of `values` if None; `values` are given at `times`. The `names`
    of units stand beside their rows, as many as there is room for.
    """
    times = _axes.checked_places("times", times)
    values = host_array("values", values, (len(times), None))
    ax = _axes.activity(ax, "time (τ)", "unit")
    if top is None:
        top = float(np.max(np.abs(values), where=np.isfinite(values), initial=0)) or 1.0
    units = np.arange(1, values.shape[1] + 1)
    mesh = ax.pcolormesh(
        times, units, values.T, cmap="cividis", vmin=-top, vmax=top, shading="nearest", rasterized=True, zorder=_MAP
    )
    if label is not None:
        place = ax.inset_axes((1.03, 0.0, 0.02, 1.0))
        bar = _axes.figure_of(ax).colorbar(mesh, cax=place, label=label, format="{x:.2g}", ticks=[-top, 0, top])
        cast(Spine, bar.outline).set_visible(False)
    return _axes.named_rows(ax, names)


def phases(
    x: Float[np.ndarray, " x"],
    y: Float[np.ndarray, " y"],
    values: Int[np.ndarray, "y x"],
    names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """A map of kinds at x and y: `values` are indices into `names`, and other values leave a gap.

    Each kind that occurs has one colour, and one entry of the legend.
    """
    x, y, values = _axes.checked_map(x, y, values)
    ax = _axes.activity(ax, "parameter", "parameter")
    colors = ListedColormap([TINTS[kind % len(TINTS)] for kind in range(len(names))])
    kinds = np.ma.masked_outside(values, 0, len(names) - 1)
    top = len(names) - 0.5
    ax.pcolormesh(x, y, kinds, cmap=colors, vmin=-0.5, vmax=top, shading="nearest", rasterized=True, zorder=_MAP)
    for kind, name in enumerate(names):
        if np.any(values == kind):
            ax.scatter([], [], marker="s", color=colors(kind), label=name)
    return ax


def autocovariance(
    lags: Float[np.ndarray, " lags"],
    values: Float[np.ndarray, " lags"],
    ax: Axes | None = None,
    *,
    error: Float[np.ndarray, " lags"] | None = None,
    color: ColorType = BLUE,
    style: str = "-",
    label: str | None = None,
) -> Axes:
    """C(tau), `values` at `lags`, with a band of two standard errors where `error` is known."""
    lags, values = _axes.checked_curve("lags", lags, values)
    error = _axes.checked_errors(error, values)
    ax = _axes.activity(ax, "lag τ", "autocovariance C(τ)")
    ax.axhline(0, color=BLACK, lw=0.5, zorder=_MAP)
    if error is not None and np.isfinite(error).any():
        ax.fill_between(lags, values - 2 * error, values + 2 * error, color=color, alpha=0.25, lw=0, zorder=_POINTS)
    ax.plot(lags, values, style, color=color, lw=1.4, zorder=_CURVES, label=label)
    return ax


def components(
    explained: Float[np.ndarray, " num"],
    ax: Axes | None = None,
    *,
    color: str = BLUE,
    label: str | None = None,
) -> Axes:
    """Parts of the variance `explained` by principal components, by rank, both axes logarithmic."""
    explained = host_array("explained", explained, (None,))
    ax = _axes.activity(ax, "principal component", "part of the variance")
    shown = explained > 1e-12 * np.max(explained, initial=0)  # below it, rounding
    ax.loglog(np.flatnonzero(shown) + 1, explained[shown], ".", ms=3, color=color, zorder=_POINTS, label=label)
    return ax


def dimension(
    x: Float[np.ndarray, " x"],
    values: Float[np.ndarray, " x"],
    ax: Axes | None = None,
    *,
    color: ColorType = BLUE,
    style: str = "-",
    label: str | None = None,
) -> Axes:
    """PR / N, `values`, against a parameter x of the network, on a logarithmic axis; NaN leaves a gap."""
    x, values = _axes.checked_curve("x", x, values)
    ax = _axes.activity(ax, "parameter", "dimension PR / N")
    ax.set_yscale("log")
    ax.plot(x, values, style, color=color, lw=1.4, ms=3.5, zorder=_CURVES, label=label)
    return ax


def profile(
    x: Float[np.ndarray, " x"],
    values: Float[np.ndarray, " x"],
    ax: Axes | None = None,
    *,
    color: ColorType = BLACK,
    style: str = "-",
    label: str | None = None,
) -> Axes:
    """A quantity, `values`, against another, x, both axes linear; NaN leaves a gap."""
    x, values = _axes.checked_curve("x", x, values)
    ax = _axes.activity(ax, "x", "y")
    ax.plot(x, values, style, color=color, lw=1.4, ms=3.5, zorder=_CURVES, label=label)
    return ax


# --- a quantity over parameters


def estimates(
    x: Float[np.ndarray, " x"],
    values: Float[np.ndarray, " x"],
    ax: Axes | None = None,
    *,
    error: Float[np.ndarray, " x"] | None = None,
    color: ColorType = BLUE,
    style: str = "o-",
    label: str | None = None,
) -> Axes:
    """A quantity, `values`, against a parameter x, with a band of two standard errors where `error` is known.

    NaN leaves a gap.
    """
    x, values = _axes.checked_curve("x", x, values)
    error = _axes.checked_errors(error, values)
    ax = _axes.activity(ax, "parameter", "quantity")
    if error is not None and np.isfinite(error).any():
        ax.fill_between(x, values - 2 * error, values + 2 * error, color=color, alpha=0.25, lw=0, zorder=_POINTS)
    ax.plot(x, values, style, color=color, lw=1.4, ms=3.5, zorder=_CURVES, label=label)
    return ax


def samples(
    x: Float[np.ndarray, " x"],
    values: Float[np.ndarray, " x"],
    ax: Axes | None = None,
    *,
    error: Float[np.ndarray, " x"] | None = None,
    color: ColorType = BLUE,
    marker: str = "o",
    label: str | None = None,
) -> Axes:
    """Measured values as open marks, which curves of theory do not hide, with bars of two standard errors.

    `values` at `x`, with their standard errors `error`; `marker` is one of matplotlib's.
    """
    x, values = _axes.checked_curve("x", x, values)
    error = _axes.checked_errors(error, values)
    ax = _axes.activity(ax, "parameter", "quantity")
    bars = None if error is None else 2 * error
    ax.errorbar(x, values, bars, fmt=marker, color=color, mfc="none", mew=0.9, ms=4, lw=0.9, zorder=_MARKS, label=label)
    return ax


def heat_map(
    x: Float[np.ndarray, " x"],
    y: Float[np.ndarray, " y"],
    values: Float[np.ndarray, "y x"],
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    label: str | None = None,
) -> Axes:
    """A quantity, `values`, over parameters x and y, a cell each, from dark to light between `limits`; NaN is hatched.

    With a colour bar unless `label` is None. The lightness of the scale rises all along, so that it can be read in grey
    and with every kind of colour vision.
    """
    x, y, values = _axes.checked_map(x, y, values)
    ax = _axes.activity(ax, "parameter", "parameter")
    known = values[np.isfinite(values)]
    low, high = limits or ((known.min(), known.max()) if known.size else (0.0, 1.0))
    ax.patch.set(facecolor="#eeeeee", hatch="////", edgecolor="#bbbbbb")
    mesh = ax.pcolormesh(
        x, y, values, cmap="cividis", vmin=low, vmax=high, shading="nearest", rasterized=True, zorder=_MAP
    )
    if label is not None:
        bar = _axes.figure_of(ax).colorbar(mesh, ax=ax, label=label, format="{x:.3g}")
        cast(Spine, bar.outline).set_visible(False)
    return ax


def corner(
    values: Float[np.ndarray, "s n"],
    names: Sequence[str],
    *,
    truth: Float[np.ndarray, " n"] | None = None,
    color: ColorType = BLUE,
    size: float = 1.5,
) -> list[list[Axes]]:
    """Samples of n parameters called `names`, each alone on the diagonal and each pair below it, in a new figure.

    `values` has a sample in each row. The diagonal shows 68 % and 95 % of the samples as darker and paler; `truth` are
    known values, as lines. Each panel has `size` inches.
    """
    values = host_array("values", values, (None, len(names)))
    require("values", values, np.isfinite, "finite")
    truth = None if truth is None else host_array("truth", truth, (len(names),))
    panels = table(len(names), len(names), size, size)
    for i, row in enumerate(panels):
        for j, ax in enumerate(row):
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                counts, edges = np.histogram(values[:, i], bins=40)
                ax.stairs(counts, edges, color=color, lw=1.2, zorder=_CURVES)
                for low, high, alpha in ((2.5, 97.5, 0.15), (16, 84, 0.3)):
                    ax.axvspan(*np.percentile(values[:, i], [low, high]), color=color, alpha=alpha, lw=0, zorder=_MAP)
                ax.set(yticks=[])
            else:
                area, opacity = _axes.faintness(4 * len(values))  # a panel is small
                ax.scatter(values[:, j], values[:, i], area / 2, color=color, alpha=opacity, lw=0, rasterized=True)
            for known, line in ((truth, ax.axvline), (truth if j < i else None, ax.axhline)):
                if known is not None:
                    place = known[j] if line == ax.axvline else known[i]
                    line(place, color=VERMILLION, lw=1, zorder=_MARKS)
            ax.set(xlabel=names[j] if i == len(names) - 1 else "", ylabel=names[i] if j == 0 and i > 0 else "")
            ax.tick_params(labelbottom=i == len(names) - 1, labelleft=j == 0 and i > 0)
    return panels


# --- states of threshold networks


def patterns(
    values: Float[np.ndarray, "k n"],
    names: Sequence[str],
    ax: Axes | None = None,
    *,
    unit_names: Sequence[str] | None = None,
) -> Axes:
    """Activities, `values` from 0 (pale grey) to 1 (black), of n units in k states, a column each, called `names`.

    The `unit_names` stand beside the rows, as many as there is room for.
    """
    values = host_array("values", values, (len(names), None))
    ax = _axes.activity(ax, "state", "unit")
    columns, units = np.arange(len(values)), np.arange(1, values.shape[1] + 1)
    ax.pcolormesh(columns, units, values.T, cmap=_PALE_TO_BLACK, vmin=0, vmax=1, rasterized=True, zorder=_MAP)
    ax.vlines(columns[1:] - 0.5, 0.5, len(units) + 0.5, color="white", lw=1.0, zorder=_POINTS)
    if len(units) <= _SEPARATE_ROWS:
        ax.hlines(units[1:] - 0.5, -0.5, len(columns) - 0.5, color="white", lw=0.5, zorder=_POINTS)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(0.5, len(units) + 0.5))
    ax.set_xticks(columns, names, fontsize=None if len(columns) <= _WIDE_COLUMNS else 7.0)
    return _axes.named_rows(ax, unit_names)


def graph(
    sizes: Float[np.ndarray, " k"],
    edges: Float[np.ndarray, "k k"],
    names: Sequence[str],
    ax: Axes | None = None,
    *,
    colors: Sequence[ColorType],
) -> Axes:
    """States on a circle, of areas `sizes`, with their `names` beside them and their `colors`.

    Arrows from a to b are as wide as edges[a, b], none goes from a state to itself.
    """
    sizes, edges = host_array("sizes", sizes, (len(names),)), host_array("edges", edges, (len(names),) * 2)
    for name, numbers in (("sizes", sizes), ("edges", edges)):
        require(name, numbers, nonnegative, "finite and >= 0")
    ax = _axes.new_axes(5.6, 3.4) if ax is None else ax
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(sizes)) / max(len(sizes), 1)
    points = np.column_stack([1.6 * np.cos(angles), np.sin(angles)])
    widths = edges / max(float(np.max(edges - np.diag(np.diag(edges)), initial=0)), 1.0)
    arrow = {"arrowstyle": "-|>,head_width=.2,head_length=.4", "connectionstyle": "arc3,rad=.15"}
    area = 30 + 900 * sizes / max(float(np.max(sizes, initial=0)), 1e-12)  # of a square around the disc, in points
    radii = np.sqrt(area) / 2
    for a, b in np.argwhere(edges > 0):
        if a != b:
            ends = {"shrinkA": radii[a] + 2, "shrinkB": radii[b] + 2}
            look = arrow | ends | {"lw": 0.4 + 2 * widths[a, b], "color": colors[a]}
            start, end = tuple(points[a]), tuple(points[b])
            ax.annotate("", end, start, arrowprops=look)
    ax.scatter(points[:, 0], points[:, 1], s=area, c=list(colors), alpha=0.85, lw=0, zorder=_POINTS)
    for point, angle, radius, name in zip(points, angles, radii, names, strict=True):
        beside = (radius + 9) * np.cos(angle), (radius + 9) * np.sin(angle)
        ax.annotate(name, tuple(point), beside, textcoords="offset points", ha="center", va="center", zorder=_MARKS)
    ax.set(xlim=(-2.4, 2.4), ylim=(-1.4, 1.4), aspect="equal")
    ax.axis("off")
    return ax


def shades(num_shades: int, scale: Colormap = COLD) -> list[ColorType]:
    """`num_shades` colours in order, from dark to light, of a `scale` such as COLD or WARM."""
    return [scale(part) for part in np.linspace(0, 1, num_shades)]


def level(x: float, ax: Axes, *, color: str = VERMILLION, style: str = "--", label: str | None = None) -> Axes:
    """A vertical line at x."""
    ax.axvline(x, color=color, ls=style, lw=1.4, zorder=_CURVES, label=label)
    return ax


def legend(ax: Axes, title: str | None = None, *, num_columns: int | None = None) -> Axes:
    """The legend above the axes, where it hides no data, under a `title` if there is one.

    It has two columns, or one of long labels, unless `num_columns` says otherwise.
    """
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0}
        if num_columns is None:
            num_columns = 2 if max(map(len, labels)) < 24 else 1
        # Many short entries fit into one row.
        gap, length = (1.2, 1.4) if num_columns > 2 else (2.0, 2.0)
        shape = {"ncols": num_columns, "columnspacing": gap, "handlelength": length}
        box = ax.legend(handles, labels, title=title, frameon=False, **shape, **place)
        box.set_alignment("left")
        for handle in box.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([max(handle.get_sizes()[0], 16)])
            if handle is not None:
                handle.set_alpha(1.0)
    return ax


def save(ax: Axes, path: str | Path, *, metadata: Mapping[str, str] | None = None, dpi: int = 200) -> None:
    """Writes the figure of `ax`, trimmed to what is drawn; the suffix of `path` gives the format.

    `metadata` are written into the file, and `dpi` is the resolution of rasterised layers.
    """
    _axes.figure_of(ax).savefig(path, dpi=dpi, bbox_inches="tight", metadata=dict(metadata or {}))


__dir__ = public(__name__)
