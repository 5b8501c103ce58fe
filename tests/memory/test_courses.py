"""Overlaps with a cue in time, for N -> infinity: checked courses, networks, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.memory import retrieval_course
from jaxnets.transfer import Linear, Tanh

KEY, TANH = jax.random.key(0), Tanh()


def hopfield(load, strength=2.0):
    return DeepHebbian(load, strength, (0.0,))


def test_a_pattern_of_a_linear_network():
    """m(t) = cue <xi e^{(J - 1) t} xi> / N, a mean over the patterns of a network."""
    ensemble = RandomModes.flat(0.5, load=0.02, overlap=1.0)
    found = retrieval_course(ensemble, Linear(), 0.8, key=KEY, duration=1.5, num_paths=160)
    assert found.converged
    np.testing.assert_allclose(found.overlap(0.0), [0.8], rtol=1e-6)
    xi = np.asarray(ensemble.sample(1500, key=KEY).left)
    values, vectors = np.linalg.eigh(xi.T @ xi / 1500)
    exact = 0.8 * ((vectors**2 * values) @ np.exp((0.5 * values - 1) * 1.5))
    np.testing.assert_allclose(found.overlap(1.5)[0], np.mean(exact), atol=3 * np.std(exact) / np.sqrt(len(exact)))


def test_a_cue_is_completed_or_lost():
    """Below capacity it is kept, and above it recovered for a while: the start of checked courses."""
    kept, lost = (
        retrieval_course(hopfield(load), TANH, 0.5, key=KEY, duration=3, num_paths=400, variance=0.25)
        for load in (0.05, 0.2)
    )
    assert kept.converged and lost.converged
    np.testing.assert_allclose(kept.overlap([1.0, 2.0])[0], [0.718, 0.847], atol=0.01)
    np.testing.assert_allclose(lost.overlap([1.0, 2.0])[0], [0.710, 0.731], atol=0.02)
    assert 1.2 < float(lost.largest_time[0]) < 2.5 and float(lost.largest[0]) < 0.78 < float(kept.largest[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "load, table, error",
    [
        # Four networks of 2000 units.
        (0.05, [0.711, 0.840, 0.904, 0.922, 0.928, 0.933, 0.934], [0.005, 0.002, 0.008, 0.008, 0.007, 0.006, 0.006]),
        (0.2, [0.708, 0.723, 0.637, 0.558, 0.498, 0.417, 0.369], [0.008, 0.012, 0.018, 0.020, 0.019, 0.017, 0.016]),
    ],
)
def test_cues_against_recorded_networks(load, table, error):
    found = retrieval_course(hopfield(load), TANH, 0.5, key=KEY, duration=16, num_paths=2000, variance=0.25)
    at = [10, 20, 40, 60, 80, 120, 160]
    m, own = np.asarray(found.overlaps)[0, at], np.asarray(found.overlaps_error)[0, at]
    assert np.all(np.abs(m - table) < 3 * np.hypot(error, own) + 0.002)


@pytest.mark.slow
def test_a_sequence_moves_on():
    """A shift: overlaps of twelve patterns against eight networks of 2000 units."""
    ensemble = DeepHebbian(0.05, 0.0, (2.0,))
    found = retrieval_course(ensemble, TANH, key=KEY, duration=5, length=12, num_paths=1600)
    assert found.converged and np.all(np.diff(found.largest_time[:6]) > 0)

    def course(key):
        J = ensemble.sample(2000, key=key)
        run = simulate(RateNetwork(J, TANH), J.left.T[0], duration=6.0, dt=0.05, save_every=20, progress=False)
        return np.tanh(run.states)[:6] @ np.asarray(J.left)[:, :12] / 2000

    samples = np.array([course(key) for key in jax.random.split(jax.random.key(3), 8)])
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(8)
    theory, own = np.asarray(found.overlaps)[:, ::10].T, np.asarray(found.overlaps_error)[:, ::10].T
    # 72 entries at once: one in a hundred may be beyond three errors known from eight networks.
    beyond = np.abs(mean - theory) > 3 * np.hypot(error, own) + 0.005
    assert np.sum(beyond) <= 1


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(ensemble=IID(1.0)), "`ensemble`"),
        (dict(ensemble=RandomModes.flat(1.0, overlap=0.5)), "`ensemble`"),
        (dict(ensemble=2.0), "`ensemble`"),
        (dict(cue=[[1.0]]), "`cue`"),
        (dict(cue=[1.0, 0.0], length=1), "`length`"),
        (dict(length=1.5), "`length`"),
        (dict(duration=-1.0), "`duration`"),
    ],
)
def test_bad_arguments(change, words):
    arguments = {"ensemble": hopfield(0.1), "transfer": TANH, "key": KEY, "duration": 1.0, "num_paths": 400} | change
    with pytest.raises(ValueError, match=words):
        retrieval_course(**arguments)


def test_a_sequence_that_leaves_what_is_followed():
    found = retrieval_course(DeepHebbian(0.05, 0.0, (2.0,)), TANH, key=KEY, duration=1.5, length=1, num_paths=160)
    assert found.transient.converged and not found.converged
    assert jnp.all(jnp.isfinite(found.overlap(jnp.array([0.0, 0.35]))))
