r"""Fixed points of a network, x = gamma J phi(x) + I, and their stability.

One start is a damped least-squares search (Levenberg-Marquardt) for a neighbourhood, then Newton steps. Newton's
method alone wanders: of 160 starts of order one in eight i.i.d. tanh networks of 60 units, it arrives with 112, 109,
69 and 0 at g = 1.2, 1.5, 2 and 4 (100 steps), and the damped search with 153, 154, 149 and 85.
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
from .._numerics import Root, frozen, is_concrete, polish_root
from .lyapunov import jacobian_eigenvalues, states_of, whole_matrices
from .network import RateNetwork


def find_fixed_point(
    net: RateNetwork, x0: Float[ArrayLike, " n"], *, tolerance: float = 1e-10, max_steps: int = 100
) -> Root:
    r"""A solution of x = gamma J phi(x) + I near the start x0, differentiable in the network.

    $$ 0 = \tau \dot x = -x + \gamma J \phi(x) + I $$

    Returns `value` (n,), `residual` = max |tau dx/dt| there, in the unit of x, and `converged`, whether that is at most
    `tolerance` (in float32 at most 4e-4). Derivatives with respect to every array of `net` are those of the implicit
    function; x0 is only a start, and has none. Noise is ignored, and an input that depends on time is refused. A search
    that has not come near after `max_steps` has failed, which is data: it may lie at a slow point that is no fixed
    point. Valid where the Jacobian is regular: at a bifurcation, where it is not, points are known to sqrt(tolerance)
    only.

    Works under `jit` and `vmap`; mapped searches step together until the last is done. A step forms the Jacobian and
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
    near = max(1e-6, 300 * float(jnp.finfo(net.dtype).eps))
    # The normal equations square the condition number, which the polishing makes good, and are faster than QR.
    search = optx.LevenbergMarquardt(rtol=near, atol=near, linear_solver=lx.Normal(lx.Cholesky()))
    # Its damping has JAX's default precision, and so must all else.
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


class FixedPoints(eqx.Module):
    """Distinct fixed points, sorted by their norm, and what became of each start.

    Points of one norm, as x and -x, are sorted by their first coordinate. `residuals` are max |tau dx/dt|;
    `eigenvalues` are those of the Jacobian, by falling real part, and `stable` says that all real parts are negative.
    `counts` starts arrived at each point; `index` gives for every start the point it arrived at, -1 for none, and
    `start_residual` how near it came.
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
        """Whether each start arrived at a fixed point."""
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
    """All fixed points found from the starts x0s, each once, with the leading eigenvalues that say if it is stable.

    Each start is one `find_fixed_point`, which documents `tolerance` and `max_steps`. Two results of which no
    coordinate differs by more than `same` are one point, represented by the one of smaller residual. Starts are
    searched together as long as their Jacobians have at most 2^22 entries in all. There is no promise that all fixed
    points are found: their number can grow exponentially with n.

    Merging depends on values: under `jit` and `vmap`, and for derivatives, use `find_fixed_point`.

    Raises:
        ValueError: if ``x0s`` is not (m, n) with m >= 1, not finite or traced, ``num_leading`` not between 1 and n,
            ``same`` not positive, and where `find_fixed_point` does.
    """
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

    batch, roots = whole_matrices(net.size), []
    with tqdm(total=len(x0s), desc="fixed points", unit="start", delay=1, disable=not progress) as bar:
        for first in range(0, len(x0s), batch):
            chunk = x0s[first : first + batch]
            roots.append(jax.block_until_ready(_find_many(net, chunk, tolerance, max_steps)))
            bar.update(len(chunk))
    found = jax.tree.map(lambda *parts: np.concatenate(parts), *roots)

    representatives, index = _merge(found.value, np.where(found.converged, found.residual, np.inf), same)
    points = jnp.asarray(found.value[representatives])
    eigenvalues = jacobian_eigenvalues(net, points, progress=progress)
    order = jnp.lexsort((-eigenvalues.imag, -eigenvalues.real), axis=-1)
    eigenvalues = jnp.take_along_axis(eigenvalues, order, -1)
    return FixedPoints(
        points=points,
        residual=jnp.asarray(found.residual[representatives]),
        eigenvalues=eigenvalues[:, :num_leading],
        stable=eigenvalues[:, 0].real < 0,
        counts=jnp.asarray(np.bincount(index[index >= 0], minlength=len(representatives))),
        index=jnp.asarray(index),
        start_residual=jnp.asarray(found.residual),
    )


@eqx.filter_jit
def _find_many(net: RateNetwork, x0s: Float[Array, "m n"], tolerance: float, max_steps: int) -> Root:
    return jax.vmap(lambda x0: find_fixed_point(net, x0, tolerance=tolerance, max_steps=max_steps))(x0s)


def _merge(points: np.ndarray, residuals: np.ndarray, same: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of one representative of each distinct point, and to which of them each of ``points`` belongs.

    Residuals that are not finite mark what is no point, of index -1.
    """
    index = np.full(len(points), -1)
    kept: list[int] = []
    # From the smallest residual up, so that the first of a kind represents it, whatever the order of the starts.
    for i in np.argsort(residuals, kind="stable"):
        if not np.isfinite(residuals[i]):
            break
        near = np.flatnonzero(np.max(np.abs(points[kept] - points[i]), axis=-1) <= same)
        index[i] = near[0] if len(near) else len(kept)
        if not len(near):
            kept.append(i)
    representatives = np.array(kept, dtype=int)
    norms = np.round(np.linalg.norm(points[representatives], axis=-1) / same)
    order = np.lexsort((points[representatives, 0], norms))
    return representatives[order], np.append(np.argsort(order), -1)[index]
