"""`jaxnets simulate`: activity of a sampled or measured network, and measurements of it."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from .. import __version__, couplings, dynamics, observables, plotting
from .. import transfer as transfers
from .inputs import InputError, evaluate, read_weights, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table

DEFAULT_ENSEMBLE = "RandomModes.of_rank(3, .25)"
DEFAULT_N = 2000
FIGURE, STORE = "simulation.png", "simulation.zarr"
DRAWN, ROWS = 50.0, 40  # time and units shown in the figure
STILL = 1e-6  # activity whose standard deviation is below this is at rest


def simulate(
    *,
    ensemble: str = DEFAULT_ENSEMBLE,
    n: int = DEFAULT_N,
    matrix: str | None = None,
    scale: float = 1.0,
    transfer: str = "Tanh()",
    noise: float = 0.0,
    duration: float = 300.0,
    discard: float = 100.0,
    dt: float = 0.05,
    save_every: int = 4,
    num_trajectories: int = 4,
    num_units: int = 100,
    single: bool = False,
    seed: int = 0,
    out: Path = Path("."),
) -> None:
    """Activity of one random or measured network, tau dx/dt = -x + J phi(x) + noise, from random initial states.

    Writes simulation.png (rates, autocovariance, principal components) and simulation.zarr (rates of some units, means
    and variances of all, autocovariances, principal variances, final states, all parameters) and prints a table. Times
    are in units of tau. Outputs of an earlier run are replaced; files of these names that jaxnets did not write are
    left alone, and nothing is run.

    Args:
        ensemble: Couplings in the notation of the Python API, as in "IID(g=2.) + 0.5 * Elliptic(symmetry=-.3)".
        n: Neurons.
        matrix: Measured couplings in place of an ensemble, row = postsynaptic neuron: a .csv (comma, semicolon or white
            space), .npy or .npz file (dense or from scipy.sparse), larva-left or larva-right.
        scale: Factor of the measured couplings.
        transfer: Transfer function phi, as in "Erf()".
        noise: Standard deviation that white noise alone would give to a neuron.
        duration: Length of each trajectory.
        discard: First part of each trajectory, which is not kept.
        dt: Step of Heun's scheme, at most 1/2.
        save_every: Steps between kept times.
        num_trajectories: Initial states, all of the same network; they are run together.
        num_units: Neurons whose rates are stored (and up to 40 drawn), evenly spaced in the order of the network.
        single: Compute in single precision, which is faster: chaotic trajectories differ, their statistics do not.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    counts = {"n": n, "num-trajectories": num_trajectories, "num-units": num_units, "save-every": save_every}
    _check_numbers(counts, seed)
    check_replaceable(out, (FIGURE, STORE))
    phi = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    subject = (
        _Subject.of_ensemble(ensemble, n, scale) if matrix is None else _Subject.of_file(matrix, scale, ensemble, n)
    )
    times = {"duration": duration, "discard": discard, "dt": dt, "save_every": save_every}
    run, seconds = _run(subject, phi, noise, times, num_trajectories, jnp.float32 if single else jnp.float64, seed)
    _check_run(run, transfer)
    settings = {"transfer": transfer, "noise": noise} | times
    settings |= {"num_trajectories": num_trajectories, "single": int(single), "seed": seed}
    rows, reasons = _measure_and_write(out, subject, run, settings, num_units, seconds)
    print(table(f"{subject.title}, {num_trajectories} trajectories of {duration - discard:g} after {discard:g}", rows))
    for reason in reasons:
        print(f"no dimension: {reason}")
    print(f"wrote {out / FIGURE} and {out / STORE}")


# --- the network and its run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Subject:
    """Couplings of one network of n neurons, and how outputs name them."""

    title: str
    n: int
    g: float
    attributes: dict[str, Any]
    sample: Callable[[jax.Array, Any], couplings.Operator]  # from a key, in a precision

    @classmethod
    def of_ensemble(cls, text: str, n: int, scale: float) -> "_Subject":
        if scale != 1.0:
            raise InputError("`--scale` belongs to `--matrix`: scale an ensemble as in `0.5 * IID()`")
        law = evaluate(text, vocabulary(couplings, couplings.Ensemble), couplings.Ensemble, "--ensemble")
        return cls(
            title=f"{text}, N = {n}",
            n=n,
            g=float(jnp.sqrt(law.variance())),
            attributes={"ensemble": text, "n": n, "parameters": eqx.tree_pformat(law, short_arrays=False)},
            sample=lambda key, dtype: law.sample(n, key=key, dtype=dtype),
        )

    @classmethod
    def of_file(cls, name: str, scale: float, ensemble: str, n: int) -> "_Subject":
        if (ensemble, n) != (DEFAULT_ENSEMBLE, DEFAULT_N):
            raise InputError("`--ensemble` and `--n` have no meaning with `--matrix`")
        weights = read_weights(name, scale)
        return cls(
            title=f"{name}, N = {len(weights)}",
            n=len(weights),
            g=float(np.linalg.norm(weights) / len(weights) ** 0.5),
            attributes={"matrix": name, "scale": scale},
            sample=lambda key, dtype: couplings.Dense(jnp.asarray(weights, dtype)),
        )


def _check_numbers(counts: dict[str, int], seed: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"`--{name}` must be at least 1, got {value}")
    if not 0 <= seed < 2**63:
        raise InputError(f"`--seed` must be in [0, 2^63), got {seed}")


def _run(
    subject: _Subject,
    phi: transfers.Transfer,
    noise: float,
    times: dict[str, Any],
    num_trajectories: int,
    dtype: Any,
    seed: int,
) -> tuple[dynamics.Run, float]:
    """The run, and the seconds that it took."""
    began = time.perf_counter()
    key_network, key_start, key_noise = jax.random.split(jax.random.key(seed), 3)
    try:
        net = dynamics.RateNetwork(subject.sample(key_network, dtype), phi, noise=noise)
        x0 = jax.random.normal(key_start, (num_trajectories, subject.n), dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # `_check_run` says it of trajectories that overflow
            run = dynamics.simulate(net, x0, key=key_noise, **times)
    except ValueError as error:
        raise InputError(str(error)) from error
    return jax.block_until_ready(run), time.perf_counter() - began


def _check_run(run: dynamics.Run, transfer: str) -> None:
    if not bool(jnp.all(run.finite)):
        raise InputError(
            f"{int(jnp.sum(~run.finite))} of {run.finite.size} trajectories overflowed: the network is unstable with "
            f"`--transfer` {transfer}"
        )
    if len(run.times) < 2:
        raise InputError("`--duration` must leave two kept times or more after `--discard`")


# --- measurements and outputs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """Measurements of states or of rates; NaN where activity is at rest, or the record too short."""

    name: str
    mean: float
    lags: np.ndarray
    c: np.ndarray
    c_error: np.ndarray
    correlation_time: float
    dimension: float
    dimension_error: float
    variances: np.ndarray  # of principal components
    reason: str  # why there is no dimension

    @classmethod
    def of(cls, name: str, z: jax.Array | None, interval: float) -> "_Measured":
        assert z is not None  # only recorders take the place of states
        span = (len(z) - 1) * interval
        c = observables.autocovariance(z, interval, max_lag=min(span, max(interval, span / 5, min(span, 20.0))))
        correlation_time = dimension = error = float("nan")
        reason = ""
        if jnp.sqrt(c.values[0]) < STILL * (1 + jnp.max(jnp.abs(z))):
            reason = "the network is at rest"
        else:
            correlation_time = float(observables.correlation_time(z, interval))
            try:
                estimate = observables.dimension_estimate(z, interval, correlation_time=correlation_time)
                dimension, error = float(estimate.value), float(estimate.error)
            except ValueError as refused:
                reason = str(refused)
        lags, values, errors = (np.asarray(a) for a in (c.lags, c.values, c.error))
        mean, variances = float(jnp.mean(z)), _principal_variances(z)
        return cls(name, mean, lags, values, errors, correlation_time, dimension, error, variances, reason)


def _principal_variances(z: jax.Array) -> np.ndarray:
    """The falling eigenvalues of the covariance, or of the products between samples where these are fewer."""
    samples = z.reshape(-1, z.shape[-1]).astype(float)
    samples = samples - jnp.mean(samples, 0, keepdims=True)
    gram = samples.T @ samples if len(samples) >= z.shape[-1] else samples @ samples.T
    return np.maximum(np.asarray(jnp.linalg.eigvalsh(gram / len(samples))), 0)[::-1]


def _measure_and_write(
    out: Path, subject: _Subject, run: dynamics.Run, settings: dict[str, Any], num_units: int, seconds: float
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Writes the outputs; returns the rows of the printed table, and why a dimension is missing.

    The simulation took `seconds`.
    """
    began = time.perf_counter()
    measured = [_Measured.of(name, z, run.interval) for name, z in (("x", run.states), ("phi", run.rates))]
    measuring = time.perf_counter() - began
    shown = np.linspace(0, subject.n - 1, min(num_units, subject.n)).round().astype(int)
    attributes = subject.attributes | settings | {"g": subject.g} | made_by("simulate")
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        _dataset(run, measured, shown).assign_attrs(attributes).to_zarr(folder / STORE, zarr_format=2)
        axes = _draw(np.asarray(run.times), np.asarray(run.rates)[:, 0, shown], measured)
        plotting.save(axes, folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    rows = [
        ("", "states x", "rates phi(x)"),
        ("mean over units and time", *(f"{z.mean:.4f}" for z in measured)),
        ("variance C(0)", *(f"{z.c[0]:.4f}" for z in measured)),
        ("its error, between trajectories", *(f"{z.c_error[0]:.4f}" for z in measured)),
        ("correlation time ∫(C/C(0))²", *(f"{z.correlation_time:.2f}" for z in measured)),
        ("dimension PR", *(f"{z.dimension:.1f} ± {z.dimension_error:.1f}" for z in measured)),
        ("dimension PR / N", *(f"{z.dimension / subject.n:.5f}" for z in measured)),
        ("g = sqrt(N <J_ij^2>)", f"{subject.g:.4f}", ""),
        ("seconds", f"{seconds:.2f} simulating", f"{measuring:.2f} measuring"),
    ]
    return rows, list(dict.fromkeys(z.reason for z in measured if z.reason))


def _dataset(run: dynamics.Run, measured: Sequence[_Measured], shown: np.ndarray) -> xr.Dataset:
    rates = run.rates
    assert rates is not None
    variables = {
        "rates": (("time", "trajectory", "unit"), np.asarray(rates[..., shown])),
        "final_states": (("trajectory", "neuron"), np.asarray(run.final)),
        "mean_rate": (("neuron",), np.asarray(jnp.mean(rates, (0, 1)))),
        "variance_rate": (("neuron",), np.asarray(jnp.var(rates, (0, 1)))),
    }
    attributes: dict[str, Any] = {"time_unit": "tau"}
    for z in measured:
        variables[f"autocovariance_{z.name}"] = (("lag",), z.c)
        variables[f"autocovariance_error_{z.name}"] = (("lag",), z.c_error)
        variables[f"principal_variances_{z.name}"] = (("component",), z.variances)
        attributes[f"correlation_time_{z.name}"] = z.correlation_time
        attributes[f"dimension_{z.name}"], attributes[f"dimension_error_{z.name}"] = z.dimension, z.dimension_error
    coords = {"time": np.asarray(run.times), "unit": shown, "lag": measured[0].lags}
    return xr.Dataset(variables, coords=coords, attrs=attributes)


def _draw(times: np.ndarray, rates: np.ndarray, measured: Sequence[_Measured]) -> plotting.Axes:
    x, phi = measured
    activity, covariance, components = plotting.panels(3)
    shown = times <= times[0] + DRAWN
    rows = np.linspace(0, rates.shape[1] - 1, min(ROWS, rates.shape[1])).round().astype(int)
    plotting.raster(times[shown], rates[shown][:, rows], activity, label="rate φ(x)")
    for z, label, color, style in (
        (x, "states x", plotting.BLUE, "-"),
        (phi, "rates φ(x)", plotting.VERMILLION, "--"),
    ):
        top = z.c[0] or 1.0
        label = f"{label}, C(0) = {z.c[0]:.3g}"
        plotting.autocovariance(
            z.lags, z.c / top, covariance, error=z.c_error / top, color=color, style=style, label=label
        )
    covariance.set_ylabel("autocovariance C(τ) / C(0)")
    plotting.legend(covariance)
    total = phi.variances.sum()
    if total > 0:
        plotting.components(phi.variances / total, components, label="rates φ(x)")
        if np.isfinite(phi.dimension):
            plotting.level(phi.dimension, components, label=f"dimension PR = {phi.dimension:.1f}")
        plotting.legend(components)
    return activity
