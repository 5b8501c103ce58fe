r"""Fixed points of a network, x = gamma J phi(x) + I, and their stability.

Each start is a damped least-squares search (Levenberg-Marquardt) for a neighbourhood, followed by Newton steps.
Newton's method alone wanders: of 160 starts of order one in eight i.i.d. tanh networks of 60 units, it arrives from
112, 109, 69 and 0 at g = 1.2, 1.5, 2 and 4 (100 steps), and the damped search from 153, 154, 149 and 85.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int
from tqdm import tqdm

from .._arguments import positive, require, require_whole
from .._numerics import Root, frozen, is_concrete, merge, polish_root
from .._results import Result
from .jacobians import jacobian_eigenvalues, matrices_at_once
from .network import RateNetwork, states_of

# The damped search hands over to Newton steps, which double the digits, once its steps are this short; a search in
# float32 cannot be asked for less than some 300 roundings.
_NEAR = 1e-6
_ROUNDINGS = 300


def find_fixed_point(
    net: RateNetwork, x0: Float[ArrayLike, " n"], *, tolerance: float = 1e-10, max_steps: int = 100
) -> Root:
    r"""A fixed point near the start x0, differentiable in the network.

    $$ 0 = \tau \dot x = -x + \gamma J \phi(x) + I $$

    Returns `value` (n,), the `residual` max |tau dx/dt| there, in the unit of x, and `converged`: whether the residual
    is at most `tolerance` (in float32 at most 4e-4). A search that has not come near after `max_steps` has not
    converged; it may lie at a slow point, which is no fixed point. Noise is ignored.

    All arrays of `net` have the derivatives of the implicit function; the start x0 has none. Valid where the Jacobian
    is regular; at a bifurcation, points are known to sqrt(tolerance) only.

    Works under `jit` and `vmap`; mapped searches step together until the last has ended. A step forms the Jacobian and
    costs O(n^3).

    Raises:
        ValueError: if ``x0`` is not (n,) or not finite, ``net.input`` a function of time, ``net`` a batch,
            ``tolerance`` not positive or ``max_steps`` not a whole number >= 1.
    """
    x0 = states_of(net, "x0", x0)
    if x0.ndim != 1:
        raise ValueError(f"`x0` must have shape ({net.size},), got {x0.shape}: map over more with `jax.vmap`")
    _require_autonomous(net)
    require("tolerance", tolerance, positive, "a finite number > 0")
    require_whole("max_steps", max_steps)

    with jax.default_matmul_precision("highest"):
        return _solve(net, x0, tolerance, max_steps)


@eqx.filter_jit
def _solve(net: RateNetwork, x0: Float[Array, " n"], tolerance: float, max_steps: int) -> Root:
    near = max(_NEAR, _ROUNDINGS * float(jnp.finfo(net.dtype).eps))
    # The normal equations square the condition number, and are faster than QR; Newton steps restore the digits.
    search = optx.LevenbergMarquardt(rtol=near, atol=near, linear_solver=lx.Normal(lx.Cholesky()))
    # The damping of optimistix has JAX's default precision, and all other numbers must have the same.
    start, fixed = jax.tree.map(_as_default_float, frozen((x0, net)))
    found = optx.root_find(_velocity, search, start, fixed, max_steps=max_steps, throw=False)
    return polish_root(_velocity, found.value.astype(net.dtype), net, tolerance)


def _velocity(x: Float[Array, " n"], net: RateNetwork) -> Float[Array, " n"]:
    """tau dx/dt."""
    return net.tau * net.drift(jnp.zeros((), net.dtype), x)


def _as_default_float(leaf: Any) -> Any:
    return leaf.astype(jnp.result_type(float)) if eqx.is_inexact_array(leaf) else leaf


def _require_autonomous(net: RateNetwork):
    if callable(net.input):
        raise ValueError(f"`input` must not depend on time where fixed points are sought, got {net.input!r}")


class FixedPoints(Result, axes={"k": "point", "m": "start", "n": "unit", "num_leading": "eigenvalue"}):
    """Distinct fixed points, sorted by their norm, and the fate of each start.

    Points of one norm, as x and -x, are sorted by their first coordinate. The `residual` of a point is max |tau dx/dt|
    there. The leading `eigenvalues` of its Jacobian come by falling real part, and `stable` says that all real parts
    are negative. A point was reached from `counts` starts. For every start, `index` gives the point it reached, or -1,
    and `start_residual` the residual where its search ended. Made by `fixed_points`.
    """

    points: Float[Array, "k n"]
    residual: Float[Array, " k"]
    eigenvalues: Complex[Array, "k num_leading"]
    stable: Bool[Array, " k"]
    counts: Int[Array, " k"]
    index: Int[Array, " m"]
    start_residual: Float[Array, " m"]

    @property
    def converged(self) -> Bool[Array, " m"]:
        """Whether each start reached a fixed point."""
        return self.index >= 0


def fixed_points(
    net: RateNetwork,
    x0s: Float[ArrayLike, "m n"],
    *,
    tolerance: float = 1e-10,
    max_steps: int = 100,
    num_leading: int = 1,
    same: float = 1e-5,
    progress: bool = True,
) -> FixedPoints:
    r"""The fixed points found from the starts x0s, each once, with the eigenvalues that say whether it is stable.

    $$ 0 = \tau \dot x = -x + \gamma J \phi(x) + I $$

    Each start is one `find_fixed_point`, which documents `tolerance` and `max_steps`. Two results are one
    point if no coordinate differs by more than `same`; the result of smaller residual represents it. Of each point
    the `num_leading` eigenvalues with the largest real parts are kept. Starts are searched together as long as their
    Jacobians have at most 2^22 entries in all; `progress` shows a bar. Fixed points can be missed: their number can
    grow exponentially with n.

    Merging depends on values: under `jit` and `vmap`, and for derivatives, use `find_fixed_point`.

    Raises:
        ValueError: if ``x0s`` is not (m, n) with m >= 1, not finite or traced, ``num_leading`` not between 1 and n,
            ``same`` not positive, and where `find_fixed_point` does.
    """
    x0s = _checked_starts(net, x0s, num_leading, same)
    found = _find_all(net, x0s, tolerance, max_steps, progress)
    positions, index = _distinct(found, same)
    points = jnp.asarray(found.value[positions])
    eigenvalues = jacobian_eigenvalues(net, points, progress=progress)
    order = jnp.lexsort((-eigenvalues.imag, -eigenvalues.real), axis=-1)
    eigenvalues = jnp.take_along_axis(eigenvalues, order, -1)
    return FixedPoints(
        points=points,
        residual=jnp.asarray(found.residual[positions]),
        eigenvalues=eigenvalues[:, :num_leading],
        stable=eigenvalues[:, 0].real < 0,
        counts=jnp.asarray(np.bincount(index[index >= 0], minlength=len(positions))),
        index=jnp.asarray(index),
        start_residual=jnp.asarray(found.residual),
    )


def _checked_starts(net: RateNetwork, x0s: ArrayLike, num_leading: int, same: float) -> Float[Array, "m n"]:
    if not is_concrete(net, x0s):
        raise ValueError("`net` and `x0s` must be concrete to merge fixed points: transform `find_fixed_point` instead")
    x0s = states_of(net, "x0s", x0s)
    if x0s.ndim != 2 or len(x0s) == 0:
        raise ValueError(f"`x0s` must have shape (m, {net.size}) with m >= 1, got {x0s.shape}")
    require_whole("num_leading", num_leading)
    if num_leading > net.size:
        raise ValueError(f"`num_leading` must be at most the number of units, {net.size}, got {num_leading}")
    require("same", same, positive, "a finite number > 0")
    _require_autonomous(net)
    return x0s


def _find_all(net: RateNetwork, x0s: Float[Array, "m n"], tolerance: float, max_steps: int, progress: bool) -> Root:
    """The ends of all searches, as NumPy arrays."""
    batch, roots = matrices_at_once(net.size), []
    with tqdm(total=len(x0s), desc="fixed points", unit="start", delay=1, disable=not progress) as bar:
        for first in range(0, len(x0s), batch):
            chunk = x0s[first : first + batch]
            roots.append(jax.block_until_ready(_find_many(net, chunk, tolerance, max_steps)))
            bar.update(len(chunk))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *roots)


@eqx.filter_jit
def _find_many(net: RateNetwork, x0s: Float[Array, "m n"], tolerance: float, max_steps: int) -> Root:
    return jax.vmap(lambda x0: find_fixed_point(net, x0, tolerance=tolerance, max_steps=max_steps))(x0s)


def _distinct(found: Root, same: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the distinct points in ``found``, sorted as in `FixedPoints`, and the point of each start."""
    positions, index = merge(found.value, np.where(found.converged, found.residual, np.inf), same)
    points = found.value[positions]
    # Norms that differ by rounding are one norm.
    order = np.lexsort((points[:, 0], np.round(np.linalg.norm(points, axis=-1) / same)))
    # Merged numbers become places in the order; -1 stays, as the last entry.
    return positions[order], np.append(np.argsort(order), -1)[index]
