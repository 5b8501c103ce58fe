"""`jaxnets memory`: a retrieved sequence, the regimes over load and strength, and what stored patterns convert to."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from tqdm import tqdm

from .. import __version__, computations, dynamics, plotting, sweeps
from .. import memory as memories
from .. import transfer as transfers
from .._progress import moving, stage
from ..memory import Regime
from ..observables.online import Overlaps
from .inputs import evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError

FIGURE, STORE = "memory.png", "memory.zarr"
SWEEP = "memory.sweep"  # the folder of the diagram while it is computed
LENGTH = 20  # patterns in order that make a retrieval, whatever the size
CUED, FOLLOWED = 100.0, 300.0  # time constants after the cue, and of the Lyapunov exponent
SHOWN, RECALLED = 30, 45.0  # patterns of the raster, and its time constants
REACH = 8  # patterns on each side of the one that converts


@dataclass(frozen=True)
class Options:
    """What the command was asked for."""

    n: int
    loads: tuple[float, ...]
    strengths: tuple[float, ...]
    window: tuple[float, ...]
    auto: float
    lengths: tuple[int, ...]
    conversion: float
    num_spins: int
    transfer: str
    num_trials: int
    seed: int
    out: Path

    def rows(self) -> Float[np.ndarray, " loads"]:
        return _distinct("--loads", self.loads, positive=True)

    def columns(self) -> Float[np.ndarray, " strengths"]:
        return _distinct("--strengths", self.strengths)

    def phi(self) -> transfers.Transfer:
        return evaluate(self.transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")


def run(options: Options) -> None:
    _check(options)
    began = time.perf_counter()
    try:
        data = _computed(options)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    seconds = time.perf_counter() - began
    _write(data, options.out)
    print(_tables(data))
    print(f"{seconds:.1f} s; wrote {options.out / FIGURE} and {options.out / STORE}")


def _check(options: Options) -> None:
    least = options.rows()[0]
    if round(least * options.n) < 2:
        raise InputError(f"`--loads` must give two patterns or more, got {least:g} x {options.n} neurons")
    options.columns()
    lengths = options.lengths
    if not lengths or not all(1 <= d <= REACH for d in lengths):
        raise InputError(f"`--lengths` must be whole numbers from 1 to {REACH}, got {' '.join(map(str, lengths))}")
    options.phi()
    check_replaceable(options.out, (FIGURE, STORE))


def _distinct(option: str, values: tuple[float, ...], *, positive: bool = False) -> Float[np.ndarray, " k"]:
    """The values in rising order, each once."""
    if not values or not all(np.isfinite(value) and (value > 0 or not positive) for value in values):
        expected = "finite numbers > 0" if positive else "finite numbers"
        raise InputError(f"`{option}` must be one or more {expected}, got {' '.join(map(str, values))}")
    return np.unique(np.asarray(values, float))


# --- computing


def _computed(options: Options) -> xr.Dataset:
    key_recall, key_spins = jax.random.split(jax.random.key(options.seed))
    with stage("recalling a sequence"):
        recalled = _recalled(options, key_recall)
    parts = [recalled, _regimes(options), _converted(options, key_spins)]
    attributes = {name: value for name, value in vars(options).items() if name not in ("loads", "strengths", "out")}
    attributes |= {name: list(attributes[name]) for name in ("window", "lengths")}
    attributes |= {"time_unit": "tau", "regimes": [regime.name for regime in Regime]}
    return xr.merge(parts, combine_attrs="drop").assign_attrs(attributes | made_by("memory"))


def _recalled(options: Options, key: Array) -> xr.Dataset:
    """Overlaps in time of the network that is drawn, from its first pattern on."""
    strengths = options.columns()
    window = strengths[np.argmin(np.abs(strengths - 1.5))] * np.asarray(options.window)
    # Larger than the networks of the diagram, so that one does not see the noise of few neurons.
    patterns = memories.binary(max(options.n, 2000), SHOWN, key=key, dtype=jnp.float32)
    net = dynamics.RateNetwork(memories.hebbian(patterns, options.auto, window), options.phi())
    run = dynamics.simulate(net, patterns[0], duration=RECALLED, save_every=4, record=Overlaps(patterns))
    return xr.Dataset({"overlaps": (("time", "pattern"), np.asarray(run.records))}, {"time": np.asarray(run.times)})


def _regimes(options: Options) -> xr.Dataset:
    """Regimes and what they are told from over loads and strengths, with the line of theory."""
    rows, columns = options.rows(), options.columns()
    window = ", ".join(f"gamma * {weight!r}" for weight in options.window)
    described = sweeps.Sweep(
        f"{computations.__name__}:{computations.regime.__name__}",
        axes={"load": rows.tolist(), "gamma": columns.tolist()},
        fixed={
            "ensemble": f"DeepHebbian(load, {options.auto!r}, ({window},))",
            "transfer": options.transfer,
            "n": options.n,
            "max_modes": round(rows[-1] * options.n),
            "length": LENGTH,
            "duration": CUED,
            "exponent_duration": FOLLOWED,
            "dt": 0.1,
            "dtype": "float32",
        },
        realisations=options.num_trials,
        seed=options.seed,
    )
    ended = sweeps.run(described, options.out / SWEEP)
    if ended.failures:
        raise InputError(ended.failures[0].reason)
    names = {"gamma": "strength", "realisation": "trial"}
    found = sweeps.open(options.out / SWEEP).drop_vars(["status", "converged"]).rename(names)
    trials = found.regime.transpose("load", "strength", "trial").values
    line = jax.vmap(lambda load: memories.instability(load, options.window, options.auto, transfer=options.phi()))
    with stage("where rest is unstable"):
        unstable = jax.block_until_ready(line(jnp.asarray(rows)))
    return found.drop_vars("regime").assign(
        regime=(("load", "strength"), np.asarray(memories.majority(trials))),
        instability=(("load",), np.where(unstable.converged, unstable.value, np.nan)),
    )


def _converted(options: Options, key: Array) -> xr.Dataset:
    """Overlaps with a pattern and its neighbours after conversion: exact for few patterns, and of one sample each."""
    exact, sampled = [], []
    num_patterns = 2 * REACH + 1
    distance = np.abs(np.subtract.outer(np.arange(num_patterns), np.arange(num_patterns)))
    for d in _shown(options.lengths):
        window = np.full(d, options.conversion / d)
        core = np.concatenate([[1.0], window, np.zeros(num_patterns)])[np.minimum(distance, d + 1)]
        pure = np.eye(num_patterns)[REACH]
        exact.append(np.asarray(memories.zero_load_overlaps(core, pure).value[REACH:]))

        key_patterns, key_moves = jax.random.split(jax.random.fold_in(key, d))
        patterns = memories.binary(options.num_spins, num_patterns, key=key_patterns, dtype=jnp.float32)
        J = memories.hebbian(patterns, 1.0, window, ring=False, symmetric=True)
        run = memories.glauber(J, patterns[REACH], temperature=0.0, num_sweeps=100, key=key_moves, patterns=patterns)
        overlaps = np.asarray(run.overlaps[-1])
        sampled.append((overlaps[REACH:] + overlaps[REACH::-1]) / 2)
    dims = ("length", "distance")
    return xr.Dataset(
        {"conversion_exact": (dims, np.array(exact)), "conversion_sampled": (dims, np.array(sampled))},
        {"length": np.asarray(options.lengths), "distance": np.arange(REACH + 1)},
    )


def _shown(lengths: tuple[int, ...]) -> Iterator[int]:
    with moving(tqdm(lengths, desc="converting", unit="window")) as bar:
        yield from bar


# --- writing, printing and drawing


def _write(data: xr.Dataset, out: Path) -> None:
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    # Everything in it is in the store now.
    shutil.rmtree(out / SWEEP)


def _tables(data: xr.Dataset) -> str:
    names = {int(regime): regime.name.lower() for regime in Regime}
    strengths = (f"gamma = {gamma:g}" for gamma in data.strength.values)
    regimes: list[tuple[str, ...]] = [("", *strengths, "unstable from")]
    for load in data["load"].values:
        at = data.sel(load=load)
        line = at.instability.item()
        cells = (names.get(int(kind), "unknown") for kind in at.regime.values)
        regimes.append((f"load {load:g}", *cells, "-" if np.isnan(line) else f"{line:.4f}"))
    profiles: list[tuple[str, ...]] = [("distance", *(str(k) for k in data.distance.values))]
    for d in data.length.values:
        at = data.sel(length=d)
        cells = zip(at.conversion_exact.values, at.conversion_sampled.values, strict=True)
        profiles.append((f"d = {d}", *(f"{exact:.3f} ({sampled:.3f})" for exact, sampled in cells)))
    n, spins = data.attrs["n"], data.attrs["num_spins"]
    return "\n".join(
        [
            table(f"regimes of {n} neurons after a cue", regimes),
            "",
            table(f"overlaps of a converted pattern with its neighbours, load 0 ({spins} spins)", profiles),
        ]
    )


def _draw(data: xr.Dataset) -> plotting.Axes:
    raster, diagram, profile = plotting.panels(3, height=3.1)
    plotting.raster(data.time.values, data.overlaps.values, raster, label="overlap", top=0.5)
    raster.set(xlabel="time (τ)", ylabel="stored pattern")

    names = [regime.name.lower() for regime in Regime]
    plotting.phases(data.strength.values, data["load"].values, data.regime.values, names, diagram)
    plotting.profile(data.instability.values, data["load"].values, diagram, label="x = 0 unstable (theory)")
    diagram.set(xlabel="strength γ of the sequence", ylabel="load P / N")

    for color, d in zip(plotting.shades(data.sizes["length"], plotting.COLD), data.length.values, strict=True):
        at = data.sel(length=d)
        plotting.profile(at.distance.values, at.conversion_exact.values, profile, color=color, label=f"d = {d}, exact")
        plotting.profile(at.distance.values, at.conversion_sampled.values, profile, color=color, style="o")
    profile.set(xlabel="distance along the sequence", ylabel="overlap after conversion\n(points: samples)")
    for ax in (diagram, profile):
        plotting.legend(ax, num_columns=3)
    return raster
