"""What deep-Hebbian networks do in time, Jiang et al. 2022 (arXiv 2208.11411): regimes, retrieval and exponents.

The other half of the paper, spectra and the instability of rest, is `sequences2022`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import memory, plotting
from ..couplings import DeepHebbian
from ..dynamics import RateNetwork, lyapunov_spectrum, simulate
from ..memory import Regime
from ..observables.online import Overlaps
from ..plotting import BLACK, BLUE, VERMILLION
from ..transfer import Tanh
from .comparison import Comparison, error_of_one, standard_error
from .paper import Figure

GAMMA = 1.5  # strength of the sequences in time
LENGTH = 20  # patterns in order that make a retrieval, at any load
STEPS: dict[str, Any] = {"dt": 0.1, "progress": False}  # of all that runs in time


@dataclass(frozen=True)
class Sizes:
    regime_units: int
    regime_patterns: int
    regime_samples: int
    regime_duration: float
    loads: tuple[float, ...]  # of the diagram of phases
    strengths: tuple[float, ...]
    phase_units: int
    phase_samples: int
    retrieval_samples: int
    exponent_units: int
    exponent_samples: int
    exponent_duration: float


# --- what networks retrieve -------------------------------------------------------------------------------------

# c, d, gamma: the regime, and the time of a cycle of 40 patterns.
REGIMES: list[tuple[float, int, float, Regime, float | None]] = [
    (0.0, 1, 1.5, Regime.SEQUENCE, 40.0),
    (0.0, 2, 1.5, Regime.SEQUENCE, 26.7),
    (2.0, 1, 1.5, Regime.SEQUENCE, 97.0),
    (2.0, 1, 0.2, Regime.FROZEN, None),
    (2.0, 1, 0.55, Regime.MIXTURE, None),
    (0.0, 2, -1.5, Regime.OSCILLATION, None),
]


def draw_regimes(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n, num_patterns, duration = sizes.regime_units, sizes.regime_patterns, sizes.regime_duration
    rows = []
    panels = [ax for row in plotting.table(2, 3, width=2.33, height=1.9) for ax in row]
    for i, (ax, (c, d, gamma, regime, cycle)) in enumerate(zip(panels, REGIMES, strict=True)):
        # Both windows have two steps, the second perhaps of strength 0: one compiled program.
        ensemble = DeepHebbian(num_patterns / n, c, np.where(np.arange(2) < d, gamma, 0.0))
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.regime_samples)
        found = [
            memory.observe(
                ensemble, Tanh(), n, key=one, duration=duration, exponent_duration=duration, dtype=jnp.float32, **STEPS
            )
            for one in keys
        ]
        name = f"c = {c:g}, d = {d}, γ = {gamma:g}"
        rows += _regime_rows(name, found, regime, None if cycle is None else cycle / 40, num_patterns)
        # A network of that regime, or the first one.
        kinds = np.array([int(one.regime) for one in found])
        drawn = int(np.argmax(kinds == regime))
        times, overlaps = _overlaps_in_time(ensemble, n, keys[drawn])
        plotting.raster(times, overlaps, ax, label="overlap" if i % 3 == 2 else None, top=0.5)
        ax.set(xlabel="time (τ)", ylabel="stored pattern")
        ax.set_title(f"{name}\n{Regime(int(kinds[drawn])).name.lower()}", fontsize=7)
    caption = (
        f"Overlaps of {num_patterns} patterns with the rates of one network of {n} units that starts at the first of "
        "them (the scale ends at 0.5), and the regime that is found there."
    )
    return Figure(panels[0], caption, rows)


def _regime_rows(
    name: str, found: list[memory.Observation], regime: Regime, per_pattern: float | None, num_patterns: int
) -> list[Comparison]:
    """Of networks with one set of strengths, the published regime and time per pattern."""
    rows = [
        Comparison(
            f"share of networks with regime {regime.name.lower()}, {name}",
            published=1.0,
            sample=float(np.mean([int(one.regime) == regime for one in found])),
            allowance=2 / 3,
            note="the most frequent one of several",
        )
    ]
    if per_pattern is not None:
        periods = np.array([float(one.period) for one in found])
        times = periods[np.isfinite(periods)] / num_patterns  # of networks that retrieve
        rows.append(
            Comparison(
                f"time per pattern (τ), {name}",
                published=per_pattern,
                sample=float(times.mean()) if times.size else np.nan,
                sample_error=standard_error(times),
                allowance=0.1 * per_pattern,
                note="read from a cycle of 40 in a figure, to some per cent",
            )
        )
    if regime is Regime.FROZEN:
        peaks = np.array([float(one.peak_overlap) for one in found])
        rows.append(
            Comparison(
                f"overlap of the frozen pattern, {name}",
                published=0.95,
                sample=float(peaks.mean()),
                sample_error=standard_error(peaks),
                allowance=0.02,
                note="published as about .95",
            )
        )
    return rows


def _overlaps_in_time(ensemble: DeepHebbian, n: int, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    coupling = ensemble.sample(n, key=key, dtype=jnp.float32)
    net, overlaps = RateNetwork(coupling, Tanh()), Overlaps(coupling.left.T)
    run = simulate(net, coupling.left[:, 0], duration=60.0, save_every=4, record=overlaps, **STEPS)
    return np.asarray(run.times), np.asarray(run.records)


RETRIEVES = 0.08  # retrieval ends at this load, gamma = 1.5
CUED_LOADS = np.linspace(0.04, 0.14, 6)


def draw_phases(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n, loads = sizes.phase_units, np.array(sizes.loads)
    kinds = _kinds(sizes, key)
    fine = np.linspace(loads[0], loads[-1], 60)
    shares = [_shares(load, sizes, jax.random.fold_in(key, i)) for i, load in enumerate(CUED_LOADS)]
    values, errors = np.array(shares).T
    # The mean load beyond which a network fails, if more load never helps.
    step = CUED_LOADS[1] - CUED_LOADS[0]
    ends = CUED_LOADS[0] - step / 2 + step * values.sum()
    rows = [
        Comparison(
            f"load at which retrieval of {LENGTH} patterns ends, c = 0, d = 1, γ = {GAMMA:g}",
            published=RETRIEVES,
            sample=float(ends),
            sample_error=float(step * np.sqrt(np.sum(errors**2))),
            # The published load and this one come from different criteria of retrieval.
            allowance=0.03,
            note="published as about .08",
        )
    ]

    left, right = plotting.table(1, 2, width=3.5, height=2.7)[0]
    names = [regime.name.lower() for regime in Regime]
    plotting.phases(np.array(sizes.strengths), loads, kinds, names, left)
    plotting.profile(1 / np.sqrt(1 + fine), fine, left, color=BLACK, label="x = 0 unstable")
    left.set(xlabel="strength γ of the sequence", ylabel="load α = P / N")
    plotting.legend(left, num_columns=3)

    plotting.samples(CUED_LOADS, values, right, error=errors, color=BLUE, label="share that retrieves")
    plotting.level(RETRIEVES, right, color=BLACK, style=":", label="published")
    right.set(xlabel="load α = P / N", ylabel=f"share of networks, γ = {GAMMA:g}", ylim=(-0.05, 1.05))
    plotting.legend(right, num_columns=2)
    caption = (
        f"Left: regime of networks of {n} units after a cue, c = 0, d = 1, the most frequent of {sizes.phase_samples}, "
        f"and the line of theory γ = (1 + α)^(-1/2). Right: share of networks of {sizes.regime_units} units that "
        f"retrieve {LENGTH} patterns in order."
    )
    return Figure(left, caption, rows)


def _kinds(sizes: Sizes, key: PRNGKeyArray) -> Int[np.ndarray, "loads strengths"]:
    """The most frequent regime at each load and strength, of networks with the same keys everywhere."""
    n, loads = sizes.phase_units, sizes.loads
    settings = {"duration": 60.0, "exponent_duration": 200.0, "length": min(LENGTH, round(loads[0] * n)), **STEPS}
    # Arrays of one shape for all loads compile once.
    settings |= {"max_modes": round(max(loads) * n), "dtype": jnp.float32}
    keys = [jax.random.fold_in(key, trial) for trial in range(sizes.phase_samples)]

    def at(load: float, gamma: float) -> Int[Array, ""]:
        ensemble = DeepHebbian(load, 0.0, (gamma,))
        found = [memory.observe(ensemble, Tanh(), n, key=one, **settings) for one in keys]
        return memory.majority(jnp.stack([one.regime for one in found]))

    return np.array([[at(load, gamma) for gamma in sizes.strengths] for load in loads])


def _shares(load: float, sizes: Sizes, key: PRNGKeyArray) -> tuple[float, float]:
    """The share of networks that retrieve a stretch of patterns, and its standard error."""
    success = []
    n = sizes.regime_units
    for one in jax.random.split(key, sizes.retrieval_samples):
        # Arrays of one shape for all loads, the last patterns being silent, compile once. On a chain the ring is not
        # asked for, nor reached by a cue that moves on.
        most = round(CUED_LOADS[-1] * n)
        coupling = DeepHebbian(load, 0.0, (GAMMA,)).sample(n, key=one, dtype=jnp.float32, max_modes=most)
        net = RateNetwork(coupling, Tanh())
        found = memory.retrieve(net, coupling.left.T, length=LENGTH, duration=60.0, ring=False, save_every=1, **STEPS)
        success.append(bool(found.success))
    share = memory.success_probability(np.array(success))
    return float(share.value), float(share.error)


EXPONENTS = {0.5: 0.020, 1.0: 0.056}
LOCKED = {0.01: -0.024, 0.1: -0.026}  # published too, of cycles that lock to the step: see `CHOICES`


def draw_exponents(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows, found = [], []
    for i, load in enumerate([*LOCKED, *EXPONENTS]):
        keys = jax.random.split(jax.random.fold_in(key, i), sizes.exponent_samples)
        exponents = np.array([_exponent_of_map(load, sizes, one) for one in keys])
        found.append((load, exponents.mean(), standard_error(exponents)))
        if load in EXPONENTS:
            rows.append(
                Comparison(
                    f"largest Lyapunov exponent of the map (per τ), c = 0, d = 1, γ = {GAMMA:g}, α = {load:g}",
                    published=EXPONENTS[load],
                    sample=float(exponents.mean()),
                    sample_error=error_of_one(exponents),
                    allowance=0.001,
                    note="printed for one network: the error here is for one, too",
                )
            )
    ax = plotting.figure(3.4, 2.6)
    loads, values, errors = np.array(found).T
    published = LOCKED | EXPONENTS
    plotting.profile(np.array([0.008, 1.2]), np.zeros(2), ax, color=BLACK, style=":")
    plotting.samples(loads, values, ax, error=errors, label="sample here")
    points = np.array(list(published.items()))
    plotting.samples(points[:, 0], points[:, 1], ax, color=VERMILLION, marker="s", label="published")
    ax.set(xlabel="load α = P / N", ylabel="largest exponent (1/τ)", xscale="log")
    plotting.legend(ax, num_columns=2)
    caption = (
        f"Largest Lyapunov exponent of networks of {sizes.exponent_units} units as a map with steps of τ / 2, γ = "
        f"{GAMMA:g}: means over {sizes.exponent_samples} networks with bars of two standard errors. Sequences are "
        "retrieved at the two smaller loads, and chaotic at the larger ones."
    )
    return Figure(ax, caption, rows)


def _euler(f, t: Float[Array, ""], x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    return x + dt * f(t, x)


def _exponent_of_map(load: float, sizes: Sizes, key: PRNGKeyArray) -> float:
    coupling = DeepHebbian(load, 0.0, (GAMMA,)).sample(sizes.exponent_units, key=key, dtype=jnp.float32)
    spectrum = lyapunov_spectrum(
        RateNetwork(coupling, Tanh()),
        coupling.left[:, 0],
        num_exponents=1,
        duration=sizes.exponent_duration,
        discard=sizes.exponent_duration / 3,
        dt=0.5,
        interval=1.0,
        scheme=_euler,
        key=key,
        progress=False,
    )
    return float(spectrum.exponents[0])
