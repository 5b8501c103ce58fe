r"""Isolated eigenvalues of J G for N -> infinity, which parts of finite rank add to a bulk."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._numerics import as_program, is_concrete, polish_root
from .._numerics.host import from_host
from .._results import Result
from ..couplings import Ensemble
from ..couplings.parts import FiniteRank
from ..eigen import eigenvalues
from . import outside
from .spectral_law import SpectralLaw, law
from .types.outliers import outliers as typed_outliers


class Outliers(Result, axes={"k": "outlier"}):
    """Isolated eigenvalues, made by `outliers`.

    `values` has one for each eigenvalue of the joint overlaps: NaN if the bulk has swallowed it.
    """

    values: Complex[Array, " k"]
    converged: Bool[Array, " k"]
    residual: Float[Array, " k"]


def outliers(
    ensemble: Ensemble,
    gains: Any = None,
    *,
    mean: Float[ArrayLike, "..."] = 0.0,
    variance: Float[ArrayLike, "..."] | None = None,
    tau: Any = None,
) -> Outliers:
    r"""The eigenvalues that block means and low-rank parts of a sum add to the spectrum of the rest, for N -> infinity.

    $$ \det(1 - V^T \mathcal{G}(z) U) = 0, \qquad V^T \mathcal{G} U \to O\, t(z) $$

    so that an eigenvalue mu of the overlaps O has an outlier z with t(z) = 1/mu if m(zeta = mu) < 1; otherwise the bulk
    has swallowed it. U and V hold the modes of all parts. Modes of different parts do not overlap, except that all
    uniform columns of U are one column. Valid for N -> infinity: fluctuations are of order 1 / sqrt(N).

    With K cell types, or time constants, U also holds the indicators of types, between which O has the block means, and
    a uniform column is their sum. In place of t(z) stands f_a t_a(z) for the indicator of type a, and sum_a f_a t_a(z)
    for random columns. Concrete outliers are then counted by the argument principle, and all are found. Values are
    those of the z of `law`, which takes the same arguments.

    Raises:
        ValueError: as `law`, and for an ensemble without block means or a `LowRank` part, or with nothing beside it.

    Source: Tao 2013; Benaych-Georges & Nadakuditi 2011; with types, derived here.
    """
    ensemble.block_means()  # which refuses means of many modes
    modes, overlaps, rest, means = _split(ensemble)
    if modes.rank == 0 and len(means) == 1:
        raise ValueError("`ensemble` must have a `LowRank` part, got none")
    if len(means) > 1 or tau is not None:
        bulk = law(ensemble, gains, mean=mean, variance=variance, tau=tau)
        if modes.rank == 0 and is_concrete(means) and not np.any(np.asarray(means)):
            raise ValueError("`ensemble` must have block means that are not 0, or a `LowRank` part, got none")
        return Outliers(*typed_outliers(bulk.ensemble, bulk.units))
    if rest is None:
        raise ValueError("`ensemble` must have a part beside `LowRank`: alone, it has the eigenvalues of `overlaps`")
    bulk, mu = law(rest, gains, mean=mean, variance=variance), eigenvalues(overlaps)
    if is_concrete(bulk, mu):
        return _outliers_from_host(bulk, np.asarray(mu))
    return jax.vmap(lambda mu: _outlier(bulk, mu))(mu)


@as_program
def _split(ensemble: Ensemble) -> tuple[FiniteRank, Any, Ensemble | None, Float[Array, "K K"]]:
    """The modes of finite rank, their joint overlaps, all other parts, and the block means."""
    modes = ensemble.finite_rank()
    return modes, modes.joint_overlaps() if modes.rank > 0 else None, ensemble.bulk(), ensemble.block_means()


def _outliers_from_host(bulk: SpectralLaw, mu: Complex[np.ndarray, " k"]) -> Outliers:
    """Images of concrete mu, which are found to rounding: only their derivatives ask for more."""
    at: Any = outside.images(bulk.ensemble.padded(), bulk.gains, mu)
    values, weights = np.asarray(bulk.gains.values)[:, None], np.asarray(bulk.gains.weights)[:, None]
    with np.errstate(all="ignore"):  # no outlier is NaN
        error = mu * np.sum(weights * values / (at.z - values * at.r), axis=0) - 1
    residual = np.maximum(abs(error.real), abs(error.imag))
    return Outliers(*from_host((np.where(at.m < 1, at.z, np.nan), np.isfinite(at.z), residual)))


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
