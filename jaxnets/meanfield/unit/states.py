"""Stationary states of one unit: without memory kernel all of them from their energy, else one from sampled paths."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from ..._arguments import nonnegative, positive, require, require_instance, require_key, require_whole, scalar
from ..._laws import Discrete
from ..._numerics import as_program, is_concrete
from ..._results import Result
from ...couplings import Ensemble, Site
from ...transfer import Transfer
from ..types.problem import known_memory
from ..types.state import typed_stationary
from .energy import Problem, Variance, least_of, least_variance, limits, roots, table, variance_within, with_noise
from .orbit import orbit
from .requirements import Shape, require_no_mean, shape_of
from .sampled import stationary_by_paths
from .state import Stationary, Units

# Largest residual of a converged state, and the same in roundings, which float32 reaches.
_TOLERANCE, _ROUNDINGS = 1e-6, 3000.0
# Tolerances of `stationary_by_paths`: without memory kernel no sampling error limits it.
_EXACT_PATHS, _SAMPLED_PATHS = 1e-8, 1e-4


def stationary(
    ensemble: Ensemble,
    transfer: Transfer | Sequence[Transfer],
    noise: Float[ArrayLike, "*K"] = 0.0,
    *,
    row_gains: Discrete | None = None,
    tau: Float[ArrayLike, "*K"] | None = None,
    input: Float[ArrayLike, "*K"] | None = None,
    nodes: int = 801,
    num_lags: int = 1025,
    max_lag: Float[ArrayLike, ""] | None = None,
    key: PRNGKeyArray | None = None,
) -> Any:
    r"""The stationary state of dx/dt = -x + J phi(x) + sqrt(2) sigma xi(t) for N -> infinity.

    `noise` is sigma, so that an isolated unit has variance sigma^2. Without noise the state is x = 0 below the onset of
    chaos, and chaotic above. Without memory kernel its autocovariance C follows from the conservation of an energy,

    $$ C'' = (1 - a \beta^2)\, C - g^2\, C^\phi(C), \qquad C'(0^+) = -\sigma^2, \qquad C(\infty) = 0 $$

    with g^2 = N Var J_ij; a = gamma^2 for the shift (DeepHebbian with auto = 0 and one element of hetero), else 0. If
    `overlap`, `symmetry` or `auto` is traced, it is assumed to be 0, and the state is NaN should it not be.

    Where phi is not concave for x > 0, a network may have several stable states: rest beside chaos, or two levels of
    noise. Of these the state of least variance is returned, which a network reaches from small activity;
    `alternatives` counts the others, and `stationary_states` returns all.

    Ensembles with overlaps, partial symmetry or general sequences, and a shift with noise or in a sum, are solved by
    `stationary_by_paths` with its defaults: some 30 s, with sampling errors if there is a memory kernel. Then `key`
    draws the paths; without memory kernel it has no meaning. `num_lags` and `max_lag` have no meaning for paths.

    With `row_gains` gamma unit i has the weights gamma_i J_ij, and x_i = gamma_i u_i. Then u obeys the same equation
    with C^phi averaged over gains, `c_x` and `c_phi` are averages over units, and `units` holds each gain.

    An ensemble with cell types, time constants `tau`, an `input`, and one `transfer` for each type give a
    `TypedStationary`, with an axis of types. Each of `noise`, `tau` and `input` is a number or one for each type. The
    equations are

    $$ C_a - \tau_a^2 C_a'' = \sum_b f_b\, g_{ab}^2\, C^\phi_b(C_b), \qquad
       \mu_a = I_a + \sum_b M_{ab} f_b \langle\phi_b\rangle $$

    with C_a the covariance around the mean mu_a, which tends to the static disorder of x. phi may be any function
    without jumps. `phase` says whether the network is silent, fixed, chaotic or driven by noise, or leaves all of them:
    then `converged` is False. The state reached from rest is returned. It is differentiable once, and converged to the
    same tolerance; means may be uniform modes. Types with a memory kernel (symmetry, or modes with overlaps) are solved
    by `stationary_by_paths`, for odd phi and without `input`.

    `nodes` points of Gaussian averages must grow like g (801 for tanh up to g = 20). There are `num_lags` lags up to
    `max_lag`, 16 decay times if None (derivatives are then at fixed lags). `residual` is the largest relative error of
    averages, series, C_0 and energy along the lags; `converged` asks for 1e-6 (single precision: 4e-4), and that C
    decays. Differentiable. Valid for odd phi with a decaying orbit (tanh, erf; linear phi below onset, with noise).
    Kinks of phi are found, unless its fields are traced, and averages are split there.

    Raises:
        ValueError: for an ensemble with a finite-rank part, or with a memory kernel and no `key`; a `key` that is no
            random key; row gains that are not positive or that come with noise, a memory kernel or a shift; phi that is
            not odd or has no slope at 0; negative noise, nodes < 41, num_lags < 17 and max_lag <= 0. With types, for
            numbers of another shape, tau <= 0, row gains, modes that are not uniform, and a memory kernel with `input`.

    Source: Sompolinsky, Crisanti & Sommers 1988; with noise, Schuecker et al. 2018.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    if key is not None:
        require_key("key", key)
    if ensemble.type_fractions().shape[0] > 1 or isinstance(transfer, Sequence) or tau is not None or input is not None:
        if row_gains is not None:
            raise ValueError("`row_gains` must be None for units with types, time constants or inputs: not derived")
        if known_memory(ensemble):
            if input is not None and not _is_zero(input):
                raise ValueError("`input` must be None for types with a memory kernel, whose phi must be odd around it")
            return stationary_by_paths(ensemble, transfer, noise, tau=tau, key=key, nodes=nodes)
        return typed_stationary(ensemble, transfer, noise, tau, input, nodes, num_lags, max_lag)
    require_no_mean(ensemble)
    given, noise, site = noise, scalar("noise", noise), ensemble.site()
    without_noise = _is_zero(given)  # the argument itself: as an array, it is traced within `jit`
    # A shift filters the noise too, and then no energy is conserved.
    if site is None or (site.echo is not None and not without_noise):
        if row_gains is not None:
            raise ValueError("`row_gains` must be None for ensembles with a memory kernel or an echo: none is derived")
        tolerance = _SAMPLED_PATHS if ensemble.has_memory() else _EXACT_PATHS
        return stationary_by_paths(ensemble, transfer, noise, key=key, nodes=nodes, tolerance=tolerance)
    problem, shape = _problem(site, transfer, noise, row_gains, nodes, num_lags, max_lag, without_noise)
    return _least(ensemble, problem, shape, row_gains is not None)


class StationaryStates(Result, axes={"k": "solution"}, batch={"state": "k"}):
    """All stationary states, sorted by their variance; made by `stationary_states`.

    Every array of `state` has a leading axis (k,). `stable` tells states that last from states that lie between them: a
    network that starts near one that is not stable leaves it.
    """

    state: Stationary
    stable: Bool[Array, " k"]


def stationary_states(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    row_gains: Discrete | None = None,
    nodes: int = 801,
    num_lags: int = 1025,
    max_lag: Float[ArrayLike, ""] | None = None,
) -> StationaryStates:
    r"""All solutions of `stationary`, each with its stability: where a network has more than one state.

    Without noise x = 0 is one of them, stable below `chaos_onset`. The others have the variances C_0 at which the
    energy

    $$ 1 - a \beta^2 - \frac{2 g^2}{C_0^2} \mathrm{Var}\, \Phi(x) - \frac{\sigma^4}{C_0^2}, \qquad x \sim N(0, C_0) $$

    vanishes. One is stable if the energy rises with C_0 there: so is the only one where there is one, and two that meet
    at a fold, one of which is stable, have opposite slopes. Another instability, against states that do not decay or
    are not stationary, is not seen. Networks of N units leave a stable state at rates that fall exponentially with N.

    Valid as `stationary`, without memory kernel. Variances within e^28 of the scale of phi, or of the noise, are
    searched; two solutions that differ by less than 1e-4 of their variance count as one or none. For derivatives, and
    under `jit` and `vmap`, use `stationary`.

    Raises:
        ValueError: for traced arguments, an ensemble with types, with a memory kernel, or with an echo and noise, and
            as `stationary`.

    Source: the energy as `stationary`; stability derived here.
    """
    if (num := ensemble.type_fractions().shape[0]) > 1:
        raise ValueError(
            f"`ensemble` must have one type of units, whose states have an energy, got {num} types: `stationary` finds "
            "the state that is reached from rest, and `static_states` all fixed points"
        )
    require_no_mean(ensemble)
    if not is_concrete(ensemble, transfer, noise, row_gains, max_lag):
        raise ValueError("`ensemble` and other arguments must be concrete to count states: transform `stationary`")
    given, noise, site = noise, scalar("noise", noise), ensemble.site()
    without_noise = _is_zero(given)  # the argument itself: as an array, it is traced within `jit`
    if site is None or (site.echo is not None and not without_noise):
        raise ValueError(
            f"`ensemble` must be without memory kernel (and echo, with noise), whose states have no energy: use "
            f"`stationary`, which finds one, got {ensemble!r}"
        )
    problem, shape = _problem(site, transfer, noise, row_gains, nodes, num_lags, max_lag, without_noise)

    solve = lambda root, at_rest: _finished(ensemble, problem, shape, root, row_gains is not None, at_rest)
    at = table(problem, *limits(problem, shape.scale))
    found_roots = roots(problem, at)
    count = sum(stable for *_, stable in found_roots)
    found: list[tuple[Stationary, bool]] = []
    if without_noise:
        eased = eqx.tree_at(lambda p: p.sigma, problem, shape.scale)
        noisy = table(eased, *limits(eased, shape.scale))
        root = least_of(eased, noisy, roots(eased, noisy), at.growth, count)
        found.append((solve(root, True), bool(at.growth <= 1)))
    for low, high, stable in found_roots:
        found.append((solve(variance_within(problem, low, high, at.growth, count), False), stable))
    if not found:
        raise ValueError(f"`noise` and `ensemble` must have a stationary state, got none for {noise!r}, {ensemble!r}")
    total = sum(stable for _, stable in found)
    stack = lambda *leaves: jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves]))
    state = jax.tree.map(stack, *(state for state, _ in found))
    others = np.array([total - stable for _, stable in found])
    state = eqx.tree_at(lambda s: s.alternatives, state, jnp.asarray(others))
    return StationaryStates(state, jnp.asarray(np.array([stable for _, stable in found])))


def _is_zero(noise: Float[ArrayLike, ""]) -> bool:
    return is_concrete(noise) and bool(np.all(np.asarray(noise) == 0))


def _problem(
    site: Site,
    transfer: Transfer,
    noise: Float[Array, ""],
    row_gains: Discrete | None,
    nodes: int,
    num_lags: int,
    max_lag: Float[ArrayLike, ""] | None,
    without_noise: bool,
) -> tuple[Problem, Shape]:
    dtype = site.strength.dtype
    shape = shape_of(transfer, dtype)
    sigma = noise.astype(dtype)
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
    gains = Discrete(np.ones(1, dtype)) if row_gains is None else jax.tree.map(lambda x: x.astype(dtype), row_gains)
    return Problem(site, transfer, shape.breaks, gains, sigma, max_lag, nodes, num_lags), shape


# --- one state --------------------------------------------------------------------------------------------------


def _least(ensemble: Ensemble, problem: Problem, shape: Shape, keep_units: bool) -> Stationary:
    """The stable state of least variance."""
    if is_concrete(ensemble, problem, shape) and problem.breaks is None:
        return _finished(ensemble, problem, shape, _least_variance_from_host(problem, shape.scale), keep_units)
    return _in_one(ensemble, problem, shape, keep_units)


@as_program
def _in_one(ensemble: Ensemble, problem: Problem, shape: Shape, keep_units: bool) -> Stationary:
    return _finished(ensemble, problem, shape, least_variance(problem, shape.scale), keep_units)


def _least_variance_from_host(problem: Problem, scale: Float[Array, ""]) -> Variance:
    """`least_variance`, by small programs."""
    at = table(problem, *limits(problem, scale))
    found = roots(problem, at)
    count = sum(rising for *_, rising in found)
    if not float(problem.sigma) and at.growth <= 1:
        problem = eqx.tree_at(lambda p: p.sigma, problem, scale)
        at = table(problem, *limits(problem, scale))
        found = roots(problem, at)
    return least_of(problem, at, found, at.growth, count)


@as_program
def _finished(
    ensemble: Ensemble,
    problem: Problem,
    shape: Shape,
    root: Variance,
    keep_units: bool,
    at_rest: bool | None = None,
) -> Stationary:
    """The state of a root of the energy, or the state of rest, where the root has more noise."""
    gains, sigma, growth = problem.gains, problem.sigma, root.growth
    lasts = (sigma == 0) & (growth <= 1)
    quiet = lasts if at_rest is None else jnp.asarray(at_rest)
    rest_slope = problem.transfer.slope(jnp.zeros_like(sigma))
    active = orbit(with_noise(problem, quiet, shape.scale), jnp.exp(root.log[0]), root.averages)
    c_x, c_phi = (jnp.where(quiet, 0, c) for c in (active.c_x, active.c_phi))
    beta = jnp.where(quiet, rest_slope, active.beta)
    residual = jnp.maximum(active.residual, root.residual)
    accurate = residual <= max(_TOLERANCE, _ROUNDINGS * float(jnp.finfo(sigma.dtype).eps))
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
        alternatives=jnp.maximum(root.count + lasts.astype(root.count.dtype) - 1, 0),
        residual=jnp.where(quiet, 0, residual),
        converged=shape.odd & (quiet | (root.converged & accurate & active.decays)),
    )
