"""`jaxnets multistable` on small networks: what it writes, and that bad input writes nothing."""

import os

import numpy as np
import pytest
import xarray as xr

from jaxnets.cli import main
from jaxnets.cli.multistable import _listed


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["multistable", *map(str, args)])


@pytest.mark.slow
def test_stored_patterns(here, capsys):
    assert command("--n", 8, "--num-patterns", 3, "--num-starts", 300) == 0
    assert sorted(os.listdir(here)) == ["multistable.png", "multistable.zarr"]
    assert (here / "multistable.png").read_bytes().startswith(b"\x89PNG")
    data = xr.open_zarr(here / "multistable.zarr").load()
    W, n = data.weights.values, 8
    every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    stable = every[np.all((2 * every - 1) * (every @ W.T) > 0, axis=1)]
    patterns = data.activity.values[~np.isnan(data.margin.values)]
    assert {tuple(s) for s in stable.tolist()} == {tuple(s) for s in patterns.astype(int).tolist()}
    stored = data.kind.values == "stored"
    assert np.sum(stored) == 3
    # The smallest weights of margin 1 have just that.
    np.testing.assert_allclose(data.margin.values[stored], 1, rtol=1e-6)
    assert data.basin.sum() <= 1 + 1e-12 and data.attrs["complete"] == 1
    assert "proven to be all" in capsys.readouterr().out


def test_a_matrix(here, capsys):
    """Two units that excite themselves and inhibit each other: one, the other, but not both."""
    weights = np.array([[1.0, -2.0], [-2.0, 1.0]])
    np.savez("w.npz", other=np.eye(2), weights=weights, names=["left", "right"])
    assert command("--matrix", "w.npz", "--name", "weights", "--num-starts", 400, "--out", "found") == 0
    data = xr.open_zarr(here / "found" / "multistable.zarr").load()
    assert data.label.values.tolist() == ["left", "right"] and data.attrs["name"] == "weights"
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "±" in line]
    assert sorted(row[3] for row in rows[:2]) == ["left", "right"]
    assert sorted(map(tuple, data.activity.values[:2].tolist())) == [(0.0, 1.0), (1.0, 0.0)]
    np.testing.assert_array_equal(data.margin[:2], [1, 1])
    # Half of the starts each, by symmetry, but for those that decay to 0 with both off.
    np.testing.assert_allclose(data.basin[0], data.basin[1], atol=5 * np.sqrt(2) * data.basin_error[0])


def test_lists_of_units_fit_into_a_line():
    names = [f"neuron {i:03d}" for i in range(60)]
    assert _listed(names[:3], ", ") == "neuron 000, neuron 001, neuron 002"
    assert _listed(names, ", ") == "neuron 000, neuron 001, neuron 002, …"
    assert _listed([], ", ") == "" and len(_listed([str(i) for i in range(300)], " ")) <= 44


@pytest.mark.parametrize(
    "args, named",
    [
        (("--n", 0), "--n"),
        (("--active", 1), "--active"),
        (("--bias", "nan"), "--bias"),
        (("--scale", 2), "--scale"),
        (("--n", 4, "--num-patterns", 40), "--num-patterns"),
        (("--matrix", "missing.npy"), "missing.npy"),
    ],
)
def test_bad_input_writes_nothing(here, capsys, args, named):
    assert command(*args) == 2
    assert named in capsys.readouterr().err
    assert os.listdir(here) == []
