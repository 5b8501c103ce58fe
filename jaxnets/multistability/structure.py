r"""The part of multistability that the signs of the weights decide: the patterns they hold, and their completion.

Networks here are x' = -x + J H(x), without bias. A pattern s is stable if and only if (2 s - 1) o (J s) > 0: from the
units active in s, an active unit needs more excitation than inhibition, an inactive unit the reverse. This holds for
all magnitudes of the weights if and only if active units receive at least one + and no - from them, and inactive units
at least one - and no +. Then s is sign-stable.

Signs are +1, -1, 0 (no synapse) and, where allowed, NaN (`FREE`); `np.sign(J)` has the signs of a network. A `mask` is
False where there is no synapse; if None, units do not couple to themselves.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) for topology, sign stability, completion and compatibility.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int
from scipy.optimize import Bounds, LinearConstraint, milp
from tqdm import tqdm

from .._arguments import host_array
from .._results import Result
from ..learning.constraints import (
    FREE,
    Certificate,
    as_mask,
    as_patterns,
    as_signs,
    certify,
    reaches,
    row_problem,
    solve_row,
    weight_limits,
)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A `unit` that fails in a `pattern`, where it should be `active` or not.

    `sources` are the units whose synapses are in the way, empty if some is missing. `str` gives a sentence.
    """

    pattern: int
    unit: int
    active: bool
    sources: tuple[int, ...]

    def __str__(self) -> str:
        state, need, wrong = ("active", "excites", "inhibit") if self.active else ("inactive", "inhibits", "excite")
        why = f"units {_listed(self.sources)} {wrong} it or may" if self.sources else f"no active unit {need} it"
        return f"unit {self.unit} is {state} in pattern {self.pattern}, but {why}"


def _listed(units: tuple[int, ...]) -> str:
    return ", ".join(map(str, units))


class SignStability(Result, axes={"P": "pattern"}):
    """`stable` (P,) says which patterns are stable for all magnitudes of the weights, `failures` why others are not."""

    stable: Bool[np.ndarray, " P"]
    failures: tuple[Failure, ...]


def sign_stability(signs: Float[ArrayLike, "n n"], patterns: Int[ArrayLike, "P n"]) -> SignStability:
    r"""Which patterns are stable for all magnitudes |J_ij| > 0 of the `signs`, and which units fail in the others.

    $$ s_i = 1: \; \mathrm{sgn}_{ij} \ge 0 \text{ for all } j \text{ with } s_j = 1, \text{ and } > 0 \text{ for one};
       \qquad s_i = 0: \; \le 0, \text{ and } < 0 \text{ for one} $$

    A free sign (NaN) may be either, and counts against. The silent pattern is never stable without a bias: no unit is
    active that could inhibit. Raises `ValueError` for shapes and entries.
    """
    s = as_patterns(patterns)
    sgn = _sign_matrix(signs, s.shape[1])
    failures = []
    for k, pattern in enumerate(s):
        on = pattern == 1
        for i, active in enumerate(on):
            right, wrong = (sgn[i] > 0, ~(sgn[i] >= 0)) if active else (sgn[i] < 0, ~(sgn[i] <= 0))
            if np.any(wrong & on) or not np.any(right & on):
                failures.append(Failure(k, i, bool(active), _indices(wrong & on)))
    stable = np.ones(len(s), bool)
    stable[[failure.pattern for failure in failures]] = False
    return SignStability(stable, tuple(failures))


def _sign_matrix(signs: ArrayLike, n: int) -> Float[np.ndarray, "n n"]:
    return as_signs(host_array("signs", signs, (n, n)), n)


def _indices(chosen: np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(chosen).tolist())


# --- all sign matrices that hold a set of patterns


@dataclasses.dataclass(frozen=True)
class Need:
    """Unit `unit` needs at least one synapse of sign `sign` from `sources`; without one, it cannot be held.

    `pattern` is one that asks for it. `str` gives a sentence.
    """

    unit: int
    pattern: int
    sign: int
    sources: tuple[int, ...]

    def __str__(self) -> str:
        kind, state = ("an excitatory", "active") if self.sign > 0 else ("an inhibitory", "inactive")
        other = "inactive" if self.sign > 0 else "active"
        rule = f"a unit that is active there and never where {self.unit} is {other}, and there is none"
        whom = f"one of {_listed(self.sources)}" if self.sources else rule
        return f"unit {self.unit}, {state} in pattern {self.pattern}, needs {kind} synapse from {whom}"


class SignConstraints(Result, axes={"n": "unit"}):
    """The conditions on a sign matrix to hold the patterns for all magnitudes, necessary and sufficient.

    `may_excite` and `may_inhibit` (n, n) say which signs an entry may have besides 0. `needs` are the synapses that
    must exist: the fewest needs that imply all others.
    """

    may_excite: Bool[np.ndarray, "n n"]
    may_inhibit: Bool[np.ndarray, "n n"]
    needs: tuple[Need, ...]

    @property
    def impossible(self) -> tuple[Need, ...]:
        """The needs that nothing meets: if there are any, no sign matrix holds the patterns."""
        return tuple(need for need in self.needs if not need.sources)

    @property
    def forced(self) -> Float[np.ndarray, "n n"]:
        """+1 and -1 where that sign is in every solution, 0 where no synapse may be, NaN where there is a choice."""
        signs = np.where(self.may_excite | self.may_inhibit, FREE, 0.0)
        for need in self.needs:
            if len(need.sources) == 1:
                signs[need.unit, need.sources[0]] = need.sign
        return signs


def sign_constraints(patterns: Int[ArrayLike, "P n"], *, mask: Bool[ArrayLike, "n n"] | None = None) -> SignConstraints:
    """The minimal constraints on signs that hold all patterns (P, n) for all magnitudes.

    An entry J_ij may be + unless i is inactive, and - unless i is active, in a pattern where j is active; and each unit
    needs, for each pattern, one such synapse from its active units. Raises `ValueError` for shapes and entries.
    """
    s = as_patterns(patterns)
    exists = as_mask(mask, s.shape[1])
    together = s.T @ s > 0
    apart = (1 - s).T @ s > 0
    may_excite, may_inhibit = exists & ~apart, exists & ~together
    needs = [need for i in range(s.shape[1]) for need in _needs_of(i, s, may_excite[i], may_inhibit[i])]
    return SignConstraints(may_excite, may_inhibit, tuple(needs))


def _needs_of(i: int, s: np.ndarray, may_excite: np.ndarray, may_inhibit: np.ndarray) -> list[Need]:
    """The needs of unit i that no other need implies, each with its first pattern."""
    smallest: list[tuple[frozenset[int], int]] = []
    choices = [frozenset(_indices((p == 1) & (may_excite if p[i] else may_inhibit))) for p in s]
    for k in sorted(range(len(s)), key=lambda k: (len(choices[k]), k)):
        # Sources of + and of - are never the same, so that the empty set alone is part of both: keep it for each sign.
        if not any(kept <= choices[k] and s[other, i] == s[k, i] for kept, other in smallest):
            smallest.append((choices[k], k))
    return [Need(i, k, 1 if s[k, i] else -1, tuple(sorted(sources))) for sources, k in smallest]


def count_sign_matrices(patterns: Int[ArrayLike, "P n"], *, mask: Bool[ArrayLike, "n n"] | None = None) -> int:
    """The number of sign matrices (+, -, 0) that hold all patterns for all magnitudes, exactly.

    Rows are independent; in a row, the sets of needs that are not met yet are followed from synapse to synapse, at most
    2^needs of them. Arguments and errors as in `sign_constraints`.
    """
    constraints = sign_constraints(patterns, mask=mask)
    total = 1
    for row in range(len(constraints.may_excite)):
        values, unmet, meets = _row_choices(constraints, row)
        numbers = {unmet: 1}
        for options, met in zip(values, meets, strict=True):
            after: dict[int, int] = {}
            for open_needs, number in numbers.items():
                after[open_needs] = after.get(open_needs, 0) + number
                if len(options) > 1:
                    left = open_needs & ~met
                    after[left] = after.get(left, 0) + number * (len(options) - 1)
            numbers = after
        total *= numbers.get(0, 0)
    return total


def sign_matrices(
    patterns: Int[ArrayLike, "P n"], *, mask: Bool[ArrayLike, "n n"] | None = None
) -> Iterator[Float[np.ndarray, "n n"]]:
    """All sign matrices that hold all patterns for all magnitudes, one after the other; `count_sign_matrices` in all.

    Arguments and errors as in `sign_constraints`; which signs are forced is its `forced`.
    """
    constraints = sign_constraints(patterns, mask=mask)
    n = len(constraints.may_excite)

    def rows(i: int) -> Iterator[tuple[tuple[int, ...], ...]]:
        if i == n:
            yield ()
            return
        for row in _sign_rows(*_row_choices(constraints, i)):
            for rest in rows(i + 1):
                yield (row, *rest)

    # A row without a solution is found before those above it are gone through.
    if constraints.impossible:
        return iter(())
    return (np.array(matrix, dtype=float) for matrix in rows(0))


def _row_choices(constraints: SignConstraints, row: int) -> tuple[list[tuple[int, ...]], int, list[int]]:
    """The values of each entry of a row, 0 first; its needs, as bits; and the needs that each entry meets if not 0."""
    values = [
        (0, *([1] if excite else []), *([-1] if inhibit else []))
        for excite, inhibit in zip(constraints.may_excite[row], constraints.may_inhibit[row], strict=True)
    ]
    needs = [need for need in constraints.needs if need.unit == row]
    meets = [sum(1 << bit for bit, need in enumerate(needs) if j in need.sources) for j in range(len(values))]
    return values, (1 << len(needs)) - 1, meets


def _sign_rows(values: list[tuple[int, ...]], unmet: int, meets: list[int]) -> Iterator[tuple[int, ...]]:
    """All choices of one value an entry that leave no need unmet."""
    if not values:
        if not unmet:
            yield ()
        return
    # A need that no entry from here on meets is lost.
    if unmet & ~functools.reduce(int.__or__, meets):
        return
    for value in values[0]:
        for rest in _sign_rows(values[1:], unmet & ~meets[0] if value else unmet, meets[1:]):
            yield (value, *rest)


def fewest_synapses(
    patterns: Int[ArrayLike, "P n"], *, mask: Bool[ArrayLike, "n n"] | None = None
) -> Float[np.ndarray, "n n"] | None:
    """A sign matrix with the fewest synapses that holds all patterns for all magnitudes; None if there is no matrix.

    Each row is an integer programme, solved exactly (HiGHS). Arguments and errors as in `sign_constraints`.
    """
    constraints = sign_constraints(patterns, mask=mask)
    if constraints.impossible:
        return None
    n = len(constraints.may_excite)
    signs = np.zeros((n, n))
    for i in range(n):
        needs = [need for need in constraints.needs if need.unit == i]
        covers = np.array([[j in need.sources for j in range(n)] for need in needs], dtype=float)
        found = milp(np.ones(n), integrality=np.ones(n), bounds=Bounds(0, 1), constraints=LinearConstraint(covers, 1))
        if found.status != 0:
            raise RuntimeError(f"the integer programme failed: {found.message}")
        signs[i] = np.where(found.x > 0.5, np.where(constraints.may_excite[i], 1.0, -1.0), 0.0)
    return signs


# --- what all weights with these signs need


class Topology(Result):
    """Whether it is `possible` that weights of these signs hold a pattern at all.

    `cycle` are active units of which each excites the next, and the last the first; None if there is no such cycle.
    `failures` are all units that cannot be in their state; `all_excitatory` says that no sign is
    negative or free. `str` gives sentences.
    """

    possible: bool
    cycle: tuple[int, ...] | None
    failures: tuple[Failure, ...]
    all_excitatory: bool

    def __str__(self) -> str:
        if self.possible:
            around = " -> ".join(map(str, (*(self.cycle or ()), *(self.cycle or ())[:1])))
            return f"some magnitudes hold the pattern, which feeds itself through {around}"
        reasons = "; ".join(map(str, self.failures))
        if self.all_excitatory:
            reasons += "; without inhibition only the pattern of all units can be stable"
        return reasons


def check_topology(signs: Float[ArrayLike, "n n"], pattern: Int[ArrayLike, " n"]) -> Topology:
    """Whether some magnitudes of a sign matrix can make a pattern (n,) stable, and the excitatory cycle that feeds it.

    They can if and only if every active unit has an excitatory synapse from an active unit, and every inactive unit an
    inhibitory synapse from an active unit. Steps back from sender to sender then meet a directed cycle among the active
    units. Free signs (NaN) may be either.
    Raises `ValueError` for shapes and entries.
    """
    s = _one_pattern("pattern", pattern)
    sgn = _sign_matrix(signs, len(s))
    on = s == 1
    excited, inhibited = ~(sgn <= 0) & on, ~(sgn >= 0) & on  # [i, j]: may be, by the active unit j
    fed = np.where(on, excited.any(1), inhibited.any(1))
    failures = tuple(Failure(0, i, bool(on[i]), ()) for i in _indices(~fed))
    return Topology(not failures, _cycle(excited[on][:, on], np.flatnonzero(on)), failures, bool(np.all(sgn >= 0)))


def _cycle(excites: np.ndarray, units: np.ndarray) -> tuple[int, ...] | None:
    """A directed cycle of the graph whose edges j -> i are excites[i, j], or None."""
    alive = np.ones(len(units), bool)
    # A unit without a sender among the units left is on no cycle.
    while np.any(lost := alive & ~excites[:, alive].any(1)):
        alive &= ~lost
    if not alive.any():
        return None
    path = [int(np.flatnonzero(alive)[0])]
    while (sender := int(np.flatnonzero(excites[path[-1]] & alive)[0])) not in path:
        path.append(sender)
    cycle = [int(units[i]) for i in reversed(path[path.index(sender) :])]
    first = cycle.index(min(cycle))
    return tuple(cycle[first:] + cycle[:first])


def _one_pattern(name: str, pattern: ArrayLike) -> Int[np.ndarray, " n"]:
    return as_patterns(host_array(name, pattern, (None,))[None], name=name)[0]


# --- completion


def closure(
    signs: Float[ArrayLike, "n n"],
    pattern: Int[ArrayLike, " n"],
    cue: Int[ArrayLike, " n"],
) -> Int[np.ndarray, " n"]:
    r"""The units that a cue in a sign-stable pattern grows to: its closure along edges with positive `signs`.

    $$ c \leftarrow c \cup \{ i \in s : \mathrm{sgn}_{ij} > 0 \text{ for some } j \in c \} $$

    From x > 0 on the cue and x < 0 elsewhere the flow activates exactly these units, whatever the magnitudes: inside
    the pattern nothing is inhibited, outside nothing is excited. A unit of the cue without input from the closure
    stays active but fades, x -> 0+. Returns (n,) of 0 and 1. Raises `ValueError` for shapes and entries, a cue that is
    not part of the pattern, and a pattern that is not sign-stable.
    """
    s, c = _one_pattern("pattern", pattern), _one_pattern("cue", cue)
    if c.shape != s.shape or np.any(c > s):
        raise ValueError(
            f"`cue` must be part of `pattern`, with active units among {_listed(_indices(s == 1))}, got {c}"
        )
    sgn = _sign_matrix(signs, len(s))
    held = sign_stability(sgn, s[None])
    if held.failures:
        raise ValueError(f"`pattern` must be sign-stable: {held.failures[0]}")
    while np.any((grown := c | (s * ((sgn > 0) @ c > 0))) != c):
        c = grown
    return c


def completes(
    signs: Float[ArrayLike, "n n"],
    pattern: Int[ArrayLike, " n"],
    cue: Int[ArrayLike, " n"],
) -> bool:
    """Whether the cue grows into the whole sign-stable pattern, for all magnitudes.

    `closure` documents the arguments and errors.
    """
    return bool(np.all(closure(signs, pattern, cue) == _one_pattern("pattern", pattern)))


# --- compatibility of patterns


class Compatibility(Result, axes={"n": "unit"}):
    """Which units may be on, or off, in a `candidate`, if some patterns are held.

    `on_certificates` has one certificate for each unit that may not be on, and None for the others; `off_certificates`
    the same for off. In certificates the candidate is the last pattern, of index P.
    """

    candidate: Int[np.ndarray, " n"]
    on_certificates: tuple[Certificate | None, ...]
    off_certificates: tuple[Certificate | None, ...]

    @property
    def may_be_on(self) -> Bool[np.ndarray, " n"]:
        """Which units may be on."""
        return np.array([certificate is None for certificate in self.on_certificates])

    @property
    def may_be_off(self) -> Bool[np.ndarray, " n"]:
        """Which units may be off."""
        return np.array([certificate is None for certificate in self.off_certificates])

    @property
    def forced(self) -> Float[np.ndarray, " n"]:
        """The state, 1 or 0, that each unit must have; NaN (`FREE`) where it has a choice, and where it has none."""
        on, off = self.may_be_on, self.may_be_off
        return np.where(on & ~off, 1.0, np.where(off & ~on, 0.0, FREE))

    @property
    def allowed(self) -> Bool[np.ndarray, " n"]:
        """Which units may be as they are in the candidate."""
        return np.where(self.candidate == 1, self.may_be_on, self.may_be_off)

    @property
    def compatible(self) -> bool:
        """Whether the candidate can be held together with the patterns."""
        return bool(np.all(self.allowed))


def compatibility(
    patterns: Int[ArrayLike, "P n"],
    candidate: Int[ArrayLike, " n"],
    *,
    signs: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None,
    mask: Bool[ArrayLike, "n n"] | None = None,
    progress: bool = True,
) -> Compatibility:
    r"""Which states of each unit in a `candidate`, a further pattern, the patterns that are held force or forbid.

    $$ \sum_{k \text{ on}} \lambda_k s^k = \sum_{k \text{ off}} \mu_k s^k,
       \qquad \lambda, \mu \ge 0, \text{ not all } 0 $$

    forbids, whatever the weights, that a unit is on in all patterns of the left and off in all patterns of the right:
    its drive would be positive on one side and negative on the other. Such an identity, over the senders of the unit,
    is the certificate; with given signs, an inequality is enough. Each unit takes two linear programmes.

    A pattern that differs from a held one in unit i alone is forbidden, as i sees no difference. The union and
    intersection of two patterns (`union_and_intersection`) are compatible with them, if the two share at least two
    units and each has at least two of its own. `weight_limits` documents `signs` and `mask`. Raises `ValueError` for
    shapes and entries.
    """
    s = as_patterns(patterns)
    c = _one_pattern("candidate", candidate)
    s = np.concatenate([s, as_patterns(c[None], s.shape[1], "candidate")])
    lower, upper = weight_limits(s.shape[1], signs=signs, mask=mask)

    def why_not(i: int, state: int) -> Certificate | None:
        row = row_problem(s, np.append(s[:-1, i], state), lower[i], upper[i])
        w, y = solve_row(row)
        return None if reaches(row, w, 0.0) else certify(row, y)

    units = tqdm(range(s.shape[1]), desc="units", unit="unit", delay=2, leave=False, disable=not progress)
    on, off = zip(*((why_not(i, 1), why_not(i, 0)) for i in units), strict=True)
    return Compatibility(c, on, off)


def union_and_intersection(first: Int[ArrayLike, " n"], second: Int[ArrayLike, " n"]) -> Int[np.ndarray, "2 n"]:
    """The patterns (`first` or `second`) and (`first` and `second`), with the same sum as the two.

    Raises `ValueError` for shapes and entries.
    """
    s, t = _one_pattern("first", first), _one_pattern("second", second)
    if s.shape != t.shape:
        raise ValueError(f"`second` must have the shape of `first`, {s.shape}, got {t.shape}")
    return np.stack([s | t, s & t])
