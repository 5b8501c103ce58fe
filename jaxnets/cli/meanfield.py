"""`jaxnets meanfield`: stationary states and the dimension of activity for N -> infinity, by strength and rank."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from tqdm import tqdm

from .. import __version__, couplings, plotting
from .. import transfer as transfers
from .._numerics import Root
from .._progress import moving
from ..meanfield import Stationary, largest_lyapunov, stationary
from ..meanfield.unit.requirements import shape_of
from ..population import Dimension, dimension
from .inputs import evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError

FIGURE, STORE = "meanfield.png", "meanfield.zarr"
LARGEST_STRENGTH = 50.0  # Gaussian averages take points in proportion to g, in each of three directions
DRAWN, CURVES = 15.0, 5  # the last lag, and the number of strengths, shown in the figure


def run(g: tuple[float, ...], effective_ranks: tuple[float, ...], transfer: str, noise: float, out: Path) -> None:
    strengths = _distinct("--g", g, lambda g: 0 < g <= LARGEST_STRENGTH, f"in (0, {LARGEST_STRENGTH:g}]")
    ranks = _distinct("--effective-ranks", effective_ranks, lambda rank: rank > 0, "above 0, or inf")[::-1]
    check_replaceable(out, (FIGURE, STORE))
    function = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    try:
        shape_of(function, jnp.float64)  # here, since the compiled theory cannot refuse it
    except ValueError as error:
        raise InputError(f"`--transfer`: {error}") from error
    nodes = max(801, 40 * int(np.ceil(strengths[-1])) + 1)

    began = time.perf_counter()
    data = _solve(strengths, ranks, function, noise, nodes)
    seconds = time.perf_counter() - began
    data = data.assign_attrs(
        {"transfer": transfer, "noise": noise, "nodes": nodes, "time_unit": "tau"} | made_by("meanfield")
    )
    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        data.to_zarr(folder / STORE, zarr_format=2)
        plotting.save(_draw(data), folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(_tables(data, f"{transfer}, noise {noise:g}"))
    print(f"{data.dimension_phi.size} points in {seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}")


def _distinct(
    option: str, values: Sequence[float], holds: Callable[[float], bool], expected: str
) -> Float[np.ndarray, " k"]:
    """The values in rising order, each once."""
    if not values or not all(holds(value) for value in values):
        raise InputError(f"`{option}` must be one or more numbers {expected}, got {' '.join(map(str, values))}")
    return np.unique(np.asarray(values, float))


# --- the theory


def _solve(
    strengths: Float[np.ndarray, " k"],
    ranks: Float[np.ndarray, " m"],
    function: transfers.Transfer,
    noise: float,
    nodes: int,
) -> xr.Dataset:
    """One state for each strength, since states do not depend on the rank; then its dimension at each rank."""

    @jax.jit
    @jax.vmap
    def solve(g):
        state = stationary(couplings.IID(g), function, noise, nodes=nodes)
        return state, largest_lyapunov(state)

    @jax.jit
    @jax.vmap
    def with_independent_weights(g, state):
        return dimension(state, couplings.IID(g))

    @jax.jit
    def with_modes(g, states, rank):
        return jax.vmap(lambda g, state: dimension(state, couplings.RandomModes.of_rank(g, rank)))(g, states)

    g = jnp.asarray(strengths)
    with ThreadPoolExecutor() as pool, moving(tqdm(total=1 + len(ranks), desc="compiling", unit="call")) as progress:
        # Traced one after the other, which Python does, and compiled beside each other, which takes most of the time.
        shapes, _ = jax.eval_shape(solve, g)
        solve_all = pool.submit(solve.lower(g).compile)
        if np.isinf(ranks).any():
            independent = pool.submit(with_independent_weights.lower(g, shapes).compile)
        if np.isfinite(ranks).any():
            modes = pool.submit(with_modes.lower(g, shapes, jnp.asarray(ranks[-1])).compile)
        states, exponents = jax.block_until_ready(solve_all.result()(g))
        progress.update()
        dimensions = []
        for rank in ranks:
            if np.isinf(rank):
                found = independent.result()(g, states)
            else:
                found = modes.result()(g, states, jnp.asarray(rank))
            dimensions.append(jax.block_until_ready(found))
            progress.set_description("solving", refresh=False)
            progress.update()

    return _dataset(strengths, ranks, states, exponents, dimensions)


def _dataset(
    strengths: Float[np.ndarray, " k"],
    ranks: Float[np.ndarray, " m"],
    states: Stationary,
    exponents: Root,
    dimensions: list[Dimension],
) -> xr.Dataset:
    """All that is stored: of each strength, and of each strength and rank."""
    of_strength = {
        "variance_x": states.c_x[:, 0],
        "variance_phi": states.c_phi[:, 0],
        "beta": states.beta,
        "decay_rate": states.decay_rate,
        "lyapunov": exponents.value,
        "lyapunov_converged": exponents.converged,
        "state_converged": states.converged,
        "state_residual": states.residual,
    }
    of_lag = {"lags": states.lags, "autocovariance_x": states.c_x, "autocovariance_phi": states.c_phi}
    of_rank = {
        "dimension_phi": [d.phi for d in dimensions],
        "dimension_x": [d.x for d in dimensions],
        "dimension_converged": [d.converged for d in dimensions],
        "dimension_residual": [d.residual for d in dimensions],
    }
    return xr.Dataset(
        {name: ("g", np.asarray(values)) for name, values in of_strength.items()}
        | {name: (("g", "lag"), np.asarray(values)) for name, values in of_lag.items()}
        | {name: (("g", "effective_rank"), np.stack(values, axis=1)) for name, values in of_rank.items()},
        coords={"g": strengths, "effective_rank": ranks},
    )


# --- what is printed and drawn


def _tables(data: xr.Dataset, title: str) -> str:
    units: list[tuple[str, ...]] = [("g", "C^x(0)", "C^phi(0)", "beta", "decay rate", "Lyapunov", "converged")]
    ranks = (f"PR^D = {rank:g}" for rank in data.effective_rank.values)
    dimensions: list[tuple[str, ...]] = [("PR^phi/N (PR^x/N)", *ranks)]
    for i, g in enumerate(data.g.values):
        at = data.isel(g=i)
        exponent = _flagged(f"{at.lyapunov.item():.5f}", at.lyapunov_converged)
        values = (f"{at[name].item():.5f}" for name in ("variance_x", "variance_phi", "beta", "decay_rate"))
        units.append((f"{g:g}", *values, exponent, "yes" if at.state_converged else "no?"))
        cells = [at.isel(effective_rank=k) for k in range(data.sizes["effective_rank"])]
        dimensions.append((f"g = {g:g}", *(_dimension_cell(cell) for cell in cells)))
    lines = [table(f"single units, {title}", units), "", table("dimension of rates (of states)", dimensions)]
    if (data.variance_x == 0).any():
        lines.append("rest: the stationary state is x = 0, which has no dimension")
    if any("?" in cell for row in units + dimensions for cell in row):
        lines.append(f"?: not to the accuracy asked for; see the residuals in {STORE}")
    return "\n".join(lines)


def _dimension_cell(at: xr.Dataset) -> str:
    if at.variance_x == 0:
        return "rest"
    return _flagged(f"{at.dimension_phi.item():#.4g} ({at.dimension_x.item():#.4g})", at.dimension_converged)


def _flagged(text: str, converged: xr.DataArray) -> str:
    return text if converged else f"{text}?"


def _draw(data: xr.Dataset) -> plotting.Axes:
    covariance, by_strength, by_rank = plotting.panels(3, height=3.1)
    active = data.isel(g=np.flatnonzero(data.variance_x > 0))
    some = active.isel(g=_spread(active.g.values, CURVES))

    for color, g in zip(plotting.shades(some.sizes["g"], plotting.COLD), some.g.values, strict=True):
        at = some.sel(g=g)
        within = at.lags.values <= DRAWN
        c = (at.autocovariance_x / at.variance_x).values
        plotting.autocovariance(at.lags.values[within], c[within], covariance, color=color, label=f"g = {g:g}")
        rank, value = _between(at.effective_rank.values, at.dimension_phi.values)
        plotting.dimension(rank, value, by_rank, color=color, label=f"g = {g:g}")
        plotting.dimension(at.effective_rank.values, at.dimension_phi.values, by_rank, color=color, style="o")
    covariance.set(xlabel="lag τ (time constants)", ylabel="C$^x$(τ) / C$^x$(0)", xlim=(0, DRAWN))
    by_rank.set(xlabel="effective rank PR$^D$ of the couplings", ylabel="dimension PR / N of rates", xscale="log")

    ranks = active.effective_rank.values
    for color, rank in zip(plotting.shades(len(ranks), plotting.WARM), ranks, strict=True):
        name = "∞" if np.isinf(rank) else f"{rank:g}"
        at = active.sel(effective_rank=rank)
        plotting.dimension(at.g.values, at.dimension_phi.values, by_strength, color=color, label=f"PR$^D$ = {name}")
        plotting.dimension(at.g.values, at.dimension_x.values, by_strength, color=color, style=":")
    by_strength.set(xlabel="strength g of the couplings", ylabel="dimension PR / N\nof rates (dotted: states)")
    for ax in (covariance, by_strength, by_rank):
        plotting.legend(ax, num_columns=CURVES)
    return covariance


def _spread(strengths: Float[np.ndarray, " k"], count: int) -> Float[np.ndarray, " m"]:
    """Indices of up to `count` strengths, about evenly spaced in their logarithm."""
    if not strengths.size:
        return np.zeros(0, int)
    wanted = np.geomspace(strengths[0], strengths[-1], count)
    return np.unique(np.argmin(np.abs(np.log(strengths[None] / wanted[:, None])), axis=1))


def _between(
    ranks: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Dimensions at ranks between the given ones, which fall: 1/PR is linear in 1/PR^D."""
    finite = ranks[np.isfinite(ranks)]
    if not finite.size:
        return np.zeros(0), np.zeros(0)
    largest = finite[0] * 30 if np.isinf(ranks[0]) else finite[0]
    fine = np.geomspace(finite[-1], largest, 200)
    return fine, 1 / np.interp(1 / fine, 1 / ranks, 1 / values)
