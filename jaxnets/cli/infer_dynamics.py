"""What a fitted low-rank network does without noise, and its trials beside those of the recording."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex, Float

from .. import dynamics, inference
from ..eigen import host_eigenvalues
from ..inference import LowRankFit, StochasticLowRank
from ..transfer import as_piecewise_linear

STARTS = 60  # of searches for fixed points of smooth units
TRANSIENT, ORBIT = 3000, 4096  # steps without noise, before and while an orbit is looked at
STILL = 1e-7  # of the size of states: an orbit that moves less is at a fixed point
REPLICAS = 20  # recordings of the model, whose scatter is the error
MOST_REGIONS = 20_000  # where phi is linear, up to which all fixed points are sought
LISTED = 8


@dataclass(frozen=True)
class Dynamics:
    """The map of z without noise, under the mean input: its fixed points, 2-cycles, and an orbit.

    `all_found` says that no fixed point is missing. The orbit has a `frequency` per step, 0 at rest.
    """

    points: Float[np.ndarray, "k R"]
    multipliers: Complex[np.ndarray, "k R"]
    stable: Bool[np.ndarray, " k"]
    cycles: Float[np.ndarray, "c 2 R"]
    all_found: bool
    orbit: Float[np.ndarray, "T R"]
    frequency: float
    step: Any  # of z, compiled

    def rows(self, interval: float) -> list[tuple[str, ...]]:
        found = "all" if self.all_found else "those found, perhaps not all"
        rows: list[tuple[str, ...]] = [
            ("fixed points", f"{len(self.points)}, {int(self.stable.sum())} stable ({found})"),
        ]
        for k, (point, values) in enumerate(zip(self.points[:LISTED], self.multipliers[:LISTED], strict=True)):
            kind = "stable" if self.stable[k] else "unstable"
            at = ", ".join(f"{z:.3f}" for z in point)
            rows.append((f"  {k + 1} {kind}", f"z = {at}; multipliers {', '.join(map(_complex, values[:4]))}"))
        if len(self.points) > LISTED:
            rows.append(("", f"and {len(self.points) - LISTED} more in the zarr"))
        if self.all_found or len(self.cycles):
            rows.append(("2-cycles", str(len(self.cycles))))
        if self.frequency == 0:
            rows.append(("a long orbit", "comes to rest"))
        else:
            size = np.sqrt(np.mean(np.var(self.orbit, axis=0)))
            period = f"{interval / self.frequency:.4g}"
            rows.append(("a long orbit", f"moves, with most power at a period of {period}; rms of z {size:.3g}"))
        return rows

    def variables(self) -> dict[str, Any]:
        return {
            "fixed_point": (("point", "mode"), self.points),
            "multiplier_modulus": (("point", "multiplier"), np.abs(self.multipliers)),
            "multiplier_angle": (("point", "multiplier"), np.angle(self.multipliers)),
            "stable": (("point",), self.stable),
            "cycle": (("cycles", "side", "mode"), self.cycles),
            "orbit": (("orbit_step", "mode"), self.orbit),
        }


def _complex(value: complex) -> str:
    return f"{value.real:.3f}" if abs(value.imag) < 1e-9 else f"{value.real:.3f} {value.imag:+.3f}i"


def dynamics_of(model: StochasticLowRank, latents: Float[np.ndarray, "B T R"], drive) -> Dynamics:
    """Fixed points and a long orbit of a model, from the latent variables of its recording."""
    v = None if drive is None else jnp.asarray(drive, model.m.dtype)
    step = jax.jit(jax.vmap(lambda z: model.step(z, v)))
    states = latents.reshape(-1, model.rank)
    found = _all_points(model, drive)
    if found is None:
        points = _searched(model, states, drive)
        cycles, complete = np.zeros((0, 2, model.rank)), False
    else:
        points, cycles, complete = found.points, found.cycles, True
    jacobians = np.asarray(jax.vmap(jax.jacfwd(lambda z: model.step(z, v)))(jnp.asarray(points, model.m.dtype)))
    values = host_eigenvalues(jacobians) if len(points) else np.zeros((0, model.rank))
    values = np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, stable=True), 1).astype(complex)
    stable = np.all(np.abs(values) < 1, axis=1) if found is None else found.stable
    orbit = _orbit(model, states[-1], v)
    return Dynamics(points, values, stable, cycles, complete, orbit, _frequency(orbit), step)


def _all_points(model: StochasticLowRank, drive):
    """All fixed points of units made of lines, None for others and where there would be too many regions."""
    try:
        lines = as_piecewise_linear(model.transfer)
    except ValueError:
        return None
    planes = model.size * len(np.asarray(lines.breaks))
    if sum(_choose(planes, r) for r in range(model.rank + 1)) > MOST_REGIONS:
        return None
    return inference.fixed_points(model, drive)


def _choose(n: int, k: int) -> float:
    return float(np.prod([(n - j) / (j + 1) for j in range(k)])) if k else 1.0


def _searched(model: StochasticLowRank, states: Float[np.ndarray, "S R"], drive) -> Float[np.ndarray, "k R"]:
    """Fixed points from states of the recording, from those stretched or mirrored, and from 0."""
    rng = np.random.default_rng(0)
    drawn = states[rng.integers(len(states), size=STARTS)] * rng.uniform(-1.5, 1.5, (STARTS, 1))
    starts = np.concatenate([np.zeros((1, model.rank)), drawn])
    m, h = np.asarray(model.m), np.broadcast_to(np.asarray(model.threshold), (model.size,))
    constant = -h if drive is None else np.asarray(model.input_weights) @ drive - h
    found = dynamics.fixed_points(model.to_network(input=drive), starts @ m.T + constant, progress=False)
    return np.linalg.lstsq(m, (np.asarray(found.points) - constant).T, rcond=None)[0].T


def _orbit(model: StochasticLowRank, z, v) -> Float[np.ndarray, "T R"]:
    advance = lambda z, _: (model.step(z, v), z)
    return np.asarray(jax.lax.scan(advance, jnp.asarray(z), length=TRANSIENT + ORBIT)[1])[TRANSIENT:]


def _frequency(orbit: Float[np.ndarray, "T R"]) -> float:
    """The frequency with most power, to a tenth of the resolution or so; 0 at rest."""
    moving = orbit - orbit.mean(0)
    if np.max(np.abs(moving[-100:] - moving[-100:].mean(0))) < STILL * (1 + np.max(np.abs(orbit))):
        return 0.0
    power = np.sum(np.abs(np.fft.rfft(moving * np.hanning(len(moving))[:, None], axis=0)) ** 2, 1)
    k = int(np.argmax(power[1:])) + 1
    if 1 < k < len(power) - 1:  # the top of the parabola through the logarithms
        low, mid, high = np.log(power[k - 1 : k + 2])
        k = k + 0.5 * (low - high) / (low - 2 * mid + high)
    return k / len(moving)


# --- trials of the model beside those of the recording


@dataclass(frozen=True)
class Moments:
    """Second moments of data and of recordings that the model makes, which lack the same numbers.

    `c` are covariances by lag in steps, `power` the spectra, `components` the parts of the variance, of the data in row
    0 and of `REPLICAS` recordings of the model in the others.
    """

    c: Float[np.ndarray, "r lags"]
    frequencies: Float[np.ndarray, " f"]
    power: Float[np.ndarray, "r f"]
    components: Float[np.ndarray, "r M"]
    means: Float[np.ndarray, "r M"]

    @property
    def dimensions(self) -> Float[np.ndarray, " r"]:
        """Participation ratios."""
        return np.sum(self.components, 1) ** 2 / np.sum(self.components**2, 1)

    def rows(self, interval: float) -> list[tuple[str, ...]]:
        def row(name: str, values) -> tuple[str, ...]:
            return name, f"{values[0]:.4g}", f"{values[1:].mean():.4g} ± {values[1:].std(ddof=1):.2g}"

        half = np.argmax(self.c[:, 1:] < self.c[:, 1:2] / 2, axis=1) + 1.0
        return [
            ("", "data", "model, ± its scatter"),
            row("mean", self.means.mean(1)),
            row("variance of a unit", self.c[:, 0]),
            row("covariance a step later", self.c[:, 1]),
            row("time to half of it", half * interval),
            row("dimension PR", self.dimensions),
        ]

    def variables(self, interval: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        axes = {"autocovariance": ("lag_step", self.c), "power": ("frequency_per_step", self.power)}
        axes |= {"components": ("component", self.components), "mean": ("unit", self.means)}
        for name, (axis, values) in axes.items():
            found[f"{name}_data"] = ((axis,), values[0])
            found[f"{name}_model"] = (("replica", axis), values[1:])
        found["lag"] = (("lag_step",), interval * np.arange(self.c.shape[1]))
        found["frequency"] = (("frequency_per_step",), self.frequencies / interval)
        return found


def compared(fit: LowRankFit, data, inputs, key) -> Moments:
    """Moments of the recording and of as many trials of the model, several times."""
    y = _filled(data)
    B, T, _ = y.shape
    u = None if inputs is None else np.nan_to_num(_filled(inputs))
    many = None if u is None else np.tile(u, (REPLICAS, 1, 1))
    drawn = np.asarray(fit.sample(REPLICAS * B, T, key=key, inputs=many).recording).reshape(REPLICAS, B, T, -1)
    drawn = np.where(np.isfinite(y), drawn, np.nan)
    found = [_moments(one) for one in (y, *drawn)]
    c, power, components, means = (np.stack(parts) for parts in zip(*found, strict=True))
    return Moments(c, np.fft.rfftfreq(2 * c.shape[1], 1.0), power, components, means)


def _filled(trials) -> Float[np.ndarray, "B T M"]:
    y = np.full((len(trials), max(map(len, trials)), trials[0].shape[1]), np.nan)
    for row, trial in zip(y, trials, strict=True):
        row[: len(trial)] = trial
    return y


def _moments(y: Float[np.ndarray, "B T M"]):
    """Covariances by lag, their spectrum, parts of the variance and means, over the pairs of numbers that are there."""
    mean = np.nanmean(y, (0, 1))
    seen = np.isfinite(y)
    x, seen = np.where(seen, y - mean, 0.0), seen.astype(float)
    num = max(2, y.shape[1] // 2)
    c = np.zeros(num)
    for k in range(num):
        early, late = slice(0, y.shape[1] - k), slice(k, None)
        pairs = np.sum(seen[:, early] * seen[:, late], (0, 1))
        c[k] = np.mean(np.sum(x[:, early] * x[:, late], (0, 1)) / np.maximum(pairs, 1))
    # Under Parzen's window, whose transform is positive, spectra are positive where data have no gaps.
    u = np.arange(num) / num
    window = np.where(u < 0.5, 1 - 6 * u**2 * (1 - u), 2 * (1 - u) ** 3)
    power = np.fft.rfft(np.concatenate([c * window, [0.0], (c * window)[:0:-1]])).real * 2
    flat, there = x.reshape(-1, x.shape[2]), seen.reshape(-1, x.shape[2])
    C = flat.T @ flat / np.maximum(there.T @ there, 1)
    values = np.linalg.eigvalsh(C)[::-1]
    return c, power, values, mean
