"""`jaxnets meanfield --matrix`: the stationary state of a measured network whose neurons have types."""

import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from .. import __version__, couplings, plotting
from .. import transfer as transfers
from .._progress import stage
from ..meanfield import TypedStationary, chaos_onset, largest_lyapunov, stationary
from ..meanfield.types.state import Phase
from ..population import dimension
from .inputs import evaluate, read_weights, vocabulary
from .meanfield import FIGURE, STORE
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError
from .source import Measured

DRAWN = 15.0  # the last lag in the figure


def run(source: Measured, transfer: str, noise: float, out: Path) -> None:
    check_replaceable(out, (FIGURE, STORE))
    function = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    weights = read_weights(source)
    types = np.array(weights.types or ("all",) * len(weights.matrix))
    began = time.perf_counter()
    with stage("solving"):
        # Numbers of types as they are; with degrees, groups of each type are types of their own.
        ensemble = couplings.from_matrix(weights.matrix, types=types, beyond="degrees", symmetry=False)
        fractions = np.asarray(ensemble.type_fractions())
        parts = _type_of_part(fractions, types)
        try:
            state = stationary(ensemble, function, noise, input=0.0)
            onset = chaos_onset(ensemble, function, input=0.0)
        except ValueError as error:
            raise InputError(str(error)) from error
        exponent = largest_lyapunov(state).value if int(state.phase) == Phase.CHAOTIC else jnp.nan
        found, reason = _dimension(state)
    seconds = time.perf_counter() - began
    names = np.unique(types)
    shares = np.stack([np.where(parts == k, fractions, 0) for k in range(len(names))])
    shares /= shares.sum(1, keepdims=True)
    data = _dataset(state, shares, names)
    numbers = {"onset": onset.value, "lyapunov": exponent, "dimension_phi": found[0], "dimension_x": found[1]}
    numbers = {name: float(value) for name, value in numbers.items()}
    phase, converged = Phase(int(state.phase)).name.lower(), bool(state.converged)
    options = {"transfer": transfer, "noise": noise, "phase": phase, "converged": int(converged)} | source.attributes()
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.assign_attrs(options | numbers | made_by("meanfield")).to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(
        table(
            f"{source.matrix}, {transfer}, noise {noise:g}: {phase}{'' if converged else ', not converged'}",
            [
                ("", *map(str, names)),
                *((label, *(f"{value:.5f}" for value in data[name].values)) for label, name in ROWS),
            ],
        )
    )
    print(
        table(
            "of all neurons",
            [
                ("factor at which chaos begins", f"{numbers['onset']:.5g}"),
                ("largest mode of means", f"{_complex(state.mean_modes[0])}"),
                ("largest Lyapunov exponent", f"{numbers['lyapunov']:.5f}"),
                ("dimension of rates, of states", f"{numbers['dimension_phi']:.5f}, {numbers['dimension_x']:.5f}"),
                ("seconds", f"{seconds:.1f}"),
            ],
        )
    )
    if reason:
        print(f"no dimension: {reason}")
    print(f"wrote {out / FIGURE} and {out / STORE}")


ROWS = (
    ("mean of x", "mean_x"),
    ("variance of x in time", "variance_x"),
    ("variance of x between neurons", "static_x"),
    ("mean rate", "rate"),
    ("variance of rates in time", "variance_phi"),
    ("mean slope beta", "beta"),
)


def _type_of_part(fractions: np.ndarray, types: np.ndarray) -> np.ndarray:
    """The type of each part of the ensemble, whose parts follow the sorted types."""
    ends = np.cumsum(np.unique(types, return_counts=True)[1]) / len(types)
    middle = np.cumsum(fractions) - fractions / 2
    return np.searchsorted(ends, middle)


def _dimension(state: TypedStationary) -> tuple[tuple[Any, Any], str]:
    """PR / N of rates and states, or why there is none."""
    if int(state.phase) not in (Phase.CHAOTIC, Phase.DRIVEN):
        return (jnp.nan, jnp.nan), f"the network is {Phase(int(state.phase)).name.lower()}"
    found = dimension(state)
    return (found.phi, found.x), ""


def _dataset(state: TypedStationary, shares: np.ndarray, names: np.ndarray) -> xr.Dataset:
    """Averages over the parts of each type; means that differ between parts add to the variance between neurons."""
    mean, rate = shares @ np.asarray(state.mean), shares @ np.asarray(state.rate)
    moving_x, moving_phi = (
        shares @ np.asarray(c - s[:, None]) for c, s in ((state.c_x, state.static_x), (state.c_phi, state.static_phi))
    )
    between = np.maximum(shares @ np.asarray(state.static_x + state.mean**2) - mean**2, 0)
    numbers = {"mean_x": mean, "variance_x": moving_x[:, 0], "static_x": between, "rate": rate}
    numbers |= {"variance_phi": moving_phi[:, 0], "beta": shares @ np.asarray(state.beta)}
    variables: dict[str, Any] = {name: (("type",), value) for name, value in numbers.items()}
    variables["autocovariance_x"] = (("type", "lag"), moving_x)
    return xr.Dataset(variables, coords={"type": names, "lag": np.asarray(state.lags)})


def _draw(data: xr.Dataset) -> plotting.Axes:
    ax = plotting.figure(height=3.6)
    colors = plotting.shades(data.sizes["type"], plotting.COLD)
    for color, name in zip(colors, data.type.values, strict=True):
        at = data.sel(type=name)
        shown = at.lag.values <= DRAWN
        plotting.autocovariance(
            at.lag.values[shown], at.autocovariance_x.values[shown], ax, color=color, label=f"type {name}"
        )
    ax.set(xlabel="lag τ (time constants)", ylabel="autocovariance of x")
    return plotting.legend(ax)


def _complex(z: Any) -> str:
    z = complex(z)
    return f"{z:.4f}" if z.imag else f"{z.real:.4f}"
