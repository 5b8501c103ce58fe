"""The computations of the package at one point of a parameter space, for sweeps to map.

Each is a function of an ensemble as text in the notation of the API, which may hold names, and of their values:

    spectrum("DeepHebbian(load=load, auto=.5, hetero=(gamma,))", n=400, max_modes=360, key=key, load=0.3, gamma=1.2)

Text is read and never executed. The values of its names are the `parameters`. They may be traced, so that `jit`,
`vmap` and `grad` work through each of these functions; a traced load needs `max_modes`, a bound on load n. Other
arguments set shapes and must be known, unless their function says that they may be traced. `dynamics.simulate`
documents `duration`, `discard`, `dt` and `save_every`.

Results are dicts of arrays. Beside a measured number, `<name>_error` is its standard error and `<name>_theory` is the
prediction for N -> infinity. `converged` says whether all solvers converged; a number that was not found is NaN.

All raise `ValueError` for text that is no expression, for a name without a value, for a value without a name, and for a
`key` that is no random key. Errors of the functions that they call are passed on.

A new computation is one more function that returns such a dict: sweeps map it by its name.
"""

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int, PRNGKeyArray

from . import _expressions, couplings, dynamics, meanfield, observables, population, spectra
from . import memory as memories
from . import transfer as transfers
from ._arguments import require_key
from ._public import public
from .couplings.estimates import measured_network

Values = dict[str, Array]

# Modulus, relative to the largest, below which an eigenvalue is 0 up to rounding. Rounding moves a double zero of a
# defective matrix to sqrt(1e-16) = 1e-8.
_ZERO = 1e-6


# --- spectra


def spectrum(
    ensemble: str,
    transfer: str | None = None,
    variance: Float[ArrayLike, ""] | None = None,
    *,
    n: int,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """The right edge and the void area of the spectrum of J G, for one network of n units and for N -> infinity.

    G = 1 without a transfer function; with one, G holds its slopes at Gaussian inputs of the `variance`, which may be
    traced. `spectra.observed_void_area` measures `void_area`. Eigenvalues that are 0 do not count; their share of all
    is `zero_mass_theory`. `converged` speaks of the law.

    With cell types, `right_edge_theory` is that of the bulk or of an outlier of block means, whichever is larger. Voids
    and masses are left out, since theory has them for one type only.
    """
    require_key("key", key)
    coupling, phi = _read_gains(parameters, ensemble, transfer, variance)
    law = spectra.law(coupling, phi, variance=variance)
    values = _eigenvalues(coupling, phi, variance, n, max_modes, key)
    counted = jnp.abs(values) > _ZERO * jnp.max(jnp.abs(values))
    if isinstance(law, spectra.TypedLaw):
        theory, converged = _rightmost(coupling, law, gains=phi, variance=variance)
        measured = jnp.max(jnp.where(counted, values.real, -jnp.inf))
        return {"right_edge": measured, "right_edge_theory": theory, "converged": converged}
    edge, voids = law.rightmost(), spectra.void_area(law)
    return {
        "right_edge": jnp.max(jnp.where(counted, values.real, -jnp.inf)),
        "right_edge_theory": jnp.where(edge.converged, edge.z.real, jnp.nan),
        "void_area": spectra.observed_void_area(values),
        "void_area_theory": jnp.where(voids.converged, voids.value, jnp.nan),
        "zero_mass_theory": law.zero_mass(),
        "converged": edge.converged & voids.converged,
    }


def eigenvalues(
    ensemble: str,
    transfer: str | None = None,
    variance: Float[ArrayLike, ""] | None = None,
    *,
    n: int,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """All `eigenvalues`, (n,), of J G in one network, with G as in `spectrum`."""
    require_key("key", key)
    coupling, phi = _read_gains(parameters, ensemble, transfer, variance)
    values = _eigenvalues(coupling, phi, variance, n, max_modes, key)
    return {"eigenvalues": values, "converged": jnp.all(jnp.isfinite(jnp.abs(values)))}


# --- networks in time


def simulate(
    ensemble: str,
    transfer: str = "Tanh()",
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    n: int,
    num_trajectories: int = 4,
    duration: float = 300.0,
    discard: float = 100.0,
    dt: float = 0.05,
    save_every: int = 4,
    max_lag: float = 20.0,
    correlation_time: float = 5.0,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """Autocovariance and dimension of one network of n units, from `num_trajectories` random initial states.

    `autocovariance_x` and `autocovariance_phi` belong to states and rates, at `lags` up to `max_lag`; `variance_x` and
    `variance_phi` are their values at lag 0, and `dimension_phi` is PR / N of rates. All have standard errors. Blocks
    of the `correlation_time` give the dimension, so it must not be too short: `converged` asks that the measured
    `correlation_time_phi` is not longer, and that all trajectories stay finite. `noise` may be traced if it is not 0.
    Times are in units of tau.
    """
    require_key("key", key)
    coupling, phi = _read(parameters, ensemble, transfer)
    key_network, *keys = jax.random.split(key, 3)
    net = dynamics.RateNetwork(coupling.sample(n, key=key_network, max_modes=max_modes), phi, noise=noise)
    times = {"duration": duration, "discard": discard, "dt": dt, "save_every": save_every}
    return _activity(_run(net, num_trajectories, times, *keys), correlation_time, max_lag)


def _run(net: dynamics.RateNetwork, num_trajectories: int, times: dict[str, Any], key_start, key_noise) -> dynamics.Run:
    """Trajectories from random initial states."""
    start = jax.random.normal(key_start, (num_trajectories, net.J.shape[-1]), net.dtype)
    return dynamics.simulate(net, start, **times, key=key_noise, progress=False)


def _activity(run: dynamics.Run, correlation_time: float, max_lag: float | None = None) -> Values:
    """What `simulate` returns; autocovariances only up to some lag."""
    x, rates = run.states, run.rates
    assert x is not None and rates is not None  # only recorders take their place
    n = x.shape[-1]
    c_x, c_phi = (observables.autocovariance(z, run.interval, max_lag=max_lag or 0.0) for z in (x, rates))
    dimension = observables.dimension_estimate(rates, run.interval, correlation_time=correlation_time)
    measured_time = observables.correlation_time(rates, run.interval)
    lagged = {
        "lags": c_x.lags,
        "autocovariance_x": c_x.values,
        "autocovariance_x_error": c_x.error,
        "autocovariance_phi": c_phi.values,
        "autocovariance_phi_error": c_phi.error,
    }
    return ({} if max_lag is None else lagged) | {
        "variance_x": c_x.values[0],
        "variance_x_error": c_x.error[0],
        "variance_phi": c_phi.values[0],
        "variance_phi_error": c_phi.error[0],
        "dimension_phi": dimension.value / n,
        "dimension_phi_error": dimension.error / n,
        "correlation_time_phi": measured_time,
        "converged": jnp.all(run.finite) & (measured_time <= correlation_time),
    }


def lyapunov(
    ensemble: str,
    transfer: str = "Tanh()",
    *,
    n: int,
    num_exponents: int = 1,
    duration: float = 300.0,
    discard: float = 50.0,
    dt: float = 0.05,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """The `num_exponents` largest Lyapunov exponents of one network of n units, from a random initial state, per tau.

    `lyapunov` is the largest, and `exponents` holds all, with standard errors; `converged` asks that they are finite.
    """
    require_key("key", key)
    coupling, phi = _read(parameters, ensemble, transfer)
    key_network, key_start = jax.random.split(key)
    net = dynamics.RateNetwork(coupling.sample(n, key=key_network, max_modes=max_modes), phi)
    start = jax.random.normal(key_start, (n,), net.dtype)
    found = dynamics.lyapunov_spectrum(
        net,
        start,
        num_exponents=num_exponents,
        duration=duration,
        discard=discard,
        dt=dt,
        key=key_start,
        progress=False,
    )
    return {
        "lyapunov": found.exponents[0],
        "lyapunov_error": found.error[0],
        "exponents": found.exponents,
        "exponents_error": found.error,
        "converged": jnp.all(jnp.isfinite(found.exponents)),
    }


def memory(
    ensemble: str,
    transfer: str = "Tanh()",
    *,
    n: int,
    length: int = 20,
    duration: float = 100.0,
    dt: float = 0.05,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """Retrieval of the sequence that a `DeepHebbian` network of n units stores, started at its first pattern.

    `memory.Retrieval` explains `success`, `fidelity`, `reach`, `speed` and `peak_overlap`, here for the first `length`
    patterns. The `period` of a cycle through all P patterns is P / speed; it is NaN without success, and for a load of
    less than `length` patterns.
    """
    coupling, phi = _read(parameters, ensemble, transfer)
    if not isinstance(coupling, couplings.DeepHebbian):
        raise ValueError(f"`ensemble` must be a `DeepHebbian`, which stores a sequence, got {ensemble}")
    J = coupling.sample(n, key=key, max_modes=max_modes)
    # Patterns beyond load n are silent, so that the place where the ring closes is not known here.
    found = memories.retrieve(
        dynamics.RateNetwork(J, phi), J.left.T, duration=duration, dt=dt, length=length, ring=False, progress=False
    )
    cycle = jnp.round(coupling.load * n) / found.speed
    return {
        "success": found.success,
        "fidelity": found.fidelity,
        "reach": found.reach,
        "speed": found.speed,
        "period": jnp.where(found.success, cycle, jnp.nan),
        "peak_overlap": found.peak_overlap,
    }


def regime(
    ensemble: str,
    transfer: str = "Tanh()",
    *,
    n: int,
    length: int = 20,
    duration: float = 100.0,
    exponent_duration: float = 300.0,
    dt: float = 0.05,
    dtype: str | None = None,
    max_modes: int | None = None,
    key: PRNGKeyArray,
    **parameters: ArrayLike,
) -> Values:
    """The behaviour of a `DeepHebbian` network of n units after a cue: the fields of `memory.Observation`, by name.

    `regime` is the number of a `memory.Regime`, -1 where a number that decides is NaN. `memory.observe` documents
    `length`, `duration` and `exponent_duration`. `dtype` is the precision of the network, for example "float32"
    where lines of theory need "float64". `memory.majority` reduces repeated networks.
    """
    coupling, phi = _read(parameters, ensemble, transfer)
    if not isinstance(coupling, couplings.DeepHebbian):
        raise ValueError(f"`ensemble` must be a `DeepHebbian`, which stores a sequence, got {ensemble}")
    found = memories.observe(
        coupling,
        phi,
        n,
        key=key,
        duration=duration,
        exponent_duration=exponent_duration,
        length=length,
        dt=dt,
        dtype=dtype,
        max_modes=max_modes,
        progress=False,
    )
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)} | {
        "converged": found.regime >= 0
    }


# --- theory


def mean_field(
    ensemble: str,
    transfer: str = "Tanh()",
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    nodes: int = 801,
    key: PRNGKeyArray | None = None,
    **parameters: ArrayLike,
) -> Values:
    """The stationary state of a unit for N -> infinity, and the factor of the couplings at which chaos begins.

    `meanfield.stationary` gives `variance_x`, `variance_phi`, `beta`, `decay_rate` and the number of `alternatives`;
    `meanfield.chaos_onset` gives `onset`, where rest is unstable. Where chaos appears, `chaos_appears`, and the largest
    exponent, `lyapunov`, are there for ensembles without memory kernel and echo, for which their equations are known.
    `nodes` must grow with the strength g. `noise` may be traced. Ensembles with a memory kernel need a `key`, for their
    paths.

    With cell types `variance_x`, `variance_phi`, `beta`, the `rate` and the `static_x` part of the variance are arrays,
    one for each type, and `phase` is the number of a `meanfield.Phase`; `alternatives` are not known.
    """
    coupling, phi = _read(parameters, ensemble, transfer)
    state = meanfield.stationary(coupling, phi, noise, nodes=nodes, key=key)
    onset = meanfield.chaos_onset(coupling, phi)
    if isinstance(state, meanfield.TypedStationary):
        return _of_types(state) | {"onset": onset.value, "converged": state.converged & onset.converged}
    found = {
        "variance_x": state.c_x[0],
        "variance_phi": state.c_phi[0],
        "beta": state.beta,
        "decay_rate": state.decay_rate,
        "alternatives": state.alternatives,
        "onset": onset.value,
        "residual": state.residual,
        "converged": state.converged & onset.converged,
    }
    if state.site is None or state.site.echo is not None:
        return found
    exponent = meanfield.largest_lyapunov(state)
    return found | {
        "chaos_appears": onset.appears,
        "lyapunov": exponent.value,
        "converged": found["converged"] & exponent.converged,
    }


def transient(
    ensemble: str,
    transfer: str = "Tanh()",
    variance: Float[ArrayLike, ""] = 1.0,
    input: Float[ArrayLike, ""] = 0.0,
    frequency: Float[ArrayLike, ""] | None = None,
    *,
    duration: float = 20.0,
    step: float = 0.1,
    replica: Float[ArrayLike, ""] | None = None,
    cue: Float[ArrayLike, ""] | None = None,
    length: int | None = None,
    num_paths: int = 2000,
    key: PRNGKeyArray | None = None,
    **parameters: ArrayLike,
) -> Values:
    """The course of a network from a random start of this `variance`, for N -> infinity, at all `times`.

    `variance_x`, `second_moment` (means included) and `beta` are arrays over the times. The `input` I is common to all
    units, or with a `frequency` I cos(frequency t + theta), with phases of units spread over the circle; all of these
    may be traced. With a `replica`, the correlation of a second start, there is the `squared_distance` of the two.
    Ensembles with a memory kernel need a `key` for their `num_paths`, and have no replica; errors are beside what they
    give. With a `cue`, the amplitude of a stored pattern in the start, `overlap` is that with it and the patterns after
    it, `length` of them; there is no input then. `meanfield.transient` and `memory.retrieval_course` document the rest.
    """
    coupling, phi = _read(parameters, ensemble, transfer)
    arguments: dict[str, Any] = dict(duration=duration, step=step, variance=variance)
    if cue is not None:
        course = memories.retrieval_course(
            coupling, phi, cue, key=_course_key(key), length=length, num_paths=num_paths, **arguments
        )
        return _of_course(course.transient) | {"overlap": course.overlaps, "converged": course.converged}
    drive, phases = jnp.asarray(input), 2 * np.pi * np.arange(_PHASES) / _PHASES
    arguments["input"] = drive
    if frequency is not None:
        arguments["weights"] = np.full(_PHASES, 1 / _PHASES)
        arguments["input"] = lambda t: drive * jnp.cos(frequency * t + jnp.asarray(phases, drive.dtype))
    if coupling.site(certain=True) is not None:
        return _of_course(meanfield.transient(coupling, phi, replica=replica, **arguments))
    if replica is not None:
        raise ValueError(f"`replica` must be None for an ensemble with a memory kernel, got {replica}")
    return _of_course(
        meanfield.transient_by_paths(coupling, phi, key=_course_key(key), num_paths=num_paths, **arguments)
    )


# Phases of sines across units: averages over more of them are the same to 1e-3.
_PHASES = 8


def _course_key(key: PRNGKeyArray | None) -> PRNGKeyArray:
    if key is None:
        raise ValueError("`key` must be a key, which draws the paths that an ensemble with a memory kernel needs")
    return key


def _of_course(run: meanfield.Transient) -> Values:
    found = {"times": run.times, "variance_x": run.variance, "second_moment": run.second_moment, "beta": run.beta}
    if run.c_x_error is not None and run.beta_error is not None:
        found |= {"variance_x_error": jnp.diagonal(run.c_x_error), "beta_error": run.beta_error}
    if run.overlap is not None and run.overlap_error is not None:
        found |= {"overlap": run.overlap, "overlap_error": run.overlap_error}
    if run.c_x_replica is not None:
        found["squared_distance"] = run.squared_distance()
    return found | {"residual": run.residual, "converged": run.converged}


def dimension(
    ensemble: str,
    transfer: str = "Tanh()",
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    nodes: int = 801,
    key: PRNGKeyArray | None = None,
    **parameters: ArrayLike,
) -> Values:
    """The dimension of activity for N -> infinity: PR / N of rates, `dimension_phi`, and of states, `dimension_x`.

    The standard errors are 0 unless paths are sampled, for which ensembles with a memory kernel need a `key`. `nodes`
    must grow with the strength g. `noise` may be traced. A network at rest has no dimension: it is NaN, and not
    converged. With cell types there are no sampling errors.
    """
    coupling, phi = _read(parameters, ensemble, transfer)
    state = meanfield.stationary(coupling, phi, noise, nodes=nodes, key=key)
    if isinstance(state, meanfield.TypedStationary):
        typed = population.dimension(state)
        found = {"dimension_phi": typed.phi, "dimension_x": typed.x, "residual": typed.residual}
        return found | {"converged": typed.converged}
    found = population.dimension(state, coupling)
    return {
        "dimension_phi": found.phi,
        "dimension_phi_error": found.phi_error,
        "dimension_x": found.x,
        "dimension_x_error": found.x_error,
        "residual": found.residual,
        "converged": found.converged,
    }


# --- measured matrices


def measured(
    matrix: str | Float[ArrayLike, "n n"],
    types: str | Sequence[str] | Int[ArrayLike, " n"] | None = None,
    transfer: str = "Tanh()",
    noise: Float[ArrayLike, ""] = 0.0,
    scale: Float[ArrayLike, ""] = 1.0,
    *,
    beyond: str | None = "degrees",
    num_trajectories: int = 4,
    duration: float = 300.0,
    discard: float = 100.0,
    dt: float = 0.05,
    save_every: int = 4,
    correlation_time: float = 5.0,
    nodes: int = 801,
    key: PRNGKeyArray,
) -> Values:
    """A measured network, `scale` times `matrix`: its edge, onset and activity, beside the theory of its types.

    `matrix` is an array, larva-left, larva-right or a file (`couplings.read_matrix`), and `types` has a label for each
    unit, or is one of these names, or a file (`couplings.read_types`); None is one type. Theory is of
    `couplings.from_matrix` with `beyond`, without symmetry. `scale`, above 0, and `noise` may be traced.

    `right_edge` is the largest real part of all eigenvalues, and `onset` the scale at which rest is unstable. Of the
    activity `variance_x` and `variance_phi` are the fluctuations around the mean of each unit, averaged over units, and
    `dimension_phi` is PR / N of rates; `simulate` explains `correlation_time` and `converged`, and `mean_field`
    explains `nodes`. `<name>_theory` is NaN where theory has no stationary state.
    """
    require_key("key", key)
    phi = _object("transfer", transfer, transfers, transfers.Transfer, {})
    J, of = measured_network(matrix, types)
    ensemble = couplings.from_matrix(J, types=of, beyond=beyond, symmetry=False)
    edge = jnp.max(spectra.eigenvalues(J).real)
    edge_theory, converged = _rightmost(ensemble, spectra.law(ensemble))
    slope = phi.slope(jnp.zeros((), J.dtype))
    times = {"duration": duration, "discard": discard, "dt": dt, "save_every": save_every}
    net = dynamics.RateNetwork(scale * J, phi, noise=noise)
    found = _activity(_run(net, num_trajectories, times, *jax.random.split(key)), correlation_time)
    state = meanfield.stationary(scale * ensemble, phi, noise, input=0.0, nodes=nodes)
    moving = lambda c, static: jnp.where(state.converged, jnp.sum(state.fractions * (c[:, 0] - static)), jnp.nan)
    return found | {
        "right_edge": jnp.asarray(scale * edge),
        "right_edge_theory": jnp.asarray(scale * edge_theory),
        "onset": 1 / (slope * edge),
        "onset_theory": 1 / (slope * edge_theory),
        "variance_x_theory": moving(state.c_x, state.static_x),
        "variance_phi_theory": moving(state.c_phi, state.static_phi),
        "dimension_phi_theory": population.dimension(state).phi,
        "converged": found["converged"] & converged & state.converged,
    }


def _of_types(state: meanfield.TypedStationary) -> Values:
    numbers = {"variance_x": state.c_x[:, 0], "variance_phi": state.c_phi[:, 0]}
    names = ("rate", "beta", "static_x", "decay_rate", "phase", "residual")
    return numbers | {name: getattr(state, name) for name in names}


def _rightmost(ensemble: couplings.Ensemble, law: Any, **gains: Any) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The right edge of the bulk or the largest real part of an outlier, and whether both are known."""
    edge = law.rightmost()
    right = jnp.where(edge.converged, edge.z.real, jnp.nan)
    means = ensemble.block_means()
    if ensemble.finite_rank().rank == 0 and not (isinstance(means, Tracer) or np.any(np.asarray(means))):
        return right, edge.converged
    # Traced outliers are followed from the modes alone, and not counted: a count needs the whole boundary.
    found = eqx.filter_jit(spectra.outliers)(ensemble, **gains)
    exists = jnp.isfinite(found.values.real)
    apart = jnp.max(jnp.where(exists, found.values.real, -jnp.inf))
    return jnp.maximum(right, apart), edge.converged & jnp.all(found.converged | ~exists)


# --- reading of text, and eigenvalues


def _read(parameters: dict[str, Any], ensemble: str, transfer: str) -> tuple[couplings.Ensemble, transfers.Transfer]:
    """The ensemble and the transfer function that two texts describe; each of the parameters must be a name in them."""
    coupling = _object("ensemble", ensemble, couplings, couplings.Ensemble, parameters)
    phi = _object("transfer", transfer, transfers, transfers.Transfer, parameters)
    _require_used(parameters, ensemble, transfer)
    return coupling, phi


def _read_gains(
    parameters: dict[str, Any], ensemble: str, transfer: str | None, variance: Float[ArrayLike, ""] | None
) -> tuple[couplings.Ensemble, transfers.Transfer | None]:
    """The ensemble, and the transfer function or None; it goes together with the variance of its input."""
    if (transfer is None) != (variance is None):
        raise ValueError(f"`transfer` and `variance` of its input go together, got {transfer!r} and {variance!r}")
    if transfer is not None:
        return _read(parameters, ensemble, transfer)
    coupling = _object("ensemble", ensemble, couplings, couplings.Ensemble, parameters)
    _require_used(parameters, ensemble)
    return coupling, None


def _object(name: str, text: str, module: ModuleType, kind: type, parameters: dict[str, Any]) -> Any:
    if not isinstance(text, str):
        raise ValueError(f"`{name}` must be text in the notation of the API, got {text!r}")
    return _expressions.evaluate(text, _expressions.vocabulary(module, kind), kind, name, parameters)


def _require_used(parameters: dict[str, Any], *texts: str) -> None:
    names = set[str]().union(*map(_expressions.names_in, texts))
    for name in parameters.keys() - names:
        known = f"has the names {', '.join(sorted(names))}" if names else "has no names"
        raise ValueError(
            f"`{name}` must be an argument or a name in `ensemble`, which {known}, got a value without use"
        )


def _eigenvalues(
    coupling: couplings.Ensemble,
    phi: transfers.Transfer | None,
    variance: Float[ArrayLike, ""] | None,
    n: int,
    max_modes: int | None,
    key: PRNGKeyArray,
) -> Complex[Array, " n"]:
    key_network, key_gains = jax.random.split(key)
    J = coupling.sample(n, key=key_network, max_modes=max_modes)
    if phi is None:
        return spectra.eigenvalues(J)
    x = jnp.sqrt(jnp.asarray(variance, J.dtype)) * jax.random.normal(key_gains, (n,), J.dtype)
    return spectra.eigenvalues(J, phi.slope(x))


__dir__ = public(__name__)
