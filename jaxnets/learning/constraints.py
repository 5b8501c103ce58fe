r"""The weights of one unit that hold given patterns: a linear programme, and a certificate where there is no solution.

In a network x' = -x + J H(x) + b, unit i holds the patterns s^k (P, n) of 0 and 1 if and only if all its drives have
the right sign:

$$ d_k \Big( \sum_j w_j s^k_j + b \Big) > 0, \qquad d_k = 2 s^k_i - 1, \qquad l_j \le w_j \le u_j $$

Signs, missing synapses and largest weights are all intervals [l_j, u_j] around 0, so that one theory serves for all.
The largest margin kappa, and the proof that no margin is larger, are a pair of linear programmes:

$$ \max_w \min_k (A w + a)_k = \min_{y \ge 0, \sum_k y_k = 1} \Big[ \sum_j \max(l_j c_j, u_j c_j) + a \cdot y \Big],
   \qquad A = \mathrm{diag}(d) S, \qquad c = A^T y, \qquad a = d\, b $$

Take a = 0. The right hand side is 0 if and only if c_j = 0 where the sign of w_j is free, c_j <= 0 where w_j >= 0, and
c_j >= 0 where w_j <= 0: the alternative of Gordan and Motzkin. The solution y is a mixture of patterns that no weights
can satisfy. Its entries are rational numbers, and are found exactly.

Everything here runs on the host, in NumPy, in double precision whatever the precision of JAX. The entries of `signs`
are +1 (excitatory), -1 (inhibitory), 0 (no synapse) or NaN (`FREE`, either sign).

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) for the conditions; Motzkin 1936 for the alternative.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int
from scipy.optimize import linprog

from .._arguments import host_array, nonnegative
from .._results import Result

FREE = math.nan
"""A sign, or a bias, that is to be found."""

# HiGHS meets constraints to 1e-7 unless told otherwise; 1e-10 is the least it accepts.
_TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
# Weights of a mixture, and sums c_j over the largest |A|, below this count as 0. In 400 rows of 5 to 30 units and up to
# 60 random patterns, HiGHS left exact zeros among the weights and 2e-15 among the sums; the others began at 1e-4.
_MIXTURE_ZERO = 1e-8
# Free weights of a mixture are rounded to fractions with a denominator of at most this.
_LARGEST_DENOMINATOR = 10**6
# A margin counts as reached up to this part of it: HiGHS stops within 1e-10 of a bound.
_MARGIN_SHORT = 1e-9


class Certificate(Result):
    """Proof that some patterns conflict: mixed with these weights, they leave no margin above `limit`.

    `patterns` are indices in rising order, and `weights` positive whole numbers without a common divisor. `limit` is
    the largest weighted average of the patterns' drives under all allowed weights, in exact arithmetic
    (`margin_limit`). In any network, one of these patterns has a drive that is not above it.
    """

    patterns: tuple[int, ...]
    weights: tuple[int, ...]
    limit: Fraction | float


class Margin(Result, axes={"m": "weight"}):
    """The `weights` (m,) of largest `margin`, that margin, and the `certificate` that no margin exceeds its `limit`."""

    weights: Float[np.ndarray, " m"]
    margin: float
    certificate: Certificate


def largest_margin(
    conditions: Float[ArrayLike, "K m"],
    lower: Float[ArrayLike, " m"],
    upper: Float[ArrayLike, " m"],
    *,
    offset: Float[ArrayLike, " K"] | None = None,
    cap: float = math.inf,
) -> Margin:
    r"""The largest kappa <= cap with A w + a >= kappa and l <= w <= u, and the mixture of rows that proves it largest.

    $$ \max_{l \le w \le u} \; \min_k \; (A w + a)_k $$

    `conditions` are A, and `offset` is a (0 if None). `lower` l <= 0 and `upper` u >= 0 may be infinite if `cap` is
    finite. The limits set the unit of margin and weights. The mixture is rational: if a = 0 and A w > 0 has no
    solution, its `limit` is exactly 0. Otherwise `margin` and `limit` differ by rounding. If the cap is reached, the
    mixture proves nothing. Raises `ValueError` for shapes that do not match, NaN, limits that do not enclose 0 and a
    problem without bound. Source: HiGHS through `scipy.optimize.linprog`.
    """
    row = _as_row(conditions, lower, upper, offset)
    A, l, u, a = row
    if math.isnan(cap) or cap == -math.inf or (math.isinf(cap) and np.isinf([l, u]).any()):
        raise ValueError(f"`cap` must be a number, finite where `lower` or `upper` are not, got {cap}")
    w, y = solve_row(row, cap)
    return Margin(w, float(np.min(A @ w + a)), certify(row, y))


class Row(NamedTuple):
    """The problem of one unit: A w + a, with w its weights and, last, its bias."""

    conditions: Float[np.ndarray, "K m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]
    offset: Float[np.ndarray, " K"]


def _as_row(conditions: ArrayLike, lower: ArrayLike, upper: ArrayLike, offset: ArrayLike | None) -> Row:
    A, l, u = host_array("conditions", conditions), host_array("lower", lower), host_array("upper", upper)
    if A.ndim != 2 or 0 in A.shape:
        raise ValueError(f"`conditions` must have shape (K, m) with K, m >= 1, got {A.shape}")
    if not np.all(np.isfinite(A)):
        raise ValueError("`conditions` must be finite")
    a = np.zeros(len(A)) if offset is None else host_array("offset", offset)
    if a.shape != A.shape[:1] or not np.all(np.isfinite(a)):
        raise ValueError(f"`offset` must be {len(A)} finite numbers, got {a}")
    for name, limit, inside in (("lower", l, l <= 0), ("upper", u, u >= 0)):
        if limit.shape != A.shape[1:] or not np.all(inside):
            side = "<= 0" if name == "lower" else ">= 0"
            raise ValueError(f"`{name}` must be {A.shape[1]} numbers {side}, got {limit}")
    return Row(A, l, u, a)


def solve_row(row: Row, cap: float = math.inf) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " K"]]:
    """The weights of largest margin, and the mixture of conditions that limits it, in floating point."""
    A, l, u, a = row
    # HiGHS has absolute tolerances, so the problem is put in units: the largest condition for conditions, the cap or
    # else the largest limit for weights, and the product of both for margins.
    size = np.max(np.abs(A)) or 1.0
    finite = np.abs(np.concatenate([l, u]))
    unit = cap / size if 0 < cap < math.inf else np.max(finite[np.isfinite(finite)], initial=0) or 1.0
    # Unknowns: w and kappa.
    solution = linprog(
        np.append(np.zeros(A.shape[1]), -1.0),
        A_ub=np.column_stack([-A / size, np.ones(len(A))]),
        b_ub=a / size / unit,
        bounds=np.column_stack([np.append(l, -np.inf), np.append(u, cap / size)]) / unit,
        method="highs-ds",  # ends at a vertex, which has few patterns and rational weights
        options=_TOLERANCES,
    )
    if solution.status != 0:  # there is always a solution, and a bound
        raise RuntimeError(f"the linear programme failed: {solution.message}")
    y = np.maximum(-solution.ineqlin.marginals, 0)
    # If the cap is reached, no condition binds, and any mixture will do.
    y = y / np.sum(y) if np.sum(y) > 0.5 else np.full(len(A), 1 / len(A))
    return np.clip(unit * solution.x[:-1], l, u), y


def certify(row: Row, y: Float[np.ndarray, " K"]) -> Certificate:
    """The exact mixture near y, and what it proves."""
    patterns, weights = _exact_mixture(row, y)
    return Certificate(patterns, weights, _limit(row, patterns, weights))


def margin_limit(
    certificate: Certificate,
    conditions: Float[ArrayLike, "K m"],
    lower: Float[ArrayLike, " m"],
    upper: Float[ArrayLike, " m"],
    *,
    offset: Float[ArrayLike, " K"] | None = None,
) -> Fraction | float:
    r"""The bound on the margin that a certificate proves, in rational arithmetic from its patterns and weights alone.

    $$ \Big[ \sum_j \max(l_j c_j, u_j c_j) + \sum_k y_k a_k \Big] \Big/ \sum_k y_k, \qquad c = A^T y $$

    y are the weights of the `certificate`, whose own `limit` is not read. `largest_margin`
    documents the other arguments. The bound is infinite if a weight without limit could raise the drives. Raises
    `ValueError` as `largest_margin`, and for fewer conditions than the certificate names.
    """
    row = _as_row(conditions, lower, upper, offset)
    needed = 1 + max(certificate.patterns)
    if len(row.offset) < needed:
        raise ValueError(f"`conditions` must have {needed} rows, which `certificate` names, got {len(row.offset)}")
    return _limit(row, certificate.patterns, certificate.weights)


def _limit(row: Row, patterns: tuple[int, ...], y: tuple[int, ...]) -> Fraction | float:
    A, offset = row.conditions[list(patterns)], row.offset[list(patterns)]
    total = _dot(y, offset)
    for column, low, high in zip(A.T, row.lower, row.upper, strict=True):
        c = _dot(y, column)
        edge = high if c > 0 else low
        if c == 0 or edge == 0:
            continue
        if math.isinf(edge):
            return math.inf
        total += Fraction(edge) * c
    return total / sum(y)


def _dot(y: tuple[int, ...], x: np.ndarray) -> Fraction:
    """The sum of y_k x_k, exactly."""
    return sum((w * Fraction(v) for w, v in zip(y, x.tolist(), strict=True) if v), Fraction(0))


# --- exact mixtures


def _exact_mixture(row: Row, y: Float[np.ndarray, " K"]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rational solution, near y (K,), of the equations c_j = 0 that y solves within rounding."""
    A, l, u, _ = row
    support = np.flatnonzero(y > _MIXTURE_ZERO)
    y = y[support]
    columns = (l < 0) | (u > 0)
    columns[columns] = np.abs(A[np.ix_(support, columns)].T @ y) < _MIXTURE_ZERO * np.max(np.abs(A))
    equations = [_whole_numbers([Fraction(x) for x in column]) for column in A[np.ix_(support, columns)].T]
    rough = [Fraction(x).limit_denominator(_LARGEST_DENOMINATOR) for x in y]
    exact = _kernel_vector(np.array(equations, dtype=object).reshape(-1, len(support)), rough)
    # A weight is not positive only if some c_j was near 0 by chance. Then y serves as it is: its limit is as true.
    if min(exact) <= 0:
        exact = [Fraction(x) for x in y]
    return tuple(int(k) for k in support), tuple(_whole_numbers(exact))


def _whole_numbers(numbers: list[Fraction]) -> list[int]:
    """The multiple of some rational numbers that is whole and without a common divisor."""
    denominator = math.lcm(*(x.denominator for x in numbers))
    whole = [int(x * denominator) for x in numbers]
    divisor = math.gcd(*whole) or 1
    return [x // divisor for x in whole]


def _kernel_vector(M: np.ndarray, rough: list[Fraction]) -> list[Fraction]:
    """The solution of M y = 0 (whole numbers, as objects) whose undetermined entries are as in `rough`.

    Fraction-free elimination (Bareiss 1968): the entries are minors of M, and every division is exact.
    """
    M, pivots, last = M.copy(), [], 1
    for column in range(M.shape[1]):
        row = len(pivots)
        nonzero = np.flatnonzero(M[row:, column])
        if not len(nonzero):
            continue
        M[[row, row + nonzero[0]]] = M[[row + nonzero[0], row]]
        pivot, factors = M[row, column], M[:, column].copy()
        factors[row] = 0
        kept = M[row].copy()
        M = (pivot * M - factors[:, None] * kept[None]) // last
        M[row] = kept
        pivots.append(column)
        last = pivot
    y = list(rough)
    free = [column for column in range(M.shape[1]) if column not in pivots]
    for row, column in enumerate(pivots):
        y[column] = -sum((int(M[row, j]) * y[j] for j in free), Fraction(0)) / int(M[row, column])
    return y


# --- the problem of one unit


def row_problem(
    patterns: Int[np.ndarray, "P n"],
    on: Int[np.ndarray, " K"],
    lower: Float[np.ndarray, " n"],
    upper: Float[np.ndarray, " n"],
    bias: float = 0.0,
    bias_bound: float = 0.0,
    weight_noise: float = 0.0,
) -> Row:
    """The conditions of a unit that shall be on where `on`, from checked arguments; `store` documents them."""
    d = 2.0 * on - 1
    free = math.isnan(bias)
    bias_limit = bias_bound if free else 0.0
    synapses = patterns @ ((lower < 0) | (upper > 0))
    return Row(
        np.column_stack([d[:, None] * patterns, d]),
        np.append(lower, -bias_limit),
        np.append(upper, bias_limit),
        (0.0 if free else bias) * d - weight_noise * synapses,
    )


def reaches(row: Row, weights: Float[np.ndarray, " m"], margin: float) -> bool:
    """Whether all drives are positive beyond rounding, and reach the margin up to `_MARGIN_SHORT` of it."""
    drives = row.conditions @ weights + row.offset
    size = np.max(np.abs(row.conditions) @ np.abs(weights) + np.abs(row.offset))
    rounding = 4 * len(weights) * np.finfo(float).eps * size
    return bool(np.min(drives) > rounding and np.min(drives) >= (1 - _MARGIN_SHORT) * margin)


def weight_limits(
    n: int,
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    bounds: Float[ArrayLike, "n n"] | float = 1.0,
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """The intervals l <= J <= u that signs, existing synapses and largest |J| leave, each (n, n), J[i, j] from j to i.

    `signs` (n, n), or (n,) for the signs of the senders (Dale's law), are +1, -1, 0 (no synapse) or NaN (`FREE`); all
    are free if None. `mask` is False where there is no synapse. If it is None, units do not couple to themselves,
    unless `signs` (n, n) say so: a unit that may excite itself can hold any patterns (J_ii large, the others negative),
    and nothing is learned. `bounds`, a number or (n, n), are the largest |J|. Raises `ValueError` for shapes, for other
    signs, and for bounds that are negative or NaN.
    """
    bound = as_bounds(bounds, n)
    s = np.full((n, n), FREE) if signs is None else as_signs(signs, n)
    everywhere = mask is None and signs is not None and np.ndim(signs) == 2
    exists = np.ones((n, n), bool) if everywhere else as_mask(mask, n)
    return (
        np.where(exists & ((s < 0) | np.isnan(s)), -bound, 0.0),
        np.where(exists & ((s > 0) | np.isnan(s)), bound, 0.0),
    )


def as_patterns(patterns: ArrayLike, n: int | None = None, name: str = "patterns") -> Int[np.ndarray, "P n"]:
    """(P, n) whole numbers 0 and 1, or `ValueError`."""
    s = host_array(name, patterns)
    if s.ndim != 2 or 0 in s.shape or (n is not None and s.shape[1] != n):
        raise ValueError(f"`{name}` must have shape (P, {'n' if n is None else n}) with P >= 1, got {s.shape}")
    if not np.all((s == 0) | (s == 1)):
        raise ValueError(f"`{name}` must consist of 0 and 1, got {np.array2string(s, threshold=8)}")
    return s.astype(int)


def as_signs(signs: ArrayLike, n: int) -> Float[np.ndarray, "n n"]:
    """(n, n) of +1, -1, 0 and NaN, from a matrix or from the signs of the columns, or `ValueError`."""
    s = host_array("signs", signs)
    if s.shape not in ((n,), (n, n)):
        raise ValueError(f"`signs` must have shape ({n}, {n}) or ({n},), got {s.shape}")
    if not np.all(np.isin(s, (-1, 0, 1)) | np.isnan(s)):
        raise ValueError(f"`signs` must be +1, -1, 0 or NaN (free), got {np.array2string(s, threshold=8)}")
    return np.broadcast_to(s, (n, n))


def as_mask(mask: ArrayLike | None, n: int) -> Bool[np.ndarray, "n n"]:
    """(n, n) of truth values, all but the diagonal if None, or `ValueError`."""
    if mask is None:
        return ~np.eye(n, dtype=bool)
    m = host_array("mask", mask)
    if m.shape != (n, n) or not np.all((m == 0) | (m == 1)):
        raise ValueError(f"`mask` must have shape ({n}, {n}) and consist of truth values, got shape {m.shape}")
    return m.astype(bool)


def as_bias(bias: ArrayLike, n: int) -> Float[np.ndarray, " n"]:
    """(n,) of finite numbers and NaN, from as many or from one, or `ValueError`."""
    b = host_array("bias", bias)
    if b.shape not in ((), (n,)) or np.any(np.isinf(b)):
        raise ValueError(f"`bias` must be a number or ({n},) of them, NaN (free) or finite, got {bias}")
    return np.broadcast_to(b, (n,))


def as_bounds(bounds: ArrayLike, n: int) -> Float[np.ndarray, "n n"]:
    """(n, n) of numbers >= 0, infinite ones too, from a matrix or from one number, or `ValueError`."""
    b = host_array("bounds", bounds)
    if b.shape not in ((), (n, n)) or not np.all(b >= 0):
        raise ValueError(f"`bounds` must be a number >= 0, or ({n}, {n}) of them, got {bounds}")
    return np.broadcast_to(b, (n, n))


def require_nonnegative(name: str, value: float) -> None:
    if np.ndim(value) != 0 or not nonnegative(value):
        raise ValueError(f"`{name}` must be a finite number >= 0, got {value}")


def explain(certificate: Certificate, patterns: Int[ArrayLike, "P n"], unit: int) -> str:
    """One sentence that says which patterns conflict in the row of `unit`, and how, by its `certificate`.

    Raises `ValueError` for fewer `patterns` than the certificate names, and a `unit` that they do not have.
    """
    s = as_patterns(patterns)
    if len(s) <= max(certificate.patterns):
        raise ValueError(
            f"`patterns` must be those of the certificate, which names pattern {max(certificate.patterns)}, "
            f"got {len(s)} patterns"
        )
    if not 0 <= unit < s.shape[1]:
        raise ValueError(f"`unit` must be one of the {s.shape[1]} units of `patterns`, got {unit}")
    s = s[:, unit]
    if len(certificate.patterns) == 1:
        (k,) = certificate.patterns
        state, verb = ("on", "excite") if s[k] else ("off", "inhibit")
        return f"unit {unit} cannot be {state} in pattern {k}: the units active in it cannot {verb} it enough"

    def mixture(state: int) -> str:
        terms = zip(certificate.patterns, certificate.weights, strict=True)
        return " + ".join(f"{w} s^{k}" if w > 1 else f"s^{k}" for k, w in terms if s[k] == state) or "nothing"

    return (
        f"unit {unit} cannot be on in all of {mixture(1)} and off in all of {mixture(0)}: "
        f"no allowed weights give this mixture a margin above {float(certificate.limit):.3g}"
    )
