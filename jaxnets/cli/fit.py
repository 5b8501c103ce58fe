"""`jaxnets fit`: strength, effective rank and time constant of the network behind a recording."""

import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .. import __version__, couplings, plotting
from .. import transfer as transfers
from .._progress import stage
from ..dynamics import RateNetwork, simulate
from ..fitting import RecordingFit, fit_recording
from .inputs import evaluate, read_recording, sampling_interval, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError

FIGURE, STORE = "fit.png", "fit.zarr"
# Of the network that is simulated when there is no file: time in units of tau.
UNITS, STRENGTH, RANK, DURATION, SAMPLING = 800, 4.0, 0.5, 1000.0, 0.5


@dataclass(frozen=True)
class Source:
    """A recording in a file, and how it is read."""

    recording: Path
    columns: tuple[str, ...]
    transpose: bool
    name: str | None


def run(
    source: Source | None,
    interval: float | None,
    population_size: int | None,
    z_scored: bool,
    transfer: str,
    seed: int,
    out: Path,
) -> None:
    check_replaceable(out, (FIGURE, STORE))
    function = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    began = time.perf_counter()
    if source is None:
        with stage("simulating"):
            rates, step, population_size = _simulated(function, seed), SAMPLING, UNITS
        title = f"simulated network, g = {STRENGTH:g}, PR^D = {RANK:g}, tau = 1, N = {UNITS}"
    else:
        rates, times = read_recording(source.recording, source.columns, transpose=source.transpose, name=source.name)
        step, title = sampling_interval(interval, times), str(source.recording)
    try:
        with stage("fitting"):
            found = fit_recording(rates, step, transfer=function, population_size=population_size, z_scored=z_scored)
    except ValueError as error:
        says = str(error).replace("`rates.T`", "`--transpose`").replace("`rates`", title)
        raise InputError(says) from error
    seconds = time.perf_counter() - began

    _write(out, found, {"source": title, "interval": step, "transfer": transfer, "z_scored": int(z_scored)})
    print(_table(found, title))
    for note in found.notes:
        print(f"note: {note}")
    print(
        f"{rates.shape[0]} times of {rates.shape[1]} units in {seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}"
    )


def _simulated(function: transfers.Transfer, seed: int) -> Float[np.ndarray, "time n"]:
    keys = jax.random.split(jax.random.key(seed))
    ensemble = couplings.RandomModes.of_rank(STRENGTH, RANK)
    network = RateNetwork(ensemble.sample(UNITS, key=keys[0], dtype=jnp.float32), function)
    start = jax.random.normal(keys[1], (UNITS,), jnp.float32)
    run = simulate(network, start, duration=DURATION + 100, discard=100, dt=0.1, save_every=round(SAMPLING / 0.1))
    return np.asarray(run.rates)


# --- what is written and printed


def _write(out: Path, found: RecordingFit, parameters: dict[str, str | float]) -> None:
    with replacing(out, (FIGURE, STORE)) as folder:
        data = found.to_xarray().assign_attrs(parameters | made_by("fit"))
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(found), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})


def _table(found: RecordingFit, source: str) -> str:
    def row(name: str, value, error) -> tuple[str, str, str]:
        return (name, f"{float(value):.4g}", f"{float(error):.2g}" if np.isfinite(error) else "")

    rows: list[tuple[str, ...]] = [
        ("", "value", "error"),
        row("strength g", found.g, found.g_error),
        row("time constant", found.time_constant, found.time_constant_error),
    ]
    if np.isfinite(found.inverse_rank):
        rows.append(row("effective rank PR^D", found.effective_rank, found.effective_rank_error))
        rows.append(row("1 / PR^D", found.inverse_rank, found.inverse_rank_error))
    else:
        rows.append(row("N PR^D, at least", found.fewest_modes, np.nan))
        rows.append(row("N, at least", found.fewest_units, np.nan))
    rows.append(row("dimension PR", found.dimension, found.dimension_error))
    rows.append(row("noise / variance", found.noise, found.noise_error))
    return table(source, rows)


def _draw(found: RecordingFit) -> plotting.Axes:
    ax = plotting.figure(5.6, 3.2)
    lags = np.asarray(found.lags)
    data, error = np.asarray(found.measured), np.asarray(found.measured_error)
    # At lag 0 there is measurement noise in the data.
    plotting.autocovariance(lags[1:], data[1:], ax, error=error[1:], style="o", label="data, ± 2 standard errors")
    curve = np.asarray(found.curve_lags), np.asarray(found.curve)
    plotting.autocovariance(*curve, ax, color=plotting.VERMILLION, label=f"theory, g = {float(found.g):.3g}")
    ax.set(xlabel="lag, in the unit of the interval", ylabel="autocovariance of rates", xlim=(0, 1.03 * lags[-1]))
    return plotting.legend(ax)
