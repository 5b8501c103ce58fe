r"""Sides of threshold units at an event: which units at x_i = 0 are on, off, or slide.

Between events every unit has h_i = H(x_i). A unit with x_i = 0 whose field would drive it back from either side slides
(Filippov): it stays there, with the h_i in [0, 1] that keeps f_i = 0. Several units may slide at once; their h solve

$$ J_{SS}\, h_S + J_{SA}\, h_A + b_S = 0 . $$

At an event the units at 0 must be on, off or sliding consistently, which is a linear complementarity problem in
[0, 1]. It is solved by principal pivoting from the sides that the units were about to enter: `pivot` while there are
`contradictions`, and less than `most_pivots` have been made. Each pivot updates the inverse of J_SS by a term of rank
one. If the matrix -J of the units at 0 has positive principal minors (one unit: J_ii < 0) there is one consistent
choice, else there may be several, and the pivots end at one of them.

Source: Filippov, Differential Equations with Discontinuous Righthand Sides (1988).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Units that may slide at once; with more a flow ends undecided. The inverse takes the square of this number in memory
# for every start.
MAX_SLIDING = 32
# States and fields below this many roundings of their sums count as 0: a sum has a few, and each pivot adds some.
_ZERO_ROUNDINGS = 512
# h of a sliding unit may leave [0, 1] by this many roundings.
_SLACK_ROUNDINGS = 64
# A unique solution needs a few pivots for every unit at 0. After this many, `pivot` changes the order; after 16 times
# as many, the units are given up.
_PIVOTS_PER_UNIT, _LAST_PIVOTS = 4, 16


class Network(eqx.Module):
    """J and b, and the size `zero` (n,) of a field that counts as 0."""

    J: Float[Array, "n n"]
    b: Float[Array, " n"]
    zero: Float[Array, " n"]

    @classmethod
    def of(cls, J: Float[Array, "n n"], b: Float[Array, " n"]) -> "Network":
        scale = jnp.sum(jnp.abs(J), 1) + jnp.abs(b)
        return cls(J, b, _ZERO_ROUNDINGS * jnp.finfo(J.dtype).eps * jnp.maximum(scale, jnp.finfo(J.dtype).tiny))


class Sides(eqx.Module):
    """What units do: `h` in [0, 1], the fields f = J h + b, which units slide, and J_SS^{-1} for these.

    Sliding units have places, `slots`; rows and columns of `inverse` for places that are not `used` are 0.
    """

    h: Float[Array, " n"]
    f: Float[Array, " n"]
    sliding: Bool[Array, " n"]
    slots: Int[Array, " m"]
    used: Bool[Array, " m"]
    inverse: Float[Array, "m m"]

    @classmethod
    def none_sliding(cls, net: Network, h: Float[Array, " n"], places: int) -> "Sides":
        """The sides h, with `places` for units that slide later."""
        free = jnp.zeros(places, jnp.int32), jnp.zeros(places, bool), jnp.zeros((places, places), h.dtype)
        return settle(net, cls(h, h, jnp.zeros(len(h), bool), *free))


def settle(net: Network, sides: Sides) -> Sides:
    """The sides with h of the sliding units solved for, such that f = 0 there, and all fields."""
    h = sides.h
    if len(sides.slots):

        def corrected(_, h):
            return h.at[sides.slots].add(-(sides.inverse @ (net.J @ h + net.b)[sides.slots]))

        # The second time takes out the rounding errors of the inverse.
        h = jax.lax.fori_loop(0, 2, corrected, jnp.where(sides.sliding, 0, h))
    f = net.J @ h + net.b
    f = jnp.where(sides.sliding | (jnp.abs(f) <= net.zero), 0, f)
    return Sides(h, f, sides.sliding, sides.slots, sides.used, sides.inverse)


def most_pivots(sides: Sides, at_zero: Bool[Array, " n"]) -> Int[Array, ""]:
    """Pivots after which units are given up: at once without places, where another order would let units slide."""
    return (_LAST_PIVOTS if len(sides.slots) else 1) * _patience(at_zero)


def _patience(at_zero: Bool[Array, " n"]) -> Int[Array, ""]:
    """Pivots in the first order."""
    return _PIVOTS_PER_UNIT * jnp.sum(at_zero, dtype=jnp.int32) + _PIVOTS_PER_UNIT


def contradictions(sides: Sides, at_zero: Bool[Array, " n"]) -> Bool[Array, " n"]:
    """Units at 0 that would not stay on their side, and sliding units whose h is outside [0, 1].

    NaN, from a singular system, compares as no contradiction.
    """
    slack = _SLACK_ROUNDINGS * jnp.finfo(sides.h.dtype).eps
    wrong_side = jnp.where(sides.h > 0.5, sides.f < 0, sides.f > 0)
    return at_zero & jnp.where(sides.sliding, (sides.h < -slack) | (sides.h > 1 + slack), wrong_side)


def pivot(
    net: Network, sides: Sides, at_zero: Bool[Array, " n"], wrong: Bool[Array, " n"], count: Int[Array, ""]
) -> Sides:
    """A unit that is `wrong` changes: it slides where that attracts, else it takes a side. The result is to be settled.

    The first such unit changes, by which matrices with positive principal minors are solved. For others this
    may go round in a circle. After a while the order therefore changes with every pivot, and repelling units slide in
    between.
    """
    n, dtype = len(net.b), net.J.dtype
    ordered = count < _patience(at_zero)
    unit = jnp.arange(n, dtype=dtype)
    # Multiples of the golden ratio modulo 1 are spread evenly: another order for every count.
    shuffled = jnp.mod((unit + 1) * (count + 1).astype(dtype) * ((math.sqrt(5) - 1) / 2), 1)
    rank = jnp.where(ordered, unit, shuffled)
    i = jnp.argmin(jnp.where(wrong, rank, jnp.inf)).astype(jnp.int32)
    if not len(sides.slots):  # without places, units take sides
        on = jnp.arange(n, dtype=i.dtype) == i
        return eqx.tree_at(lambda sides: sides.h, sides, jnp.where(on, 1 - sides.h, sides.h))
    P, slots, slides = sides.inverse, sides.slots, sides.sliding[i]
    # Its own place, or the first that is free.
    k = jnp.where(slides, jnp.argmax(sides.used & (slots == i)), jnp.argmin(sides.used))
    column, row = P @ net.J[slots, i], net.J[i, slots] @ P
    # Slope of f_i with h_i, while the other sliding units follow.
    d = jnp.where(slides, 1 / P[k, k], net.J[i, i] - net.J[i, slots] @ column)
    # A unit leaves the wall to where its field then points; one that enters it needs f_i to fall with h_i.
    on = jnp.where(slides, (sides.h[i] > 1) == (d < 0), sides.h[i] < 0.5)
    attracts = jnp.where(ordered | (count % 3 > 0), d < -net.zero[i], jnp.abs(d) > net.zero[i])
    enters = ~slides & attracts & ~jnp.all(sides.used)
    # To border the matrix by a row and a column, or to take them out, changes the inverse by one term of rank one.
    place = jnp.arange(len(slots)) == k
    u = jnp.where(slides, P[:, k], jnp.where(place, -1, column))
    v = jnp.where(slides, P[k], jnp.where(place, -1, row))
    weight = jnp.where(slides, -d, jnp.where(enters, 1 / jnp.where(enters, d, 1), 0))
    left = slides & (place[:, None] | place[None])
    chosen, moves = jnp.arange(n, dtype=i.dtype) == i, place & (slides | enters)
    return Sides(
        h=jnp.where(chosen, on.astype(dtype), sides.h),
        f=sides.f,
        sliding=jnp.where(chosen, enters, sides.sliding),
        slots=jnp.where(moves, jnp.where(enters, i, 0), slots),
        used=jnp.where(moves, enters, sides.used),
        inverse=jnp.where(left, 0, P + weight * jnp.outer(u, v)),
    )
