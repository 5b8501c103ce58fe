"""The spectrum of units with types or time constants for N -> infinity, and what can be asked of it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from ..._arguments import plane_points
from ..._numerics import as_complex, as_program, is_concrete
from ..._numerics.host import from_host, on_host
from ..._results import one_line
from ...couplings import Ensemble
from . import atoms, boundary, edges, inside, line
from .atoms import Atoms
from .edges import TypedEdge
from .inside import TypedPoint
from .outside import r_and_kappa, spectral_radius
from .units import Units


class TypedLaw(eqx.Module):
    r"""The limiting spectrum of A = diag(1/tau) (-1 + J G) for `units` with types or time constants; made by `law`.

    z is an eigenvalue of A. Without time constants it is one of J G, as in `SpectralLaw`, which answers the same
    questions for units of one type. Valid for N -> infinity, without isolated eigenvalues (`outliers`). Methods that
    return numbers return NaN where a solver failed; `solve` and `rightmost` give the residuals.
    """

    __repr__ = one_line

    ensemble: Ensemble
    units: Units

    def boundary(self, num_points: int = 512) -> list[Complex[np.ndarray, " num_points"]]:
        """Every closed curve that bounds the support, as complex arrays of `num_points`, the first repeated last.

        Edges come first, by falling size, then the voids. A symmetric spectrum has flat curves, there and back along
        each interval of its support. Works on concrete values only. Components and voids narrower than 1/100 of the
        support may be missed. Warns, with a point z, if a curve could not be followed to its end.

        Raises:
            ValueError: if `num_points` < 8.
        """
        if num_points < 8:
            raise ValueError(f"`num_points` must be at least 8, got {num_points}")
        return boundary.closed_curves(self.ensemble, self.units, num_points, self.is_symmetric())

    def density(self, z: Complex[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Density of eigenvalues at any finite points z: per unit area, without `atoms`.

        For a symmetric ensemble the spectrum is real and this is the density per unit length at real z, 0 elsewhere.

        Raises `ValueError` for points that are not finite.
        """
        points = plane_points("z", z, self.units.weights.dtype)
        if self.is_symmetric():
            return _mapped_line(self, points)
        if is_concrete(self, points):
            value, point = inside.densities(self.ensemble, self.units, points.ravel())
            return from_host(np.where(point.converged, value, np.nan).reshape(points.shape))
        return _mapped_density(self, points)

    def solve(self, z: Complex[ArrayLike, "..."]) -> TypedPoint:
        """The Hermitised Green's function at z: t, u, g, whether z is in the support, residual and convergence.

        Raises `ValueError` for points that are not finite.
        """
        points = plane_points("z", z, self.units.weights.dtype)
        if not is_concrete(self, points):
            return _mapped_solve(self, points)
        _, found = inside.densities(self.ensemble, self.units, points.ravel())
        return from_host(jax.tree.map(lambda leaf: leaf.reshape(*points.shape, *leaf.shape[1:]), found))

    def right_edge(self) -> Float[Array, ""]:
        """The largest real part in the support, `atoms` not counted; differentiable, vmappable."""
        return _edge(self, 1.0)

    def left_edge(self) -> Float[Array, ""]:
        """The smallest real part in the support, `atoms` not counted: minus the right edge for -A."""
        return _edge(self, -1.0)

    def rightmost(self) -> TypedEdge:
        """Where the right edge is, with the residual of its equations."""
        return edges.rightmost(self.ensemble, self.units, np.asarray(1.0, self.units.weights.dtype))

    def atoms(self) -> Atoms:
        """Eigenvalues that a part of all units has exactly, as units without input or output have -1/tau.

        Raises `ValueError` for traced values.
        """
        return atoms.atoms(self.ensemble, self.units)

    def zero_mass(self) -> Float[np.ndarray, ""]:
        """The fraction of eigenvalues that are exactly 0.

        Raises `ValueError` for traced values.
        """
        found = self.atoms()
        return np.sum(found.mass, where=found.z == 0)

    def real_crossings(self) -> Float[np.ndarray, " k"]:
        """Where the boundary crosses the real axis, in rising order: alternately into the support and out of it.

        Works on concrete values only. NaN where a solver failed. Features narrower than 1/2000 of the support are not
        seen.
        """
        return boundary.real_crossings(self.ensemble, self.units, self.is_symmetric())

    def is_symmetric(self) -> bool:
        """True if the spectrum is real because J is symmetric and no gain is negative (known only if not traced)."""
        return self.ensemble.is_symmetric() and is_concrete(self.units) and not np.any(np.asarray(self.units.gains) < 0)


def typed_law(ensemble: Ensemble, units: Units) -> TypedLaw:
    """The law, if the ensemble has a bulk: raises `ValueError` where no unit acts on itself through others."""
    if is_concrete(ensemble, units) and not _feedback(ensemble, units) > 0:
        raise ValueError(
            "`ensemble` must have feedback within or between types whose `gains` are not 0: it has no bulk"
        )
    ensemble.block_means()  # which refuses means of many modes
    return TypedLaw(ensemble, units)


@as_program
def _feedback(ensemble: Ensemble, units: Units) -> Float[Array, ""]:
    _, kappa = r_and_kappa(ensemble, units.fractions, as_complex(jnp.zeros_like(units.fractions)))
    return spectral_radius(units.mean(units.gains**2)[:, None] * kappa)


def _edge(law: TypedLaw, sign: float) -> Any:
    """Right edge for sign A; one trace serves both signs."""
    of_type = np.asarray(sign, law.units.weights.dtype)
    edge = edges.rightmost(law.ensemble, law.units, of_type)
    if is_concrete(edge):
        edge = on_host(edge)
        return from_host(of_type * np.where(edge.converged, np.real(edge.z), np.nan))
    return of_type * jnp.where(edge.converged, edge.z.real, jnp.nan)


@as_program
def _mapped_density(law: TypedLaw, z: Complex[Array, "..."]) -> Float[Array, "..."]:
    value, point = jax.vmap(lambda z: inside.density(law.ensemble, law.units, z))(z.ravel())
    return jnp.where(point.converged, value, jnp.nan).reshape(z.shape)


@as_program
def _mapped_solve(law: TypedLaw, z: Complex[Array, "..."]) -> TypedPoint:
    found = jax.vmap(lambda z: inside.solve(law.ensemble, law.units, z))(z.ravel())
    return jax.tree.map(lambda leaf: leaf.reshape(*z.shape, *leaf.shape[1:]), found)


@as_program
def _mapped_line(law: TypedLaw, z: Complex[Array, "..."]) -> Float[Array, "..."]:
    value, converged = jax.vmap(lambda x: line.line_density(law.ensemble, law.units, x))(z.real.ravel())
    value = jnp.where(converged, value, jnp.nan).reshape(z.shape)
    return jnp.where(z.imag == 0, value, 0)
