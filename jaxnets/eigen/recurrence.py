r"""The characteristic polynomial p of a Hessenberg matrix H at many points z, by Hyman's recurrence.

$$ (H - z)\, x = p(z)\, e_1, \qquad x_n = 1 $$

solved from the last row upwards for all z together. Rows are gathered in blocks, and blocks in groups, so that nearly
all of the work is in products of H with many vectors; what remains, row after row within a block, is `block_solver`.
The recurrence gives p'/p, and the backward error of z: it is an eigenvalue of H + E with |E| = |p| / |x|.

Source: Wilkinson 1965.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from .._numerics import as_complex
from . import block_solver
from .block_solver import Factors, Points, State

# How the rows are gathered. Measured on CPUs and by counts of kernels and bytes alone: README.md.
_BLOCK = 32  # rows that are solved one after the other; a kernel holds them
_GROUP = 4  # blocks for which one product of matrices gathers what lies below them
_SEGMENTS = 3  # times that the columns of this product are cut to those that are known; each compiles anew


class Matrix(eqx.Module):
    """A Hessenberg matrix without vanishing subdiagonal entries, by which Hyman's recurrence divides.

    Those that do vanish are replaced at will, once what couples both sides above is 0: `first` marks the first rows of
    such parts, and `isolated` the parts of one row, whose diagonal entry is an eigenvalue.
    """

    upper: Float[Array, "n n"]  # H[i, j] for j >= i
    below: Float[Array, " n"]  # H[i, i-1], and below[0] = 1
    first: Bool[Array, " n"]
    isolated: Bool[Array, " n"]
    precision: Float[Array, ""]  # the backward error that is rounding

    def part(self, rows: slice) -> "Matrix":
        """Some rows and their columns."""
        first = self.first[rows].at[0].set(True)
        return Matrix(self.upper[rows, rows], self.below[rows], first, self.isolated[rows], self.precision)


def separated(H, norm) -> Matrix:
    """`norm` is the root mean square of the norms of rows of the matrix that H was rounded from."""
    n = H.shape[0]
    precision = 2 * jnp.finfo(H.dtype).eps * jnp.maximum(norm, 0.5)
    below = jnp.diagonal(H, -1)
    small = jnp.abs(below) <= precision * n**0.5  # of the Frobenius norm
    edge = jnp.ones(1, bool)
    first, last = jnp.concatenate([edge, small])[:n], jnp.concatenate([small, edge])[:n]
    part = jnp.cumsum(first.astype(int))
    upper = jnp.where(part[:, None] == part[None], jnp.triu(H), 0)
    below = jnp.concatenate([jnp.ones(1, H.dtype), jnp.where(small, 1, below)])[:n]
    return Matrix(upper, below, first, first & last, precision)


class _Block(eqx.Module):
    """The rows of one block, or of many, divided by their subdiagonal entries: `own` columns, others of the group."""

    beside: Float[Array, "*blocks block group"]
    own: Float[Array, "*blocks block block"]
    factors: Factors


class Groups(eqx.Module):
    """Groups of blocks in the order of the recurrence, and their columns in the group below and beyond that."""

    near: Float[Array, "groups group group"]
    far: Float[Array, "groups group known"]
    blocks: _Block


def prepared(matrix: Matrix) -> list[Groups]:
    """The group of the last rows, and segments of groups above it."""
    n = matrix.below.shape[0]
    blocks = -(-n // _BLOCK)
    groups = -(-blocks // _GROUP)
    each = -(-blocks // groups)
    blocks, group = groups * each, each * _BLOCK
    pad = groups * group - n

    def padded(a):
        return jnp.concatenate([jnp.full(pad, a[0]), a])

    # Rows of isolated eigenvalues, and those in front of the matrix, hand x on: 0 x_i + 1 x_i = 1 x_{i-1}.
    idle = jnp.concatenate([jnp.ones(pad, bool), matrix.isolated])
    below, first = padded(matrix.below), padded(matrix.first)
    rows = jnp.where(jnp.diag(idle), -1, jnp.pad(matrix.upper, ((pad, 0), (pad, 0))) / below[:, None])
    place = jnp.arange(groups)
    grid = rows.reshape(groups, group, groups, group)
    beside = grid[place, :, place].reshape(blocks, _BLOCK, group)
    inner = jnp.arange(blocks)
    own = rows.reshape(blocks, _BLOCK, blocks, _BLOCK)[inner, :, inner]
    factors = Factors(shift=1 / below, weight=jnp.ones_like(below), cut=jnp.where(first, below, 0))
    factors = jax.tree.map(lambda factor: jnp.where(idle, 0, factor).reshape(blocks, _BLOCK), factors)
    parts = jax.tree.map(lambda a: a.reshape(groups, each, *a.shape[1:])[::-1, ::-1], _Block(beside, own, factors))
    columns = rows.reshape(groups, group, -1)[::-1]
    near = jnp.pad(columns, ((0, 0), (0, 0), (0, group))).reshape(groups, group, groups + 1, group)
    near = near[place, :, groups - place]

    def some(start, stop) -> Groups:
        far = columns[start:stop, :, (groups - stop + 1) * group :]
        return Groups(near[start:stop], far, jax.tree.map(lambda a: a[start:stop], parts))

    segments, start = [some(0, 1)], 1
    for remaining in range(min(groups - 1, _SEGMENTS), 0, -1):
        stop = start - (start - groups) // remaining
        segments.append(some(start, stop))
        start = stop
    return segments


class Evaluated(eqx.Module):
    """p' / p at pairs of points, or infinity where p = 0, and their backward errors."""

    rate: Complex[Array, "k 2"]
    miss: Float[Array, "k 2"]


def evaluated(segments: list[Groups], z: Complex[Array, "k 2"]) -> Evaluated:
    """p'/p at k pairs of points, each real or conjugate."""
    k, dtype, group = z.shape[0], segments[0].near.dtype, segments[0].near.shape[1]
    z = jnp.pad(z, ((0, -k % block_solver.LANES), (0, 0)), constant_values=1)
    real = z[:, 0].imag == 0
    points = Points(real.astype(dtype), z[:, 0].real, z[:, 1].real, z[:, 0].imag)
    state, shape = block_solver.at_start(points), (4, z.shape[0])  # of x and dx/dz

    def add_group(carry, groups: Groups):
        state, last, known, first = carry
        gathered = jnp.tensordot(groups.near, last, 1) + jnp.tensordot(groups.far, known, 1)
        state, new, scale = _solve_group(groups.blocks, gathered, state, points)
        # Apart, or the compiler joins both and copies all for it.
        known = jax.lax.optimization_barrier(known * scale[None])
        known = jax.lax.dynamic_update_slice(known, last * scale[None], (first, 0, 0))
        return (state, new, known, first - group), None

    bottom = jax.tree.map(lambda a: a[0], segments[0].blocks)
    state, last, _ = _solve_group(bottom, jnp.zeros((group, *shape), dtype), state, points)
    known = jnp.zeros((0, *shape), dtype)
    for groups in segments[1:]:
        more = groups.far.shape[2] - known.shape[0]
        known = jnp.concatenate([jnp.zeros((more, *shape), dtype), known])
        (state, last, known, _), _ = jax.lax.scan(add_group, (state, last, known, jnp.array(more - group)), groups)
    return _of_pairs(jax.tree.map(lambda rows: rows[:, :k], state), real[:k])


def _of_pairs(state: State, real: Bool[Array, " k"]) -> Evaluated:
    """What the last state says of p at both points of each pair."""
    p, slope, least = (jnp.asarray(rows) for rows in (state.x, state.slope, state.error))
    p = jnp.where(jnp.isnan(least), jnp.nan, p)
    complex_p = jax.lax.complex(p[0], p[1])
    rate = jax.lax.complex(slope[0], slope[1]) / jnp.where(complex_p == 0, 1, complex_p)
    rate = jnp.where(complex_p == 0, jnp.inf, rate)
    real_rate = as_complex(jnp.where(p == 0, jnp.inf, slope / jnp.where(p == 0, 1, p)))
    return Evaluated(jnp.where(real[:, None], real_rate.T, jnp.stack([rate, jnp.conj(rate)], 1)), least.T)


def _solve_group(blocks: _Block, gathered, state: State, points: Points):
    """Entries of x that belong to the rows of a group, from its last.

    `gathered` is the part of H x that lies below the group. Returns the state, the entries, and the factor by which x
    was scaled since.
    """

    def add_block(carry, xs):
        state, solved, total = carry
        block, row = xs
        below = total[None] * jax.lax.dynamic_slice_in_dim(gathered, row, _BLOCK)
        below = below + jnp.tensordot(block.beside, solved, 1)
        unscaled = state._replace(scale=jnp.ones_like(state.scale))
        state, entries = block_solver.solve_block(block.own, block.factors, below, unscaled, points)
        scale = jnp.tile(jnp.asarray(state.scale), (2, 1))
        solved = jax.lax.dynamic_update_slice_in_dim(solved * scale[None], entries, row, 0)
        return (state, solved, total * scale), None

    starts = _BLOCK * jnp.arange(blocks.own.shape[0])[::-1]
    start = (state, jnp.zeros_like(gathered), jnp.ones_like(gathered[0]))
    return jax.lax.scan(add_block, start, (blocks, starts))[0]
