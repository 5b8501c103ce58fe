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
from .._progress import stage
from .inputs import evaluate, read_weights, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError
from .source import Measured

FIGURE, STORE = "simulation.png", "simulation.zarr"
# Options that are written into the data beside the couplings.
RECORDED = ("transfer", "noise", "duration", "discard", "dt", "save_every", "num_trajectories", "seed")
DRAWN, ROWS = 50.0, 40  # time and units shown in the figure
STILL = 1e-6  # activity whose standard deviation is below this is at rest


@dataclass(frozen=True)
class Options:
    """What the command was asked for."""

    ensemble: str
    n: int
    matrix: Measured | None
    transfer: str
    noise: float
    duration: float
    discard: float
    dt: float
    save_every: int
    num_trajectories: int
    num_units: int
    single: bool
    seed: int
    out: Path


def run(options: Options) -> None:
    out = options.out
    check_replaceable(out, (FIGURE, STORE))
    words = vocabulary(transfers, transfers.Transfer)
    phi = evaluate(options.transfer, words, transfers.Transfer, "--transfer")
    subject = _Subject.of(options)
    with stage("simulating"):
        activity, seconds = _simulated(subject, phi, options)
    _check_run(activity, options.transfer)
    rows, reasons = _measure_and_write(out, subject, activity, options, seconds)
    kept = f"{options.duration - options.discard:g} after {options.discard:g}"
    print(table(f"{subject.title}, {options.num_trajectories} trajectories of {kept}", rows))
    if subject.types is not None:
        print(table("by type", _by_type(activity, subject.types)))
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
    labels: tuple[str, ...] | None = None  # of the neurons, where a file names them
    types: tuple[str, ...] | None = None  # of the neurons, where they are given

    @classmethod
    def of(cls, options: Options) -> "_Subject":
        if options.matrix is not None:
            return cls.of_file(options.matrix)
        return cls.of_ensemble(options.ensemble, options.n)

    @classmethod
    def of_ensemble(cls, text: str, n: int) -> "_Subject":
        law = evaluate(text, vocabulary(couplings, couplings.Ensemble), couplings.Ensemble, "--ensemble")
        return cls(
            title=f"{text}, N = {n}",
            n=n,
            g=float(jnp.sqrt(law.variance())),
            attributes={"ensemble": text, "n": n, "parameters": eqx.tree_pformat(law, short_arrays=False)},
            sample=lambda key, dtype: law.sample(n, key=key, dtype=dtype),
        )

    @classmethod
    def of_file(cls, source: Measured) -> "_Subject":
        weights, labels, types = read_weights(source)
        return cls(
            title=f"{source.matrix}, N = {len(weights)}",
            n=len(weights),
            g=float(np.linalg.norm(weights) / len(weights) ** 0.5),
            attributes=source.attributes(),
            sample=lambda key, dtype: couplings.Dense(jnp.asarray(weights, dtype)),
            labels=labels,
            types=types,
        )


def _simulated(subject: _Subject, phi: transfers.Transfer, options: Options) -> tuple[dynamics.Run, float]:
    """The activity, and the seconds that it took."""
    began = time.perf_counter()
    dtype = jnp.float32 if options.single else jnp.float64
    times: dict[str, Any] = {name: getattr(options, name) for name in ("duration", "discard", "dt", "save_every")}
    key_network, key_start, key_noise = jax.random.split(jax.random.key(options.seed), 3)
    try:
        net = dynamics.RateNetwork(subject.sample(key_network, dtype), phi, noise=options.noise)
        x0 = jax.random.normal(key_start, (options.num_trajectories, subject.n), dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # `_check_run` says it of trajectories that overflow
            activity = dynamics.simulate(net, x0, key=key_noise, **times)
    except ValueError as error:
        raise InputError(str(error)) from error
    return jax.block_until_ready(activity), time.perf_counter() - began


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
    out: Path, subject: _Subject, run: dynamics.Run, options: Options, seconds: float
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Writes the outputs; returns the rows of the printed table, and why a dimension is missing.

    The simulation took `seconds`.
    """
    began = time.perf_counter()
    with stage("measuring"):
        measured = [_Measured.of(name, z, run.interval) for name, z in (("x", run.states), ("phi", run.rates))]
    measuring = time.perf_counter() - began
    shown = np.linspace(0, subject.n - 1, min(options.num_units, subject.n)).round().astype(int)
    settings = {name: getattr(options, name) for name in RECORDED} | {"single": int(options.single)}
    attributes = subject.attributes | settings | {"g": subject.g} | made_by("simulate")
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        _dataset(run, measured, shown, subject).assign_attrs(attributes).to_zarr(folder / STORE, zarr_format=2)
        labels = subject.labels
        names = None if labels is None else [labels[k] for k in shown.tolist()]
        axes = _draw(np.asarray(run.times), np.asarray(run.rates)[:, 0, shown], measured, names)
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


def _by_type(run: dynamics.Run, types: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Mean and variance of states and rates of the neurons of each type: in time, and of the means between neurons."""
    of = np.array(types)
    rows = [("", "neurons", "mean x", "variance of x", "between", "mean rate", "variance of rates", "between")]
    for name in np.unique(of):
        cells = []
        for z in (run.states, run.rates):
            assert z is not None
            z = np.asarray(z[..., of == name])
            mean = z.mean((0, 1))
            cells += [f"{mean.mean():.4f}", f"{np.mean((z - mean) ** 2):.4f}", f"{mean.var():.4f}"]
        rows.append((str(name), f"{np.sum(of == name)}", *cells))
    return rows


def _dataset(run: dynamics.Run, measured: Sequence[_Measured], shown: np.ndarray, subject: _Subject) -> xr.Dataset:
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
    coords: dict[str, Any] = {"time": np.asarray(run.times), "unit": shown, "lag": measured[0].lags}
    for name, of_neurons in (("label", subject.labels), ("type", subject.types)):
        if of_neurons is not None:
            coords[name] = ("neuron", np.array(of_neurons))
    return xr.Dataset(variables, coords=coords, attrs=attributes)


def _draw(
    times: np.ndarray, rates: np.ndarray, measured: Sequence[_Measured], names: Sequence[str] | None
) -> plotting.Axes:
    x, phi = measured
    activity, covariance, components = plotting.panels(3)
    shown = times <= times[0] + DRAWN
    rows = np.linspace(0, rates.shape[1] - 1, min(ROWS, rates.shape[1])).round().astype(int)
    drawn = None if names is None else [names[int(row)] for row in rows]
    plotting.raster(times[shown], rates[shown][:, rows], activity, label="rate φ(x)", names=drawn)
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
