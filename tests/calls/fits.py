"""Fits."""

import functools

import jax.numpy as jnp
import numpy as np

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian
from jaxnets.transfer import Tanh

from .problems import KEY, LARGE, QUIET, RECORDING, RNG, STATES, VECTOR, Call, Made, of, state


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
def families():
    return [jn.fitting.Independent()]


@functools.cache
def connectome():
    return jn.fitting.fit_connectome(LARGE, families(), key=KEY, num_replicates=32, progress=False)


def score(matrices):
    options = {"key": KEY, "num_samples": 12, "num_scales": 3, "progress": False}
    return jn.fitting.score_models({"i.i.d.": IID()}, {"one": matrices}, **options)


@functools.cache
def statistics():
    phases = np.exp(2j * np.pi * RNG.random((2, 40)))
    return jn.fitting.spectral_statistics(phases * np.sqrt(RNG.random((2, 40))))


TRIALS = RECORDING[:160].reshape(4, 40, 12)
NOISY = {"m": RNG.standard_normal((12, 2)), "n": RNG.standard_normal((2, 12)) / 12, "leak": 0.8, "noise": 0.2}


@functools.cache
def driven():
    threshold, weights = 0.1 * np.arange(12), np.ones((12, 1))
    relu = jn.transfer.ReLU()
    return jn.inference.StochasticLowRank(**NOISY, transfer=relu, threshold=threshold, input_weights=weights)


FIT = {"num_particles": 4, "num_updates": 1, "key": KEY, "progress": False}


@functools.cache
def low_rank():
    return jn.inference.fit_low_rank(TRIALS, 2, start=driven(), inputs=np.ones((40, 1)), **FIT)


CALLS = {
    # --- fitting
    **{
        f"fitting.{name}": of(getattr(jn.fitting, name), **arguments)
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
    "fitting.spectral_statistics": of(
        jn.fitting.spectral_statistics, eigenvalues=np.tile(0.1 * np.arange(1, 31) + 0.2j, (2, 1)), num_radii=2
    ),
    "fitting.autocovariance_misses": of(
        jn.fitting.autocovariance_misses,
        heavy=True,
        state=Made(state, costly=True),
        lags=VECTOR,
        measured=VECTOR,
        error=VECTOR,
        time_constant=1.0,
    ),
    "fitting.population_time_misses": of(
        jn.fitting.population_time_misses,
        heavy=True,
        state=Made(state, costly=True),
        ensemble=IID(1.5),
        lags=VECTOR,
        measured=VECTOR,
        error=VECTOR,
        time_constant=1.0,
    ),
    "fitting.dimension_misses": of(
        jn.fitting.dimension_misses,
        heavy=True,
        state=Made(state, costly=True),
        ensemble=IID(1.5),
        measured=0.1,
        error=0.1,
    ),
    "fitting.edge_misses": of(
        jn.fitting.edge_misses, heavy=True, nan=("",), ensemble=IID(1.5), right_edge=1.4, error=0.1, gains=VECTOR
    ),
    "fitting.onset_misses": of(
        jn.fitting.onset_misses, heavy=True, ensemble=IID(1.5), transfer=Tanh(), scale=1.0, error=0.1
    ),
    "fitting.spectrum_misses": of(
        jn.fitting.spectrum_misses,
        heavy=True,
        nan=("",),
        ensemble=IID(1.0),
        data=Made(statistics),
        gains=VECTOR,
        num_points=8,
    ),
    "fitting.speed_misses": of(
        jn.fitting.speed_misses, ensemble=DeepHebbian(0.5), measured=1.0, error=0.1, time_constant=1.0
    ),
    "fitting.draw_starts": of(jn.fitting.draw_starts, params={"a": 1.0}, num_starts=2, key=KEY, spread=0.5),
    "fitting.with_covariance": Call(with_covariance, lambda: {"covariance": np.eye(4)}, heavy=True),
    "fitting.profile": Call(
        lambda values: jn.fitting.profile(square, well(), "a", values),
        lambda: {"values": np.array([0.0, 1.0, 2.0])},
        heavy=True,
        nan=("low", "high"),
    ),
    "fitting.null_models": of(jn.fitting.null_models, heavy=True, matrix=LARGE, types=np.arange(20) % 2),
    "fitting.score_models": of(score, heavy=True, matrices=LARGE),
    "fitting.fit_connectome": of(
        jn.fitting.fit_connectome,
        heavy=True,
        matrix=LARGE,
        families=Made(families),
        key=KEY,
        num_replicates=32,
        **QUIET,
    ),
    "fitting.held_out": of(jn.fitting.held_out, heavy=True, fit=Made(connectome, costly=True), matrix=LARGE),
    "fitting.apart": Call(
        lambda a, b: jn.fitting.apart(connectome().fits[0], a, b), lambda: {"a": LARGE, "b": LARGE.T}, True, (), True
    ),
    "fitting.fit_recording": of(
        jn.fitting.fit_recording,
        heavy=True,
        nan=("inverse_rank", "inverse_rank_error", "effective_rank", "effective_rank_error"),
        rates=RECORDING,
        interval=0.5,
    ),
    "fitting.recording_likelihood": of(
        jn.fitting.recording_likelihood,
        heavy=True,
        nan=("inverse_rank", "inverse_rank_error", "effective_rank", "effective_rank_error"),
        rates=RECORDING,
        interval=0.5,
    ),
    # --- inference
    "inference.Affine": of(jn.inference.Affine, matrix=np.ones((4, 2)), bias=np.ones(4)),
    "inference.Currents": of(jn.inference.Currents, gain=VECTOR, bias=VECTOR),
    "inference.Gaussian": of(jn.inference.Gaussian, noise=VECTOR),
    "inference.Rates": of(jn.inference.Rates, gain=VECTOR, bias=VECTOR),
    "inference.StochasticLowRank": of(
        jn.inference.StochasticLowRank,
        **NOISY,
        threshold=0.1 * np.arange(12),
        input_weights=np.ones((12, 1)),
        initial_mean=np.zeros(2),
        initial_noise=np.ones(2),
    ),
    "inference.bin_spikes": Call(
        lambda spikes, bin_width, start: jn.inference.bin_spikes([spikes], bin_width, start=start),
        lambda: {"spikes": np.arange(1.0, 9.0), "bin_width": 0.5, "start": 1.0},
    ),
    "inference.StochasticLowRank.sample": Call(
        lambda inputs: driven().sample(2, 5, key=KEY, inputs=inputs), lambda: {"inputs": np.ones((5, 1))}
    ),
    "inference.StochasticLowRank.to_network": Call(
        lambda dt: driven().to_network(dt, np.ones(1)).drift(jnp.zeros(()), jnp.ones(12)), lambda: {"dt": 0.5}
    ),
    "inference.LowRankFit.sample": Call(
        lambda inputs: low_rank().sample(2, 5, key=KEY, inputs=inputs),
        lambda: {"inputs": np.ones((5, 1))},
        heavy=True,
    ),
    "inference.LowRankFit.to_network": Call(
        lambda dt: low_rank().to_network(dt).drift(jnp.zeros(()), jnp.ones(12)), lambda: {"dt": 0.5}, heavy=True
    ),
    "inference.LowRankFit.fixed_points": Call(
        lambda input: low_rank().fixed_points(input), lambda: {"input": np.ones(1)}, heavy=True
    ),
    "inference.fixed_points": Call(
        lambda input: jn.inference.fixed_points(driven(), input), lambda: {"input": np.ones(1)}
    ),
    "inference.posterior": of(
        jn.inference.posterior,
        heavy=True,
        loss=square,
        params={"a": 0.0},
        key=KEY,
        spread=0.1,
        target_acceptance=0.9,
        num_samples=4,
        num_warmup=20,
        num_chains=1,
        **QUIET,
    ),
    "inference.Posterior.quantile": Call(
        lambda q: jn.inference.Posterior(
            {"a": STATES}, STATES[..., None], VECTOR[:1], VECTOR[:1], VECTOR[:1], VECTOR[:1], STATES, 0, True, ("a",)
        ).quantile(q),
        lambda: {"q": np.array([0.2, 0.5])},
    ),
    "inference.smc": of(
        jn.inference.smc,
        heavy=True,
        model=Made(driven),
        recording=TRIALS,
        inputs=np.ones((40, 1)),
        num_particles=4,
        key=KEY,
    ),
    "inference.fit_low_rank": of(
        jn.inference.fit_low_rank,
        heavy=True,
        nan=("held_out_elbo_error",),
        recording=TRIALS,
        rank=2,
        inputs=np.ones((40, 1)),
        **FIT,
    ),
    "inference.choose_rank": of(
        jn.inference.choose_rank, heavy=True, nan=("lacks_error",), recording=TRIALS, ranks=[2], **FIT
    ),
}
