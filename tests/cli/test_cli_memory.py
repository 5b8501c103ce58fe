"""`jaxnets memory` on a few points: what it writes, and that bad input writes nothing."""

import os

import numpy as np
import pytest
import xarray as xr

from jaxnets.cli import main
from jaxnets.memory import Regime


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["memory", *map(str, args)])


@pytest.mark.slow
def test_few_points(here, capsys):
    args = ("--n", 200, "--loads", 0.05, "--strengths", 1.5, 0.5, "--lengths", 1, "--num-spins", 50_000)
    assert command(*args) == 0
    assert sorted(os.listdir(here)) == ["memory.png", "memory.zarr"]
    assert (here / "memory.png").read_bytes().startswith(b"\x89PNG")
    data = xr.open_zarr(here / "memory.zarr").load()
    np.testing.assert_array_equal(data.strength, [0.5, 1.5])
    assert data.regime.values.tolist() == [[Regime.QUIESCENT, Regime.SEQUENCE]]
    # One shift: gamma sqrt(1 + load) = 1.
    np.testing.assert_allclose(data.instability, 1 / np.sqrt(1.05), rtol=1e-8)
    np.testing.assert_allclose(data.conversion_exact[0, :6], np.array([77, 51, 13, 3, 1, 0]) / 128, atol=1e-12)
    # Fields of finite networks that come close to 0 have the wrong sign.
    np.testing.assert_allclose(data.conversion_sampled, data.conversion_exact, atol=0.05)
    assert data.overlaps[0, 0] > 0.5 and data.overlaps[0, 1:].max() < 0.1  # the cue: <|tanh 1|> = .76 of one pattern
    assert {"maker", "jax_version", "seed", "transfer"} <= set(data.attrs)
    assert data.regime.dims == ("load", "strength") and data.speed.dims == ("load", "strength", "trial")
    printed = capsys.readouterr().out
    assert "quiescent" in printed and "sequence" in printed and "0.9759" in printed


@pytest.mark.parametrize(
    "args, named",
    [
        (("--loads", 0.001), "--loads"),
        (("--loads", -1), "--loads"),
        (("--strengths", "nan"), "--strengths"),
        (("--lengths", 0), "--lengths"),
        (("--num-trials", 0), "--num-trials"),
        (("--transfer", "Cosine()"), "--transfer"),
        (("--transfer", "__import__('os')"), "--transfer"),
    ],
)
def test_bad_input_writes_nothing(here, capsys, args, named):
    assert command(*args) == 2
    assert named in capsys.readouterr().err
    assert os.listdir(here) == []
