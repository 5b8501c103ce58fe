"""Every public function that draws asks for a random key of JAX, and names what it got instead."""

import inspect
import types

import jax
import numpy as np
import optax
import pytest

import jaxnets as jn
from jaxnets import (
    computations,
    couplings,
    dynamics,
    fitting,
    inference,
    layers,
    learning,
    meanfield,
    memory,
    multistability,
    population,
    spectra,
)
from jaxnets._arguments import require_key

PHI = jn.transfer.Tanh()
PATTERNS = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
J = couplings.Dense(np.eye(3), symmetric=True)
NET = dynamics.RateNetwork(J, PHI, noise=0.1)
ECHO = couplings.DeepHebbian(1.0, 0.0, (1.2,))  # with noise, solved on the grid of paths
SYMMETRIC = couplings.Elliptic(2.0, 0.5)
RNN = learning.SpikeSlabRNN(*(couplings.SpikeSlab(np.eye(2), 0.0, 1.0) for _ in range(3)), leak=0.5)
COMMITTEE, RATES = learning.Committee(np.ones((2, 1)), [1.0], np.ones((1, 4))), learning.LearningRates(1.0)
NOISY = inference.StochasticLowRank(np.ones((3, 1)), np.ones((1, 3)), 0.5, 0.1)
TRIALS, FITTED = np.ones((3, 6, 3)), types.SimpleNamespace(model=NOISY)

ENSEMBLES = {
    "BlockMeans": couplings.BlockMeans((0.6, 0.4), 1.0),
    "CellTypes": couplings.CellTypes((0.6, 0.4)),
    "DeepHebbian": couplings.DeepHebbian(1.0),
    "Elliptic": SYMMETRIC,
    "IID": couplings.IID(1.0),
    "LowRank": couplings.LowRank(1.0),
    "Product": couplings.IID(1.0) @ couplings.IID(2.0),
    "Profile": couplings.Profile(0.0, np.ones((5, 5))),
    "RandomModes": couplings.RandomModes([1.0], load=1.0),
    "Scaled": 2.0 * couplings.IID(1.0),
    "SingularModes": couplings.SingularModes([1.0]),
    "SpikeSlab": couplings.SpikeSlab(np.ones((5, 5)), 0.5, 1.0),
    "Sum": couplings.IID(1.0) + couplings.IID(2.0),
    "TypeGains": couplings.TypeGains((0.6, 0.4), couplings.IID(1.0), (1.0, 2.0), (1.0, 1.0)),
    "TypeModes": couplings.TypeModes((0.6, 0.4), [1.0], [[1.0, 1.0]], [[1.0, 1.0]]),
    "TypeRank": couplings.TypeRank((0.6, 0.4), np.zeros((2, 2)), np.stack([np.eye(2), np.eye(2)])),
}
DRAWS = {f"couplings.{name}.sample": lambda key, law=law: law.sample(5, key=key) for name, law in ENSEMBLES.items()} | {
    "computations.dimension": lambda key: computations.dimension("Elliptic(2., .5)", key=key),
    "computations.eigenvalues": lambda key: computations.eigenvalues("IID()", n=5, key=key),
    "computations.lyapunov": lambda key: computations.lyapunov("IID()", n=5, key=key),
    "computations.measured": lambda key: computations.measured(np.eye(4), [0, 0, 1, 1], key=key),
    "computations.mean_field": lambda key: computations.mean_field("Elliptic(2., .5)", key=key),
    "computations.memory": lambda key: computations.memory("DeepHebbian()", n=5, key=key),
    "computations.regime": lambda key: computations.regime("DeepHebbian()", n=5, key=key),
    "computations.simulate": lambda key: computations.simulate("IID()", n=5, key=key),
    "computations.transient": lambda key: computations.transient(
        "Elliptic(1., .5)", duration=1.0, num_paths=160, key=key
    ),
    "computations.spectrum": lambda key: computations.spectrum("IID()", n=5, key=key),
    "couplings.CellTypes.sample_sparse": lambda key: couplings.CellTypes((1.0,), probability=0.5).sample_sparse(
        5, key=key
    ),
    "couplings.SpikeSlab.draw": lambda key: ENSEMBLES["SpikeSlab"].draw(key=key),
    "couplings.random_modes_from_matrix": lambda key: couplings.random_modes_from_matrix(np.eye(3), key=key),
    "couplings.singular_mismatch": lambda key: couplings.singular_mismatch(SYMMETRIC, np.eye(3), key=key),
    "dynamics.lyapunov_spectrum": lambda key: dynamics.lyapunov_spectrum(
        NET, np.ones(3), num_exponents=1, duration=99.0, key=key
    ),
    "dynamics.simulate": lambda key: dynamics.simulate(NET, np.ones(3), duration=1.0, key=key),
    "dynamics.step": lambda key: dynamics.step(NET, dynamics.heun, 0.0, np.ones(3), 0.1, key),
    "fitting.draw_starts": lambda key: fitting.draw_starts(SYMMETRIC, 2, key=key),
    "fitting.fit_connectome": lambda key: fitting.fit_connectome(np.eye(3), key=key),
    "fitting.score_models": lambda key: fitting.score_models({"": SYMMETRIC}, {"": np.eye(3)}, key=key),
    "inference.Gaussian.sample": lambda key: inference.Gaussian().sample(np.ones(3), key=key),
    "inference.LowRankFit.sample": lambda key: inference.LowRankFit.sample(FITTED, 1, 2, key=key),
    "inference.Poisson.sample": lambda key: inference.Poisson().sample(np.ones(3), key=key),
    "inference.StochasticLowRank.sample": lambda key: NOISY.sample(1, 2, key=key),
    "inference.choose_rank": lambda key: inference.choose_rank(TRIALS, [1], key=key),
    "inference.fit_low_rank": lambda key: inference.fit_low_rank(TRIALS, 1, key=key),
    "inference.posterior": lambda key: inference.posterior(
        lambda p: p["a"] ** 2, {"a": 0.0}, num_samples=4, num_warmup=20, num_chains=1, key=key, progress=False
    ),
    "inference.smc": lambda key: inference.smc(NOISY, TRIALS, key=key),
    "learning.SpikeSlabRNN.sample": lambda key: RNN.sample(key=key),
    "layers.Layers.sample": lambda key: layers.Layers(PHI).sample(3, 1, key=key),
    "layers.correlated_weights": lambda key: layers.correlated_weights(2, 3, 0.5, key=key),
    "learning.robustness": lambda key: learning.robustness(
        lambda x: x, learning.Samples(np.eye(2), np.arange(2)), key=key
    ),
    "learning.DelayedMatch.batch": lambda key: learning.DelayedMatch().batch(key=key),
    "learning.Multisensory.batch": lambda key: learning.Multisensory().batch(key=key),
    "learning.Multisensory.trials": lambda key: learning.Multisensory().trials([12.0], seen=[1], heard=[0], key=key),
    "learning.Sine.batch": lambda key: learning.Sine().batch(key=key),
    "learning.anneal": lambda key: learning.anneal(PATTERNS, key=key),
    "learning.psychometric": lambda key: learning.psychometric(
        lambda x, key: x[:, :2], learning.Multisensory(), "both", [12.0, 13.0], 1, key=key
    ),
    "learning.minibatches": lambda key: learning.minibatches(3, 2, 1, key=key),
    "learning.online_sgd": lambda key: learning.online_sgd(COMMITTEE, COMMITTEE, RATES, [1.0], key=key),
    "learning.train": lambda key: learning.train(
        lambda params, batch, key: params**2, np.ones(()), optax.sgd(0.1), np.ones(2), key=key
    ),
    "meanfield.static_states": lambda key: meanfield.static_states(SYMMETRIC, PHI, key=key),
    "meanfield.stationary": lambda key: meanfield.stationary(SYMMETRIC, PHI, key=key),
    "meanfield.stationary_by_paths": lambda key: meanfield.stationary_by_paths(SYMMETRIC, PHI, key=key),
    "meanfield.transient_by_paths": lambda key: meanfield.transient_by_paths(
        SYMMETRIC, PHI, key=key, duration=1.0, num_paths=160
    ),
    "memory.binary": lambda key: memory.binary(5, 2, key=key),
    "memory.correlated_binary": lambda key: memory.correlated_binary(5, np.eye(2), key=key),
    "memory.correlated_gaussian": lambda key: memory.correlated_gaussian(5, np.eye(2), key=key),
    "memory.dense.sampled_bit_error": lambda key: memory.dense.sampled_bit_error(
        memory.dense.Polynomial(2), 5, 2, num_networks=2, key=key
    ),
    "memory.gaussian": lambda key: memory.gaussian(5, 2, key=key),
    "memory.glauber": lambda key: memory.glauber(J, PATTERNS[0], temperature=1.0, num_sweeps=1, key=key),
    "memory.observe": lambda key: memory.observe(couplings.DeepHebbian(1.0), PHI, 5, key=key),
    "memory.retrieval_course": lambda key: memory.retrieval_course(
        couplings.DeepHebbian(0.1), PHI, key=key, duration=1.0, num_paths=160
    ),
    "memory.retrieve": lambda key: memory.retrieve(NET, PATTERNS, duration=1.0, key=key),
    "multistability.basins": lambda key: multistability.basins(np.eye(3), num_starts=2, key=key),
    "multistability.descend": lambda key: multistability.descend(np.eye(3), num_starts=2, key=key),
    "multistability.state_graph": lambda key: multistability.state_graph(np.eye(3), num_starts=2, key=key),
    "population.lyapunov_distribution": lambda key: population.lyapunov_distribution(
        meanfield.stationary(couplings.IID(0.5), PHI), None, PHI, key=key
    ),
    "spectra.estimated_singular_profile": lambda key: spectra.estimated_singular_profile(np.eye(3), [1.0], key=key),
}
# Where no key stands for a start that is not random, or for mean weights.
TRAINED = learning.RecurrentNetwork(RNN.recurrent, np.eye(2), np.eye(2), dt=0.1)
OPTIONAL = {
    "learning.RecurrentNetwork.network": lambda key: TRAINED.network(key=key),
    "learning.RecurrentNetwork.operator": lambda key: TRAINED.operator(key=key),
    "learning.amp": lambda key: learning.amp(PATTERNS, key=key),
    "learning.belief_propagation": lambda key: learning.belief_propagation(PATTERNS, key=key),
}


def _takers(module, path=""):
    """The public functions and methods with an argument `key`, by their names below the package."""
    for name in dir(module):
        thing, here = getattr(module, name), f"{path}.{name}".lstrip(".")
        if isinstance(thing, types.ModuleType):
            yield from _takers(thing, here)
        elif isinstance(thing, type):
            methods = [member for member in dir(thing) if member[0] != "_"] if not inspect.isabstract(thing) else []
            for method in methods:
                function = inspect.getattr_static(thing, method)
                if inspect.isfunction(function) and "key" in inspect.signature(function).parameters:
                    yield f"{here}.{method}"
        elif inspect.isfunction(thing) and "key" in inspect.signature(thing).parameters:
            yield here


def test_all_that_draw_are_here():
    assert set(_takers(jn)) == set(DRAWS | OPTIONAL)


@pytest.mark.parametrize("name", DRAWS | OPTIONAL)
def test_a_number_is_no_key(name):
    with pytest.raises(ValueError, match=r"`key` must be one random key, .* got int 7: `jax.random.key\(7\)`"):
        (DRAWS | OPTIONAL)[name](7)


@pytest.mark.parametrize("name", DRAWS)
def test_where_something_is_drawn_none_is_no_key(name):
    with pytest.raises(ValueError, match="`key` must be .*key"):
        DRAWS[name](None)


@pytest.mark.parametrize("solve", [meanfield.stationary, meanfield.stationary_by_paths])
def test_where_nothing_is_drawn_a_number_is_no_key_but_none_will_do(solve):
    for law in (couplings.IID(0.5), ECHO):
        with pytest.raises(ValueError, match="`key` must be one random key"):
            solve(law, PHI, key=7)
        with pytest.raises(ValueError, match="`nodes` must"):  # the next argument that is looked at
            solve(law, PHI, 0.3, key=None, nodes=3)


@pytest.mark.parametrize("key", [None, True, 1.5, np.ones(2), np.ones((2, 2), np.uint32)])
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match="`key` must be one random key"):
        require_key("key", key)


def test_keys_of_both_kinds_pass():
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        require_key("key", key)
        jax.vmap(lambda key: require_key("key", key))(jax.random.split(key))
        jax.jit(lambda key: require_key("key", key))(key)
