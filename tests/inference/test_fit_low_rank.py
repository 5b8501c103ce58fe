"""Fits of small recordings: what they return, what they refuse, and how they go on."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilations import compilations

import jaxnets as jn
from jaxnets.inference import (
    Affine,
    Currents,
    Gaussian,
    Poisson,
    StochasticLowRank,
    choose_rank,
    climbing,
    fit_low_rank,
    smc,
)

KEY = jax.random.key(0)
ROTATION = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])


def teacher(observation=None, N=12, seed=0):
    m = np.random.default_rng(seed).standard_normal((N, 2))
    observation = Gaussian(0.3) if observation is None else observation
    return StochasticLowRank(m, 0.5 * ROTATION @ m.T / N, 0.8, 0.2, observation=observation)


Y = np.array(teacher().sample(6, 40, key=jax.random.key(1)).recording)
SMALL = {"num_particles": 8, "num_updates": 40, "key": KEY, "progress": False, "held_out": 2}


@pytest.fixture(scope="module")
def whole():
    return fit_low_rank(Y, 2, **SMALL)


def test_a_fit_climbs_and_is_that_of_its_model(whole):
    assert whole.bounds[-10:].mean() > whole.bounds[:3].mean() + 0.005
    assert whole.held_out.shape == (2,)
    again = smc(whole.model, Y, num_particles=64, key=jax.random.split(KEY, 5)[3])
    np.testing.assert_allclose(again.log_likelihood, whole.filtered.log_likelihood, rtol=1e-9)
    held = np.asarray(whole.held_out)
    np.testing.assert_allclose(whole.held_out_elbo, again.log_likelihood[held].sum() / (2 * 40 * 12), rtol=1e-9)
    assert 0.2 < whole.held_out_prediction < 1
    # In units of the recording, the true bound is not far.
    truth = smc(teacher(), Y, num_particles=64, key=KEY).log_likelihood[held].sum() / (2 * 40 * 12)
    assert truth - 0.05 < whole.held_out_elbo < truth
    assert whole.to_network().size == 12
    np.testing.assert_allclose(whole.model.m.T @ whole.model.m / 12, np.eye(2), atol=1e-9)


def test_a_fit_that_was_interrupted_goes_on_bit_by_bit(whole, tmp_path, monkeypatch):
    path, calls, train = tmp_path / "folder" / "fit.npz", [], climbing.train

    def interrupted(*args, **options):
        calls.append(options["start"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*args, **options)

    monkeypatch.setattr(climbing, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the same call goes on from update 20"):
        fit_low_rank(Y, 2, checkpoint=path, **SMALL)
    found = fit_low_rank(Y, 2, checkpoint=path, **SMALL)
    assert calls == [0, 20, 20]
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        assert np.array_equal(one, two, equal_nan=True)
    fit_low_rank(Y, 2, checkpoint=path, **SMALL)  # from the end
    assert calls == [0, 20, 20]
    with pytest.raises(ValueError, match="`checkpoint` must be of the same fit, got .*fit.npz"):
        fit_low_rank(Y + 1, 2, checkpoint=path, **SMALL)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="`checkpoint` must be a file of an earlier run"):
        fit_low_rank(Y, 2, checkpoint=path, **SMALL)
    assert [file.name for file in path.parent.iterdir()] == ["fit.npz"]


def test_other_rates_and_numbers_compile_nothing(whole):
    with compilations() as programs:
        fit_low_rank(Y, 2, **SMALL | {"num_particles": 11, "num_updates": 20, "learning_rates": (1e-3, 1e-4)})
    assert "_trained" not in str(programs) and "_smc" not in str(programs)


BAD = {
    "`rank` must be below the number of units, 12, got 12": {"rank": 12},
    "`rank` must be a whole number": {"rank": 1.5},
    r"`recording` must have time before units, got shape \(1, 12, 40\).*swapaxes": {"recording": Y[0].T},
    r"`recording` must have time before units, got shape \(6, 12, 40\)": {"recording": np.swapaxes(Y, 1, 2)},
    "these seem to be .units, time.": {"recording": [Y[0].T, Y[1, :30].T]},
    "`recording` must be counts for a Poisson law, .* got .* in trial 0, step 0, unit 0": {"observation": Poisson()},
    r"`recording` must have a number of each unit, got only NaN of units \[3\]": {
        "recording": np.where(np.arange(12) == 3, np.nan, Y)
    },
    r"`recording` must have a number in each trial, got only NaN in trials \[1\]": {
        "recording": np.where(np.arange(6)[:, None, None] == 1, np.nan, Y)
    },
    "`recording` must have more than 1 trials to hold 1 out, got 1": {"recording": Y[0], "held_out": None},
    "`recording` must have 6 steps or more": {"recording": np.tile(Y[:, :5], (4, 1, 1))},
    "`held_out` must be a number or indices": {"held_out": [7]},
    "`held_out` must leave a trial": {"held_out": range(6)},
    "`batch_size` must be at most the number of fitted trials, 4": {"batch_size": 5},
    "`window` must be at most the number of steps, 40": {"window": 41},
    "`num_particles` must be a whole number": {"num_particles": 0},
    "`learning_rates` must be finite numbers > 0": {"learning_rates": (0.0, 1.0)},
    "`optimiser` must be of optax": {"optimiser": "adam"},
    "`observation` must be one of": {"observation": "poisson"},
    "`transfer` must be one of": {"transfer": jnp.tanh},
    "`transforms` must be named by the parameters": {"transforms": {"gain": jn.fitting.Fixed()}},
    "`start` must have rank 1": {"rank": 1, "start": teacher()},
    "`inputs` must have shape": {"inputs": np.ones((7, 1))},
    "`key` must be one random key": {"key": 3},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_before_any_work(message):
    given = {"recording": Y, "rank": 2} | SMALL | BAD[message]
    with pytest.raises(ValueError, match=message):
        fit_low_rank(given.pop("recording"), given.pop("rank"), **given)


def test_ranks_that_are_refused():
    with pytest.raises(ValueError, match="`ranks` must be one rank or more"):
        choose_rank(Y, [], key=KEY)
    with pytest.raises(ValueError, match="`held_out` must be 1 or more"):
        choose_rank(Y, [1], key=KEY, held_out=0)


# --- longer fits


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"window": 10, "batch_size": 3},
        {"optimiser": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))},
        {"observation": Gaussian(0.3, Affine(np.ones((12, 2))))},
        {"observation": Gaussian(0.3, Affine(np.ones((12, 2)))), "inputs": np.cos(0.1 * np.arange(40))[:, None]},
        {"transfer": jn.transfer.ReLU()},
        {"inputs": np.cos(0.1 * np.arange(40))[:, None]},
        {"transforms": {"leak": jn.fitting.Fixed(), "observation.readout.gain": jn.fitting.Fixed()}},
    ],
    ids=str,
)
def test_options_of_a_fit(options):
    found = fit_low_rank(Y, 2, **SMALL | options)
    assert np.all(np.isfinite(found.bounds)) and found.bounds[-10:].mean() > found.bounds[:3].mean()
    truth = smc(teacher(), Y, num_particles=64, key=KEY).log_likelihood[found.held_out].sum() / (2 * 40 * 12)
    assert abs(found.held_out_elbo - truth) < 0.2


@pytest.mark.slow
def test_inputs_are_found_beside_the_dynamics():
    rng = np.random.default_rng(7)
    m, weights = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    u = 2 * np.sin(0.1 * np.arange(100))[:, None]
    driven = StochasticLowRank(m, 0.25 * m.T / 20, 0.8, 0.15, input_weights=weights, observation=Gaussian(0.3))
    y = np.array(driven.sample(12, 100, key=jax.random.key(1), inputs=u).recording)
    found = fit_low_rank(y, 2, observation=Gaussian(0.5), **SMALL | {"inputs": u, "held_out": 4, "num_updates": 100})
    known = smc(driven, y, num_particles=64, key=KEY, inputs=u).log_likelihood[found.held_out]
    assert known.sum() / (4 * 100 * 20) - 0.01 < found.held_out_elbo
    # Whatever inputs move along m may as well come through the modes.
    across = np.eye(20) - m @ np.linalg.pinv(m)
    np.testing.assert_allclose(across @ found.model.input_weights, across @ weights, atol=0.15)


SCRIPT = """
import jax, numpy as np, sys
from jaxnets.inference import climbing, fit_low_rank
climbing._EVERY = 0.0
y = np.load(sys.argv[1])
found = fit_low_rank(y, 2, num_particles=8, num_updates=200, key=jax.random.key(0), progress=False, held_out=2,
                     checkpoint=sys.argv[2])
np.save(sys.argv[3], np.concatenate([np.ravel(x) for x in jax.tree.leaves((found.model, found.bounds))]))
"""


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on_bit_by_bit(tmp_path):
    np.save(tmp_path / "y.npy", Y)

    def start(checkpoint, out):
        names = [str(tmp_path / name) for name in ("y.npy", checkpoint, out)]
        return subprocess.Popen([sys.executable, "-c", SCRIPT, *names])

    assert start("one.npz", "one.npy").wait() == 0
    run = start("two.npz", "two.npy")
    while not (tmp_path / "two.npz").exists():
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "two.npy").exists()
    assert start("two.npz", "two.npy").wait() == 0
    assert np.array_equal(np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy"))


@pytest.mark.slow
def test_the_rank_is_that_of_the_network():
    y = np.array(teacher(N=20).sample(20, 80, key=jax.random.key(1)).recording)
    options = {"num_particles": 16, "num_updates": 200, "progress": False, "key": KEY}
    found = choose_rank(y, [3, 1, 2], observation=Gaussian(0.3, Currents()), **options)
    assert found.rank == 2 == found.fit.model.rank and found.ranks.tolist() == [1, 2, 3]
    assert found.lacks[0] > 5 * found.lacks_error[0]
