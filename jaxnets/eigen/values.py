"""Eigenvalues of one network or of a batch: the one door to `eig`.

A network of P modes has at most P non-zero eigenvalues: for J = A B with A: n x P and B: P x n, the n x n matrix
J diag(G) shares them with the P x P matrix B diag(G) A. Symmetric couplings have real eigenvalues and take the
symmetric solver.

`eigenvalues` takes the library of the device: LAPACK on a CPU; the library of a GPU takes one matrix after the other.
`batched_eigenvalues` solves all matrices of a batch at once. README.md explains how.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import complex_array, real_array, require
from .._numerics import as_complex, binary_scale, is_concrete
from ..couplings.convolution import Convolution
from ..couplings.operators import Dense, Operator
from ..couplings.sparse import Sparse, as_operator

_MOST_UNITS = 20_000  # of a sparse network that is made dense: 3 GB in float64
_MOST_ENTRIES = 2**27  # of the matrices solved at once: 1 GB in float64, and six times as much while they are solved


def eigenvalues(
    J: Operator | Float[ArrayLike, "*#batch n n"], gains: Float[ArrayLike, "*#batch n"] | None = None
) -> Complex[Array, "*batch n"]:
    """Eigenvalues of J diag(gains), in no particular order.

    `J` is an operator, an array, or a sparse matrix of SciPy or JAX, which is made dense here (`leading` does without).
    The leading axes of `J` and `gains` are batches and broadcast. An operator of P < n modes costs O(n P^2 + P^3)
    instead of O(n^3), and its n - P zeros are restored, exact, at the end. A `Convolution` has the values of its
    symbol, by wave numbers, also if it is complex. Works under `jit` and `vmap`; derivatives are exact where the
    eigenvalues are simple (first ones only, unless J is symmetric). Rounding errors are the machine precision times the
    norm of J times the condition number of the eigenvalue: 1e-6 to 1e-5 of the spectral radius in float32 at n = 1000.

    On a CPU this is LAPACK, batch after batch on the host: do not call it from several threads at once, which
    deadlocks some versions of jaxlib. On a GPU it takes one matrix after the other: see `batched_eigenvalues`.

    Raises `ValueError` when `J` is not square, not real or not finite, or when `gains` does not fit its last axis
    (finiteness is checked on concrete arrays only: under `jit` NaN is returned).
    """
    if isinstance(J, Convolution) and gains is None:
        return J.symbol()
    return _eigenvalues(*_checked(J, gains))


def host_eigenvalues(
    J: Operator | Float[ArrayLike, "*#batch n n"],
    gains: Float[ArrayLike, "*#batch n"] | None = None,
    *,
    num: int | None = None,
) -> Complex[np.ndarray, "*batch n"]:
    """Eigenvalues of J diag(gains), as `eigenvalues` gives them, by NumPy in the thread that asks for them.

    Several threads may do so at once, each with a network of its own, while another one compiles or computes. Values
    have the type of `J` in double the size (complex). Not for `jit`, `vmap` or derivatives. Of a batch, only the first
    `num` are found: the rest may be copies that keep the shape, so that nothing is compiled for another number.

    Raises `ValueError` when `J` is not square, not real or not finite, or when `gains` does not fit its last axis.
    """
    if gains is None and _is_plain(J):
        return _of_matrix(np.asarray(J))
    J, gains = _checked(J, gains)
    matrix, scale, symmetric = _reduced_once(J, gains)
    matrix, scale = (np.asarray(x) if num is None else np.asarray(x)[:num] for x in (matrix, scale))
    values = np.linalg.eigvalsh(matrix) if symmetric else np.linalg.eigvals(matrix)
    return _with_zeros((values * scale).astype(np.result_type(matrix.dtype, np.complex64)), J.shape[-1], np)


def _is_plain(J: Any) -> bool:
    """Whether J needs no check: square matrices of finite numbers in NumPy, in a precision of JAX."""
    floats = isinstance(J, np.ndarray) and J.dtype in (np.float32, np.float64) and J.size > 0 and J.ndim > 1
    return floats and J.shape[-1] == J.shape[-2] and bool(np.all(np.isfinite(J)))


def _of_matrix(matrix: Float[np.ndarray, "*batch n n"]) -> Complex[np.ndarray, "*batch n"]:
    """In NumPy from beginning to end: solvers that take one step after the other ask for thousands of small ones."""
    largest = np.max(np.abs(matrix), (-2, -1), initial=0)
    scale = np.where(largest > 0, np.ldexp(np.ones((), matrix.dtype), np.frexp(largest)[1]), 1)[..., None]
    values = np.linalg.eigvals(matrix / scale[..., None]) * scale
    return values.astype(np.result_type(matrix.dtype, np.complex64))


def batched_eigenvalues(
    J: Float[ArrayLike, "*#batch n n"], guesses: Complex[ArrayLike, "*#batch n"] | None = None
) -> Complex[Array, "*batch n"]:
    """Eigenvalues of real matrices, all of a batch at once and on any device, in no particular order.

    Made for GPUs, but not timed on one yet; on CPUs `eigenvalues` is far faster. Reduction to Hessenberg form, then
    Ehrlich-Aberth iteration: some 20 n^3 operations a matrix, nearly all in products of matrices. `guesses` are n
    points for each matrix: `quantiles` of the law of its ensemble, or eigenvalues in float32 that are to be refined in
    float64. By default guesses come from the matrix itself, and need fewer sweeps. Backward errors are as LAPACK's, in
    either precision. Matrices that do not converge go to LAPACK on the host: matrices with multiple or nearly defective
    eigenvalues, such as permutations and sparse integers, but hardly any random network. Derivatives come
    from `jax.numpy.linalg.eigvals`, at its price.

    Raises `ValueError` when `J` is not square, not real or not finite, or when `guesses` do not fit its last axis
    (finiteness is checked on concrete arrays only: under `jit` NaN is returned).
    """
    matrix = as_operator("J", J).dense()
    if matrix.shape[-1] == 0:
        raise ValueError(f"`J` must have at least one row, got shape {matrix.shape}")
    if not _finite_if_known(matrix):
        raise ValueError("`J` must be finite, got NaN or infinite entries")
    if guesses is not None:
        guesses = complex_array("guesses", guesses).astype(as_complex(matrix[..., 0]).dtype)
        if guesses.ndim < 1 or guesses.shape[-1] != matrix.shape[-1]:
            raise ValueError(f"`guesses` must have the last axis {matrix.shape[-1]} of `J`, got shape {guesses.shape}")
        if not _finite_if_known(guesses):
            raise ValueError("`guesses` must be finite, got NaN or infinite entries")
        try:
            batch = jnp.broadcast_shapes(guesses.shape[:-1], matrix.shape[:-2])
        except ValueError:
            raise ValueError(
                f"`guesses` of shape {guesses.shape} must broadcast with `J` of shape {matrix.shape}"
            ) from None
        matrix = jnp.broadcast_to(matrix, (*batch, *matrix.shape[-2:]))
        guesses = jnp.broadcast_to(guesses, (*batch, *guesses.shape[-1:]))
    matrix, scale = _in_one_unit(matrix)
    scale = as_complex(scale)
    return scale * _batched(matrix, None if guesses is None else guesses / scale)


def _checked(J, gains) -> tuple[Operator, Float[Array, "*batch n"] | None]:
    J = as_operator("J", J)
    if jnp.issubdtype(J.dtype, jnp.complexfloating):
        raise ValueError("`J` must be real, got complex numbers: only all eigenvalues of a `Convolution` are known")
    if isinstance(J, Sparse) and J.shape[-1] > _MOST_UNITS:
        raise ValueError(
            f"`J` is sparse, and all {J.shape[-1]} eigenvalues need the dense matrix: `leading` gives some"
        )
    if gains is not None:
        gains = _as_gains(gains, J)
    for name, value in (("J", J), ("gains", gains)):
        if not _finite_if_known(value):
            if isinstance(value, Dense):
                require(name, value.matrix, np.isfinite, "finite")
            raise ValueError(f"`{name}` must be finite, got NaN or infinite entries")
    return J, gains


@eqx.filter_jit
def _eigenvalues(J: Operator, gains: Float[Array, "*batch n"] | None) -> Complex[Array, "*batch n"]:
    factors = J.low_rank()
    if gains is None and J.symmetric and factors is not None and factors[0].shape[-1] < J.shape[-1]:
        left, right, scale = _in_one_unit(*factors)
        return _with_zeros(as_complex(_eigvalsh_of_product(left, right) * scale), J.shape[-1], jnp)
    matrix, scale, symmetric = _reduced(J, gains)
    values = as_complex(jnp.linalg.eigvalsh(matrix)) if symmetric else jnp.linalg.eigvals(matrix)
    return _with_zeros(values * scale.astype(values.dtype), J.shape[-1], jnp)


def _reduced(
    J: Operator, gains: Float[Array, "*batch n"] | None
) -> tuple[Float[Array, "*batch k k"], Float[Array, "*batch 1"], bool]:
    """The smallest matrix with the non-zero eigenvalues of J diag(gains), its scale apart, and whether it is symmetric.

    LAPACK loses eigenvalues of matrices that are very small or very large: it divides them by a number, and does not
    multiply the eigenvalues by it.
    """
    factors, symmetric = J.low_rank(), J.symmetric and gains is None
    if factors is None or factors[0].shape[-1] >= J.shape[-1]:
        parts = (J.dense(),) if gains is None else _same_batch(J.dense(), gains[..., None, :])
        *parts, scale = _in_one_unit(*parts)
        matrix = parts[0] if gains is None else parts[0] * parts[1]
    else:
        parts = factors if gains is None else _same_batch(*factors, gains[..., :, None])
        left, right, *parts, scale = _in_one_unit(*parts)
        if symmetric:
            matrix = _compressed(left, right)[1]
        else:
            matrix = right @ (left if gains is None else parts[0] * left)
    matrix, last = _in_one_unit(matrix)
    return matrix, scale * last, symmetric


def _in_one_unit(*arrays: Float[Array, "*batch _ _"]) -> tuple[Float[Array, "*batch _ _"], ...]:
    """Matrices whose largest entries are of order one, and (*batch, 1) the factor that their product lost."""
    scales = [binary_scale(x, axis=(-2, -1)) for x in arrays]
    scaled = (x / scale for x, scale in zip(arrays, scales, strict=True))
    return *scaled, functools.reduce(jnp.multiply, scales)[..., 0]


_reduced_once = eqx.filter_jit(_reduced)


def _with_zeros(nonzero, n: int, xp):
    zeros = xp.zeros((*nonzero.shape[:-1], n - nonzero.shape[-1]), nonzero.dtype)
    return xp.concatenate([nonzero, zeros], -1)


@jax.custom_jvp
@eqx.filter_jit
def _batched(matrix: Float[Array, "*batch n n"], guesses: Complex[Array, "*batch n"] | None):
    return _iterated(matrix, guesses)


@_batched.defjvp
def _batched_jvp(primals, tangents):
    return jax.jvp(jnp.linalg.eigvals, primals[:1], tangents[:1])


@jax.custom_batching.custom_vmap
def _iterated(matrix, guesses):
    # Imported here, because few need it and it takes a twentieth of the time of all rooms.
    from .aberth import hessenberg_eigenvalues
    from .hessenberg import hessenberg

    shape = matrix.shape[:-1]
    n = shape[-1]
    matrix = matrix.reshape(-1, n, n)
    guesses = None if guesses is None else guesses.reshape(-1, n)

    def one(problem):
        matrix, guesses = problem
        return hessenberg_eigenvalues(hessenberg(matrix), guesses)

    roots = jax.lax.map(one, (matrix, guesses), batch_size=max(1, _MOST_ENTRIES // n**2))
    values = jax.lax.cond(
        jnp.all(roots.converged),
        lambda matrix, roots: roots.values,
        lambda matrix, roots: jax.pure_callback(
            _mended, roots.values, matrix, roots.values, roots.converged, vmap_method="broadcast_all"
        ),
        matrix,
        roots,
    )
    return values.reshape(shape)


@_iterated.def_vmap
def _iterated_vmap(size, batched, matrix, guesses):
    # The mapped axis joins the batch: under plain `vmap`, `cond` runs both branches, and so always the fall-back.
    leaves = jax.tree.map(
        lambda x, is_batched: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)),
        (matrix, guesses),
        tuple(batched),
    )
    return _iterated(*leaves), True


def _mended(matrix, values, converged):
    """LAPACK's eigenvalues where the iteration has not converged."""
    matrix, values = np.asarray(matrix), np.array(values)
    for i in np.flatnonzero(~np.asarray(converged)):
        values[i] = np.linalg.eigvals(matrix[i]) if np.all(np.isfinite(matrix[i])) else np.nan
    return values


@jax.custom_jvp
def _eigvalsh_of_product(
    left: Float[Array, "*batch n P"], right: Float[Array, "*batch P n"]
) -> Float[Array, "*batch P"]:
    """The P eigenvalues of the symmetric matrix left @ right within the span Q of `left`, from Q^T left right Q."""
    return jnp.linalg.eigvalsh(_compressed(left, right)[1])


@_eigvalsh_of_product.defjvp
def _eigvalsh_of_product_jvp(primals, tangents):
    # d lambda = u^T d(left right) u. Differentiating the QR factorisation instead would divide by zero when columns
    # of `left` vanish, as the columns of silent patterns do.
    left, right = primals
    left_dot, right_dot = tangents
    span, compressed = _compressed(left, right)
    values, vectors = jnp.linalg.eigh(compressed)
    u = span @ vectors
    return values, jnp.sum(u * (left_dot @ (right @ u) + left @ (right_dot @ u)), -2)


def _compressed(left, right):
    span, _ = jnp.linalg.qr(left)
    return span, jnp.swapaxes(span, -1, -2) @ left @ (right @ span)


def _same_batch(*arrays: Float[Array, "..."]) -> list[Float[Array, "..."]]:
    """Broadcasts the leading axes of matrices, and leaves their last two."""
    batch = jnp.broadcast_shapes(*(x.shape[:-2] for x in arrays))
    return [jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in arrays]


def _as_gains(gains: ArrayLike, J: Operator) -> Float[Array, "*batch n"]:
    gains = real_array("gains", gains)
    if gains.ndim < 1 or gains.shape[-1] != J.shape[-1]:
        raise ValueError(f"`gains` must have the last axis {J.shape[-1]} of `J`, got shape {gains.shape}")
    try:
        jnp.broadcast_shapes(gains.shape[:-1], J.shape[:-2])
    except ValueError:
        raise ValueError(f"`gains` of shape {gains.shape} must broadcast with `J` of shape {J.shape}") from None
    return gains.astype(J.dtype)


def _finite_if_known(value: Operator | Array | None) -> bool:
    leaves = [x for x in jax.tree.leaves(value) if eqx.is_inexact_array(x) and is_concrete(x)]
    if jax.default_backend() == "cpu":  # NumPy sees the same memory and compiles nothing
        return all(bool(np.all(np.isfinite(np.asarray(x)))) for x in leaves)
    with jax.ensure_compile_time_eval():  # inside `jit` a known array would become a traced one
        return all(bool(jnp.all(jnp.isfinite(x))) for x in leaves)
