r"""Singular values and overlaps of singular vectors, smoothly counted: of a matrix, and of any ensemble for N -> inf.

With J = U diag(s) V^T, o_a = u_a . v_a and a scale eta > 0 in the units of J,

$$ C(\eta) = \frac1N \sum_a \frac{s_a^2}{s_a^2 + \eta^2}, \qquad
   Q(\eta) = \frac1N \sum_a \frac{\eta\, s_a o_a}{s_a^2 + \eta^2} : $$

C counts the singular values above eta, with a soft edge one e-fold wide, and Q adds the overlaps of those near eta.
They are traces of the Green's function of J at z = 0, w = i eta, so that one equation gives them for every ensemble,
with no edges and no gaps to find. They are what a fit should compare: N C and N Q scatter between samples by a number
of order one that does not depend on N, as sums of smooth functions of singular values do, and are nearly Gaussian.
Source: derived here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arguments import positive, require, require_instance, vector
from .._numerics import as_complex
from .._results import Result
from ..couplings import Ensemble


class SingularProfile(Result, axes={"K": "scales"}):
    """C, `counts`, and Q, `overlaps`, at `scales`; made by `singular_profile` and `profile_of_values`."""

    scales: Float[Array, " K"]
    counts: Float[Array, " K"]
    overlaps: Float[Array, " K"]


def profile_of_values(
    values: Float[Array, " r"], overlaps: Float[Array, " r"], n: int, scales: Float[Array, " K"]
) -> SingularProfile:
    """C and Q at `scales` of a matrix of n units with these singular `values` and overlaps, zero for the rest."""
    eta = scales[:, None]
    kernel = 1 / (values[None] ** 2 + eta**2)
    counts = jnp.sum(values[None] ** 2 * kernel, axis=1) / n
    return SingularProfile(scales, counts, jnp.sum(eta * (values * overlaps)[None] * kernel, axis=1) / n)


def singular_profile(ensemble: Ensemble, scales: Float[ArrayLike, " K"]) -> SingularProfile:
    r"""C and Q of an ensemble for N -> infinity; parts of finite rank add nothing.

    $$ 1 - C + i Q = \Big(1 + (1 - C) \frac{h}{\eta^2} - i\, \frac{s_{12}}{\eta}\Big)^{-1}, \qquad
       (s_{12}, s_{21}, h) = \mathtt{blocks}\Big(-\frac{Q}{\eta}, -\frac{Q}{\eta}, -\frac{(1 - C)^2}{\eta^2}\Big) $$

    from T = (Z - S(T))^{-1} with Z = i eta. `scales` are eta, in the units of J. NaN where the equation is not solved,
    as for a `SingularModes` in a sum below its outer branch (alone, its own values are counted). The first correction
    for finite N is of order 1 / N in C and Q. Differentiable in the floats of the ensemble.

    Raises:
        ValueError: for what is no ensemble, and scales that are empty or not positive.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    scales = vector("scales", scales)
    require("scales", scales, positive, "finite numbers > 0")
    known = ensemble.singular_law()
    if known is not None:
        share = scales[:, None] ** 2 / (scales[:, None] ** 2 + known.values[None] ** 2)
        counts = 1 - share @ known.weights
        return SingularProfile(scales, counts, jnp.zeros_like(scales))
    counts, overlaps = _solve_all(ensemble, scales.astype(ensemble.variance().dtype))
    return SingularProfile(scales, counts, overlaps)


@eqx.filter_jit
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


@eqx.filter_custom_jvp
def _root(ensemble: Ensemble, eta: Float[Array, ""]) -> Float[Array, "2"]:
    """The fixed point of `_green`, by averaged iterates (Helton, Rashidi Far & Speicher 2007); NaN if not found.

    Its derivative is written out, where `polish_root` would do, because programs that fit hold many copies of it and
    take half the time to compile.
    """
    eps = jnp.finfo(eta.dtype).eps

    def unfinished(carry):
        _, miss, step = carry
        return (miss > 8 * eps) & (step < _MOST_STEPS)

    def average(carry):
        y, _, step = carry
        image = _green(y, ensemble, eta)
        return (y + image) / 2, jnp.max(jnp.abs(image - y)), step + 1

    start = (jnp.array([1, 0], eta.dtype), jnp.full_like(eta, jnp.inf), 0)
    y, miss, _ = jax.lax.while_loop(unfinished, average, start)
    return jnp.where(miss <= 1e4 * eps, y, jnp.nan)


@_root.def_jvp
def _root_jvp(primals, tangents):
    y = _root(*primals)
    (a, b), (c, d) = jnp.eye(2, dtype=y.dtype) - jax.jacfwd(_green)(y, *primals)
    _, (e, f) = eqx.filter_jvp(lambda *args: _green(y, *args), primals, tangents)
    return y, jnp.stack([d * e - b * f, a * f - c * e]) / (a * d - b * c)


_MOST_STEPS = 2000
