"""`jaxnets simulate` on small networks: what it writes, and that bad input writes nothing."""

import os

import jax
import numpy as np
import pytest
import xarray as xr

from jaxnets import couplings, dynamics, transfer
from jaxnets.cli import main

SMALL = ("--n", "40", "--duration", "60", "--discard", "20", "--num-trajectories", "2")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["simulate", *map(str, args)])


def test_what_is_written(here, capsys):
    assert command(*SMALL, "--noise", ".5", "--num-units", 7, "--seed", 5) == 0
    assert sorted(os.listdir(here)) == ["simulation.png", "simulation.zarr"]
    assert (here / "simulation.png").read_bytes().startswith(b"\x89PNG")
    data = xr.open_zarr(here / "simulation.zarr").load()
    assert dict(data.rates.sizes) == {"time": 200, "trajectory": 2, "unit": 7}
    np.testing.assert_allclose(data.time.values[[0, -1]], [20, 59.8])
    assert dict(data.final_states.sizes) == {"trajectory": 2, "neuron": 40}
    assert {key: data.attrs[key] for key in ("n", "noise", "seed", "transfer")} == {
        "n": 40,
        "noise": 0.5,
        "seed": 5,
        "transfer": "Tanh()",
    }
    assert {"jax_version", "jaxnets_version", "parameters", "dimension_phi", "correlation_time_x"} <= set(data.attrs)
    # The measurements agree with one another: the variance of all rates is C(0), and the principal variances add up.
    units = data.variance_rate.mean().item()
    assert data.autocovariance_phi.values[0] == pytest.approx(units, rel=1e-9)
    assert data.principal_variances_phi.sum().item() == pytest.approx(40 * units, rel=1e-9)
    out = capsys.readouterr().out
    row = next(line.split() for line in out.splitlines() if line.startswith("variance C(0)"))
    assert float(row[-1]) == pytest.approx(units, abs=1e-4)


def test_a_matrix_is_simulated_as_the_library_does(here):
    weights = np.asarray(couplings.IID(2.0).sample(30, key=jax.random.key(0)).dense())
    names = [f"unit {k}" for k in range(30)]
    np.savez(here / "w.npz", weights=weights, labels=names)
    assert command("--matrix", "w.npz", "--scale", "1.5", "--transfer", "Erf()", *SMALL[2:]) == 0
    data = xr.open_zarr(here / "simulation.zarr").load()
    assert data.label.values.tolist() == names
    net = dynamics.RateNetwork(1.5 * weights, transfer.Erf())
    # Row i holds the weights onto neuron i: the rates that were written obey that equation of motion.
    rest = dynamics.simulate(
        net, data.final_states.values, duration=0.2, dt=0.05, t0=60.0, save_every=4, progress=False
    )
    assert rest.times.shape == (1,) and data.rates.sizes["unit"] == 30
    last = data.rates.values[-1]
    step = np.linalg.norm(np.asarray(rest.rates[0]) - last)
    assert 0 < step < 0.2 * np.linalg.norm(last)
    assert data.attrs["g"] == pytest.approx(1.5 * np.linalg.norm(weights) / 30**0.5)


def test_single_precision_and_rest(here, capsys):
    assert command(*SMALL, "--ensemble", "IID(g=.3)", "--single") == 0
    assert "the network is at rest" in capsys.readouterr().out
    data = xr.open_zarr(here / "simulation.zarr").load()
    assert data.rates.dtype == np.float32 and np.isnan(data.attrs["dimension_phi"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--n", "0"), "--n"),
        (("--noise", "-1"), "noise"),
        (("--dt", "3"), "dt"),
        (("--duration", "50", "--discard", "80"), "discard"),
        (("--num-trajectories", "0"), "--num-trajectories"),
        (("--transfer", "Tan()"), "--transfer"),
        (("--ensemble", "IID(-1)"), "`g`"),
        (("--ensemble", "RandomModes.flat(load=.001)", "--n", "50"), "load"),
        (("--matrix", "missing.npy"), "missing.npy"),
        (("--matrix", "larva-left", "--n", "5"), "--n"),
        (("--scale", "2"), "--scale"),
        (("--transfer", "ReLU()", "--ensemble", "IID(9.)", "--n", "50", "--duration", "400"), "overflowed"),
        (("--duration", "1", "--discard", ".9", "--n", "20"), "kept times"),
    ],
)
def test_bad_input(here, capsys, args, says):
    assert command(*args) == 2
    err = capsys.readouterr().err
    assert says in err.splitlines()[-1] and err.splitlines()[-1].startswith("jaxnets: error: ")
    assert os.listdir(here) == []
