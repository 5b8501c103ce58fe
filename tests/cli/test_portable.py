"""Without what only POSIX has: a process in which it is missing imports everything, draws a spectrum and runs a sweep.

Windows and macOS cannot be tried here. In these processes modules and functions are missing that Windows lacks, folders
cannot be opened by the package, and locks are files; workers are spawned, as there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_layout import SOURCES, imports_of

MISSING = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}  # on Windows
POOR = """
import builtins, os, signal, sys

LACKING = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# Of others, psutil and locket (of dask) need some of these on Linux, and go without on Windows.
OURS = {"jaxnets", "jax", "jaxlib", "filelock", "equinox", "zarr", "xarray", "tqdm", "tyro", "matplotlib"}
import_any = builtins.__import__

def import_if_there(name, names=None, *arguments, **named):
    importer = (names or {}).get("__name__", "").split(".")[0]
    if name in LACKING and importer in OURS:
        raise ImportError(f"no module {name} on this system")
    return import_any(name, names, *arguments, **named)

builtins.__import__ = import_if_there
for module, name in ((os, "fork"), (os, "forkpty"), (os, "sched_getaffinity"), (signal, "pthread_sigmask")):
    delattr(module, name)
ordinary = os.open

def open(path, *arguments, **named):
    if sys._getframe(1).f_globals.get("__name__", "").startswith("jaxnets") and os.path.isdir(path):
        raise PermissionError(13, "folders cannot be opened", path)
    return ordinary(path, *arguments, **named)

os.open = open
"""
POINT = """
def squares(x, key):
    return {"square": x**2}
"""
SWEEP = 'function = "points:squares"\nrealisations = 2\nchunk = 2\nbatch = 2\n[axes]\nx = [1.0, 2.0, 3.0]\n'


@pytest.fixture
def poor(tmp_path):
    """Runs a script of Python in a folder of its own, in processes without what only POSIX has."""
    folder = tmp_path / "poor"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(POOR)
    (tmp_path / "points.py").write_text(POINT)
    (tmp_path / "points.toml").write_text(SWEEP)
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])

    def run(script: str) -> str:
        variables = os.environ | {"PYTHONPATH": path, "JAX_ENABLE_X64": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_all_rooms_and_a_sweep_here(poor):
    out = poor(
        """
import os
assert not hasattr(os, "fork")
import filelock
assert not filelock.has_fcntl
import jaxnets as jn
from jaxnets.cli import main
for name in jn.__all__:
    getattr(jn, name)
assert main(["sweep", "run", "points.toml"]) == 0
with open("points.toml") as file:
    text = file.read()
with open("points.toml", "w") as file:
    file.write(text.replace("3.0]", "3.0, 4.0]"))
assert main(["sweep", "run", "points.toml"]) == 0
assert jn.sweeps.verify("points").whole and not jn.sweeps.status("points").running
print(jn.sweeps.open("points").square.sum().item())
"""
    )
    assert out.splitlines()[-1] == "60.0"


@pytest.mark.slow
def test_a_spectrum_and_two_workers(poor, tmp_path):
    poor(
        """
from jaxnets.cli import main
if __name__ == "__main__":
    assert main(["spectrum", "--ensemble", "IID()", "--n", "40", "--num-samples", "2"]) == 0
    assert main(["sweep", "run", "points.toml", "--workers", "2"]) == 0
"""
    )
    assert {"spectrum.png", "spectrum.zarr", "points", "points.png"} <= set(os.listdir(tmp_path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_imported_that_windows_lacks(path):
    assert not MISSING & {name[0] for name in imports_of(path)}
    assert ":" not in path.name  # Windows takes what follows a colon for a stream of the file
