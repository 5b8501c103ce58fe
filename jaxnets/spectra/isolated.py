r"""Isolated eigenvalues of J G for N -> infinity: those that parts of finite rank add to a bulk."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._numerics import polish_root
from .._results import Result
from ..couplings import Ensemble, LowRank, Sum
from ..eigen import eigenvalues
from ..transfer import Transfer
from . import inside, outside
from .spectral_law import SpectralLaw, law


class Outliers(Result, axes={"k": "outlier"}):
    """Isolated eigenvalues: `values`, one for each that the joint overlaps have, or NaN; made by `outliers`."""

    values: Complex[Array, " k"]
    converged: Bool[Array, " k"]
    residual: Float[Array, " k"]


def outliers(
    ensemble: Ensemble,
    gains: Float[ArrayLike, " k"] | Transfer | None = None,
    *,
    mean: Float[ArrayLike, ""] = 0.0,
    variance: Float[ArrayLike, ""] | None = None,
) -> Outliers:
    r"""The eigenvalues that the low-rank parts of a sum add to the spectrum of the rest, for N -> infinity.

    $$ \det(1 - V^T \mathcal{G}(z) U) = 0, \qquad V^T \mathcal{G} U \to O\, t(z) $$

    so that an eigenvalue mu of the overlaps O has an outlier at t(z) = 1/mu: in the coordinate of the boundary,
    zeta = mu and z = mu <G> + ..., if m(mu) < 1; else the bulk has swallowed it. U and V hold the modes of all
    parts. Those of different parts do not overlap, but for uniform columns of U, which are one. Valid for N ->
    infinity: fluctuations are of order 1 / sqrt(N).

    Raises:
        ValueError: as `law`, and for an ensemble without a `LowRank` part, or with nothing beside it.

    Source: Tao 2013; Benaych-Georges & Nadakuditi 2011.
    """
    low_rank, rest = [], []
    for factor, part in inside.parts(ensemble):
        if isinstance(part, LowRank):
            low_rank.append((factor, part))
        else:
            rest.append(factor * part)
    if not low_rank:
        raise ValueError("`ensemble` must have a `LowRank` part, got none")
    if not rest:
        raise ValueError("`ensemble` must have a part beside `LowRank`: alone, its eigenvalues are those of `overlaps`")
    bulk = law(Sum(tuple(rest)), gains, mean=mean, variance=variance)
    return jax.vmap(lambda mu: _outlier(bulk, mu))(eigenvalues(_joint_overlaps(low_rank)))


def _joint_overlaps(low_rank: list[tuple[Array | float, LowRank]]) -> Float[Array, "k k"]:
    """E^T O E, the overlaps of all parts as one: E says which column of the joint U a column of a part is."""
    from jax.scipy.linalg import block_diag  # here, as it takes long to import

    uniform = np.concatenate([part.uniform & (np.arange(part.overlaps.shape[0]) == 0) for _, part in low_rank])
    column = np.where(uniform, -1, np.arange(uniform.size))
    overlaps = block_diag(*(factor * part.overlaps for factor, part in low_rank))
    E = jnp.asarray(column[:, None] == np.unique(column)[None], overlaps.dtype)
    return E.T @ overlaps @ E


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
