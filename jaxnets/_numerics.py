"""Numerical tools shared by every room: exact averages on the circle, small Newton solves, implicit roots.

Each is the single home of its method. A new room should find its averages and its roots here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Inexact


def is_concrete(*values: Any) -> bool:
    """True when no leaf of ``values`` is traced, so that they can be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def as_float(value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "..."]:
    """A floating-point array that keeps its dtype if it has one, and takes JAX's default otherwise.

    Raises:
        ValueError: if ``value`` is complex, ragged or not a number.
    """
    try:
        array = jnp.asarray(value)
    except TypeError as error:
        raise ValueError(f"expected real numbers, got {value!r}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"expected real numbers, got dtype {array.dtype}")
    # Python numbers give weak types, which would make results depend on how a value was written.
    dtype = array.dtype if jnp.issubdtype(array.dtype, jnp.floating) and not array.weak_type else jnp.result_type(float)
    return jnp.asarray(array, dtype=dtype)


def as_complex(x: Inexact[Array, "..."]) -> Complex[Array, "..."]:
    """The same numbers in the complex dtype of the same precision."""
    return x if jnp.iscomplexobj(x) else jax.lax.complex(x, jnp.zeros_like(x))


def square_modulus(x: Complex[Array, "..."]) -> Float[Array, "..."]:
    """|x|^2, differentiable at 0."""
    return x.real**2 + x.imag**2


# --- averages on the circle -----------------------------------------------------------------------------------


def laurent_product(a: Inexact[Array, " m"], b: Inexact[Array, " n"]) -> Inexact[Array, " m+n-1"]:
    """Coefficients of the product of two Laurent polynomials (each listed from its lowest power)."""
    m, n = a.shape[0], b.shape[0]
    rows = jnp.pad(jnp.outer(a, b), ((0, 0), (0, m)))
    # With rows one entry shorter, row i begins i places further to the right.
    return jnp.sum(rows.ravel()[:-m].reshape(m, m + n - 1), axis=0)


def reciprocal_moments(denominator: Complex[Array, " 2*d+1"], doublings: int = 13) -> Complex[Array, " 2*d+1"]:
    r"""Averages over the unit circle of powers over a Laurent polynomial, c_k = <w^k / D(w)>, |k| <= d.

    $$ c_k = \frac{1}{2\pi} \int_0^{2\pi} \frac{e^{ik\theta}}{D(e^{i\theta})}\, d\theta,
       \qquad D(w) = \sum_{k=-d}^{d} D_k w^k $$

    Graeffe's root squaring: 1/D(w) = D(-w) / (D(w) D(-w)), whose denominator is a Laurent polynomial in w^2 of the
    same length, and only even powers survive the average, so the moments for D are a linear map of those for its
    square. m steps give the trapezoid rule with 2^m nodes in m (2d+1)^2 operations: exact unless D has a root within
    about 30 / 2^m of the circle (.004 by default; the laws of a load alpha need about alpha / 2).

    Shapes: D_k and c_k from k = -d to d. Validity: D has no root on the circle, and winds around 0 as often forwards
    as backwards (positive D, for one).
    """
    num = denominator.shape[0]
    d = num // 2
    pairs = [[(i, 2 * m - i) for i in range(num) if 0 <= 2 * m - i < num] for m in range(num)]

    def alternate(coefficients):  # those of D(-w), up to a common sign
        return [c if (k - d) % 2 == 0 else -c for k, c in enumerate(coefficients)]

    def square(coefficients, _):
        mirrored = alternate(coefficients)
        squared = [sum(coefficients[i] * mirrored[j] for i, j in pairs[m]) for m in range(num)]
        scale = 1 / squared[d]
        return [scale * c for c in squared], (coefficients, scale)

    def unsquare(moments, step):
        coefficients, scale = step
        mirrored = alternate(coefficients)
        sums = [sum(moments[m] * mirrored[2 * m - k] for m in range(num) if 0 <= 2 * m - k < num) for k in range(num)]
        return [scale * c for c in sums], None

    start = [denominator[i] for i in range(num)]
    last, steps = jax.lax.scan(square, start, None, length=doublings)
    constant = [1 / c if k == d else jnp.zeros_like(c) for k, c in enumerate(last)]
    moments, _ = jax.lax.scan(unsquare, constant, steps, reverse=True)
    return jnp.stack(moments)


def reciprocal_moments_real(denominator: Complex[Array, " d+1"], doublings: int = 13) -> Complex[Array, " d+1"]:
    r"""`reciprocal_moments` of a D that is real on the circle, from its coefficients k = 0..d, at half the price.

    Then D_{-k} = conj D_k, and so are the moments, of which 0..d are returned too.
    """
    d = denominator.shape[0] - 1

    def at(coefficients, k):
        return as_complex(coefficients[k]) if k >= 0 else jnp.conj(coefficients[-k])

    def square(coefficients, _):  # sums over i + j = 2 m, of which (i, j) and (j, i) are equal
        norm = coefficients[0] ** 2
        for i in range(1, d + 1):
            norm = norm + 2 * sign(i) * square_modulus(coefficients[i])
        squared = [norm]
        for m in range(1, d + 1):
            total = sign(m) * coefficients[m] ** 2
            for i in range(m + 1, d + 1):
                total = total + 2 * sign(i) * coefficients[i] * at(coefficients, 2 * m - i)
            squared.append(total)
        scale = 1 / norm
        return [scale.astype(c.dtype) * c for c in squared], (coefficients, scale)

    def unsquare(moments, step):
        coefficients, scale = step
        even = coefficients[0] * moments[0]
        for m in range(1, d // 2 + 1):  # and its conjugate, m < 0
            even = even + 2 * (coefficients[2 * m] * moments[m]).real
        sums = [even]
        for k in range(1, d + 1):
            pairs = [(2 * m - k, m) for m in range(-d, d + 1) if abs(2 * m - k) <= d]
            sums.append(sign(k) * sum(at(coefficients, i) * at(moments, m) for i, m in pairs))
        return [scale.astype(c.dtype) * c for c in sums], None

    def sign(k):
        return 1.0 if k % 2 == 0 else -1.0

    start = [denominator[0].real, *(denominator[k] for k in range(1, d + 1))]
    last, steps = jax.lax.scan(square, start, None, length=doublings)
    constant = [1 / last[0], *(jnp.zeros_like(c) for c in last[1:])]
    moments, _ = jax.lax.scan(unsquare, constant, steps, reverse=True)
    return jnp.stack([as_complex(c) for c in moments])


# --- Gaussian averages ----------------------------------------------------------------------------------------


def gaussian_quadrature(num: int = 201, width: float = 8.0) -> tuple[Float[Array, " num"], Float[Array, " num"]]:
    """Nodes z and weights of the trapezoid rule for averages over a standard normal variable.

    The error falls as exp(-2 pi a / h), h = 2 width / num, for a function with its nearest pole at distance a from the
    real axis: tanh(sigma z) has a = pi / (2 sigma), so that its mean slope at sigma = 5 is right to 1e-7.
    Gauss-Hermite rules fail there.
    """
    z = jnp.linspace(-width, width, num)
    weights = jnp.exp(-(z**2) / 2)
    return z, weights / jnp.sum(weights)


def frozen(tree: Any) -> Any:
    """``tree`` with no gradient through its arrays; other leaves (functions) stay as they are."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)


# --- interpolation --------------------------------------------------------------------------------------------


def cubic_interpolation(values: Float[Array, "s T"], x: Float[Array, " L"]) -> Float[Array, "s L"]:
    """Each row at places x in [0, T - 1], where whole numbers are its entries, by the cubic through four of them.

    Of fourth order in the spacing, T >= 4; beyond the ends the last cubic goes on.
    """
    start = jnp.clip(jnp.floor(x).astype(int) - 1, 0, values.shape[1] - 4)
    u = x - start.astype(x.dtype)
    p, q = u * (u - 1), (u - 2) * (u - 3)
    weights = jnp.stack([(1 - u) * q / 6, u * q / 2, p * (3 - u) / 2, p * (u - 2) / 6])
    return jnp.sum(weights[None] * values[:, start[None] + jnp.arange(4)[:, None]], axis=1)


# --- roots ----------------------------------------------------------------------------------------------------


class Root(eqx.Module):
    """A root, the largest residual left there, and whether that is below the tolerance asked for."""

    value: Any
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def find_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    start: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-10,
    max_steps: int = 30,
) -> Float[Array, " k"]:
    """A root y of fn(y, args) near ``start`` by Newton's method, without gradients; a failure shows in fn there."""
    tolerance = max(tolerance, 300 * float(jnp.finfo(start.dtype).eps))
    solver = optx.Newton(rtol=tolerance, atol=tolerance, linear_solver=lx.LU())
    start, args = frozen((start, args))
    return jax.lax.stop_gradient(optx.root_find(fn, solver, start, args, max_steps=max_steps, throw=False).value)


def polish_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    y: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-8,
    steps: int = 3,
) -> Root:
    """A root found to some digits, made exact and differentiable in ``args``; its residual is max |fn| one step before.

    Newton steps, and the derivatives of the implicit function, of any order and in both modes. (The implicit adjoint
    of optimistix raises inside jit if one of many mapped problems fails; here a failure is data.) ``fn`` should be
    scaled to order one.
    """

    def newton(fn, y):
        def step(y, _):
            jacobian, value = jax.jacfwd(lambda y: (fn(y),) * 2, has_aux=True)(y)
            return y - jnp.linalg.solve(jacobian, value), jnp.max(jnp.abs(value))

        y, misses = jax.lax.scan(step, y, None, length=steps)
        return y, misses[-1]

    def invert(linear, value):
        return jnp.linalg.solve(jax.jacfwd(linear)(value), value)

    y, miss = jax.lax.custom_root(lambda y: fn(y, args), jax.lax.stop_gradient(y), newton, invert, has_aux=True)
    residual = jax.lax.stop_gradient(miss)
    return Root(y, residual, residual <= max(tolerance, 3000 * float(jnp.finfo(y.dtype).eps)))
