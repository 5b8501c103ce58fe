"""`jaxnets learn`: what it writes, that a run goes on after any end, and that bad input writes nothing."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import equinox as eqx
import jax
import numpy as np
import pytest
import xarray as xr

from jaxnets import learning
from jaxnets.cli import learn, main
from jaxnets.cli.commands import LEARNED
from jaxnets.cli.learn_problems import PROBLEMS

SMALL = ("mnist-1d", "--n", 6, "--modes", 2, "--steps", 8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["learn", *map(str, args)])


def stored(folder):
    return xr.open_zarr(folder / "learn.zarr").load()


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name].values, b[name].values)


def test_checkpoints(here):
    """What is written comes back bit by bit, to the same options alone; an earlier one goes, and at the end all."""
    options = learn.Options("sine", 8, 5, 0, "IID(1.)", 0.01, 3)
    found = learning.Trained(
        {"a/b": np.random.rand(3, 2), "f": np.tanh}, np.random.rand(4), (np.arange(2), np.ones(()))
    )
    folder = learn._Folder(here, options)
    folder.write(learning.Trained(found.params, found.losses[:2], found.state))
    folder.write(found)
    assert os.listdir(here) == ["learn-checkpoint-00000004.zarr"]
    blank = jax.tree.map(lambda leaf: leaf * 0 if isinstance(leaf, np.ndarray) else leaf, found)
    again, step = folder.latest(blank)
    assert step == 4 and again.params["f"] is np.tanh
    for a, b in zip(
        jax.tree.leaves(eqx.filter(again, eqx.is_array)), jax.tree.leaves(eqx.filter(found, eqx.is_array)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    other = learn._Folder(here, dataclasses.replace(options, seed=4))
    assert other.latest(blank)[1] == 0
    folder.clear()
    assert os.listdir(here) == []


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on(here, monkeypatch, capsys):
    """Stopped after three parts, without a word to the program: the numbers are those of one run."""
    assert command(*SMALL, "--out", "whole") == 0
    assert sorted(os.listdir(here / "whole")) == ["learn.png", "learn.zarr"]
    assert (here / "whole" / "learn.png").read_bytes().startswith(b"\x89PNG")
    whole = stored(here / "whole")
    assert whole.loss.size == 8 and whole.attrs["task"] == "mnist-1d" and whole.attrs["n"] == 6
    assert "accuracy" in capsys.readouterr().out

    train, calls = learn.learning.train, []

    def stopped(*args, **kwargs):
        calls.append(kwargs["start"])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(learn, "EVERY", 0.0)
    monkeypatch.setattr(learn.learning, "train", stopped)
    assert command(*SMALL, "--out", "parts") == 130
    assert "goes on from step 3" in capsys.readouterr().err
    assert os.listdir(here / "parts") == ["learn-checkpoint-00000003.zarr"]
    (here / "parts" / ".jaxnets-learn-1").mkdir()  # what a killed process leaves
    calls.clear()
    monkeypatch.setattr(
        learn.learning, "train", lambda *args, **kwargs: calls.append(kwargs["start"]) or train(*args, **kwargs)
    )
    assert command(*SMALL, "--out", "parts") == 0
    assert calls[0] == 3 and sorted(os.listdir(here / "parts")) == ["learn.png", "learn.zarr"]
    same(stored(here / "parts"), whole)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(here):
    words = ["learn", "sine", "--n", "20", "--steps", "400", "--out"]
    script = "import sys; from jaxnets.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.Popen([sys.executable, "-c", script, *words, "killed"], stderr=subprocess.DEVNULL)
    began = time.time()
    while not list((here / "killed").glob("learn-checkpoint-*")) and time.time() - began < 300:
        time.sleep(0.05)
    done.send_signal(signal.SIGKILL)
    done.wait()
    left = os.listdir(here / "killed")
    assert any(name.startswith("learn-checkpoint-") for name in left) and "learn.zarr" not in left
    assert main([*words, "killed"]) == 0 and main([*words, "whole"]) == 0
    assert sorted(os.listdir(here / "killed")) == ["learn.png", "learn.zarr"]
    same(stored(here / "killed"), stored(here / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, says",
    [
        (["digits", "--steps", 420], "accuracy, 450 samples of the test"),
        (["digit-rows", "--steps", 60, "--n", 20], "accuracy of ten sampled networks"),
        (["multisensory", "--steps", 40, "--n", 30], "best width of both"),
        (["match", "--steps", 60, "--n", 20], "trials answered"),
    ],
)
def test_tasks(here, words, says, capsys):
    assert command(*words) == 0
    data = stored(here)
    assert says in capsys.readouterr().out and data.loss[-5:].mean() < data.loss[0]
    assert os.listdir(here) != [] and (here / "learn.png").exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (["sudoku"], "`TASK` must be one of digits"),
        (["sine", "--modes", 3], "`--modes` belongs to digits"),
        (["digits", "--ensemble", "IID(1.)"], "`--ensemble` belongs to match"),
        (["multisensory", "--rate", 0.1], "`--rate` has no meaning"),
        (["sine", "--rate", -1], "`--rate` must be a positive number"),
        (["sine", "--steps", 0], "`--steps` must be at least 1"),
        (["sine", "--seed", -1], "`--seed`"),
        (["sine", "--ensemble", "IID(g=-1)"], "`g`"),
        (["multisensory", "--n", 2], "`n` must be a whole number >= 3"),
    ],
)
def test_bad_input_writes_nothing(here, words, says, capsys):
    assert command(*words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and os.listdir(here) == []


def test_files_of_others_stay(here, capsys):
    (here / "learn.png").write_text("mine")
    assert command("sine") == 2 and "was not written by jaxnets" in capsys.readouterr().err
    assert (here / "learn.png").read_text() == "mine"


def test_tasks_are_those_of_the_room():
    assert list(LEARNED) == list(PROBLEMS)


@pytest.mark.slow
def test_perceptron(here, capsys):
    """Theory, and messages of three sizes near it."""
    assert command("perceptron", "--n", 80) == 0
    data = stored(here)
    assert data.attrs["capacity"] == pytest.approx(0.833079, abs=1e-6)
    assert data.entropy_of_messages.shape == (3, 3, 6) and (here / "learn.png").exists()
    np.testing.assert_allclose(data.entropy_of_messages.sel(size=80, sampled_load=0.3).mean(), 0.4748, atol=0.05)
    assert "1.014654" in capsys.readouterr().out


def test_a_perceptron_trains_nothing(here, capsys):
    assert command("perceptron", "--steps", 3) == 2 and "--steps" in capsys.readouterr().err
