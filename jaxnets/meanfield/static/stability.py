"""Stability of a fixed point: the bulk of the Jacobian's spectrum, and the outliers beyond it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from ..._laws import Discrete
from ..._numerics import as_complex, frozen
from ..._results import Result
from ...spectra.exterior import rightmost
from .line import guesses, half_plane, number_missed
from .outliers import distinct, outlier
from .state import StaticState


class StaticStability(Result, axes={"k": "outlier"}):
    """Leading eigenvalues z of J phi'(x) at a fixed point (z - 1 of the Jacobian, per tau); made by `static_stability`.

    `edge` is the largest real part of the bulk (0 without a random part). `outliers` are sorted by falling real part,
    each once, followed by NaN. `missed` is how many more there are with Re z > `searched_from`, a line between the edge
    and 1 if the edge is below 1, counted with their multiplicity: 0 says that the list is complete there, -1 that they
    could not be counted. Left of the line there may be others.

    `stable` says that all real parts are below 1, and is True only where none is missed; a marginal state, as on a
    ring, is not stable. `residual` is that of the outliers' equations and of the edge's; `converged` asks for 1e-6 and
    for none missed.
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
        """What decides stability: the first outlier if it lies beyond the edge, else the edge."""
        first = self.outliers[..., 0]
        return jnp.where(first.real > self.edge, first, as_complex(self.edge))


def static_stability(state: StaticState) -> StaticStability:
    r"""The right edge of the bulk and the isolated eigenvalues of J phi'(x) at a `static_state`.

    $$ \kappa(t) \langle |q|^2 \rangle = 1 \;\text{ on the edge}, \qquad D(z) = \det(1 - M(z)) = 0, \quad
       q = \frac{\phi'}{z - r(t) \phi'}, \quad t = \langle q \rangle $$

    For one mode and no random part the outlier is z = O <phi' + (h - <h>) phi''>. With independent weights and inputs,
    but no mode, it is z = g^2 <phi'^2 + phi phi''> if that is beyond the bulk, of radius g <phi'^2>^(1/2).

    D is holomorphic right of the bulk and 1 at infinity, so that along a vertical line its phase winds once for each
    zero on the right (Nyquist's criterion). Integrals of w^p / (1 - M) along the line, w a coordinate in which that
    half-plane is a disc, give guesses of these zeros (Beyn 2012), Newton's method makes them exact, and the winding of
    what remains when they are divided out says how many are missed.

    Valid for N -> infinity; isolated eigenvalues of samples scatter by 1 / sqrt(N). Not differentiable (`state.bulk`
    is); works under `jit` and `vmap`.

    Source: Mastrogiuseppe & Ostojic 2018, with the fluctuations at finite z and memory kernels derived here.
    """
    return _stability(frozen(state))


@eqx.filter_jit
def _stability(state: StaticState) -> StaticStability:
    problem = state.problem
    gains = Discrete(problem.transfer.slope(state.x), state.weights)
    variance = problem.ensemble.variance()
    bulk = rightmost(problem.ensemble, gains)
    edge = jnp.where(variance > 0, jnp.where(bulk.converged, bulk.z.real, jnp.nan), 0)
    unmet = jnp.where(variance > 0, bulk.residual, 0)

    line = half_plane(state, gains, edge)
    found = distinct(jax.vmap(lambda z: outlier(state, gains, z))(guesses(line)))
    isolated = ~jnp.isnan(found.z.real)
    missed = number_missed(line, found.z, found.order)
    residual = jnp.maximum(jnp.max(jnp.where(isolated, found.residual, 0)), unmet)
    order = jnp.lexsort((-found.z.imag, jnp.where(isolated, -found.z.real, jnp.inf)))
    stable = (edge < 1 - _MARGIN) & ~jnp.any(found.z.real >= 1 - _MARGIN) & (missed == 0)
    converged = state.converged & (residual <= 1e-6) & (missed == 0)
    return StaticStability(edge, found.z[order], stable, line.start, missed, residual, converged)


_MARGIN = 1e-6  # within which an eigenvalue is marginal
