r"""Fixed points of a network, x = gamma J phi(x) + I, and their stability.

Each start is a damped least-squares search (Levenberg-Marquardt). Newton's method alone wanders: of 160 starts of order
one in eight i.i.d. tanh networks of 60 units, it arrives from 112, 109, 69 and 0 at g = 1.2, 1.5, 2 and 4 (100 steps),
and the damped search from 152, 153, 147 and 85. The damped search needs no regular Jacobian either: continuous
attractors and networks at a bifurcation are searched as all others are.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int
from tqdm import tqdm

from .._arguments import positive, require, require_whole
from .._numerics import (
    Root,
    frozen,
    implicit_root,
    in_batches,
    is_concrete,
    least_squares,
    least_squares_from_host,
    merge,
)
from .._results import Result
from ..couplings.operators import Dense
from .jacobians import few_matrices, jacobian_eigenvalues, matrices_at_once
from .network import Jacobian, RateNetwork, states_of

# Roundings of the largest |x| below which a residual cannot be asked to fall: in float32, 4e-4 of it.
_ROUNDINGS = 3000

# Real parts of eigenvalues that count as 0, in units of the fastest 1 / tau and of the root of rounding (2e-7 in
# float64, 6e-3 in float32). Where a Jacobian is singular a point is known to that root, and its eigenvalues with it.
_MARGINAL = 16

# The difference of slopes that shows a kink, at the distance `same` on either side of a point: slopes of a smooth phi
# differ by 2e-5 phi'' there.
_KINK = 0.05


def find_fixed_point(
    net: RateNetwork, x0: Float[ArrayLike, " n"], *, tolerance: float = 1e-10, max_steps: int = 100
) -> Root:
    r"""A fixed point near the start x0, differentiable in the network.

    $$ 0 = \tau \dot x = -x + \gamma J \phi(x) + I $$

    Returns `value` (n,), the `residual` max |tau dx/dt| there, in the unit of x, and `converged`: whether the residual
    is at most `tolerance`, or 3000 roundings of the largest |x| (in float32, 4e-4 of it). A search that has not come
    near after `max_steps` has not converged; it may lie at a slow point, a minimum of |tau dx/dt| and no fixed point.
    Noise is ignored.

    A start that is a fixed point is returned as it is. Of a continuum of fixed points, such as a line attractor, the
    search finds one near its start. At a bifurcation, where the residual is flat, points are known to some 1e-6 only.

    All arrays of `net` have the derivatives of the implicit function; the start x0 has none. Derivatives are finite
    where the Jacobian is regular. Valid for any elementwise phi with a slope.

    Works under `jit` and `vmap`; mapped searches step together until the last has ended. A step forms the Jacobian and
    costs O(n^3).

    Raises:
        ValueError: if ``x0`` is not (n,) or not finite, ``net.input`` a function of time, ``net`` a batch,
            ``tolerance`` not positive or ``max_steps`` not a whole number >= 1.
    """
    x0 = states_of(net, "x0", x0)
    if x0.ndim != 1:
        raise ValueError(f"`x0` must have shape ({net.size},), got {x0.shape}: map over more with `jax.vmap`")
    limits = _limits(net, x0, tolerance, max_steps)
    if not _runs_on_host(net, x0, limits):
        return _solve(net, x0, *limits)
    x, velocity = _search_from_host(net, np.asarray(x0)[None], *limits, size=1)
    residual = np.max(np.abs(velocity[0]))
    return Root(*map(jax.device_put, (x[0], residual, residual <= _least(np, x[0], limits[0]))))


def _runs_on_host(*operands: Any) -> bool:
    """Whether the loop of a search runs on the host. An accelerator would have to wait for it."""
    return jax.default_backend() == "cpu" and is_concrete(operands)


def _limits(
    net: RateNetwork, starts: Float[Array, "*m n"], tolerance: float, max_steps: int
) -> tuple[Array | np.ndarray, Array | np.ndarray]:
    """The tolerance of searches and the number of steps as arrays, so that other values of them compile nothing."""
    if callable(net.input):
        raise ValueError(f"`input` must not depend on time where fixed points are sought, got {net.input!r}")
    require("tolerance", tolerance, positive, "a finite number > 0")
    require_whole("max_steps", max_steps)
    if is_concrete(tolerance, starts):
        return _least(np, np.ravel(starts), np.asarray(tolerance, net.dtype)), np.asarray(max_steps)
    return _least(jnp, jnp.ravel(starts), jnp.asarray(tolerance, net.dtype)), np.asarray(max_steps)


def _least(xp, x, tolerance):
    """The tolerance, or some roundings of the largest |x|."""
    return xp.maximum(tolerance, _ROUNDINGS * xp.finfo(x.dtype).eps * xp.max(xp.abs(x), -1))


@eqx.filter_jit
def _solve(net, x0, tolerance, max_steps) -> Root:
    with jax.default_matmul_precision("highest"):
        x = implicit_root(_search, _velocity, (net, frozen(x0), tolerance, max_steps))
        residual = jnp.max(jnp.abs(jax.lax.stop_gradient(_velocity(x, (net,)))))
    return Root(x, residual, residual <= _least(jnp, x, tolerance))


def _search(args) -> Float[Array, " n"]:
    net, x0, tolerance, max_steps = frozen(args)
    return least_squares(_velocity_and_jacobian, x0, _densely(net), tolerance, max_steps)


def _densely(net: RateNetwork) -> RateNetwork:
    """The network with its matrix, formed once and not at each step."""
    return net if isinstance(net.J, Dense) else eqx.tree_at(lambda net: net.J, net, Dense(_matrix(net.J)))


@eqx.filter_jit
def _matrix(J):
    with jax.default_matmul_precision("highest"):
        return J.dense()


def _velocity(x: Float[Array, " n"], args: tuple) -> Float[Array, " n"]:
    """tau dx/dt."""
    net = args[0]
    return net.tau * net.drift(jnp.zeros((), net.dtype), x)


def _velocity_and_jacobian(x: Float[Array, " n"], net: RateNetwork):
    decay = -jnp.ones((), net.dtype)
    return _velocity(x, (net,)), Jacobian(net.J, decay, net.row_gains, net.slopes(x)).dense()


def _search_from_host(net, x0s: Float[np.ndarray, "m n"], tolerance, max_steps, size: int | None = None):
    """The ends of searches, and tau dx/dt there, by the loop on the host."""
    net, size = _densely(net), few_matrices(net.size) if size is None else size
    return least_squares_from_host(lambda x: _at_many(net, x, size), x0s, tolerance, int(max_steps))


@in_batches
def _at_many(net: RateNetwork, x: Float[Array, "m n"]):
    """tau dx/dt and its Jacobian."""
    with jax.default_matmul_precision("highest"):
        return jax.vmap(lambda x: _velocity_and_jacobian(x, net))(x)


class FixedPoints(Result, axes={"k": "point", "m": "start", "n": "unit", "num_leading": "eigenvalue"}):
    """Distinct fixed points, sorted by their norm, then slow points, and the fate of each start.

    Points of one norm, as x and -x, are sorted by their first coordinate. The `residual` of a point is max |tau dx/dt|
    there, and `speed` is |dx/dt|, the root of the sum over units. A `slow` point is no fixed point.

    The leading `eigenvalues` of the Jacobian of a point come by falling real part. Of all n, `unstable` counts the
    directions that grow, and `marginal` those that neither grow nor decay, to within rounding: one along a line
    attractor, two at a Hopf bifurcation. `kinks` counts units at a kink of the transfer function, as at the threshold
    of a ReLU, where eigenvalues hold on one side only. A point is `stable` if all directions decay and no unit is at a
    kink; if not, linear terms do not show it.

    A point was reached from `counts` starts. For every start, `index` gives the point it reached, or -1, and
    `start_residual` the residual where its search ended. Made by `fixed_points`.
    """

    points: Float[Array, "k n"]
    residual: Float[Array, " k"]
    speed: Float[Array, " k"]
    slow: Bool[Array, " k"]
    eigenvalues: Complex[Array, "k num_leading"]
    stable: Bool[Array, " k"]
    unstable: Int[Array, " k"]
    marginal: Int[Array, " k"]
    kinks: Int[Array, " k"]
    counts: Int[Array, " k"]
    index: Int[Array, " m"]
    start_residual: Float[Array, " m"]

    @property
    def converged(self) -> Bool[Array, " m"]:
        """Whether each start reached a fixed point."""
        return (self.index >= 0) & ~jnp.append(self.slow, True)[self.index]


def fixed_points(
    net: RateNetwork,
    x0s: Float[ArrayLike, "m n"],
    *,
    tolerance: float = 1e-10,
    max_steps: int = 100,
    speed: float | None = None,
    num_leading: int = 1,
    same: float = 1e-5,
    progress: bool = True,
) -> FixedPoints:
    r"""The fixed points found from the starts x0s, each once, with the eigenvalues that say whether it is stable.

    $$ 0 = \tau \dot x = -x + \gamma J \phi(x) + I $$

    Each start is one `find_fixed_point`, which documents `tolerance` and `max_steps`. Two results are one
    point if no coordinate differs by more than `same`; the result of smaller residual represents it. In other units of
    x give both, as `tolerance=1e-10 * unit, same=1e-5 * unit`; kinks are looked for within `same` too. Of each point
    the `num_leading` eigenvalues with the largest real parts are kept. `progress` shows a bar. Fixed points can be
    missed: their number can grow exponentially with n. A continuum of them, such as a line attractor, is sampled: each
    start adds a point, with `marginal` directions.

    With a `speed`, searches that end elsewhere are kept too if |dx/dt| is at most this: slow points, where a trajectory
    lingers (ghosts of fixed points, Sussillo and Barak's q = |dx/dt|^2 / 2). A search ends at a minimum of
    |tau dx/dt|, or after `max_steps`.

    Merging depends on values: under `jit` and `vmap`, and for derivatives, use `find_fixed_point`.

    Raises:
        ValueError: if ``x0s`` is not (m, n) with m >= 1, not finite or traced, ``num_leading`` not between 1 and n,
            ``same`` or ``speed`` not positive, and where `find_fixed_point` does.
    """
    x0s = _checked_starts(net, x0s, num_leading, same, speed)
    limit, steps = _limits(net, x0s, tolerance, max_steps)
    x, velocity = _find_all(net, np.asarray(x0s), limit, steps, progress)
    least = _least(np, x, limit)
    residual, speeds = np.max(np.abs(velocity), -1), _norms(velocity / np.asarray(net.tau))
    is_slow = (residual > least) & (speeds <= (0 if speed is None else speed))
    positions, index = _distinct(x, np.where((residual <= least) | is_slow, residual, np.inf), is_slow, same)
    points = x[positions]
    eigenvalues: Any = np.asarray(jacobian_eigenvalues(net, points, progress=progress))
    order = np.lexsort((-eigenvalues.imag, -eigenvalues.real), axis=-1)
    eigenvalues = np.take_along_axis(eigenvalues, order, -1)
    zero = _MARGINAL * np.sqrt(jnp.finfo(net.dtype).eps) * np.max(1 / np.asarray(net.tau))
    kinks = _kinks(net, points, same)
    fields = {
        "points": points,
        "residual": residual[positions],
        "speed": speeds[positions],
        "slow": is_slow[positions],
        "eigenvalues": eigenvalues[:, :num_leading],
        "stable": np.all(eigenvalues.real < -zero, -1) & (kinks == 0),
        "unstable": np.sum(eigenvalues.real > zero, -1),
        "marginal": np.sum(np.abs(eigenvalues.real) <= zero, -1),
        "kinks": kinks,
        "counts": np.bincount(index[index >= 0], minlength=len(positions)),
        "index": index,
        "start_residual": residual,
    }
    return FixedPoints(**{name: jax.device_put(value) for name, value in fields.items()})


def _checked_starts(
    net: RateNetwork, x0s: ArrayLike, num_leading: int, same: float, speed: float | None
) -> Float[Array, "m n"]:
    if not is_concrete(net, x0s):
        raise ValueError("`net` and `x0s` must be concrete to merge fixed points: transform `find_fixed_point` instead")
    x0s = states_of(net, "x0s", x0s)
    if x0s.ndim != 2 or len(x0s) == 0:
        raise ValueError(f"`x0s` must have shape (m, {net.size}) with m >= 1, got {x0s.shape}")
    require_whole("num_leading", num_leading)
    if num_leading > net.size:
        raise ValueError(f"`num_leading` must be at most the number of units, {net.size}, got {num_leading}")
    require("same", same, positive, "a finite number > 0")
    if speed is not None:
        require("speed", speed, positive, "a finite number > 0, or None for fixed points alone")
    return x0s


def _find_all(net: RateNetwork, x0s: Float[np.ndarray, "m n"], tolerance, max_steps, progress: bool):
    """The ends of all searches, and tau dx/dt there."""
    search = _search_from_host if _runs_on_host(net) else _search_together
    size, ends = matrices_at_once(net.size), []
    with tqdm(total=len(x0s), desc="fixed points", unit="start", delay=1, disable=not progress) as bar:
        for first in range(0, len(x0s), size):
            starts = x0s[first : first + size]
            ends.append(search(net, starts, tolerance, max_steps))
            bar.update(len(starts))
    return tuple(map(np.concatenate, zip(*ends, strict=True)))


def _search_together(net, x0s, tolerance, max_steps):
    """As `_search_from_host`, by one compiled program."""
    x, velocity = _solve_many(net, x0s, tolerance, max_steps)
    return np.asarray(x), np.asarray(velocity)


@eqx.filter_jit
def _solve_many(net, x0s, tolerance, max_steps):
    x = jax.vmap(lambda x0: _solve(net, x0, tolerance, max_steps).value)(x0s)
    with jax.default_matmul_precision("highest"):
        return x, jax.vmap(lambda x: _velocity(x, (net,)))(x)


def _kinks(net: RateNetwork, points: Float[np.ndarray, "k n"], beside: float) -> Int[np.ndarray, " k"]:
    """The number of units whose slope jumps at the point."""
    if not len(points):
        return np.zeros(0, int)
    aside = points.dtype.type(beside)
    above, below = (_at_many(net, points + side, few_matrices(net.size))[1] for side in (aside, -aside))
    return np.sum(np.any(np.abs(above - below) > _KINK, 1), -1)


def _norms(x: Float[np.ndarray, "k n"]) -> Float[np.ndarray, " k"]:
    """Euclidean norms, of which no square overflows or underflows."""
    largest = np.max(np.abs(x), -1)
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    return unit * np.linalg.norm(x / unit[:, None], axis=-1)


def _distinct(x: np.ndarray, residual: np.ndarray, is_slow: np.ndarray, same: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the distinct points in ``x``, sorted as in `FixedPoints`, and the point of each start.

    Ends of searches that found nothing have an infinite `residual`.
    """
    positions, index = merge(x, residual, same)
    points = x[positions]
    # Norms that differ by rounding are one norm.
    norms = np.round(_norms(points) / same)
    order = np.lexsort((points[:, 0], norms, is_slow[positions]))
    # Merged numbers become places in the order; -1 stays, as the last entry.
    return positions[order], np.append(np.argsort(order), -1)[index]
