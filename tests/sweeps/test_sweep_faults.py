"""Real processes that are killed, stopped, crowded out and lied to: what they leave is whole, and goes on bit for bit.

The sweep takes about 2 s of waiting. Whatever happens to it, its files end as those of an undisturbed run, byte for
byte.
"""

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import sweep_functions

from jaxnets import sweeps
from jaxnets.sweeps import store

SWEEP = sweeps.Sweep(**sweep_functions.LONG)
CHUNKS = 64


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert sweeps.run(SWEEP, folder, progress=False).done == 256
    files = files_of(folder)
    assert len(files) == CHUNKS + 1
    return files


def files_of(folder: Path) -> dict[str, bytes]:
    names = [folder / "manifest.json", *(path for path in (folder / "chunks").rglob("*") if path.is_file())]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def assert_goes_on(folder: Path, undisturbed: dict[str, bytes]) -> None:
    """Only whole chunks are there; the next run makes the rest, and leaves nothing else."""
    before = sweeps.verify(folder)
    assert before.damaged == before.stale == before.foreign == ()
    assert sweeps.run(SWEEP, folder, progress=False).finished
    assert files_of(folder) == undisturbed
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "lock", "chunks"}


@contextlib.contextmanager
def job(folder: Path, *workers: int):
    """A process that runs the sweep, in a group of its own."""
    process = subprocess.Popen(
        [sys.executable, sweep_functions.__file__, str(folder), *map(str, workers)],
        env=sweep_functions.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def chunks_in(folder: Path) -> int:
    return sum(1 for path in (folder / "chunks").rglob("0*") if path.is_file())


def wait_for(folder: Path, chunks: int, process: subprocess.Popen | None = None) -> None:
    until = time.monotonic() + 120
    while chunks_in(folder) < chunks:
        assert time.monotonic() < until and (process is None or process.poll() is None), "the job did not get there"
        time.sleep(0.002)


# --- killed


def kill_at(folder: Path, chunks: int, delay: float, *workers: int) -> None:
    with job(folder, *workers) as process:
        wait_for(folder, chunks, process)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)  # its workers end by themselves
        process.wait()


def test_killed_jobs_go_on(tmp_path, undisturbed):
    """The same output is killed twice, at moments of its writing that are drawn anew each time."""
    random = np.random.default_rng()
    for moment in sorted(random.integers(1, CHUNKS // 2, 2)):
        kill_at(tmp_path / "a", int(moment), random.uniform(0, 0.03))
        assert chunks_in(tmp_path / "a") < CHUNKS
    assert_goes_on(tmp_path / "a", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_killed_jobs_go_on_at_twenty_moments(tmp_path, undisturbed, moment):
    """Every other one with two workers."""
    random = np.random.default_rng()
    workers = (2,) if moment % 2 else ()
    # Before its first chunk a job may have no manifest yet, and is then no sweep that could be verified.
    kill_at(tmp_path / "a", int(random.integers(1, CHUNKS - 4)), random.uniform(0, 0.03), *workers)
    # Workers notice that the job has died, but not at once; what they still write is whole and the same.
    assert_goes_on(tmp_path / "a", undisturbed)


@pytest.mark.parametrize(
    "moments", [pytest.param((8,), marks=pytest.mark.slow), pytest.param((2, 12, 24, 40), marks=pytest.mark.slow)]
)
def test_killed_workers_are_replaced(tmp_path, undisturbed, moments):
    killed = []

    def kill():
        for moment in moments:
            wait_for(tmp_path / "a", moment)
            workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
            killed.append(workers[len(killed) % len(workers)])
            killed[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    state = sweeps.run(SWEEP, tmp_path / "a", workers=2, progress=False)
    killer.join()
    assert len(killed) == len(moments)
    assert (state.done, state.failed) == (256, 0)
    assert files_of(tmp_path / "a") == undisturbed


@pytest.mark.slow
def test_a_point_that_kills_its_workers_is_recorded(tmp_path):
    """And only its chunk; those that were waiting beside it are computed."""
    sweep = sweeps.Sweep("sweep_functions:deadly", axes={"x": {"linspace": [0, 15, 16]}}, batch=2, chunk=2)
    state = sweeps.run(sweep, tmp_path / "a", workers=1, progress=False)
    assert (state.done, state.failed) == (14, 2)
    assert {failure.parameters["x"] for failure in state.failures} == {4.0, 5.0}
    assert all("died" in failure.reason for failure in state.failures)


# --- stopped


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, ()),
        pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, (2,), marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, (2,), marks=pytest.mark.slow),
    ],
)
def test_stopped_jobs_say_how_to_go_on(tmp_path, undisturbed, number, workers):
    """A signal to the whole group, as Ctrl-C sends."""
    with job(tmp_path / "a", *workers) as process:
        wait_for(tmp_path / "a", 5, process)
        os.killpg(process.pid, number)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "stopped" in out and "run the same sweep again to go on" in out
    assert "Traceback" not in error, error
    assert not [path for path in (tmp_path / "a").rglob("*.tmp")]
    assert_goes_on(tmp_path / "a", undisturbed)


# --- crowded out


def test_a_full_disk_stops_the_run_and_keeps_what_is_whole(tmp_path):
    """No file may pass 64 kB: the small arrays fit, the large ones do not."""
    sweep = sweeps.Sweep(
        "sweep_functions:product", axes={"a": {"linspace": [0, 1, 8]}}, static={"n": [10, 10_000]}, batch=4, chunk=4
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OSError, match="no space left.* stays: make room, and run the same sweep again") as error:
            sweeps.run(sweep, tmp_path / "a", progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert sweeps.verify(tmp_path / "a") == sweeps.Verification((), (), (2, 3), ())
    assert sweeps.run(sweep, tmp_path / "a", progress=False).finished
    sweeps.run(sweep, tmp_path / "b", progress=False)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_two_runs_of_one_output(tmp_path, undisturbed):
    """The second refuses in one line, while the first goes on and can be looked at."""
    with job(tmp_path / "a") as process:
        wait_for(tmp_path / "a", 2, process)
        with pytest.raises(BlockingIOError, match=f"in use by another run .process {process.pid} on "):
            sweeps.run(SWEEP, tmp_path / "a", progress=False)
        state = sweeps.status(tmp_path / "a")
        assert state.running and state.missing > 0 and state.rate > 0 and 0 < state.seconds_left < 100
        assert int((sweeps.open(tmp_path / "a")["status"] == 0).sum()) >= state.done
        assert process.wait(timeout=60) == 0
    assert not sweeps.status(tmp_path / "a").running
    assert files_of(tmp_path / "a") == undisturbed


def test_many_may_look_at_once(tmp_path, undisturbed):
    """A look takes the lock for an instant, which neither another look nor a run must take for a run."""
    with job(tmp_path / "a") as process:
        assert process.wait(timeout=60) == 0
    stop, seen = threading.Event(), list[bool]()

    def look():
        while not stop.is_set():
            seen.append(store.is_running(tmp_path / "a"))
            time.sleep(0.005)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for thread in lookers:
        thread.start()
    time.sleep(1)
    assert len(seen) > 50 and not any(seen)
    for _ in range(10):
        with store.locked(tmp_path / "a"):
            time.sleep(0.03)
    stop.set()
    for thread in lookers:
        thread.join()
    assert any(seen)
    before = (tmp_path / "a" / store.LOCK).stat()
    assert not store.is_running(tmp_path / "a")
    after = (tmp_path / "a" / store.LOCK).stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)  # a look leaves no trace
    assert files_of(tmp_path / "a") == undisturbed


def test_who_may_only_read_sees_whether_a_run_lives(tmp_path, monkeypatch):
    """A folder of another user, or a disk that is mounted read-only: the lock cannot be asked for there."""

    def refused(*args, **options):
        raise OSError(errno.EROFS, "read-only file system")

    assert not store.is_running(tmp_path)
    with store.locked(tmp_path):
        monkeypatch.setattr(store, "FileLock", refused)
        assert store.is_running(tmp_path)  # this process
    lock = tmp_path / store.LOCK
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    lock.write_text(f"process {dead.stdout.strip()} on {socket.gethostname()}\n")
    assert not store.is_running(tmp_path)
    lock.write_text("process 1 on another.machine\n")
    assert store.is_running(tmp_path)  # it was written to just now
    hour_ago = time.time() - 3600
    os.utime(lock, (hour_ago, hour_ago))
    assert not store.is_running(tmp_path)
    lock.write_text("")
    assert not store.is_running(tmp_path)


# --- lied to


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[len(data) // 2 :]
    elif how == "emptied":
        data.clear()
    else:
        data[{"first": 0, "checksum": 20, "header": 70, "last": -1}[how]] ^= 1
    path.write_bytes(data)


@pytest.fixture
def finished(tmp_path, undisturbed):
    """A folder with the files of the undisturbed run."""
    for name, data in undisturbed.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "a"


def test_damaged_chunks_are_found_and_computed_again(finished, undisturbed):
    hows = ("truncated", "emptied", "first", "checksum", "header", "last")
    for number, how in enumerate(hows):
        damage(store.chunk_path(finished, number), how)
    assert sweeps.verify(finished) == sweeps.Verification(tuple(range(len(hows))), (), (), ())
    assert int((sweeps.open(finished)["status"] == 4).sum()) == 4 * len(hows)
    assert sweeps.run(SWEEP, finished, progress=False).done == 256
    assert files_of(finished) == undisturbed


def test_chunks_of_other_places_and_sweeps_are_stale(finished, tmp_path, undisturbed):
    sweeps.run(sweeps.Sweep(**(sweep_functions.LONG | {"seed": 1})), tmp_path / "other", progress=False)
    store.chunk_path(finished, 3).write_bytes(store.chunk_path(tmp_path / "other", 3).read_bytes())
    store.chunk_path(finished, 5).write_bytes(store.chunk_path(finished, 6).read_bytes())
    (finished / "chunks/000/notes").write_text("of someone")
    (finished / "chunks/000/000064").write_text("beyond the last")
    found = sweeps.verify(finished)
    assert found.stale == (3, 5) and not found.whole
    assert {path.name for path in found.foreign} == {"notes", "000064"}
    assert sweeps.run(SWEEP, finished, progress=False).done == 256
    assert {name: data for name, data in files_of(finished).items() if name in undisturbed} == undisturbed


def test_leftovers_of_killed_writers_are_removed(finished, undisturbed):
    (finished / "chunks/000/.000001.0123.tmp").write_bytes(b"half")
    (finished / ".manifest.json.0123.tmp").write_bytes(b"half")
    assert_goes_on(finished, undisturbed)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"precision": "float32"}, 'precision: "float64" there, "float32" now'),
        ({"axes": {"x": [0.0, 1.0]}}, r"axes\.x: x=0\.03\d* there, but not now"),
        ({"realisations": 7}, "realisations: 8 there, 7 now; they may only become more"),
        ({"batch": 8}, r"batches: \[4\] there, \[8\] now"),
        ({"chunk": 8}, "chunk: 4 there, 8 now"),
        ({"function": "sweep_functions:noisy"}, 'function: "sweep_functions:slowly" there, "sweep_functions:noisy"'),
    ],
)
def test_another_sweep_is_refused_with_the_difference(finished, undisturbed, changes, difference):
    with pytest.raises(ValueError, match=f"(?s)`output`.*holds another sweep:.*{difference}"):
        sweeps.run(sweeps.Sweep(**(sweep_functions.LONG | changes)), finished, progress=False)
    assert {name: files_of(finished)[name] for name in undisturbed} == undisturbed


def test_layout_that_is_not_given_is_that_of_the_output(finished, undisturbed):
    fields = {name: value for name, value in sweep_functions.LONG.items() if name not in ("batch", "chunk")}
    store.chunk_path(finished, 9).unlink()
    assert sweeps.run(sweeps.Sweep(**fields), finished, progress=False).finished
    assert files_of(finished) == undisturbed


def test_folders_that_are_no_sweeps_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for folder in ("mine", "mine/thesis.tex"):
        with pytest.raises(ValueError, match="`output`"):
            sweeps.run(SWEEP, tmp_path / folder, progress=False)
    for read in (sweeps.open, sweeps.status, sweeps.verify, sweeps.assemble):
        with pytest.raises(ValueError, match="`output` must be the folder of a sweep"):
            read(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_manifest_that_was_changed_is_refused(finished):
    manifest = finished / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed": 0', '"seed": 2'))
    with pytest.raises(ValueError, match="manifest .* is damaged: it is not what its checksum says"):
        sweeps.open(finished)


def test_links_do_not_lead_out_of_the_folder(finished, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for path in (finished / "chunks/000").iterdir():
        path.unlink()
    (finished / "chunks/000").rmdir()
    (finished / "chunks/000").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="`output` must keep its files inside"):
        sweeps.run(SWEEP, finished, progress=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_arrays_that_would_run_code_are_not_read(finished):
    """A chunk with a right checksum, whose arrays are pickled."""
    import hashlib
    import io
    import json

    manifest = store.read_manifest(finished)
    header = vars(store.read_header(finished, manifest, 0)) | {"names": ["status"]}
    body = io.BytesIO()
    text = json.dumps(header).encode()
    body.write(len(text).to_bytes(8, "little") + text)
    np.save(body, np.array([print], dtype=object), allow_pickle=True)
    payload = body.getvalue()
    path = store.chunk_path(finished, 0)
    path.write_bytes(b"jaxnets chunk 1\n" + hashlib.sha256(payload).digest() + payload)
    assert sweeps.verify(finished).damaged == (0,)
