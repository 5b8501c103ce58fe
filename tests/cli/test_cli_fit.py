"""`jaxnets fit`: what it writes for a recording in a file, and that bad input writes nothing."""

import os

import numpy as np
import pytest
import xarray as xr

from jaxnets.cli import main
from jaxnets.cli.inputs import InputError, read_recording, sampling_interval


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["fit", *map(str, args)])


@pytest.mark.slow
def test_a_simulated_network(here, capsys):
    assert command() == 0
    assert sorted(os.listdir(here)) == ["fit.png", "fit.zarr"]
    data = xr.open_zarr(here / "fit.zarr").load()
    assert abs(data.g - 4) < 4 * data.g_error and abs(data.inverse_rank - 2) < 4 * data.inverse_rank_error
    printed = {line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if line}
    assert float(printed["strength g"][0]) == pytest.approx(data.g.item(), rel=1e-3)
    np.save(here / "x.npy", np.random.default_rng(0).standard_normal((400, 12)))
    assert command("x.npy", "--interval", 0.1) == 2 and "sampled within" in capsys.readouterr().err


def test_tables_with_and_without_names(here):
    (here / "a.csv").write_text("time, left,right\n0,1,2\n1,,4\n2,5,6\n")
    path = here / "a.csv"
    np.testing.assert_array_equal(read_recording(path, ()).rates, [[1, 2], [np.nan, 4], [5, 6]])
    np.testing.assert_array_equal(read_recording(path, ("right", "left")).rates, [[2, 1], [4, np.nan], [6, 5]])
    with pytest.raises(InputError, match="no unit middle; it has left, right"):
        read_recording(path, ("middle",))
    (here / "b.csv").write_text("1 2\n3 4\n")
    np.testing.assert_array_equal(read_recording(here / "b.csv", ("1",)).rates, [[2], [4]])
    np.save(here / "c.npy", np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(read_recording(here / "c.npy", ("0",)).rates, [[0], [2], [4]])


def test_transposed_and_named(here, capsys):
    (here / "a.csv").write_text(",0.0,0.1,0.2\nleft,1,2,3\nright,4,5,6\n")
    np.testing.assert_array_equal(read_recording(here / "a.csv", ("right",), transpose=True).rates, [[4], [5], [6]])
    rates = np.arange(6.0).reshape(3, 2)
    np.savez(here / "b.npz", rates=rates, states=rates + 1, units=["u", "v"])
    np.testing.assert_array_equal(read_recording(here / "b.npz", ("v",), name="states").rates, rates[:, 1:] + 1)
    np.savez(here / "c.npz", rates=rates.T, units=["u", "v"])
    np.testing.assert_array_equal(read_recording(here / "c.npz", ("v",), transpose=True).rates, rates[:, 1:])
    with pytest.raises(InputError, match="say which by `--name`"):
        read_recording(here / "b.npz", ())


def test_the_step_of_a_column_of_times(here):
    """In numbers, dates or nanoseconds, where the file has times; numbers 0, 1, 2, ... only count them."""
    tables = {
        "numbers": ("time,a,b", [0.1 * k for k in range(5)], 0.1),
        "dates": ("time,a,b", [f"2026-03-01 09:00:00.{2 * k}5" for k in range(5)], 0.2),
        "nanoseconds": ("time,a,b", [1_700_000_000_000_000_000 + 10_000_000 * k for k in range(5)], 1e7),
        "frames": ("frame,a,b", range(5), None),
        "none": ("a,b", None, None),
    }
    for name, (header, first, step) in tables.items():
        cells = [[] if first is None else [str(t)] for t in (range(5) if first is None else first)]
        rows = [",".join([*cell, "1.5", "-2"]) for cell in cells]
        (here / "x.csv").write_text("\n".join([header, *rows]))
        read = read_recording(here / "x.csv", ())
        np.testing.assert_array_equal(read.rates, np.tile([1.5, -2], (5, 1)), name)
        if step is None:
            assert sampling_interval(0.5, read.times) == 0.5
            with pytest.raises(InputError, match="`--interval` must be given"):
                sampling_interval(None, read.times)
        else:
            np.testing.assert_allclose(sampling_interval(None, read.times), step)
            assert sampling_interval(1e-6 * step, read.times) == 1e-6 * step  # in another unit
            with pytest.raises(
                InputError, match=r"`--interval` is .* but times in the file are .* leave the option out"
            ):
                sampling_interval(2 * step, read.times)
    with pytest.raises(InputError, match="evenly spaced, got steps from 0.1 to 0.3"):
        sampling_interval(None, ("0.1", "0.2", "0.5"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("missing.npy", "--interval", 1), "missing.npy"),
        (("x.txt.gz", "--interval", 1), "the table is empty"),
        (("broken.csv", "--interval", 1), "row 2"),
        (("gaps.csv", "--interval", 1), "leave these units out"),
        (("gaps.csv",), "--interval"),
        (("gaps.csv", "--interval", 1, "--columns", "z"), "no unit z"),
        (("--columns", "z"), "--columns"),
        (("--transpose",), "--transpose"),
        (("--interval", 1), "--interval"),
        (("wide.npy", "--interval", 1), "or try `--transpose`"),
        (("--transfer", "Tan()"), "--transfer"),
        (("--out", "gaps.csv"), "--out"),
    ],
)
def test_bad_input(here, capsys, args, says):
    (here / "broken.csv").write_text("1,2\n3,x\n")
    (here / "x.txt.gz").write_text("")
    np.save(here / "wide.npy", np.random.default_rng(0).standard_normal((12, 300)))
    rows = np.random.default_rng(0).standard_normal((300, 12)).astype(str)
    rows[5, 3] = ""
    (here / "gaps.csv").write_text("\n".join(",".join(row) for row in rows))
    before = sorted(os.listdir(here))
    assert command(*args) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert says in last and last.startswith("jaxnets: error: ")
    assert sorted(os.listdir(here)) == before
