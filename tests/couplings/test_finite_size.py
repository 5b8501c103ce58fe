"""How far one network may be from the law, against fresh samples with other seeds and sizes than those of the table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnets as jn
from jaxnets.couplings import IID, CellTypes, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes, finite_size

TANH = jn.transfer.Tanh()
# With their right edges, known exactly: modes without overlap fill a disc or a ring of radius g.
CASES = {
    "IID": (IID(2.0), 2.0),
    "scaled": (0.5 * IID(2.0), 1.0),
    "Elliptic": (Elliptic(1.0, 0.3), 1.3),
    "antisymmetric in part": (Elliptic(1.0, -0.3), 0.7),
    "few modes": (RandomModes.of_rank(1.0, 0.08), 1.0),
    "many modes": (RandomModes.exponential(0.4, amplitude=2.0), None),
    "singular values": (SingularModes([0.2, 1.0, 1.5], [0.5, 0.3, 0.2]), None),
    # A tenth of the units makes the edge, and scatters four times as much as all of them would.
    "few strong units": (CellTypes([0.9, 0.1], [[0.2, 0.2], [0.2, 3.0]]), 0.94877),
}


def _deviation(ensemble, edge, n, num, seed, gains=None):
    found = []
    for key in jax.random.split(jax.random.key(seed), num):
        slopes = None if gains is None else gains(key, n)
        found.append(jn.eigen.host_eigenvalues(ensemble.sample(n, key=key), slopes).real.max() / edge - 1)
    return np.sqrt(np.mean(np.square(found)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_edges_of_fresh_networks(name):
    ensemble, edge = CASES[name]
    edge = float(ensemble.variance()) ** 0.5 if edge is None else edge
    measured = _deviation(ensemble, edge, 160, 20, seed=100)
    assert 0.5 < measured / finite_size(ensemble, 160).edge < 2


@pytest.mark.slow
@pytest.mark.parametrize("with_gains", [False, True])
@pytest.mark.parametrize(
    ("load", "auto", "window"),
    [(0.1, 0.3, (0.6,) * 3), (1.0, 0.3, (0.6,) * 3), (0.6, 0.0, (1.0,)), (0.9, 0.0, (0.8,) * 6)],
)
def test_edges_of_sequences(load, auto, window, with_gains):
    ensemble = DeepHebbian(load, auto, window)
    law = jn.spectra.law(ensemble, TANH, variance=1.0) if with_gains else jn.spectra.law(ensemble)
    gains = (lambda key, n: TANH.slope(jax.random.normal(jax.random.fold_in(key, 1), (n,)))) if with_gains else None
    measured = _deviation(ensemble, float(law.right_edge()), 400, 20, 200, gains)
    # The table has the largest of several windows.
    assert 0.4 < measured / finite_size(ensemble, 400, with_gains=with_gains).edge < 2


@pytest.mark.slow
def test_activity_of_fresh_networks():
    """Independent weights of another strength than in the table."""
    ensemble, n = IID(5.0), 200
    state = jn.meanfield.stationary(ensemble, TANH)
    dimension = float(jn.population.dimension(state).phi)
    expected = finite_size(ensemble, n, dimension=dimension)
    found = []
    for key in jax.random.split(jax.random.key(7), 16):
        net = jn.dynamics.RateNetwork(ensemble.sample(n, key=key, dtype=jnp.float32), TANH)
        start = jax.random.normal(key, (4, n), jnp.float32)
        run = jn.dynamics.simulate(net, start, duration=300.0, discard=50.0, dt=0.1, save_every=5, progress=False)
        ratio = jn.observables.participation_ratio(run.rates, run.interval, correlation_time=5.0, centre=False) / n
        found.append([float(ratio) / dimension - 1, float(jnp.mean(run.rates**2)) / float(state.c_phi[0]) - 1])
    dimension, variance = np.sqrt(np.mean(np.square(found), axis=0))
    assert 0.5 < dimension / expected.dimension < 2
    assert variance < 2 * expected.variance


def test_what_is_read_from_the_table():
    """At its entries, below the first, of sums and multiples, and of parts of finite rank."""
    for n in (200, 1000):
        assert finite_size(IID(1.0), n).edge == finite_size(-3.0 * IID(2.0) + LowRank(2.0), n).edge
        np.testing.assert_allclose(finite_size(RandomModes.of_rank(2.0, 0.2), n).edge, 0.0453 * (1000 / n) ** 0.6)
        few, fewer = (finite_size(RandomModes.of_rank(1.0, rank), n).edge for rank in (0.0172, 0.0043))
        np.testing.assert_allclose(fewer, 2 * few)
        of_sum = finite_size(IID(1.0) + DeepHebbian(0.05), n, with_gains=True).edge
        np.testing.assert_allclose(of_sum, 0.0582 * (1000 / n) ** 0.36)
    assert finite_size(LowRank(2.0), 100).edge == 0 and np.isnan(finite_size(IID(1.0), 100).dimension)
    found = finite_size(IID(1.0), 400, dimension=0.01)
    np.testing.assert_allclose([found.variance, found.dimension], [0.035, 0.55])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: finite_size(np.eye(3), 100), "`ensemble` must be"),
        (lambda: finite_size(IID(1.0), 0), "`n` must be a whole number >= 1"),
        (lambda: finite_size(IID(1.0), 100, dimension=0.0), "`dimension` must be"),
        (lambda: finite_size(IID(1.0), 100, dimension=12.0), "`dimension` must be PR / N, above 0 and at most 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_types_that_are_alike_are_one_type_and_means_do_not_count():
    for one, types in (
        (IID(2.0), CellTypes([0.4, 0.6], 2.0, means=3.0)),
        (Elliptic(1.0, 0.3), CellTypes([1.0], 1.0, 0.3)),
    ):
        np.testing.assert_allclose(finite_size(types, 300).edge, finite_size(one, 300).edge, rtol=1e-6)
