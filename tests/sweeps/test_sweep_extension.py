"""A sweep that grows: old files stay byte for byte, new points are those of the larger sweep, stops lose nothing."""

import shutil

import numpy as np
import pytest
import xarray as xr

from jaxnets import sweeps
from jaxnets.sweeps import running
from jaxnets.sweeps.extension import added
from jaxnets.sweeps.running import require_same_sweep

SMALL = {"axes": {"x": [0.5, 0.7, 0.9]}, "static": {"scale": [1.0, 2.0]}, "realisations": 2, "batch": 4, "chunk": 4}
GROWN = {
    "values in between": {"axes": {"x": [0.4, 0.5, 0.6, 0.7, 0.9]}},
    "in another order": {"axes": {"x": [0.9, 0.8, 0.7, 0.5]}},
    "the end of an axis": {"axes": {"x": {"linspace": [0.5, 1.1, 4]}}},
    "static values": {"static": {"scale": [0.5, 1.0, 2.0]}},
    "realisations": {"realisations": 5},
    "all": {"axes": {"x": [0.5, 0.7, 0.8, 0.9]}, "static": {"scale": [1.0, 2.0, 3.0]}, "realisations": 3},
}


def sweep(**fields):
    return sweeps.Sweep("sweep_functions:noisy", **(SMALL | fields))


def run(folder, **fields):
    return sweeps.run(sweep(**fields), folder, progress=False)


def files_of(folder):
    return {path: path.read_bytes() for path in (folder / "chunks").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of the small sweep, which tests copy."""
    folder = tmp_path_factory.mktemp("small") / "sweep"
    run(folder)
    return folder


@pytest.fixture
def there(small, tmp_path):
    return shutil.copytree(small, tmp_path / "sweep")


@pytest.mark.parametrize("how", GROWN)
def test_what_is_there_stays_and_the_rest_is_that_of_the_larger_sweep(there, tmp_path, how):
    before = files_of(there)
    state = run(there, **GROWN[how])
    assert state.finished and state.points == sweep(**GROWN[how]).grid.total
    after = files_of(there)
    assert before.items() <= after.items() and len(after) > len(before)
    assert sweeps.verify(there).whole
    run(tmp_path / "at once", **GROWN[how])
    grown, at_once = sweeps.open(there), sweeps.open(tmp_path / "at once")
    xr.testing.assert_allclose(grown, at_once, rtol=1e-14)
    with xr.open_zarr(sweeps.assemble(there)) as data:
        xr.testing.assert_identical(data.load(), grown)


def test_twice_and_again(there):
    run(there, axes={"x": [0.5, 0.6, 0.7, 0.9]})
    run(there, axes={"x": [0.5, 0.6, 0.7, 0.9]}, realisations=3)
    files = files_of(there)
    assert run(there, axes={"x": [0.5, 0.6, 0.7, 0.9]}, realisations=3).finished
    assert files_of(there) == files
    data = sweeps.open(there)
    assert dict(data.sizes) == {"scale": 2, "x": 4, "realisation": 3, "draw_0": 3} and (data["status"] == 0).all()
    assert len(np.unique(data["draw"].isel(scale=0))) == 4 * 3 * 3  # no key twice


@pytest.mark.parametrize("most", [1, 200])
def test_blocks_of_the_assembled_data_take_from_all_parts(there, monkeypatch, most):
    run(there, **GROWN["all"])
    (there / "chunks/000/000003").unlink()
    monkeypatch.setattr(sweeps.results, "_BLOCK_BYTES", most)
    with xr.open_zarr(sweeps.assemble(there)) as data:
        xr.testing.assert_identical(data.load(), sweeps.open(there))


def test_stopped_before_and_while_it_grows(there, monkeypatch):
    """An unfinished sweep may grow, and a stop loses at most the chunk that was computed."""
    (there / "chunks/000/000001").unlink()
    compute = running.compute
    calls = []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(running, "compute", stopped)
    with pytest.raises(sweeps.Interrupted):
        run(there, realisations=3)
    state = sweeps.status(there)
    assert (state.points, state.done) == (18, 12)  # the missing chunk first
    with pytest.raises(ValueError, match="realisations: 3 there, 2 now; they may only become more"):
        run(there)
    assert run(there, realisations=3).done == 18


def test_failures_of_a_part_have_its_parameters(tmp_path):
    fields = {"realisations": 1, "batch": 2, "chunk": 2}
    first = sweeps.Sweep("sweep_functions:partly", axes={"x": [1.0, 2.0]}, **fields)
    sweeps.run(first, tmp_path / "a", progress=False)
    second = sweeps.Sweep("sweep_functions:partly", axes={"x": [1.0, 11.0, 2.0]}, **(fields | {"realisations": 2}))
    state = sweeps.run(second, tmp_path / "a", progress=False)
    assert [failure.parameters for failure in state.failures] == [{"x": 11.0, "realisation": r} for r in (0, 1)]
    assert sweeps.open(tmp_path / "a")["status"].values.tolist() == [[0, 0], [3, 3], [0, 0]]


def test_zipped_axes_grow_by_rows():
    zipped = lambda a, b: sweeps.Sweep("m:f", axes={"both": {"zip": {"a": a, "b": b}}, "c": {"linspace": [0, 1, 3]}})
    old, new = zipped([1, 2], [3, 4]), zipped([1, 2, 1], [3, 4, 4])
    (region,) = added(old, new)
    assert region["axes"] == {"both": {"zip": {"a": [1.0], "b": [4.0]}}, "c": {"linspace": [0.0, 1.0, 3]}}
    assert added(new, new) == []
    # However it is written, the same points are the same sweep.
    assert added(old, sweeps.Sweep("m:f", axes=dict(old.axes) | {"c": [0, 0.5, 1]})) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"axes": {"x": [0.5, 0.7]}}, r"axes.x: x=0.9 there, but not now; values may only be added"),
        ({"axes": {"y": [0.5]}}, r'axes: {"x": \[0.5, 0.7, 0.9\]} there, {"y"'),
        ({"static": {"scale": [1.0]}}, r"static.scale: scale=2 there, but not now"),
        ({"seed": 1}, r"seed: 0 there, 1 now"),
        ({"batch": 8}, r"parts\[0\].batches: \[4, 4\] there, \[8, 8\] now"),
    ],
)
def test_what_is_no_extension_is_refused(there, change, line):
    before = files_of(there)
    with pytest.raises(ValueError, match=f"holds another sweep:\n  {line}|`axes`: `y` is no parameter"):
        run(there, **change)
    assert files_of(there) == before
    if "batch" not in change and "y" not in change.get("axes", {}):  # the command asks before it says how far it is
        with pytest.raises(ValueError, match=f"holds another sweep:\n  {line}"):
            require_same_sweep(sweep(**change), there)
    require_same_sweep(sweep(realisations=9), there)


@pytest.mark.slow
def test_two_workers_extend_what_one_process_began(there):
    run(there, realisations=3)
    here = sweeps.open(there)
    sweeps.run(sweep(realisations=4), there, workers=2, progress=False)
    both = sweeps.open(there)
    assert (both["status"] == 0).all()
    xr.testing.assert_identical(both.isel(realisation=slice(3)), here)
