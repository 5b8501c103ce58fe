"""`jaxnets multistable`: the stable patterns of a threshold network, their margins and basins, and what leads where."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, PRNGKeyArray

from .. import __version__, learning, multistability, plotting
from .._progress import stage
from .inputs import read_weights
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError
from .source import Measured

FIGURE, STORE = "multistable.png", "multistable.zarr"
LISTED, DRAWN = 20, 24  # attractors of the table, and of the figure
WIDTH = 44  # letters of a list of units


@dataclass(frozen=True)
class Options:
    """The arguments of the command."""

    n: int
    num_patterns: int
    active: float
    matrix: Measured | None
    bias: float
    num_starts: int
    seed: int


def run(options: Options, out: Path) -> None:
    check_replaceable(out, (FIGURE, STORE))
    key_patterns, key_starts = jax.random.split(jax.random.key(options.seed))
    J, labels, wanted, source = _network(options, key_patterns)
    bias = options.bias

    began = time.perf_counter()
    with stage("stable patterns") as line:
        stable = multistability.stable_patterns(J, bias)
        line.set_description_str("basins and flips")
        graph = multistability.state_graph(
            J, bias, patterns=stable.patterns, num_starts=options.num_starts, key=key_starts
        )
    seconds = time.perf_counter() - began
    found = _Found.of(J, bias, wanted, stable, graph, labels)

    proof = {"complete": int(stable.complete), "reason": stable.reason}
    parameters = source | {"bias": bias, "num_starts": options.num_starts, "seed": options.seed} | proof
    data = found.dataset(J).assign_attrs(parameters | made_by("multistable"))
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(found), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(_table(found, stable))
    print(f"{seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}")


def _network(
    options: Options, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, "n n"], tuple[str, ...] | None, Bool[np.ndarray, "P n"], dict[str, Any]]:
    """J, the labels of its units, the patterns it was made to hold, and the parameters of all."""
    if options.matrix is not None:
        J, labels, _ = read_weights(options.matrix)
        return J, labels, np.zeros((0, len(J)), bool), options.matrix.attributes()
    wanted = np.asarray(jax.random.bernoulli(key, options.active, (options.num_patterns, options.n)))
    parameters = {"n": options.n, "num_patterns": options.num_patterns, "active": options.active}
    return _stored(wanted, options.bias), None, wanted, parameters


def _stored(wanted: Bool[np.ndarray, "P n"], bias: float) -> Float[np.ndarray, "n n"]:
    storage = learning.store_widest(wanted, bias=bias)
    if not storage.stored:
        unit = int(np.flatnonzero(~storage.feasible)[0])
        certificate = storage.certificates[unit]
        assert certificate is not None  # of a row that cannot be
        conflict = ", ".join(str(k + 1) for k in certificate.patterns)
        raise InputError(
            f"`--num-patterns`: {int(np.sum(~storage.feasible))} of {len(storage.feasible)} units cannot hold "
            f"{len(wanted)} such patterns; at unit {unit + 1}, patterns {conflict} conflict: ask for fewer"
        )
    return storage.weights


@dataclass(frozen=True)
class _Found:
    """Attractors: stable patterns first, then cycles and fixed points with marginal or sliding units."""

    activities: Float[np.ndarray, "k n"]
    kinds: list[str]
    margins: Float[np.ndarray, " k"]  # NaN where there is no pattern
    shares: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    periods: Float[np.ndarray, " k"]
    edges: Float[np.ndarray, "k k"]  # of stable patterns; 0 in other rows
    labels: tuple[str, ...] | None  # of units

    @classmethod
    def of(cls, J, bias, wanted, stable, graph, labels) -> "_Found":
        k, num = len(graph.shares), graph.num_stable
        order = np.lexsort((-graph.shares, np.arange(k) >= num))
        is_wanted = [bool(np.any(np.all(wanted == s, axis=1))) for s in graph.activities[:num] > 0.5]
        kinds = ["stored" if stored else "stable" for stored in is_wanted]
        kinds += ["cycle" if period > 0 else "other" for period in graph.periods[num:]]
        margins, edges = np.full(k, np.nan), np.zeros((k, k))
        if num:
            margins[:num] = multistability.margins(J, graph.activities[:num] > 0.5, bias)
        edges[:num] = graph.edges
        return cls(
            graph.activities[order],
            [kinds[i] for i in order],
            margins[order],
            graph.shares[order],
            graph.error[order],
            graph.periods[order],
            edges[order][:, order],
            labels,
        )

    def name(self, unit: int) -> str:
        return str(unit + 1) if self.labels is None else self.labels[unit]

    def dataset(self, J: Float[np.ndarray, "n n"]) -> xr.Dataset:
        return xr.Dataset(
            {
                "weights": (("to", "from"), J),
                "activity": (("attractor", "unit"), self.activities),
                "kind": (("attractor",), np.array(self.kinds, dtype=object).astype(str)),
                "margin": (("attractor",), self.margins),
                "basin": (("attractor",), self.shares),
                "basin_error": (("attractor",), self.errors),
                "period": (("attractor",), self.periods),
                "flips": (("attractor", "target"), self.edges),
            },
            coords={} if self.labels is None else {"label": ("unit", np.array(self.labels))},
        )


# --- what is printed and drawn


def _table(found: _Found, stable: multistability.StablePatterns) -> str:
    rows = [("", "on", "units", "margin", "basin", "flips that return", "period")]
    n = found.activities.shape[1]
    for i, kind in enumerate(found.kinds[:LISTED]):
        known, on = not np.isnan(found.margins[i]), np.flatnonzero(found.activities[i] > 0.5)
        rows.append(
            (
                f"{i + 1} {kind}",
                str(len(on)),
                _listed([found.name(int(unit)) for unit in on], " " if found.labels is None else ", "),
                f"{found.margins[i]:.4g}" if known else "",
                f"{found.shares[i]:.4f} ± {found.errors[i]:.4f}",
                f"{int(found.edges[i, i])} of {n}" if known else "",
                f"{found.periods[i]:.4f}" if found.periods[i] > 0 else "",
            )
        )
    proof = "proven to be all" if stable.complete else "perhaps not all"
    s = "" if len(stable.patterns) == 1 else "s"
    title = f"{len(stable.patterns)} stable pattern{s} of {n} units ({proof}: {stable.reason})"
    more = [f"and {len(found.kinds) - LISTED} more in {STORE}"] if len(found.kinds) > LISTED else []
    return "\n".join([table(title, rows), *more])


def _listed(names: list[str], separator: str) -> str:
    """As many of the names as fit."""
    if len(separator.join(names)) <= WIDTH:
        return separator.join(names)
    shown = [names[0]]
    for name in names[1:]:
        if len(separator.join([*shown, name])) > WIDTH - len(separator) - 1:
            break
        shown.append(name)
    return separator.join([*shown, "…"])


COLORS = {
    "stored": plotting.BLUE,
    "stable": plotting.VERMILLION,
    "cycle": plotting.GREEN,
    "other": plotting.BLACK,
}


NAMES = {
    "stored": "stored patterns",
    "stable": "other stable patterns",
    "cycle": "cycles",
    "other": "states with marginal or sliding units",
}


def _draw(found: _Found) -> plotting.Axes:
    patterns, graph, basins = plotting.panels(3, height=3.4)
    kinds = found.kinds[:DRAWN]
    shown, names = slice(0, len(kinds)), [str(i + 1) for i in range(len(kinds))]
    plotting.patterns(found.activities[shown], names, patterns, unit_names=found.labels)
    colors = [COLORS[kind] for kind in kinds]
    plotting.graph(found.shares[shown], found.edges[shown, shown], names, graph, colors=colors)
    # Over margins, if there are any to compare.
    margins = found.margins[shown]
    compared = np.sum(~np.isnan(margins)) > 1
    places = margins if compared else np.arange(1.0, len(kinds) + 1)
    for kind, color in COLORS.items():
        of = np.array([i for i, other in enumerate(kinds) if other == kind and not np.isnan(places[i])], int)
        if of.size:
            look = {"error": found.errors[of], "color": color, "label": NAMES[kind]}
            plotting.samples(places[of], found.shares[of], basins, **look)
    over = "margin: least (2s − 1)(Js + b)" if compared else "state"
    basins.set(xlabel=over, ylabel="basin (share of starts)")
    if not compared:
        basins.set_xticks(places, names, fontsize=None if len(names) <= 12 else 7)
        basins.set_xlim(0.5, len(names) + 0.5)
    plotting.legend(basins)
    return patterns
