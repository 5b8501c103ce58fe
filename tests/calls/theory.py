"""Spectra, mean field, populations, memories."""

import functools

import jax.numpy as jnp
import numpy as np

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian, LowRank, RandomModes
from jaxnets.transfer import Tanh

from .problems import (
    CIRCLE,
    CONDENSED,
    KEY,
    POINTS,
    QUIET,
    SERIES,
    SHARES,
    SMALL,
    SPINS,
    STATES,
    TABLE,
    VECTOR,
    Call,
    J,
    Made,
    net,
    of,
    state,
)


def _spectral_law(method):
    return lambda z: getattr(jn.spectra.law(IID(1.5)), method)(z)


def _typed_law(method):
    return lambda z: getattr(jn.spectra.law(jn.couplings.CellTypes(SHARES, TABLE)), method)(z)


def _profile_law(method):
    law = jn.spectra.law(jn.couplings.Profile(0.4 * np.eye(9), np.full((9, 9), 0.05)))
    return lambda z: getattr(law, method)(z)


def course():
    return jn.meanfield.transient(IID(1.5), Tanh(), duration=2.0, variance=0.3)


def recalled():
    ensemble = DeepHebbian(0.1, 1.0, (0.0,))
    return jn.memory.retrieval_course(ensemble, Tanh(), key=KEY, duration=1.0, num_paths=160)


@functools.cache
def exponents():
    shares, nothing = jnp.array([0.5, 0.8, 0.9]), jnp.zeros(())
    fields = jnp.array([-1.0, -0.5, -0.1]), shares, 0 * shares, nothing + 0.1, jnp.tile(shares, (4, 1))
    return jn.population.LyapunovDistribution(*fields, nothing, nothing == 0, mirrored=True)


FEW_PATHS = {
    **{"key": KEY, "num_paths": 16, "period": 20.0, "max_lag": 5.0, "memory": 5.0},
    **{"dt": 0.25, "max_steps": 2, "nodes": 41},
}

CALLS = {
    # --- layers
    "layers.Layers": of(lambda g, r, bias: jn.layers.Layers(Tanh(), g, r, bias), g=1.2, r=0.5, bias=0.1),
    "layers.Inputs": of(jn.layers.Inputs, mean_square=0.1, variance=0.5, variance_square=0.3, off_diagonal=0.2),
    "layers.FeedForward": of(
        lambda weights, biases: jn.layers.FeedForward(weights, biases, Tanh()), weights=np.stack([J, J]), biases=STATES
    ),
    "layers.FeedForward.closure": of(
        lambda covariance, mean: jn.layers.FeedForward(np.stack([J]), STATES[:1], Tanh()).closure(covariance, mean),
        heavy=True,
        covariance=np.eye(3),
        mean=VECTOR,
    ),
    "layers.correlated_weights": of(lambda r: jn.layers.correlated_weights(3, 4, r, key=KEY), r=0.5),
    "layers.edge_of_chaos": of(lambda bias: jn.layers.edge_of_chaos(Tanh(), bias), heavy=True, bias=0.3),
    "layers.measured_statistics": of(
        jn.layers.measured_statistics,
        nan=("dimension",),
        first=SERIES.reshape(20, 2, 3),
        second=SERIES.reshape(20, 2, 3)[::-1],
    ),
    "layers.rate_covariance": of(
        lambda mean, covariance: jn.layers.rate_covariance(Tanh(), mean, covariance),
        heavy=True,
        mean=VECTOR,
        covariance=np.eye(3),
    ),
    # --- spectra
    "spectra.law": of(jn.spectra.law, ensemble=IID(1.5), gains=VECTOR),
    "spectra.law of a transfer function": of(jn.spectra.law, ensemble=IID(1.5), gains=Tanh(), mean=0.2, variance=0.5),
    "spectra.SpectralLaw.density": of(_spectral_law("density"), heavy=True, z=POINTS),
    "spectra.SpectralLaw.solve": of(_spectral_law("solve"), heavy=True, z=POINTS),
    "spectra.TypedLaw.density": of(_typed_law("density"), heavy=True, z=POINTS),
    "spectra.ProfileLaw.density": of(_profile_law("density"), heavy=True, z=POINTS),
    "spectra.ProfileLaw.stability": of(_profile_law("stability"), z=POINTS),
    "spectra.TypedLaw.solve": of(_typed_law("solve"), heavy=True, z=POINTS),
    "spectra.outliers": of(
        jn.spectra.outliers, nan=("values",), ensemble=IID(0.8) + LowRank(2.0), gains=VECTOR, heavy=True
    ),
    "spectra.outliers of a transfer function": of(
        jn.spectra.outliers, True, ("values",), ensemble=IID(0.8) + LowRank(2.0), gains=Tanh(), mean=0.1, variance=0.1
    ),
    "spectra.critical_value": Call(
        lambda guess, edge, gains: jn.spectra.critical_value(lambda g: IID(g), guess, edge=edge, gains=gains),
        lambda: {"guess": 1.2, "edge": 1.0, "gains": VECTOR},
        heavy=True,
    ),
    "spectra.singular_profile": of(
        jn.spectra.singular_profile, ensemble=IID(1.5), scales=VECTOR, nan=("counts", "overlaps")
    ),
    "spectra.observed_singular_profile": of(
        jn.spectra.observed_singular_profile, values=VECTOR, overlaps=0.1 * VECTOR, n=5, scales=VECTOR
    ),
    "spectra.estimated_singular_profile": of(
        jn.spectra.estimated_singular_profile, True, J=J, scales=VECTOR, key=KEY, num_vectors=2, num_steps=3
    ),
    "spectra.contains": of(jn.spectra.contains, curve=CIRCLE, z=POINTS),
    "spectra.coverage": Call(
        lambda eigenvalues: jn.spectra.coverage(eigenvalues, [CIRCLE]), lambda: {"eigenvalues": POINTS}
    ),
    "spectra.coverage by curves": Call(
        lambda curves: jn.spectra.coverage(POINTS, [curves]), lambda: {"curves": CIRCLE}
    ),
    "spectra.observed_void_area": of(jn.spectra.observed_void_area, nan=("",), eigenvalues=POINTS),
    # --- population
    "population.cross_spectrum": of(jn.population.cross_spectrum, J=J, s=np.array([1.0 + 1j]), c0=1.0),
    "population.dressed": of(jn.population.dressed, ensemble=IID(0.5), s=0.5 + 0.5j),
    "population.four_point_sum": of(jn.population.four_point_sum, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5),
    "population.four_point_sum_x": of(
        jn.population.four_point_sum_x, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5, noise1=0.1, noise2=0.1
    ),
    "population.linear_sum": of(jn.population.linear_sum, nan=("",), ensemble=IID(0.5), s1=0.5 + 0.5j, s2=0.5),
    "population.LyapunovDistribution.above": of(lambda s: exponents().above(s), s=VECTOR),
    "population.LyapunovDistribution.quantile": of(lambda p: exponents().quantile(p), p=np.array([0.2, 0.9])),
    "population.lyapunov_distribution": of(
        lambda thresholds: jn.population.lyapunov_distribution(
            state(), None, Tanh(), key=KEY, thresholds=thresholds, num_paths=64, points=16, period=8.0
        ),
        heavy=True,
        thresholds=np.array([-0.5, -0.2]),
    ),
    "population.pair_covariance": of(
        jn.population.pair_covariance, heavy=True, state=Made(state, costly=True), ensemble=None, lags=VECTOR, nodes=16
    ),
    # --- meanfield
    "meanfield.stationary types": of(
        jn.meanfield.stationary,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, 0.3 * TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
        tau=np.array([1.0, 2.0]),
    ),
    "meanfield.static_state types": of(
        jn.meanfield.static_state,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, 0.3 * TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
        tau=np.array([1.0, 2.0]),
        guess_mean=np.array([0.2, 0.1]),
    ),
    "meanfield.chaos_onset": of(
        jn.meanfield.chaos_onset,
        nan=("appears",),
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
    ),
    "meanfield.Input": of(jn.meanfield.Input, mean=0.1, variance=0.2, left=0.1, right=0.1),
    "meanfield.static_state": of(
        jn.meanfield.static_state,
        heavy=True,
        ensemble=IID(1.2) + LowRank(2.0),
        transfer=Tanh(),
        guess_kappa=1.0,
        guess_variance=0.5,
        nodes=20,
    ),
    "meanfield.static_states": of(
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
    "meanfield.static_states types": of(
        jn.meanfield.static_states,
        heavy=True,
        nan=("outliers",),
        ensemble=jn.couplings.CellTypes(SHARES, 0.3 * TABLE),
        transfer=jn.transfer.Tanh(),
        input=np.array([0.2, 0.1]),
        tau=np.array([1.0, 2.0]),
        key=KEY,
        num_starts=2,
        scale=1.0,
    ),
    "meanfield.stationary": of(
        jn.meanfield.stationary, heavy=True, ensemble=IID(1.5), transfer=Tanh(), noise=0.1, max_lag=20.0, num_lags=129
    ),
    "meanfield.Transient.response": of(
        lambda run, t, s: run.response(t, s), run=Made(course, costly=True), t=np.array([0.5, 1.0]), s=0.25
    ),
    "meanfield.transient": of(
        jn.meanfield.transient,
        heavy=True,
        ensemble=IID(1.5),
        transfer=Tanh(),
        duration=2.0,
        variance=0.3,
        mean=np.array([0.2, 0.1]),
        input=np.array([0.5, -0.5]),
        weights=SHARES,
        input_covariance=0.1,
        noise=0.1,
        replica=0.9,
    ),
    "meanfield.transient_by_paths": of(
        jn.meanfield.transient_by_paths,
        heavy=True,
        ensemble=RandomModes([1.5], load=0.5, overlap=0.3),
        transfer=Tanh(),
        key=KEY,
        duration=1.0,
        num_paths=160,
        variance=0.3,
        mean=np.array([0.2, 0.1]),
        input=np.array([0.5, -0.5]),
        weights=SHARES,
        input_covariance=0.1,
        noise=0.1,
        condensed=DeepHebbian(0.1, 1.0, (0.0,)).stored(2),
        cue=np.array([0.5, 0.1]),
    ),
    "meanfield.stationary_states": of(
        jn.meanfield.stationary_states,
        heavy=True,
        ensemble=IID(1.5),
        transfer=Tanh(),
        noise=0.0,
        max_lag=20.0,
        num_lags=129,
    ),
    "meanfield.stationary_by_paths": of(
        jn.meanfield.stationary_by_paths,
        heavy=True,
        ensemble=RandomModes([1.5], load=0.5, overlap=0.3),
        transfer=Tanh(),
        noise=0.1,
        **FEW_PATHS,
    ),
    "meanfield.stationary_by_paths types": of(
        jn.meanfield.stationary_by_paths,
        heavy=True,
        ensemble=jn.couplings.CellTypes(SHARES, TABLE, symmetry=0.3),
        transfer=Tanh(),
        noise=SHARES,
        tau=SHARES,
        **FEW_PATHS,
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
    "memory.RetrievalCourse.overlap": of(
        lambda found, t: found.overlap(t), found=Made(recalled, costly=True), t=np.array([0.5, 1.0])
    ),
    "memory.retrieval_course": of(
        jn.memory.retrieval_course,
        heavy=True,
        ensemble=DeepHebbian(0.1, 1.0, (0.0,)),
        transfer=Tanh(),
        cue=np.array([0.5, 0.1]),
        key=KEY,
        duration=1.0,
        num_paths=160,
        variance=0.3,
        noise=0.1,
    ),
    "memory.SymmetricCore": of(
        jn.memory.SymmetricCore, load=0.05, condensed=CONDENSED, eigenvalues=jn.Discrete(VECTOR)
    ),
    "memory.replica_state": of(
        jn.memory.replica_state, heavy=True, ensemble=SMALL, guess=np.array([0.5, 0.9, 0.5]), temperature=0.1
    ),
    "memory.correlation_profile": of(
        jn.memory.correlation_profile, heavy=True, ensemble=SMALL, reach=1, temperature=0.1
    ),
    "memory.zero_load_overlaps": of(
        jn.memory.zero_load_overlaps, condensed=CONDENSED + np.eye(3), guess=np.array([0.5, 0.9, 0.5]), temperature=0.2
    ),
    **{
        f"memory.{name}": of(
            getattr(jn.memory, name),
            heavy=True,
            ensemble=DeepHebbian(0.05, 1.0, (0.0,), symmetric=True),
            guess=np.array([0.95]),
            temperature=0.1,
            nodes=40,
        )
        for name in ("capacity", "coexistence")
    },
    "memory.replicon_temperature": of(
        jn.memory.replicon_temperature,
        heavy=True,
        ensemble=DeepHebbian(0.05, 1.0, (0.0,), symmetric=True),
        guess=np.array([0.95]),
        nodes=40,
    ),
    "memory.correlated_binary": of(jn.memory.correlated_binary, n=4, correlation=CONDENSED + np.eye(3), key=KEY),
    "memory.correlated_gaussian": of(jn.memory.correlated_gaussian, n=4, correlation=CONDENSED + np.eye(3), key=KEY),
    "memory.exponential_correlation": of(jn.memory.exponential_correlation, num_patterns=3, length=1.5),
    "memory.hebbian": of(jn.memory.hebbian, patterns=SPINS, auto=0.1, hetero=VECTOR),
    "memory.glauber": of(
        jn.memory.glauber,
        J=jn.couplings.Dense(J + J.T, symmetric=True),
        spins0=SPINS,
        temperature=0.5,
        num_sweeps=2,
        key=KEY,
        patterns=SPINS,
    ),
    "memory.classify": of(
        jn.memory.classify,
        success=np.array(False),
        activity=np.array(1.0),
        pace=np.array(0.5),
        present=np.array(3.0),
        exponent=np.array(0.1),
        exponent_error=np.array(0.01),
    ),
    "memory.majority": of(jn.memory.majority, regimes=np.array([[0, 1, 1], [2, 2, -1]])),
    "memory.success_probability": of(jn.memory.success_probability, success=np.array([True, False, True])),
    "memory.on_top": of(jn.memory.on_top, overlaps=STATES, threshold=0.1),
    "memory.retrieval": of(
        jn.memory.retrieval,
        nan=("peak_times", "peaks", "speed", "period", "peak_overlap"),
        overlaps=SERIES,
        times=np.arange(40.0),
        cue=np.array(0),
        threshold=0.1,
        num_patterns=3,
    ),
    "memory.retrieve": of(
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
    "memory.instability": of(
        jn.memory.instability, heavy=True, load=0.5, window=VECTOR, auto=0.1, transfer=Tanh(), guess=0.5
    ),
    "memory.self_organised_edge": of(
        jn.memory.self_organised_edge,
        nan=("",),
        heavy=True,
        ensemble=DeepHebbian(0.5),
        transfer=Tanh(),
        mean=0.1,
        variance=0.5,
    ),
    "memory.observe": of(
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
    "memory.dense.recall": of(
        jn.memory.dense.recall, interaction=jn.memory.dense.Polynomial(2), patterns=SPINS, states=SPINS, num_steps=2
    ),
    # --- replica
    "replica.BinaryWeights": of(jn.replica.BinaryWeights, alpha=0.5, kappa=0.1),
    "replica.SphericalWeights": of(jn.replica.SphericalWeights, alpha=0.5, kappa=0.1, coding=0.4),
    "replica.Hopfield": of(
        jn.replica.Hopfield, core=Made(lambda: jn.replica.symmetric_core(SMALL, 1)), temperature=0.1, nodes=20
    ),
    "replica.saddle": Call(
        lambda guess: jn.replica.saddle(jn.replica.Hopfield(jn.replica.symmetric_core(SMALL, 1), 0.1, nodes=20), guess),
        lambda: {"guess": np.array([0.95, 0.0])},
        heavy=True,
    ),
}
