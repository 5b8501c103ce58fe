"""Multistable threshold networks (arXiv 2210.03241): counts, capacity, the exact flow and completion of patterns."""

from dataclasses import dataclass
from itertools import product
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import learning, multistability, plotting
from ..dynamics import RateNetwork, simulate
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from ..transfer import heaviside
from .comparison import Comparison, standard_error
from .paper import Figure, Paper

COLORS, STYLES, MARKERS = (BLUE, VERMILLION, GREEN), ("-", "--", "-."), ("o", "s", "^")


@dataclass(frozen=True)
class Sizes:
    counted_units: tuple[int, ...]
    counted: int  # networks of each size
    inputs: tuple[int, ...]
    trials: int  # rows at each load
    loads: int
    step: float  # of the integration that is compared with the exact flow, in tau
    completion_units: int
    completion_starts: int


QUICK = Sizes(
    counted_units=(2, 4, 6, 8, 10),
    counted=6000,
    inputs=(20, 60),
    trials=40,
    loads=9,
    step=1e-3,
    completion_units=16,
    completion_starts=400,
)
FULL = Sizes(
    counted_units=(2, 4, 6, 8, 10, 12, 14),
    counted=200_000,
    inputs=(20, 60, 200),
    trials=1000,
    loads=17,
    step=1e-4,
    completion_units=40,
    completion_starts=20_000,
)


# --- how many patterns are stable -----------------------------------------------------------------------------


def draw_counts(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows, counts = [], []
    for n in sizes.counted_units:
        numbers = _numbers_of_stable_patterns(n, sizes.counted, jax.random.fold_in(key, n))
        counts.append((numbers.mean(), standard_error(numbers)))
        rows.append(
            Comparison(
                f"mean number of stable patterns, N = {n}",
                published=1 - 2.0**-n,
                sample=float(numbers.mean()),
                sample_error=standard_error(numbers),
                note="published as 1 - 2^-N",
            )
        )
    signs = {n: _numbers_of_sign_stable_patterns(n, sizes.counted // 2, key) for n in (2, 3)}
    for n, numbers in signs.items():
        rows.append(
            Comparison(
                f"mean number of sign-stable patterns, N = {n}",
                published=sum(comb(n, m) * 2.0 ** (-m * n) for m in range(1, n + 1)),
                sample=float(numbers.mean()),
                sample_error=standard_error(numbers),
                note="published as a sum over the number m of active units",
            )
        )
    ax = plotting.figure(3.4, 2.6)
    units = np.linspace(1, sizes.counted_units[-1], 100)
    values, errors = np.array(counts).T
    plotting.profile(units, 1 - 2.0**-units, ax, color=VERMILLION, label="1 - 2$^{-N}$")
    plotting.samples(np.array(sizes.counted_units), values, ax, error=errors, label="sample")
    ax.set(xlabel="number of units N", ylabel="mean number of stable patterns", ylim=(0.4, 1.2))
    plotting.legend(ax, num_columns=2)
    caption = (
        f"Stable patterns of networks with independent symmetric weights: {sizes.counted} networks of each size "
        "(marks, bars of two standard errors) and the exact mean (line). The silent pattern does not count."
    )
    return Figure(ax, caption, rows)


def _all_patterns(n: int) -> Int[np.ndarray, "K n"]:
    """All patterns but silence, which is marginal without bias."""
    return np.array(list(product((0, 1), repeat=n)))[1:]


def _numbers_of_stable_patterns(n: int, trials: int, key: PRNGKeyArray) -> Float[np.ndarray, " trials"]:
    patterns = jnp.asarray(_all_patterns(n), float)

    @jax.jit
    def count(key):
        return jnp.sum(multistability.is_stable(jax.random.normal(key, (n, n)), patterns))

    # A few at a time: the fields of all patterns are held at once.
    keys = jax.random.split(key, trials)
    return np.asarray(jax.lax.map(count, keys, batch_size=64), float)


def _numbers_of_sign_stable_patterns(n: int, trials: int, key: PRNGKeyArray) -> Float[np.ndarray, " trials"]:
    signs = np.asarray(jax.random.rademacher(jax.random.fold_in(key, n), (trials, n, n), float))
    patterns = _all_patterns(n)
    return np.array([np.sum(multistability.sign_stability(one, patterns).stable) for one in signs], float)


# --- how many can be stored -----------------------------------------------------------------------------------


def draw_capacity(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows, ax = [], plotting.figure(3.4, 2.6)
    for i, n in enumerate(sizes.inputs):
        fine = np.arange(round(1.2 * n), round(2.8 * n) + 1)
        chances = np.array([_separable(int(K), n) for K in fine])
        look = {"color": COLORS[i], "label": f"N = {n}"}
        plotting.profile(fine / n, chances, ax, style=STYLES[i], **look)
        numbers = np.linspace(1.4 * n, 2.6 * n, sizes.loads).round().astype(int)
        shares = np.array(
            [_share_stored(int(K), n, sizes.trials, jax.random.fold_in(key, int(K) * 1000 + n)) for K in numbers]
        )
        errors = np.sqrt(shares * (1 - shares) / sizes.trials)
        plotting.samples(numbers / n, shares, ax, error=errors, color=COLORS[i], marker=MARKERS[i])
        # The mean over rows of the load beyond which a row fails.
        step = numbers[1] / n - numbers[0] / n
        half = numbers[0] / n - step / 2 + step * shares.sum()
        rows.append(
            Comparison(
                f"patterns per input K / N that a row of N = {n} weights can hold",
                published=2.0,
                theory=float(fine[np.argmin(np.abs(chances - 0.5))] / n),
                sample=float(half),
                sample_error=float(step * np.sqrt(np.sum(errors**2))),
                tolerance=1.5 / n,
                # Loads end where some rows still fail, or hold.
                allowance=float(step),
                note="random half-active patterns; theory: Cover's count",
            )
        )
    plotting.level(2.0, ax, color=BLACK, style=":")
    ax.set(xlabel="patterns per input K / N", ylabel="share of rows that hold them", ylim=(-0.05, 1.05))
    plotting.legend(ax, num_columns=3)
    caption = (
        f"Share of {sizes.trials} rows of N weights that hold K random half-active patterns, by linear programmes "
        "(marks, bars of two standard errors), and Cover's count of linearly separable assignments (lines)."
    )
    return Figure(ax, caption, rows)


def _separable(K: int, n: int) -> float:
    """Cover 1965: the share of the 2^K assignments of K points in general position in n dimensions."""
    return float(2 * sum(comb(K - 1, k) for k in range(n)) / 2**K)


def _share_stored(K: int, n: int, trials: int, key: PRNGKeyArray) -> float:
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    held = [
        learning.largest_margin(
            rng.choice([-1, 1], (K, 1)) * rng.integers(0, 2, (K, n)), np.full(n, -1.0), np.full(n, 1.0)
        ).margin
        > 1e-9
        for _ in range(trials)
    ]
    return float(np.mean(held))


# --- the exact flow -------------------------------------------------------------------------------------------

RINGS = (3, 5)  # units; each inhibits the next


def draw_flow(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows = []
    panels = plotting.panels(len(RINGS), width=3.4, height=1.9)
    for ax, n in zip(panels, RINGS, strict=True):
        # Fields are -1 where the unit before is on, +1 where it is off.
        J, bias = -2 * np.roll(np.eye(n), 1, 0), np.ones(n)
        start = np.asarray(jax.random.normal(jax.random.fold_in(key, n), (n,)))
        found = multistability.flow(J, start, bias, record=200)
        assert found.trajectory is not None
        shown = 3 * float(found.period)
        net = RateNetwork(J, heaviside(), input=bias)
        every = round(0.25 / sizes.step)
        run = simulate(net, start, duration=shown, dt=sizes.step, scheme=_euler, save_every=every, progress=False)
        assert run.states is not None
        exact = np.asarray(jax.vmap(found.trajectory.at)(run.times))
        difference = float(np.max(np.abs(exact - np.asarray(run.states))))
        if n == 3:
            rows.append(
                Comparison(
                    "period of the cycle of a ring of 3 (τ)",
                    theory=float(6 * np.log((1 + np.sqrt(5)) / 2)),
                    sample=float(found.period),
                    allowance=1e-8,
                    note="theory: 6 ln of the golden ratio, by hand; sample: the flow",
                )
            )
        rows.append(
            Comparison(
                f"largest difference of the exact flow from small steps, ring of {n}",
                theory=0.0,
                sample=difference,
                # Each of the 2 n events of three periods comes up to a step late, at a speed of up to 2.
                allowance=2 * 6 * n * sizes.step,
                note=f"steps of {sizes.step:g} τ",
            )
        )
        times = np.linspace(0, shown, 600)
        lines = np.asarray(jax.vmap(found.trajectory.at)(times))
        for unit in range(3):
            plotting.profile(
                times, lines[:, unit], ax, color=COLORS[unit], style=STYLES[unit], label=f"unit {unit + 1}"
            )
            plotting.samples(
                np.asarray(run.times), np.asarray(run.states)[:, unit], ax, color=COLORS[unit], marker=MARKERS[unit]
            )
        ax.set(xlabel="time (τ)", ylabel=f"x, ring of {n}")
    plotting.legend(panels[0], num_columns=3)
    caption = (
        "Rings in which each unit inhibits the next: three units on the exact flow between orthants "
        f"(lines) and in steps of {sizes.step:g} τ (marks), towards a limit cycle."
    )
    return Figure(panels[0], caption, rows)


def _euler(f, t: Float[Array, ""], x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    return x + dt * f(t, x)


# --- completion -----------------------------------------------------------------------------------------------


def draw_completion(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    n = sizes.completion_units
    pattern = np.arange(n) < n // 2
    signs = _chain(n)
    sizes_of_cue = np.arange(1, n // 2 + 1)
    predicted, reached, exact = [], [], []
    trials = max(sizes.completion_starts // len(sizes_of_cue), 1)
    flow = jax.jit(jax.vmap(lambda J, x0: multistability.flow(J, x0).activity))
    for k in sizes_of_cue:
        key_cues, key_weights, key_starts = jax.random.split(jax.random.fold_in(key, int(k)), 3)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key_cues)))
        cues = np.zeros((trials, n), int)
        for cue in cues:
            cue[rng.choice(n // 2, k, replace=False)] = 1
        J = signs[None] * jax.random.exponential(key_weights, (trials, n, n))
        x0 = (2 * cues - 1) * jax.random.exponential(key_starts, (trials, n))
        ends = np.asarray(flow(J, x0)) > 0.5
        closures = np.array([multistability.closure(signs, pattern, cue) for cue in cues]) == 1
        predicted.append(np.mean(closures[:, : n // 2]))
        reached.append(np.mean(ends[:, : n // 2]))
        exact.append(np.all(ends == closures, axis=1))
    predicted, reached = np.array(predicted), np.array(reached)
    share = n // 2
    rows = [
        Comparison(
            "share of cues that the flow completes to their closure",
            published=1.0,
            sample=float(np.mean(exact)),
            note="for all magnitudes of the weights",
        ),
        Comparison(
            f"mean share of the pattern that is active in the end, cues of 1 of {share}",
            theory=float(predicted[0]),
            sample=float(reached[0]),
            note="theory: the closure of each cue",
        ),
    ]
    ax = plotting.figure(3.4, 2.6)
    plotting.profile(sizes_of_cue, predicted, ax, color=VERMILLION, label="closure of the cue")
    plotting.samples(sizes_of_cue, reached, ax, label="flow, random weights")
    plotting.profile(sizes_of_cue, sizes_of_cue / share, ax, color=BLACK, style=":", label="cue alone")
    ax.set(xlabel=f"active units of the cue, of {share}", ylabel="active share of the pattern", ylim=(0, 1.05))
    plotting.legend(ax, num_columns=2)
    caption = (
        f"Completion of a sign-stable pattern of {share} of {n} units, whose excitation runs along a chain that closes "
        f"on its second half: mean active share at the end of the flow from {trials} random cues of each size, with "
        "random magnitudes and starts (marks), and of the closure of the cues along excitatory edges (line)."
    )
    return Figure(ax, caption, rows)


def _chain(n: int) -> Float[np.ndarray, "n n"]:
    """Signs that make the first n // 2 units a sign-stable pattern: each unit of the pattern excites the next one.

    The last unit of the pattern excites the middle one, so that a cue grows to all units behind its first unit. Units
    of the pattern inhibit all other units, and receive no input from them.
    """
    half = n // 2
    signs = np.zeros((n, n))
    signs[np.arange(1, half), np.arange(half - 1)] = 1
    signs[half // 2, half - 1] = 1
    signs[0, 0] = 1
    signs[half:, :half] = -1
    return signs


PAPER = Paper(
    number="2210.03241",
    subject="Multistable threshold networks: counts of patterns, capacity, the exact flow and completion",
    choices=(
        "Sizes, loads and the networks of flow and completion are chosen here: rings of inhibition, which have an "
        "exactly known cycle, and a chain of excitation inside a sign-stable pattern."
    ),
    figures={"counts": draw_counts, "capacity": draw_capacity, "flow": draw_flow, "completion": draw_completion},
    quick=QUICK,
    full=FULL,
)
