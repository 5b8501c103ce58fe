"""Recurrent networks of spike-and-slab weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.couplings import SpikeSlab
from jaxnets.learning import SpikeSlabRNN, clip_spectral, except_sparsity, projected, train

KEY = jax.random.key(2)


def network(sparsity=0.3, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (5, 2), (5, 5), (3, 5)
    parts = [SpikeSlab(rng.standard_normal(s), sparsity, 0.2 * rng.uniform(size=s)) for s in shapes]
    return SpikeSlabRNN(*parts, leak=0.4, start=0.1, noise=noise)


X = np.random.default_rng(1).uniform(size=(4, 2))


def test_means_without_a_key():
    net = network()
    mu_in, mu, mu_out = (np.asarray(part.moments().mean) for part in (net.inputs, net.recurrent, net.outputs))
    h, outputs = np.full(5, 0.1), []
    for x in X:
        h = 0.6 * h + 0.4 * (mu @ np.maximum(h, 0) + mu_in @ x)
        outputs.append(mu_out @ np.maximum(h, 0))
    np.testing.assert_allclose(net(X), outputs, rtol=1e-12)


@pytest.mark.slow
def test_annealed_noise_has_the_variance_of_redrawn_weights():
    """One step from h = .1, linear: 4000 outputs against 4000 networks; their variances scatter by 2 % each."""
    net = network()
    net = SpikeSlabRNN(net.inputs, net.recurrent, net.outputs, leak=1.0, start=0.1, noise=0.2)
    keys = jax.random.split(KEY, 4000)
    annealed = jax.jit(jax.vmap(lambda key: net(X[:1], key=key)[0]))(keys)
    redrawn = jax.jit(jax.vmap(lambda key: net.sample(key=key)(X[:1], key=jax.random.fold_in(key, 1))[0]))(keys)
    np.testing.assert_allclose(annealed.mean(0), redrawn.mean(0), atol=5 * float(jnp.std(redrawn, 0).max()) / 4000**0.5)
    np.testing.assert_allclose(annealed.var(0), redrawn.var(0), rtol=0.15)


def test_samples_are_certain():
    found = network(noise=0.0).sample(key=KEY)
    np.testing.assert_allclose(found(X, key=KEY), found(X), rtol=1e-12)
    assert np.mean(np.asarray(found.recurrent.mean) == 0) > 0.05


@pytest.mark.slow
def test_silent_units_and_blank_inputs_have_slopes():
    net = SpikeSlabRNN.gaussian(2, 5, 3, key=KEY, leak=0.5, start=-1.0)
    slopes = jax.grad(lambda net: jnp.sum(net(jnp.zeros((3, 2)), key=KEY) ** 2))(net)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_slopes_against_differences():
    net, h = network(), 1e-6

    def total(sparsity, variance):
        part = SpikeSlab(net.recurrent.mean, sparsity, variance)
        return jnp.sum(SpikeSlabRNN(net.inputs, part, net.outputs, 0.4, 0.1)(X, key=KEY) ** 2)

    at = net.recurrent.sparsity, net.recurrent.slab_variance
    for number in (0, 1):
        slope = jax.grad(total, number)(*at)
        place = np.unravel_index(np.argmax(np.abs(slope)), (5, 5))
        ends = [total(*(a.at[place].add(s * h) if i == number else a for i, a in enumerate(at))) for s in (1, -1)]
        np.testing.assert_allclose(slope[place], (ends[0] - ends[1]) / (2 * h), rtol=1e-5)


def test_steps_stay_in_the_allowed_region():
    net = network(sparsity=0.02)
    aim = jnp.ones((4, 3))
    loss = lambda net, batch, key: jnp.mean((net(X, key=key) - aim) ** 2)
    wild = optax.chain(clip_spectral(10.0), optax.adamw(0.3, weight_decay=0.1, mask=except_sparsity))
    found = train(loss, net, projected(wild), jnp.zeros(20), key=KEY)
    for part in (found.params.inputs, found.params.recurrent, found.params.outputs):
        assert 0 <= part.sparsity.min() and part.sparsity.max() <= 1 and part.slab_variance.min() >= 0
    everything = jnp.concatenate(
        [found.params.recurrent.sparsity.ravel(), found.params.recurrent.slab_variance.ravel()]
    )
    assert jnp.sum(everything == 0) > 3  # the walls were met
    assert found.losses[-5:].mean() < found.losses[0]


def test_masks_and_clips():
    mask = except_sparsity(network())
    assert mask.inputs.mean is True and mask.recurrent.sparsity is False and mask.outputs.slab_variance is True
    slopes = {"matrix": jnp.diag(jnp.array([30.0, 1.0])), "vector": jnp.array([3.0, 4.0])}
    clipped = clip_spectral(10.0).update(slopes, optax.EmptyState())[0]
    np.testing.assert_allclose(clipped["matrix"], np.diag([10, 1 / 3]), rtol=1e-12)
    np.testing.assert_array_equal(clipped["vector"], [3, 4])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SpikeSlabRNN(network().inputs, network().inputs, network().outputs, 0.5), "must have shapes"),
        (lambda: SpikeSlabRNN.gaussian(2, 5, 3, key=KEY, leak=1.5), "`leak`"),
        (lambda: SpikeSlabRNN.gaussian(0, 5, 3, key=KEY, leak=0.5), "`num_inputs`"),
        (lambda: SpikeSlabRNN.gaussian(2, 5, 3, key=KEY, leak=0.5, noise=-1.0), "`noise`"),
        (lambda: network()(np.ones((4, 3))), "`x` must have shape"),
        (lambda: network().sample(key=0), "`key`"),
        (lambda: projected("adam"), "`optimiser`"),
        (lambda: clip_spectral(0.0), "`bound`"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
