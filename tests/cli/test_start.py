"""Help and refusals come at once, without JAX; and nothing is compiled before all input has been checked."""

import os
import re
import subprocess
import sys

import jax
import pytest
from compilations import compilations

from jaxnets import papers
from jaxnets.cli import _flowing, main
from jaxnets.cli.commands import COMMANDS, PAPERS, SWEEP

SCRIPT = """
import sys, time
from jaxnets.cli import main

codes = []
for words in sys.argv[1].split("|"):
    began = time.process_time()
    try:
        codes.append(main(words.split()))
    except SystemExit as stop:
        codes.append(stop.code)
assert "jax" not in sys.modules and "numpy" not in sys.modules, "JAX was imported"
print(*codes, time.process_time())
"""
SECONDS = 0.5

MISSING = {
    "spectrum": "spectrum --matrix none.csv",
    "simulate": "simulate --matrix none.npy",
    "multistable": "multistable --matrix none.csv",
    "fit": "fit none.npy --interval 1",
    "infer": "infer none.npy --interval 1",
    "sweep run": "sweep run none.toml",
    "sweep status": "sweep status none",
    "sweep plot": "sweep plot none",
    "sweep verify": "sweep verify none",
}
NAMES = [name for name in COMMANDS if name != "sweep"] + ["sweep", *(f"sweep {name}" for name in SWEEP)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["", *NAMES])
def test_without_jax_and_at_once(here, name):
    """Help, a wrong option and a missing file, one after the other in one new process."""
    words = [f"{name} --help", f"{name} --wrong 1", *([MISSING[name]] if name in MISSING else [])]
    done = subprocess.run([sys.executable, "-c", SCRIPT, "|".join(words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *codes, seconds = done.stdout.split("\n")[-2].split()
    assert codes == ["0", "2", "2"][: len(words)]
    # A process of its own for each would take less; what else runs on the machine can double it.
    assert float(seconds) < 2 * SECONDS
    assert "Traceback" not in done.stderr and os.listdir(here) == []


@pytest.mark.parametrize(
    "words",
    [
        ["spectrum", "--ensemble", "IID(g=-1)"],
        ["spectrum", "--gains", "Tan()", "--variance", "1"],
        ["spectrum", "--seed", "-1"],
        ["simulate", "--transfer", "Tan()"],
        ["simulate", "--ensemble", "DeepHebbian(load=-1)"],
        ["meanfield", "--g", "-1"],
        ["memory", "--loads", "-1"],
        ["memory", "--transfer", "Tan()"],
        ["multistable", "--active", "2"],
        ["fit", "--transfer", "Tan()"],
        ["infer", "--transfer", "Tan()"],
        ["sweep", "run", "bad.toml"],
        ["reproduce", "0000.00000"],
    ],
)
def test_bad_input_compiles_nothing(here, words):
    (here / "bad.toml").write_text('function = "mean_field"\nrealisation = 3')
    jax.clear_caches()
    with compilations() as programs:
        assert main(words) == 2
    assert not set(programs) - {"jit(stage)"}  # which makes an array of a number


def test_papers_are_those_of_the_room():
    assert sorted(PAPERS) == sorted(
        number for paper in papers.ALL for number in (paper.number, paper.companion) if number
    )


def test_help_breaks_lines_by_its_width_alone():
    """tyro keeps the breaks of the source otherwise, as after ".npz"."""
    for command in (*(one for one in COMMANDS.values() if callable(one)), *SWEEP.values()):
        texts = (_flowing(command).__doc__ or "").partition("Args:")[2]
        assert not re.search(r"\n {12}", texts) and texts.split() == command.__doc__.partition("Args:")[2].split()
