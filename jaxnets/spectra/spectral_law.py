r"""The spectrum of J G for N -> infinity: boundary, density, edges and zero modes of any ensemble.

`inside` and `outside` hold the equations, `edges` and `boundary` the curves between them, `isolated` the eigenvalues
that finite-rank parts add. New questions to a law are methods of `SpectralLaw`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import plane_points, positive, require, require_whole, scalar, vector
from .._laws import Discrete
from .._numerics import Root, as_program, is_concrete
from .._numerics.host import from_host, on_host
from .._results import one_line
from ..couplings import Ensemble
from ..transfer import Transfer
from . import boundary, edges, inside, tolerances
from .edges import Edge
from .inside import Point
from .profile import ProfileLaw
from .types.law import TypedLaw, typed_law
from .types.units import units


class SpectralLaw(eqx.Module):
    """The limiting spectrum of J G, J from an `ensemble` and G = diag(`gains`) independent of it; made by `law`.

    Valid for N -> infinity, without isolated eigenvalues (`outliers`). Methods that return numbers return NaN where a
    solver failed; `solve` and `rightmost` give the residuals.
    """

    __repr__ = one_line

    ensemble: Ensemble
    gains: Discrete

    def boundary(self, num_points: int = 512) -> list[Complex[np.ndarray, " num_points"]]:
        """Every closed curve that bounds the support, as complex arrays of `num_points`, the first repeated last.

        Edges come first, by falling size, then the voids. A symmetric ensemble has flat curves, there and back along
        each interval of its support. Works on concrete values only, and sees features wider than 1/2000 of the support.
        A thin support is one component wherever a curve of poles (`Ensemble.pole_curves`) holds it together. Warns,
        with a point z, if a curve could not be followed to its end: known of `DeepHebbian` for loads near .01 and three
        or more equal weights, where branches of the support cross and averages over angles lose their digits.

        Raises:
            ValueError: if `num_points` < 8.
        """
        if num_points < 8:
            raise ValueError(f"`num_points` must be at least 8, got {num_points}")
        return boundary.closed_curves(self.ensemble, self.gains, num_points, self.is_symmetric())

    def real_crossings(self, *, max_crossings: int = 16) -> Float[Array, " k"]:
        """Where the boundary crosses the real axis, by size: alternately into the support and out of it.

        The last one is the right edge if the rightmost point is real. Interior ones bound voids, and gaps between
        components. Differentiable and vmappable. With concrete values k is the number of crossings; traced, k is
        `max_crossings` + 2, NaN after the last one, and all NaN if there are more. NaN too where a solver failed.
        Features narrower than 1/2000 of the support are not seen. Two edges that touch at 0 are both 0, without a
        derivative.

        Raises:
            ValueError: if `max_crossings` is not a whole number >= 1.
        """
        require_whole("max_crossings", max_crossings)
        return edges.real_crossings(self.ensemble, self.gains, max_crossings)

    def density(self, z: Complex[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Density of eigenvalues at any finite points z: per unit area, without the atom at 0 (`zero_mass`).

        For a symmetric ensemble the spectrum is real and this is the density per unit length at real z, 0 elsewhere.

        Raises `ValueError` for points that are not finite.
        """
        points = plane_points("z", z, self.gains.weights.dtype)
        if self.is_symmetric():
            return _mapped(_line_density, self, points)
        if is_concrete(self, points):
            return _from_host(self, points)[0]
        return _mapped(_area_density, self, points)

    def solve(self, z: Complex[ArrayLike, "..."]) -> Point:
        """The Hermitised Green's function at z: t, u, g, whether z is in the support, residual and convergence.

        Raises `ValueError` for points that are not finite.
        """
        points = plane_points("z", z, self.gains.weights.dtype)
        return _from_host(self, points)[1] if is_concrete(self, points) else _mapped(_solve, self, points)

    def right_edge(self) -> Float[Array, ""]:
        """The largest real part in the support, the atom at 0 not counted; differentiable, vmappable."""
        return _edge(self, 1.0)

    def left_edge(self) -> Float[Array, ""]:
        """The smallest real part in the support, the atom at 0 not counted: minus the right edge for -J."""
        return _edge(self, -1.0)

    def rightmost(self) -> Edge:
        """Where the right edge is, with the residual of its equations."""
        return edges.rightmost(self.ensemble, self.gains)

    def zero_mass(self) -> Float[Array, ""]:
        """The fraction of eigenvalues that are exactly 0, because the rank of J or of G is less than N."""
        return _zero_mass(self.ensemble, self.gains)

    def is_symmetric(self) -> bool:
        """True if the spectrum is real because J is symmetric and no gain is negative (known only if not traced)."""
        return (
            self.ensemble.is_symmetric() and is_concrete(self.gains) and not np.any(np.asarray(self.gains.values) < 0)
        )


@as_program
def _mapped(of_point: Callable, law: SpectralLaw, z: Complex[Array, "..."]):
    """``of_point(law, z)``, some points at a time."""
    # Filled up to whole batches: a rest of another size would be compiled as well.
    rows = max(-(-z.size // tolerances.BATCH), 1)
    filled = z.ravel() if rows == 1 else jnp.resize(z, (rows * tolerances.BATCH,))
    of_row = jax.vmap(lambda x: of_point(law, x))
    found = jax.lax.map(of_row, filled.reshape(rows, -1)) if rows > 1 else of_row(filled)
    return jax.tree.map(lambda leaf: leaf.ravel()[: z.size].reshape(z.shape), found)


def _from_host(law: SpectralLaw, z: Complex[np.ndarray, "..."]):
    """Densities and solutions at concrete points."""
    value, point = inside.densities(law.ensemble, law.gains, z.ravel())
    value = np.where(point.converged, value, np.nan)
    return from_host(jax.tree.map(lambda leaf: leaf.reshape(z.shape), (value, point)))


def _area_density(law, z):
    value, point = inside.density(law.ensemble, law.gains, z)
    return jnp.where(point.converged, value, jnp.nan)


def _line_density(law, z):
    value, converged = inside.line_density(law.ensemble, law.gains, z.real)
    return jnp.where(z.imag == 0, jnp.where(converged, value, jnp.nan), 0)


def _solve(law, z):
    return inside.solve(law.ensemble, law.gains, z)


@as_program
def _zero_mass(ensemble: Ensemble, gains: Discrete) -> Float[Array, ""]:
    active = gains.mean((gains.values != 0).astype(gains.values.dtype))
    return jnp.maximum(1 - jnp.minimum(ensemble.rank_fraction(), active), 0)


def _edge(law: SpectralLaw, sign: float) -> Float[Array, ""]:
    """Right edge for sign J; one trace serves both signs."""
    of_type = np.asarray(sign, law.gains.weights.dtype)
    edge, converged = edges.largest_real(law.ensemble, law.gains, of_type)
    if is_concrete(edge, converged):
        edge, converged = on_host((edge, converged))
        return from_host(of_type * np.where(converged, edge, np.nan))
    return jnp.where(converged, edge, jnp.nan) * of_type


def law(
    ensemble: Ensemble,
    gains: Any = None,
    *,
    mean: Float[ArrayLike, "..."] = 0.0,
    variance: Float[ArrayLike, "..."] | None = None,
    tau: Any = None,
) -> Any:
    r"""The limiting spectrum of J G, or with time constants of the Jacobian A = diag(1/tau) (-1 + J G).

    ``gains`` are None for G = 1, an array of samples of phi'(x), their law (a `Discrete`), or a transfer function:
    then the gains are its slopes at a Gaussian input of the given ``mean`` and ``variance``. For an ensemble with K
    cell types they may also be a sequence of K of these, and mean and variance may be (K,).

    Without ``tau``, z is an eigenvalue of J G: the fixed point of x' = -x + J phi(x) is unstable where Re z > 1. With
    ``tau``, z is an eigenvalue of A, in units of 1 / tau, and it is unstable where Re z > 0. ``tau`` is a number, (K,),
    or a sequence with one entry for each type: a number, an array with one time constant for each gain of that type
    (joint law), or a `Discrete` that is independent of the gains.

    With types or ``tau`` the result is a `TypedLaw`, which answers the same questions. Single weights with laws of
    their own, whose means have many modes, have a `ProfileLaw`; neither gains nor ``tau`` are known for it.

    Raises:
        ValueError: for gains that are empty, not finite or all zero, a variance missing, negative or without a transfer
            function, time constants that are not positive, laws that are not one for each type, and an ensemble of
            variance 0, or without feedback between types, which has no spectrum beside its atoms. For one type without
            ``tau`` also for gains of mean zero, whose edges this theory of 1/t cannot follow.

    Source: Feinberg & Zee 1997; Alt, Erdos & Kruger 2018 (Hermitised Dyson equations); with types, Aljadeff, Stern &
    Sharpee 2015, derived here for any symmetry and time constants.
    """
    single = ensemble.single_weights()
    if single is not None:
        if gains is not None or tau is not None or variance is not None:
            raise ValueError(
                "`gains`, `variance` and `tau` must be None for means of many modes, as in trained networks"
            )
        return ProfileLaw(single.mean, single.variance)
    power, fractions = _variance(ensemble.padded())
    if is_concrete(power) and not np.all(np.asarray(power) > 0):
        raise ValueError(f"`ensemble` must have a positive variance, got {power}: it has no bulk")
    if fractions.shape[0] > 1 or tau is not None:
        return typed_law(ensemble, units(fractions, gains, mean, variance, tau))
    return SpectralLaw(ensemble, _gains(gains, mean, variance, power.dtype))


def require_one_type(name: str, law: SpectralLaw | TypedLaw) -> None:
    """Raises `ValueError` for a law with cell types or time constants."""
    if isinstance(law, TypedLaw):
        raise ValueError(f"`{name}` must have no cell types and no time constants here: its plane of 1/t is needed")


@as_program
def _variance(ensemble: Ensemble) -> tuple[Float[Array, ""], Float[Array, " K"]]:
    """g^2 and the fractions of types."""
    return ensemble.variance(), ensemble.type_fractions()


@as_program
def _slope_law(transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""]) -> Discrete:
    return transfer.slope_law(mean, variance)


def _gains(gains, mean, variance, dtype) -> Discrete:
    if isinstance(gains, Transfer):
        if variance is None:
            raise ValueError("`variance` of the input must be given with a transfer function, got None")
        variance = scalar("variance", variance).astype(dtype)
        if is_concrete(variance) and not positive(np.asarray(variance)):
            raise ValueError(f"`variance` must be a finite number > 0, got {variance}")
        mean = scalar("mean", mean).astype(dtype)
        require("mean", mean, np.isfinite, "a finite number")
        return _slope_law(gains, mean, variance)
    if variance is not None:
        raise ValueError("`variance` belongs to a transfer function in `gains`, got it without one")
    if gains is None:
        return Discrete(np.ones(1, dtype), np.ones(1, dtype))
    if not isinstance(gains, Discrete):
        values = vector("gains", gains)
        require("gains", values, np.isfinite, "finite numbers")
        gains = Discrete(values)
    found = jax.tree.map(lambda x: x.astype(dtype), gains)
    if is_concrete(found):
        values, weights = np.asarray(found.values), np.asarray(found.weights)
        centre = float(weights @ values)
        if abs(centre) <= tolerances.ZERO_MEAN * np.max(np.abs(values)):
            raise ValueError(f"`gains` must have a mean that is not 0, got {centre}")
    return found


def critical_value(
    ensemble_at: Callable[[Float[Array, ""]], Ensemble],
    guess: Float[ArrayLike, ""],
    *,
    edge: Float[ArrayLike, ""] = 1.0,
    gains: Float[ArrayLike, " k"] | None = None,
) -> Root:
    """The parameter p near ``guess`` at which the right edge for ``ensemble_at(p)`` reaches ``edge``.

    At edge 1 the fixed point whose slopes are the gains loses its stability (the trivial one, for G = 1). Everything
    that ``ensemble_at`` closes over may be traced and differentiated. Valid where the edge moves continuously with p:
    the root does not converge if the edge never gets there, or jumps between far points on the way. Raises `ValueError`
    as `law` for the ensemble at the guess and the gains, and for cell types, whose edge has derivatives by p instead
    (`TypedLaw.right_edge`). Source: as `law`.
    """
    guess, edge = scalar("guess", guess), scalar("edge", edge)
    for name, value in (("guess", guess), ("edge", edge)):
        require(name, value, np.isfinite, "a finite number")
    try:
        bulk = law(ensemble_at(guess), gains)
    except ValueError as error:
        raise ValueError(str(error).replace("`ensemble`", "`ensemble_at` of the `guess`")) from error
    require_one_type("ensemble_at", bulk)
    if is_concrete(bulk, guess, edge):
        return edges.critical_from_host(ensemble_at, bulk.gains, guess, float(edge))
    return edges.critical(eqx.filter_closure_convert(ensemble_at, guess), bulk.gains, guess, edge)
