"""Tasks in time, samples that are made, and psychometric curves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import ndtr

from jaxnets.couplings import IID, RandomModes
from jaxnets.learning import (
    DelayedMatch,
    Multisensory,
    RecurrentNetwork,
    Sine,
    SpikeSlabRNN,
    Task,
    best_width,
    mnist_1d,
    multisensory_optimiser,
    probit,
    psychometric,
    squared_error,
    train,
)

KEY = jax.random.key(4)


def batch(task):
    """Trials, by one program."""
    return jax.tree.map(np.asarray, jax.jit(lambda key: task.batch(key=key))(KEY))


def test_multisensory_trials():
    task = Multisensory(noise=0.0)
    found = batch(task)
    assert found.inputs.shape == (30, 70, 5) and found.targets.shape == (30, 70, 2)
    # The last of 16 that are seen alone: a rate of 16 raises the first channel to 1.2 and lowers the third to .4.
    seen = found.inputs[7]
    np.testing.assert_allclose(seen[:5], 0.2, rtol=1e-6)
    np.testing.assert_allclose(seen[5:55], np.tile([1.4, 0.2, 0.6, 0.2, 1.2], (50, 1)), rtol=1e-6)
    np.testing.assert_allclose(seen[55:], np.tile([0.2, 0.2, 0.2, 0.2, 1.2], (15, 1)), rtol=1e-6)
    np.testing.assert_allclose(
        found.inputs[8 + 3, 10], [0.2, 0.2 + 0.4 + 0.8 * 3 / 7, 0.2, 0.2 + 0.4 + 0.8 * 4 / 7, 1.2]
    )
    np.testing.assert_allclose(found.targets[7, 55:], np.tile([1.0, 0.2], (15, 1)))
    np.testing.assert_allclose(found.targets[16, 55:], np.tile([0.2, 1.0], (15, 1)))
    np.testing.assert_array_equal(found.counted[3], np.r_[np.ones(5), np.zeros(50), np.ones(15)])
    np.testing.assert_allclose(found.inputs[24:], 0.2)
    np.testing.assert_allclose(found.targets[24:], 0.2)
    assert np.all(found.counted[24:] == 1)
    outputs = jnp.asarray(found.targets).at[0].set(found.targets[7])
    assert not task.correct(outputs, found)[0] and np.all(task.correct(outputs, found)[1:])
    noisy = batch(Multisensory(noise=0.1)).inputs - found.inputs
    np.testing.assert_allclose(np.std(noisy), (2 / 0.2) ** 0.5 * 0.1, rtol=0.03)


def test_delayed_match_trials():
    task = DelayedMatch(num_trials=64, noise=0.0, num_stimuli=3)
    found = batch(task)
    shown = found.inputs.argmax(2)
    on = found.inputs.max(2) == 1
    for trial in range(64):
        first, later = np.flatnonzero(on[trial, :10]), 10 + np.flatnonzero(on[trial, 10:])
        assert len(first) == len(later) == 10 and 20 <= later[0] <= 30
        same = shown[trial, 0] == shown[trial, later[0]]
        wanted = found.targets[trial, :, 0]
        decides = np.flatnonzero(wanted)
        assert decides[0] == later[-1] + 1 and len(decides) == 10
        assert np.all(wanted[decides] == (1 if same else -1)) and same == (trial % 2 == 0)
        np.testing.assert_array_equal(found.counted[trial], np.arange(task.num_steps) <= decides[-1])
    assert np.all(task.correct(0.1 * found.targets, found)) and not np.any(task.correct(-found.targets, found))


def test_sine_trials():
    task = Sine(periods=(4.0, 8.0), noise=0.0)
    found = batch(task)
    np.testing.assert_array_equal(found.inputs[:, :, 0], np.array([[0.5], [1.0]]) * np.ones((2, 80)))
    np.testing.assert_array_equal(found.inputs[0, :, 1], np.arange(80) < 5)
    # Outputs are those after each step of .2.
    np.testing.assert_allclose(found.targets[1, :, 0], np.sin(2 * np.pi * np.arange(1, 81) / 40), atol=1e-12)
    off = np.array([0.3, 0.33])[:, None, None]  # a tenth of the power is .316 of the amplitude
    np.testing.assert_array_equal(task.correct(found.targets * (1 + off), found), [True, False])


def test_losses():
    trials = batch(Sine(periods=(4.0, 8.0)))
    np.testing.assert_allclose(squared_error(trials.targets + 0.2, trials), 0.02, rtol=1e-6)
    half = trials.counted * (np.arange(80) % 2)[None]
    halved = type(trials)(trials.inputs, trials.targets, half)
    np.testing.assert_allclose(squared_error(trials.targets + 0.2, halved), 0.01, rtol=1e-6)


def test_sequences_of_shapes():
    found, again = mnist_1d(2000), mnist_1d(2000)
    x, labels = np.asarray(found.train.inputs), np.asarray(found.train.labels)
    assert x.shape == (1600, 40) and found.test.inputs.shape == (400, 40)
    np.testing.assert_array_equal(x, again.train.inputs)
    assert not np.array_equal(x, mnist_1d(2000, seed=1).train.inputs)
    whole = np.concatenate([x, found.test.inputs])
    np.testing.assert_allclose([whole.mean(), whole.std()], [0, 1], atol=1e-12)
    counts = np.bincount(np.concatenate([labels, found.test.labels]))
    np.testing.assert_array_equal(counts, np.full(10, 200))
    # A linear classifier on these data has an accuracy of 32 % (Greydanus 2020, table 1), chance is 10 %.
    design = np.c_[x, np.ones(len(x))]
    weights = np.linalg.lstsq(design, np.eye(10)[labels], rcond=None)[0]
    right = np.mean(np.argmax(np.c_[found.test.inputs, np.ones(400)] @ weights, 1) == found.test.labels)
    assert 0.2 < right < 0.4


def test_probit():
    """A known curve within its errors, which are those of many repetitions."""
    rates, rng = np.array([11.5, 12.0, 12.5, 13.0, 13.5]), np.random.default_rng(0)
    high = rng.binomial(200, ndtr((rates - 12.6) / 0.5), (300, 5))
    found = [probit(rates, one, 200) for one in high]
    assert all(one.converged for one in found)
    for value, error, true in (("midpoint", "midpoint_error", 12.6), ("width", "width_error", 0.5)):
        values = np.array([getattr(one, value) for one in found])
        errors = np.array([getattr(one, error) for one in found])
        assert abs(values.mean() - true) < 0.01  # the bias falls as 1 / trials
        np.testing.assert_allclose(values.std(), errors.mean(), rtol=0.15)
    # Exact counts of a curve of other units.
    exact = probit(10 * rates, 1e6 * ndtr((rates - 12.6) / 0.5), 1e6)
    np.testing.assert_allclose([exact.midpoint, exact.width], [126, 5], rtol=1e-6)
    assert best_width(3.0, 4.0) == pytest.approx(2.4)


def test_a_step_has_no_width():
    found = probit([1.0, 2.0, 3.0, 4.0], [0, 0, 9, 9], 9)
    assert not found.converged and np.isnan(found.width) and np.all(found.share_error > 0)
    assert not probit([1.0, 2.0, 3.0], [9, 5, 0], 9).converged  # a curve that falls


def test_a_curve_of_a_known_observer():
    """An observer whose last output is the rate plus noise of .5 in its units."""
    task = Multisensory(dt=1.0, noise=0.0, num_catch=0)

    def respond(x, key):
        rate = 9 + 7 * (x[3, 0] - 0.6) / 0.8
        judged = rate - 12.5 + 0.5 * jax.random.normal(key)
        return jnp.zeros((len(x), 2)).at[:, 0].set(judged)

    found = psychometric(respond, task, "both", [12.0, 12.25, 12.5, 12.75, 13.0], 500, key=KEY)
    assert abs(found.midpoint - 12.5) < 4 * found.midpoint_error and abs(found.width - 0.5) < 4 * found.width_error
    assert found.width_error < 0.05 and found.converged
    with pytest.raises(ValueError, match="`senses`"):
        psychometric(respond, task, "smelt", [12.0], 5, key=KEY)


@pytest.mark.slow
def test_senses_are_integrated():
    """The published training reaches the loss .003, and both senses together are judged better than each of them.

    The reference run of another program: widths .36, .26 and .19 of vision, hearing and both, annealed, and .66, .58
    and .38 of networks that stay.
    """
    task, optimiser = Multisensory(), multisensory_optimiser()

    def loss(net, batch, key):
        shown, noise = jax.random.split(key)
        trials = task.batch(key=shown)
        outputs = jax.vmap(lambda x, key: net(x, key=key))(trials.inputs, jax.random.split(noise, 30))
        return squared_error(outputs, trials)

    net, state = SpikeSlabRNN.multisensory(key=jax.random.key(1)), None
    assert np.mean(np.asarray(net.inputs.sparsity) == 0) == pytest.approx(7 / 15)
    for start in range(0, 700, 20):
        part = train(loss, net, optimiser, jnp.zeros(20), key=jax.random.key(101), start=start, state=state)
        net, state = part.params, part.state
        if float(jnp.mean(part.losses[-5:])) <= 0.0025:
            break
    assert start >= 200 and float(jnp.mean(part.losses[-5:])) <= 0.003
    assert np.all(np.asarray(net.inputs.sparsity) == np.asarray(SpikeSlabRNN.multisensory(key=KEY).inputs.sparsity))
    assert 0.4 < float(net.recurrent.sparsity.mean()) < 0.6 and float(net.recurrent.entropy().spike.mean()) < 0.3

    tested = Multisensory(fixation=5.0, duration=18.0, num_catch=0)
    rates = np.array([11, 11.5, 12, 12.25, 12.5, 12.75, 13, 13.5, 14])
    annealed = lambda x, key: net(x, key=key)
    quenched = lambda x, key: net.sample(key=jax.random.fold_in(key, 1))(x, key=key)
    widths = {}
    for name, respond, num in (("annealed", annealed, 100), ("quenched", quenched, 60)):
        seen, heard, both = (
            psychometric(respond, tested, senses, rates, num, key=KEY) for senses in ("seen", "heard", "both")
        )
        for one in (seen, heard):
            assert both.width + 2 * np.hypot(both.width_error, one.width_error) < one.width, (name, both, one)
        best = best_width(seen.width, heard.width)
        assert 0.7 < both.width / best < 1.3
        assert abs(both.midpoint - 12.5) < 0.3
        widths[name] = both
    slower, faster = widths["quenched"], widths["annealed"]
    assert slower.width - faster.width > 2 * np.hypot(slower.width_error, faster.width_error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, ensemble, rate", [(Sine(), IID(1.2), 3e-3), (DelayedMatch(), RandomModes.flat(1.2, 0.1), 1e-2)]
)
def test_house_networks_learn(task, ensemble, rate):
    """Random couplings of a rate network learn each task through `simulate`."""

    def loss(net, batch, key):
        trials = task.batch(key=key)
        return squared_error(jax.vmap(net)(trials.inputs), trials)

    J = ensemble.sample(60, key=jax.random.key(0))
    net = RecurrentNetwork.gaussian(J, task.num_inputs, task.num_outputs, key=jax.random.key(1), dt=task.dt)
    found = train(loss, net, optax.adam(rate), jnp.zeros(600), key=KEY)
    trials = task.batch(key=jax.random.key(9))
    right = jnp.mean(task.correct(jax.jit(jax.vmap(found.params))(trials.inputs), trials))
    assert right > 0.95, (found.losses[::50], right)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Multisensory(dt=0.0), "`dt`"),
        (lambda: Multisensory(duration=10.0), "`duration` must be at least"),
        (lambda: Multisensory(noise=-1.0), "`noise`"),
        (lambda: DelayedMatch(num_stimuli=1), "`num_stimuli`"),
        (lambda: Sine(periods=(4.0, 0.0)), "`periods`"),
        (lambda: Sine().batch(key=0), "`key`"),
        (lambda: mnist_1d(3), "`num_samples`"),
        (lambda: probit([1.0], [1], 3), "`rates` and `num_high`"),
        (lambda: probit([1.0, 2.0], [1, 4], 3), "`num_high`"),
        (lambda: SpikeSlabRNN.multisensory(2, key=KEY), "`n`"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tasks_are_one_kind():
    for task in (Multisensory(), DelayedMatch(), Sine()):
        assert isinstance(task, Task)
        shapes = jax.eval_shape(lambda key, task=task: task.batch(key=key), KEY)
        num = shapes.counted.shape[0]
        assert shapes.inputs.shape == (num, task.num_steps, task.num_inputs)
        assert shapes.targets.shape == (num, task.num_steps, task.num_outputs)
