"""Equilibrium of associative memory, Jiang et al. 2021 (arXiv 2103.14317): what a pattern converts to, and phases."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .. import memory, plotting
from ..couplings import DeepHebbian
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper

PATTERNS = 15  # stored alone; the middle one converts, and patterns further away have no overlap
MIDDLE = PATTERNS // 2


@dataclass(frozen=True)
class Sizes:
    spins: int  # of networks at zero load
    samples: int
    sweeps: int
    strengths: int  # points of a line of theory
    sampled: int  # of these, points with samples
    loaded_spins: int  # of networks at a finite load
    loaded_samples: int
    loaded_sweeps: int
    temperatures: int  # points of a line between phases


QUICK = Sizes(
    spins=400_000,
    samples=3,
    sweeps=10,
    strengths=41,
    sampled=6,
    loaded_spins=3000,
    loaded_samples=3,
    loaded_sweeps=40,
    temperatures=10,
)
FULL = Sizes(
    spins=2_000_000,
    samples=10,
    sweeps=20,
    strengths=201,
    sampled=20,
    loaded_spins=20_000,
    loaded_samples=10,
    loaded_sweeps=100,
    temperatures=60,
)

COLORS, STYLES, MARKERS = (BLUE, VERMILLION, GREEN), ("-", "--", "-."), ("o", "s", "^")


def _core(d: int, gamma: float) -> Float[np.ndarray, "PATTERNS PATTERNS"]:
    """c = 1 on the diagonal, and gamma up to distance d."""
    distance = np.abs(np.subtract.outer(np.arange(PATTERNS), np.arange(PATTERNS)))
    return np.where(distance == 0, 1.0, np.where(distance <= d, gamma, 0.0))


def _exact(d: int, gamma: float) -> Float[np.ndarray, " PATTERNS"]:
    """Overlaps of the state that the pattern in the middle leads to, as the load tends to 0, at T = 0."""
    found = memory.zero_load_overlaps(_core(d, gamma), np.eye(PATTERNS)[MIDDLE])
    return np.where(found.converged, found.value, np.nan)


def _sampled(d: int, gamma: float, sizes: Sizes, key: PRNGKeyArray) -> Float[np.ndarray, "samples MIDDLE+1"]:
    """Overlaps by distance from the middle pattern, for spins that start there and follow their fields."""
    # The window has as many steps for all d, perhaps of strength 0: one compiled program.
    window = np.where(np.arange(3) < d, gamma, 0.0)
    found = []
    for one in jax.random.split(key, sizes.samples):
        key_patterns, key_moves = jax.random.split(one)
        patterns = memory.binary(sizes.spins, PATTERNS, key=key_patterns, dtype=jnp.float32)
        J = memory.hebbian(patterns, 1.0, window, ring=False, symmetric=True)
        cue = patterns[MIDDLE]
        run = memory.glauber(J, cue, temperature=0.0, num_sweeps=sizes.sweeps, key=key_moves, patterns=patterns)
        overlaps = np.asarray(run.overlaps[-1])
        found.append((overlaps[MIDDLE:] + overlaps[MIDDLE::-1]) / 2)
    return np.array(found)


# --- what a pattern converts to -------------------------------------------------------------------------------

# d, gamma: overlaps at distances 0, 1, ..., how far they may be off, and a note.
HEBBIAN = (1, 0.8)  # at this gamma the fields are furthest from 0; the profile is the same for 1/2 < gamma < 1
PROFILES: dict[tuple[int, float], tuple[list[float], float, str]] = {
    HEBBIAN: ([m / 128 for m in (77, 51, 13, 3, 1)], 1e-12, "77, 51, 13, 3, 1 over 128"),
    (2, -0.3): ([0.874, -0.12, -0.12], 0.01, "exact: 7/8 and -1/8"),
    (3, -0.2): ([0.968, -0.034, -0.034, -0.034], 0.01, "exact: 31/32 and -1/32"),
}
SHOWN = 7  # distances


def draw_conversion(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    rows = []
    panels = plotting.table(1, 2, width=3.5, height=2.5)[0]
    for i, ((d, gamma), (published, tolerance, note)) in enumerate(PROFILES.items()):
        exact, found = _exact(d, gamma)[MIDDLE:], _sampled(d, gamma, sizes, jax.random.fold_in(key, i))
        # A spin may turn if its field is closer to 0 than the chance overlaps of patterns, n^(-1/2) each.
        near = _share_of_weak_fields(d, gamma, np.sqrt(PATTERNS / sizes.spins))
        for k, value in enumerate(published):
            rows.append(
                Comparison(
                    f"overlap at distance {k}, d = {d}, γ = {gamma:g}",
                    published=value,
                    theory=float(exact[k]),
                    sample=float(found[:, k].mean()),
                    sample_error=standard_error(found[:, k]),
                    tolerance=tolerance,
                    allowance=2 * near + 1 / np.sqrt(sizes.spins),
                    note=note,
                )
            )
        ax = panels[0 if i == 0 else 1]
        name = f"d = {d}, γ = {gamma:g}"
        x = np.arange(SHOWN)
        plotting.profile(x, exact[:SHOWN], ax, color=COLORS[i], style=STYLES[i], label=f"{name}, exact")
        error = found.std(axis=0, ddof=1) / np.sqrt(sizes.samples)
        plotting.samples(
            x, found.mean(axis=0)[:SHOWN], ax, error=error[:SHOWN], color=COLORS[i], marker=MARKERS[i], label="samples"
        )
    for ax in panels:
        ax.set(xlabel="distance along the sequence", ylabel="overlap")
        plotting.legend(ax, num_columns=2)
    caption = (
        f"Overlaps with a pattern and its neighbours in the state that it leads to, T = 0: exact for vanishing load "
        f"(lines) and of {sizes.samples} networks of {sizes.spins} spins that store {PATTERNS} patterns (marks)."
    )
    return Figure(panels[0], caption, rows)


def _share_of_weak_fields(d: int, gamma: float, limit: float) -> float:
    codes = np.arange(2**PATTERNS)[:, None] >> np.arange(PATTERNS) & 1
    fields = (1.0 - 2.0 * codes) @ (_core(d, gamma) @ _exact(d, gamma))
    return float(np.mean(np.abs(fields) < limit))


# --- where it converts ----------------------------------------------------------------------------------------


def draw_strengths(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    gammas = np.linspace(0.3, 0.85, sizes.strengths)
    picked = np.linspace(0, sizes.strengths - 1, sizes.sampled).round().astype(int)
    exact = np.array([_exact(1, gamma)[MIDDLE:] for gamma in gammas])
    ax = plotting.figure(3.4, 2.7)
    found = [_sampled(1, float(gammas[k]), sizes, jax.random.fold_in(key, k)) for k in picked]
    for distance in range(3):
        look = {"color": COLORS[distance]}
        label = f"distance {distance}"
        plotting.profile(gammas, exact[:, distance], ax, style=STYLES[distance], label=label, **look)
        values = np.array([one[:, distance].mean() for one in found])
        errors = np.array([standard_error(one[:, distance]) for one in found])
        plotting.samples(gammas[picked], values, ax, error=errors, marker=MARKERS[distance], **look)
    plotting.level(0.5, ax, color=BLACK, style=":")
    ax.set(xlabel="strength γ", ylabel="overlap", ylim=(-0.05, 1.05))
    plotting.legend(ax, num_columns=3)
    rows = []
    for d in (1, 2, 3):
        limit = 1 / (2 * d)
        kept = [float(_exact(d, limit + step)[MIDDLE]) for step in (-1e-3, 1e-3)]
        lost = limit if kept[0] == 1 and kept[1] < 1 else np.nan
        rows.append(
            Comparison(
                f"strength γ above which a pure pattern is lost, d = {d}",
                published=limit,
                theory=float(lost),
                tolerance=1e-3,
                note="c / 2d; kept .001 below and lost .001 above",
            )
        )
    caption = (
        "Overlaps with a pattern and with its neighbours in the state that it leads to at T = 0, d = 1, c = 1: exact "
        f"for vanishing load (lines) and of {sizes.samples} networks of {sizes.spins} spins (marks). A pure pattern is "
        "kept to the left of the dotted line. Close to it fields come close to 0, which takes more spins."
    )
    return Figure(ax, caption, rows)


# --- phases in load and temperature ---------------------------------------------------------------------------

WINDOWS = (0.0, 0.2)  # gamma, d = 1
HOPFIELD = {"retrieval ends": 0.138, "retrieval is no longer the lowest state": 0.051}  # at T = 0
CHECKED = [(0.0, 0.05, 0.3), (0.0, 0.1, 0.2), (0.2, 0.02, 0.3)]  # gamma, load, temperature


def _memory(load: float, gamma: float) -> DeepHebbian:
    return DeepHebbian(load, 1.0, (gamma,), symmetric=True)


def draw_phases(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    temperatures = np.append(np.linspace(0.0, 0.9, sizes.temperatures), 0.0)
    pure = np.eye(3)[1]  # at these strengths only the next neighbours have overlaps to speak of
    lines = {
        name: jax.jit(jax.vmap(lambda T, gamma, of=of: of(_memory(0.1, gamma), pure, T, nodes=100), (0, None)))
        for name, of in (("retrieval", memory.capacity), ("lowest", memory.coexistence))
    }
    glass = jax.jit(jax.vmap(lambda load, gamma: memory.glass_temperature(_memory(load, gamma)), (0, None)))
    loads = np.linspace(0.001, 0.16, 60)
    panels, rows = plotting.table(1, 2, width=3.5, height=2.7)[0], []
    for ax, gamma in zip(panels, WINDOWS, strict=True):
        found = {name: line(temperatures, gamma) for name, line in lines.items()}
        ends = {name: np.where(at.converged, at.load, np.nan) for name, at in found.items()}
        at = glass(loads, gamma)
        frozen = np.where(at.converged, at.temperature, np.nan)
        _draw_lines(ax, loads, frozen, temperatures[:-1], ends["retrieval"][:-1], ends["lowest"][:-1])
        ax.set_title(f"γ = {gamma:g}", fontsize=8, loc="right", y=0.9)
        if gamma == 0:
            rows += _hopfield_rows([ends[name][0] for name in lines])
    for i, (gamma, load, temperature) in enumerate(CHECKED):
        rows.append(_sampled_row(gamma, load, temperature, sizes, jax.random.fold_in(key, i)))
        panel = panels[WINDOWS.index(gamma)]
        plotting.samples(np.array([load]), np.array([temperature]), panel, color=BLACK, marker="s")
    for ax in panels:
        ax.set(xlabel="load α = P / N", ylabel="temperature T", xlim=(0, 0.16), ylim=(0, 1.9))
        plotting.legend(ax, num_columns=2)
    caption = (
        "Replica-symmetric phases for c = 1, d = 1 and two strengths γ (γ = 0: the Hopfield model). The glass freezes "
        "below the dash-dotted line; retrieval exists below the full line and has the lowest free energy below the "
        "dashed one. Squares: where samples are compared with theory."
    )
    return Figure(panels[0], caption, rows)


def _draw_lines(ax, loads, frozen, temperatures, retrieval, lowest) -> None:
    plotting.profile(loads, frozen, ax, color=GREEN, style="-.", label="glass below")
    plotting.profile(retrieval, temperatures, ax, color=BLUE, label="retrieval below")
    plotting.profile(lowest, temperatures, ax, color=VERMILLION, style="--", label="retrieval lowest below")


def _hopfield_rows(loads: list[float]) -> list[Comparison]:
    return [
        Comparison(f"load at which {event}, γ = 0, T = 0", published=printed, theory=float(load), tolerance=tolerance)
        for (event, printed), load, tolerance in zip(HOPFIELD.items(), loads, (0.0006, 0.0011), strict=True)
    ]


def _sampled_row(gamma: float, load: float, temperature: float, sizes: Sizes, key: PRNGKeyArray) -> Comparison:
    exact = memory.replica_state(_memory(load, gamma), np.eye(3)[1], temperature)
    values = _overlaps_at(load, gamma, temperature, sizes, key)
    return Comparison(
        f"overlap of a retrieved pattern, γ = {gamma:g}, α = {load:g}, T = {temperature:g}",
        theory=float(np.where(exact.converged, exact.m[1], np.nan)),
        sample=float(values.mean()),
        sample_error=standard_error(values),
        allowance=float(2 / np.sqrt(sizes.loaded_spins)),
        note=f"{sizes.loaded_samples} networks of {sizes.loaded_spins} spins",
    )


def _overlaps_at(load: float, gamma: float, temperature: float, sizes: Sizes, key: PRNGKeyArray) -> np.ndarray:
    """The overlap with the pattern of the start in each network, averaged over the second half of the sweeps."""
    found = []
    for one in jax.random.split(key, sizes.loaded_samples):
        key_network, key_moves = jax.random.split(one)
        J = _memory(load, gamma).sample(sizes.loaded_spins, key=key_network, dtype=jnp.float32)
        pattern = J.left.T[:1]
        run = memory.glauber(
            J, pattern[0], temperature=temperature, num_sweeps=sizes.loaded_sweeps, key=key_moves, patterns=pattern
        )
        found.append(float(np.mean(run.overlaps[sizes.loaded_sweeps // 2 :])))
    return np.array(found)


PAPER = Paper(
    number="2103.14317",
    subject="Equilibrium of associative memory with a symmetric window: correlated attractors and phases",
    choices=(
        "The strengths and loads of the diagrams are chosen here. The profile of 77, 51, 13, 3, 1 over 128 is the same "
        "for all γ between 1/2 and 1. Samples are compared at γ = 0.8, where the fields of the profile are furthest "
        "from 0. Finite networks differ least there: with few spins, wrong signs of weak fields carry a network to "
        "other states. The Hopfield loads .138 and .051 are replica-symmetric."
    ),
    figures={"conversion": draw_conversion, "strengths": draw_strengths, "phases": draw_phases},
    quick=QUICK,
    full=FULL,
)
