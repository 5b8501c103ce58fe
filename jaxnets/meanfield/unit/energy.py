r"""The stationary state of one unit: its autocovariance from the conservation of an energy.

Without memory kernel x is Gaussian, and its autocovariance moves like a particle,

$$ C'' = k\, C - g^2\, C^\phi(C), \qquad \tfrac12 C'^2 - \tfrac{k}{2} C^2 + g^2 \big[\langle \Phi\Phi \rangle_C
   - \langle\Phi\rangle^2\big] = 0, \qquad C'(0^+) = -\sigma^2, $$

C^phi(C) = <phi(x) phi(y)> at variance C_0 and covariance C, Phi' = phi. The energy is 0 because C decays to 0. At
C = C_0 it is one equation for C_0, and the only one: iterations on a periodic window find other orbits.

The orbit itself is unstable if followed in C. In l = -ln(C / C_0), with C^phi = C/C_0 G(t) and t = (C/C_0)^2 = e^{-2l},

$$ l'^2 = k - \frac{g^2}{C_0}\, \overline{G}(t), \qquad l'' = \frac{g^2}{C_0} \big[G(t) - \overline{G}(t)\big], \qquad
   \overline{G}(t) = \frac1t \int_0^t G, $$

it is stable: an error of l' stays what it is, and the first equation measures it. phi is odd, so that G is a function
of t, analytic on [0, 1]: a Chebyshev series holds it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..._arguments import nonnegative, positive, require, require_instance, require_whole, scalar
from ..._laws import Discrete
from ..._numerics import Root, chebyshev, gaussian_quadrature, is_concrete, polish_root
from ...couplings import Ensemble
from ...transfer import Transfer
from ..site import Site, has_memory, one_site, require_no_mean
from ..units import Units
from .covariances import covariances
from .sampled import stationary_by_paths
from .state import Stationary, is_odd


def stationary(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    row_gains: Discrete | None = None,
    nodes: int = 801,
    num_lags: int = 1025,
    duration: Float[ArrayLike, ""] | None = None,
    key: PRNGKeyArray | None = None,
) -> Stationary:
    r"""The stationary state of dx/dt = -x + J phi(x) + sqrt(2) sigma xi(t) for N -> infinity.

    `noise` is sigma, so that an isolated unit has variance sigma^2. Below the onset of chaos and without noise the
    state is C = 0; above it, the chaotic one. Without memory kernel it follows from the conservation of an energy,

    $$ C'' = (1 - a \beta^2)\, C - g^2\, C^\phi(C), \qquad C'(0^+) = -\sigma^2, \qquad C(\infty) = 0 $$

    with g^2 = N Var J_ij; a = gamma^2 for the shift (DeepHebbian with auto = 0 and one element of hetero), else 0.

    Other ensembles (overlaps, partial symmetry, sequences in general), a shift with noise and one in a sum are solved
    by `stationary_by_paths` with its defaults, which takes some 30 s and has sampling errors if there is a memory
    kernel: `key` draws its paths (a fixed one if None); call it for other settings. `num_lags` and `duration` have
    no meaning there. Where `overlap`, `symmetry` or `auto` are traced they are taken to be 0; if they are not, the
    state is NaN.

    With `row_gains` unit i has the weights gamma_i J_ij, and x_i = gamma_i u_i. Then u obeys

    $$ C_u'' = C_u - g^2 \langle C^\phi(\gamma^2 C_u) \rangle_\gamma, $$

    `c_x` and `c_phi` are averages over units, and `units` has those of each gain. Neither noise, which would come to
    x and not to u, nor an echo is solved with it.

    `nodes` is the number of points of Gaussian averages; it must grow like g (801 for tanh up to g = 20).
    `duration` is the last lag, by default 16 decay times (and then not differentiated: derivatives are at fixed lag),
    of `num_lags`.

    Valid for odd phi with one decaying orbit (tanh, erf; linear phi below onset, with noise). `residual` is the largest
    of the errors of the Gaussian averages, of the series, of C_0 and of the energy along the lags, all relative;
    `converged` asks for 1e-6 (single precision: 4e-4). Differentiable in every float that is not held at 0.

    Raises:
        ValueError: for an ensemble with a finite-rank part, row gains with noise, a memory kernel or a shift, phi that
            is not odd, negative noise, nodes < 41, num_lags < 17 and a duration that is not positive.

    Source: Sompolinsky, Crisanti & Sommers 1988; with noise, Schuecker et al. 2018.
    """
    require_no_mean(ensemble)
    site = one_site(ensemble)
    silent_input = is_concrete(noise) and np.all(np.asarray(noise) == 0)
    if site is None or (site.echo is not None and not silent_input):
        # With noise, which the sequence filters too, the energy is not conserved.
        if row_gains is not None:
            raise ValueError("`row_gains` must be None for ensembles with a memory kernel or an echo: none is derived")
        key = jax.random.key(0) if key is None else key
        tolerance = 1e-4 if has_memory(ensemble) else 1e-8
        return stationary_by_paths(ensemble, transfer, noise, key=key, nodes=nodes, tolerance=tolerance)
    dtype = site.strength.dtype
    odd = is_odd(transfer, dtype)
    sigma = scalar("noise", noise).astype(dtype)
    require("noise", sigma, nonnegative, "a finite number >= 0")
    require_whole("nodes", nodes, least=41)
    require_whole("num_lags", num_lags, least=17)
    if duration is not None:
        duration = scalar("duration", duration).astype(dtype)
        require("duration", duration, positive, "a finite number > 0")
    if row_gains is not None:
        require_instance("row_gains", row_gains, Discrete, "a `jaxnets.Discrete` or None")
        require("row_gains", row_gains.values, positive, "finite numbers > 0")
        if site.echo is not None:
            raise ValueError("`row_gains` must be None for a shift: its echo is not derived with gains")
        if not silent_input:
            raise ValueError(f"`noise` must be 0 (and not traced) with `row_gains`, got {noise!r}")
    gains = Discrete(jnp.ones(1, dtype)) if row_gains is None else jax.tree.map(lambda x: x.astype(dtype), row_gains)

    rest_slope = transfer.slope(jnp.zeros((), dtype))
    rest_power = gains.mean(gains.values**2) * rest_slope**2
    quiet = (sigma == 0) & (site.total * rest_power <= 1)
    # Where C = 0 the state of unit noise is computed in its place, so that no derivative divides by 0.
    state = _active(site, transfer, gains, jnp.where(quiet, 1, sigma), nodes, num_lags, duration)
    silent = jnp.zeros((gains.values.size, num_lags), dtype)
    at_rest = Stationary(
        lags=state.lags,
        c_x=jnp.zeros_like(state.c_x),
        c_phi=jnp.zeros_like(state.c_phi),
        c_slope=jnp.full_like(state.c_slope, rest_power),
        c_slope_kink=jnp.zeros_like(sigma),
        beta=gains.mean(gains.values) * rest_slope,
        decay_rate=jnp.sqrt(jnp.where(quiet, jnp.maximum(1 - site.total * rest_power, 0), 1)),
        noise=sigma,
        site=site,
        units=Units(gains, silent, silent, jnp.full_like(gains.values, rest_slope)),
        impulse=None,
        c_x_error=silent[0],
        c_phi_error=silent[0],
        response_error=silent[0, 0],
        residual=jnp.zeros_like(sigma),
        converged=jnp.array(True),
    )
    state = jax.tree.map(lambda rest, active: jnp.where(quiet, rest, active), at_rest, state)
    return eqx.tree_at(
        lambda s: (s.converged, s.units),
        state,
        (state.converged & odd, None if row_gains is None else state.units),
    )


@eqx.filter_jit
def _active(
    site: Site,
    transfer: Transfer,
    gains: Discrete,
    sigma: Float[Array, ""],
    nodes: int,
    num_lags: int,
    duration: Float[Array, ""] | None,
) -> Stationary:
    """The state with C_0 > 0, that of the field u."""
    dtype = sigma.dtype
    root = _variance(site, transfer, gains, sigma, nodes)
    variance = root.value
    averages = _averages(transfer, gains, variance, nodes)
    finer = _averages(transfer, gains, variance, 2 * nodes - 1)
    beta = gains.mean(averages[:, 0])

    # G(t) on the nodes of the series; the correlation is sqrt(t).
    grid = chebyshev.grid(max(nodes // 8, 16))
    to_series, to_mean, to_slope = (jnp.asarray(m, dtype) for m in (grid.series, grid.running_mean, grid.slope))
    correlations = np.sqrt(grid.nodes)
    of = lambda gain: covariances(transfer, gain**2 * variance, correlations, nodes)
    G_of = jax.vmap(of)(gains.values) / jnp.asarray(correlations, dtype)[None]  # of each gain
    shares = G_of @ to_series.T
    G = gains.mean(G_of)
    share, mean, slope = to_series @ G, to_mean @ G, to_slope @ G

    k, pull = site.decay(beta), site.strength / variance
    rate = jnp.sqrt(k - site.strength * gains.mean(averages[:, 0] ** 2))
    last = jax.lax.stop_gradient(16 / rate) if duration is None else duration
    lags = last * jnp.linspace(0, 1, num_lags, dtype=dtype)
    acceleration = pull * (share - mean)
    log_c, speed = _orbit(acceleration, sigma**2 / variance, last / (num_lags - 1), num_lags, max(nodes // 200, 4))

    c = jnp.exp(-log_c)
    at_lags = lambda f: jax.vmap(lambda t: chebyshev.evaluate(f, t))(c**2)
    c_phi = c[None] * jax.vmap(at_lags)(shares)

    def slope_covariance(c):  # d C^phi / dC, C^phi = c G(c^2)
        return (chebyshev.evaluate(share, c**2) + 2 * c**2 * chebyshev.evaluate(slope, c**2)) / variance

    misses = [
        _relative(averages, finer),
        jnp.max(jnp.abs(share[-2:])) / jnp.max(jnp.abs(share)),
        root.residual,
        jnp.max(jnp.abs(speed**2 - (k - pull * at_lags(mean)))) / rate**2,
    ]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    c_x = variance * gains.values[:, None] ** 2 * c[None]
    return Stationary(
        lags=lags,
        c_x=gains.mean(c_x),
        c_phi=gains.mean(c_phi),
        c_slope=jax.vmap(slope_covariance)(c),
        c_slope_kink=-(sigma**2) / variance * jax.grad(slope_covariance)(jnp.ones_like(variance)),
        beta=beta,
        decay_rate=rate,
        noise=sigma,
        site=site,
        units=Units(gains, c_x, c_phi, averages[:, 0] / gains.values),
        impulse=None,
        c_x_error=jnp.zeros_like(c),
        c_phi_error=jnp.zeros_like(c),
        response_error=jnp.zeros_like(rate),
        residual=residual,
        converged=root.converged & (residual <= max(1e-6, 3000 * float(jnp.finfo(dtype).eps))),
    )


def _averages(transfer: Transfer, gains: Discrete, variance: Float[Array, ""], nodes: int) -> Float[Array, "K 3"]:
    """For each gain, with phi(gamma u): <slope>, 2 Var Phi / C_0^2 and <phi^2> / C_0; all 1 for phi(u) = u."""
    # Nine standard deviations: the fourth moment is then right to rounding, as a C_0 near onset needs.
    z, weights = (a.astype(variance.dtype) for a in gaussian_quadrature(nodes, width=9.0))

    def of(gain):
        x = gain * jnp.sqrt(variance) * z
        Phi = transfer.antiderivative(x) / gain
        spread = weights @ (Phi - weights @ Phi) ** 2
        return jnp.stack(
            [gain * (weights @ transfer.slope(x)), 2 * spread / variance**2, weights @ transfer(x) ** 2 / variance]
        )

    return jax.vmap(of)(gains.values)


def _variance(site: Site, transfer: Transfer, gains: Discrete, sigma: Float[Array, ""], nodes: int) -> Root:
    """C_0, from the energy at lag 0: bisection in its logarithm, then Newton steps that make it exact.

    Below the root the energy is negative: noise and expansion win over the decay at small C_0, not at large.
    """

    def energy(u, args, nodes=nodes):
        site, transfer, gains, sigma = args
        variance = jnp.exp(u[0])
        beta, spread, _ = gains.mean(_averages(transfer, gains, variance, nodes))
        return (site.decay(beta) - site.strength * spread - (sigma**2 / variance) ** 2)[None]

    args = (site, transfer, gains, sigma)

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = energy(middle[None], args, max(nodes // 4, 41))[0] < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low = jnp.log(jnp.maximum(sigma**2, 1e-12))
    bracket = jax.lax.stop_gradient((low, jnp.maximum(low, 0) + 28))
    low, high = jax.lax.fori_loop(0, 40, lambda i, b: jax.lax.stop_gradient(halve(i, b)), bracket)
    root = polish_root(energy, ((low + high) / 2)[None], args)
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
