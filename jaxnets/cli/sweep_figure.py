"""The figure of a sweep: lines over one axis, maps over two, samples told apart from theory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from .. import plotting
from ..memory import Regime

DRAWN = 4  # variables, if none are named
THEORY = "theory"
UNKNOWN = 3  # from this `status` on a point has no value
MOST_CODES = 6  # different whole numbers that are taken for names of kinds, which have no mean: as many as `TINTS`
COLORS = plotting.BLUE, plotting.VERMILLION, plotting.GREEN, plotting.PURPLE, plotting.BLACK, "#888888"

LABELS = {
    "right_edge": "right edge max Re λ",
    "void_area": "area of voids",
    "variance_x": "variance of states C$^x$(0)",
    "variance_phi": "variance of rates C$^φ$(0)",
    "dimension_phi": "dimension PR / N of rates",
    "dimension_x": "dimension PR / N of states",
    "correlation_time_phi": "correlation time (τ)",
    "decay_rate": "decay rate of C(t) (1/τ)",
    "lyapunov": "largest Lyapunov exponent (1/τ)",
    "exponents": "Lyapunov exponents (1/τ)",
    "onset": "scale at the onset of chaos",
    "beta": "mean slope β",
    "success": "share of sequences retrieved",
    "fidelity": "fidelity of the sequence",
    "reach": "patterns retrieved",
    "speed": "speed (patterns / τ)",
    "period": "period of the sequence (τ)",
    "peak_overlap": "overlap at the peak",
}


def drawable(data: xr.Dataset) -> list[str]:
    """Variables that are drawn for themselves: not those drawn with another, nor what solvers say of themselves."""
    others = {f"{name}{ending}" for name in data.data_vars for ending in ("_error", "_theory")}
    others |= {"status", "converged", "residual", "lags"}
    return [str(name) for name in data.data_vars if name not in others and data[name].dtype.kind in "biuf"]


def default_variables(data: xr.Dataset) -> list[str]:
    names = drawable(data)
    with_theory = [name for name in names if f"{name}_theory" in data]
    chosen = with_theory or [name for name in names if data[name].dims == data["status"].dims]
    return chosen[:DRAWN]


def draw(data: xr.Dataset, names: Sequence[str]) -> plotting.Axes:
    """A row of axes for each of the variables; the first is returned."""
    data = data.sortby([dim for dim in data.dims if dim in data.coords and data[dim].dtype.kind in "iuf"])
    if not set(data["status"].dims) - {"realisation"}:
        data = data.expand_dims("point")
    quantities = [Quantity.of(data, name) for name in names]
    wide = any(quantity.theory is not None and quantity.mean.ndim == 2 for quantity in quantities)
    rows = plotting.table(len(names), 2, 3.6, 2.9) if wide else plotting.table(len(names), 1, 5.6, 2.9)
    for quantity, places in zip(quantities, rows, strict=True):
        if quantity.kinds is not None:
            _draw_kinds(quantity, quantity.kinds, places)
        elif quantity.mean.ndim == 2:
            _draw_map(quantity, places)
        else:
            _draw_line(quantity, places[0])
        if quantity.held:
            places[0].set_title(quantity.held, fontsize="small", loc="left")
    return rows[0][0]


def _draw_line(quantity: "Quantity", ax: plotting.Axes) -> None:
    mean, theory = quantity.mean, quantity.theory
    (along,) = quantity.along
    error = None if quantity.error is None else quantity.error.values
    style = "o-" if theory is None else "o"
    label = quantity.samples if error is None else f"{quantity.samples}, band: 2 s.e."
    plotting.estimates(along.values, mean.values, ax, error=error, style=style, label=label)
    if theory is not None:
        plotting.estimates(along.values, theory.values, ax, color=plotting.VERMILLION, style="-", label=THEORY)
        plotting.legend(ax)
    ax.set(xlabel=along.label, ylabel=quantity.label, xscale=along.scale)
    along.name_ticks(ax.set_xticks)


def _draw_map(quantity: "Quantity", places: list[plotting.Axes]) -> None:
    """Samples, and theory beside them on the same scale."""
    y, x = quantity.along
    maps = [("" if quantity.theory is None else quantity.samples, quantity.mean)]
    maps += [] if quantity.theory is None else [(THEORY, quantity.theory)]
    every = np.concatenate([values.values.ravel() for _, values in maps])
    known = every[np.isfinite(every)]
    limits = (float(known.min()), float(known.max())) if known.size else None
    for ax, (title, values) in zip(places, maps, strict=False):
        label = quantity.label if ax is places[len(maps) - 1] else None
        plotting.heat_map(x.values, y.values, values.values, ax, limits=limits, label=label)
        ax.set(xlabel=x.label, ylabel=y.label, xscale=x.scale, yscale=y.scale)
        ax.set_title(title, fontsize="medium")
        x.name_ticks(ax.set_xticks)
        y.name_ticks(ax.set_yticks)
    for ax in places[len(maps) :]:
        ax.axis("off")


def _draw_kinds(quantity: "Quantity", kinds: "Kinds", places: list[plotting.Axes]) -> None:
    """The share of samples of each kind over one axis, or the most frequent kind over two."""
    ax = places[0]
    if len(quantity.along) == 2:
        y, x = quantity.along
        plotting.phases(x.values, y.values, kinds.most_frequent(), kinds.names, ax)
        ax.set(xlabel=x.label, ylabel=y.label, xscale=x.scale, yscale=y.scale)
        y.name_ticks(ax.set_yticks)
    else:
        (x,) = quantity.along
        for name, share, color in zip(kinds.names, kinds.shares, COLORS, strict=False):
            plotting.estimates(x.values, share.values, ax, color=color, label=name)
        ax.set(xlabel=x.label, ylabel=f"share of {quantity.label}", xscale=x.scale, ylim=(-0.03, 1.03))
    x.name_ticks(ax.set_xticks)
    plotting.legend(ax, f"{quantity.label}, {quantity.samples}", num_columns=3)
    for other in places[1:]:
        other.axis("off")


@dataclass(frozen=True)
class Kinds:
    """Kinds that whole numbers stand for, and the share of samples of each of them at each point."""

    names: list[str]
    shares: list[xr.DataArray]

    @classmethod
    def of(cls, data: xr.Dataset, name: str, known: xr.DataArray) -> "Kinds | None":
        """None for numbers that have a mean: those with a fraction, an error or a theory, or with many values."""
        values = data[name]
        if values.dtype.kind not in "iu" or f"{name}_theory" in data or f"{name}_error" in data:
            return None
        there = known.broadcast_like(values)
        codes = np.unique(values.values[there.values])
        if codes.size > MOST_CODES:
            return None
        shares = [_over_realisations(values == code, known)[0] for code in codes]
        return cls([_name_of(name, int(code)) for code in codes], shares)

    def isel(self, first: dict[str, int]) -> "Kinds":
        return Kinds(self.names, [share.isel(first) for share in self.shares])

    def most_frequent(self) -> np.ndarray:
        """The place of a kind in `names`; -1 where nothing is known."""
        shares = np.array([share.values for share in self.shares])
        return np.where(np.isnan(shares).any(0), -1, np.argmax(np.nan_to_num(shares), axis=0))


def _name_of(variable: str, code: int) -> str:
    if variable == "regime" and code in list(Regime):
        return Regime(code).name.lower()
    return str(code)


@dataclass(frozen=True)
class Along:
    """One axis of a figure: numbers, or the places of names."""

    label: str
    values: Float[np.ndarray, " k"]
    scale: str
    names: list[str]

    @classmethod
    def of(cls, data: xr.Dataset, dim: str) -> "Along":
        coordinates = [str(name) for name in data.coords if data[name].dims == (dim,)]
        values = data[coordinates[0]].values if coordinates else np.arange(data.sizes[dim])
        label = " and ".join(coordinates) if coordinates else "index"
        if not coordinates and "lags" in data and data["lags"].sizes.get("lags_0") == data.sizes[dim]:
            label, values = "lag (τ)", data["lags"].values.reshape(-1, data.sizes[dim])[0]
        if values.dtype.kind not in "iuf":
            return cls(label, np.arange(values.size), "linear", [str(value) for value in values])
        values = values.astype(float)
        ratios = values[1:] / values[:-1] if (values > 0).all() else np.zeros(0)
        geometric = ratios.size > 1 and np.ptp(ratios) < 1e-6 * ratios[0] and abs(ratios[0] - 1) > 1e-6
        return cls(label, values, "log" if geometric else "linear", [])

    def name_ticks(self, set_ticks: Callable[..., Any]) -> None:
        if self.names:
            set_ticks(self.values, self.names)


@dataclass(frozen=True)
class Quantity:
    """A variable over up to two axes: its mean over realisations, with its standard error, and its theory."""

    label: str
    samples: str
    mean: xr.DataArray
    error: xr.DataArray | None
    theory: xr.DataArray | None
    along: list[Along]
    held: str
    kinds: Kinds | None = None

    @classmethod
    def of(cls, data: xr.Dataset, name: str) -> "Quantity":
        known = data["status"] < UNKNOWN
        kinds = Kinds.of(data, name, known)
        mean, error = _over_realisations(data[name], known)
        if error is None and f"{name}_error" in data:
            error, _ = _over_realisations(data[f"{name}_error"], known)
        theory = _over_realisations(data[f"{name}_theory"], known)[0] if f"{name}_theory" in data else None
        long = [str(dim) for dim in mean.dims if mean.sizes[dim] > 1] or [str(dim) for dim in mean.dims[:1]]
        first = {str(dim): 0 for dim in mean.dims if dim not in long[:2]}
        others = {dim: data[dim].values[0] for dim in long[2:] if dim in data.coords}
        held = ", ".join(f"{dim} = {value}" for dim, value in others.items())
        size = data.sizes.get("realisation", 1)
        return cls(
            LABELS.get(name, name.replace("_", " ")),
            "one sample" if size == 1 else f"{'most' if kinds else 'mean'} of {size} samples",
            mean.isel(first),
            None if error is None else error.isel(first),
            None if theory is None else theory.isel(first, missing_dims="ignore"),
            [Along.of(data, dim) for dim in long[:2]],
            held and f"at {held}",
            None if kinds is None else kinds.isel(first),
        )


def _over_realisations(values: xr.DataArray, known: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Mean of what is known, and the standard error where there are two or more realisations."""
    values = values.astype(float).where(known)
    if "realisation" not in values.dims:
        return values, None
    there = values.notnull().sum("realisation")
    mean = values.sum("realisation") / there.where(there > 0)
    if values.sizes["realisation"] == 1:
        return mean, None
    variance = ((values - mean) ** 2).sum("realisation") / (there - 1).where(there > 1)
    return mean, (variance / there.where(there > 0)) ** 0.5
