r"""Isolated eigenvalues of J G for N -> infinity, which parts of finite rank add to a bulk."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import polish_root
from .._results import Result
from ..couplings import Ensemble
from ..eigen import eigenvalues
from ..transfer import Transfer
from . import outside
from .spectral_law import SpectralLaw, law


class Outliers(Result, axes={"k": "outlier"}):
    """Isolated eigenvalues, made by `outliers`.

    `values` has one for each eigenvalue of the joint overlaps: NaN if the bulk has swallowed it.
    """

    values: Complex[Array, " k"]
    converged: Bool[Array, " k"]
    residual: Float[Array, " k"]


def outliers(
    ensemble: Ensemble,
    gains: Float[ArrayLike, " k"] | Discrete | Transfer | None = None,
    *,
    mean: Float[ArrayLike, ""] = 0.0,
    variance: Float[ArrayLike, ""] | None = None,
) -> Outliers:
    r"""The eigenvalues that the low-rank parts of a sum add to the spectrum of the rest, for N -> infinity.

    $$ \det(1 - V^T \mathcal{G}(z) U) = 0, \qquad V^T \mathcal{G} U \to O\, t(z) $$

    so that an eigenvalue mu of the overlaps O has an outlier z with t(z) = 1/mu if m(zeta = mu) < 1; otherwise the bulk
    has swallowed it. U and V hold the modes of all parts. Modes of different parts do not overlap, except that all
    uniform columns of U are one column. Valid for N -> infinity: fluctuations are of order 1 / sqrt(N).

    Raises:
        ValueError: as `law`, and for an ensemble without a `LowRank` part, or with nothing beside it.

    Source: Tao 2013; Benaych-Georges & Nadakuditi 2011.
    """
    modes, rest = ensemble.finite_rank(), ensemble.bulk()
    if modes.rank == 0:
        raise ValueError("`ensemble` must have a `LowRank` part, got none")
    if rest is None:
        raise ValueError("`ensemble` must have a part beside `LowRank`: alone, it has the eigenvalues of `overlaps`")
    bulk = law(rest, gains, mean=mean, variance=variance)
    return jax.vmap(lambda mu: _outlier(bulk, mu))(eigenvalues(modes.joint_overlaps()))


def _outlier(bulk: SpectralLaw, mu: Complex[Array, ""]) -> Outliers:
    def equations(y, args):
        law, mu = args
        error = outside.preimage_error(law.ensemble, law.gains, mu, jax.lax.complex(y[0], y[1]))
        return jnp.stack([error.real, error.imag])

    start = outside.image(*jax.lax.stop_gradient((bulk.ensemble, bulk.gains, mu))).z
    root = polish_root(equations, jnp.stack([start.real, start.imag]), (bulk, mu))
    z = jax.lax.complex(*root.value)
    isolated = outside.stability(bulk.ensemble, bulk.gains, mu, z) < 1
    return Outliers(jnp.where(root.converged & isolated, z, jnp.nan), root.converged, root.residual)
