r"""Low-rank networks of piecewise-linear units: all regions of their phase space, and all fixed points.

$$ \dot x = -x + M N^T \phi(x + h), \qquad x = M \kappa, \quad \kappa = N^T \phi(M \kappa + h) $$

With M and N of R columns, fixed points lie in the span of M. Every unit cuts kappa-space by one hyperplane for each
break point of phi, m_i . kappa + h_i = beta_k; inside a region phi is linear, phi(x) = a x + c, and the fixed point
solves R equations,

$$ (1 - N^T \mathrm{diag}(a) M)\, \kappa = N^T (a \circ h + c) . $$

A constant input I moves the fixed points to x = M kappa + I, with the kappa of the offset h + I. H hyperplanes make at
most sum_{r <= R} C(H, r) regions (Zaslavsky 1975). All of them are visited, so that no fixed point is missed.

Source: Pals et al. 2024 (NeurIPS) for threshold-linear units; other units and jumps derived here.
"""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from .._arguments import positive, real_array, require
from .._numerics import as_complex, is_concrete, merge
from .._results import Result
from ..eigen import eigenvalues
from ..transfer import PiecewiseLinear, Transfer, as_piecewise_linear

# Numbers in one batch of sides, and of regions to be solved: 2^23 and 2^22 float64 are 64 and 32 MB.
_SIDES_TOGETHER, _ENTRIES_TOGETHER = 2**23, 2**22
# Fixed points on a border are found from each region that meets there. They are one within this many tolerances, which
# leaves room for the condition of the equations on the two sides.
_SAME = 100.0

# --- regions


def regions(
    normals: Float[ArrayLike, "H R"], offsets: Float[ArrayLike, " H"], *, tolerance: float = 1e-10
) -> Bool[np.ndarray, "K H"]:
    r"""All regions into which hyperplanes a_j . kappa + h_j = 0 cut R-space, as sides: a_j . kappa + h_j > 0.

    Take every set S of r <= R hyperplanes with independent normals. Choose a point p of their intersection and vectors
    d_i dual to their normals. The 2^r regions that meet at p contain the points p + sum_i sigma_i d_i, with signs
    sigma_i and infinitesimal d_i. `regions` lists the sides of these points, for all S. Sides that p leaves open are
    decided by the d_i, the last first.

    No region is missed. A hyperplane that is added to others splits the regions that it meets. It meets them in the
    regions of an arrangement of one dimension less, which the other hyperplanes cut into it. By induction the regions
    that a hyperplane adds are found at its intersections with the others, down to points. Arrangements may be in any
    position (central, parallel, repeated).

    The search looks at up to sum_r C(H, r) 2^r points of H sides, in batches: O(H^{R+1}) time at fixed R. A distance
    below `tolerance`, relative to the terms of its sum, counts as 0, so that hyperplanes that meet in one point up to
    rounding do meet. Rows of the result are sorted. Hyperplanes with a_j = 0 have one side, the sign of h_j. `normals`
    are a_j and `offsets` h_j.

    Raises:
        ValueError: if ``normals`` is not (H, R) with H, R >= 1, ``offsets`` not (H,), one of them not finite or traced,
            or ``tolerance`` is not positive.
    """
    if not is_concrete(normals, offsets):
        raise ValueError("`normals` and `offsets` must be concrete: the number of regions depends on values")
    A, h = real_array("normals", normals), real_array("offsets", offsets)
    if A.ndim != 2 or 0 in A.shape:
        raise ValueError(f"`normals` must have shape (H, R) with H, R >= 1, got {A.shape}")
    if h.shape != A.shape[:1]:
        raise ValueError(f"`offsets` must have shape ({len(A)},), got {h.shape}")
    require("normals", A, np.isfinite, "finite numbers")
    require("offsets", h, np.isfinite, "finite numbers")
    require("tolerance", tolerance, positive, "a finite number > 0")

    # Lengths do not matter for the sides; equal ones make one tolerance right for all.
    length = jnp.linalg.norm(A, axis=1)
    A, h = A / jnp.where(length > 0, length, 1)[:, None], h.astype(A.dtype) / jnp.where(length > 0, length, 1)
    found = _sides(A, h, jnp.zeros((1, 0), jnp.int32), tolerance)
    num, dimension = A.shape
    for r in range(1, min(num, dimension) + 1):
        subsets = itertools.combinations(range(num), r)
        together = max(1, _SIDES_TOGETHER // (num * 2**r))
        while chunk := list(itertools.islice(subsets, together)):
            # In powers of two, so that few programs are compiled; repeated subsets do no harm.
            size = min(together, 1 << (len(chunk) - 1).bit_length())
            padded = np.resize(np.array(chunk, np.int32), (size, r))
            found = np.unique(np.concatenate([found, _sides(A, h, jnp.asarray(padded), tolerance)]), axis=0)
    return np.unpackbits(found, axis=1, count=num).astype(bool)


def _sides(A: Float[Array, "H R"], h: Float[Array, " H"], subsets: Int[Array, "m r"], tolerance: float) -> np.ndarray:
    """Sides of the regions around the intersections of subsets of hyperplanes, packed and each once."""
    packed, independent = _packed_sides(A, h, subsets, tolerance)
    return np.unique(np.asarray(packed)[np.asarray(independent)].reshape(-1, packed.shape[-1]), axis=0)


@eqx.filter_jit
def _packed_sides(A, h, subsets, tolerance: float):
    r, dimension = subsets.shape[1], A.shape[1]
    signs = 1 - 2 * ((jnp.arange(2**r)[:, None] >> jnp.arange(r)[None]) & 1).astype(A.dtype)
    # Where an intersection is more than a point, a generic one of its points, as far from 0 as the hyperplanes are.
    far = jnp.max(jnp.abs(h))
    generic = jnp.cos(1 + math.sqrt(2) * jnp.arange(1, dimension + 1, dtype=A.dtype))
    somewhere = jnp.where(r < dimension, jnp.where(far > 0, far, 1), 0) * generic

    def around(subset):
        normals = A[subset]
        # normals = T^T Q^T: not by the Gram matrix, which squares the condition of nearly parallel ones.
        Q, T = jnp.linalg.qr(normals.T)
        independent = jnp.all(jnp.abs(jnp.diag(T)) > tolerance)
        dual = Q @ jnp.linalg.inv(jnp.where(independent, T, jnp.eye(r, dtype=A.dtype))).T
        distances = normals @ somewhere + h[subset]
        point, reach = somewhere - dual @ distances, jnp.abs(somewhere) + jnp.abs(dual) @ jnp.abs(distances)

        def sign(values, terms):
            return jnp.where(jnp.abs(values) > tolerance * terms, jnp.sign(values), 0)

        at_point = sign(A @ point + h, jnp.abs(A) @ reach + jnp.abs(h))
        along = sign(A @ dual, jnp.abs(A) @ jnp.abs(dual))
        # Exactly dual, whatever the rounding: a hyperplane of the set is met, and left by its own direction.
        at_point = at_point.at[subset].set(0)
        along = along.at[subset].set(jnp.eye(r, dtype=A.dtype))

        def resolved(sigma):
            side = at_point
            for k in reversed(range(r)):
                side = jnp.where(side == 0, sigma[k] * along[:, k], side)
            return jnp.packbits(side > 0)

        return jax.vmap(resolved)(signs), independent

    return jax.vmap(around)(subsets)


# --- fixed points


class PiecewiseFixedPoints(Result, axes={"k": "fixed_point", "R": "mode", "n": "unit"}):
    """All fixed points x = M kappa of a network.

    `kappa` (k, R) and `points` (k, n) are the fixed points in both coordinates. `eigenvalues` (k, R) are those of
    N^T diag(phi') M - 1, by falling real part; the other n - R of the Jacobian are -1. `stable` says that all are in
    the left half plane. At a `boundary` some unit is at a break point of phi, where the Jacobian jumps: eigenvalues are
    then those of one adjacent region. They do not decide stability, and `stable` is False. `num_regions` were visited.
    In `num_singular` of them the linear equations have no unique solution: a continuum of fixed points, if any, is not
    listed.
    """

    kappa: Float[np.ndarray, "k R"]
    points: Float[np.ndarray, "k n"]
    eigenvalues: Complex[np.ndarray, "k R"]
    stable: Bool[np.ndarray, " k"]
    boundary: Bool[np.ndarray, " k"]
    num_regions: int
    num_singular: int


def piecewise_fixed_points(
    left: Float[ArrayLike, "n R"],
    right: Float[ArrayLike, "n R"],
    transfer: Transfer,
    offset: Float[ArrayLike, "*n"] = 0.0,
    *,
    tolerance: float = 1e-10,
) -> PiecewiseFixedPoints:
    r"""All fixed points of x' = -x + M N^T phi(x + h), by visiting every region where phi is linear.

    `left` is M and `right` is N (no factor 1/n), `offset` h is a number or (n,). `transfer` is made of lines:
    `jn.transfer.ReLU()`, `Linear()` or any `PiecewiseLinear`. In each region kappa solves

    $$ (1 - N^T \mathrm{diag}(a) M)\, \kappa = N^T (a \circ h + c), $$

    and is kept when M kappa + h lies there. Fixed points on a border where phi is continuous are kept once. Where phi
    jumps at the border, such a point is no fixed point. Time grows as n^{R+1}. `tolerance` is that of `regions`; it
    decides, relative to the terms of M kappa + h, which points lie on a border, and, relative to the matrix, which
    equations are singular.

    Raises:
        ValueError: if ``left`` and ``right`` are not (n, R) of one shape, ``transfer`` is not made of lines,
            ``offset`` does not fit, something is not finite or traced, or ``tolerance`` is not positive.

    Source: Pals, Sagtekin, Pei, Gloeckler & Macke 2024 (NeurIPS), for max(x, 0).
    """
    M, N, lines, h = _checked(left, right, transfer, offset)
    pieces = _pieces(M, lines, h, tolerance)
    kappa, matrices, inside, boundary, singular = _solved_in_parts(M, N, lines, h, pieces, tolerance)

    kept = np.flatnonzero(inside & ~singular)
    kept = kept[_each_once(kappa[kept], boundary[kept], tolerance)]
    kappa, boundary = kappa[kept], boundary[kept]
    values = as_complex(jnp.zeros((0, M.shape[1]), M.dtype))
    if len(kept):
        values = eigenvalues(matrices[kept]) - 1
        values = jnp.take_along_axis(values, jnp.argsort(-values.real, axis=1, stable=True), 1)
    return PiecewiseFixedPoints(
        kappa=kappa,
        points=kappa @ np.asarray(M).T,
        eigenvalues=np.asarray(values),
        stable=np.asarray(jnp.all(values.real < 0, 1)) & ~boundary,
        boundary=boundary,
        num_regions=len(pieces),
        num_singular=int(np.sum(singular)),
    )


def _checked(left: ArrayLike, right: ArrayLike, transfer: Transfer, offset: ArrayLike):
    """M, N, phi by its pieces and h (n,), in the precision of M."""
    if not is_concrete(left, right, transfer, offset):
        raise ValueError(
            "`left`, `right`, `transfer` and `offset` must be concrete: the number of points depends on them"
        )
    M, N = real_array("left", left), real_array("right", right)
    if M.ndim != 2 or 0 in M.shape:
        raise ValueError(f"`left` must have shape (n, R) with n, R >= 1, got {M.shape}")
    if N.shape != M.shape:
        raise ValueError(f"`right` must have the shape of `left`, {M.shape}, got {N.shape}")
    lines = as_piecewise_linear(transfer)
    h = real_array("offset", offset)
    if h.shape not in ((), M.shape[:1]):
        raise ValueError(f"`offset` must be a number or have shape ({len(M)},), got {h.shape}")
    for name, values in (("left", M), ("right", N), ("offset", h)):
        require(name, values, np.isfinite, "finite numbers")
    lines = jax.tree.map(lambda leaf: leaf.astype(M.dtype), lines)
    return M, N.astype(M.dtype), lines, jnp.broadcast_to(h.astype(M.dtype), M.shape[:1])


def _pieces(M, lines: PiecewiseLinear, h, tolerance: float) -> Int[np.ndarray, "K n"]:
    """The piece of phi that each unit is on, in every region."""
    num_breaks = len(lines.breaks)
    if num_breaks == 0:
        return np.zeros((1, len(M)), int)
    normals, offsets = jnp.repeat(M, num_breaks, axis=0), (h[:, None] - lines.breaks[None]).reshape(-1)
    # Break points are ordered, so that the sides count those below a state.
    return np.sum(regions(normals, offsets, tolerance=tolerance).reshape(-1, len(M), num_breaks), -1)


def _solved_in_parts(M, N, lines: PiecewiseLinear, h, pieces: Int[np.ndarray, "K n"], tolerance: float):
    """`_solved` for all regions, as many together as fit in memory."""
    n = len(M)
    together = max(1, _ENTRIES_TOGETHER // n)
    parts = []
    for first in range(0, len(pieces), together):
        chunk = pieces[first : first + together]
        # In powers of two, so that few programs are compiled.
        size = 1 << (len(chunk) - 1).bit_length()
        solved = _solved(M, N, lines, h, jnp.asarray(np.resize(chunk, (size, n))), tolerance)
        parts.append([np.asarray(leaf)[: len(chunk)] for leaf in solved])
    return [np.concatenate(leaves) for leaves in zip(*parts, strict=True)]


@eqx.filter_jit
def _solved(M, N, transfer: PiecewiseLinear, h, pieces: Int[Array, "K n"], tolerance: float):
    """For each region kappa and N^T diag(a) M; whether kappa lies inside, or on a border; whether there is no one."""
    # Values of phi on either side of its break points.
    lower, upper = (
        transfer.slopes[k] * transfer.breaks + transfer.intercepts[k] for k in (slice(None, -1), slice(1, None))
    )
    jumps = jnp.abs(upper - lower) > tolerance * (1 + jnp.abs(upper))
    edges = jnp.concatenate([jnp.array([-jnp.inf], M.dtype), transfer.breaks, jnp.array([jnp.inf], M.dtype)])
    open_edges = jnp.concatenate([jnp.zeros(1, bool), jumps, jnp.zeros(1, bool)])

    def one(piece):
        a, c = transfer.slopes[piece], transfer.intercepts[piece]
        with jax.default_matmul_precision("highest"):
            matrix = (N.T * a[None]) @ M
            equation = jnp.eye(M.shape[1], dtype=M.dtype) - matrix
            sizes = jnp.linalg.svd(equation, compute_uv=False)
            singular = sizes[-1] <= tolerance * (1 + jnp.max(jnp.abs(matrix)))
            kappa = jnp.linalg.solve(equation, N.T @ (a * h + c))
            x = M @ kappa + h
        near = tolerance * (1 + jnp.abs(M) @ jnp.abs(kappa) + jnp.abs(h))
        low, high = edges[piece], edges[piece + 1]
        # Where phi jumps the border itself is excluded.
        above = jnp.where(open_edges[piece], x > low + near, x >= low - near)
        below = jnp.where(open_edges[piece + 1], x < high - near, x <= high + near)
        on_border = (jnp.abs(x - low) <= near) | (jnp.abs(x - high) <= near)
        return kappa, matrix, jnp.all(above & below), jnp.any(on_border), singular

    return jax.vmap(one)(pieces)


def _each_once(kappa: np.ndarray, boundary: np.ndarray, tolerance: float) -> Int[np.ndarray, " k"]:
    """Positions of the points inside regions, and of one point for each place on a border that several regions find."""
    on_border = np.flatnonzero(boundary)
    same = _SAME * tolerance
    first, _ = merge(kappa[on_border], np.zeros(len(on_border)), same, relative=same)
    return np.sort(np.concatenate([np.flatnonzero(~boundary), on_border[first]]))
