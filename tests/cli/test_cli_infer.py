"""`jaxnets infer`: what it says of a recording and of the network behind it, and that a killed run goes on."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import xarray as xr

import jaxnets as jn
from jaxnets.cli import main
from jaxnets.cli.infer_dynamics import _frequency, _moments, dynamics_of


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["infer", *map(str, args)])


def spikes_of(num_trials: int, num_steps: int) -> np.ndarray:
    """Counts of an oscillating network of 20 units, (trials, time, units)."""
    rng, turn = np.random.default_rng(0), np.array([[0.54, -0.84], [0.84, 0.54]])
    m = rng.standard_normal((20, 2))
    law = jn.inference.Poisson(readout=jn.inference.Currents(2.0, -0.5))
    teacher = jn.inference.StochasticLowRank(m, 0.3 * turn @ m.T / 20, 0.9, 0.1, observation=law)
    return np.asarray(teacher.sample(num_trials, num_steps, key=jax.random.key(0)).recording)


@pytest.mark.slow
def test_the_embedded_network_is_found(here, capsys):
    assert command() == 0
    assert sorted(os.listdir(here)) == ["infer.png", "infer.zarr"]
    printed = capsys.readouterr().out
    found = {line[:43].strip(): line[43:].split() for line in printed.splitlines()}
    known, bound = map(float, found["bound of trials held out"])
    assert known - bound < 0.004
    known, r2 = map(float, found["R² of latent variables, after a linear map"])
    assert known - r2 < 0.005
    known, frequency = map(float, found["frequency without noise, per step"])
    assert abs(frequency / known - 1) < 0.05
    data = xr.open_zarr(here / "infer.zarr").load()
    assert data.attrs["rank"] == 2 and data.latents.shape == (20, 100, 2)


@pytest.mark.slow
def test_spikes_choose_a_rank_and_a_killed_run_goes_on(here):
    """Killed in the middle, the same command ends with the numbers of a run that was not stopped."""
    y = spikes_of(1, 800)[0]
    rng = np.random.default_rng(1)
    at = np.repeat(np.argwhere(y > 0), y[y > 0].astype(int), axis=0)
    times = 0.01 * (at[:, 0] + rng.uniform(0.01, 0.99, len(at)))
    np.savetxt("spikes.csv", np.stack([times, at[:, 1]], 1), "%.7f,%d", header="time,unit", comments="")
    words = ["spikes.csv", "--bin-width", "0.01", "--ranks", "1", "2", "--updates", "80", "--particles", "16"]
    assert command(*words, "--out", "whole") == 0
    script = f"from jaxnets.cli import main; main({['infer', *words, '--out', 'killed']!r})"
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(here.glob("killed/infer-checkpoint-*-rank1")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert list(here.glob("killed/infer-checkpoint-*-rank1")) and not (here / "killed/infer.png").exists()
    assert command(*words, "--out", "killed") == 0
    assert sorted(os.listdir(here / "killed")) == ["infer.png", "infer.zarr"]
    one, other = (xr.open_zarr(here / name / "infer.zarr").load() for name in ("whole", "killed"))
    xr.testing.assert_equal(one, other)
    assert one.attrs["rank"] == 2 and one.lack[0] > 2 * one.lack_error[0]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("wide.npy", "--interval", 1), "--transpose"),
        (("counts.npy", "--interval", 1, "--kind", "counts"), "--kind values"),
        (("gaps.npy", "--interval", 1), "only NaN of 3"),
        (("few.npy", "--interval", 1), "must have more than 1 trials"),
        (("long.npy", "--interval", 1, "--rank", 12), "`--rank` must be below the number of units, 12"),
        (("long.npy",), "--interval"),
        (("long.npy", "--interval", -1), "--interval"),
        (("long.npy", "--bin-width", 1), "spike times"),
        (("long.npy", "--interval", 1, "--rank", 3, "--ranks", 1, 2), "exclude each other"),
        (("long.npy", "--interval", 1, "--ranks", 0, 1), "--rank"),
        (("long.npy", "--interval", 1, "--window", 500), "`--window` must be at most"),
        (("long.npy", "--interval", 1, "--kind", "spikes"), "--kind"),
        (("long.npy", "--interval", 1, "--out", "few.npy"), "--out"),
        (("--bin-width", 1), "belongs to a recording"),
        (("--updates", 0), "--updates"),
        (("--transfer", "Tan()"), "--transfer"),
        (("none.nwb",), "none.nwb"),
    ],
)
def test_bad_input(here, capsys, args, says):
    x = np.random.default_rng(0).standard_normal((300, 12)).cumsum(0)
    np.save("long.npy", x)
    np.save("wide.npy", x.T)
    np.save("counts.npy", np.abs(x))
    np.save("few.npy", x[:30])
    np.save("gaps.npy", np.where(np.arange(12) == 3, np.nan, x))
    before = sorted(os.listdir(here))
    assert command(*args) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert says in last and last.startswith("jaxnets: error: ")
    assert sorted(os.listdir(here)) == before


def test_frequencies():
    steps = np.arange(4096)
    for frequency in (0.0223, 0.1, 0.31):
        orbit = np.stack([np.cos(2 * np.pi * frequency * steps), 0.3 * np.sin(2 * np.pi * frequency * steps)], 1)
        assert _frequency(orbit) == pytest.approx(frequency, abs=2e-5)
    assert _frequency(np.ones((4096, 2))) == 0


def test_moments_leave_gaps_out():
    """Without gaps they are those of the observables; gaps at random change them little."""
    x = np.random.default_rng(0).standard_normal((6, 400, 3))
    for t in range(1, 400):
        x[:, t] += 0.8 * x[:, t - 1]
    c, power, components, _ = _moments(x)
    known = jn.observables.autocovariance(np.swapaxes(x, 0, 1), 1.0, max_lag=199)
    np.testing.assert_allclose(c, known.values, rtol=1e-9, atol=1e-12)
    assert np.all(power > 0)
    width = 0.5 / len(c)
    assert width * (power.sum() - (power[0] + power[-1]) / 2) == pytest.approx(c[0], rel=1e-9)
    assert components.sum() == pytest.approx(3 * c[0])
    gaps = np.where(np.random.default_rng(1).random(x.shape) < 0.2, np.nan, x)
    np.testing.assert_allclose(_moments(gaps)[0][:10], c[:10], atol=0.05 * c[0])


def of_one_mode(transfer) -> jn.inference.StochasticLowRank:
    """Rest at 0 is unstable, and two states of opposite sign are stable."""
    m = np.linspace(0.5, 1.5, 6)[:, None]
    return jn.inference.StochasticLowRank(m, 0.3 * m.T / np.sum(m**2), 0.9, 0.1, transfer)


def test_all_fixed_points_of_units_made_of_lines():
    found = dynamics_of(of_one_mode(jn.transfer.clipped_linear(-1.0, 1.0)), np.ones((1, 5, 1)), None)
    assert found.all_found and found.stable.tolist() == [True, False, True] and found.frequency == 0
    np.testing.assert_allclose(found.step(found.points), found.points, atol=1e-9)


@pytest.mark.slow
def test_fixed_points_of_smooth_units():
    found = dynamics_of(of_one_mode(jn.transfer.Tanh()), np.ones((1, 5, 1)), None)
    assert not found.all_found and sorted(found.stable.tolist()) == [False, True, True]
    np.testing.assert_allclose(found.step(found.points), found.points, atol=1e-8)
