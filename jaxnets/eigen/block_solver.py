r"""The innermost loop of Hyman's recurrence, one row after the other, for many z at once.

$$ x_{i-1} = s_i z x_i - \sum_{j \ge i} a_{ij} x_j - b_i $$

Nothing in it is a product of matrices, and every row waits for the next one: as operations of XLA each row is several
kernels, each of which takes longer to start than to run. On NVIDIA GPUs the rows of a block are one kernel of Pallas,
elsewhere a loop.

Source: Wilkinson 1965 for the recurrence; its scaling and backward errors are derived here.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LANES = 16  # points of one program of the kernel, a divisor of their number
_STEP = 4  # rows after which x is scaled
_STATE = 12


def solve_block(
    own: Float[Array, "block block"],
    factors: Float[Array, "4 block"],
    below: Float[Array, "block 4 k"],
    state: Float[Array, "12 k"],
    points: Float[Array, "4 k"],
) -> tuple[Float[Array, "12 k"], Float[Array, "block 4 k"]]:
    """The state after the rows of one block, from the last, and the entries of x that it went through.

    `state` is x at both points of a pair, or its real and imaginary part; dx/dz; |x|_1 and |x|_inf since the last cut;
    the least backward error of all cuts; and powers of two by which all was scaled so far, as x grows by up to 1 /
    precision a row. `own` is a, 0 below the diagonal, `below` b, and `factors` are s, the weight of x_i in the norms,
    and what turns x_{i-1} into the backward error of a cut, 0 where none is. `points` say whether both are real, and
    are the two real parts and the imaginary part of the first. Valid for whole numbers of
    `_STEP` rows and `LANES` pairs.
    """
    return jax.lax.platform_dependent(own, factors, below, state, points, cuda=_in_kernel, default=_in_loop)


def _next_rows(sums, square, factors, state, points):
    """A few rows, from the last, given the sums over what lies below them.

    Returns the state, the entries that were gone through and by what these, as all before, are still to be scaled.
    """
    real, a, b, turn = points
    x, total, largest, least, scale = state[:4], state[4:6], state[6:8], state[8:10], state[10:]
    tiny = float(jnp.finfo(x[0].dtype).tiny) ** 0.9

    def of_pairs(first, second, joined):
        return jnp.where(real != 0, first, joined), jnp.where(real != 0, second, joined)

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
        least = [jnp.where(ends & ~(miss > old), miss, old) for miss, old in zip(misses, least, strict=True)]
        total, largest = ([jnp.where(ends, 0.0, t) for t in sizes] for sizes in (total, largest))

    first, second = (jnp.maximum(jnp.abs(x[c]), jnp.abs(x[c + 2])) for c in range(2))
    down = [_power_below(size) for size in of_pairs(first, second, jnp.maximum(first, second))]
    x = [down[c % 2] * x[c] for c in range(4)]
    total, largest, scale = ([f * t for f, t in zip(down, s, strict=True)] for s in (total, largest, scale))
    return [*x, *total, *largest, *least, *scale], [new[i] for i in range(len(sums))], down


def _power_below(size):
    """A power of two that brings the size to 2^20 or less, if that is needed: exact, and without logarithms."""
    top = 128 if size.dtype == jnp.float32 else 1024
    factor = jnp.ones_like(size)
    for power in range(20, top, 20):
        factor = jnp.where(size > 2.0**power, 2.0**-power, factor)
    return factor


def _all_rows(block, rows, own, factors, below, state, points):
    """The state and the entries after all rows of a block, whose arguments are arrays or what a kernel has for them."""

    def add(k, carry):
        state, entries = carry
        places = [block - _STEP * (k + 1) + i for i in range(_STEP)]
        sums = []
        for i in places:
            weighted = [jnp.sum(own[i, :][:, None] * column, 0) for column in entries]
            sums.append([weighted[c] + state[10 + c % 2] * below[i, c, :] for c in range(4)])
        square = [[own[i, j] for j in places] for i in places]
        state, new, down = _next_rows(sums, square, [[factors[c, i] for c in range(3)] for i in places], state, points)
        for i, x in zip(places, new, strict=True):
            entries = [jnp.where(rows == i, x[c][None], entries[c]) for c in range(4)]
        return state, [down[c % 2][None] * entries[c] for c in range(4)]

    start = [jnp.zeros((block, state[0].shape[0]), state[0].dtype)] * 4
    return jax.lax.fori_loop(0, block // _STEP, add, (state, start))


def _in_loop(own, factors, below, state, points):
    block = own.shape[0]
    state, entries = _all_rows(block, jnp.arange(block)[:, None], own, factors, below, list(state), list(points))
    return jnp.stack(state), jnp.stack(entries, 1)


def _in_kernel(own, factors, below, state, points, interpret=False):
    try:  # experimental, and announced to move
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton
    except ImportError:
        return _in_loop(own, factors, below, state, points)

    block, k = below.shape[0], below.shape[-1]

    def kernel(own, factors, below, state, points, state_out, entries_out):
        rows = jax.lax.broadcasted_iota(jnp.int32, (block, LANES), 0)
        start, at = [state[c, :] for c in range(_STATE)], [points[c, :] for c in range(4)]
        final, entries = _all_rows(block, rows, own, factors, below, start, at)
        for c in range(_STATE):
            state_out[c, :] = final[c]
        for c in range(4):
            entries_out[:, c, :] = entries[c]

    def all_of(a):
        return pl.BlockSpec(a.shape, lambda lane: (0,) * a.ndim)

    def lanes_of(a):
        return pl.BlockSpec((*a.shape[:-1], LANES), lambda lane: (*(0,) * (a.ndim - 1), lane))

    return pl.pallas_call(
        kernel,
        out_shape=(jax.ShapeDtypeStruct(state.shape, state.dtype), jax.ShapeDtypeStruct(below.shape, below.dtype)),
        grid=(k // LANES,),
        in_specs=[all_of(own), all_of(factors), lanes_of(below), lanes_of(state), lanes_of(points)],
        out_specs=(lanes_of(state), lanes_of(below)),
        compiler_params=triton.CompilerParams(num_warps=2),
        interpret=interpret,
    )(own, factors, below, state, points)
