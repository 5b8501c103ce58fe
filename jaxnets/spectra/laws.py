r"""The spectrum of J G for N -> infinity: boundary, density, edges, zero modes and outliers of any ensemble."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._laws import Discrete
from .._numerics import Root, as_complex, as_float, is_concrete, polish_root
from .._results import Result
from ..couplings import Ensemble, LowRank, Sum
from ..eigen import eigenvalues
from ..transfer import Transfer
from . import curves, exterior, interior
from .exterior import Edge
from .interior import Point


class SpectralLaw(eqx.Module):
    """The limiting spectrum of J G, J from an `ensemble` and G = diag(`gains`) independent of it; made by `law`.

    Valid for N -> infinity, without isolated eigenvalues (`outliers`). Methods that return numbers return NaN where a
    solver failed; `solve` and `rightmost` give the residuals.
    """

    ensemble: Ensemble
    gains: Discrete

    def boundary(self, num: int = 512) -> list[Complex[np.ndarray, " num"]]:
        """Every closed curve that bounds the support, as complex arrays of ``num`` points (the first repeated last).

        Edges come first, by falling size, then the voids. A symmetric ensemble has flat curves, there and back along
        each interval of its support. Works on concrete values only; sees what is wider than 1/2000 of the support.

        Raises:
            ValueError: if ``num`` < 8.
        """
        if num < 8:
            raise ValueError(f"`num` must be at least 8 points, got {num}")
        return curves.boundary(self.ensemble, self.gains, num, self.is_symmetric())

    def density(self, z: Complex[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Density of eigenvalues at any points z: per unit area, without the atom at 0 (`zero_mass`).

        For a symmetric ensemble the spectrum is real and this is the density per unit length at real z, 0 elsewhere.
        """
        return _mapped(_line_density if self.is_symmetric() else _area_density, self, _as_points(z, self))

    def solve(self, z: Complex[ArrayLike, "..."]) -> Point:
        """The Hermitised Green's function at z: t, u, g, whether z is in the support, residual and convergence."""
        return _mapped(_solve, self, _as_points(z, self))

    def right_edge(self) -> Float[Array, ""]:
        """The largest real part in the support, the atom at 0 not counted; differentiable, vmappable."""
        return _edge(self, 1.0)

    def left_edge(self) -> Float[Array, ""]:
        """The smallest real part in the support, the atom at 0 not counted: minus the right edge for -J."""
        return -_edge(self, -1.0)

    def rightmost(self) -> Edge:
        """Where the right edge is, with the residual of its equations."""
        return _rightmost(self.ensemble, self.gains)

    def zero_mass(self) -> Float[Array, ""]:
        """The fraction of eigenvalues that are exactly 0: what is missing to the rank of J or of G."""
        active = self.gains.mean((self.gains.values != 0).astype(self.gains.values.dtype))
        rank = jnp.minimum(self.ensemble.rank_fraction(), active)
        return jnp.maximum(1 - rank, 0)

    def is_symmetric(self) -> bool:
        """True if the spectrum is real because J is symmetric and no gain is negative (known only if not traced)."""
        return (
            self.ensemble.is_symmetric() and is_concrete(self.gains) and not np.any(np.asarray(self.gains.values) < 0)
        )


_BATCH = 512


@eqx.filter_jit
def _mapped(of_point: Callable, law: SpectralLaw, z: Complex[Array, "..."]):
    """``of_point(law, z)`` in pieces: memory stays bounded, and a few slow points do not hold up all others."""
    flat = jax.lax.map(lambda x: of_point(law, x), z.ravel(), batch_size=_BATCH)
    return jax.tree.map(lambda leaf: leaf.reshape(z.shape), flat)


def _area_density(law, z):
    value, point = interior.density(law.ensemble, law.gains, z)
    return jnp.where(point.converged, value, jnp.nan)


def _line_density(law, z):
    value, converged = interior.line_density(law.ensemble, law.gains, z.real)
    return jnp.where(z.imag == 0, jnp.where(converged, value, jnp.nan), 0)


def _solve(law, z):
    return interior.solve(law.ensemble, law.gains, z)


_rightmost = eqx.filter_jit(exterior.rightmost)


def _edge(law: SpectralLaw, sign: float) -> Float[Array, ""]:
    """Right edge for sign J; one trace serves both signs."""
    edge = _rightmost(jnp.asarray(sign, law.gains.weights.dtype) * law.ensemble, law.gains)
    return jnp.where(edge.converged, edge.z.real, jnp.nan)


def law(
    ensemble: Ensemble,
    gains: Float[ArrayLike, " k"] | Transfer | None = None,
    variance: Float[ArrayLike, ""] | None = None,
    mean: Float[ArrayLike, ""] = 0.0,
) -> SpectralLaw:
    """The limiting spectrum of J G.

    ``gains`` are None for G = 1, an array of samples of phi'(x), or a transfer function: then the gains are its slopes
    at a Gaussian input of the given ``variance`` and ``mean``.

    Raises:
        ValueError: for gains that are empty, not finite, all zero or of mean zero (whose edges this theory of
            1/t cannot follow), a variance missing, negative or without a transfer function, and an ensemble of
            variance 0, which has no spectrum beside its atom at 0.

    Source: Feinberg & Zee 1997; Alt, Erdos & Kruger 2018 (Hermitised Dyson equations).
    """
    if is_concrete(ensemble.variance()) and not np.all(np.asarray(ensemble.variance()) > 0):
        raise ValueError(f"`ensemble` must have a positive variance, got {ensemble.variance()}: it has no bulk")
    return SpectralLaw(ensemble, _gains(gains, variance, mean, ensemble.variance().dtype))


def _gains(gains, variance, mean, dtype) -> Discrete:
    if isinstance(gains, Transfer):
        if variance is None:
            raise ValueError("`variance` of the input must be given with a transfer function, got None")
        variance = as_float(variance).astype(dtype)
        if is_concrete(variance) and not (np.isfinite(variance) and variance > 0):
            raise ValueError(f"`variance` must be a finite number > 0, got {variance}")
        values, weights = gains.slope_law(as_float(mean).astype(dtype), variance)
        return Discrete(values, weights)
    if variance is not None:
        raise ValueError("`variance` belongs to a transfer function in `gains`, got it without one")
    if gains is None:
        return Discrete(jnp.ones(1, dtype), jnp.ones(1, dtype))
    values = as_float(gains).astype(dtype)
    if values.ndim != 1 or values.shape[0] == 0:
        raise ValueError(f"`gains` must be a non-empty 1-d array, got shape {values.shape}")
    if is_concrete(values):
        if not np.all(np.isfinite(values)):
            raise ValueError("`gains` must be finite numbers, got NaN or infinity")
        if abs(np.mean(values)) <= 1e-6 * np.max(np.abs(values)):
            raise ValueError(f"`gains` must have a mean that is not 0, got {np.mean(values)}")
    return Discrete(values, jnp.full_like(values, 1 / values.shape[0]))


def _as_points(z, law: SpectralLaw) -> Complex[Array, "..."]:
    """z as complex numbers of the precision of the law."""
    return jnp.asarray(z).astype(as_complex(law.gains.weights).dtype)


# --- finite-rank parts ----------------------------------------------------------------------------------------


class Outliers(Result, axes={"k": "outlier"}):
    """Isolated eigenvalues: `values`, one for each that the joint overlaps have, or NaN; made by `outliers`."""

    values: Complex[Array, " k"]
    converged: Bool[Array, " k"]
    residual: Float[Array, " k"]


def outliers(
    ensemble: Ensemble,
    gains: Float[ArrayLike, " k"] | Transfer | None = None,
    variance: Float[ArrayLike, ""] | None = None,
    mean: Float[ArrayLike, ""] = 0.0,
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
    for factor, part in interior.parts(ensemble):
        if isinstance(part, LowRank):
            low_rank.append((factor, part))
        else:
            rest.append(factor * part)
    if not low_rank:
        raise ValueError("`ensemble` must have a `LowRank` part, got none")
    if not rest:
        raise ValueError("`ensemble` must have a part beside `LowRank`: alone, its eigenvalues are those of `overlaps`")
    bulk = law(Sum(tuple(rest)), gains, variance, mean)
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
        error = exterior.preimage_error(law.ensemble, law.gains, mu, jax.lax.complex(y[0], y[1]))
        return jnp.stack([error.real, error.imag])

    start = exterior.exterior(*jax.lax.stop_gradient((bulk.ensemble, bulk.gains, mu))).z
    root = polish_root(equations, jnp.stack([start.real, start.imag]), (bulk, mu))
    z = jax.lax.complex(*root.value)
    isolated = exterior.stability(bulk.ensemble, bulk.gains, mu, z) < 1
    return Outliers(jnp.where(root.converged & isolated, z, jnp.nan), root.converged, root.residual)


def critical_value(
    ensemble_at: Callable[[Float[Array, ""]], Ensemble],
    start: Float[ArrayLike, ""],
    edge: Float[ArrayLike, ""] = 1.0,
    gains: Float[ArrayLike, " k"] | None = None,
) -> Root:
    """The parameter p near ``start`` at which the right edge for ``ensemble_at(p)`` reaches ``edge``.

    With edge 1, the instability of the fixed point whose slopes are the gains (G = 1: the trivial one). The result has
    ``value``, ``residual`` and ``converged``; what ``ensemble_at`` closes over may be traced and differentiated.
    Valid where the edge moves there with p: it does not converge where the edge never gets there, or jumps between far
    points on the way. Raises `ValueError` as `law` for the ensemble at the start and the gains. Source: as `law`.
    """

    start = as_float(start)
    closed = eqx.filter_closure_convert(ensemble_at, start)
    bulk = law(ensemble_at(start), gains)
    return exterior.critical(closed, bulk.gains, start, as_float(edge))
