"""`jaxnets sweep`: a computation over a grid of parameters and realisations, resumable, on many machines if need be."""

import inspect
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from tyro.conf import OmitSubcommandPrefixes, Positional, subcommand

from .. import __version__, computations, plotting, sweeps
from .inputs import InputError
from .outputs import MAKER, check_replaceable, replacing, table

SHORT = [name for name, value in vars(computations).items() if inspect.isfunction(value) and not name.startswith("_")]
LISTED = 5  # failures in a summary
DRAWN = 4  # variables in a figure, if none are named

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


def run(
    file: Positional[Path | None] = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    out: Path | None = None,
) -> None:
    """Computes what is missing of a sweep: a new one, or one that was stopped at any moment.

    FILE is TOML: a function of one point, its axes, static and fixed arguments, and realisations. The function is one
    of `jaxnets.computations` by its name, or yours as "module:function". Without a file, the right edge and the void
    area of deep-Hebbian networks over load and strength are computed, from theory and in 16 samples each. Size and time
    are printed before work begins. The folder gets whole chunks of results as they come, in the end data.zarr with all
    of them, and beside it is a figure of the same name. Points that fail, or do not converge, are recorded and counted,
    and do not stop others; the exit code is then 0. Ctrl-C stops, and the same command goes on.

    Args:
        file: Description of the sweep.
        workers: Local processes that share the cores, or have a GPU each; in this process if not given.
        scheduler: Address of a dask scheduler, whose workers see the output folder.
        retry: Compute again what failed or did not converge.
        out: Folder for the results; by default the one that FILE names, or FILE without its ending.
    """
    described = _read(file)
    folder = out or Path(described.output or (file.with_suffix("").name if file is not None else "sweep"))
    check_replaceable(folder.absolute().parent, (_figure(folder),))
    with _refusals():
        print(_prospect(described, folder, workers, scheduler))
        found = sweeps.run(described, folder, workers=workers, scheduler=scheduler, retry=retry)
        store = sweeps.assemble(folder)
    print(_summary(folder, found))
    data = xr.open_zarr(store, chunks=None)  # of which only what is drawn is read
    _save(folder, _draw(data, _default_variables(data)))
    print(f"wrote {folder.parent / _figure(folder)} and {store}")


def status(out: Positional[Path]) -> None:
    """How far a sweep is: points done, failed with their error and parameters, rate and time left.

    Args:
        out: Folder of the sweep, which may be running.
    """
    with _refusals():
        print(_summary(out, sweeps.status(out, listed=LISTED)))


def verify(out: Positional[Path]) -> None:
    """Reads every file of a sweep against its checksum. The exit code is 2 if anything is missing, damaged or stale.

    Args:
        out: Folder of the sweep.
    """
    with _refusals():
        found = sweeps.verify(out)
    kinds = {"damaged": found.damaged, "stale": found.stale, "missing": found.missing}
    rows = [(f"{kind} chunks", str(len(numbers)), _first(numbers)) for kind, numbers in kinds.items()]
    rows.append(("foreign files", str(len(found.foreign)), _first([path.name for path in found.foreign])))
    print(table(str(out), rows))
    if not found.whole:
        raise InputError(f"{out} is not whole: run its sweep again, which computes what is missing or damaged")
    print("whole: every file is what its checksum says")


def plot(out: Positional[Path], *, variable: tuple[str, ...] = ()) -> None:
    """Draws a sweep, which may be running: lines over one axis, maps over two, with theory beside samples.

    Lines have bands of two standard errors over realisations. Of more than two axes, the others are held at their first
    value. Writes a figure beside the folder, of the same name.

    Args:
        out: Folder of the sweep.
        variable: Variables to draw; by default those with a theory, or the first few.
    """
    with _refusals():
        data = sweeps.open(out)
    names = _drawable(data)
    for name in variable:
        if name not in names:
            raise InputError(f"`--variable` must be one of {', '.join(names)}, got {name}")
    check_replaceable(out.absolute().parent, (_figure(out),))
    _save(out, _draw(data, variable or _default_variables(data)))
    print(f"wrote {out.parent / _figure(out)}")


Action = (
    Annotated[None, subcommand("run", constructor=run)]
    | Annotated[None, subcommand("status", constructor=status)]
    | Annotated[None, subcommand("plot", constructor=plot)]
    | Annotated[None, subcommand("verify", constructor=verify)]
)


def sweep(action: OmitSubcommandPrefixes[Action]) -> None:
    """A computation over a grid of parameters and realisations: days of work on many machines, and nothing lost."""


# --- what is read


def _read(file: Path | None) -> sweeps.Sweep:
    try:
        text = (files("jaxnets.data") / "default_sweep.toml" if file is None else file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    with _refusals():
        return sweeps.parse(_spelled_out(text))


def _spelled_out(text: str) -> str:
    """With the module of a function of this package that is named without one."""
    try:
        name = tomllib.loads(text).get("function")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    if not isinstance(name, str) or ":" in name:
        return text
    if name not in SHORT:
        raise InputError(f'`function` must be one of {", ".join(SHORT)}, or "module:function", got {name!r}')
    return re.sub(rf"""^(\s*function\s*=\s*)(["']){name}\2""", rf'\1"{computations.__name__}:{name}"', text, flags=re.M)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the room of sweeps refuses, as what the user can mend."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error


# --- what is printed


def _prospect(described: sweeps.Sweep, folder: Path, workers: int | None, scheduler: str | None) -> str:
    """Size and time of what is to be done, before it is."""
    sizes = [f"{axis.name} {len(axis)}" for axis in (*described.grid.static, *described.grid.axes)]
    grid = " x ".join([*sizes, f"{described.realisations} realisations"])
    if (folder / "manifest.json").exists():
        there = sweeps.status(folder, listed=0)
        what = "all there" if there.finished else f"{there.points - there.missing} of {there.points} there, going on"
        return f"{grid}: {what}"
    if scheduler is not None:
        return f"{grid}: {described.grid.total} points"
    expected = sweeps.estimate(described)
    time = _duration(expected.seconds / (workers or 1))
    where = "in this process" if workers is None else f"on {workers} workers that share its cores"
    return f"{grid}: {expected.points} points, {_bytes(expected.bytes)} in {expected.chunks} files, {time} {where}"


def _summary(folder: Path, found: sweeps.Status) -> str:
    left = "" if found.finished else f", {_duration(found.seconds_left)} left" if found.running else ", not running"
    rows = [
        ("points", str(found.points), ""),
        ("done", str(found.done), f"{found.rate:.3g} a second{left}" if np.isfinite(found.rate) else left[2:]),
        ("not converged", str(found.not_converged), "kept, and marked in `status`"),
        ("not finite", str(found.not_finite), "kept, and marked in `status`"),
        ("failed", str(found.failed), "`--retry` computes them again"),
        ("missing", str(found.missing), "the same `run` goes on"),
    ]
    rows = [row for row in rows if row[1] != "0" or row[0] in ("points", "done")]
    lines = [table(str(folder), rows)]
    for failure in found.failures[:LISTED]:
        where = ", ".join(f"{name} = {_short(value)}" for name, value in failure.parameters.items())
        lines.append(f"failed at {where}: {failure.reason}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _first(items: Sequence[Any], shown: int = 6) -> str:
    return ", ".join([*map(str, items[:shown]), *(["..."] * (len(items) > shown))])


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    for length, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"about {seconds / length:.2g} {unit}"
    return f"about {max(seconds, 1):.0f} s"


# --- what is drawn


def _drawable(data: xr.Dataset) -> list[str]:
    """Variables that are drawn for themselves: not those drawn with another, nor what solvers say of themselves."""
    others = {f"{name}{ending}" for name in data.data_vars for ending in ("_error", "_theory")}
    others |= {"status", "converged", "residual", "lags"}
    return [str(name) for name in data.data_vars if name not in others and data[name].dtype.kind in "biuf"]


def _default_variables(data: xr.Dataset) -> list[str]:
    names = _drawable(data)
    with_theory = [name for name in names if f"{name}_theory" in data]
    chosen = with_theory or [name for name in names if data[name].dims == data["status"].dims]
    if not chosen:
        raise InputError(f"no result is one real number a point; name one with `--variable`: {', '.join(names)}")
    return chosen[:DRAWN]


def _save(folder: Path, axes: plotting.Axes) -> None:
    name = _figure(folder)
    with replacing(folder.absolute().parent, (name,)) as stage:
        plotting.save(axes, stage / name, metadata={"Software": f"{MAKER} {__version__}"})


def _figure(folder: Path) -> str:
    return f"{folder.absolute().name}.png"


def _draw(data: xr.Dataset, names: Sequence[str]) -> plotting.Axes:
    quantities = [_Quantity.of(data, name) for name in names]
    wide = any(quantity.theory is not None and quantity.mean.ndim == 2 for quantity in quantities)
    rows = plotting.table(len(names), 2, 3.6, 2.9) if wide else plotting.table(len(names), 1, 5.6, 2.9)
    for quantity, places in zip(quantities, rows, strict=True):
        if quantity.mean.ndim == 2:
            _draw_map(quantity, places)
        else:
            _draw_line(quantity, places[0])
        if quantity.held:
            places[0].set_title(quantity.held, fontsize="small", loc="left")
    return rows[0][0]


def _draw_line(quantity: "_Quantity", ax: plotting.Axes) -> None:
    mean, theory = quantity.mean, quantity.theory
    (along,) = quantity.along
    error = None if quantity.error is None else quantity.error.values
    style = "o-" if theory is None else "o"
    plotting.estimates(along.values, mean.values, ax, error=error, style=style, label=quantity.samples)
    if theory is not None:
        plotting.estimates(along.values, theory.values, ax, color=plotting.VERMILLION, style="-", label=THEORY)
        plotting.legend(ax)
    ax.set(xlabel=along.label, ylabel=quantity.label, xscale=along.scale)
    along.name_ticks(ax.set_xticks)


def _draw_map(quantity: "_Quantity", places: list[plotting.Axes]) -> None:
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


THEORY = "theory, N → ∞"


@dataclass(frozen=True)
class _Along:
    """One axis of a figure: numbers, or the places of names."""

    label: str
    values: Float[np.ndarray, " k"]
    scale: str
    names: list[str]

    @classmethod
    def of(cls, data: xr.Dataset, dim: str) -> "_Along":
        coordinates = [str(name) for name in data.coords if data[name].dims == (dim,)]
        values = data[coordinates[0]].values if coordinates else np.arange(data.sizes[dim])
        label = " and ".join(coordinates) if coordinates else "index"
        if not coordinates and "lags" in data and data["lags"].sizes["lags_0"] == data.sizes[dim]:
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
class _Quantity:
    """A variable over up to two axes: its mean over realisations, with its standard error, and its theory."""

    label: str
    samples: str
    mean: xr.DataArray
    error: xr.DataArray | None
    theory: xr.DataArray | None
    along: list[_Along]
    held: str

    @classmethod
    def of(cls, data: xr.Dataset, name: str) -> "_Quantity":
        known = data["status"] < UNKNOWN
        mean, error = _over_realisations(data[name], known)
        if error is None and f"{name}_error" in data:
            error, _ = _over_realisations(data[f"{name}_error"], known)
        theory = _over_realisations(data[f"{name}_theory"], known)[0] if f"{name}_theory" in data else None
        long = [str(dim) for dim in mean.dims if mean.sizes[dim] > 1] or [str(dim) for dim in mean.dims[:1]]
        first = {str(dim): 0 for dim in mean.dims if dim not in long[:2]}
        held = ", ".join(f"{dim} = {_short(data[dim].values[0])}" for dim in long[2:] if dim in data.coords)
        size = data.sizes.get("realisation", 1)
        return cls(
            LABELS.get(name, name.replace("_", " ")),
            "one sample" if size == 1 else f"mean of {size} samples",
            mean.isel(first),
            None if error is None else error.isel(first),
            None if theory is None else theory.isel(first, missing_dims="ignore"),
            [_Along.of(data, dim) for dim in long[:2]],
            held and f"at {held}",
        )


UNKNOWN = 3  # from this `status` on a point has no value


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
