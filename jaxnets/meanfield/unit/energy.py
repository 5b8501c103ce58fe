r"""The stationary state of one unit without memory kernel, from the conservation of an energy.

Then x is Gaussian, and its autocovariance C(tau) moves like a particle,

$$ C'' = k\, C - g^2\, C^\phi(C), \qquad \tfrac12 C'^2 - \tfrac{k}{2} C^2 + g^2 \big[\langle \Phi\Phi \rangle_C
   - \langle\Phi\rangle^2\big] = 0, \qquad C'(0^+) = -\sigma^2, $$

C^phi(C) = <phi(x) phi(y)> at variance C_0 and covariance C, Phi' = phi. The energy is 0 because C decays to 0. At
C = C_0 it is one equation for C_0, and the only one: iterations on a periodic window find other orbits.

An orbit followed in C is unstable. In l = -ln(C / C_0), with C^phi = C/C_0 G(t) and t = (C/C_0)^2 = e^{-2l},

$$ l'^2 = k - \frac{g^2}{C_0}\, \overline{G}(t), \qquad l'' = \frac{g^2}{C_0} \big[G(t) - \overline{G}(t)\big], \qquad
   \overline{G}(t) = \frac1t \int_0^t G, $$

it is stable: an error of l' does not grow, and the first equation measures it. phi is odd, so that G is a function of
t, analytic on [0, 1], which a Chebyshev series holds. Row gains average G over gains; another ensemble without memory
kernel needs nothing but its `Site`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from ..._arguments import nonnegative, positive, require, require_instance, require_whole, scalar
from ..._laws import Discrete
from ..._numerics import Root, bisect, chebyshev, gaussian_quadrature, is_concrete, polish_root
from ...couplings import Ensemble, Site
from ...transfer import Transfer
from .covariances import covariances
from .requirements import is_odd, require_no_mean
from .sampled import stationary_by_paths
from .state import Stationary, Units

# Largest residual of a converged state, and the same in roundings, which float32 reaches.
_TOLERANCE, _ROUNDINGS = 1e-6, 3000.0
# Standard deviations that quadratures span on either side: with nine the fourth moment is right to rounding, and near
# onset C_0 follows from it.
_WIDTH = 9.0
# The last lag in decay times, where C has fallen to 1e-7 of C_0.
_DECAY_TIMES = 16
# C_0 is sought from sigma^2, or from this, up to a factor e^28 beyond sigma^2 or 1: tanh at g = 1000 has C_0 = 1e6. The
# halvings leave 3e-11 of ln C_0. They take a quarter of the nodes, for the Newton steps that follow square the error.
_SMALLEST, _LOG_RANGE, _HALVINGS, _COARSER = 1e-12, 28, 40, 4
# Terms of the Chebyshev series of G, and Runge-Kutta steps between two lags, in proportion to the nodes: phi(x) gets
# steeper within the width of x, and G and the orbit follow. The residual measures both errors.
_NODES_PER_TERM, _FEWEST_TERMS, _NODES_PER_STEP, _FEWEST_STEPS = 8, 16, 200, 4
# Tolerances of `stationary_by_paths`: without memory kernel no sampling error limits it.
_EXACT_PATHS, _SAMPLED_PATHS = 1e-8, 1e-4


def stationary(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    row_gains: Discrete | None = None,
    nodes: int = 801,
    num_lags: int = 1025,
    max_lag: Float[ArrayLike, ""] | None = None,
    key: PRNGKeyArray | None = None,
) -> Stationary:
    r"""The stationary state of dx/dt = -x + J phi(x) + sqrt(2) sigma xi(t) for N -> infinity.

    `noise` is sigma, so that an isolated unit has variance sigma^2. Without noise the state is x = 0 below the onset of
    chaos, and chaotic above. Without memory kernel its autocovariance C follows from the conservation of an energy,

    $$ C'' = (1 - a \beta^2)\, C - g^2\, C^\phi(C), \qquad C'(0^+) = -\sigma^2, \qquad C(\infty) = 0 $$

    with g^2 = N Var J_ij; a = gamma^2 for the shift (DeepHebbian with auto = 0 and one element of hetero), else 0. If
    `overlap`, `symmetry` or `auto` is traced, it is assumed to be 0, and the state is NaN should it not be.

    Ensembles with overlaps, partial symmetry or general sequences, and a shift with noise or in a sum, are solved by
    `stationary_by_paths` with its defaults: some 30 s, with sampling errors if there is a memory kernel. `key` draws
    the paths (a fixed one if None); `num_lags` and `max_lag` have no meaning there.

    With `row_gains` gamma unit i has the weights gamma_i J_ij, and x_i = gamma_i u_i. Then u obeys the same equation
    with C^phi averaged over gains, `c_x` and `c_phi` are averages over units, and `units` holds each gain.

    `nodes` points of Gaussian averages must grow like g (801 for tanh up to g = 20). There are `num_lags` lags up to
    `max_lag`, 16 decay times if None (derivatives are then at fixed lags). `residual` is the largest relative error of
    averages, series, C_0 and energy along the lags; `converged` asks for 1e-6 (single precision: 4e-4). Differentiable.
    Valid for odd phi with one decaying orbit (tanh, erf; linear phi below onset, with noise).

    Raises:
        ValueError: for an ensemble with a finite-rank part, row gains that are not positive or that come with noise, a
            memory kernel or a shift, phi that is not odd, negative noise, nodes < 41, num_lags < 17 and max_lag <= 0.

    Source: Sompolinsky, Crisanti & Sommers 1988; with noise, Schuecker et al. 2018.
    """
    require_no_mean(ensemble)
    site = ensemble.site()
    without_noise = is_concrete(noise) and bool(np.all(np.asarray(noise) == 0))
    # A shift filters the noise too, and then no energy is conserved.
    if site is None or (site.echo is not None and not without_noise):
        return _by_paths(ensemble, transfer, noise, row_gains, nodes, key)
    problem = _problem(site, transfer, noise, row_gains, nodes, num_lags, max_lag, without_noise)
    state = _state(ensemble, problem, row_gains is not None)
    return eqx.tree_at(lambda s: s.converged, state, state.converged & is_odd(transfer, problem.sigma.dtype))


def _by_paths(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""],
    row_gains: Discrete | None,
    nodes: int,
    key: PRNGKeyArray | None,
) -> Stationary:
    if row_gains is not None:
        raise ValueError("`row_gains` must be None for ensembles with a memory kernel or an echo: none is derived")
    key = jax.random.key(0) if key is None else key
    tolerance = _SAMPLED_PATHS if ensemble.has_memory() else _EXACT_PATHS
    return stationary_by_paths(ensemble, transfer, noise, key=key, nodes=nodes, tolerance=tolerance)


class _Problem(eqx.Module):
    """The arguments of the energy of u, checked, in one precision; without row gains one gain of 1."""

    site: Site
    transfer: Transfer
    gains: Discrete
    sigma: Float[Array, ""]
    max_lag: Float[Array, ""] | None
    nodes: int = eqx.field(static=True)
    num_lags: int = eqx.field(static=True)


def _problem(
    site: Site,
    transfer: Transfer,
    noise: Float[ArrayLike, ""],
    row_gains: Discrete | None,
    nodes: int,
    num_lags: int,
    max_lag: Float[ArrayLike, ""] | None,
    without_noise: bool,
) -> _Problem:
    dtype = site.strength.dtype
    is_odd(transfer, dtype)
    sigma = scalar("noise", noise).astype(dtype)
    require("noise", sigma, nonnegative, "a finite number >= 0")
    require_whole("nodes", nodes, least=41)
    require_whole("num_lags", num_lags, least=17)
    if max_lag is not None:
        max_lag = scalar("max_lag", max_lag).astype(dtype)
        require("max_lag", max_lag, positive, "a finite number > 0")
    if row_gains is not None:
        require_instance("row_gains", row_gains, Discrete, "a `jaxnets.Discrete` or None")
        require("row_gains", row_gains.values, positive, "finite numbers > 0")
        if site.echo is not None:
            raise ValueError("`row_gains` must be None for a shift: its echo is not derived with gains")
        # Noise would come to x and not to u.
        if not without_noise:
            raise ValueError(f"`noise` must be 0 (and not traced) with `row_gains`, got {noise!r}")
    gains = Discrete(jnp.ones(1, dtype)) if row_gains is None else jax.tree.map(lambda x: x.astype(dtype), row_gains)
    return _Problem(site, transfer, gains, sigma, max_lag, nodes, num_lags)


def _state(ensemble: Ensemble, problem: _Problem, keep_units: bool) -> Stationary:
    """The active state, or the state of rest, x = 0, where there is neither noise nor chaos."""
    gains, sigma = problem.gains, problem.sigma
    rest_slope = problem.transfer.slope(jnp.zeros_like(sigma))
    growth = problem.site.total * gains.moment(2) * rest_slope**2
    quiet = (sigma == 0) & (growth <= 1)
    # At rest the state of unit noise is computed, and not used, so that no derivative divides by 0.
    active = _active(eqx.tree_at(lambda p: p.sigma, problem, jnp.where(quiet, 1, sigma)))
    c_x, c_phi = (jnp.where(quiet, 0, c) for c in (active.c_x, active.c_phi))
    beta = jnp.where(quiet, rest_slope, active.beta)
    no_error = jnp.zeros_like(active.lags)
    return Stationary(
        lags=active.lags,
        c_x=gains.mean(c_x),
        c_phi=gains.mean(c_phi),
        c_slope=jnp.where(quiet, gains.moment(2) * rest_slope**2, active.c_slope),
        c_slope_kink=jnp.where(quiet, 0, active.c_slope_kink),
        beta=gains.mean(gains.values * beta),
        decay_rate=jnp.where(quiet, jnp.sqrt(jnp.where(quiet, jnp.maximum(1 - growth, 0), 1)), active.decay_rate),
        noise=sigma,
        ensemble=ensemble,
        units=Units(gains, c_x, c_phi, beta) if keep_units else None,
        impulse=None,
        c_x_error=no_error,
        c_phi_error=no_error,
        response_error=no_error[0],
        residual=jnp.where(quiet, 0, active.residual),
        converged=quiet | active.converged,
    )


class _Active(eqx.Module):
    """A state with C_0 > 0, by gains where they differ."""

    lags: Float[Array, " T"]
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    c_slope: Float[Array, " T"]
    c_slope_kink: Float[Array, ""]
    beta: Float[Array, " K"]  # <phi'>
    decay_rate: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


@eqx.filter_jit
def _active(problem: _Problem) -> _Active:
    site, gains, sigma, nodes = problem.site, problem.gains, problem.sigma, problem.nodes
    root = _variance(problem)
    variance = root.value
    averages = _averages(problem.transfer, gains, variance, nodes)
    finer = _averages(problem.transfer, gains, variance, 2 * nodes - 1)
    series = _series(problem, variance)

    k, pull = site.decay(gains.mean(averages[:, 0])), site.strength / variance
    rate = jnp.sqrt(k - site.strength * gains.mean(averages[:, 0] ** 2))
    last = jax.lax.stop_gradient(_DECAY_TIMES / rate) if problem.max_lag is None else problem.max_lag
    lags = last * jnp.linspace(0, 1, problem.num_lags, dtype=sigma.dtype)
    log_c, speed = _orbit(
        pull * (series.share - series.mean),
        sigma**2 / variance,
        last / (problem.num_lags - 1),
        problem.num_lags,
        max(nodes // _NODES_PER_STEP, _FEWEST_STEPS),
    )
    c = jnp.exp(-log_c)
    at_lags = lambda f: jax.vmap(lambda t: chebyshev.evaluate(f, t))(c**2)

    def slope_covariance(c):  # d C^phi / dC, C^phi = c G(c^2)
        G, slope = chebyshev.evaluate(series.share, c**2), chebyshev.evaluate(series.slope, c**2)
        return (G + 2 * c**2 * slope) / variance

    misses = [
        _relative(averages, finer),
        jnp.max(jnp.abs(series.share[-2:])) / jnp.max(jnp.abs(series.share)),
        root.residual,
        jnp.max(jnp.abs(speed**2 - (k - pull * at_lags(series.mean)))) / rate**2,
    ]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    return _Active(
        lags=lags,
        c_x=variance * gains.values[:, None] ** 2 * c[None],
        c_phi=c[None] * jax.vmap(at_lags)(series.shares),
        c_slope=jax.vmap(slope_covariance)(c),
        c_slope_kink=-(sigma**2) / variance * jax.grad(slope_covariance)(jnp.ones_like(variance)),
        beta=averages[:, 0] / gains.values,
        decay_rate=rate,
        residual=residual,
        converged=root.converged & (residual <= max(_TOLERANCE, _ROUNDINGS * float(jnp.finfo(sigma.dtype).eps))),
    )


class _Series(eqx.Module):
    """Chebyshev coefficients of G(t), of its mean over [0, t] and of its slope, averaged over gains."""

    share: Float[Array, " n"]
    mean: Float[Array, " n"]
    slope: Float[Array, " m"]
    shares: Float[Array, "K n"]  # G of each gain


def _series(problem: _Problem, variance: Float[Array, ""]) -> _Series:
    grid = chebyshev.grid(max(problem.nodes // _NODES_PER_TERM, _FEWEST_TERMS))
    to_series, to_mean, to_slope = (
        jnp.asarray(m, variance.dtype) for m in (grid.series, grid.running_mean, grid.slope)
    )
    correlations = np.sqrt(grid.nodes)
    of = lambda gain: covariances(problem.transfer, gain**2 * variance, correlations, problem.nodes)
    G_of = jax.vmap(of)(problem.gains.values) / jnp.asarray(correlations, variance.dtype)[None]
    G = problem.gains.mean(G_of)
    return _Series(to_series @ G, to_mean @ G, to_slope @ G, G_of @ to_series.T)


def _averages(transfer: Transfer, gains: Discrete, variance: Float[Array, ""], nodes: int) -> Float[Array, "K 3"]:
    """For each gain, with phi(gamma u): <slope>, 2 Var Phi / C_0^2 and <phi^2> / C_0; all 1 for phi(u) = u."""
    z, weights = (a.astype(variance.dtype) for a in gaussian_quadrature(nodes, width=_WIDTH))

    def of(gain):
        x = gain * jnp.sqrt(variance) * z
        Phi = transfer.antiderivative(x) / gain
        spread = weights @ (Phi - weights @ Phi) ** 2
        return jnp.stack(
            [gain * (weights @ transfer.slope(x)), 2 * spread / variance**2, weights @ transfer(x) ** 2 / variance]
        )

    return jax.vmap(of)(gains.values)


def _variance(problem: _Problem) -> Root:
    """C_0, from the energy at lag 0: bisection in ln C_0, then Newton steps that make it exact.

    Below the root the energy is negative: at small C_0 noise and expansion win over the decay, at large C_0 they lose.
    """

    def energy(u, problem, nodes):
        variance = jnp.exp(u[0])
        beta, spread, _ = problem.gains.mean(_averages(problem.transfer, problem.gains, variance, nodes))
        site = problem.site
        return (site.decay(beta) - site.strength * spread - (problem.sigma**2 / variance) ** 2)[None]

    low = jnp.log(jnp.maximum(problem.sigma**2, _SMALLEST))
    coarse = max(problem.nodes // _COARSER, 41)
    low, high = bisect(
        lambda u, problem: energy(u[None], problem, coarse)[0] < 0,
        low,
        jnp.maximum(low, 0) + _LOG_RANGE,
        problem,
        _HALVINGS,
    )
    root = polish_root(lambda u, problem: energy(u, problem, problem.nodes), ((low + high) / 2)[None], problem)
    return Root(jnp.exp(root.value[0]), root.residual, root.converged)


def _orbit(
    acceleration: Float[Array, " num"],
    start: Float[Array, ""],
    spacing: Float[Array, ""],
    num_lags: int,
    substeps: int,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """l and l' on the lags: l'' = acceleration(e^{-2l}) from l = 0, l' = start, by fourth-order Runge-Kutta steps."""
    h = spacing / substeps

    def force(l):
        return chebyshev.evaluate(acceleration, jnp.exp(-2 * l))

    def step(_, carry):
        l, v = carry
        k1 = force(l)
        k2 = force(l + h / 2 * v)
        k3 = force(l + h / 2 * v + h**2 / 4 * k1)
        k4 = force(l + h * v + h**2 / 2 * k2)
        return l + h * v + h**2 / 6 * (k1 + k2 + k3), v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    @jax.checkpoint
    def lag(carry, _):
        return jax.lax.fori_loop(0, substeps, step, carry), carry

    _, orbit = jax.lax.scan(lag, (jnp.zeros_like(start), start), None, length=num_lags)
    return orbit


def _relative(found: Float[Array, "..."], better: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.max(jnp.abs(found / better - 1))
