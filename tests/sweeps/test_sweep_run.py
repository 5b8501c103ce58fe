"""What a sweep computes: the same numbers as a loop, bit for bit however it is cut, and failures as data."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import sweep_functions
import xarray as xr

from jaxnets import sweeps
from jaxnets.sweeps import tasks
from jaxnets.sweeps.computation import DONE, FAILED, MISSING, NOT_CONVERGED, NOT_FINITE, computation
from jaxnets.sweeps.specification import to_text

GRID = {"axes": {"x": {"linspace": [0.0, 1.0, 7]}}, "realisations": 5}


def run(output, function="noisy", **fields):
    sweep = sweeps.Sweep(f"sweep_functions:{function}", **(GRID | fields))
    return sweeps.run(sweep, output, progress=False)


def test_points_are_those_of_a_loop(tmp_path):
    run(tmp_path / "a", static={"scale": [1.0, 2.0]}, axes={"x": [0.5, 0.7]}, realisations=3, seed=4)
    data = sweeps.open(tmp_path / "a")
    assert dict(data.sizes) == {"scale": 2, "x": 2, "realisation": 3, "draw_0": 3}
    points = [(scale, x, r) for scale in (1.0, 2.0) for x in (0.5, 0.7) for r in range(3)]
    noisy = jax.jit(sweep_functions.noisy)
    for scale, x, r in points:
        expected = noisy(jax.numpy.asarray(x), sweep_functions.key_of(4, r, scale=scale, x=x), scale)
        point = data.sel(scale=scale, x=x).isel(realisation=r)
        for name, value in expected.items():
            np.testing.assert_allclose(point[name], value, rtol=1e-14, atol=1e-15)
    assert (data["status"] == DONE).all()


@pytest.mark.parametrize("function", ["noisy", "matrix"])
def test_bits_do_not_depend_on_chunks(tmp_path, function):
    """Files smaller than a call, as large, and larger, of numbers that do not divide the points."""
    static = {"static": {"n": [8, 9]}, "axes": {"gain": [1.0, 1.1, 1.2]}} if function == "matrix" else {}
    for chunk in (1, 4, 16):
        run(tmp_path / str(chunk), function, batch=4, chunk=chunk, **static)
        xr.testing.assert_identical(sweeps.open(tmp_path / str(chunk)), sweeps.open(tmp_path / "1"))
        assert sweeps.verify(tmp_path / str(chunk)).whole


def test_bits_do_not_depend_on_order_or_what_was_there(tmp_path):
    run(tmp_path / "a", batch=8, chunk=2)
    whole = sweeps.open(tmp_path / "a")
    for number in (3, 4, 11, 17):
        (tmp_path / "a/chunks/000" / f"{number:06d}").unlink()
    part = sweeps.open(tmp_path / "a")
    assert int((part["status"] == MISSING).sum()) == 2 + 2 + 2 + 1
    np.testing.assert_array_equal(np.isnan(part["sum"]), part["status"] == MISSING)
    state = sweeps.status(tmp_path / "a")
    assert (state.missing, state.done, state.finished) == (7, 28, False)
    assert sweeps.verify(tmp_path / "a").missing == (3, 4, 11, 17)
    run(tmp_path / "a", batch=8, chunk=2)
    xr.testing.assert_identical(sweeps.open(tmp_path / "a"), whole)


def test_nothing_is_computed_twice(tmp_path):
    run(tmp_path / "a")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "a/chunks").rglob("0*") if path.is_file()}
    state = run(tmp_path / "a")
    assert state.finished and state.done == 35
    assert files == {path: path.stat().st_mtime_ns for path in files}


# --- points that fail


def test_points_that_fail_are_recorded_and_stop_nothing(tmp_path):
    values = [1.0, 3.0, 4.0, 6.0, 11.0, 12.0, 2.0]
    state = run(tmp_path / "a", "partly", axes={"x": values}, realisations=2, batch=8, chunk=8)
    data = sweeps.open(tmp_path / "a")
    expected = [DONE, NOT_FINITE, DONE, NOT_CONVERGED, FAILED, FAILED, DONE]
    np.testing.assert_array_equal(data["status"], np.repeat(np.array(expected)[:, None], 2, 1))
    np.testing.assert_array_equal(np.isnan(data["value"]).all("realisation"), [0, 1, 0, 0, 1, 1, 0])
    assert (state.done, state.not_finite, state.not_converged, state.failed, state.missing) == (6, 2, 2, 4, 0)
    assert state.failures[0] == ({"x": 11.0, "realisation": 0}, "EquinoxRuntimeError: x is too large")
    assert [failure.parameters["x"] for failure in state.failures] == [11.0, 11.0, 12.0, 12.0]
    assert len(sweeps.status(tmp_path / "a", listed=3).failures) == 3
    # Those beside a failing point are, to the bit, what they are without it.
    others = sweeps.Sweep("sweep_functions:partly", axes={"x": [*values[:4], 1.25, 1.5, 2.0]}, realisations=2, batch=8)
    sweeps.run(others, tmp_path / "b", progress=False)
    kept = np.array(expected) != FAILED
    np.testing.assert_array_equal(data["value"].values[kept], sweeps.open(tmp_path / "b")["value"].values[kept])


def test_retry_computes_what_failed_again(tmp_path, monkeypatch):
    fields = {"axes": {"x": [1.0, 11.0]}, "realisations": 1, "chunk": 1, "batch": 1}
    run(tmp_path / "a", "partly", **fields)
    monkeypatch.setattr(sweep_functions.eqx, "error_if", lambda x, *_: x)
    computation.cache_clear()
    tasks._opened.cache_clear()
    sweep = sweeps.Sweep("sweep_functions:partly", **fields)
    assert sweeps.run(sweep, tmp_path / "a", progress=False).failed == 1
    state = sweeps.run(sweep, tmp_path / "a", retry=True, progress=False)
    assert (state.failed, state.not_converged, state.done) == (0, 1, 1)


def test_a_call_that_runs_out_of_memory_is_halved(tmp_path, monkeypatch):
    """The compiled program of the full width refuses; points and their keys stay what they are."""
    run(tmp_path / "a", batch=8, chunk=8)
    sweep = sweeps.Sweep("sweep_functions:noisy", **GRID)
    found, grid = computation(to_text(sweep)), sweep.grid
    program = found._program

    def small(grid, combination, width):
        if width <= 2:
            return program(grid, combination, width)

        def refuse(*_):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes")

        return refuse

    monkeypatch.setattr(found, "_program", small)
    outcomes = list(found.evaluate(grid, 0, 8, 15, 8))
    assert [outcome.width for outcome in outcomes] == [2] * 4
    values = np.concatenate([outcome.values["sum"] for outcome in outcomes])
    np.testing.assert_allclose(values, sweeps.open(tmp_path / "a")["sum"].values.ravel()[8:15], rtol=1e-14)
    monkeypatch.setattr(found, "_program", lambda *_: small(grid, 0, 4))
    assert list(found.evaluate(grid, 0, 0, 1, 1))[0].errors == {
        0: "RuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes"
    }


# --- the data set


def test_results_of_different_lengths_and_zipped_axes(tmp_path):
    sweep = sweeps.Sweep(
        "sweep_functions:product",
        axes={"pair": {"zip": {"a": [1.0, 2.0], "b": [3.0, 4.0]}}},
        static={"n": [1, 3], "word": ["x", "yy"]},
    )
    sweeps.run(sweep, tmp_path / "a", progress=False)
    data = sweeps.open(tmp_path / "a")
    assert dict(data.sizes) == {"n": 2, "word": 2, "pair": 2, "value_0": 3}
    np.testing.assert_array_equal(data["value"].sel(n=3, word="yy"), [[5, 8, 11], [10, 18, 26]])
    np.testing.assert_array_equal(data["value"].sel(n=1, word="x").isel(pair=1), [9, np.nan, np.nan])
    assert data["b"].dims == ("pair",)


@pytest.mark.parametrize("bytes", [1, 200, 2**24])
def test_assembled_data_are_those_of_the_chunks(tmp_path, monkeypatch, bytes):
    """Of blocks smaller and larger than chunks, whole and with a chunk missing, and written twice."""
    fields = {"axes": {"x": [0.1, 0.2, 0.3]}, "static": {"scale": [1.0, 2.0]}, "batch": 4, "chunk": 4}
    monkeypatch.setattr(sweeps.results, "_BLOCK_BYTES", bytes)
    run(tmp_path / "a", **fields)
    (tmp_path / "a/chunks/000/000002").unlink()
    with xr.open_zarr(sweeps.assemble(tmp_path / "a")) as data:
        xr.testing.assert_identical(data.load(), sweeps.open(tmp_path / "a"))
    run(tmp_path / "a", **fields)
    with xr.open_zarr(sweeps.assemble(tmp_path / "a")) as data:
        xr.testing.assert_identical(data.load(), sweeps.open(tmp_path / "a"))
        assert (data["status"] == DONE).all()
    assert sweeps.verify(tmp_path / "a").foreign == ()


def test_one_point_without_axes(tmp_path):
    state = sweeps.run(sweeps.Sweep("sweep_functions:constant"), tmp_path / "a", progress=False)
    assert state.done == state.points == 1
    np.testing.assert_array_equal(sweeps.open(tmp_path / "a")["value"], [0, 1, 2])
    with xr.open_zarr(sweeps.assemble(tmp_path / "a")) as data:
        xr.testing.assert_identical(data.load(), sweeps.open(tmp_path / "a"))


def test_several_devices_give_the_bits_of_one(tmp_path):
    fields = dict(axes={"x": np.linspace(0, 12, 25).tolist()}, batch=4, chunk=16)
    script = f"""
import jax
from jaxnets import sweeps
from jaxnets.sweeps import tasks
assert len(jax.local_devices()) == 2
sweeps.run(sweeps.Sweep("sweep_functions:partly", realisations=5, **{fields}), "two", progress=False)
"""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = sweep_functions.environment(XLA_FLAGS=flags)
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=True)
    run(tmp_path / "one", "partly", **fields)
    one, two = (sweeps.open(tmp_path / name) for name in ("one", "two"))
    xr.testing.assert_identical(one, two)
    assert int((one["status"] == FAILED).sum()) == 4 * 5


def test_a_cluster_that_is_running_gives_the_same_files(tmp_path):
    """Two workers of two threads in this process: what a cluster is asked for, but for the machines."""
    from distributed import LocalCluster

    fields = GRID | {"batch": 4, "chunk": 4}
    with LocalCluster(2, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with pytest.raises(ValueError, match="`axes`: `y` is no parameter"):
            sweeps.run(sweeps.Sweep("sweep_functions:noisy", axes={"y": [1.0]}), tmp_path / "c", scheduler=address)
        assert not (tmp_path / "c").exists()
        sweep = sweeps.Sweep("sweep_functions:noisy", **fields)
        assert sweeps.run(sweep, tmp_path / "a", scheduler=address, progress=False).done == 35
    sweeps.run(sweep, tmp_path / "b", progress=False)
    for path in (tmp_path / "b/chunks/000").iterdir():
        assert path.read_bytes() == (tmp_path / "a/chunks/000" / path.name).read_bytes()
