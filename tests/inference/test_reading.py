"""Recordings in files: every format gives the same trials, what was read is said, and bad input is named."""

import datetime
import sys

import numpy as np
import pytest
import scipy.io

import jaxnets as jn
from jaxnets.inference import bin_spikes, read_recording

RNG = np.random.default_rng(0)
SPIKES = [np.sort(RNG.uniform(0, 4, num)) for num in (40, 90, 15)]
COUNTS = bin_spikes(SPIKES, 0.1, start=0.0, stop=4.0)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_counts_are_those_of_a_histogram():
    edges = np.arange(41) * 0.1
    np.testing.assert_array_equal(COUNTS, np.stack([np.histogram(part, edges)[0] for part in SPIKES], 1))
    assert bin_spikes(SPIKES, 0.1).sum() == sum(map(len, SPIKES))
    assert bin_spikes([[0.0, 0.3, 0.15], []], 0.1, start=0, stop=0.3).tolist() == [[1, 0], [1, 0], [0, 0]]


def test_smoothing_keeps_constants_and_follows_the_kernel():
    times = np.arange(0.05, 10, 0.1)
    np.testing.assert_allclose(bin_spikes([times], 0.1, start=0, stop=10, smoothing=0.3), 1, rtol=1e-12)
    one = bin_spikes([[5.05]], 0.1, start=0, stop=10, smoothing=0.3)[:, 0]
    lag = np.arange(100) - 50
    np.testing.assert_allclose(one, np.exp(-(lag**2) / 18) / np.sqrt(18 * np.pi), atol=2e-5)


@pytest.mark.parametrize(
    ("spikes", "options", "says"),
    [
        ([], {}, "`spikes` must be a list"),
        (np.ones((3, 4)), {}, "`spikes` must be a list"),
        ([[], []], {}, "must have a spike"),
        ([[1.0, np.nan]], {}, "finite times"),
        ([[1.0]], {"bin_width": 0.0}, "`bin_width`"),
        ([[1.0]], {"smoothing": -1.0}, "`smoothing`"),
        ([[1.0]], {"start": 1.0, "stop": 1.05}, "`stop` must be"),
    ],
)
def test_bad_spikes(spikes, options, says):
    with pytest.raises(ValueError, match=says):
        bin_spikes(spikes, **({"bin_width": 0.1} | options))


def write_spikes(name: str) -> None:
    times, units = np.concatenate(SPIKES), np.repeat(np.arange(3), list(map(len, SPIKES)))
    match name:
        case "lists.npz":
            np.savez(name, a=SPIKES[0], b=SPIKES[1], c=SPIKES[2])
        case "columns.npz":
            np.savez(name, spike_times=times, unit_id=units)
        case "cell.mat":
            cells = np.empty(3, object)
            cells[:] = SPIKES
            scipy.io.savemat(name, {"spikes": cells, "rate": 3.0})
        case "time_unit.csv":
            np.savetxt(name, np.stack([times, units], 1), "%.9f,%d", header="time,unit", comments="")
        case "unit_time.csv":
            np.savetxt(name, np.stack([units, times], 1), "%d,%.9f", header="cluster,seconds", comments="")
        case "bare.npy":
            np.save(name, np.stack([times, units], 1))


@pytest.mark.parametrize("name", ["lists.npz", "columns.npz", "cell.mat", "time_unit.csv", "unit_time.csv", "bare.npy"])
def test_spike_times_of_every_format(here, name):
    write_spikes(name)
    found = read_recording(name, bin_width=0.1)
    np.testing.assert_array_equal(found.data[0], bin_spikes(SPIKES, 0.1))
    assert found.kind == "counts" and found.interval == 0.1 and found.inputs is None
    assert "spike times of 3 units" in repr(found) and "counts: whole numbers" in repr(found)
    if name.endswith(".csv"):
        with pytest.raises(ValueError, match="`bin_width` must be given"):
            read_recording(name)
    early = read_recording(name, bin_width=0.1, start=-1.0)
    np.testing.assert_array_equal(early.data[0], bin_spikes(SPIKES, 0.1, start=-1.0))
    smooth = read_recording(name, bin_width=0.1, smoothing=0.2)
    assert smooth.kind == "values" and smooth.data[0].std() < found.data[0].std()


def test_activity_of_every_format(here):
    x = RNG.standard_normal((2, 30, 4)).cumsum(1)
    np.save("a.npy", x)
    np.savez("b.npz", rates=x, other=np.ones(7), units=["p", "q", "r", "s"])
    scipy.io.savemat("c.mat", {"data": {"rates": x[0]}})
    rows = [",".join(map(str, [0.5 * k, *row])) for k, row in enumerate(x[0].tolist())]
    (here / "d.csv").write_text("\n".join(["time,p,q,r,s", *rows]))
    for found in (read_recording("a.npy", interval=0.5), read_recording("b.npz", interval=0.5)):
        np.testing.assert_array_equal(np.stack(found.data), x)
        assert found.kind == "values" and "2 of 30 steps" in repr(found)
    assert read_recording("b.npz", interval=0.5).labels == ("p", "q", "r", "s")
    np.testing.assert_array_equal(read_recording("c.mat", interval=0.5).data[0], x[0])
    table = read_recording("d.csv", columns=("s", "p"))
    np.testing.assert_array_equal(table.data[0], x[0][:, [3, 0]])
    assert table.interval == 0.5 and table.labels == ("s", "p")
    np.save("e.npy", np.swapaxes(x, 1, 2))
    turned = read_recording("e.npy", interval=0.5, transpose=True, trial_length=4.0)
    assert [len(trial) for trial in turned.data] == [8, 8, 8, 6] * 2
    np.testing.assert_array_equal(np.concatenate(turned.data), x.reshape(-1, 4))


def test_inputs_stand_on_the_steps(here):
    """A column, an array, and a table of times in other steps; means over each step."""
    x, u = RNG.standard_normal((60, 3)).cumsum(0), np.sin(0.1 * np.arange(60))
    rows = [",".join(map(str, [0.1 * k, *x[k], u[k]])) for k in range(60)]
    (here / "a.csv").write_text("\n".join(["time,a,b,c,u", *rows]))
    found = read_recording("a.csv", inputs=("u",), trial_length=2.0)
    assert found.labels == ("a", "b", "c") and found.input_labels == ("u",)
    np.testing.assert_allclose(np.concatenate(found.inputs)[:, 0], u)
    assert [part.shape for part in found.inputs] == [(20, 1)] * 3
    np.savez("b.npz", x=np.stack([x, x + 1]), u=u)
    for part in read_recording("b.npz", interval=0.1, name="x", inputs=("u",)).inputs:
        np.testing.assert_array_equal(part[:, 0], u)
    write_spikes("lists.npz")
    times = np.arange(-1, 6, 0.01)
    np.savetxt("u.csv", np.stack([times, 3 * times], 1), "%.9f,%.9f", header="time,speed", comments="")
    binned = read_recording("lists.npz", bin_width=0.1, inputs_file="u.csv")
    first = min(part[0] for part in SPIKES)
    expected = 3 * (first + 0.1 * (np.arange(len(binned.data[0])) + 0.5))
    np.testing.assert_allclose(binned.inputs[0][:, 0], expected, atol=0.02)
    np.savetxt("short.csv", np.stack([times[:50], times[:50]], 1), "%.9f,%.9f", header="time,speed", comments="")
    with pytest.raises(ValueError, match="must reach over all bins"):
        read_recording("lists.npz", bin_width=0.1, inputs_file="short.csv")


def test_sessions_leave_blocks_of_nan(here):
    x, y = (RNG.standard_normal((40, num)).cumsum(0) for num in (2, 3))
    np.savez("one.npz", rates=x, units=["p", "q"])
    np.savez("two.npz", rates=y, units=["q", "r", "s"])
    found = read_recording(["one.npz", "two.npz"], interval=0.1)
    assert found.labels == ("one/p", "one/q", "two/q", "two/r", "two/s") and "missing" in repr(found)
    np.testing.assert_array_equal(found.data[0][:, :2], x)
    assert np.isnan(found.data[0][:, 2:]).all() and np.isnan(found.data[1][:, :2]).all()
    shared = read_recording(["one.npz", "two.npz"], interval=0.1, same_units=True)
    assert shared.labels == ("p", "q", "r", "s")
    np.testing.assert_array_equal(shared.data[1][:, 1:], y)


@pytest.mark.parametrize(
    ("write", "options", "says"),
    [
        (lambda: np.save("x.npy", RNG.standard_normal((4, 300)).cumsum(1)), {}, "time before units.*`transpose`"),
        (lambda: np.save("x.npy", np.array([[0.5, 1], [1, 2], [2, 0]])), {"kind": "counts"}, "counts.*0.5 in trial 0"),
        (lambda: np.save("x.npy", np.array([[np.nan, 1], [np.nan, 2], [np.nan, 0]])), {}, "only NaN of 0: take others"),
        (lambda: np.save("x.npy", np.ones((9, 2))), {}, "a unit that changes"),
        (lambda: np.save("x.npy", np.array([[np.inf, 1], [1, 2], [2, 0]])), {}, "must be finite"),
        (lambda: np.save("x.npy", np.ones(9)), {}, "time x units"),
        (lambda: np.save("x.npy", np.eye(9)), {"interval": None}, "`interval` must be given"),
        (lambda: np.save("x.npy", np.eye(9)), {"interval": -1.0}, "`interval`"),
        (lambda: np.save("x.npy", np.eye(9)), {"start": 1.0}, "`start` is that of bins"),
        (lambda: np.save("x.npy", np.eye(9)), {"kind": "spikes"}, "`kind` must be"),
        (lambda: np.save("x.npy", np.eye(9)), {"trial_length": 2.0}, "`trial_length` must be 6 steps"),
        (lambda: np.save("x.npy", np.eye(9) / 3), {"smoothing": 2.0}, "`smoothing` is for counts"),
        (lambda: np.save("x.npy", np.eye(9)), {"columns": ("z",)}, "no unit z"),
        (lambda: np.save("x.npy", np.eye(9)), {"inputs": ("u",)}, "no array 'u'"),
        (lambda: np.save("x.npy", np.eye(9)), {"bin_width": 0.1, "interval": None}, "spike times"),
        (lambda: None, {}, "No such file"),
    ],
)
def test_bad_files(here, write, options, says):
    write()
    with pytest.raises(ValueError, match=says) as raised:
        read_recording("x.npy", **({"interval": 1.0} | options))
    assert "\n" not in str(raised.value)


# --- NWB


def write_layout(path, h5py) -> None:
    """What pynwb writes, with h5py alone."""
    with h5py.File(path, "w") as file:
        units = file.create_group("units")
        units["spike_times"] = np.concatenate(SPIKES)
        units["spike_times_index"] = np.cumsum(list(map(len, SPIKES)))
        units["id"] = np.array([11, 5, 7])
        trials = file.create_group("intervals/trials")
        trials["start_time"], trials["stop_time"] = [0.0, 2.0], [1.5, 4.0]
        speed = file.create_group("processing/behavior/speed")
        speed["data"] = np.arange(401.0)
        speed["data"].attrs["conversion"] = 0.01
        speed["starting_time"] = 0.0
        speed["starting_time"].attrs["rate"] = 100.0


def write_pynwb(path, pynwb) -> None:
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(session_description="made up", identifier="x", session_start_time=start)
    for name, part in zip((11, 5, 7), SPIKES, strict=True):
        file.add_unit(spike_times=part, id=name)
    for begin, end in ((0.0, 1.5), (2.0, 4.0)):
        file.add_trial(start_time=begin, stop_time=end)
    module = file.create_processing_module("behavior", "made up")
    speed = {"name": "speed", "data": np.arange(401.0), "unit": "m/s", "conversion": 0.01}
    module.add(pynwb.TimeSeries(**speed, starting_time=0.0, rate=100.0))
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("writer", ["h5py", "pynwb"])
def test_nwb(here, writer):
    write = {"h5py": write_layout, "pynwb": write_pynwb}[writer]
    pytest.importorskip("h5py")
    write("a.nwb", pytest.importorskip(writer))
    found = read_recording("a.nwb", bin_width=0.1, inputs=("speed",))
    assert found.labels == ("11", "5", "7") and found.input_labels == ("speed",)
    for trial, (begin, end) in zip(found.data, ((0.0, 1.5), (2.0, 4.0)), strict=True):
        np.testing.assert_array_equal(trial, bin_spikes(SPIKES, 0.1, start=begin, stop=end))
    np.testing.assert_allclose(found.inputs[1][:, 0], 2.045 + 0.1 * np.arange(20))
    assert "table of trials" in repr(found) and found.kind == "counts"
    with pytest.raises(ValueError, match="`bin_width` must be given"):
        read_recording("a.nwb")
    with pytest.raises(ValueError, match="has no series 'run'; it holds processing/behavior/speed"):
        read_recording("a.nwb", bin_width=0.1, inputs=("run",))


def test_nwb_without_h5py(here, monkeypatch):
    (here / "a.nwb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxnets\[nwb\]'"):
        read_recording("a.nwb", bin_width=0.1)


@pytest.mark.slow
def test_sessions_with_other_units_find_the_same_dynamics(here):
    """Two halves of the units in two sessions: the fit stitches them, and predicts either."""
    import jax

    rng, turn = np.random.default_rng(1), np.array([[0.54, -0.84], [0.84, 0.54]])
    m = rng.standard_normal((24, 2))
    teacher = jn.inference.StochasticLowRank(m, 0.3 * turn @ m.T / 24, 0.9, 0.1, observation=jn.inference.Gaussian(0.3))
    y = np.asarray(teacher.sample(16, 80, key=jax.random.key(0)).recording)
    np.savez("one.npz", y=y[:8, :, :16])
    np.savez("two.npz", y=y[8:, :, 8:])
    found = read_recording(["one.npz", "two.npz"], interval=1.0)
    fit = jn.inference.fit_low_rank(
        found.data, 2, num_updates=300, num_particles=16, held_out=[3, 12], key=jax.random.key(1)
    )
    assert float(fit.held_out_prediction) > 0.6
