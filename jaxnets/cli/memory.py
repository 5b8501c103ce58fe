"""`jaxnets memory`: a retrieved sequence, the regimes over load and strength, and what stored patterns convert to."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from tqdm import tqdm

from .. import __version__, dynamics, plotting
from .. import memory as memories
from .. import transfer as transfers
from ..couplings import DeepHebbian
from ..memory import Regime
from ..observables.online import Overlaps
from .inputs import InputError, evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table

DEFAULT_LOADS = (0.02, 0.06, 0.1, 0.2, 0.3, 0.5, 0.7)
DEFAULT_STRENGTHS = (0.6, 0.8, 1.0, 1.25, 1.6, 2.2, 3.0)
FIGURE, STORE = "memory.png", "memory.zarr"
LENGTH = 20  # patterns in order that make a retrieval, whatever the size
CUED, FOLLOWED = 100.0, 300.0  # time constants after the cue, and of the Lyapunov exponent
SHOWN, RECALLED = 30, 45.0  # patterns of the raster, and its time constants
REACH = 8  # patterns on each side of the one that converts


def memory(
    *,
    n: int = 500,
    loads: tuple[float, ...] = DEFAULT_LOADS,
    strengths: tuple[float, ...] = DEFAULT_STRENGTHS,
    window: tuple[float, ...] = (1.0,),
    auto: float = 0.0,
    lengths: tuple[int, ...] = (1, 2, 3),
    conversion: float = 0.7,
    spins: int = 100_000,
    transfer: str = "Tanh()",
    trials: int = 1,
    seed: int = 0,
    out: Path = Path("."),
) -> None:
    """Associative memory in deep-Hebbian networks: sequences in time, and correlated patterns in equilibrium.

    Networks tau dx/dt = -x + J phi(x) that store P = load n binary patterns as a sequence, with weights `auto` from a
    pattern to itself and gamma window_r to its r-th successor, are started at a pattern and told apart by what follows.
    Ising networks with the symmetric window (1, gamma, ..., gamma), gamma = `conversion` / length, turn a pattern into
    a state that overlaps with its neighbours, known exactly for few patterns and sampled here. Writes memory.png
    (overlaps of a retrieved sequence, regimes with the lines of theory, overlaps after conversion) and memory.zarr (all
    of it, with all parameters) and prints the regimes. Times are in units of tau. Outputs of an earlier run are
    replaced; files of these names that jaxnets did not write are left alone, and nothing is run.

    Args:
        n: Number of neurons of a network.
        loads: Loads P / n, of the diagram.
        strengths: Strengths gamma of the couplings between patterns, of the diagram; the sequence drawn has the one
            nearest to 1.5 at the smallest load.
        window: Profile of the synaptic window, one number a step along the sequence.
        auto: Strength of the coupling of a pattern to itself.
        lengths: Lengths d of the symmetric windows of conversion.
        conversion: Strength of these windows in all, d gamma, to one side; patterns stay pure below 1/2.
        spins: Number of spins of the networks of conversion.
        transfer: Transfer function phi.
        trials: Networks at each point of the diagram, of which the most frequent regime is shown.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    for name, value in (("n", n), ("trials", trials), ("spins", spins)):
        if value < 1:
            raise InputError(f"`--{name}` must be at least 1, got {value}")
    if not 0 <= seed < 2**63:
        raise InputError(f"`--seed` must be in [0, 2^63), got {seed}")
    rows = _distinct("--loads", loads, positive=True)
    columns = _distinct("--strengths", strengths)
    if round(rows[0] * n) < 2:
        raise InputError(f"`--loads` must give two patterns or more, got {rows[0]:g} x {n} neurons")
    if not window:
        raise InputError("`--window` must have one number or more")
    if not lengths or not all(1 <= d <= REACH for d in lengths):
        raise InputError(f"`--lengths` must be whole numbers from 1 to {REACH}, got {' '.join(map(str, lengths))}")
    check_replaceable(out, (FIGURE, STORE))
    function = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    key_recall, key_diagram, key_spins = jax.random.split(jax.random.key(seed), 3)

    began = time.perf_counter()
    try:
        ensemble = DeepHebbian(rows[0], auto, columns[np.argmin(np.abs(columns - 1.5))] * np.asarray(window))
        recalled = _recall(ensemble, function, n, key_recall)
        diagram = memories.phase_diagram(
            function,
            n,
            loads=rows,
            heteros=columns,
            autos=(auto,),
            windows=(window,),
            trials=trials,
            key=key_diagram,
            duration=CUED,
            exponent_duration=FOLLOWED,
            length=LENGTH,
            dt=0.1,
            dtype=jnp.float32,
        )
        unstable = jax.vmap(lambda load: memories.instability(load, window, auto, transfer=function))(jnp.asarray(rows))
        converted = _conversion(lengths, conversion, spins, key_spins)
    except ValueError as error:
        raise InputError(str(error)) from error
    seconds = time.perf_counter() - began

    data = _dataset(recalled, diagram, unstable, converted, lengths).assign_attrs(
        {"n": n, "window": list(window), "auto": auto, "conversion": conversion, "spins": spins, "trials": trials}
        | {"transfer": transfer, "seed": seed, "time_unit": "tau", "regimes": [regime.name for regime in Regime]}
        | made_by("memory")
    )
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(_tables(data))
    print(f"{seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}")


def _distinct(option: str, values: tuple[float, ...], *, positive: bool = False) -> Float[np.ndarray, " k"]:
    """The values in rising order, each once."""
    if not values or not all(np.isfinite(value) and (value > 0 or not positive) for value in values):
        expected = "finite numbers > 0" if positive else "finite numbers"
        raise InputError(f"`{option}` must be one or more {expected}, got {' '.join(map(str, values))}")
    return np.unique(np.asarray(values, float))


# --- what is computed


def _recall(ensemble: DeepHebbian, function: transfers.Transfer, n: int, key: Array) -> tuple[np.ndarray, np.ndarray]:
    """Times and overlaps of the network that is drawn, from its first pattern on."""
    # Larger than those of the diagram: what one sees is then not the noise of few neurons.
    patterns = memories.binary(max(n, 2000), SHOWN, key=key, dtype=jnp.float32)
    net = dynamics.RateNetwork(memories.hebbian(patterns, ensemble.auto, ensemble.hetero), function)
    run = dynamics.simulate(net, patterns[:, 0], duration=RECALLED, save_every=4, record=Overlaps(patterns))
    return np.asarray(run.times), np.asarray(run.records)


def _conversion(
    lengths: tuple[int, ...], strength: float, spins: int, key: Array
) -> tuple[Float[np.ndarray, "k REACH+1"], Float[np.ndarray, "k REACH+1"]]:
    """Overlaps with a pattern and its neighbours after conversion: exact for few patterns, and of one sample each."""
    exact, sampled = [], []
    num = 2 * REACH + 1
    for d in tqdm(lengths, desc="Conversion", unit="window", delay=1):
        window = np.full(d, strength / d)
        distance = np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
        core = np.concatenate([[1.0], window, np.zeros(num)])[np.minimum(distance, d + 1)]
        start = np.eye(num)[REACH]
        exact.append(np.asarray(memories.zero_load_overlaps(core, start).value[REACH:]))

        key_patterns, key_moves = jax.random.split(jax.random.fold_in(key, d))
        patterns = memories.binary(spins, num, key=key_patterns, dtype=jnp.float32)
        J = memories.hebbian(patterns, 1.0, window, ring=False, symmetric=True)
        run = memories.glauber(J, patterns[:, REACH], temperature=0.0, sweeps=100, key=key_moves, patterns=patterns)
        overlaps = np.asarray(run.overlaps[-1])
        sampled.append((overlaps[REACH:] + overlaps[REACH::-1]) / 2)
    return np.array(exact), np.array(sampled)


def _dataset(recalled, diagram, unstable, converted, lengths) -> xr.Dataset:
    times, overlaps = recalled
    at = lambda values: np.asarray(values)[:, :, 0, 0]
    observed = diagram.observations
    measured: dict[str, Any] = {
        name: (("load", "strength", "trial"), at(getattr(observed, name)))
        for name in ("success", "fidelity", "reach", "speed", "peak_overlap", "variance", "edge")
        + ("exponent", "exponent_error")
    }
    return xr.Dataset(
        measured
        | {
            "overlaps": (("time", "pattern"), overlaps),
            "regime": (("load", "strength"), at(diagram.regimes())),
            "instability": (("load",), np.where(unstable.converged, unstable.value, np.nan)),
            "conversion_exact": (("length", "distance"), converted[0]),
            "conversion_sampled": (("length", "distance"), converted[1]),
        },
        coords={
            "time": times,
            "load": np.asarray(diagram.loads),
            "strength": np.asarray(diagram.heteros),
            "length": np.asarray(lengths),
            "distance": np.arange(REACH + 1),
        },
    )


# --- what is printed and drawn


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
    n, spins = data.attrs["n"], data.attrs["spins"]
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
        plotting.legend(ax, columns=3)
    return raster
