"""Where chaos begins: the scale of the couplings from which the rest state is unstable."""

import jax
import jax.numpy as jnp

from ..._arguments import require_instance
from ..._numerics import Root
from ...couplings import Ensemble
from ...spectra import law
from ...transfer import Transfer

# Largest error of s phi'(0) max Re z = 1 in a converged onset.
_TOLERANCE = 1e-5


def chaos_onset(ensemble: Ensemble, transfer: Transfer) -> Root:
    r"""The scale s from which the rest state x = 0 of s J is unstable, in a network without noise.

    $$ s\, \phi'(0)\, \max \mathrm{Re}\, z = 1 $$

    The maximum is over the support of the spectrum of J: over its bulk, without the outliers of a finite-rank part.
    Without memory kernel its right edge is explicit, sqrt(g^2 + a): g without echo, gamma sqrt(1 + load) for the shift.
    If the right edge is not positive, or phi'(0) = 0, the rest state is stable at any scale: s = inf, not converged.
    Differentiable. Valid for phi(0) = 0, so that x = 0 is a state.

    Raises:
        ValueError: for an `ensemble` or `transfer` of another type, and as `spectra.law` where the edge is not
            explicit.

    Source: Sompolinsky, Crisanti & Sommers 1988.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    # A traced overlap or symmetry may differ from 0, and the edge changes with it even where it is 0.
    site = ensemble.site(certain=True)
    slope = transfer.slope(jnp.zeros((), ensemble.variance().dtype))
    if site is not None:
        edge, found = jnp.sqrt(site.total), jnp.array(True)
    else:
        point = law(jnp.where(slope < 0, -1.0, 1.0) * ensemble).rightmost()
        edge, found = point.z.real, point.converged
    growth = jnp.abs(slope) * edge
    unstable = growth > 0
    scale = jnp.where(unstable, 1 / jnp.where(unstable, growth, 1), jnp.inf)
    residual = jax.lax.stop_gradient(jnp.where(unstable, jnp.abs(scale * growth - 1), jnp.inf))
    return Root(scale, residual, found & (residual <= _TOLERANCE))
