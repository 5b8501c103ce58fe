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

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arguments import positive, require, require_instance, vector
from .._numerics import as_complex, implicit_root, iterate
from .._results import Result
from ..couplings import Ensemble


class SingularProfile(Result, axes={"K": "scales"}):
    """C, `counts`, and Q, `overlaps`, at `scales`; made by `singular_profile` and `observed_singular_profile`."""

    scales: Float[Array, " K"]
    counts: Float[Array, " K"]
    overlaps: Float[Array, " K"]


def observed_singular_profile(
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
        ValueError: for an `ensemble` of another type, and scales that are empty or not positive.
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
