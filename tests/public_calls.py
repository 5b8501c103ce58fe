"""How each public function and class that takes arrays is called: good arguments by name, one small problem each.

`CALLS` is the one table of them. `called()` finds the functions by their annotations, so that a new one without an
entry fails `test_robustness.py`. Among the good arguments, tests put others in place of an array.
"""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian, LowRank, RandomModes
from jaxnets.transfer import ReLU, Tanh

RNG = np.random.default_rng(1)
KEY = jax.random.key(0)
N = 3
J = 0.4 * RNG.standard_normal((N, N))
LARGE = RNG.standard_normal((20, 20)) / 20**0.5
VECTOR = np.array([0.5, 1.0, 0.25])
STATES = RNG.standard_normal((2, N))
SERIES = RNG.standard_normal((40, N))
# Smooth in time, as a fit asks for.
RECORDING = np.apply_along_axis(np.convolve, 0, RNG.standard_normal((900, 12)), np.hanning(8), "valid")
PATTERNS = np.array([[1, 0, 1], [0, 1, 1]])
SPINS = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
SIGNS = np.array([[0.0, -1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
CONDENSED = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.0]])
SMALL = DeepHebbian(0.05, 1.0, (0.3,), symmetric=True)


class Made(NamedTuple):
    """An argument that is computed when it is first needed, and kept; `costly` if that takes seconds."""

    make: Callable[[], Any]
    costly: bool = False


class Call(NamedTuple):
    """One way to call a function.

    `heavy`: a call that is not refused compiles for seconds. `nan` are fields of the result that the documentation
    allows to be NaN; "" is a result that is one number or array.
    """

    function: Callable
    arguments: Callable[[], dict[str, Any]]
    heavy: bool = False
    nan: tuple[str, ...] = ()
    costly: bool = False  # to make the arguments


@functools.cache
def net():
    return jn.dynamics.RateNetwork(J, Tanh())


@functools.cache
def state():
    return jn.meanfield.stationary(IID(1.5), Tanh(), num_lags=129)


@functools.cache
def fit():
    return jn.fitting.least_squares(lambda p, x: p["a"] * x - 2 * x, {"a": 1.0}, jnp.arange(1.0, 5))


def square(params):
    return (params["a"] - 1) ** 2


@functools.cache
def well():
    return jn.fitting.fit(square, {"a": 0.0})


def with_covariance(covariance):
    return jn.fitting.with_covariance(fit(), lambda p, x: p["a"] * x - 2 * x, covariance, jnp.arange(1.0, 5))


@functools.cache
def trajectory():
    return jn.multistability.flow(J + np.eye(N), VECTOR, -0.5 * VECTOR, record=8).trajectory


@functools.cache
def certificate():
    conditions = np.array([[1.0, 1.0], [-1.0, -1.0]])
    return jn.learning.largest_margin(conditions, -np.ones(2), np.ones(2)).certificate


@functools.cache
def conflict():
    return jn.learning.storable(
        np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]]), signs=np.ones(3), progress=False
    )


@functools.cache
def families():
    return [jn.fitting.Independent()]


@functools.cache
def connectome():
    return jn.fitting.fit_connectome(LARGE, families(), key=KEY, num_replicates=32, progress=False)


@functools.cache
def statistics():
    phases = np.exp(2j * np.pi * RNG.random((2, 40)))
    return jn.fitting.spectral_statistics(phases * np.sqrt(RNG.random((2, 40))))


def _of(function, heavy=False, nan=(), **arguments):
    made = lambda: {name: value.make() if isinstance(value, Made) else value for name, value in arguments.items()}
    costly = any(isinstance(value, Made) and value.costly for value in arguments.values())
    return Call(function, made, heavy, nan, costly)


def _spectral_law(method):
    return lambda z: getattr(jn.spectra.law(IID(1.5)), method)(z)


def _typed_law(method):
    return lambda z: getattr(jn.spectra.law(jn.couplings.CellTypes(SHARES, TABLE)), method)(z)


CIRCLE = np.exp(2j * np.pi * np.arange(9) / 8)
POINTS = 0.7 * np.exp(2j * np.pi * RNG.random(6))
QUIET = {"progress": False}
SHARES, TABLE = np.array([0.75, 0.25]), np.array([[1.0, 0.4], [0.3, 0.8]])

CALLS = {
    "Discrete": _of(jn.Discrete, values=VECTOR, weights=VECTOR),
    # --- couplings
    "couplings.IID": _of(jn.couplings.IID, g=1.2),
    "couplings.Elliptic": _of(jn.couplings.Elliptic, g=1.2, symmetry=0.3),
    "couplings.RandomModes": _of(
        jn.couplings.RandomModes, amplitudes=VECTOR, weights=VECTOR, load=0.5, overlap=0.5 * VECTOR
    ),
    "couplings.RandomModes.flat": _of(jn.couplings.RandomModes.flat, amplitude=1.0, load=0.5, overlap=0.2),
    "couplings.RandomModes.of_rank": _of(jn.couplings.RandomModes.of_rank, g=1.0, effective_rank=0.5, overlap=0.2),
    "couplings.RandomModes.exponential": _of(
        jn.couplings.RandomModes.exponential, scale=0.5, power=1.0, amplitude=1.0, load=0.5, overlap=0.2, nodes=4
    ),
    "couplings.RandomModes.two_valued": _of(
        jn.couplings.RandomModes.two_valued, high=1.0, low=0.5, fraction=0.3, load=0.5, overlap=0.2
    ),
    "couplings.CellTypes": _of(
        jn.couplings.CellTypes, fractions=SHARES, g=TABLE, symmetry=0.1, means=TABLE - 1.0, probability=None
    ),
    "couplings.CellTypes sparse": _of(
        jn.couplings.CellTypes, fractions=SHARES, g=1.0, means=TABLE, probability=0.5 * TABLE
    ),
    "couplings.CellTypes.from_weights": _of(
        jn.couplings.CellTypes.from_weights, fractions=SHARES, weights=TABLE, size=50, probability=0.5, spread=0.2
    ),
    "couplings.CellTypes.second_order": _of(
        jn.couplings.CellTypes.second_order,
        g=1.0,
        mean=2.0,
        reciprocal=0.2,
        convergent=0.3,
        divergent=0.4,
        chain=0.1,
    ),
    "couplings.BlockMeans": _of(jn.couplings.BlockMeans, fractions=SHARES, means=TABLE),
    "couplings.TypeGains": _of(
        jn.couplings.TypeGains, fractions=SHARES, ensemble=IID(1.2), row_gains=np.ones(2), gains=np.array([0.5, 2.0])
    ),
    "couplings.Profile": _of(jn.couplings.Profile, mean=TABLE, variance=TABLE, symmetry=0.2),
    "couplings.DeepHebbian": _of(jn.couplings.DeepHebbian, load=0.5, auto=0.2, hetero=VECTOR),
    "couplings.LowRank": _of(jn.couplings.LowRank, overlaps=J, noise=0.5),
    "couplings.Scaled": _of(jn.couplings.Scaled, factor=0.5, ensemble=IID(1.2)),
    "couplings.SingularModes": _of(jn.couplings.SingularModes, values=VECTOR, weights=VECTOR, overlaps=np.zeros(N)),
    "couplings.Ensemble.r_transform": _of(IID(1.2).r_transform, T=J[:2, :2]),
    "couplings.Dense": _of(jn.couplings.Dense, nan=("matrix",), matrix=J),
    "couplings.Sparse": _of(jn.couplings.Sparse, matrix=J),
    "couplings.Diagonal": _of(jn.couplings.Diagonal, nan=("amplitudes",), amplitudes=VECTOR),
    "couplings.Shifts": _of(jn.couplings.Shifts, nan=("auto", "hetero"), auto=0.5, hetero=VECTOR, size=3),
    "couplings.Modes": _of(
        jn.couplings.Modes,
        nan=("left", "_right_rows"),
        left=STATES.T,
        right=STATES.T,
        core=jn.couplings.Diagonal(np.ones(2)),
    ),
    "couplings.finite_size": _of(jn.couplings.finite_size, ensemble=IID(1.2), n=100, dimension=0.1),
    "couplings.from_matrix": _of(jn.couplings.from_matrix, matrix=LARGE),
    "couplings.random_modes_from_matrix": _of(
        jn.couplings.random_modes_from_matrix, heavy=True, matrix=LARGE, key=KEY, num_samples=1, num_iterations=2
    ),
    "couplings.singular_mismatch": _of(
        jn.couplings.singular_mismatch, ensemble=IID(1.0), matrix=LARGE, key=KEY, num_samples=1
    ),
    # --- eigen
    "eigen.eigenvalues": _of(jn.eigen.eigenvalues, J=J, gains=VECTOR),
    "eigen.host_eigenvalues": _of(jn.eigen.host_eigenvalues, J=J, gains=VECTOR),
    "eigen.batched_eigenvalues": _of(
        jn.eigen.batched_eigenvalues, heavy=True, J=J, guesses=np.array([0.5, 0.1 + 0.2j, 0.1 - 0.2j])
    ),
    "eigen.leading": _of(jn.eigen.leading, J=J, num=1),
    # --- observables
    "observables.autocovariance": _of(
        jn.observables.autocovariance, nan=("error",), x=SERIES, interval=0.5, max_lag=2.0
    ),
    "observables.unit_autocovariances": _of(jn.observables.unit_autocovariances, x=SERIES, interval=0.5, max_lag=2.0),
    "observables.cross_covariance": _of(jn.observables.cross_covariance, x=SERIES, y=SERIES, interval=0.5, max_lag=2.0),
    "observables.covariance": _of(jn.observables.covariance, x=SERIES),
    "observables.correlation_time": _of(jn.observables.correlation_time, nan=("",), x=SERIES, interval=0.5),
    "observables.participation_ratio": _of(
        jn.observables.participation_ratio, x=SERIES, interval=0.5, correlation_time=0.5
    ),
    "observables.dimension_estimate": _of(
        jn.observables.dimension_estimate, nan=("value", "error"), x=SERIES, interval=0.5, correlation_time=0.5
    ),
    "observables.principal_components": _of(jn.observables.principal_components, x=SERIES),
    "observables.power_spectrum": _of(jn.observables.power_spectrum, x=SERIES, interval=0.5, segment=5.0),
    "observables.dominant_frequencies": _of(
        jn.observables.dominant_frequencies, nan=("frequencies", "power"), x=SERIES, interval=0.5, segment=5.0
    ),
    "observables.overlaps": _of(jn.observables.overlaps, nan=("",), patterns=PATTERNS, rates=STATES),
    "observables.online.Overlaps": _of(jn.observables.online.Overlaps, patterns=PATTERNS),
    "observables.online.Projections": _of(jn.observables.online.Projections, directions=STATES.T),
    "observables.online.Units": _of(jn.observables.online.Units, indices=np.array([0, 2])),
    # --- dynamics
    "dynamics.RateNetwork": _of(
        jn.dynamics.RateNetwork, J=J, transfer=Tanh(), noise=0.5 * VECTOR, input=VECTOR, tau=VECTOR, row_gains=VECTOR
    ),
    "dynamics.RateNetwork.jacobian": Call(lambda x: net().jacobian(x).dense(), lambda: {"x": STATES}),
    "dynamics.jacobian_eigenvalues": _of(jn.dynamics.jacobian_eigenvalues, net=Made(net), states=STATES, **QUIET),
    "dynamics.find_fixed_point": _of(jn.dynamics.find_fixed_point, net=Made(net), x0=VECTOR),
    "dynamics.fixed_points": _of(jn.dynamics.fixed_points, net=Made(net), x0s=STATES, **QUIET),
    "dynamics.simulate": _of(jn.dynamics.simulate, net=Made(net), x0=STATES, duration=0.5, **QUIET),
    "dynamics.lyapunov_spectrum": _of(
        jn.dynamics.lyapunov_spectrum,
        net=Made(net),
        x0=VECTOR,
        num_exponents=1,
        duration=4.0,
        discard=0.5,
        key=KEY,
        **QUIET,
    ),
    "dynamics.entropy_rate": _of(jn.dynamics.entropy_rate, nan=("",), exponents=VECTOR),
    "dynamics.kaplan_yorke_dimension": _of(
        jn.dynamics.kaplan_yorke_dimension, nan=("",), exponents=np.array([0.5, 0.0, -1.0])
    ),
    "dynamics.step": _of(jn.dynamics.step, net=Made(net), scheme=jn.dynamics.heun, t=0.0, x=VECTOR, dt=0.05, key=None),
    "dynamics.step_log_density": Call(
        lambda t, x, x_next, dt: jn.dynamics.step_log_density(
            jn.dynamics.RateNetwork(J, Tanh(), noise=0.5), jn.dynamics.heun, t, x, x_next, dt
        ),
        lambda: {"t": 0.0, "x": VECTOR, "x_next": VECTOR + 0.01, "dt": 0.05},
        heavy=True,
        nan=("",),
    ),
    # --- transfer
    "transfer.Logistic": _of(jn.transfer.Logistic, steepness=2.0),
    "transfer.PiecewiseLinear": _of(
        jn.transfer.PiecewiseLinear,
        breaks=np.array([0.0, 1.0]),
        slopes=np.array([0.0, 1.0, 0.0]),
        intercepts=np.array([0.0, 0.0, 1.0]),
    ),
    # --- spectra
    "spectra.law": _of(jn.spectra.law, ensemble=IID(1.5), gains=VECTOR),
    "spectra.law of a transfer function": _of(jn.spectra.law, ensemble=IID(1.5), gains=Tanh(), mean=0.2, variance=0.5),
    "spectra.SpectralLaw.density": _of(_spectral_law("density"), heavy=True, z=POINTS),
    "spectra.SpectralLaw.solve": _of(_spectral_law("solve"), heavy=True, z=POINTS),
    "spectra.TypedLaw.density": _of(_typed_law("density"), heavy=True, z=POINTS),
    "spectra.TypedLaw.solve": _of(_typed_law("solve"), heavy=True, z=POINTS),
    "meanfield.stationary types": _of(
        jn.meanfield.stationary,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, 0.3 * TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
        tau=np.array([1.0, 2.0]),
    ),
    "meanfield.static_state types": _of(
        jn.meanfield.static_state,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, 0.3 * TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
        tau=np.array([1.0, 2.0]),
        guess_mean=np.array([0.2, 0.1]),
    ),
    "meanfield.chaos_onset": _of(
        jn.meanfield.chaos_onset,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
    ),
    "spectra.outliers": _of(
        jn.spectra.outliers, nan=("values",), ensemble=IID(0.8) + LowRank(2.0), gains=VECTOR, heavy=True
    ),
    "spectra.outliers of a transfer function": _of(
        jn.spectra.outliers, True, ("values",), ensemble=IID(0.8) + LowRank(2.0), gains=Tanh(), mean=0.1, variance=0.1
    ),
    "spectra.critical_value": Call(
        lambda guess, edge, gains: jn.spectra.critical_value(lambda g: IID(g), guess, edge=edge, gains=gains),
        lambda: {"guess": 1.2, "edge": 1.0, "gains": VECTOR},
        heavy=True,
    ),
    "spectra.singular_profile": _of(
        jn.spectra.singular_profile, ensemble=IID(1.5), scales=VECTOR, nan=("counts", "overlaps")
    ),
    "spectra.observed_singular_profile": _of(
        jn.spectra.observed_singular_profile, values=VECTOR, overlaps=0.1 * VECTOR, n=5, scales=VECTOR
    ),
    "spectra.estimated_singular_profile": _of(
        jn.spectra.estimated_singular_profile, True, J=J, scales=VECTOR, key=KEY, num_vectors=2, num_steps=3
    ),
    "spectra.contains": _of(jn.spectra.contains, curve=CIRCLE, z=POINTS),
    "spectra.coverage": Call(
        lambda eigenvalues: jn.spectra.coverage(eigenvalues, [CIRCLE]), lambda: {"eigenvalues": POINTS}
    ),
    "spectra.coverage by curves": Call(
        lambda curves: jn.spectra.coverage(POINTS, [curves]), lambda: {"curves": CIRCLE}
    ),
    "spectra.observed_void_area": _of(jn.spectra.observed_void_area, nan=("",), eigenvalues=POINTS),
    # --- population
    "population.cross_spectrum": _of(jn.population.cross_spectrum, J=J, s=np.array([1.0 + 1j]), c0=1.0),
    "population.dressed": _of(jn.population.dressed, ensemble=IID(0.5), s=0.5 + 0.5j),
    "population.four_point_sum": _of(jn.population.four_point_sum, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5),
    "population.four_point_sum_x": _of(
        jn.population.four_point_sum_x, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5, noise1=0.1, noise2=0.1
    ),
    "population.linear_sum": _of(jn.population.linear_sum, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5),
    "population.pair_covariance": _of(
        jn.population.pair_covariance, heavy=True, state=Made(state, costly=True), ensemble=None, lags=VECTOR, nodes=16
    ),
    # --- meanfield
    "meanfield.Input": _of(jn.meanfield.Input, mean=0.1, variance=0.2, left=0.1, right=0.1),
    "meanfield.static_state": _of(
        jn.meanfield.static_state,
        heavy=True,
        ensemble=IID(1.2) + LowRank(2.0),
        transfer=Tanh(),
        guess_kappa=1.0,
        guess_variance=0.5,
        nodes=20,
    ),
    "meanfield.static_states": _of(
        jn.meanfield.static_states,
        heavy=True,
        nan=("outliers",),
        ensemble=IID(1.2) + LowRank(2.0),
        transfer=Tanh(),
        key=KEY,
        num_starts=2,
        scale=1.0,
        nodes=20,
    ),
    "meanfield.stationary": _of(
        jn.meanfield.stationary, heavy=True, ensemble=IID(1.5), transfer=Tanh(), noise=0.1, max_lag=20.0, num_lags=129
    ),
    "meanfield.stationary_states": _of(
        jn.meanfield.stationary_states,
        heavy=True,
        ensemble=IID(1.5),
        transfer=Tanh(),
        noise=0.0,
        max_lag=20.0,
        num_lags=129,
    ),
    "meanfield.stationary_by_paths": _of(
        jn.meanfield.stationary_by_paths,
        heavy=True,
        ensemble=RandomModes([1.5], load=0.5, overlap=0.3),
        transfer=Tanh(),
        noise=0.1,
        key=KEY,
        num_paths=16,
        period=20.0,
        max_lag=5.0,
        memory=5.0,
        dt=0.25,
        max_steps=2,
        nodes=41,
    ),
    **{
        f"meanfield.Stationary.{name}": Call(
            lambda frequency, name=name: getattr(state(), name)(frequency),
            lambda: {"frequency": VECTOR},
            True,
            (),
            True,
        )
        for name in ("response", "spectrum_x", "spectrum_phi", "noise_spectrum", "memory_kernel")
    },
    # --- memory
    "memory.SymmetricCore": _of(
        jn.memory.SymmetricCore, load=0.05, condensed=CONDENSED, eigenvalues=jn.Discrete(VECTOR)
    ),
    "memory.replica_state": _of(
        jn.memory.replica_state, heavy=True, ensemble=SMALL, guess=np.array([0.5, 0.9, 0.5]), temperature=0.1
    ),
    "memory.correlation_profile": _of(
        jn.memory.correlation_profile, heavy=True, ensemble=SMALL, reach=1, temperature=0.1
    ),
    "memory.zero_load_overlaps": _of(
        jn.memory.zero_load_overlaps, condensed=CONDENSED + np.eye(3), guess=np.array([0.5, 0.9, 0.5]), temperature=0.2
    ),
    **{
        f"memory.{name}": _of(
            getattr(jn.memory, name),
            heavy=True,
            ensemble=DeepHebbian(0.05, 1.0, (0.0,), symmetric=True),
            guess=np.array([0.95]),
            temperature=0.1,
            nodes=40,
        )
        for name in ("capacity", "coexistence")
    },
    "memory.replicon_temperature": _of(
        jn.memory.replicon_temperature,
        heavy=True,
        ensemble=DeepHebbian(0.05, 1.0, (0.0,), symmetric=True),
        guess=np.array([0.95]),
        nodes=40,
    ),
    "memory.correlated_binary": _of(jn.memory.correlated_binary, n=4, correlation=CONDENSED + np.eye(3), key=KEY),
    "memory.correlated_gaussian": _of(jn.memory.correlated_gaussian, n=4, correlation=CONDENSED + np.eye(3), key=KEY),
    "memory.exponential_correlation": _of(jn.memory.exponential_correlation, num_patterns=3, length=1.5),
    "memory.hebbian": _of(jn.memory.hebbian, patterns=SPINS, auto=0.1, hetero=VECTOR),
    "memory.glauber": _of(
        jn.memory.glauber,
        J=jn.couplings.Dense(J + J.T, symmetric=True),
        spins0=SPINS,
        temperature=0.5,
        num_sweeps=2,
        key=KEY,
        patterns=SPINS,
    ),
    "memory.classify": _of(
        jn.memory.classify,
        success=np.array(False),
        activity=np.array(1.0),
        pace=np.array(0.5),
        present=np.array(3.0),
        exponent=np.array(0.1),
        exponent_error=np.array(0.01),
    ),
    "memory.majority": _of(jn.memory.majority, regimes=np.array([[0, 1, 1], [2, 2, -1]])),
    "memory.success_probability": _of(jn.memory.success_probability, success=np.array([True, False, True])),
    "memory.on_top": _of(jn.memory.on_top, overlaps=STATES, threshold=0.1),
    "memory.retrieval": _of(
        jn.memory.retrieval,
        nan=("peak_times", "peaks", "speed", "period", "peak_overlap"),
        overlaps=SERIES,
        times=np.arange(40.0),
        cue=np.array(0),
        threshold=0.1,
        num_patterns=3,
    ),
    "memory.retrieve": _of(
        jn.memory.retrieve,
        nan=("peak_times", "peaks", "speed", "period", "peak_overlap"),
        heavy=True,
        net=Made(net),
        patterns=SPINS,
        duration=1.0,
        cue=np.array(0),
        threshold=0.1,
        **QUIET,
    ),
    "memory.instability": _of(
        jn.memory.instability, heavy=True, load=0.5, window=VECTOR, auto=0.1, transfer=Tanh(), guess=0.5
    ),
    "memory.self_organised_edge": _of(
        jn.memory.self_organised_edge,
        nan=("",),
        heavy=True,
        ensemble=DeepHebbian(0.5),
        transfer=Tanh(),
        mean=0.1,
        variance=0.5,
    ),
    "memory.observe": _of(
        jn.memory.observe,
        nan=("speed", "period", "peak_overlap"),
        heavy=True,
        ensemble=DeepHebbian(0.5, 0.0, (1.5,)),
        transfer=Tanh(),
        n=8,
        key=KEY,
        duration=2.0,
        exponent_duration=8.0,
        threshold=0.1,
        **QUIET,
    ),
    "memory.dense.recall": _of(
        jn.memory.dense.recall, interaction=jn.memory.dense.Polynomial(2), patterns=SPINS, states=SPINS, num_steps=2
    ),
    # --- replica
    "replica.Hopfield": _of(
        jn.replica.Hopfield, core=Made(lambda: jn.replica.symmetric_core(SMALL, 1)), temperature=0.1, nodes=20
    ),
    "replica.saddle": Call(
        lambda guess: jn.replica.saddle(jn.replica.Hopfield(jn.replica.symmetric_core(SMALL, 1), 0.1, nodes=20), guess),
        lambda: {"guess": np.array([0.95, 0.0])},
        heavy=True,
    ),
    # --- multistability
    "multistability.stable_patterns": _of(jn.multistability.stable_patterns, J=J, bias=VECTOR),
    "multistability.is_stable": _of(jn.multistability.is_stable, J=J, patterns=PATTERNS, bias=VECTOR),
    "multistability.margins": _of(jn.multistability.margins, J=J, patterns=PATTERNS, bias=VECTOR),
    "multistability.descend": _of(jn.multistability.descend, J=J, bias=VECTOR, num_starts=2, key=KEY, max_flips=20),
    "multistability.flow": _of(
        jn.multistability.flow, J=J, x0=STATES, bias=VECTOR, max_events=20, nan=("mean_activity", "period")
    ),
    "multistability.basins": _of(jn.multistability.basins, J=J, bias=VECTOR, num_starts=4, key=KEY, max_events=20),
    "multistability.state_graph": _of(
        jn.multistability.state_graph, J=J, bias=VECTOR, num_starts=4, key=KEY, max_events=20, patterns=np.ones((1, N))
    ),
    "multistability.follow_pattern": _of(
        jn.multistability.follow_pattern, J=J + np.eye(N), pattern=np.ones(N), bias=VECTOR
    ),
    "multistability.piecewise_fixed_points": _of(
        jn.multistability.piecewise_fixed_points, left=STATES.T, right=STATES.T, transfer=ReLU(), offset=VECTOR
    ),
    "multistability.regions": _of(jn.multistability.regions, normals=STATES.T, offsets=VECTOR),
    "multistability.check_topology": _of(jn.multistability.check_topology, signs=SIGNS, pattern=PATTERNS[0]),
    "multistability.closure": _of(
        jn.multistability.closure, signs=np.ones((N, N)), pattern=np.ones(3, int), cue=np.array([1, 0, 0])
    ),
    "multistability.completes": _of(
        jn.multistability.completes, signs=np.ones((N, N)), pattern=np.ones(3, int), cue=np.array([1, 0, 0])
    ),
    "multistability.compatibility": _of(
        jn.multistability.compatibility,
        patterns=PATTERNS,
        candidate=np.array([1, 1, 1]),
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        **QUIET,
    ),
    "multistability.count_sign_matrices": _of(
        jn.multistability.count_sign_matrices, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.fewest_synapses": _of(
        jn.multistability.fewest_synapses, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.sign_constraints": _of(
        jn.multistability.sign_constraints, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.sign_matrices": Call(
        lambda patterns, mask: list(itertools.islice(jn.multistability.sign_matrices(patterns, mask=mask), 3)),
        lambda: {"patterns": PATTERNS, "mask": ~np.eye(N, dtype=bool)},
    ),
    "multistability.sign_stability": _of(jn.multistability.sign_stability, signs=SIGNS, patterns=PATTERNS),
    "multistability.union_and_intersection": _of(
        jn.multistability.union_and_intersection, first=PATTERNS[0], second=PATTERNS[1]
    ),
    "multistability.Trajectory.at": Call(lambda t: trajectory().at(t), lambda: {"t": 0.1}, True, (), True),
    # --- learning
    "learning.compose": _of(jn.learning.compose, patterns=PATTERNS, Y=STATES.T, Z=J),
    "learning.factorise": _of(jn.learning.factorise, J=J, patterns=PATTERNS),
    "learning.largest_margin": _of(
        jn.learning.largest_margin, conditions=STATES, lower=-VECTOR, upper=VECTOR, offset=np.zeros(2)
    ),
    "learning.margin_limit": _of(
        jn.learning.margin_limit,
        certificate=Made(certificate),
        conditions=np.array([[1.0, 1.0], [-1.0, -1.0]]),
        lower=-np.ones(2),
        upper=np.ones(2),
        offset=np.zeros(2),
    ),
    "learning.explain": Call(
        lambda patterns: jn.learning.explain(
            next(c for c in conflict().certificates if c is not None), patterns, unit=0
        ),
        lambda: {"patterns": np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]])},
    ),
    "learning.storable": _of(
        jn.learning.storable,
        patterns=PATTERNS,
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        bias=np.zeros(N),
        **QUIET,
    ),
    **{
        f"learning.{name}": _of(
            getattr(jn.learning, name),
            nan=("weights", "bias", "margins"),
            patterns=PATTERNS,
            signs=np.full((N, N), np.nan),
            mask=~np.eye(N, dtype=bool),
            bounds=np.ones((N, N)),
            bias=np.full(N, np.nan),
            margin=0.1,
            **QUIET,
        )
        for name in ("store", "store_sparsest", "store_widest")
    },
    "learning.weight_limits": _of(
        jn.learning.weight_limits,
        n=N,
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        bounds=np.ones((N, N)),
    ),
    # --- fitting
    **{
        f"fitting.{name}": _of(getattr(jn.fitting, name), **arguments)
        for name, arguments in {
            "ConstantOverlap": {"value": 0.2},
            "Exponential": {"decay": 0.3},
            "StretchedExponential": {"decay": 0.3, "power": 1.0},
            "PowerLaw": {"exponent": 0.4},
            "LinearOverlap": {"first": 0.1, "last": 0.2},
            "Independent": {"g": 1.0},
            "GaussianModes": {"law": jn.fitting.Flat(), "g": 1.0},
            "OrthogonalModes": {"law": jn.fitting.Flat(), "g": 1.0},
            "Interval": {"low": 0.0, "high": 1.0},
        }.items()
    },
    "fitting.spectral_statistics": _of(
        jn.fitting.spectral_statistics, eigenvalues=np.tile(0.1 * np.arange(1, 31) + 0.2j, (2, 1)), num_radii=2
    ),
    "fitting.autocovariance_misses": _of(
        jn.fitting.autocovariance_misses,
        heavy=True,
        state=Made(state, costly=True),
        lags=VECTOR,
        measured=VECTOR,
        error=VECTOR,
        time_constant=1.0,
    ),
    "fitting.population_time_misses": _of(
        jn.fitting.population_time_misses,
        heavy=True,
        state=Made(state, costly=True),
        ensemble=IID(1.5),
        lags=VECTOR,
        measured=VECTOR,
        error=VECTOR,
        time_constant=1.0,
    ),
    "fitting.dimension_misses": _of(
        jn.fitting.dimension_misses,
        heavy=True,
        state=Made(state, costly=True),
        ensemble=IID(1.5),
        measured=0.1,
        error=0.1,
    ),
    "fitting.edge_misses": _of(
        jn.fitting.edge_misses, heavy=True, nan=("",), ensemble=IID(1.5), right_edge=1.4, error=0.1, gains=VECTOR
    ),
    "fitting.onset_misses": _of(
        jn.fitting.onset_misses, heavy=True, ensemble=IID(1.5), transfer=Tanh(), scale=1.0, error=0.1
    ),
    "fitting.spectrum_misses": _of(
        jn.fitting.spectrum_misses,
        heavy=True,
        nan=("",),
        ensemble=IID(1.0),
        data=Made(statistics),
        gains=VECTOR,
        num_points=8,
    ),
    "fitting.speed_misses": _of(
        jn.fitting.speed_misses, ensemble=DeepHebbian(0.5), measured=1.0, error=0.1, time_constant=1.0
    ),
    "fitting.draw_starts": _of(jn.fitting.draw_starts, params={"a": 1.0}, num_starts=2, key=KEY, spread=0.5),
    "fitting.with_covariance": Call(with_covariance, lambda: {"covariance": np.eye(4)}, heavy=True),
    "fitting.profile": Call(
        lambda values: jn.fitting.profile(square, well(), "a", values),
        lambda: {"values": np.array([0.0, 1.0, 2.0])},
        heavy=True,
        nan=("low", "high"),
    ),
    "fitting.fit_connectome": _of(
        jn.fitting.fit_connectome,
        heavy=True,
        matrix=LARGE,
        families=Made(families),
        key=KEY,
        num_replicates=32,
        **QUIET,
    ),
    "fitting.held_out": _of(jn.fitting.held_out, heavy=True, fit=Made(connectome, costly=True), matrix=LARGE),
    "fitting.apart": Call(
        lambda a, b: jn.fitting.apart(connectome().fits[0], a, b), lambda: {"a": LARGE, "b": LARGE.T}, True, (), True
    ),
    "fitting.fit_recording": _of(
        jn.fitting.fit_recording,
        heavy=True,
        nan=("inverse_rank", "inverse_rank_error", "effective_rank", "effective_rank_error"),
        rates=RECORDING,
        interval=0.5,
    ),
    # --- plotting
    **{
        f"plotting.{name}": _of(getattr(jn.plotting, name), **arguments)
        for name, arguments in {
            "eigenvalues": {"values": POINTS},
            "density": {"x": VECTOR.cumsum(), "y": VECTOR[:2].cumsum(), "values": STATES**2},
            "marks": {"values": POINTS},
            "histogram": {"values": VECTOR, "num_bins": 5},
            "line": {"x": VECTOR, "values": VECTOR},
            "raster": {"times": np.arange(2.0), "values": STATES},
            "phases": {
                "x": VECTOR.cumsum(),
                "y": np.arange(2.0),
                "values": np.array([[0, 1, 1], [1, 0, -1]]),
                "names": ["a", "b"],
            },
            "autocovariance": {"lags": np.arange(3.0), "values": VECTOR, "error": 0.1 * VECTOR},
            "components": {"explained": VECTOR},
            "dimension": {"x": VECTOR, "values": VECTOR},
            "profile": {"x": VECTOR, "values": VECTOR},
            "estimates": {"x": VECTOR, "values": VECTOR, "error": 0.1 * VECTOR},
            "samples": {"x": VECTOR, "values": VECTOR, "error": 0.1 * VECTOR},
            "heat_map": {"x": VECTOR.cumsum(), "y": np.arange(2.0), "values": STATES},
            "patterns": {"values": PATTERNS, "names": ["a", "b"]},
            "graph": {"sizes": VECTOR, "edges": np.abs(J), "names": ["a", "b", "c"], "colors": ["r", "g", "b"]},
        }.items()
    },
    "plotting.boundary": Call(lambda curves: jn.plotting.boundary([curves]), lambda: {"curves": CIRCLE}),
}
# Names that are not themselves called, and why.
NOT_CALLED = {
    "dynamics.heun": "one step within a compiled loop; takes JAX arrays as they come",
    "dynamics.rk4": "as `heun`",
    "replica.branch_end": "equations of a user's own problem; takes JAX arrays as they come",
    "replica.coexistence": "as `branch_end`",
    "replica.fold": "as `branch_end`",
    "replica.vanishing": "as `branch_end`",
    "replica.SymmetricCore": "is `memory.SymmetricCore`",
    "spectra.eigenvalues": "is `eigen.eigenvalues`",
    "fitting.Family.ensemble": "is called by fits, with numbers that are traced",
    **{
        f"meanfield.TypedStationary.{name}": "as the same of `Stationary`; a state of types takes long to find"
        for name in ("response", "spectrum_phi", "spectrum_x")
    },
    "computations": "functions of one point of a sweep: strings and numbers that are traced",
}


def modules():
    """The rooms, and their public modules."""
    rooms = {name: getattr(jn, name) for name in jn.__all__ if inspect.ismodule(getattr(jn, name))}
    return rooms | {"observables.online": jn.observables.online, "memory.dense": jn.memory.dense}


def takes_arrays(function) -> set[str]:
    """The names of the arguments that are arrays."""
    kinds = {name: str(p.annotation) for name, p in inspect.signature(function).parameters.items()}
    arrays = ("ArrayLike", "ndarray", "Complex[Array", "Float[Array", "Int[Array", "Bool[Array")
    return {name for name, kind in kinds.items() if any(a in kind for a in arrays) and "Callable" not in kind}


def called() -> dict[str, set[str]]:
    """The public functions, classes and methods that take arrays, and which of their arguments are arrays."""
    found = {"Discrete": {"values", "weights"}}
    for room, module in modules().items():
        for name in dir(module):
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                found[f"{room}.{name}"] = takes_arrays(thing)
            elif inspect.isclass(thing):
                found |= _of_class(f"{room}.{name}", thing)
    return {name: arrays for name, arrays in found.items() if arrays}


def _of_class(path: str, kind: type) -> dict[str, set[str]]:
    """Constructors and methods that take what is not yet an array of JAX: results and inner functions do not."""
    found = {}
    for name, method in vars(kind).items():
        function = getattr(method, "__func__", method)
        if not inspect.isfunction(function) or (name.startswith("_") and name != "__init__"):
            continue
        kinds = {k: str(p.annotation) for k, p in inspect.signature(function).parameters.items()}
        arrays = {k for k, text in kinds.items() if "ArrayLike" in text and "Callable" not in text}
        found[path if name == "__init__" else f"{path}.{name}"] = arrays
    return found
