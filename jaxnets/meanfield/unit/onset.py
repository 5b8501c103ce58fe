"""Where chaos begins: the scale of the couplings from which rest is unstable, and from which there is another state."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..._arguments import require_instance
from ..._laws import Discrete
from ..._numerics import Root, as_program, frozen
from ..._results import Result
from ...couplings import Ensemble, Site
from ...spectra import law
from ...transfer import Transfer
from ..types.onset import typed_onset
from .energy import Problem, averages, coarse_nodes, limits
from .requirements import Shape, shape_of

# Largest error of s phi'(0) max Re z = 1 in a converged onset. Edges below this many roundings of g are 0.
_TOLERANCE, _ROUNDINGS = 1e-5, 1e4
# Points, rounds and quadrature nodes of the search for the fold, whose last part of ln C_0 is 1e-6. Chaos appears below
# the onset if it does so by more than this part of it, which is an error of averages.
_PARTS, _ROUNDS, _NODES, _EARLIER = 128, 4, 801, 1e-6


class Onset(Result):
    """Two scales of the couplings, made by `chaos_onset`.

    Rest is unstable from `value` on. Chaos is stable from `appears` on, which is `value`, or less where it appears
    beside a stable rest: at a fold, with a variance > 0. `appears` is NaN where it is not derived. `residual` and
    `converged` belong to `value`.
    """

    value: Float[Array, ""]
    appears: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def chaos_onset(
    ensemble: Ensemble, transfer: Transfer | Sequence[Transfer], *, input: Float[ArrayLike, "*K"] | None = None
) -> Onset:
    r"""The scale s from which the rest state x = 0 of s J is unstable, in a network without noise.

    $$ s\, \phi'(0)\, \max \mathrm{Re}\, z = 1 $$

    The maximum is over the support of the spectrum of J: over its bulk, without the outliers of a finite-rank part.
    Without memory kernel its right edge is explicit, sqrt(g^2 + a): g without echo, gamma sqrt(1 + load) for the shift.
    If the right edge is not positive, or phi'(0) = 0, the rest state is stable at any scale: s = inf, not converged.

    This is the instability of rest. Where |phi(x)| grows faster than x, chaos exists beside a stable rest, from the
    scale `appears` on, the smallest at which the energy of `stationary_states` has a root C_0 > 0:

    $$ s^{-2} = \max_{C_0} \Big[ a\, \langle \phi' \rangle^2 + \frac{2 g^2}{C_0^2}\, \mathrm{Var}\, \Phi(x) \Big],
       \qquad x \sim N(0, C_0) $$

    For C_0 to 0 the bracket is (g^2 + a) phi'(0)^2, so that `appears` = s for tanh. In terms of g = s g_J, or of the
    load of modes of fixed amplitudes, load = s^2 load_J. `appears` is NaN with a memory kernel or an echo of a part,
    and for phi that is not odd.

    With cell types, an `input` (a number, or one for each type) or one `transfer` for each type, chaos begins where the
    bulk of the fixed point of s J that is reached from rest gets unstable,

    $$ \rho\big(s^2 f_b\, g_{ab}^2\, \langle\phi'^2\rangle_b\big) = 1, $$

    whatever the time constants. It is sought up to 1000 times the scale at which rest is unstable, and is inf and not
    converged if there is none. Modes of means may grow before: `stationary` says so. With a memory kernel (symmetry, or
    overlaps) it is the onset from rest alone, by the right edge of the spectrum of J phi'(0), for units of equal time
    constants. `appears` is NaN.

    Differentiable; `appears` once. Valid for phi(0) = 0, so that x = 0 is a state, or with types for any phi.

    Raises:
        ValueError: for an `ensemble` or `transfer` of another type, phi that is known to have no slope at 0, or another
            one than it says, as `spectra.law` where the edge is not explicit, and for types with a memory kernel where
            rest is no state.

    Source: Sompolinsky, Crisanti & Sommers 1988; the fold derived here.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    dtype = ensemble.variance().dtype
    if ensemble.type_fractions().shape[0] > 1 or isinstance(transfer, Sequence) or input is not None:
        root = typed_onset(ensemble, transfer, input)
        return Onset(root.value, jnp.full((), jnp.nan, dtype), root.residual, root.converged)
    shape = shape_of(transfer, dtype, must_be_odd=False)
    # A traced overlap or symmetry may differ from 0, and the edge changes with it even where it is 0.
    site = ensemble.site(certain=True)
    if site is None:
        root = rest_onset(ensemble, transfer)
        unknown: Any = np.full((), np.nan, dtype)
        return Onset(root.value, unknown, root.residual, root.converged)
    return _with_fold(site, transfer, shape)


def rest_onset(ensemble: Ensemble, transfer: Transfer) -> Root:
    """`chaos_onset` without the fold."""
    site = ensemble.site(certain=True)
    if site is not None:
        return _rest(jnp.sqrt(site.total), jnp.sqrt(site.total), jnp.asarray(True), transfer)
    slope = transfer.slope(jnp.zeros((), ensemble.variance().dtype))
    point = law(jnp.where(slope < 0, -1.0, 1.0) * ensemble).rightmost()
    return _rest(point.z.real, jnp.sqrt(ensemble.variance()), point.converged, transfer)


@as_program
def _rest(edge: Float[Array, ""], size: Float[Array, ""], found: Bool[Array, ""], transfer: Transfer) -> Root:
    """The onset from the right ``edge``; ``size`` is g."""
    slope = jnp.abs(transfer.slope(jnp.zeros_like(edge)))
    growth = slope * edge
    unstable = edge > _ROUNDINGS * float(jnp.finfo(edge.dtype).eps) * size
    unstable &= slope > 0
    scale = jnp.where(unstable, 1 / jnp.where(unstable, growth, 1), jnp.inf)
    residual = jax.lax.stop_gradient(jnp.where(unstable, jnp.abs(scale * growth - 1), jnp.inf))
    return Root(scale, residual, found & (residual <= _TOLERANCE))


@as_program
def _with_fold(site: Site, transfer: Transfer, shape: Shape) -> Onset:
    """Both scales, of an ensemble without memory kernel."""
    edge = jnp.sqrt(site.total)
    rest = _rest(edge, edge, jnp.asarray(True), transfer)
    one = Discrete(jnp.ones(1, edge.dtype))
    problem = Problem(site, transfer, shape.breaks, one, jnp.zeros_like(edge), None, _NODES, 0)

    def strength(problem, log_variance):
        """The bracket, of the couplings J as they are."""
        beta, spread, _ = averages(problem, jnp.exp(log_variance), coarse_nodes(_NODES))[0, 0]
        echo = 1 - problem.site.decay(beta)
        return echo + problem.site.strength * spread

    def narrow(ends, _):
        u = ends[0] + (ends[1] - ends[0]) * jnp.linspace(0, 1, _PARTS + 1, dtype=edge.dtype)
        values = jax.vmap(lambda u: strength(fixed, u))(u)
        top = jnp.argmax(jnp.where(jnp.isfinite(values), values, -jnp.inf))
        return (u[jnp.maximum(top - 1, 0)], u[jnp.minimum(top + 1, _PARTS)]), None

    fixed = frozen(problem)
    (low, high), _ = jax.lax.scan(narrow, limits(fixed, shape.scale), None, length=_ROUNDS)
    # The derivative at the maximum is the derivative at a fixed C_0.
    highest = strength(problem, (low + high) / 2)
    at_rest = jnp.where(rest.value < jnp.inf, 1 / rest.value**2, 0)
    earlier = highest > (1 + _EARLIER) * at_rest
    appears = jnp.where(earlier, 1 / jnp.sqrt(jnp.where(earlier, highest, 1)), rest.value)
    return Onset(rest.value, jnp.where(shape.odd, appears, jnp.nan), rest.residual, rest.converged)
