r"""Low-rank networks of piecewise-linear units: all regions of their phase space, and all fixed points.

$$ \dot x = -x + M N^T \phi(x + h), \qquad x = M \kappa, \quad \kappa = N^T \phi(M \kappa + h) $$

With M and N of R columns, fixed points lie in the span of M. Every unit cuts kappa-space by one hyperplane for each
break point of phi, m_i . kappa + h_i = beta_k; inside a region phi is linear, phi(x) = a x + c, and the fixed point
solves R equations,

$$ (1 - N^T \mathrm{diag}(a) M)\, \kappa = N^T (a \circ h + c) . $$

A constant input I moves the fixed points to x = M kappa + I, with the kappa of the offset h + I. H hyperplanes make at
most sum_{r <= R} C(H, r) regions (Zaslavsky 1975). All of them are visited, so that no fixed point is missed.
Everything here runs in NumPy: regions are counted, and nothing is differentiated.

Source: Pals et al. 2024 (NeurIPS) for threshold-linear units; other units and jumps derived here.
"""

import itertools
import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Complex, Float, Int

from .._arguments import positive, real_array, require
from .._numerics import is_concrete, merge
from .._results import Result
from ..eigen import host_eigenvalues
from ..transfer import PiecewiseLinear, Transfer, as_piecewise_linear

# Numbers in one batch of sides, and of regions to be solved: 2^23 and 2^22 float64 are 64 and 32 MB.
_SIDES_TOGETHER, _ENTRIES_TOGETHER = 2**23, 2**22
# Fixed points on a border are found from each region that meets there. They are one within this many tolerances, of the
# largest terms. In 60 random networks of rank 1 to 3 the results differed by at most 4e-6 of one; the rest is room for
# ill-conditioned equations.
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

    A, h = _of_length_one(np.asarray(A), np.asarray(h, A.dtype))
    found = _sides(A, h, np.zeros((1, 0), int), tolerance)
    num, dimension = A.shape
    for r in range(1, min(num, dimension) + 1):
        subsets = itertools.combinations(range(num), r)
        together = max(1, _SIDES_TOGETHER // (num * 2**r))
        while chunk := list(itertools.islice(subsets, together)):
            found = np.unique(np.concatenate([found, _sides(A, h, np.array(chunk), tolerance)]), axis=0)
    return np.unpackbits(found, axis=1, count=num).astype(bool)


def _of_length_one(A: Float[np.ndarray, "H R"], h: Float[np.ndarray, " H"]):
    """The same hyperplanes. Lengths do not matter for the sides; equal ones make one tolerance right for all."""
    # The largest entry comes first, so that no square under- or overflows.
    for length in (lambda A: np.max(np.abs(A), axis=1), lambda A: np.linalg.norm(A, axis=1)):
        size = length(A)
        size = np.where(size > 0, size, 1)
        A, h = A / size[:, None], h / size
    return A, h


def _sides(
    A: Float[np.ndarray, "H R"], h: Float[np.ndarray, " H"], subsets: Int[np.ndarray, "m r"], tolerance: float
) -> np.ndarray:
    """Sides of the regions around the intersections of subsets of hyperplanes, packed and each once."""
    subsets, point, reach, dual = _intersections(A, h, subsets, tolerance)

    def sign(values, terms):
        return np.where(np.abs(values) > tolerance * terms, np.sign(values), 0)

    at_point = sign(point @ A.T + h, reach @ np.abs(A).T + np.abs(h))
    # Exactly dual, whatever the rounding: a hyperplane of the set is met, and left by its own direction.
    np.put_along_axis(at_point, subsets, 0, 1)
    row, plane = np.nonzero(at_point == 0)
    normals, directions = A[plane][:, None], dual[row]
    along = sign((normals @ directions)[:, 0], (np.abs(normals) @ np.abs(directions))[:, 0])
    own = subsets[row] == plane[:, None]
    along = np.where(np.any(own, 1)[:, None], own, along)

    above, found = at_point > 0, []
    for sigma in itertools.product((1, -1), repeat=subsets.shape[1]):
        side = np.zeros(len(row))
        for k in reversed(range(len(sigma))):
            side = np.where(side == 0, sigma[k] * along[:, k], side)
        above[row, plane] = side > 0
        found.append(np.packbits(above, axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _intersections(A, h, subsets: Int[np.ndarray, "m r"], tolerance: float):
    """The subsets with independent normals; a point of each intersection, the terms of its sums, and dual vectors."""
    r, dimension = subsets.shape[1], A.shape[1]
    # Where an intersection is more than a point, a generic one of its points, as far from 0 as the hyperplanes are.
    far = np.max(np.abs(h))
    generic = np.cos(1 + math.sqrt(2) * np.arange(1, dimension + 1)).astype(A.dtype)
    somewhere = generic * (0 if r == dimension else far if far > 0 else 1)
    if r == 0:
        return subsets, somewhere[None], np.abs(somewhere)[None], np.zeros((1, dimension, 0), A.dtype)
    # normals = T^T Q^T: not by the Gram matrix, which squares the condition of nearly parallel ones.
    Q, T = np.linalg.qr(A[subsets].swapaxes(1, 2))
    independent = np.all(np.abs(np.diagonal(T, axis1=1, axis2=2)) > tolerance, 1)
    subsets, Q, T = subsets[independent], Q[independent], T[independent]
    dual = Q @ np.linalg.inv(T).swapaxes(1, 2)
    distances = (A[subsets] @ somewhere + h[subsets])[..., None]
    point = somewhere - (dual @ distances)[..., 0]
    return subsets, point, np.abs(somewhere) + (np.abs(dual) @ np.abs(distances))[..., 0], dual


# --- fixed points


class PiecewiseFixedPoints(Result, axes={"k": "fixed_point", "R": "mode", "n": "unit"}):
    """All fixed points x = M kappa of a network.

    `kappa` (k, R) and `points` (k, n) are the fixed points in both coordinates. `eigenvalues` (k, R) belong to
    N^T diag(phi') M - 1 and come by falling real part; the other n - R of the Jacobian are -1. `stable` says that all
    are in the left half plane. At a `boundary` some unit is at a break point of phi, where the Jacobian jumps:
    eigenvalues are then taken from one adjacent region. They do not decide stability, and `stable` is False.
    `num_regions` were visited. In `num_singular` of them the linear equations have no unique solution: a continuum of
    fixed points, if any, is not listed.
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
    jumps at the border, such a point is no fixed point. Time grows as n^{R+1}. `tolerance` serves `regions`; it
    also decides, relative to the terms of M kappa + h, which points lie on a border, and, relative to the matrix, which
    equations are singular.

    Raises:
        ValueError: if ``left`` and ``right`` are not (n, R) of one shape, ``transfer`` is not made of lines,
            ``offset`` does not fit, something is not finite or traced, or ``tolerance`` is not positive.

    Source: Pals, Sagtekin, Pei, Gloeckler & Macke 2024 (NeurIPS), for max(x, 0).
    """
    M, N, lines, h = _checked(left, right, transfer, offset)
    pieces = _pieces(M, lines, h, tolerance)
    found = _solved_in_parts(M, N, lines, h, pieces, tolerance)

    kept = np.flatnonzero(found.inside & ~found.singular)
    kept = kept[_each_once(found.kappa[kept], found.terms[kept], found.boundary[kept], tolerance)]
    kappa, boundary = found.kappa[kept], found.boundary[kept]
    values = np.zeros((0, M.shape[1]), np.result_type(M.dtype, np.complex64))
    if len(kept):
        values = host_eigenvalues(found.matrices[kept]) - 1
        values = np.take_along_axis(values, np.argsort(-np.real(values), axis=1, stable=True), 1)
    return PiecewiseFixedPoints(
        kappa=kappa,
        points=kappa @ M.T,
        eigenvalues=values,
        stable=np.all(np.real(values) < 0, 1) & ~boundary,
        boundary=boundary,
        num_regions=len(pieces),
        num_singular=int(np.sum(found.singular)),
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
    M, N, lines, h = jax.tree.map(lambda leaf: np.asarray(leaf, M.dtype), (M, N, lines, h))
    return M, N, lines, np.broadcast_to(h, M.shape[:1])


def _pieces(M, lines: PiecewiseLinear, h, tolerance: float) -> Int[np.ndarray, "K n"]:
    """The piece of phi that each unit is on, in every region."""
    num_breaks = len(lines.breaks)
    if num_breaks == 0:
        return np.zeros((1, len(M)), int)
    normals, offsets = np.repeat(M, num_breaks, axis=0), (h[:, None] - lines.breaks).reshape(-1)
    # Break points are ordered, so that the sides count those below a state.
    return np.sum(regions(normals, offsets, tolerance=tolerance).reshape(-1, len(M), num_breaks), -1)


class _Solved(NamedTuple):
    """For each region: kappa, the size of the terms of its sums, and N^T diag(a) M.

    Also whether kappa lies inside the region, or on its border, and whether the equations have no single solution.
    """

    kappa: Float[np.ndarray, "K R"]
    terms: Float[np.ndarray, "K R"]
    matrices: Float[np.ndarray, "K R R"]
    inside: Bool[np.ndarray, " K"]
    boundary: Bool[np.ndarray, " K"]
    singular: Bool[np.ndarray, " K"]


def _solved_in_parts(M, N, lines: PiecewiseLinear, h, pieces: Int[np.ndarray, "K n"], tolerance: float) -> _Solved:
    """`_solved` for all regions, as many together as fit in memory."""
    together = max(1, _ENTRIES_TOGETHER // len(M))
    firsts = range(0, len(pieces), together)
    parts = [_solved(M, N, lines, h, pieces[first : first + together], tolerance) for first in firsts]
    return _Solved(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def _solved(M, N, lines: PiecewiseLinear, h, pieces: Int[np.ndarray, "K n"], tolerance: float) -> _Solved:
    rank = M.shape[1]
    a, c = lines.slopes[pieces], lines.intercepts[pieces]
    matrices = (a @ (N[:, :, None] * M[:, None]).reshape(len(M), -1)).reshape(-1, rank, rank)
    equations = np.eye(rank, dtype=M.dtype) - matrices
    sizes = np.linalg.svd(equations, compute_uv=False)
    singular = sizes[:, -1] <= tolerance * (1 + np.max(np.abs(matrices), (1, 2)))
    inverse = np.linalg.inv(np.where(singular[:, None, None], np.eye(rank, dtype=M.dtype), equations))
    kappa = (inverse @ ((a * h + c) @ N)[..., None])[..., 0]
    terms = (np.abs(inverse) @ ((np.abs(a * h) + np.abs(c)) @ np.abs(N))[..., None])[..., 0]
    x = kappa @ M.T + h
    size = terms @ np.abs(M).T + np.abs(h)

    edges = np.concatenate([[-np.inf], lines.breaks, [np.inf]]).astype(M.dtype)
    jumps = np.concatenate([[False], _jumps(lines, tolerance), [False]])
    inside, boundary = np.ones(len(x), bool), np.zeros(len(x), bool)
    for piece, direction in ((pieces, 1), (pieces + 1, -1)):
        edge, beyond = edges[piece], direction * (x - edges[piece])
        near = tolerance * (size + np.where(np.isinf(edge), 0, np.abs(edge)))
        # Where phi jumps the border itself is excluded.
        inside &= np.all(np.where(jumps[piece], beyond > near, beyond >= -near), 1)
        boundary |= np.any(np.abs(beyond) <= near, 1)
    return _Solved(kappa, terms, matrices, inside, boundary, singular)


def _jumps(lines: PiecewiseLinear, tolerance: float) -> Bool[np.ndarray, " d"]:
    """At which break points phi jumps."""
    rising, constant = lines.slopes[:-1] * lines.breaks, lines.intercepts[:-1]
    then, constant_then = lines.slopes[1:] * lines.breaks, lines.intercepts[1:]
    size = np.abs(rising) + np.abs(constant) + np.abs(then) + np.abs(constant_then)
    return np.abs(then + constant_then - rising - constant) > tolerance * size


def _each_once(kappa, terms, boundary, tolerance: float) -> Int[np.ndarray, " k"]:
    """Positions of the points inside regions, and of one point for each place on a border that several regions find."""
    on_border = np.flatnonzero(boundary)
    same = _SAME * tolerance * float(np.max(terms[on_border], initial=0))
    first, _ = merge(kappa[on_border], np.zeros(len(on_border)), same)
    return np.sort(np.concatenate([np.flatnonzero(~boundary), on_border[first]]))
