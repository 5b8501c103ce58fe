r"""The innermost loop of Hyman's recurrence, one row after the other, for many z at once.

$$ x_{i-1} = s_i z x_i - \sum_{j \ge i} a_{ij} x_j - b_i $$

Nothing in it is a product of matrices, and every row waits for the next one: as operations of XLA each row is several
kernels, and each kernel takes longer to start than to run. On NVIDIA GPUs the rows of a block are one kernel of Pallas,
elsewhere a loop. Both run the same code on rows, `_next_rows`; README.md says why x is scaled as it is.

Source: Wilkinson 1965 for the recurrence; its scaling and backward errors are derived here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LANES = 16  # points of one program of the kernel, which must divide their number; not timed on a GPU
_STEP = 4  # rows between two scalings: x grows by up to 1 / precision a row, so float32 has room for four
_WARPS = 2  # of one program of the kernel; not timed on a GPU

# Rows of numbers for k pairs of points: one array, or in the kernel, which has no arrays of arrays, a list.
Rows = Float[Array, "rows k"] | Sequence[Float[Array, " k"]]


class Points(NamedTuple):
    """Pairs of points z, each two real numbers or a complex number and its conjugate."""

    are_real: Float[Array, " k"]  # 1 or 0, as a kernel has no boolean arrays
    first: Float[Array, " k"]  # real parts
    second: Float[Array, " k"]
    imaginary: Float[Array, " k"]  # of the first


class Factors(NamedTuple):
    """What each row of the recurrence multiplies by."""

    shift: Float[Array, "*blocks block"]  # s_i, of z x_i
    weight: Float[Array, "*blocks block"]  # of x_i in the norms: 0 for rows that only hand x on
    cut: Float[Array, "*blocks block"]  # turns |x_{i-1}| into |p|, where a part of the matrix ends; else 0


class State(NamedTuple):
    """The recurrence after some rows.

    `x` and `slope` = dx/dz have two rows: their values at the two points of a pair, or the real and the imaginary part
    at the first. The norms and errors are those at the two points. A part is what lies between two cuts, where
    subdiagonal entries vanish; each part has its own characteristic polynomial p and backward error |p| / |x|.
    """

    x: Rows
    slope: Rows
    total: Rows  # |x|_1 in this part
    largest: Rows  # |x|_inf in this part
    error: Rows  # the least backward error of all parts; infinite before the first ends
    scale: Rows  # powers of two by which x was multiplied since the block began


def at_start(points: Points) -> State:
    """The state before the last row, whose entry of x is 1."""
    zero, one = jnp.zeros_like(points.first), jnp.ones_like(points.first)
    pair = jnp.stack([zero, zero])
    ones = jnp.stack([one, one])
    # At two real points x is 1 twice; at a complex one it is 1 + 0 i.
    return State(jnp.stack([one, points.are_real]), pair, pair, pair, ones / 0, ones)


def solve_block(
    own: Float[Array, "block block"],
    factors: Factors,
    below: Float[Array, "block 4 k"],
    state: State,
    points: Points,
) -> tuple[State, Float[Array, "block 4 k"]]:
    """The state after the rows of one block, from the last, and the entries (x, dx/dz) that it went through.

    `own` is a, 0 below the diagonal; `below` is b, for x and dx/dz. Valid for whole numbers of `_STEP` rows and `LANES`
    pairs of points.
    """
    return jax.lax.platform_dependent(own, factors, below, state, points, cuda=_in_kernel, default=_in_loop)


def _next_rows(sums, square, factors, state: State, points: Points):
    """A few rows, from the last, given the sums over what lies below them.

    Returns the state, the entries that were gone through, and the powers of two by which these entries, and all before,
    are still to be multiplied.
    """
    x, total, largest, error = [*state.x, *state.slope], state.total, state.largest, state.error
    a, b, turn = points.first, points.second, points.imaginary
    tiny = float(jnp.finfo(x[0].dtype).tiny) ** 0.9

    def of_pairs(first, second, joined):
        return jnp.where(points.are_real != 0, first, joined), jnp.where(points.are_real != 0, second, joined)

    def modulus(x):
        first, second = jnp.abs(x[0]), jnp.abs(x[1])
        return of_pairs(first, second, first + second)

    new = {}
    for i in reversed(range(len(sums))):
        new[i], (shift, weight, cut) = x, factors[i]
        sizes = [weight * size for size in modulus(x)]
        total = [t + size for t, size in zip(total, sizes, strict=True)]
        largest = [jnp.maximum(l, size) for l, size in zip(largest, sizes, strict=True)]
        zx = [a * x[0] - turn * x[1], turn * x[0] + b * x[1]]
        zx += [a * x[2] - turn * x[3] + x[0], turn * x[2] + b * x[3] + x[1]]
        x = [shift * zx[c] - sums[i][c] - sum(square[i][j] * new[j][c] for j in new) for c in range(4)]
        # |x|_1 |x|_inf bounds |x|_2^2 from above, and does not overflow as squares do.
        norms = [jnp.sqrt(t) * jnp.sqrt(l) for t, l in zip(total, largest, strict=True)]
        # If x has vanished, p = 0 says nothing.
        misses = [jnp.where(n > tiny, cut * size / n, jnp.nan) for size, n in zip(modulus(x), norms, strict=True)]
        ends = cut != 0
        error = [jnp.where(ends & ~(miss > old), miss, old) for miss, old in zip(misses, error, strict=True)]
        total, largest = ([jnp.where(ends, 0.0, t) for t in sizes] for sizes in (total, largest))

    first, second = (jnp.maximum(jnp.abs(x[c]), jnp.abs(x[c + 2])) for c in range(2))
    down = [_power_below(size) for size in of_pairs(first, second, jnp.maximum(first, second))]
    x = [down[c % 2] * x[c] for c in range(4)]
    total, largest, scale = ([f * t for f, t in zip(down, s, strict=True)] for s in (total, largest, state.scale))
    return State(x[:2], x[2:], total, largest, error, scale), [new[i] for i in range(len(sums))], down


def _power_below(size):
    """A power of two that brings the size to 2^20 or less, if that is needed: exact, and without logarithms."""
    top = 128 if size.dtype == jnp.float32 else 1024
    factor = jnp.ones_like(size)
    for power in range(20, top, 20):
        factor = jnp.where(size > 2.0**power, 2.0**-power, factor)
    return factor


def _all_rows(block: int, rows, own, factors: Factors, below, state: State, points: Points):
    """The state and the entries after all rows of a block, whose arguments are arrays or what a kernel has for them."""

    def add(k, carry):
        state, entries = carry
        places = [block - _STEP * (k + 1) + i for i in range(_STEP)]
        sums = []
        for i in places:
            weighted = [jnp.sum(own[i, :][:, None] * column, 0) for column in entries]
            sums.append([weighted[c] + state.scale[c % 2] * below[i, c, :] for c in range(4)])
        square = [[own[i, j] for j in places] for i in places]
        multipliers = [[factor[i] for factor in factors] for i in places]
        state, new, down = _next_rows(sums, square, multipliers, state, points)
        for i, x in zip(places, new, strict=True):
            entries = [jnp.where(rows == i, x[c][None], entries[c]) for c in range(4)]
        return state, [down[c % 2][None] * entries[c] for c in range(4)]

    start = [jnp.zeros((block, state.x[0].shape[0]), state.x[0].dtype)] * 4
    return jax.lax.fori_loop(0, block // _STEP, add, (state, start))


def _in_loop(own, factors: Factors, below, state: State, points: Points):
    block = own.shape[0]
    listed = State(*(list(rows) for rows in state))
    final, entries = _all_rows(block, jnp.arange(block)[:, None], own, factors, below, listed, points)
    return State(*(jnp.stack(rows) for rows in final)), jnp.stack(entries, 1)


def _in_kernel(own, factors: Factors, below, state: State, points: Points, interpret: bool = False):
    if jax.__version_info__ >= (0, 11):  # which deprecates this backend of Pallas, and warns each time it is lowered
        return _in_loop(own, factors, below, state, points)
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    block, k = below.shape[0], below.shape[-1]

    def kernel(own, factors, below, state, points, state_out, entries_out):
        rows = jax.lax.broadcasted_iota(jnp.int32, (block, LANES), 0)
        start = State(*([part[c, :] for c in range(part.shape[0])] for part in state))
        at = Points(*(part[:] for part in points))
        final, entries = _all_rows(block, rows, own, factors, below, start, at)
        for out, part in zip(state_out, final, strict=True):
            for c, row in enumerate(part):
                out[c, :] = row
        for c in range(4):
            entries_out[:, c, :] = entries[c]

    def all_of(a):
        return pl.BlockSpec(a.shape, lambda lane: (0,) * a.ndim)

    def lanes_of(a):
        return pl.BlockSpec((*a.shape[:-1], LANES), lambda lane: (*(0,) * (a.ndim - 1), lane))

    lanes = jax.tree.map(lanes_of, (below, state, points))
    return pl.pallas_call(
        kernel,
        out_shape=jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (state, below)),
        grid=(k // LANES,),
        in_specs=[all_of(own), jax.tree.map(all_of, factors), *lanes],
        out_specs=(lanes[1], lanes[0]),
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=interpret,
    )(own, factors, below, state, points)
