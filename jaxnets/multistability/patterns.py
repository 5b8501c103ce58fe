r"""Stable patterns of threshold networks: which s in {0, 1}^n hold themselves, and by how much.

$$ \dot x = -x + J H(x) + b, \qquad s \text{ stable} \iff (2 s_i - 1)\, f_i > 0 \ \forall i, \quad f = J s + b $$

H(x) = 1 for x > 0, and J_ij is the weight from j to i. In the orthant of s the flow is linear towards f, so that s is
stable exactly when f lies in that orthant. A field f_i = 0 is marginal: such a pattern is not stable.

Up to `EXHAUSTIVE` units, every pattern is tested, 32 of them in one machine word. For more units a mixed-integer
programme finds the patterns. Both prove that no pattern is missed. Descent from random starts is quick and proves
nothing.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) for stability; the searches are written here.
"""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, UInt64
from scipy.optimize import milp

from .._arguments import host_array, positive, real_array, require, require_key, require_square, require_whole
from .._numerics import as_program, is_concrete
from .._results import Result
from ..couplings.operators import Dense, Operator

# Networks of at most this many units have all their 2^n patterns tested: 2^28 take seconds, and 32 MB.
EXHAUSTIVE = 28
# Least and most units of the first half, which has half of all units but one. Larger sets take more work to make and
# leave the caches, smaller sets are looked up more often: tuned on n = 16, 20, 24 and 26.
_FIRST_HALF = 5, 10
# Second halves in one batch: their words fill some MB.
_SECONDS_TOGETHER = 2**13
# Candidates that are judged in one batch.
_JUDGED_TOGETHER = 2**16
# A margin that is asked of the integer programme is left out below this, because HiGHS meets constraints to 1e-6.
_SOLVER_MARGIN = 1e-5
# Roundings for each term of a field, up to which a candidate passes. A sum of k terms errs by at most k roundings; the
# field that the search compares is made of several sums.
_ROUNDINGS = 4


# --- arguments of this room


def as_couplings(J: Operator | Float[ArrayLike, "n n"]) -> Operator:
    """One finite, square J as an operator."""
    J = J if isinstance(J, Operator) else real_array("J", J)
    require_square("J", J.shape)
    J = J if isinstance(J, Operator) else Dense(J)
    if len(J.shape) != 2 or J.shape[-1] == 0:
        raise ValueError(f"`J` must be one n x n matrix, got shape {J.shape}: map over more with `jax.vmap`")
    for leaf in jax.tree.leaves(eqx.filter(J, eqx.is_inexact_array)):
        require("J", leaf, np.isfinite, "made of finite numbers")
    return J


def cast_bias(bias: Float[ArrayLike, "*n"] | None, J: Operator) -> Float[Array, " n"]:
    """b as an array (n,) in the precision of J; zeros if None."""
    n = J.shape[-1]
    array = real_array("bias", 0.0 if bias is None else bias)
    if array.shape not in ((), (n,)):
        raise ValueError(f"`bias` must be a number or have shape ({n},), got shape {array.shape}")
    require("bias", array, np.isfinite, "finite numbers")
    if is_concrete(array):  # in NumPy, where nothing small is compiled
        return jax.device_put(np.full(n, array, J.dtype))
    return jnp.broadcast_to(array.astype(J.dtype), (n,))


def cast_patterns(patterns: ArrayLike, J: Operator, name: str = "patterns") -> Float[Array, "*batch n"]:
    """Patterns of 0 and 1, of any dtype, in the precision of J."""
    array: Any = host_array(name, patterns) if is_concrete(patterns) else jnp.asarray(patterns)
    if array.shape[-1:] != J.shape[-1:]:
        raise ValueError(f"`{name}` must have shape (..., {J.shape[-1]}), got {array.shape}")
    require(name, array, lambda s: (s == 0) | (s == 1), "made of 0 and 1")
    # A copy, whose memory nobody else has.
    return jax.device_put(array.astype(J.dtype)) if is_concrete(array) else array.astype(J.dtype)


def require_concrete(J: Operator | ArrayLike, bias: ArrayLike | None, instead: str) -> None:
    if not is_concrete(J, bias):
        raise ValueError(f"`J` and `bias` must be concrete, got traced values: {instead}")


# --- given patterns


def margins(
    J: Operator | Float[ArrayLike, "n n"],
    patterns: Float[ArrayLike, "*batch n"] | Bool[ArrayLike, "*batch n"],
    bias: Float[ArrayLike, "*n"] | None = None,
) -> Float[Array, "*batch"]:
    r"""How far the field of each pattern is from the nearest wall of its orthant; positive when the pattern is stable.

    $$ \mu(s) = \min_i\, (2 s_i - 1) \big( \textstyle\sum_j J_{ij} s_j + b_i \big) $$

    `patterns` of 0 and 1 have any leading axes, `bias` is a number or (n,). The margin has the unit of J. Works under
    `jit`, `vmap` and `grad` (with respect to J and b).

    Raises:
        ValueError: if ``J`` is not one finite square matrix, or ``patterns`` or ``bias`` do not fit it.

    Source: Tournoy & Doiron 2022 (arXiv 2210.03241).
    """
    J = as_couplings(J)
    s, b = cast_patterns(patterns, J), cast_bias(bias, J)
    # A matrix on a CPU is multiplied by NumPy, where no new shape compiles.
    if isinstance(J, Dense) and is_concrete(J, s, b) and jax.default_backend() == "cpu":
        matrix, s, b = (np.asarray(x) for x in (J.matrix, s, b))
        return jax.device_put(_least(s, (matrix @ s.reshape(-1, len(b)).T).T.reshape(s.shape) + b))
    return _margins(J, s, b)


def _least(s: Float[Array, "*batch n"], fields: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return ((2 * s - 1) * fields).min(-1)


@as_program
def _margins(J: Operator, s: Float[Array, "*batch n"], b: Float[Array, " n"]) -> Float[Array, "*batch"]:
    with jax.default_matmul_precision("highest"):
        fields = (J @ s.reshape(-1, len(b)).T).T
    return _least(s, (fields + b[None]).reshape(s.shape))


def is_stable(
    J: Operator | Float[ArrayLike, "n n"],
    patterns: Float[ArrayLike, "*batch n"] | Bool[ArrayLike, "*batch n"],
    bias: Float[ArrayLike, "*n"] | None = None,
) -> Bool[Array, "*batch"]:
    """Whether each pattern is stable, (2 s - 1) o (J s + b) > 0 in every unit: `margins` above 0.

    A marginal unit, J s + b = 0, makes a pattern unstable; so does NaN under `jit`. Fields are sums rounded in the
    precision of J, and their signs are exact where no rounding occurs, as with small whole numbers.

    Raises:
        ValueError: where `margins` does.
    """
    found = margins(J, patterns, bias)
    return jax.device_put(np.asarray(found) > 0) if is_concrete(found) else found > 0


# --- all patterns


class StablePatterns(Result, axes={"P": "pattern", "n": "unit"}):
    """Stable patterns, each once, and whether the list is complete.

    `patterns` (P, n) of 0 and 1 are in the order of binary numbers with unit 0 as the last digit. `complete` says that
    there is proof that no other pattern is stable; otherwise their number is a lower bound. `reason` says in words why.
    """

    patterns: Bool[np.ndarray, "P n"]
    complete: bool
    reason: str


def stable_patterns(
    J: Operator | Float[ArrayLike, "n n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    time_limit: float = 60.0,
    max_patterns: int = 1000,
) -> StablePatterns:
    r"""All stable patterns: those s in {0, 1}^n with (2 s - 1) o (J s + b) > 0.

    Up to n = 28 every pattern is tested. The units are split in two halves, so that the field of a pattern is the sum
    of one of 2^h fields from the first h units and one of 2^(n-h) fields from the others. For a fixed second half,
    unit i asks of the first half that its field lies above a threshold, or below. The sets of first halves that satisfy
    this are nested. They are made once, as rows of bits, one row for each rank of the threshold. A search then only
    looks up n rows and intersects them: n / 32 words for one pattern. Patterns that pass within the rounding errors are
    judged by `is_stable`. `time_limit` and `max_patterns` do not matter.

    For larger n a mixed-integer programme finds one pattern after the other, and excludes each,

        s_i = 1 => f_i >= 0,   s_i = 0 => f_i <= 0,   sum_i |s_i - s_i^k| >= 1 for all k found,

    until no pattern is left, or until `time_limit` (seconds) or `max_patterns`. The first of these ends proves that the
    list is complete, within the tolerance 1e-6 of the solver, HiGHS.

    Raises:
        ValueError: if ``J`` is not one finite square matrix, ``bias`` does not fit, one of them is traced,
            ``time_limit`` is not positive or ``max_patterns`` not a whole number >= 1.
    """
    require_concrete(J, bias, "transform `is_stable` instead")
    J = as_couplings(J)
    b = cast_bias(bias, J)
    require("time_limit", time_limit, positive, "a finite number > 0")
    require_whole("max_patterns", max_patterns)
    if J.shape[-1] <= EXHAUSTIVE:
        return exhaustive(J, b)
    return by_programme(J, b, time_limit, max_patterns)


def required_margins(J: Float[np.ndarray, "n n"], b: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Thresholds that (2 s_i - 1) f_i, summed in any order, exceeds in every stable pattern.

    If the fields are whole multiples of some power of two, sums are not rounded. The threshold is then half of that
    power, and no marginal pattern passes. Otherwise it is minus a bound on the rounding errors, and candidates that
    pass must be judged again.
    """
    terms = np.concatenate([J, b[:, None]], 1)
    largest, eps = np.sum(np.abs(terms), 1), np.finfo(J.dtype).eps
    mantissa, exponent = np.frexp(terms.astype(np.float64))
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest_bit = (whole & -whole).astype(np.float64)
    unit = np.min(np.where(terms == 0, np.inf, np.ldexp(lowest_bit, exponent - 53)), 1)
    exact = largest < unit / eps
    return np.where(exact, np.where(largest > 0, unit, 1) / 2, -_ROUNDINGS * terms.shape[1] * eps * largest)


# --- every pattern, one bit each


class Halves(NamedTuple):
    """The patterns of n units by their first h units and their other n - h; a set of first halves is a row of 2^h bits.

    `keys[i]`, sorted, are the fields that first halves give to unit i, less the margin that it needs. `sets[i, r]`
    holds for a threshold of rank r among these keys. It contains the first halves that agree with unit i: the unit is
    on and its field above the threshold, or it is off and its field below. The complements come after all these rows.
    """

    keys: Float[np.ndarray, "n 2**h"]
    sets: UInt64[np.ndarray, "n 2*(2**h+1) words"]
    columns: Float[np.ndarray, "n n-h"]
    bias: Float[np.ndarray, " n"]
    margin: Float[np.ndarray, " n"]


def exhaustive(J: Operator, b: Float[Array, " n"]) -> StablePatterns:
    """The stable patterns among all 2^n."""
    n = J.shape[-1]
    h = min(max(_FIRST_HALF[0], n // 2 - 1), _FIRST_HALF[1])
    # Small networks are filled up to h units that are always off, by a field of -1. With a field of 0 they would be
    # marginal, and no pattern stable.
    padded = max(n, h)
    matrix = np.zeros((padded, padded), J.dtype)
    matrix[:n, :n] = J.dense()
    bias = np.full(padded, -1, J.dtype)
    bias[:n] = b
    halves = _halves(matrix, bias, h)

    batch = min(2 ** (padded - h), _SECONDS_TOGETHER)
    found = []
    for first in range(0, 2 ** (padded - h), batch):
        second, words = _survivors(halves, np.arange(first, first + batch))
        bits = np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), axis=1, bitorder="little")
        which, bit = np.nonzero(bits)
        found.append(((first + second[which]) << h) + bit)
    codes = np.concatenate(found)
    candidates = _bits(codes, n).astype(bool)
    return StablePatterns(_judged(J, b, candidates), True, f"all 2^{n} patterns were looked at")


def _judged(J: Operator, b: Float[Array, " n"], candidates: Bool[np.ndarray, "P n"]) -> Bool[np.ndarray, "P n"]:
    """The candidates that `is_stable` accepts."""
    if len(candidates) == 0:
        return candidates
    # Operators that are no matrix have programs of their own: in powers of two, so that few are compiled.
    room = 2 ** int(np.ceil(np.log2(len(candidates)))) - len(candidates)
    padded = np.concatenate([candidates, np.zeros((room, candidates.shape[1]), bool)])
    parts = np.split(padded, max(1, len(padded) // _JUDGED_TOGETHER))
    stable = np.concatenate([np.asarray(is_stable(J, part, b)) for part in parts])
    return candidates[stable[: len(candidates)]]


def _bits(codes: Int[np.ndarray, " m"], num: int) -> Int[np.ndarray, "m num"]:
    """Binary digits, the lowest first."""
    return (codes[:, None] >> np.arange(num)) & 1


def _halves(J: Float[np.ndarray, "n n"], b: Float[np.ndarray, " n"], h: int) -> Halves:
    firsts, n, margin = np.arange(2**h), len(J), required_margins(J, b).astype(J.dtype)
    s = _bits(firsts, h).T.astype(J.dtype)
    fields = J[:, :h] @ s
    # A unit must exceed its margin where it is on, and stay below minus its margin where it is off. For units of the
    # first half this is part of their fields, for units of the second half part of their threshold.
    fields[:h] -= (2 * s - 1) * margin[:h, None]
    order = np.argsort(fields, axis=1)

    # The next row of a unit differs by one first half, the next one that its threshold passes.
    sets = np.zeros((n, 2 ** (h + 1) + 2, max(1, 2**h // 64)), np.uint64)
    unit, rank = np.ogrid[:n, 1 : 2**h + 1]
    sets[unit, rank, order // 64] = np.uint64(1) << (order % 64).astype(np.uint64)
    on = np.packbits(s == 1, axis=1, bitorder="little")
    on = np.ascontiguousarray(np.pad(on, ((0, 0), (0, -on.shape[1] % 8))))
    sets[:h, 0] = on.view("<u8")
    half = sets[:, : 2**h + 1]
    np.bitwise_xor.accumulate(half, axis=1, out=half)
    sets[:, 2**h + 1 :] = ~half
    return Halves(np.take_along_axis(fields, order, 1), sets, J[:, h:], b, margin)


def _survivors(halves: Halves, seconds: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Which second halves make a stable pattern, up to rounding, and the sets of first halves to do so with each."""
    n, num = halves.columns.shape
    rows = halves.sets.shape[1] // 2
    s = _bits(seconds, num).T
    on = np.concatenate([np.zeros((n - num, len(seconds)), int), s])
    thresholds = -(halves.columns @ s.astype(halves.bias.dtype) + halves.bias[:, None])
    thresholds[n - num :] += (2 * s - 1) * halves.margin[n - num :, None]

    left, passed = np.arange(len(seconds)), np.full((len(seconds), halves.sets.shape[2]), ~np.uint64(0))
    for keys, sets, threshold, state in zip(halves.keys, halves.sets, thresholds, on, strict=True):
        # The rows are made for units that are off: first halves with a field at most the threshold. For a unit of the
        # second half that is on, the complement counts. Ties need no care: the margin keeps fields off the threshold
        # where sums are exact, and candidates are judged again where they are not.
        passed &= sets.take(np.searchsorted(keys, threshold[left]) + rows * state[left], axis=0)
        # A second half whose set is empty stays without a pattern, whatever the other units ask.
        alive = np.flatnonzero(np.any(passed, axis=1))
        if len(alive) < len(left):
            left, passed = left[alive], passed[alive]
    return left, passed


# --- by mixed-integer programming


def by_programme(J: Operator, b: Float[Array, " n"], time_limit: float, max_patterns: int) -> StablePatterns:
    """One feasible pattern after the other, each excluded by a cut, until no pattern is left."""
    matrix, bias = (np.asarray(a, np.float64) for a in (J.dense(), b))
    n = len(bias)
    # The tolerance of the solver is absolute, for numbers of order one: rows are scaled to a largest field of 1.
    scale = np.maximum(np.sum(np.abs(matrix), 1) + np.abs(bias), np.finfo(float).tiny)
    matrix, bias = matrix / scale[:, None], bias / scale
    asked = required_margins(np.asarray(J.dense()), np.asarray(b)) / scale
    asked = np.where(asked > _SOLVER_MARGIN, asked, 0)
    most = bias + np.sum(np.maximum(matrix, 0), 1)
    least = bias + np.sum(np.minimum(matrix, 0), 1)
    constraints = [
        # f >= asked - (asked - least)(1 - s)  and  f <= -asked + (asked + most) s
        (matrix - np.diag(np.maximum(asked - least, 0)), np.minimum(least, asked) - bias, np.inf),
        (matrix - np.diag(np.maximum(asked + most, 0)), -np.inf, -asked - bias),
    ]
    # A unit that cannot be on with its most field, or off with its least, is fixed.
    low, high = np.where(least > -asked, 1.0, 0.0), np.where(most < asked, 0.0, 1.0)
    end, cuts, limits, found = time.monotonic() + time_limit, [], [], []

    def answer(complete, reason):
        candidates = np.array(found, bool).reshape(-1, n)
        candidates = candidates[np.lexsort(candidates.T)]
        return StablePatterns(_judged(J, b, candidates), complete, reason)

    if np.any(low > high):
        return answer(True, "a unit can be neither on nor off")
    while (left := end - time.monotonic()) > 0:
        cut = [(np.array(cuts), np.array(limits), np.inf)] if cuts else []
        result = milp(
            np.zeros(n),
            integrality=np.ones(n),
            bounds=(low, high),
            constraints=constraints + cut,
            options={"time_limit": left},
        )
        if result.status == 2:
            return answer(True, "the programme has no further solution")
        if result.x is None:
            return answer(False, f"the solver stopped: {result.message}")
        pattern = result.x > 0.5
        found.append(pattern)
        cuts.append(np.where(pattern, -1.0, 1.0))
        limits.append(1.0 - np.sum(pattern))
        # Marginal patterns may be among the solutions, but only stable ones count.
        if len(found) >= max_patterns and len(_judged(J, b, np.array(found))) >= max_patterns:
            return answer(False, f"stopped at {max_patterns} patterns")
    return answer(False, f"stopped after {time_limit} s")


# --- by descent


def descend(
    J: Operator | Float[ArrayLike, "n n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    num_starts: int,
    key: PRNGKeyArray,
    max_flips: int = 1000,
) -> StablePatterns:
    """Stable patterns found by flipping, from random patterns, the unit whose field contradicts it most.

    There are `num_starts` random patterns, which come from `key`. A flip costs O(n). For symmetric J with J_ii >= 0 the
    energy -s J s / 2 - b s falls with every flip. Other networks may wander: a start that is not stable after
    `max_flips` is given up. The number of patterns found is a lower bound.

    Raises:
        ValueError: if ``J`` is not one finite square matrix, ``bias`` does not fit, one of them is traced, or
            ``num_starts`` or ``max_flips`` is not a whole number >= 1, or ``key`` is no random key.
    """
    require_concrete(J, bias, "the number of patterns found depends on values")
    J = as_couplings(J)
    b = cast_bias(bias, J)
    require_key("key", key)
    require_whole("num_starts", num_starts)
    require_whole("max_flips", max_flips)
    ends = np.asarray(_descended(J.dense(), b, jax.random.bernoulli(key, 0.5, (num_starts, J.shape[-1])), max_flips))
    patterns = _judged(J, b, np.unique(ends, axis=0))
    patterns = patterns[np.lexsort(patterns.T)]
    return StablePatterns(patterns, False, f"found from {num_starts} starts")


@as_program
def _descended(J: Float[Array, "n n"], b: Float[Array, " n"], starts: Bool[Array, "m n"], max_flips: int):
    columns = J.T

    def contradictions(s, fields):
        return jnp.where(s, -fields, fields)

    def unsettled(state):
        s, fields, flips = state
        return (flips < max_flips) & jnp.any(contradictions(s, fields) >= 0)

    def flip(state):
        s, fields, flips = state
        i = jnp.argmax(contradictions(s, fields))
        change = jnp.where(s[i], -columns[i], columns[i])
        return s.at[i].set(~s[i]), fields + change, flips + 1

    def descent(s):
        fields = J @ s.astype(J.dtype) + b
        return jax.lax.while_loop(unsettled, flip, (s, fields, jnp.zeros((), jnp.int32)))[0]

    return jax.vmap(descent)(starts)
