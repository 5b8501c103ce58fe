r"""Weights that hold given patterns as fixed points of x' = -x + J H(x) + b, or the proof that there are none.

Each row of J is a problem of its own (`constraints`). Three functions choose among the weights that hold the patterns:
`store` takes the largest margin for weights within bounds, `store_widest` the largest margin for their Euclidean norm,
and `store_sparsest` the least sum of |J|, which leaves few synapses. For independent patterns, `factorise` and
`compose` describe all solutions by linear algebra.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) for what holds a pattern and the factorisation.
"""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from scipy.optimize import linprog, nnls
from tqdm import tqdm

from .._arguments import host_array, real_array, require
from .._results import Result
from .constraints import (
    Certificate,
    Row,
    as_bias,
    as_bounds,
    as_patterns,
    certify,
    reaches,
    require_nonnegative,
    row_problem,
    solve_row,
    weight_limits,
)


class Storage(Result, axes={"n": "unit"}):
    """Weights that hold the patterns; for each unit its margin, or the proof that it has no weights.

    `weights` (n, n) are J, with the `bias` b (n,). `margins` (n,) are min_k (2 s_i^k - 1) (J s^k + b)_i, less the
    largest effect of weight noise. `certificates` are None for rows with a solution. A row without a solution has a
    certificate, which names patterns by their indices, and its weights, bias and margin are NaN.
    """

    weights: Float[np.ndarray, "n n"]
    bias: Float[np.ndarray, " n"]
    margins: Float[np.ndarray, " n"]
    certificates: tuple[Certificate | None, ...]

    @property
    def feasible(self) -> Bool[np.ndarray, " n"]:
        """Which units can hold the patterns."""
        return np.array([certificate is None for certificate in self.certificates])

    @property
    def stored(self) -> bool:
        """Whether all units can hold them."""
        return bool(np.all(self.feasible))

    @property
    def signs(self) -> Float[np.ndarray, "n n"]:
        """+1 and -1, or 0 where no synapse is used."""
        return np.sign(self.weights)

    @property
    def strengths(self) -> Float[np.ndarray, "n n"]:
        """|J|."""
        return np.abs(self.weights)


def store(
    patterns: Int[ArrayLike, "P n"],
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    bounds: Float[ArrayLike, "n n"] | float = 1.0,
    bias: Float[ArrayLike, " n"] | float = 0.0,
    margin: float = 0.0,
    weight_noise: float = 0.0,
    progress: bool = True,
) -> Storage:
    r"""Weights of the largest margin that hold the patterns, for |J_ij| <= bounds, row by row; or why there are none.

    $$ \max_{J, b} \; \min_k \Big[ (2 s^k_i - 1) \Big( \sum_j J_{ij} s^k_j + b_i \Big)
       - \epsilon \sum_{j: J_{ij} \text{ exists}} s^k_j \Big] \quad > \text{margin} $$

    - `patterns` (P, n) of 0 and 1, of any dtype.
    - `signs`, `mask` and `bounds`, as in `weight_limits`: signs of synapses or, (n,), of senders; existing
      synapses (if None, all but self-couplings); largest |J|. Bounds set the unit of margins. Without a bias and
      `margin` they do not affect which patterns can be stored.
    - `bias`: given, a number or (n,), or NaN (`FREE`) where it is to be found, within the largest bound of the row.
    - `margin`: the least margin of every unit in every pattern. The default 0 asks for any margin above 0.
    - `weight_noise` epsilon: the patterns stay held when every existing weight errs by up to epsilon.

    Each row takes one linear programme; 200 rows of 100 patterns take seconds. The certificate of a row without
    solution names the patterns that conflict, with an exact `limit` of the margin. A row is also given up, with a
    `limit` above `margin`, if its margin cannot be told from rounding. Raises `ValueError` for bad shapes, entries that
    are not 0 or 1, and bounds that are not finite.
    """
    bounds = host_array("bounds", bounds)
    if not np.all(np.isfinite(bounds)):
        raise ValueError(f"`bounds` must be finite to have a largest margin, got {bounds}")
    rows = _rows(patterns, signs, mask, bounds, bias, weight_noise)
    require_nonnegative("margin", margin)
    return _store(rows, bias, margin, math.inf, lambda _, weights: weights, progress)


def store_widest(
    patterns: Int[ArrayLike, "P n"],
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    bounds: Float[ArrayLike, "n n"] | float = math.inf,
    bias: Float[ArrayLike, " n"] | float = 0.0,
    margin: float = 1.0,
    weight_noise: float = 0.0,
    progress: bool = True,
) -> Storage:
    r"""The smallest weights, in the Euclidean norm, with at least the given margin: the widest margin for its norm.

    $$ \min_{w} \sum_j w_{ij}^2 + b_i^2 \; [b_i \text{ free}], \qquad
       (2 s^k_i - 1) \Big( \sum_j J_{ij} s^k_j + b_i \Big) \ge \text{margin} $$

    With kappa = margin / |w|, independent relative errors N(0, sigma^2) of the weights turn a unit in a pattern with
    probability at most Phi(-kappa / sigma). Errors of a row whose norm is below margin / sqrt(n) turn no unit. The
    arguments are as in `store`. The quadratic programme is solved exactly: it is a least distance, whose dual is a
    non-negative least squares problem. Raises `ValueError` for shapes, entries that are not 0 or 1, and a margin that
    is not > 0. Source: Lawson & Hanson 1974, chapter 23.
    """
    rows = _rows(patterns, signs, mask, bounds, bias, weight_noise)
    _require_positive_margin(margin)
    return _store(rows, bias, margin, 2 * margin, lambda row, w: _least_distance(row, w, margin), progress)


def store_sparsest(
    patterns: Int[ArrayLike, "P n"],
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    bounds: Float[ArrayLike, "n n"] | float = math.inf,
    bias: Float[ArrayLike, " n"] | float = 0.0,
    margin: float = 1.0,
    weight_noise: float = 0.0,
    progress: bool = True,
) -> Storage:
    r"""The smallest weights, in the sum of |J|, with at least the given margin: few synapses, at most P a unit.

    $$ \min_{w} \sum_j |J_{ij}| + |b_i| \; [b_i \text{ free}], \qquad
       (2 s^k_i - 1) \Big( \sum_j J_{ij} s^k_j + b_i \Big) \ge \text{margin} $$

    The weights are a vertex: without finite `bounds` a row has at most as many synapses as patterns, though not always
    the fewest, which is a hard problem. Arguments and errors as in `store_widest`.
    """
    rows = _rows(patterns, signs, mask, bounds, bias, weight_noise)
    _require_positive_margin(margin)
    return _store(rows, bias, margin, 2 * margin, lambda row, _: _least_sum(row, margin), progress)


def _require_positive_margin(margin: float) -> None:
    require_nonnegative("margin", margin)
    if margin == 0:
        raise ValueError("`margin` must be > 0, which sets the scale of the weights, got 0")


def _rows(patterns, signs, mask, bounds, bias, weight_noise) -> list[Row]:
    s = as_patterns(patterns)
    n = s.shape[1]
    lower, upper = weight_limits(n, signs=signs, mask=mask, bounds=bounds)
    b = as_bias(bias, n)
    require_nonnegative("weight_noise", weight_noise)
    largest = np.max(as_bounds(bounds, n), axis=1)
    return [row_problem(s, s[:, i], lower[i], upper[i], b[i], largest[i], weight_noise) for i in range(n)]


def _store(
    rows: list[Row],
    bias: Float[ArrayLike, " n"] | float,
    margin: float,
    cap: float,
    choose: Callable[[Row, np.ndarray], np.ndarray],
    progress: bool,
) -> Storage:
    """All rows solved; `choose` maps a row, and its weights of largest margin up to `cap`, to the stored weights."""
    n = len(rows)
    weights, margins, certificates = np.full((n, n + 1), np.nan), np.full(n, np.nan), []
    for i, row in enumerate(tqdm(rows, desc="rows", unit="row", delay=2, leave=False, disable=not progress)):
        w, y = solve_row(row, cap)
        feasible = reaches(row, w, margin)
        certificates.append(None if feasible else certify(row, y))
        if feasible:
            weights[i] = choose(row, w)
            margins[i] = np.min(row.conditions @ weights[i] + row.offset)
    given = as_bias(bias, n)
    found = np.where(np.isnan(given), weights[:, -1], np.where(np.isnan(margins), np.nan, given))
    return Storage(weights[:, :-1], found, margins, tuple(certificates))


def _least_distance(row: Row, known: Float[np.ndarray, " m"], margin: float) -> Float[np.ndarray, " m"]:
    """The least |w| with A w + a >= margin, l <= w <= u, of which one solution is known."""
    A, l, u, a = row
    used = (l < 0) | (u > 0)
    limits = np.eye(len(l))[used][:, used]
    low, high = np.isfinite(l[used]), np.isfinite(u[used])
    G = np.concatenate([A[:, used], limits[low], -limits[high]])
    h = np.concatenate([margin - a, l[used][low], -u[used][high]])
    # In units of a norm that is not below the least one, the last equation is met to between 0 and 1/2.
    unit = np.linalg.norm(known) or 1.0
    dual, _ = nnls(np.vstack([G.T, h[None] / unit]), np.append(np.zeros(G.shape[1]), 1.0), maxiter=30 * len(h))
    # The solution is the least w on the conditions that bind. Solved again from these, it loses no digits.
    bind = dual > 0
    w = np.zeros(len(l))
    w[used] = np.linalg.lstsq(G[bind], h[bind])[0]
    return np.clip(w, l, u)


def _least_sum(row: Row, margin: float) -> Float[np.ndarray, " m"]:
    """The least sum |w| with A w + a >= margin, l <= w <= u, which has a solution: w = p - q with p, q >= 0."""
    A, l, u, a = row
    solution = linprog(
        np.ones(2 * A.shape[1]),
        A_ub=np.column_stack([-A, A]),
        b_ub=a / margin - 1,
        bounds=np.column_stack([np.zeros(2 * A.shape[1]), np.concatenate([u, -l]) / margin]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10},
    )
    if solution.status != 0:
        raise RuntimeError(f"the linear programme failed: {solution.message}")
    p, q = np.split(solution.x, 2)
    return margin * (p - q)


# --- how many


class Storable(Result, axes={"m": "size"}):
    """How many of the patterns, in their order, each unit can hold, and why not one more.

    `counts` (m,) has one number for each of `units`. `certificates` (m,) prove that the next pattern is too many, and
    are None for units that hold all.
    """

    units: tuple[int, ...]
    counts: Int[np.ndarray, " m"]
    certificates: tuple[Certificate | None, ...]

    @property
    def count(self) -> int:
        """The number of patterns that all these units can hold."""
        return int(np.min(self.counts))


def storable(
    patterns: Int[ArrayLike, "P n"],
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    bias: Float[ArrayLike, " n"] | float = 0.0,
    units: Sequence[int] | None = None,
    progress: bool = True,
) -> Storable:
    """How many patterns can be stored when they come one at a time: for each unit, the first that it cannot hold.

    Patterns s^0 .. s^{k-1} can be held for all k up to a unit's count and for no k beyond. `units` (all if None) must
    hold the patterns; other units are inputs, which the patterns set. The other arguments are as in `store`; a given
    bias is compared with weights of at most 1. Each unit takes log2(P) linear programmes. Raises `ValueError` as
    `store`.
    """
    rows = _rows(patterns, signs, mask, 1.0, bias, 0.0)
    chosen = range(len(rows)) if units is None else units
    if not len(chosen) or not all(0 <= i < len(rows) for i in chosen):
        raise ValueError(f"`units` must be indices from 0 to {len(rows) - 1}, got {units}")
    bar = tqdm(chosen, desc="units", unit="unit", delay=2, leave=False, disable=not progress)
    counts, certificates = zip(*(_most(rows[i]) for i in bar), strict=True)
    return Storable(tuple(int(i) for i in chosen), np.array(counts), certificates)


def _most(row: Row) -> tuple[int, Certificate | None]:
    """The number of conditions, from the first on, that can be met together, and why not one more."""

    def first(k: int) -> Row:
        return row._replace(conditions=row.conditions[:k], offset=row.offset[:k])

    held, tried = 0, len(row.conditions)
    why = None  # the least number of conditions known to conflict, and their mixture
    while held < tried:
        w, y = solve_row(first(tried))
        if reaches(first(tried), w, 0.0):
            held = tried
        else:
            why = (tried, y)
        limit = why[0] if why else len(row.conditions) + 1
        if limit - held == 1:
            break
        tried = (held + limit) // 2
    return held, None if why is None else certify(first(why[0]), why[1])


# --- all weights, in closed form


def factorise(
    J: Float[ArrayLike, "n n"], patterns: Int[ArrayLike, "P n"]
) -> tuple[Float[Array, "n P"], Float[Array, "n n"]]:
    r"""J as its drives Y in independent patterns, and the rest Z.

    $$ J = Y X^+ + Z (1 - X X^+), \qquad Y = J X, \qquad Z = J (1 - X X^+), \qquad X = (s^1 \dots s^P) $$

    J holds the patterns (b = 0) if and only if sign Y = 2 X - 1; Z is free. `patterns` (P, n) of 0 and 1 are rows, and
    the columns of X. `compose` is the inverse. Differentiable in J. Raises `ValueError` for shapes, and for patterns
    that are not linearly independent.
    """
    J, X = _square(J, patterns)
    Y = J @ X
    return Y, J - Y @ jnp.linalg.pinv(X)


def compose(
    patterns: Int[ArrayLike, "P n"], Y: Float[ArrayLike, "n P"], Z: Float[ArrayLike, "n n"] | None = None
) -> Float[Array, "n n"]:
    r"""All weights whose drives in the patterns are Y: J = Y X^+ + Z (1 - X X^+), the smallest for Z = 0 (None).

    Y (n, P) has the signs of 2 X - 1; its sizes and Z are free. ``compose(s, kappa * (2 * s.T - 1))`` holds all
    `patterns` s (P, n) with margin kappa, by the weights of least Euclidean norm with these drives. Z changes the
    network outside the patterns alone. In general there are self-couplings. Differentiable in Y and Z. Raises
    `ValueError` as `factorise`.
    """
    X = _independent(patterns)
    Y = real_array("Y", Y).astype(X.dtype)
    if Y.shape != X.shape:
        raise ValueError(f"`Y` must have the shape of the patterns as columns, {X.shape}, got {Y.shape}")
    require("Y", Y, np.isfinite, "finite")
    inverse = jnp.linalg.pinv(X)
    if Z is None:
        return Y @ inverse
    Z = _square(Z, patterns, "Z")[0].astype(X.dtype)
    return Y @ inverse + Z - (Z @ X) @ inverse


def _square(J: ArrayLike, patterns: ArrayLike, name: str = "J") -> tuple[Float[Array, "n n"], Float[Array, "n P"]]:
    X, J = _independent(patterns), real_array(name, J)
    if J.shape != (X.shape[0], X.shape[0]):
        raise ValueError(f"`{name}` must have shape ({X.shape[0]}, {X.shape[0]}), got {J.shape}")
    require(name, J, np.isfinite, "finite")
    return J, X.astype(J.dtype)


def _independent(patterns: ArrayLike) -> Float[Array, "n P"]:
    """The patterns as columns."""
    X = as_patterns(patterns).T.astype(float)
    rank = np.linalg.matrix_rank(X)
    if rank < X.shape[1]:
        raise ValueError(f"`patterns` must be linearly independent, got {X.shape[1]} of rank {rank}")
    return real_array("patterns", X)
