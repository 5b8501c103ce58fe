"""Commands on matrices whose neurons have types: files of types, what is printed and written, refusals."""

import os

import numpy as np
import pytest
import xarray as xr

from jaxnets.cli import main
from jaxnets.couplings import from_matrix, read_types

RNG = np.random.default_rng(0)
N = 40
TYPES = ["E"] * 30 + ["I"] * 10
J = RNG.standard_normal((N, N)) * np.where(np.arange(N) < 30, 1.0, 2.0) / N**0.5


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a matrix and types."""
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", J)
    (tmp_path / "types.txt").write_text("\n".join(TYPES))
    return tmp_path


MATRIX = ("--matrix", "w.npy", "--types", "types.txt")


@pytest.mark.parametrize(
    "text, labels",
    [
        ("E\nI\nE\n", None),
        ("type\nE\nI\nE\n", None),
        ("E I E\n", None),
        ("a,E\nb,I\nc,E\n", None),
        ("neuron,type\nc,E\na,E\nb,I\n", ("a", "b", "c")),
        ("neuron\ttype\nd\tO\nc\tE\na\tE\nb\tI\n", ("a", "b", "c")),
    ],
)
def test_files_of_types(tmp_path, text, labels):
    (tmp_path / "t.txt").write_text(text)
    assert read_types(tmp_path / "t.txt", 3, labels) == ("E", "I", "E")


@pytest.mark.parametrize(
    "text, labels, message",
    [
        ("E\nI\n", None, "one type for each of 3 units, got 2"),
        ("a,E\nb,I\n", ("a", "b", "c"), "got none for c"),
        ("a,b,c\nd,e,f\n", None, "got 3 columns"),
        ("", None, "cannot read"),
    ],
)
def test_files_that_are_no_types(tmp_path, text, labels, message):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_types(tmp_path / "t.txt", 3, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["spectrum", "simulate", "meanfield"])
def test_refusals_are_one_line_and_write_nothing(here, capsys, command):
    (here / "short.txt").write_text("E\nI\n")
    (here / "alone.txt").write_text("\n".join([*TYPES[:-1], "X"]))
    for arguments, message in (
        (("--types", "types.txt"), "`--types` belongs to `--matrix`"),
        (("--matrix", "w.npy", "--types", "none.txt"), "cannot read none.txt"),
        (("--matrix", "w.npy", "--types", "short.txt"), "one type for each of 40 units, got 2"),
        (("--matrix", "w.npy", "--types", "alone.txt"), "got one of type X"),
    ):
        assert main([command, *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.strip().count("\n") == 0
    assert sorted(os.listdir(here)) == ["alone.txt", "short.txt", "types.txt", "w.npy"]


@pytest.mark.slow
def test_activity_by_type(here, capsys):
    options = ("--duration", 60, "--discard", 20, "--num-trajectories", 2, "--noise", 0.5, "--scale", 0.5)
    assert main(["simulate", *MATRIX, *map(str, options)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith(("E ", "I "))]
    assert [row[:2] for row in rows] == [["E", "30"], ["I", "10"]]
    data = xr.open_zarr(here / "simulation.zarr").load()
    assert data.type.values.tolist() == TYPES and data.attrs["types"] == "types.txt"
    # The parts add up: variance in time and between neurons is the variance of all.
    of_all = data.variance_rate.values[:30].mean() + data.mean_rate.values[:30].var()
    assert float(rows[0][6]) + float(rows[0][7]) == pytest.approx(of_all, rel=0.1)


@pytest.mark.slow
def test_the_spectrum_of_types(here, capsys):
    assert main(["spectrum", *MATRIX]) == 0
    out = capsys.readouterr().out
    data = xr.open_zarr(here / "spectrum.zarr").load()
    assert set(data.prediction.values) == {"theory of types"}
    np.testing.assert_allclose(np.sort_complex(data.eigenvalues.values[0]), np.sort_complex(np.linalg.eigvals(J)))
    # Without feedback between weights the edge is the root of sum f g^2, here close to that of columns.
    ensemble = from_matrix(J, types=TYPES, beyond=None, symmetry=False)
    radius = np.sqrt(np.max(np.linalg.eigvals(np.asarray(ensemble.g) ** 2 * np.asarray(ensemble.fractions)).real))
    assert data.attrs["right_edge"] == pytest.approx(radius, rel=0.15)
    assert "types, degrees" in out and "symmetry" in out and "received" in out


@pytest.mark.slow
def test_the_mean_field_of_types(here, capsys):
    assert main(["meanfield", *MATRIX, "--scale", "2"]) == 0
    out = capsys.readouterr().out
    data = xr.open_zarr(here / "meanfield.zarr").load()
    assert data.type.values.tolist() == ["E", "I"] and data.attrs["phase"] == "chaotic" and data.attrs["converged"]
    assert data.variance_x.values == pytest.approx(data.autocovariance_x.values[:, 0])
    assert data.attrs["lyapunov"] > 0 and 0 < data.attrs["dimension_phi"] < 1 and 0 < data.attrs["onset"] < 1
    assert "chaotic" in out and "factor at which chaos begins" in out
    assert main(["meanfield", "--matrix", "w.npy", "--scale", ".2"]) == 0
    assert "no dimension: the network is silent" in capsys.readouterr().out
