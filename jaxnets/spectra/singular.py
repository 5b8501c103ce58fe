r"""Singular values and overlaps of singular vectors, smoothly counted: of a matrix, and of any ensemble for N -> inf.

With J = U diag(s) V^T, o_a = u_a . v_a and a scale eta > 0 in the units of J,

$$ C(\eta) = \frac1N \sum_a \frac{s_a^2}{s_a^2 + \eta^2}, \qquad
   Q(\eta) = \frac1N \sum_a \frac{\eta\, s_a o_a}{s_a^2 + \eta^2} : $$

C counts the singular values above eta, with a soft edge one e-fold wide, and Q adds the overlaps of the singular
values near eta. C and Q are traces of the Green's function of J at z = 0, w = i eta, so that one equation gives them
for every ensemble, with no edges and no gaps to find. A fit should compare them: as sums of smooth functions of
singular values, N C and N Q scatter between samples by a number of order one, whatever N, and are nearly Gaussian.
Source: derived here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import positive, require, require_instance, require_key, require_whole, vector
from .._laws import Discrete
from .._numerics import as_complex, as_program, binary_scale, implicit_root, iterate
from .._results import Result
from ..couplings import Ensemble, Operator
from ..couplings.sparse import as_operator


class SingularProfile(Result, axes={"K": "scales"}):
    """C, `counts`, and Q, `overlaps`, at `scales`; made by `singular_profile` and `observed_singular_profile`."""

    scales: Float[Array, " K"]
    counts: Float[Array, " K"]
    overlaps: Float[Array, " K"]


class EstimatedSingularProfile(Result, axes={"K": "scales"}):
    """C, `counts`, and Q, `overlaps`, at `scales`, with their standard errors; made by `estimated_singular_profile`."""

    scales: Float[Array, " K"]
    counts: Float[Array, " K"]
    overlaps: Float[Array, " K"]
    counts_error: Float[Array, " K"]
    overlaps_error: Float[Array, " K"]


def observed_singular_profile(
    values: Float[ArrayLike, " r"], overlaps: Float[ArrayLike, " r"], n: int, scales: Float[ArrayLike, " K"]
) -> SingularProfile:
    """C and Q at `scales` of a matrix of n units with these singular `values` and overlaps, zero for the rest.

    Raises `ValueError` for arrays that do not fit, are empty or not finite, and scales that are not positive.
    """
    require_whole("n", n)
    values, overlaps, scales = vector("values", values), vector("overlaps", overlaps), vector("scales", scales)
    if overlaps.shape != values.shape:
        raise ValueError(f"`overlaps` must have the shape of `values`, {values.shape}, got {overlaps.shape}")
    for name, array in (("values", values), ("overlaps", overlaps)):
        require(name, array, np.isfinite, "finite")
    require("scales", scales, positive, "finite numbers > 0")
    overlaps, scales = overlaps.astype(values.dtype), scales.astype(values.dtype)
    eta = scales[:, None]
    # Far above a scale a value counts as 1, and its square may overflow.
    far = float(jnp.finfo(values.dtype).max) ** 0.5 / 2
    ratio = jnp.clip(values[None] / eta, -far, far)
    kernel = 1 / (ratio**2 + 1)
    counts = jnp.sum(ratio**2 * kernel, axis=1) / n
    return SingularProfile(scales, counts, jnp.sum(ratio * overlaps[None] * kernel, axis=1) / n)


def estimated_singular_profile(
    J: Operator | Float[ArrayLike, "n n"] | Any,
    scales: Float[ArrayLike, " K"],
    *,
    key: PRNGKeyArray,
    num_vectors: int = 16,
    num_steps: int = 64,
) -> EstimatedSingularProfile:
    r"""C and Q of one large network from products alone, and their standard errors: stochastic Lanczos quadrature.

    $$ C = \frac1N \Big\langle z^T \frac{J^T J}{J^T J + \eta^2} z \Big\rangle, \qquad
       Q = \frac1N \Big\langle z^T J\, \frac{\eta}{J^T J + \eta^2} z \Big\rangle $$

    over `num_vectors` random vectors z of signs; of each, `num_steps` of the Golub-Kahan bidiagonalisation (by matfree,
    an extra: `pip install jaxnets[lanczos]`) give both at all `scales`. J is an operator, a sparse matrix of SciPy or
    JAX, or an array, and may have any unit; memory is `num_steps` vectors twice beside it. Scales below about twice the
    largest singular value over `num_steps` are not resolved, and errors do not tell. Errors are of the scatter between
    the vectors, which falls as 1 / sqrt(N `num_vectors`).

    Raises `ValueError` for J that is not one square network, scales that are empty or not positive and numbers < 1 (< 2
    vectors), and `ImportError` without matfree.
    """
    operator = as_operator("J", J)
    *batch, n, _ = operator.shape
    if batch:
        raise ValueError(f"`J` must be one network, got a batch of shape {operator.shape}")
    scales = vector("scales", scales)
    require("scales", scales, positive, "finite numbers > 0")
    require_key("key", key)
    require_whole("num_vectors", num_vectors, least=2)
    require_whole("num_steps", num_steps)
    try:
        import matfree.decomp  # noqa: F401  # here, as it is an extra
    except ImportError as error:
        raise ImportError(
            "`estimated_singular_profile` needs matfree: pip install jaxnets[lanczos], or pip install matfree"
        ) from error
    counts, overlaps = _by_lanczos(operator, scales, key, num_vectors, min(num_steps, n))
    error = lambda x: jnp.std(x, axis=0, ddof=1) / num_vectors**0.5
    return EstimatedSingularProfile(
        scales, jnp.mean(counts, axis=0), jnp.mean(overlaps, axis=0), error(counts), error(overlaps)
    )


@as_program
def _by_lanczos(
    operator: Operator, scales: Float[Array, " K"], key: PRNGKeyArray, num_vectors: int, num_steps: int
) -> tuple[Float[Array, "vectors K"], Float[Array, "vectors K"]]:
    """C and Q from each random vector."""
    from matfree import decomp

    *_, n = operator.shape
    real = jnp.result_type(float)
    decompose = decomp.bidiag(num_steps, materialize=False)
    unit = binary_scale(operator @ jnp.ones(n, operator.dtype))[0]

    def one(key):
        z = jax.random.rademacher(key, (n,), real)
        found = decompose(lambda x: (operator @ x.astype(operator.dtype) / unit).astype(real), z)
        # Where a Krylov space ends, vectors and numbers beyond it are NaN: what stands before is exact.
        (left, _), (diagonal, above) = jax.tree.map(lambda x: jnp.nan_to_num(x), (found.Q_tall, found.J_small))
        p, s, wt = jnp.linalg.svd(jnp.diag(diagonal) + jnp.diag(above, 1))
        # z = sqrt(n) V e_1, J V = U B and B = P diag(s) W^T.
        first = wt[:, 0]
        read = (left @ z) @ p / n**0.5
        eta = scales.astype(real)[:, None] / unit.astype(real)
        kernel = 1 / (s[None] ** 2 + eta**2)
        counts = jnp.sum(first[None] ** 2 * s[None] ** 2 * kernel, axis=1)
        return counts, jnp.sum((read * first * s)[None] * eta * kernel, axis=1)

    return jax.lax.map(one, jax.random.split(key, num_vectors))


def singular_profile(ensemble: Ensemble, scales: Float[ArrayLike, " K"]) -> SingularProfile:
    r"""C and Q of an ensemble for N -> infinity; parts of finite rank add nothing.

    $$ 1 - C + i Q = \Big(1 + (1 - C) \frac{h}{\eta^2} - i\, \frac{s_{12}}{\eta}\Big)^{-1}, \qquad
       (s_{12}, s_{21}, h) = \mathtt{blocks}\Big(-\frac{Q}{\eta}, -\frac{Q}{\eta}, -\frac{(1 - C)^2}{\eta^2}\Big) $$

    from T = (Z - S(T))^{-1} with Z = i eta. `scales` are eta, in the units of J. NaN where the equation is not solved,
    as for a `SingularModes` in a sum below its outer branch (alone, its own values are counted). The first correction
    for finite N is of order 1 / N in C and Q. Differentiable in the floats of the ensemble.

    Raises:
        ValueError: for an `ensemble` of another type, and scales that are empty or not positive.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    scales = vector("scales", scales)
    require("scales", scales, positive, "finite numbers > 0")
    known = ensemble.singular_law()
    if known is not None:
        return SingularProfile(scales, _counts(known, scales), jnp.zeros_like(scales))
    counts, overlaps = _solve_all(ensemble, scales.astype(ensemble.variance().dtype))
    return SingularProfile(scales, counts, overlaps)


@as_program
def _counts(law: Any, scales: Float[Array, " K"]) -> Float[Array, " K"]:
    """C of a known law of singular values."""
    if isinstance(law, Discrete):
        share = scales[:, None] ** 2 / (scales[:, None] ** 2 + law.values[None] ** 2)
        return 1 - share @ law.weights
    return 1 - jax.vmap(law.means)(1 / scales**2)[0]


@as_program
def _solve_all(ensemble: Ensemble, scales: Float[Array, " K"]) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    F, Q = jax.vmap(_root, in_axes=(None, 0))(ensemble, scales).T
    return 1 - F, Q


def _green(y: Float[Array, "2"], ensemble: Ensemble, eta: Float[Array, ""]) -> Float[Array, "2"]:
    """(1 - C, Q) from itself."""
    F, Q = y
    t = as_complex(-Q / eta)
    s12, _, h = ensemble.blocks(t, t, -((F / eta) ** 2), physical=True)
    A, B = 1 + F * h.real / eta**2, s12.real / eta
    return jnp.stack([A, B]) / (A**2 + B**2)


_MOST_STEPS = 2000
_FOUND = 8  # roundings, where the search stops
_ACCEPTED = 1e4  # roundings, above which it has failed


def _root(ensemble: Ensemble, eta: Float[Array, ""]) -> Float[Array, "2"]:
    """The fixed point of `_green`, NaN if it is not found."""
    return implicit_root(_search, lambda y, args: y - _green(y, *args), (ensemble, eta))


def _search(args: tuple[Ensemble, Float[Array, ""]]) -> Float[Array, "2"]:
    """Averaged iterates, which converge from anywhere (Helton, Rashidi Far & Speicher 2007)."""

    def average(y, args):
        image = _green(y, *args)
        return (y + image) / 2, jnp.max(jnp.abs(image - y))

    dtype = args[1].dtype
    eps = float(jnp.finfo(dtype).eps)
    y, miss = iterate(average, jnp.array([1, 0], dtype), args, _FOUND * eps, _MOST_STEPS)
    return jnp.where(miss <= _ACCEPTED * eps, y, jnp.nan)
