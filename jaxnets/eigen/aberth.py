r"""All eigenvalues of a Hessenberg matrix at once, by Ehrlich-Aberth iteration on its characteristic polynomial p.

$$ z_i \leftarrow z_i - \frac{N_i}{1 - N_i S_i}, \qquad N_i = \frac{p(z_i)}{p'(z_i)}, \quad
   S_i = \sum_{j \ne i} \frac{1}{z_i - z_j} $$

p and p' come from Hyman's recurrence: (H - z) x = p e_1, solved from the last row upwards for all z together, so that
nearly all work is in products of H with many vectors. No step depends on the values, as the shifts of QR do: a batch of
matrices takes the same steps, which is what a GPU needs. The recurrence also gives the backward error of each z: it is
an eigenvalue of H + E with |E| = |p| / |x|, and once this is rounding z has arrived.

The eigenvalues of a real matrix come as real numbers and conjugate pairs, and roots move from one kind to the other.
Here roots are kept in pairs, each the two roots of one real quadratic, real or conjugate: the matrix acts on two real
vectors a pair, and what is said to be real is so exactly. Pairs of real roots are formed anew in each sweep.

Source: Bini, Gemignani & Tisseur 2005 (also for the guesses from the two halves of the matrix); Wilkinson 1965; Bini
1996 for guesses at the moduli of the roots, here from the number of roots within circles.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from .._numerics import as_complex
from . import block_solver

_BLOCK = 32  # rows of the recurrence that are solved one after the other
_GROUP = 4  # blocks for which one product of matrices gathers what lies below them
_SEGMENTS = 3  # times that the columns of this product are cut to those that are known
_SMALLEST = 32  # halves are not halved again at this size
_SWEEPS = 60  # networks need up to 30
_FAR = 2.0**40  # where a root is put that is none, to sort it last
_GOLDEN = 0.6180339887498949


class Roots(eqx.Module):
    """Eigenvalues and what is known of their errors.

    The residual is the larger of the misses of sum z and of sum z^2, which are traces, in units of the root mean square
    of the norms of rows. Converged: all corrections or backward errors have reached the precision, and the residual its
    square root, which no set does that holds one eigenvalue twice and another not.
    """

    values: Complex[Array, " n"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    sweeps: Int[Array, ""]


@jax.default_matmul_precision("highest")
def hessenberg_eigenvalues(H: Float[Array, "n n"], guesses: Complex[Array, " n"] | None = None) -> Roots:
    """Eigenvalues of a real upper Hessenberg matrix, conjugates next to each other and real ones last.

    `guesses` are any n points, conjugate pairs or real; without them the eigenvalues of the two halves of the matrix
    are found to some digits first, and those of their halves, at a third of the cost. Subdiagonal entries below two
    machine precisions times the Frobenius norm are taken for 0. Where H is not finite nothing converges.
    Not for reverse-mode differentiation.
    """
    finite = jnp.all(jnp.isfinite(H))
    H = jnp.where(finite, H, 0)
    norm = _rms_row(H)
    # A cluster far from 0 is resolved as well as one at 0.
    centre = jnp.median(jnp.diagonal(H))
    centre = jnp.where(_rms_row(_shifted(H, centre)) < norm / 8, centre, 0)
    shifted = _shifted(H, centre)
    size = _rms_row(shifted)
    # A power of two, so that nothing is rounded.
    unit = jnp.ldexp(jnp.ones((), H.dtype), jnp.frexp(jnp.where(size > 0, size, 1))[1])
    matrix = _separated(shifted / unit, norm / unit)
    if guesses is None:
        start = _halved(matrix)
    else:
        start = _given((guesses - as_complex(centre)) / as_complex(unit), matrix)
    roots, settled, sweeps = _iterate(matrix, start)
    residual = _trace_misses(shifted / unit, roots.z) * unit / jnp.where(norm > 0, norm, 1)
    converged = finite & settled & (residual <= jnp.sqrt(jnp.finfo(H.dtype).eps).astype(H.dtype))
    return Roots(roots.z * as_complex(unit) + as_complex(centre), residual, converged, sweeps)


def _shifted(H, centre):
    return H - centre * jnp.eye(H.shape[0], dtype=H.dtype)


def _rms_row(H):
    largest = jnp.max(jnp.abs(H))
    safe = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.sum((H / safe) ** 2) / H.shape[0])


def _trace_misses(H, z):
    below, above = jnp.diagonal(H, -1), jnp.diagonal(H, 1)
    first = jnp.sum(z).real - jnp.trace(H)
    second = jnp.sum(z**2).real - jnp.sum(jnp.diagonal(H) ** 2) - 2 * jnp.sum(below * above)
    return jnp.maximum(jnp.abs(first), jnp.abs(second))


# --- the matrix -----------------------------------------------------------------------------------------------


class _Matrix(eqx.Module):
    """A Hessenberg matrix without vanishing subdiagonal entries, by which Hyman's recurrence divides.

    Those that do vanish are replaced at will, once what couples both sides above is 0: `first` marks the first rows of
    such parts, and `isolated` those of one row, whose diagonal entry is an eigenvalue.
    """

    upper: Float[Array, "n n"]  # H[i, j] for j >= i
    below: Float[Array, " n"]  # H[i, i-1], and below[0] = 1
    first: Bool[Array, " n"]
    isolated: Bool[Array, " n"]
    precision: Float[Array, ""]  # the backward error that is rounding

    def part(self, rows: slice) -> "_Matrix":
        """Some rows and their columns."""
        first = self.first[rows].at[0].set(True)
        return _Matrix(self.upper[rows, rows], self.below[rows], first, self.isolated[rows], self.precision)


def _separated(H, norm) -> _Matrix:
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
    return _Matrix(upper, below, first, first & last, precision)


class _Guesses(eqx.Module):
    """Conjugate pairs next to each other and real numbers; `exact` ones are isolated eigenvalues."""

    z: Complex[Array, " n"]
    exact: Bool[Array, " n"]


# --- p and p' by Hyman's recurrence -----------------------------------------------------------------------------


class _Block(eqx.Module):
    """The rows of one block, or of many, divided by their subdiagonal entries: `own` columns and those of the group."""

    beside: Float[Array, "*blocks block group"]
    own: Float[Array, "*blocks block block"]
    factors: Float[Array, "*blocks 4 block"]  # as `solve_block` takes them


class _Groups(eqx.Module):
    """Groups of blocks in the order of the recurrence, and their columns in the group below and beyond that."""

    near: Float[Array, "groups group group"]
    far: Float[Array, "groups group known"]
    blocks: _Block


def _prepared(matrix: _Matrix) -> list[_Groups]:
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
    factors = jnp.stack([1 / below, jnp.ones_like(below), jnp.where(first, below, 0), jnp.zeros_like(below)])
    factors = jnp.where(idle[None], 0, factors).reshape(4, blocks, _BLOCK).transpose(1, 0, 2)
    parts = jax.tree.map(lambda a: a.reshape(groups, each, *a.shape[1:])[::-1, ::-1], _Block(beside, own, factors))
    columns = rows.reshape(groups, group, -1)[::-1]
    near = jnp.pad(columns, ((0, 0), (0, 0), (0, group))).reshape(groups, group, groups + 1, group)
    near = near[place, :, groups - place]

    def some(start, stop) -> _Groups:
        far = columns[start:stop, :, (groups - stop + 1) * group :]
        return _Groups(near[start:stop], far, jax.tree.map(lambda a: a[start:stop], parts))

    segments, start = [some(0, 1)], 1
    for remaining in range(min(groups - 1, _SEGMENTS), 0, -1):
        stop = start - (start - groups) // remaining
        segments.append(some(start, stop))
        start = stop
    return segments


class _Evaluated(eqx.Module):
    """p' / p at pairs of points, or infinity where p = 0, and their backward errors."""

    rate: Complex[Array, "k 2"]
    miss: Float[Array, "k 2"]


def _evaluated(segments: list[_Groups], z: Complex[Array, "k 2"]) -> _Evaluated:
    """At k pairs of points, each real or conjugate."""
    k, dtype, group = z.shape[0], segments[0].near.dtype, segments[0].near.shape[1]
    z = jnp.pad(z, ((0, -k % block_solver.LANES), (0, 0)), constant_values=1)
    real = z[:, 0].imag == 0
    points = jnp.stack([real.astype(dtype), z[:, 0].real, z[:, 1].real, z[:, 0].imag])
    # At a pair of real points, or for the real and imaginary part at one complex point; the last entry of x is 1.
    zero, one = jnp.zeros_like(points[0]), jnp.ones_like(points[0])
    x = jnp.stack([one, points[0], zero, zero])
    state = jnp.concatenate([x, jnp.stack([zero, zero, zero, zero, one / 0, one / 0, one, one])])

    def add_group(carry, groups: _Groups):
        state, last, known, first = carry
        gathered = jnp.tensordot(groups.near, last, 1) + jnp.tensordot(groups.far, known, 1)
        state, new, scale = _solve_group(groups.blocks, gathered, state, points)
        # Apart, or the compiler joins both and copies all for it.
        known = jax.lax.optimization_barrier(known * scale[None])
        known = jax.lax.dynamic_update_slice(known, last * scale[None], (first, 0, 0))
        return (state, new, known, first - group), None

    bottom = jax.tree.map(lambda a: a[0], segments[0].blocks)
    state, last, _ = _solve_group(bottom, jnp.zeros((group, *x.shape), dtype), state, points)
    known = jnp.zeros((0, *x.shape), dtype)
    for groups in segments[1:]:
        more = groups.far.shape[2] - known.shape[0]
        known = jnp.concatenate([jnp.zeros((more, *x.shape), dtype), known])
        (state, last, known, _), _ = jax.lax.scan(add_group, (state, last, known, jnp.array(more - group)), groups)

    x, least = state[:4, :k], state[8:10, :k]
    p, slope = jnp.where(jnp.isnan(least), jnp.nan, x[:2]), x[2:]
    complex_p = jax.lax.complex(p[0], p[1])
    rate = jax.lax.complex(slope[0], slope[1]) / jnp.where(complex_p == 0, 1, complex_p)
    rate = jnp.where(complex_p == 0, jnp.inf, rate)
    real_rate = as_complex(jnp.where(p == 0, jnp.inf, slope / jnp.where(p == 0, 1, p)))
    return _Evaluated(jnp.where(real[:k, None], real_rate.T, jnp.stack([rate, jnp.conj(rate)], 1)), least.T)


def _solve_group(blocks: _Block, gathered, state, points):
    """Entries of x that belong to the rows of a group, from its last.

    `gathered` is what lies below the group in H x. Returns the state, the entries, and by what x was scaled since.
    """

    def add_block(carry, xs):
        state, solved, total = carry
        block, row = xs
        below = total[None] * jax.lax.dynamic_slice_in_dim(gathered, row, _BLOCK)
        below = below + jnp.tensordot(block.beside, solved, 1)
        state, entries = block_solver.solve_block(block.own, block.factors, below, state.at[10:].set(1), points)
        scale = jnp.concatenate([state[10:], state[10:]])
        solved = jax.lax.dynamic_update_slice_in_dim(solved * scale[None], entries, row, 0)
        return (state, solved, total * scale), None

    starts = _BLOCK * jnp.arange(blocks.own.shape[0])[::-1]
    start = (state, jnp.zeros_like(gathered), jnp.ones_like(gathered[0]))
    return jax.lax.scan(add_block, start, (blocks, starts))[0]


# --- the iteration --------------------------------------------------------------------------------------------


class _State(eqx.Module):
    """Roots two by two, each pair conjugate or real, and whether each has settled.

    Some are there to fill a pair: isolated eigenvalues, and a number far away if n is odd. They pull at no other root.
    """

    z: Complex[Array, "m 2"]
    filler: Bool[Array, "m 2"]
    settled: Bool[Array, "m 2"]
    sweeps: Int[Array, ""]


def _iterate(matrix: _Matrix, guesses: _Guesses, rough: bool = False) -> tuple[_Guesses, Bool[Array, ""], Array]:
    """Roots to the precision, whether all have settled, and the number of sweeps.

    Roots that have settled stay where they are. Once they are three in four, the others are taken on in arrays of
    their own number: most need 6 sweeps, and a few need 15. `rough` ones settle at a twentieth of the distance to the
    nearest other, and one in eight is left unsettled.
    """
    n = guesses.z.shape[0]
    m = -(-n // 2)
    few = max(4, -(-m // 4))
    segments = _prepared(matrix)
    z = jnp.pad(guesses.z, (0, 2 * m - n), constant_values=_FAR).reshape(m, 2)
    filler = jnp.pad(guesses.exact, (0, 2 * m - n), constant_values=True).reshape(m, 2)
    state = _State(z, filler, filler, jnp.zeros((), int))

    def until(unsettled, pairs, state):
        def more(state):
            return (jnp.sum(~state.settled) > unsettled) & (state.sweeps < _SWEEPS)

        return jax.lax.while_loop(
            more, lambda state: _sweep(segments, matrix.precision, _sorted(state), pairs, rough), state
        )

    if rough:
        state = until(n // 8, m, state)
    elif few >= m:
        state = until(0, m, state)
    else:
        state = until(0, few, until(2 * few, m, state))
    z = state.z.reshape(-1)
    # Conjugate pairs next to each other, then real numbers, of which the last is not a root if n is odd.
    order = jnp.lexsort((jnp.where(z.imag == 0, z.real, 0), z.imag == 0))
    return _Guesses(z[order][:n], state.filler.reshape(-1)[order][:n]), jnp.all(state.settled), state.sweeps


def _sorted(state: _State) -> _State:
    """Unsettled pairs first. Real roots are paired with neighbours, settled or not as they are, one pair apart."""
    z, settled = state.z.reshape(-1), state.settled.reshape(-1)
    real = z.imag == 0
    kind = jnp.where(settled, jnp.where(real, 2, 3), jnp.where(real, 1, 0))
    order = jnp.lexsort((jnp.where(real, z.real, 0), kind))
    return eqx.tree_at(
        lambda s: (s.z, s.filler, s.settled),
        state,
        replace_fn=lambda leaf: leaf.reshape(-1)[order].reshape(leaf.shape),
    )


def _sweep(segments: list[_Groups], precision, state: _State, pairs: int, rough: bool) -> _State:
    """One correction of the first `pairs` pairs."""
    z, settled = state.z[:pairs], state.settled[:pairs]
    gaps = z.reshape(-1)[:, None] - state.z.reshape(-1)[None]
    none = state.filler.reshape(-1)[None] | (gaps == 0)
    pull = jnp.where(none, 0, 1 / jnp.where(none, 1, gaps))
    crowd = jnp.sum(jnp.abs(pull), 1).reshape(pairs, 2)
    nearest = jnp.max(jnp.abs(pull), 1).reshape(pairs, 2)
    pull = jnp.sum(pull, 1).reshape(pairs, 2)

    # Two unsettled roots of a pair move as the roots of one quadratic; one beside a settled one moves alone.
    together = ~jnp.any(settled, 1, keepdims=True)
    half = (z[:, :1] - z[:, 1:]) / 2
    half = jnp.where(half == 0, 1, half)  # exact multiple roots
    side = jnp.asarray([1.0, -1.0], z.dtype)[None]
    at = _evaluated(segments, jnp.where(settled & (z.imag == 0), z[:, ::-1], z))  # not at what may be far away
    rate = at.rate - pull + jnp.where(together, side / (2 * half), 0)
    n = jnp.where(jnp.isinf(at.rate), 0, 1 / rate)
    moved = jnp.where(together, _quadratic(z, half, n), z - n)
    moved = jnp.where(~together & (z.imag == 0), as_complex(moved.real), moved)
    # No eigenvalue exceeds the Frobenius norm, and x might overflow there.
    bound = 2 * (2 * state.z.shape[0]) ** 0.5
    moved = moved * as_complex(jnp.minimum(1, bound / jnp.maximum(jnp.abs(moved), bound)))
    moved = jnp.where(settled | (n == 0) | ~jnp.isfinite(moved), z, moved)

    change = jnp.where(jnp.isfinite(n), jnp.abs(moved - z), jnp.inf)
    # The error left by a correction is of second order in it, and less once the others are right.
    small = (change <= precision / 2) | (change**2 * crowd <= precision / 2) | (change * nearest <= 0.05 * rough)
    done = settled | small | (at.miss <= precision)
    done = jnp.where((moved.imag != 0), jnp.all(done, 1, keepdims=True), done)

    def put(whole, part):
        return jax.lax.dynamic_update_slice(whole, part, (0, 0))

    return _State(put(state.z, moved), state.filler, put(state.settled, done), state.sweeps + 1)


def _quadratic(z: Complex[Array, "k 2"], half: Complex[Array, "k 1"], n: Complex[Array, "k 2"]):
    r"""The pairs of roots that explain the corrections n at both points of each.

    With all others divided out, p is the quadratic with roots r_1, r_2 if $1/n_i = 1/(z_i - r_1) + 1/(z_i - r_2)$:
    linear equations for the sum and the product of the roots, here relative to the centre of z_1, z_2.
    """
    n1, n2 = n[:, :1], n[:, 1:]
    divisor = 1 + (n2 - n1) / (2 * half)
    total = (-(n1 + n2) / divisor).real
    product = ((2 * n1 * n2 - (n2 - n1) * half) / divisor - half**2).real
    square = total**2 / 4 - product
    # Never 0: the two points would stay together.
    square = jnp.where(jnp.abs(square) < 1e-30, 1e-30, square)
    root = jnp.sqrt(as_complex(square))
    centre = as_complex((z[:, :1] + z[:, 1:]).real / 2 + total / 2)
    roots, swapped = (jnp.concatenate([centre + side, centre - side], 1) for side in (root, -root))

    def least_change(roots):
        return jnp.min(jnp.abs(roots - z), 1, keepdims=True)

    # A point that has arrived stays the same one, wherever the other goes.
    return jnp.where(least_change(swapped) < least_change(roots), swapped, roots)


# --- guesses --------------------------------------------------------------------------------------------------


def _halved(matrix: _Matrix) -> _Guesses:
    """Rough eigenvalues of the two halves of the matrix, from those of their halves, and so on."""
    n = matrix.below.shape[0]
    if n <= _SMALLEST:
        return _with_moduli(_disc(matrix), matrix)
    h = n // 2
    halves = jax.tree.map(lambda *x: jnp.stack(x), matrix.part(slice(0, h)), matrix.part(slice(n - h, n)))
    roots = jax.vmap(lambda half: _iterate(half, _halved(half), rough=True)[0])(halves)
    middle = slice(h, n - h)  # one entry for odd n
    guesses = _Guesses(
        jnp.concatenate([roots.z.reshape(-1), as_complex(jnp.diagonal(matrix.upper)[middle])]),
        jnp.concatenate([roots.exact.reshape(-1), matrix.isolated[middle]]),
    )
    return _apart(_with_moduli(guesses, matrix))


def _disc(matrix: _Matrix) -> _Guesses:
    """Points spread evenly over the unit disc."""
    n = matrix.below.shape[0]
    pair = (jnp.arange(n) // 2).astype(matrix.below.dtype)
    distance = jnp.sqrt((2 * pair + 1) / n)
    angle = jnp.pi * (0.02 + 0.96 * (_GOLDEN * pair % 1))
    points = jax.lax.complex(distance * jnp.cos(angle), distance * jnp.sin(angle))
    points = jnp.where(jnp.arange(n) % 2 == 0, points, jnp.conj(points))
    return _with_isolated(points, matrix)


def _with_moduli(guesses: _Guesses, matrix: _Matrix) -> _Guesses:
    r"""Guesses of which as many lie within each of a number of circles around 0 as there are roots.

    $$ n(r) = \frac{1}{2 \pi i} \oint_{|z| = r} \frac{p'(z)}{p(z)}\, dz $$

    by a few points a circle. Roots far outside of a cluster approach it by a part 2 / (roots in it) a sweep, so that
    eigenvalues of many orders of magnitude need guesses of each. Guesses that are nearly right are left.
    """
    z = guesses.z
    dtype, angles = z.real.dtype, 6
    # From the Frobenius norm, in which most lie closely below 1, down to rounding.
    n = z.shape[0]
    fine = 2 * n**0.5 * 2.0 ** -np.arange(0, 9, 0.5)
    smallest = float(jnp.finfo(dtype).eps) / 4
    radii = jnp.asarray(np.concatenate([fine, np.geomspace(fine[-1], smallest, 16)[1:-1]]), dtype)
    circle = jnp.asarray(np.exp(1j * np.pi * (np.arange(angles) + 0.5) / angles), z.dtype)
    points = (as_complex(radii)[:, None] * circle[None]).reshape(-1)
    rate = _evaluated(_prepared(matrix), jnp.stack([points, jnp.conj(points)], 1)).rate[:, 0]
    total = jnp.sum(~guesses.exact).astype(dtype)
    inside = (points * rate).real.reshape(radii.shape[0], angles)
    inside = jnp.mean(jnp.where(jnp.isfinite(inside), inside, total / 2), 1)
    # Both ways to a function that falls with r: points next to a root are off by any number.
    inside = jnp.clip(inside, 0, total)
    inside = (jax.lax.cummin(inside) + jax.lax.cummax(inside, reverse=True)) / 2
    size = jnp.abs(z)
    guessed = jnp.sum(~guesses.exact[None] & (size[None] < radii[:, None]), 1).astype(dtype)

    def interpolated(x, xs, ys):  # in logarithms, in which an even density is a straight line
        return jnp.exp2(jnp.interp(jnp.log2(x), jnp.log2(xs), jnp.log2(ys)))

    few = 0.05
    rank = interpolated(jnp.maximum(size, smallest), radii[::-1], jnp.maximum(guessed, few)[::-1])
    increasing = jnp.maximum(inside, few)[::-1] * (1 + 1e-6 * jnp.arange(radii.shape[0]).astype(dtype))
    moved = z * as_complex(interpolated(rank, increasing, radii[::-1]) / jnp.maximum(size, smallest))
    wrong = jnp.max(jnp.abs(inside - guessed)) > 3 + 0.05 * total
    return _Guesses(jnp.where(wrong & ~guesses.exact, moved, z), guesses.exact)


def _given(guesses: Complex[Array, " n"], matrix: _Matrix) -> _Guesses:
    """Points of the upper half plane, each followed by its conjugate, then real parts of the rest."""
    n = guesses.shape[0]
    kind = jnp.where(guesses.imag > 0, 0, jnp.where(guesses.imag == 0, 1, 2))
    guesses = guesses[jnp.argsort(kind)]
    upper = jnp.minimum(jnp.sum(kind == 0), n // 2)
    place = jnp.arange(n)
    pair = guesses[place // 2]
    pair = jnp.where(place % 2 == 0, pair, jnp.conj(pair))
    points = jnp.where(place < 2 * upper, pair, as_complex(guesses[place - upper].real))
    return _apart(_with_moduli(_with_isolated(points, matrix), matrix))


def _with_isolated(points: Complex[Array, " n"], matrix: _Matrix) -> _Guesses:
    """Isolated eigenvalues in the place of the last points; conjugates are next to each other from the first on."""
    n = points.shape[0]
    place, count = jnp.arange(n), jnp.sum(matrix.isolated)
    eigenvalues = jnp.diagonal(matrix.upper)[jnp.argsort(matrix.isolated)]
    alone = (place == n - count - 1) & (place % 2 == 0)
    points = jnp.where(alone, as_complex(points.real), points)
    exact = place >= n - count
    return _Guesses(jnp.where(exact, as_complex(eigenvalues), points), exact)


def _apart(guesses: _Guesses) -> _Guesses:
    """Guesses that coincide with earlier ones moved away, or none could leave the other."""
    z = guesses.z
    size = jnp.maximum(jnp.abs(z), jnp.finfo(z.dtype).eps)
    index = jnp.arange(z.shape[0])
    close = (jnp.abs(z[:, None] - z[None]) < 1e-6 * size[:, None]) & (index[None] < index[:, None])
    close = jnp.any(close & ~guesses.exact[None], 1) & ~guesses.exact
    pair = jnp.where(z.imag < 0, index, index + 1).astype(size.dtype)
    away = 0.05 * size * (_GOLDEN * pair % 1 - 0.5)
    return _Guesses(z + as_complex(jnp.where(close, away, 0)), guesses.exact)
