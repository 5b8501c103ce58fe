"""Stability of a fixed point: the bulk of the Jacobian's spectrum, and the outliers beyond it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from ..._arguments import require_instance
from ..._laws import Discrete
from ..._numerics import as_complex, as_program, frozen
from ..._results import Result
from ...spectra.edges import rightmost
from .line import guesses, half_plane, number_missed
from .outliers import TOLERANCE, distinct, outlier
from .state import StaticState, state_in_units

# An eigenvalue this close to 1 is marginal, and the state not stable: no closer are outliers known.
_MARGIN = TOLERANCE


class StaticStability(Result, axes={"k": "outlier"}):
    """Leading eigenvalues z of J phi'(x) at a fixed point; the Jacobian has the eigenvalues z - 1, per tau.

    `edge` is the largest real part of the bulk (0 without a random part). `outliers` holds each outlier once, sorted by
    falling real part, followed by NaN. The list is complete for Re z > `searched_from`, up to the number `missed`:
    0 if complete, counted with multiplicity, -1 if outliers could not be counted. `searched_from` lies between the edge
    and 1 if the edge is below 1; further outliers may lie left of it.

    `stable` is True if all real parts are below 1 and no outlier is missed; a marginal state, as on a ring, is not
    stable. `residual` is the largest error of the equations of outliers and edge. `converged` asks for 1e-6, and for no
    outlier missed. Made by `static_stability`.
    """

    edge: Float[Array, ""]
    outliers: Complex[Array, " k"]
    stable: Bool[Array, ""]
    searched_from: Float[Array, ""]
    missed: Int[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]

    @property
    def rightmost(self) -> Complex[Array, ""]:
        """The eigenvalue that decides stability: the first outlier if it lies beyond the edge, else the edge."""
        first = self.outliers[..., 0]
        return jnp.where(first.real > self.edge, first, as_complex(self.edge))


def static_stability(state: StaticState) -> StaticStability:
    r"""The right edge of the bulk and the isolated eigenvalues of J phi'(x) at a `static_state`.

    $$ \kappa(t) \langle |q|^2 \rangle = 1 \;\text{ on the edge}, \qquad D(z) = \det(1 - M(z)) = 0, \quad
       q = \frac{\phi'}{z - r(t) \phi'}, \quad t = \langle q \rangle $$

    where M(z) is the response of the order parameters to themselves. For one mode and no random part the outlier is
    z = O <phi' + (h - <h>) phi''>. With independent weights and inputs, but no mode, it is z = g^2 <phi'^2 + phi phi''>
    if that lies beyond the bulk, of radius g <phi'^2>^(1/2).

    Outliers are sought right of a vertical line. Integrals along the line give guesses, Newton's method makes them
    exact, and the winding of D along the line counts the outliers that are missed.

    Valid for N -> infinity; isolated eigenvalues of samples scatter by 1 / sqrt(N). Works under `jit` and `vmap`. Not
    differentiable; `state.bulk` is. Raises `ValueError` for a state of another type.

    Source: Mastrogiuseppe & Ostojic 2018, with the fluctuations at finite z and memory kernels derived here.
    """
    require_instance("state", state, StaticState, "a `StaticState` (a `TypedStaticState` has its `modes` and `stable`)")
    return _stability(state_in_units(frozen(state)))


@as_program
def _stability(state: StaticState) -> StaticStability:
    problem = state.problem
    gains = Discrete(problem.transfer.slope(state.x), state.weights)
    variance = problem.ensemble.variance()
    bulk = rightmost(problem.ensemble, gains)
    edge = jnp.where(variance > 0, jnp.where(bulk.converged, bulk.z.real, jnp.nan), 0)
    edge_error = jnp.where(variance > 0, bulk.residual, 0)

    line = half_plane(state, gains, edge)
    found = distinct(jax.vmap(lambda z: outlier(state, gains, z))(guesses(line)))
    isolated = ~jnp.isnan(found.z.real)
    missed = number_missed(line, found.z, found.order)
    residual = jnp.maximum(jnp.max(jnp.where(isolated, found.residual, 0)), edge_error)
    order = jnp.lexsort((-found.z.imag, jnp.where(isolated, -found.z.real, jnp.inf)))
    stable = (edge < 1 - _MARGIN) & ~jnp.any(found.z.real >= 1 - _MARGIN) & (missed == 0)
    converged = state.converged & (residual <= TOLERANCE) & (missed == 0)
    return StaticStability(edge, found.z[order], stable, line.start, missed, residual, converged)
