"""Rate networks trained through `simulate`: against a plain loop, differences, and what training must keep."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.couplings import CellTypes, RandomModes, SpikeSlab
from jaxnets.learning import RecurrentNetwork, Signed, Sine, projected, squared_error, train

KEY = jax.random.key(3)
N, DT = 6, 0.2
X = np.random.default_rng(0).standard_normal((7, 2))


def network(recurrent, noise=0.0):
    return RecurrentNetwork.gaussian(recurrent, 2, 1, key=KEY, dt=DT, noise=noise)


def modes():
    return RandomModes.flat(0.8, 0.5).sample(N, key=jax.random.key(1))


def test_outputs_are_those_of_a_plain_loop():
    """Heun steps, between whose ends the input is linear."""
    net = network(modes())
    J, into, out = (np.asarray(a) for a in (net.recurrent.dense(), net.inputs, net.outputs))
    currents = X @ into.T
    velocity = lambda x, current: -x + J @ np.tanh(x) + current
    x, found = np.zeros(N), []
    for k in range(len(X)):
        here, there = currents[k], currents[min(k + 1, len(X) - 1)]
        k1 = velocity(x, here)
        x = x + DT / 2 * (k1 + velocity(x + DT * k1, there))
        found.append(out @ np.tanh(x))
    np.testing.assert_allclose(jax.jit(lambda x: net(x))(X), found, rtol=1e-12)


def test_the_network_of_other_rooms_is_the_same():
    net = network(modes())
    steady = net.network(input=X[0])
    x = np.linspace(-1, 1, N)
    by_hand = -x + net.recurrent.dense() @ np.tanh(x) + net.inputs @ X[0]
    np.testing.assert_allclose(steady.drift(0.0, jnp.asarray(x)), by_hand, rtol=1e-12)


def test_slopes_against_differences():
    """Through noise, quenched weights of a law, and all of its three parameters."""
    rng = np.random.default_rng(2)
    law = SpikeSlab(0.3 * rng.standard_normal((N, N)), 0.3, 0.2 * rng.uniform(size=(N, N)))
    net = network(law, noise=0.1)
    both = jax.jit(jax.value_and_grad(lambda net: jnp.sum(net(X, key=KEY) ** 2)))
    slopes = both(net)[1]
    h = 1e-5
    for read in (lambda net: net.recurrent.mean, lambda net: net.recurrent.sparsity, lambda net: net.inputs):
        leaf, slope = np.asarray(read(net)), np.asarray(read(slopes))
        place = np.unravel_index(np.argmax(np.abs(slope)), slope.shape)
        ends = []
        for side in (h, -h):
            moved = leaf.copy()
            moved[place] += side
            ends.append(both(eqx.tree_at(read, net, jax.device_put(moved)))[0])
        np.testing.assert_allclose(slope[place], (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_memory_of_slopes_grows_with_the_root_of_steps():
    """Of 1024 steps; a loop that keeps all states would take sixteen times the memory of one of 64 steps, and more."""
    net = RecurrentNetwork.gaussian(np.eye(100), 1, 1, key=KEY, dt=DT)
    x = jax.ShapeDtypeStruct((20, 1024, 1), float)
    slopes = jax.jit(jax.grad(lambda net, x: jnp.sum(jax.vmap(net)(x) ** 2)))
    every_state = 1024 * 20 * 100 * 8
    assert slopes.lower(net, x).compile().memory_analysis().temp_size_in_bytes < every_state


@pytest.mark.slow
def test_signs_stay():
    """Dale's law: what excites never inhibits, and what is absent stays so, though the rate is far too large."""
    types = CellTypes.from_weights([0.5, 0.5], [[1.0, -1.0], [1.0, -1.0]], size=N, probability=0.7, spread=0.5)
    matrix = types.sample(N, key=jax.random.key(5)).dense()
    net = network(Signed(matrix))
    np.testing.assert_array_equal(net.operator().dense(), matrix)
    drives = lambda net: net.operator() @ jnp.ones(N)
    loss = lambda net, batch, key: jnp.mean((drives(net) - 9) ** 2)
    found = train(loss, net, projected(optax.adam(0.2)), jnp.zeros(20), key=KEY).params.operator().dense()
    assert np.all(found * np.sign(matrix) >= 0) and np.all(found[matrix == 0] == 0)
    assert np.sum((found == 0) & (matrix != 0)) > 0  # the wall was met
    assert np.any(matrix == 0) and np.abs(found - matrix).max() > 0.5


@pytest.mark.slow
def test_seeds_are_mapped_and_the_loss_falls():
    """Modes learn a sine; three seeds in one program have the numbers of one each."""
    task, ensemble = Sine(periods=(4.0,), duration=4.0, noise=0.0), RandomModes.flat(1.2, 0.5)

    def loss(net, batch, key):
        trials = task.batch(key=key)
        return squared_error(jax.vmap(net)(trials.inputs), trials)

    def run(key):
        J = ensemble.sample(12, key=key, max_modes=6)
        net = RecurrentNetwork.gaussian(J, 2, 1, key=key, dt=DT)
        return train(loss, net, optax.adam(0.02), jnp.zeros(60), key=key).losses

    keys = jax.random.split(KEY, 3)
    found = jax.jit(jax.vmap(run))(keys)
    np.testing.assert_allclose(found[1], jax.jit(run)(keys[1]), rtol=1e-8)
    assert np.all(found[:, -1] < 0.3 * found[:, 0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"recurrent": np.ones((3, 2))}, "`recurrent`"),
        ({"recurrent": SpikeSlab(np.ones((3, 2)), 0.0, 0.0)}, "must have shapes"),
        ({"inputs": np.ones((2, 1))}, "must have shapes"),
        ({"outputs": np.full((1, 3), np.nan)}, "`outputs` must be finite"),
        ({"start": np.zeros(2)}, "must have shapes"),
        ({"dt": 0.0}, "`dt`"),
        ({"noise": -1.0}, "`noise`"),
    ],
)
def test_bad_arguments(change, message):
    given = {"recurrent": np.eye(3), "inputs": np.ones((3, 1)), "outputs": np.ones((1, 3)), "dt": DT}
    with pytest.raises(ValueError, match=message):
        RecurrentNetwork(**(given | change))


def test_bad_inputs():
    with pytest.raises(ValueError, match="`x` must have shape"):
        network(np.eye(N))(np.ones((3, 1)))
    with pytest.raises(ValueError, match="`matrix`"):
        Signed(np.ones((2, 3)))
