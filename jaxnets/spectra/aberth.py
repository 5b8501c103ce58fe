r"""All eigenvalues of a Hessenberg matrix at once, by Ehrlich-Aberth iteration on its characteristic polynomial p.

$$ z_i \leftarrow z_i - \frac{N_i}{1 - N_i S_i}, \qquad N_i = \frac{p(z_i)}{p'(z_i)}, \quad
   S_i = \sum_{j \ne i} \frac{1}{z_i - z_j} $$

p and p' come from Hyman's recurrence: (H - z) x = p e_1, solved from the last row upwards for all z together, so that
nearly all work is in products of H with many vectors. No step depends on the values, as the shifts of QR do: a batch of
matrices takes the same steps, which is what a GPU needs.

The eigenvalues of a real matrix come as real numbers and conjugate pairs, and roots move from one kind to the other.
Here roots are kept in pairs, each the two roots of one real quadratic, real or conjugate: the matrix acts on two real
vectors a pair, and what is said to be real is so exactly. Pairs of real roots are formed anew in each sweep.

Source: Bini, Gemignani & Tisseur 2005 (also for the guesses from the two halves of the matrix); Wilkinson 1965.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from .._numerics import as_complex

_BLOCK = 32  # rows of the recurrence for which one product of matrices gathers what lies below
_STEP = 8  # rows between rescalings
_CUT = 8  # blocks after which the columns that a product reads are cut to those that are known; at most 4 times
_SMALLEST = 40  # halves are not halved again at this size
_SWEEPS = 40  # networks need up to 20
_FAR = 2.0**40  # where a root is put that is none, to sort it last
_GOLDEN = 0.6180339887498949


class Roots(eqx.Module):
    """Eigenvalues and what is known of their errors.

    The residual is the larger of the misses of sum z and of sum z^2, which are traces, in units of the root mean square
    of the norms of rows. Converged: all corrections have reached the precision, and the residual its square root, which
    no set does that holds one eigenvalue twice and another not.
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
    size = _rms_row(H)
    # A power of two, so that nothing is rounded.
    unit = jnp.ldexp(jnp.ones((), H.dtype), jnp.frexp(jnp.where(size > 0, size, 1))[1])
    matrix = _balanced(H / unit, size / unit)
    start = _halved(matrix) if guesses is None else _given(guesses / unit.astype(guesses.dtype), matrix)
    roots, settled, sweeps = _iterate(matrix, start)
    z = roots.z
    residual = _trace_misses(H / unit, z) * unit / jnp.where(size > 0, size, 1)
    converged = finite & settled & (residual <= jnp.sqrt(jnp.finfo(H.dtype).eps).astype(H.dtype))
    return Roots(z * unit.astype(z.dtype), residual, converged, sweeps)


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
    """A Hessenberg matrix of rows of norm about 1, without small subdiagonal entries.

    `isolated` marks diagonal entries that are eigenvalues, because the subdiagonal vanishes on both sides.
    """

    upper: Float[Array, "n n"]
    below: Float[Array, " n"]  # the subdiagonal, below[i] = H[i, i-1], and below[0] = 1
    isolated: Bool[Array, " n"]


def _balanced(H, size) -> _Matrix:
    """H after the diagonal similarity by powers of two that lifts its small subdiagonal entries.

    Hyman's recurrence divides by them. One that vanishes is replaced at will, once what couples both sides above is 0.
    """
    n = H.shape[0]
    floor = 0.125
    entries = jnp.abs(jnp.diagonal(H, -1))
    small = entries <= 2 * jnp.finfo(H.dtype).eps * size * n**0.5  # of the Frobenius norm
    exponent = jnp.minimum(0, jnp.frexp(jnp.where(small, 1, entries) / floor)[1])
    lift = jnp.cumsum(jnp.concatenate([jnp.zeros(1, exponent.dtype), exponent]))
    cuts = jnp.cumsum(jnp.concatenate([jnp.zeros(1, int), small.astype(int)]))
    upper = jnp.where(cuts[:, None] == cuts[None], jnp.ldexp(jnp.triu(H), lift[None] - lift[:, None]), 0)
    below = jnp.where(small, floor, jnp.ldexp(jnp.diagonal(H, -1), -exponent))
    edge = jnp.ones(1, bool)
    isolated = jnp.concatenate([edge, small]) & jnp.concatenate([small, edge])
    return _Matrix(upper, jnp.concatenate([jnp.ones(1, H.dtype), below])[:n], isolated)


class _Guesses(eqx.Module):
    """Conjugate pairs next to each other and real numbers; `exact` ones are isolated eigenvalues."""

    z: Complex[Array, " n"]
    exact: Bool[Array, " n"]


# --- Newton corrections by Hyman's recurrence -----------------------------------------------------------------


def _newton(matrix: _Matrix, z: Complex[Array, "k 2"]) -> Complex[Array, "k 2"]:
    """p / p' at k pairs of points, each real or conjugate."""
    n, k, dtype = matrix.upper.shape[0], z.shape[0], matrix.upper.dtype
    blocks = -(-n // _BLOCK)
    pad = blocks * _BLOCK - n
    # Rows of isolated eigenvalues, and those in front of the matrix, hand x on: 0 x_i + 1 x_i = 1 x_{i-1}.
    idle = jnp.concatenate([jnp.ones(pad, bool), matrix.isolated])
    upper = jnp.where(jnp.diag(idle), -1, jnp.pad(matrix.upper, ((pad, 0), (pad, 0))))
    below = jnp.where(idle, 1, jnp.concatenate([jnp.ones(pad, dtype), matrix.below]))
    active = (~idle).astype(dtype)

    real = z[:, 0].imag == 0
    a, b, turn = z[:, 0].real, z[:, 1].real, z[:, 0].imag

    def times_z(x):
        """At a pair of real points, and for the real and imaginary part at one complex point."""
        return jnp.stack([a * x[0] - turn * x[1], turn * x[0] + b * x[1]])

    def scale_of(x):
        """Powers of two that bring x below 1, the same for both parts of a complex number."""
        largest = jnp.max(jnp.abs(x), 0)
        largest = jnp.where(real[None], largest, jnp.max(largest, 0, keepdims=True))
        return jnp.ldexp(jnp.ones_like(largest), -jnp.maximum(0, jnp.frexp(largest)[1]))

    # Axes: x and dx/dz; the two points, or parts; the pairs. The last entry of the vector is 1.
    x = jnp.zeros((2, 2, k), dtype).at[0].set(jnp.stack([jnp.ones(k, dtype), real.astype(dtype)]))
    known = jnp.zeros((0, 2, 2, k), dtype)
    start = blocks
    for left in range(min(blocks, 4, 1 + blocks // _CUT), 0, -1):
        stop = start - -(-start // left)
        first = stop * _BLOCK
        known = jnp.concatenate([jnp.zeros(((start - stop) * _BLOCK, 2, 2, k), dtype), known])

        def add_block(i, carry, first=first, start=start):
            x, known = carry
            row = (start - 1 - i) * _BLOCK
            rows = jax.lax.dynamic_slice(upper, (row, first), (_BLOCK, upper.shape[1] - first))
            square = jax.lax.dynamic_slice(upper, (row, row), (_BLOCK, _BLOCK))
            factors = jax.lax.dynamic_slice(jnp.stack([active, below]), (0, row), (2, _BLOCK))
            x, solved, scale = _solve_block(square, factors, jnp.tensordot(rows, known, 1), x, times_z, scale_of)
            known = known * scale[None, None]
            return x, jax.lax.dynamic_update_slice(known, solved, (row - first, 0, 0, 0))

        x, known = jax.lax.fori_loop(0, start - stop, add_block, (x, known))
        start = stop
    p, slope = x
    complex_step = _ratio(jax.lax.complex(p[0], p[1]), jax.lax.complex(slope[0], slope[1]))
    real_step = as_complex(jnp.where(p == 0, 0, p / jnp.where(slope == 0, jnp.nan, slope)))
    return jnp.where(real[:, None], real_step.T, jnp.stack([complex_step, jnp.conj(complex_step)], 1))


def _ratio(p, slope):
    return jnp.where(p == 0, 0, p / jnp.where(slope == 0, jnp.nan, slope))


def _solve_block(square, factors, gathered, x, times_z, scale_of):
    """Entries of x that belong to the rows of a block, from its last: (z x - H x)_i = H[i, i-1] x_{i-1}.

    `factors` are those of z, which are 0 where it is to be left out, and of x_{i-1}; `gathered` is what lies below the
    block in H x. All are scaled down by powers of two once they exceed 1.
    """

    def add_rows(i, carry):
        x, solved, gathered, scale = carry
        row = _BLOCK - _STEP * (i + 1)
        rows = jax.lax.dynamic_slice(square, (row, 0), (_STEP, _BLOCK))
        small = jax.lax.dynamic_slice(rows, (0, row), (_STEP, _STEP))
        present, divisor = jax.lax.dynamic_slice(factors, (0, row), (2, _STEP))
        Hx = jax.lax.dynamic_slice_in_dim(gathered, row, _STEP) + jnp.tensordot(rows, solved, 1)
        entries = []  # from the last
        for i in reversed(range(_STEP)):
            entries.append(x)
            Hx = Hx + small[:, i, None, None, None] * x[None]
            zx = jnp.stack([times_z(x[0]), times_z(x[1]) + x[0]])
            x = (present[i] * zx - Hx[i]) / divisor[i]
        down = scale_of(x)
        solved = jax.lax.dynamic_update_slice_in_dim(solved, jnp.stack(entries[::-1]), row, 0)
        return x * down[None], solved * down[None, None], gathered * down[None, None], scale * down

    start = (x, jnp.zeros_like(gathered), gathered, jnp.ones(x.shape[1:], x.dtype))
    x, solved, _, scale = jax.lax.fori_loop(0, _BLOCK // _STEP, add_rows, start)
    return x, solved, scale


# --- the iteration --------------------------------------------------------------------------------------------


class _State(eqx.Module):
    """Roots two by two, each pair conjugate or real; whether each has settled, and its last correction.

    Some are there to fill a pair: isolated eigenvalues, and a number far away if n is odd. They pull at no other root.
    """

    z: Complex[Array, "m 2"]
    filler: Bool[Array, "m 2"]
    settled: Bool[Array, "m 2"]
    change: Float[Array, "m 2"]
    sweeps: Int[Array, ""]


def _iterate(matrix: _Matrix, guesses: _Guesses, rough: bool = False) -> tuple[_Guesses, Bool[Array, ""], Array]:
    """Roots to the precision, whether all have settled, and the number of sweeps.

    Roots that have settled stay where they are. Once they are three in four, the others are taken on in arrays of
    their own number: most need 6 sweeps, and a few need 15. `rough` ones settle at a twentieth
    of the distance to the nearest other, and one in eight is left unsettled.
    """
    n = guesses.z.shape[0]
    m = -(-n // 2)
    few = max(4, -(-m // 4))
    z = jnp.pad(guesses.z, (0, 2 * m - n), constant_values=_FAR).reshape(m, 2)
    filler = jnp.pad(guesses.exact, (0, 2 * m - n), constant_values=True).reshape(m, 2)
    state = _State(z, filler, filler, jnp.full_like(z.real, jnp.inf), jnp.zeros((), int))

    def until(unsettled, pairs, state):
        def more(state):
            return (jnp.sum(~state.settled) > unsettled) & (state.sweeps < _SWEEPS)

        return jax.lax.while_loop(more, lambda state: _sweep(matrix, _sorted(state), pairs, rough), state)

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
        lambda s: (s.z, s.filler, s.settled, s.change),
        state,
        replace_fn=lambda leaf: leaf.reshape(-1)[order].reshape(leaf.shape),
    )


def _sweep(matrix: _Matrix, state: _State, pairs: int, rough: bool) -> _State:
    """One correction of the first `pairs` pairs."""
    z, settled, last = state.z[:pairs], state.settled[:pairs], state.change[:pairs]
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
    newton = _newton(matrix, jnp.where(settled & (z.imag == 0), z[:, ::-1], z))  # not at what may be far away
    n = newton / (1 - newton * (pull - jnp.where(together, side / (2 * half), 0)))
    moved = jnp.where(together, _quadratic(z, half, n), z - n)
    moved = jnp.where(~together & (z.imag == 0), as_complex(moved.real), moved)
    moved = jnp.where(settled | (n == 0) | ~jnp.isfinite(moved), z, moved)

    change = jnp.where(jnp.isfinite(n), jnp.abs(moved - z), jnp.inf)
    precision = jnp.finfo(change.dtype).eps
    # The error left by a correction is of second order in it, and less once the others are right.
    small = (change <= precision) | (change**2 * crowd <= precision) | (change * nearest <= 0.05 * rough)
    stalled = (change <= precision**0.5) & (change >= last)  # by rounding; multiple roots are slow, but go on
    done = settled | small | stalled
    done = jnp.where((moved.imag != 0), jnp.all(done, 1, keepdims=True), done)

    def put(whole, part):
        return jax.lax.dynamic_update_slice(whole, part, (0, 0))

    return _State(
        put(state.z, moved), state.filler, put(state.settled, done), put(state.change, change), state.sweeps + 1
    )


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
    n = matrix.upper.shape[0]
    if n <= _SMALLEST:
        return _apart(_disc(matrix))
    h = n // 2

    def part(rows):
        return _Matrix(matrix.upper[rows, rows], matrix.below[rows].at[0].set(1), matrix.isolated[rows])

    halves = jax.tree.map(lambda *x: jnp.stack(x), part(slice(0, h)), part(slice(n - h, n)))
    roots = jax.vmap(lambda half: _iterate(half, _halved(half), rough=True)[0])(halves)
    middle = slice(h, n - h)  # one entry for odd n
    return _apart(
        _Guesses(
            jnp.concatenate([roots.z.reshape(-1), as_complex(jnp.diagonal(matrix.upper)[middle])]),
            jnp.concatenate([roots.exact.reshape(-1), matrix.isolated[middle]]),
        )
    )


def _disc(matrix: _Matrix) -> _Guesses:
    """Points spread over the disc that has the mean and the mean square of the entries."""
    n = matrix.upper.shape[0]
    centre = jnp.mean(jnp.diagonal(matrix.upper))
    square = (jnp.sum(matrix.upper**2) + jnp.sum(matrix.below[1:] ** 2)) / n - centre**2
    radius = jnp.sqrt(jnp.maximum(square, 1e-6))
    pair = (jnp.arange(n) // 2).astype(centre.dtype)
    distance = radius * jnp.sqrt((2 * pair + 1) / n)
    angle = jnp.pi * (0.02 + 0.96 * (_GOLDEN * pair % 1))
    points = jax.lax.complex(centre + distance * jnp.cos(angle), distance * jnp.sin(angle))
    points = jnp.where(jnp.arange(n) % 2 == 0, points, jnp.conj(points))
    return _with_isolated(points, matrix)


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
    return _apart(_with_isolated(points, matrix))


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
    index = jnp.arange(z.shape[0])
    close = (jnp.abs(z[:, None] - z[None]) < 1e-6) & (index[None] < index[:, None]) & ~guesses.exact[None]
    close = jnp.any(close, 1) & ~guesses.exact
    pair = jnp.where(z.imag < 0, index, index + 1).astype(z.real.dtype)
    return _Guesses(z + as_complex(jnp.where(close, 0.05 * (_GOLDEN * pair % 1 - 0.5), 0)), guesses.exact)
