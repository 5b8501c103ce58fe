"""`jaxnets meanfield --transient`: what it writes, and what it refuses."""

import os

import numpy as np
import pytest
import xarray as xr

from jaxnets.cli import main
from jaxnets.couplings import IID
from jaxnets.meanfield import transient
from jaxnets.transfer import Tanh


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["meanfield", "--transient", *map(str, args)])


@pytest.mark.slow
def test_a_replica_under_an_input(here, capsys):
    assert command("--ensemble", "IID(1.5)", "--duration", 3, "--replica", 0.9, "--input", 1, "--onset", 1) == 0
    assert sorted(os.listdir(here)) == ["transient.png", "transient.zarr"]
    data = xr.open_zarr(here / "transient.zarr").load()
    import jax.numpy as jnp

    run = transient(
        IID(1.5), Tanh(), duration=3, variance=1.0, replica=0.9, input=lambda t: jnp.where(t >= 1, 1.0, 0.0)
    )
    np.testing.assert_allclose(data.variance_x, run.variance, rtol=1e-6)
    np.testing.assert_allclose(data.squared_distance, run.squared_distance(), rtol=1e-5)
    assert data.attrs["converged"] == 1 and data.attrs["ensemble"] == "IID(1.5)"
    assert "distance^2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_cue(here, capsys):
    words = ["--cue", 0.5, "--variance", 0.25, "--duration", 2, "--num-paths", 400]
    assert command("--ensemble", "DeepHebbian(.05, 2., (0.,))", *words) == 0
    data = xr.open_zarr(here / "transient.zarr").load()
    np.testing.assert_allclose(data.overlap[0, [10, 20]], [0.718, 0.847], atol=0.01)
    assert "m_1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, answer",
    [
        (["--g", 2], "--ensemble"),
        (["--num-paths", 0], "--num-paths"),
        (["--noise", -1], "--noise"),
        (["--ensemble", "IID("], "--ensemble"),
        (["--duration", -1], "`duration`"),
        (["--ensemble", "Elliptic(1., .5)", "--replica", 0.5], "--replica"),
        (["--cue", 0.5, "--input", 1], "--cue"),
        (["--cue", 0.5], "`ensemble`"),
    ],
)
def test_refusals_write_nothing(here, capsys, words, answer):
    assert command(*words) == 2
    assert answer in capsys.readouterr().err.splitlines()[-1] and os.listdir(here) == []
