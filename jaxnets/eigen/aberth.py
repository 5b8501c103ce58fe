r"""All eigenvalues of a Hessenberg matrix at once, by Ehrlich-Aberth iteration on its characteristic polynomial p.

$$ z_i \leftarrow z_i - \frac{N_i}{1 - N_i S_i}, \qquad N_i = \frac{p(z_i)}{p'(z_i)}, \quad
   S_i = \sum_{j \ne i} \frac{1}{z_i - z_j} $$

QR takes shifts that depend on the values; here all matrices of a batch take the same steps, which a GPU needs. Roots
are kept in pairs, each the two roots of one real quadratic. README.md has the derivation, and how the constants below
were set.

Source: Bini, Gemignani & Tisseur 2005, also for guesses from the two halves of the matrix; pairs are derived here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from .._numerics import as_complex
from .guesses import Guesses, apart, disc, given, with_moduli
from .recurrence import Groups, Matrix, evaluated, prepared, separated

# Constants of the iteration. README.md says which matrices they were tuned on; the others are bounds of rounding.
_MOST_SWEEPS = 60  # networks of N = 64 to 1000 need 30 at most, hard matrices 22 in float64 and 41 in float32
_SMALLEST = 32  # rows of a matrix that is not halved again
_ROUGH = 0.05  # a guess settles once it is this much closer to its root than to any other
_LEFT = 8  # of so many guesses, one may stay unsettled
_FEW = 4  # the last of so many pairs are taken on in arrays of their own: most need 6 sweeps, and a few need 15
_CLUSTER = 8  # the matrix is shifted to the median of its diagonal if this makes it so much smaller
_NEVER_0 = 1e-30  # of the discriminant of a pair: two equal points would stay together
_FAR = 2.0**40  # fills the last pair if n is odd, and sorts last


class Roots(eqx.Module):
    """Eigenvalues, and how well they hold.

    The residual compares sum z and sum z^2 with the traces of H and H^2, in units of the root mean square of the norms
    of rows. Roots have converged if all corrections or backward errors have reached the precision, and the residual the
    square root of the precision: a set that holds one eigenvalue twice and misses another has a larger residual.
    """

    values: Complex[Array, " n"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    sweeps: Int[Array, ""]


@jax.default_matmul_precision("highest")
def hessenberg_eigenvalues(H: Float[Array, "n n"], guesses: Complex[Array, " n"] | None = None) -> Roots:
    """Eigenvalues of a real upper Hessenberg matrix, conjugates next to each other and real ones last.

    `guesses` are any n points, conjugate pairs or real; without them the eigenvalues of the two halves of the matrix
    are found to some digits first, from their own halves, at a third of the cost. Subdiagonal entries below two
    machine precisions times the Frobenius norm are taken for 0. Where H is not finite nothing converges.
    Not for reverse-mode differentiation.
    """
    finite = jnp.all(jnp.isfinite(H))
    H = jnp.where(finite, H, 0)
    norm = _rms_row(H)
    # A cluster far from 0 is resolved as well as one at 0.
    centre = jnp.median(jnp.diagonal(H))
    centre = jnp.where(_rms_row(_shifted(H, centre)) < norm / _CLUSTER, centre, 0)
    shifted = _shifted(H, centre)
    size = _rms_row(shifted)
    # A power of two, so that nothing is rounded.
    unit = jnp.ldexp(jnp.ones((), H.dtype), jnp.frexp(jnp.where(size > 0, size, 1))[1])
    matrix = separated(shifted / unit, norm / unit)
    if guesses is None:
        start = _halved(matrix)
    else:
        start = given((guesses - as_complex(centre)) / as_complex(unit), matrix)
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


# --- the iteration --------------------------------------------------------------------------------------------


class _State(eqx.Module):
    """Roots two by two, each pair conjugate or real, and whether each has settled.

    A `filler` only fills a pair, and pulls at no other root: isolated eigenvalues, and a number far away if n is odd.
    """

    z: Complex[Array, "m 2"]
    filler: Bool[Array, "m 2"]
    settled: Bool[Array, "m 2"]
    sweeps: Int[Array, ""]


def _iterate(matrix: Matrix, guesses: Guesses, rough: bool = False) -> tuple[Guesses, Bool[Array, ""], Array]:
    """Roots to the precision, whether all have settled, and the number of sweeps.

    Roots that have settled stay where they are. Once three in four have, the others go on in smaller arrays. `rough`
    roots settle early, and some stay unsettled.
    """
    n = guesses.z.shape[0]
    m = -(-n // 2)
    few = max(4, -(-m // _FEW))
    segments = prepared(matrix)
    z = jnp.pad(guesses.z, (0, 2 * m - n), constant_values=_FAR).reshape(m, 2)
    filler = jnp.pad(guesses.exact, (0, 2 * m - n), constant_values=True).reshape(m, 2)
    state = _State(z, filler, filler, jnp.zeros((), int))

    def until(unsettled, pairs, state):
        def more(state):
            return (jnp.sum(~state.settled) > unsettled) & (state.sweeps < _MOST_SWEEPS)

        return jax.lax.while_loop(
            more, lambda state: _sweep(segments, matrix.precision, _sorted(state), pairs, rough), state
        )

    if rough:
        state = until(n // _LEFT, m, state)
    elif few >= m:
        state = until(0, m, state)
    else:
        state = until(0, few, until(2 * few, m, state))
    z = state.z.reshape(-1)
    # Conjugate pairs next to each other, then real numbers. If n is odd, the filler comes last and is dropped.
    order = jnp.lexsort((jnp.where(z.imag == 0, z.real, 0), z.imag == 0))
    return Guesses(z[order][:n], state.filler.reshape(-1)[order][:n]), jnp.all(state.settled), state.sweeps


def _sorted(state: _State) -> _State:
    """Unsettled pairs first. Real roots are paired with their neighbours on the line, anew in each sweep.

    Settled and unsettled real roots share at most one pair.
    """
    z, settled = state.z.reshape(-1), state.settled.reshape(-1)
    real = z.imag == 0
    kind = jnp.where(settled, jnp.where(real, 2, 3), jnp.where(real, 1, 0))
    order = jnp.lexsort((jnp.where(real, z.real, 0), kind))
    return eqx.tree_at(
        lambda s: (s.z, s.filler, s.settled),
        state,
        replace_fn=lambda leaf: leaf.reshape(-1)[order].reshape(leaf.shape),
    )


def _sweep(segments: list[Groups], precision, state: _State, pairs: int, rough: bool) -> _State:
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
    at = evaluated(segments, jnp.where(settled & (z.imag == 0), z[:, ::-1], z))  # not at what may be far away
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
    small = (change <= precision / 2) | (change**2 * crowd <= precision / 2) | (change * nearest <= _ROUGH * rough)
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
    square = jnp.where(jnp.abs(square) < _NEVER_0, _NEVER_0, square)
    root = jnp.sqrt(as_complex(square))
    centre = as_complex((z[:, :1] + z[:, 1:]).real / 2 + total / 2)
    roots, swapped = (jnp.concatenate([centre + side, centre - side], 1) for side in (root, -root))

    def least_change(roots):
        return jnp.min(jnp.abs(roots - z), 1, keepdims=True)

    # A point that has arrived stays the same one, wherever the other goes.
    return jnp.where(least_change(swapped) < least_change(roots), swapped, roots)


# --- guesses from halves ----------------------------------------------------------------------------------------


def _halved(matrix: Matrix) -> Guesses:
    """Rough eigenvalues of the two halves of the matrix, each found from its own halves, and so on."""
    n = matrix.below.shape[0]
    if n <= _SMALLEST:
        return with_moduli(disc(matrix), matrix)
    h = n // 2
    halves = jax.tree.map(lambda *x: jnp.stack(x), matrix.part(slice(0, h)), matrix.part(slice(n - h, n)))
    roots = jax.vmap(lambda half: _iterate(half, _halved(half), rough=True)[0])(halves)
    middle = slice(h, n - h)  # one entry for odd n
    guesses = Guesses(
        jnp.concatenate([roots.z.reshape(-1), as_complex(jnp.diagonal(matrix.upper)[middle])]),
        jnp.concatenate([roots.exact.reshape(-1), matrix.isolated[middle]]),
    )
    return apart(with_moduli(guesses, matrix))
