"""Monte Carlo of spins: the measure by enumeration, T = 0, batches, and the replica theory's overlaps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian, Dense
from jaxnets.memory import correlation_profile, glauber, replica_state
from jaxnets.memory.monte_carlo import diagonal_of
from jaxnets.observables import overlaps

KEY = jax.random.key(0)


def window(load, *hetero):
    return DeepHebbian(load, 1.0, hetero or (0.0,), symmetric=True)


# --- the measure ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [pytest.param(0.1, marks=pytest.mark.slow), 0.5, 1.0])
def test_gibbs_by_enumeration(fraction):
    """Ten spins: all pair correlations and the energy, at any fraction, within 5 standard errors of chains."""
    n, T = 10, 0.8
    J = window(0.3, 0.4).sample(n, key=jax.random.key(3))
    matrix = np.array(J.dense())
    np.fill_diagonal(matrix, 0)
    states = np.array(list(itertools.product([1, -1], repeat=n)))
    energy = -0.5 * np.sum(states @ matrix * states, 1)
    chance = np.exp(-energy / T)
    chance /= chance.sum()
    pairs = states.T @ (chance[:, None] * states)
    # Independent chains, of which the last state alone is used: its error is that of a sample.
    chains = 5_000
    start = jax.random.rademacher(KEY, (chains, n), float)
    run = glauber(J, start, temperature=T, num_sweeps=30, key=KEY, fraction=fraction)
    spins = np.asarray(run.spins)
    error = np.sqrt(1 / chains)
    np.testing.assert_allclose(spins.T @ spins / chains, pairs, atol=5 * error)
    spread = np.sqrt(chance @ energy**2 - (chance @ energy) ** 2)
    np.testing.assert_allclose(run.energy[-1].mean() * n, chance @ energy, atol=5 * error * spread)
    assert np.all(run.acceptance > 0.05) and np.all(run.acceptance <= 1)
    if fraction == 1.0:  # far from one spin at a time: drawn blindly, the measure would be another
        assert np.mean(run.acceptance) < 0.9


@pytest.mark.slow
def test_records():
    """Overlaps and energy are those of the spins; more starts, of any shape, and a batch of networks by vmap."""
    n, ensemble = 60, window(0.1, 0.3)
    J = ensemble.sample(n, key=KEY)
    start = jax.random.rademacher(KEY, (2, 3, n), float)
    run = glauber(J, start, temperature=0.5, num_sweeps=4, key=KEY, patterns=J.left.T[:2])
    assert run.overlaps.shape == (4, 2, 3, 2) and run.energy.shape == (4, 2, 3) and run.acceptance.shape == (2, 3)
    np.testing.assert_allclose(run.overlaps[-1], overlaps(J.left.T[:2], run.spins), atol=1e-14)
    matrix = J.dense() - jnp.diag(jnp.diagonal(J.dense()))
    energy = -jnp.einsum("abi,ij,abj->ab", run.spins, matrix, run.spins) / (2 * n)
    np.testing.assert_allclose(run.energy[-1], energy, atol=1e-13)
    networks = jax.vmap(lambda key: ensemble.sample(n, key=key))(jax.random.split(KEY, 2))
    step = lambda J, s: glauber(J, s, temperature=0.5, num_sweeps=4, key=KEY).spins
    together = jax.vmap(step)(networks, start)
    alone = step(jax.tree.map(lambda x: x[1], networks), start[1])
    np.testing.assert_array_equal(together[1], alone)


def test_diagonal():
    for J in (window(0.2, 0.3).sample(30, key=KEY), Dense(jax.random.normal(KEY, (30, 30)))):
        np.testing.assert_allclose(diagonal_of(J), np.diag(J.dense()), atol=1e-14)
    doubled = J + J
    np.testing.assert_allclose(diagonal_of(doubled), np.diag(doubled.dense()), atol=1e-14)


@pytest.mark.slow
def test_cold_spins_come_to_rest():
    """At T = 0 in a state that no single flip improves, at lower energy; a dense J and its factors agree."""
    n = 400
    # Gaussian, because fields of binary patterns may be 0, which rounding then decides.
    J = DeepHebbian(0.1, 1.0, (0.2,), patterns="gaussian", symmetric=True).sample(n, key=KEY)
    start = jax.random.rademacher(KEY, (5, n), float)
    run = glauber(J, start, temperature=0.0, num_sweeps=60, key=KEY)
    fields = run.spins @ J.dense() - diagonal_of(J)[None] * run.spins
    assert np.all(run.spins * fields >= 0) and np.all(run.acceptance == 1)
    assert np.all(np.diff(run.energy, axis=0) <= 1e-12)
    dense = glauber(Dense(J.dense(), symmetric=True), start, temperature=0.0, num_sweeps=60, key=KEY)
    np.testing.assert_array_equal(dense.spins, run.spins)


def test_all_at_once_may_alternate():
    """Two spins that want to differ: at T = 0 and fraction 1 they flip together for ever, at 1/4 they settle."""
    J = Dense(jnp.array([[0.0, -1.0], [-1.0, 0.0]]), symmetric=True)
    for fraction, differ in ((1.0, False), (0.25, True)):
        run = glauber(J, jnp.ones(2), temperature=0.0, num_sweeps=31, key=KEY, fraction=fraction)
        assert (run.spins[0] != run.spins[1]) == differ


def test_single_precision():
    J = window(0.05).sample(500, key=KEY, dtype=jnp.float32)
    run = glauber(J, J.left[:, 0], temperature=0.3, num_sweeps=5, key=KEY, patterns=J.left.T[:1])
    assert run.spins.dtype == run.overlaps.dtype == jnp.float32 and run.overlaps[-1, 0] > 0.9


def test_bad_arguments():
    J = window(0.1).sample(20, key=KEY)
    s = jnp.ones(20)
    good = {"temperature": 0.1, "num_sweeps": 1, "key": KEY}
    cases = [
        (lambda: glauber(np.eye(20), s, **good), "J"),
        (lambda: glauber(DeepHebbian(0.1, 1.0).sample(20, key=KEY), s, **good), "J"),
        (lambda: glauber(J, jnp.ones(19), **good), "spins0"),
        (lambda: glauber(J, jnp.zeros(20), **good), "spins0"),
        (lambda: glauber(J, s, **good | {"temperature": -1.0}), "temperature"),
        (lambda: glauber(J, s, **good | {"num_sweeps": 0}), "num_sweeps"),
        (lambda: glauber(J, s, **good, patterns=jnp.ones((1, 19))), "patterns"),
        (lambda: glauber(J, s, **good, fraction=0.0), "fraction"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}`"):
            call()


# --- against the theory -----------------------------------------------------------------------------------------


def mean_overlaps(ensemble, n, networks, around, T, sweeps, fraction, key=KEY):
    """Overlaps with pattern 0 and its neighbours, from pattern 0: means of the last half, standard errors."""

    def one(key):
        sample, dynamics = jax.random.split(key)
        J = ensemble.sample(n, key=sample, dtype=jnp.float32)
        patterns = J.left.T[jnp.asarray(around) % round(float(ensemble.load) * n)]
        run = glauber(
            J, J.left[:, 0], temperature=T, num_sweeps=sweeps, key=dynamics, patterns=patterns, fraction=fraction
        )
        return run.overlaps[sweeps // 2 :].mean(0)

    found = np.stack([one(key) for key in jax.random.split(key, networks)])
    return found.mean(0), found.std(0) / np.sqrt(max(networks - 1, 1))


@pytest.mark.slow
def test_retrieval_of_the_hopfield_model():
    ensemble, T = window(0.05), 0.4
    state = replica_state(ensemble, [1.0], T)
    found, error = mean_overlaps(ensemble, 2000, 4, (0,), T, 40, 0.05)
    # Corrections of order 1 / n beside the statistical error.
    np.testing.assert_allclose(found, state.m, atol=float(4 * error[0] + 0.003))


@pytest.mark.slow
@pytest.mark.parametrize(("load", "T"), [(0.05, 0.2), (0.1, 0.2), (0.1, 0.0)])
def test_retrieval_of_large_networks(load, T):
    ensemble = window(load)
    state = replica_state(ensemble, [1.0], T)
    assert state.converged
    found, _ = mean_overlaps(ensemble, 10_000, 1, (0,), T, 60, 0.25 if T == 0 else 0.03)
    np.testing.assert_allclose(found, state.m, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "gamma", "T"), [(0.0015, 0.55, 0.0), (0.002, 0.52, 0.0), (0.01, 0.3, 0.1)])
def test_profile_of_large_networks(load, gamma, T):
    around = np.arange(-4, 5)
    ensemble = window(load, gamma)
    state = correlation_profile(ensemble, 4, T)
    assert state.converged and state.stability > 0
    found, _ = mean_overlaps(ensemble, 10_000, 4, around, T, 100, 0.25 if T == 0 else 0.05)
    np.testing.assert_allclose(found, state.m, atol=0.02)
