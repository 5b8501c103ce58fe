"""`jaxnets meanfield` on a few points: what it writes, and that bad input writes nothing."""

import os

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq

from jaxnets import plotting
from jaxnets.cli import main
from jaxnets.cli.meanfield import _between, _draw, _spread


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["meanfield", *map(str, args)])


def _tanh_unit(g: float) -> list[float]:
    """C^x(0), C^phi(0) and beta from the conservation of the energy, with NumPy."""
    z = np.linspace(-12, 12, 4001)
    average = lambda f: np.average(f, weights=np.exp(-(z**2) / 2))

    def energy(c):
        Phi = np.log(np.cosh(np.sqrt(c) * z))
        return g**2 * (average(Phi**2) - average(Phi) ** 2) - c**2 / 2

    c = brentq(energy, 0.1, 20, xtol=1e-13)
    x = np.sqrt(c) * z
    return [c, average(np.tanh(x) ** 2), average(np.cosh(x) ** -2)]


@pytest.mark.slow
def test_tanh(here, capsys):
    """Strengths in any order, one of them below the onset of chaos."""
    assert command("--g", 3, 0.5, 2, 3, "--effective-ranks", 0.25, 1) == 0
    assert sorted(os.listdir(here)) == ["meanfield.png", "meanfield.zarr"]
    assert (here / "meanfield.png").read_bytes().startswith(b"\x89PNG")
    data = xr.open_zarr(here / "meanfield.zarr").load()
    np.testing.assert_array_equal(data.g, [0.5, 2, 3])
    np.testing.assert_array_equal(data.effective_rank, [1, 0.25])
    np.testing.assert_array_equal(data.isel(g=0)[["variance_x", "variance_phi", "beta"]].to_array(), [0, 0, 1])
    for g in (2.0, 3.0):
        at = data.sel(g=g)
        found = [at.variance_x.item(), at.variance_phi.item(), at.beta.item()]
        np.testing.assert_allclose(found, _tanh_unit(g), rtol=1e-7)
    # Values of another solution, by quadrature on a grid of frequencies.
    np.testing.assert_allclose(data.lyapunov, [-0.5, 0.1125, 0.2355], atol=1e-4)
    np.testing.assert_allclose(data.dimension_phi[1:], [[0.010569, 0.004415], [0.024955, 0.010741]], rtol=2e-4)
    np.testing.assert_allclose(data.dimension_x[1:], [[0.008441, 0.003504], [0.017126, 0.007250]], rtol=2e-4)
    assert data.state_converged.all() and data.dimension_converged[1:].all()
    assert np.isnan(data.dimension_phi[0]).all() and not data.dimension_converged[0].any()
    at_2 = data.sel(g=2)
    c = np.interp([1, 2, 4, 8], at_2.lags, at_2.autocovariance_x)
    np.testing.assert_allclose(c, [1.8630, 1.6997, 1.2512, 0.5484], rtol=2e-4)
    assert {key: data.attrs[key] for key in ("transfer", "noise", "nodes", "time_unit", "command")} == {
        "transfer": "Tanh()",
        "noise": 0.0,
        "nodes": 801,
        "time_unit": "tau",
        "command": "meanfield",
    }
    assert {"jax_version", "jaxnets_version", "maker"} <= set(data.attrs)
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    printed = [at_2[name].item() for name in ("variance_x", "variance_phi", "beta", "decay_rate", "lyapunov")]
    assert [float(cell) for cell in rows["2"][1:-1]] == pytest.approx(printed, abs=6e-6) and rows["2"][-1] == "yes"
    assert rows["rest:"] and "?:" not in rows


@pytest.mark.slow
def test_linear_network_with_noise(here, capsys):
    """C(0) = sigma^2 / sqrt(1 - g^2) and its dimension are known; beyond g = 1 there is no state, and it is said."""
    sigma, g, rank = 0.5, 0.8, np.inf
    args = ("--transfer", "Linear()", "--noise", sigma, "--g", g, 2, "--effective-ranks", rank)
    assert command(*args, "--out", "a/b") == 0
    data = xr.open_zarr(here / "a" / "b" / "meanfield.zarr").load()
    k = np.sqrt(1 - g**2)
    at = data.sel(g=g, effective_rank=rank)
    np.testing.assert_allclose([at.variance_x, at.decay_rate, at.lyapunov], [sigma**2 / k, k, g - 1], rtol=1e-6)
    # Equal angles in w = k tan(theta), where C(w) dw is C(0) d theta.
    s = 1 / (1 + 1j * k * np.tan(np.pi * (np.arange(600) + 0.5) / 600 - np.pi / 2))
    ladder = g**2 * np.conj(s)[:, None] * s
    exact = 1 / np.mean((1 + abs(ladder) ** 2 / rank) / abs(1 - ladder) ** 2)
    np.testing.assert_allclose([at.dimension_phi, at.dimension_x], exact, rtol=1e-6)
    assert not data.sel(g=2).state_converged and not data.sel(g=2).dimension_converged.any()
    assert "?: not to the accuracy asked for" in capsys.readouterr().out


def test_dimensions_between_ranks_follow_the_law():
    """1/PR = a + b / PR^D, at ranks from the smallest to far beyond the largest finite one."""
    ranks = np.array([np.inf, 2.0, 0.1])
    fine, values = _between(ranks, 1 / (3 + 5 / ranks))
    np.testing.assert_allclose(values, 1 / (3 + 5 / fine), rtol=1e-12)
    assert fine[0] == pytest.approx(0.1) and fine[-1] > 20
    assert _between(ranks[:1], np.ones(1))[0].size == 0


def test_strengths_that_are_drawn():
    g = np.geomspace(1.2, 10, 33)
    np.testing.assert_array_equal(_spread(g, 5), [0, 8, 16, 24, 32])
    np.testing.assert_array_equal(_spread(g[:2], 5), [0, 1])
    assert _spread(g[:0], 5).size == 0


def test_nothing_active_is_drawn_as_empty_axes():
    nothing = (("g", "effective_rank"), [[np.nan]])
    data = xr.Dataset(
        {"variance_x": ("g", [0.0]), "dimension_phi": nothing, "dimension_x": nothing},
        coords={"g": [0.5], "effective_rank": [1.0]},
    )
    ax = _draw(data)
    assert [line.get_label() for line in ax.lines if not line.get_label().startswith("_")] == []
    assert isinstance(ax, plotting.Axes)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--g", "1.5", "-1"), "--g"),
        (("--g", "nan"), "--g"),
        (("--g", "60"), "--g"),
        (("--g",), "--g"),
        (("--effective-ranks", "0"), "--effective-ranks"),
        (("--effective-ranks", "nan", "1"), "--effective-ranks"),
        (("--noise", "-1"), "--noise"),
        (("--noise", "inf"), "--noise"),
        (("--transfer", "Tan()"), "--transfer"),
        (("--transfer", "ReLU()"), "transfer"),
        (("--out", "file"), "--out"),
    ],
)
def test_bad_input(here, capsys, args, says):
    (here / "file").write_text("mine")
    assert command(*args) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert says in last and last.startswith("jaxnets: error: ")
    assert os.listdir(here) == ["file"]
