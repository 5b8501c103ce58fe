"""`jaxnets sweep` in this process, on functions that cost nothing: what it writes, prints, draws and refuses."""

import os
import time

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from jaxnets import plotting, sweeps
from jaxnets.cli import main
from jaxnets.cli.sweep import _read as read
from jaxnets.cli.sweep_figure import Along, Quantity, draw

TOY = """
import jax
import jax.numpy as jnp
import equinox as eqx

def measure(gain, load=1.0, *, width=1.0, key):
    noise = width * jax.random.normal(key)
    return {"right_edge": gain * load + noise, "right_edge_theory": gain * load, "converged": gain > 0.5}

def fragile(gain):
    return eqx.error_if(gain**2, gain > 2, "too strong")

def lags(gain, *, n):
    return {"covariance": gain * jnp.exp(-jnp.arange(float(n)) / 4.0), "z": jax.lax.complex(gain, gain)}
"""

LINE = """
function = "toy_points:measure"
realisations = 4
[axes]
gain = {linspace = [1.0, 3.0, 5]}
"""
MAP = LINE + "load = [1.0, 2.0, 4.0]\n[fixed]\nwidth = 0.5\n"
FRAGILE = 'function = "toy_points:fragile"\n[axes]\ngain = [1.0, 2.0, 3.0]\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with functions that sweeps find there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy_points.py").write_text(TOY)
    return tmp_path


def command(*args: object) -> int:
    return main(["sweep", *map(str, args)])


def describe(text: str, name: str = "toy.toml") -> str:
    with open(name, "w") as file:
        file.write(text)
    return name


def refused(capsys, message: str):
    """One line on standard error."""
    out, err = capsys.readouterr()
    assert err.startswith("jaxnets: error: ") and err.count("\n") == 1, err
    assert message in err, err
    return out


# --- run


def test_run_and_run_again(here, capsys):
    assert command("run", describe(LINE)) == 0
    out, err = capsys.readouterr()
    assert "gain 5 x 4 realisations: 20 points" in out and "bytes" in out and "in this process" in out
    assert "20/20" in err and "wrote toy.png and" in out
    assert set(os.listdir()) - {"__pycache__"} == {"toy", "toy.png", "toy.toml", "toy_points.py"}
    data = xr.open_zarr("toy/data.zarr").load()
    assert data.right_edge.sizes == {"gain": 5, "realisation": 4}
    np.testing.assert_allclose(data.right_edge_theory.isel(realisation=0), np.linspace(1, 3, 5))

    assert command("run", "toy.toml") == 0
    assert "all there" in capsys.readouterr().out
    xr.testing.assert_identical(xr.open_zarr("toy/data.zarr").load(), data)


def test_out_and_output(here):
    assert command("run", describe('output = "below/mine"\n' + LINE)) == 0
    assert {"mine", "mine.png"} == set(os.listdir("below"))
    assert command("run", "toy.toml", "--out", here / "other" / "place") == 0
    assert {"place", "place.png"} == set(os.listdir("other"))


def test_failures_are_counted_and_stop_nothing(here, capsys):
    assert command("run", describe(FRAGILE)) == 0
    out = capsys.readouterr().out
    assert ["failed", "1"] in [line.split()[:2] for line in out.splitlines()]
    assert "failed at gain = 3, realisation = 0" in out and "too strong" in out
    assert command("status", "toy") == 0
    out = capsys.readouterr().out
    assert "too strong" in out and "missing" not in out
    np.testing.assert_array_equal(xr.open_zarr("toy/data.zarr").value, [1.0, 4.0, np.nan])
    assert command("run", "toy.toml", "--retry") == 0
    assert "2 there" not in capsys.readouterr().out


def test_what_does_not_converge_is_counted(here, capsys):
    assert command("run", describe(LINE.replace("[1.0, 3.0, 5]", "[0.2, 1.0, 5]"))) == 0
    assert "not converged" in capsys.readouterr().out
    assert xr.open_zarr("toy/data.zarr").status.sum() == 4 * 2  # at .2 and .4


def test_computations_by_their_short_name(here, capsys):
    text = 'function = "eigenvalues"\n[axes]\ng = [0.5, 1.0]\n[static]\nn = [3, 4]\n[fixed]\nensemble = "IID(g)"\n'
    assert command("run", describe(text)) == 0
    data = xr.open_zarr("toy/data.zarr")
    assert data.eigenvalues.shape == (2, 2, 1, 4) and data.attrs["function"] == "jaxnets.computations:eigenvalues"
    assert not os.path.exists("toy.png")  # complex numbers have no picture
    capsys.readouterr()
    assert command("plot", "toy") == 2
    refused(capsys, "toy has no real number a point")


def test_interrupt_says_how_to_go_on(here, monkeypatch, capsys):
    def stopped(*_, **__):
        raise sweeps.Interrupted("stopped; run the same sweep again to go on")

    monkeypatch.setattr(sweeps, "run", stopped)
    assert command("run", describe(LINE)) == 130
    # A line of progress may come before, on a slow machine.
    assert capsys.readouterr().err.endswith("jaxnets: stopped; run the same sweep again to go on\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("function = ", "TOML"),
        ('function = "spectra"', "`function` must be one of dimension, eigenvalues"),
        ('function = "no_module:f"\n[axes]\ng = [1.0]', "cannot import"),
        ('function = "toy_points:measure"\n[axes]\ngian = [1.0]', "`gian` is no parameter"),
        ('function = "toy_points:measure"\n[axes]\ngain = {linspace = [1.0, 2.0, 1000000000]}', "`axes.gain`"),
        ('function = "toy_points:measure"\n[axes]\ngain = [nan]', "`axes.gain`"),
        ('function = "toy_points:measure"\nrealisation = 2\n[axes]\ngain = [1.0]', "did you mean `realisations`?"),
        ('function = "toy_points:measure"\noutput = "../up"\n[axes]\ngain = [1.0]', "`output`"),
        ('function = "mean_field"\n[axes]\ngain = [1.0]\n[fixed]\nensemble = "IID(g)"', "unknown name `g`"),
        ('function = "mean_field"\n[axes]\ng = [1.0]\n[fixed]\nensemble = "IID(-1 * 1)"', "`g` must be"),
        (
            'function = "mean_field"\n[axes]\nh = [1.0]\n[fixed]\nensemble = "IID()"',
            "`h` must be an argument or a name",
        ),
    ],
)
def test_bad_descriptions_write_nothing(here, capsys, text, message):
    before = set(os.listdir()) | {"toy.toml", "__pycache__"}
    assert command("run", describe(text)) == 2
    assert refused(capsys, message) == ""
    assert set(os.listdir()) <= before


def test_another_sweep_in_the_folder_is_refused(here, capsys):
    assert command("run", describe(LINE)) == 0
    capsys.readouterr()
    assert command("run", describe(LINE.replace("5]", "6]"))) == 2
    refused(capsys, "holds another sweep")


def test_a_figure_of_others_is_left_alone(here, capsys):
    (here / "toy.png").write_text("mine")
    assert command("run", describe(LINE)) == 2
    refused(capsys, "toy.png was not written by jaxnets")
    assert (here / "toy.png").read_text() == "mine" and not (here / "toy").exists()


def test_missing_files_and_folders(here, capsys):
    for args, message in (
        (("run", "none.toml"), "cannot read none.toml"),
        (("status", "none"), "must be the folder of a sweep"),
        (("verify", "none"), "must be the folder of a sweep"),
        (("plot", "none"), "must be the folder of a sweep"),
    ):
        assert command(*args) == 2
        refused(capsys, message)


# --- verify and plot


def test_verify_sees_a_flipped_byte_and_run_mends_it(here, capsys):
    assert command("run", describe(LINE)) == 0
    before = xr.open_zarr("toy/data.zarr").load()
    assert command("verify", "toy") == 0
    assert "whole" in capsys.readouterr().out
    (chunk,) = [path for path in (here / "toy" / "chunks").rglob("*") if path.is_file()][:1]
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    assert command("verify", "toy") == 2
    assert "damaged chunks  1" in refused(capsys, "toy is not whole")
    assert command("run", "toy.toml") == 0 and command("verify", "toy") == 0
    xr.testing.assert_identical(xr.open_zarr("toy/data.zarr").load(), before)


def test_plot(here, capsys):
    assert command("run", describe(MAP)) == 0
    one = matplotlib.image.imread("toy.png")
    assert command("plot", "toy", "--variable", "right_edge", "right_edge") == 0
    assert matplotlib.image.imread("toy.png").shape[0] > 1.5 * one.shape[0]
    capsys.readouterr()
    assert command("plot", "toy", "--variable", "status") == 2
    refused(capsys, "`--variable` must be one of right_edge, got status")


def test_means_and_errors_of_a_figure(here):
    assert command("run", describe(LINE)) == 0
    data = sweeps.open("toy")
    data["status"][2, 1] = 3  # a failed point has no value
    quantity = Quantity.of(data, "right_edge")
    values = data.right_edge.values
    values[2, 1] = np.nan
    count = np.array([4, 4, 3, 4, 4])
    np.testing.assert_allclose(quantity.mean, np.nanmean(values, 1))
    np.testing.assert_allclose(quantity.error, np.nanstd(values, 1, ddof=1) / np.sqrt(count))
    np.testing.assert_allclose(quantity.theory, np.linspace(1, 3, 5))
    assert quantity.samples == "mean of 4 samples" and quantity.label.startswith("right edge")
    ax = draw(data, ["right_edge"])
    points, line = ax.lines
    np.testing.assert_allclose(points.get_ydata(), quantity.mean)
    assert points.get_linestyle() == "None" and line.get_linestyle() == "-"  # told apart in print
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mean of 4 samples, band: 2 s.e.", "theory"]
    assert ax.get_xlabel() == "gain"


def test_maps_share_their_scale(here):
    assert command("run", describe(MAP)) == 0
    ax = draw(sweeps.open("toy"), ["right_edge"])
    samples, theory = (one.collections[0] for one in ax.figure.axes[:2])
    assert samples.get_clim() == theory.get_clim()
    np.testing.assert_allclose(theory.get_array(), np.outer(np.linspace(1, 3, 5), [1, 2, 4]))


def test_axes_of_a_figure(here):
    """Of vectors, names, geometric and zipped axes; beyond two they are held."""
    text = 'function = "toy_points:lags"\n[axes]\ngain = {logspace = [0.1, 10.0, 5]}\n[static]\nn = [3, 6]\n'
    assert command("run", describe(text)) == 0
    data = sweeps.open("toy")
    quantity = Quantity.of(data, "covariance")
    assert [along.label for along in quantity.along] == ["n", "gain"] and quantity.along[1].scale == "log"
    assert quantity.held == "" and quantity.mean.shape == (2, 5)
    named = data.assign_coords(n=["few", "many"])
    assert Along.of(named, "n").names == ["few", "many"]
    zipped = xr.Dataset(coords={"a": ("both", [1.0, 2.0, 3.0]), "b": ("both", [3.0, 2.0, 1.0])})
    assert Along.of(zipped, "both").label == "a and b"
    three = xr.Dataset({"v": (("x", "y", "n"), np.zeros((2, 2, 2))), "status": ((), 0)}, {"n": [100.0, 200.0]})
    assert Quantity.of(three, "v").held == "at n = 100.0"


def test_a_single_point_and_axes_in_any_order(here):
    assert command("run", describe('function = "toy_points:measure"\nrealisations = 3\n[fixed]\ngain = 1.0\n')) == 0
    assert command("run", describe(MAP.replace("[1.0, 2.0, 4.0]", "[4.0, 1.0, 2.0]"), "map.toml")) == 0
    _, theory = (one.collections[0] for one in draw(sweeps.open("map"), ["right_edge"]).figure.axes[:2])
    np.testing.assert_allclose(theory.get_array(), np.outer(np.linspace(1, 3, 5), [1, 2, 4]))


def test_whole_numbers_that_are_codes_have_shares_and_no_mean():
    """Regimes 1 and 4 never become 2 or 3."""
    regime = np.array([[[1, 4, 4], [4, 1, 1]], [[4, 4, 4], [2, 2, 1]]])
    status = np.zeros_like(regime)
    status[1, 0] = 3
    axes = {"x": [1.0, 2.0], "y": [3.0, 4.0]}
    dims = ("x", "y", "realisation")
    data = xr.Dataset({"regime": (dims, regime), "status": (dims, status)}, axes)
    kinds = Quantity.of(data, "regime").kinds
    assert kinds is not None and kinds.names == ["sequence", "chaos", "frozen"]
    np.testing.assert_array_equal(kinds.most_frequent(), [[2, 0], [-1, 1]])
    drawn = draw(data, ["regime"]).collections[0].get_array()
    np.testing.assert_array_equal(drawn.filled(-1), [[2, 0], [-1, 1]])
    line = draw(data.isel(x=0), ["regime"])
    shares = {one.get_label(): one.get_ydata().tolist() for one in line.lines}
    assert shares == {
        "sequence": [pytest.approx(1 / 3), pytest.approx(2 / 3)],
        "frozen": [pytest.approx(2 / 3), pytest.approx(1 / 3)],
    }
    counts = data.assign(regime=(dims, np.arange(12).reshape(2, 2, 3)))
    assert Quantity.of(counts, "regime").kinds is None  # many different ones are numbers, and have a mean


def test_heat_map_of_gaps():
    ax = plotting.heat_map(np.arange(3.0), np.arange(2.0), np.full((2, 3), np.nan), plotting.figure(), label="v")
    assert ax.patch.get_hatch() and ax.collections[0].get_clim() == (0, 1)


# --- the embedded default


def test_default_is_a_sweep_of_samples_and_theory():
    described = read(None)
    assert described.function == "jaxnets.computations:spectrum" and described.realisations == 16
    assert [axis.name for axis in described.grid.axes] == ["load", "strength"]


@pytest.mark.slow
def test_default_run(here, capsys):
    began = time.perf_counter()
    assert command("run") == 0
    seconds = time.perf_counter() - began
    assert seconds < 600, seconds  # about a minute on two idle cores
    data = xr.open_zarr("sweep/data.zarr").load()
    assert data.right_edge.shape == (6, 6, 16) and (data.status == 0).all()
    mean = data.mean("realisation")
    # At N = 300: edges within a tenth, areas within a quarter of the theory where discs of eigenvalues resolve them.
    np.testing.assert_allclose(mean.right_edge, mean.right_edge_theory, rtol=0.15)
    wide = mean.void_area_theory > 1
    np.testing.assert_allclose(mean.void_area.values[wide], mean.void_area_theory.values[wide], rtol=0.25)
    assert matplotlib.image.imread("sweep.png").shape[0] > 500
    assert "wrote sweep.png" in capsys.readouterr().out
