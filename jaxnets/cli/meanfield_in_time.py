"""`jaxnets meanfield --transient`: the course of a network from a random start, for N -> infinity."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from .. import __version__, couplings, plotting
from .. import transfer as transfers
from .._progress import stage
from ..meanfield import Transient, transient, transient_by_paths
from ..memory import RetrievalCourse, retrieval_course
from .inputs import evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError

FIGURE, STORE = "transient.png", "transient.zarr"
ROWS, DRAWN = 9, 5  # times in the printed table, and patterns in the figure


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    ensemble: str
    transfer: str
    noise: float
    duration: float
    step: float
    variance: float
    input: float
    onset: float
    replica: float | None
    cue: float | None
    num_paths: int
    seed: int
    out: Path


def run(options: Options) -> None:
    check_replaceable(options.out, (FIGURE, STORE))
    function = evaluate(options.transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    known = vocabulary(couplings, couplings.Ensemble)
    ensemble = evaluate(options.ensemble, known, couplings.Ensemble, "--ensemble")
    began = time.perf_counter()
    with stage("solving"):
        try:
            found = _solve(options, ensemble, function)
            jax.block_until_ready(found)
        except ValueError as error:
            raise InputError(str(error)) from error
    seconds = time.perf_counter() - began
    course = found.transient if isinstance(found, RetrievalCourse) else found
    data = _dataset(course).assign_attrs(
        {"converged": int(found.converged), "residual": float(course.residual), "time_unit": "tau"}
        | {name: value for name, value in vars(options).items() if name != "out" and value is not None}
        | made_by("meanfield")
    )
    with replacing(options.out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(_table(data, options))
    if not found.converged:
        print("not converged: take smaller steps, or follow fewer times")
    print(f"{data.time.size} times in {seconds:.1f} s; wrote {options.out / FIGURE} and {options.out / STORE}")


def _solve(options: Options, ensemble: couplings.Ensemble, function: Any) -> Transient | RetrievalCourse:
    """Paths are sampled only where a memory kernel or a cue needs them."""
    arguments: dict[str, Any] = {"duration": options.duration, "step": options.step, "variance": options.variance}
    arguments["noise"] = options.noise
    sampled: dict[str, Any] = {"key": jax.random.key(options.seed), "num_paths": options.num_paths}
    if options.cue is not None:
        if options.input or options.replica is not None:
            raise InputError("`--cue` goes without `--input` and `--replica`")
        return retrieval_course(ensemble, function, options.cue, **sampled, **arguments)
    if options.input:
        arguments["input"] = lambda t: jnp.where(t >= options.onset, options.input, 0.0)
    if ensemble.site() is not None:
        return transient(ensemble, function, replica=options.replica, **arguments)
    if options.replica is not None:
        raise InputError("`--replica` needs couplings without a memory kernel")
    return transient_by_paths(ensemble, function, **sampled, **arguments)


def _dataset(course: Transient) -> xr.Dataset:
    """All that is stored: of each time, of pairs of times, and of each pattern."""
    variables: dict[str, Any] = {
        "variance_x": ("time", np.asarray(course.variance)),
        "second_moment": ("time", np.asarray(course.second_moment)),
        "beta": ("time", np.asarray(course.beta)),
        "covariance_x": (("time", "other_time"), np.asarray(course.c_x)),
        "covariance_phi": (("time", "other_time"), np.asarray(course.c_phi)),
    }
    if course.c_x_error is not None:
        variables["variance_x_error"] = ("time", np.diagonal(np.asarray(course.c_x_error)).copy())
    if course.c_x_replica is not None:
        variables["squared_distance"] = ("time", np.asarray(course.squared_distance()))
    for name in ("overlap", "overlap_error"):
        if getattr(course, name) is not None:
            variables[name] = (("pattern", "time"), np.asarray(getattr(course, name)))
    times = np.asarray(course.times)
    return xr.Dataset(variables, coords={"time": times, "other_time": times})


def _table(data: xr.Dataset, options: Options) -> str:
    names = {"variance_x": "C(t, t)", "beta": "beta", "squared_distance": "distance^2"}
    shown = [(title, data[name].values) for name, title in names.items() if name in data]
    if "overlap" in data:
        shown += [(f"m_{k + 1}", row) for k, row in enumerate(data.overlap.values[:DRAWN])]
    at = np.unique(np.linspace(0, data.time.size - 1, ROWS).round().astype(int))
    rows = [("t", *(title for title, _ in shown))]
    rows += [(f"{data.time.values[k]:g}", *(f"{values[k]:.5f}" for _, values in shown)) for k in at]
    return table(f"{options.ensemble}, {options.transfer}, noise {options.noise:g}", rows)


def _draw(data: xr.Dataset) -> plotting.Axes:
    variance, pairs, beside = plotting.panels(3, height=3.1)
    t = data.time.values
    error = data.variance_x_error.values if "variance_x_error" in data else None
    plotting.estimates(t, data.variance_x.values, variance, error=error, style="-")
    variance.set(xlabel="time (time constants)", ylabel="variance of x")
    plotting.heat_map(t, t, data.covariance_x.values, pairs, label="C$^x$(t, s)")
    pairs.set(xlabel="s (time constants)", ylabel="t (time constants)")
    if "overlap" in data:
        patterns = data.overlap.values[:DRAWN]
        for k, color in enumerate(plotting.shades(len(patterns))):
            band = data.overlap_error.values[k]
            plotting.estimates(t, patterns[k], beside, error=band, color=color, style="-", label=f"pattern {k + 1}")
        plotting.legend(beside)
        beside.set(xlabel="time (time constants)", ylabel="overlap m")
    elif "squared_distance" in data:
        plotting.estimates(t, data.squared_distance.values, beside, style="-")
        beside.set(xlabel="time (time constants)", ylabel="squared distance of two starts")
    else:
        plotting.estimates(t, data.beta.values, beside, style="-")
        beside.set(xlabel="time (time constants)", ylabel="mean slope β")
    return variance
