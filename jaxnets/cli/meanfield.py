"""`jaxnets meanfield`: stationary states and the dimension of activity for N -> infinity, by strength and rank."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from tqdm import tqdm

from .. import __version__, couplings, plotting
from .. import transfer as transfers
from ..meanfield import largest_lyapunov, stationary
from ..meanfield.unit.state import is_odd
from ..population import dimension
from .inputs import InputError, evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table

DEFAULT_GAINS = (1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0)
DEFAULT_RANKS = (float("inf"), 1.0, 0.25, 0.1)
FIGURE, STORE = "meanfield.png", "meanfield.zarr"
LARGEST_GAIN = 50.0  # the Gaussian averages take points in proportion to g, in each of three directions
DRAWN, CURVES = 15.0, 5  # lags and gains shown in the figure


def meanfield(
    *,
    gains: tuple[float, ...] = DEFAULT_GAINS,
    effective_ranks: tuple[float, ...] = DEFAULT_RANKS,
    transfer: str = "Tanh()",
    noise: float = 0.0,
    out: Path = Path("."),
) -> None:
    """Mean-field theory of tau dx/dt = -x + J phi(x) + noise: the stationary state, its chaos and its dimension.

    J is a sum of independent random modes of equal amplitude, or has independent weights. Only its strength g and its
    effective rank PR^D matter: any ensemble without overlaps and sequences that has the same g and PR^D has the same
    theory. Writes meanfield.png (autocovariance, dimension against g and against PR^D) and meanfield.zarr (all of it,
    with all parameters) and prints two tables: single units, which know g alone, and dimensions. Times are in units of
    tau. Outputs of an earlier run are replaced; files of these names that jaxnets did not write are left alone, and
    nothing is run.

    Args:
        gains: Strengths g of the couplings, g^2 = N Var J_ij, up to 50.
        effective_ranks: Effective ranks PR^D in units of N; inf for independent weights.
        transfer: Transfer function phi, which must be odd, as in "Erf()".
        noise: Standard deviation that white noise alone would give to a neuron.
        out: Folder for the outputs, made if it is missing.
    """
    strengths = _distinct("--gains", gains, lambda g: 0 < g <= LARGEST_GAIN, f"in (0, {LARGEST_GAIN:g}]")
    ranks = _distinct("--effective-ranks", effective_ranks, lambda rank: rank > 0, "above 0, or inf")[::-1]
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"`--noise` must be a finite number >= 0, got {noise}")
    check_replaceable(out, (FIGURE, STORE))
    function = evaluate(transfer, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--transfer")
    try:
        is_odd(function, jnp.float64)  # as the theory asks; once it is compiled this can no longer be refused
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
    gains: Float[np.ndarray, " k"],
    ranks: Float[np.ndarray, " m"],
    function: transfers.Transfer,
    noise: float,
    nodes: int,
) -> xr.Dataset:
    """One state a gain, which has nothing of the rank; then the dimension of each at each rank."""

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
    def with_modes(gains, states, rank):
        return jax.vmap(lambda g, state: dimension(state, _modes(g, rank)))(gains, states)

    strengths = jnp.asarray(gains)
    with tqdm(total=1 + len(ranks), desc="solving", unit="call") as progress:
        states, exponents = jax.block_until_ready(solve(strengths))
        progress.update()
        dimensions = []
        for rank in ranks:
            if np.isinf(rank):
                found = with_independent_weights(strengths, states)
            else:
                found = with_modes(strengths, states, jnp.asarray(rank))
            dimensions.append(jax.block_until_ready(found))
            progress.update()

    of_gain = {
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
        {name: ("gain", np.asarray(values)) for name, values in of_gain.items()}
        | {name: (("gain", "lag"), np.asarray(values)) for name, values in of_lag.items()}
        | {name: (("gain", "effective_rank"), np.stack(values, axis=1)) for name, values in of_rank.items()},
        coords={"gain": gains, "effective_rank": ranks},
    )


def _modes(g: Float[Array, ""], rank: Float[Array, ""]) -> couplings.RandomModes:
    """Of strength g and effective rank `rank`: g^2 = load amplitude^2, PR^D = load."""
    return couplings.RandomModes.flat(g / jnp.sqrt(rank), load=rank)


# --- what is printed and drawn


def _tables(data: xr.Dataset, title: str) -> str:
    units: list[tuple[str, ...]] = [("g", "C^x(0)", "C^phi(0)", "beta", "decay rate", "Lyapunov", "converged")]
    ranks = (f"PR^D = {rank:g}" for rank in data.effective_rank.values)
    dimensions: list[tuple[str, ...]] = [("PR^phi/N (PR^x/N)", *ranks)]
    for i, g in enumerate(data.gain.values):
        at = data.isel(gain=i)
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
    covariance, by_gain, by_rank = plotting.panels(3, height=3.1)
    active = data.isel(gain=np.flatnonzero(data.variance_x > 0))
    some = active.isel(gain=_spread(active.gain.values, CURVES))

    for color, g in zip(plotting.shades(some.sizes["gain"], plotting.COLD), some.gain.values, strict=True):
        at = some.sel(gain=g)
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
        plotting.dimension(at.gain.values, at.dimension_phi.values, by_gain, color=color, label=f"PR$^D$ = {name}")
        plotting.dimension(at.gain.values, at.dimension_x.values, by_gain, color=color, style=":")
    by_gain.set(xlabel="strength g of the couplings", ylabel="dimension PR / N\nof rates (dotted: states)")
    for ax in (covariance, by_gain, by_rank):
        plotting.legend(ax, columns=CURVES)
    return covariance


def _spread(gains: Float[np.ndarray, " k"], count: int) -> Float[np.ndarray, " m"]:
    """Indices of up to `count` gains, about evenly spaced in their logarithm."""
    if not gains.size:
        return np.zeros(0, int)
    wanted = np.geomspace(gains[0], gains[-1], count)
    return np.unique(np.argmin(np.abs(np.log(gains[None] / wanted[:, None])), axis=1))


def _between(
    ranks: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Dimensions at ranks between the given ones, which fall: 1/PR is linear in 1/PR^D, and so is its interpolation."""
    finite = ranks[np.isfinite(ranks)]
    if not finite.size:
        return np.zeros(0), np.zeros(0)
    largest = finite[0] * 30 if np.isinf(ranks[0]) else finite[0]
    fine = np.geomspace(finite[-1], largest, 200)
    return fine, 1 / np.interp(1 / fine, 1 / ranks, 1 / values)
