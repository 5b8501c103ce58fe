"""The README runs, each block on its own, its figure is what its command draws, and it stays short."""

import re
import tomllib

import pytest
from documents import ROOT, blocks, commands, run_command, run_python, write_sweeps

from jaxnets import sweeps
from jaxnets.cli import main

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = blocks(README, "python")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    "source",
    [pytest.param(source, marks=pytest.mark.slow) if "simulate" in source else source for source in PYTHON],
    ids=lambda source: source.strip().splitlines()[-1],
)
def test_python_blocks_run(source):
    run_python(source, "README.md")


def test_there_are_blocks():
    assert len(PYTHON) >= 2
    assert blocks(README, "bash")
    assert blocks(README, "toml")


def test_what_it_installs_exists():
    extras = re.findall(r"'?\.\[(\w+)\]", TEXT)
    assert {"docs", "cuda13", "distributed"} <= set(extras) <= set(EXTRAS)
    installs = [words for words in commands(README) if words[0] == "pip"]
    assert installs == [["pip", "install", "-e", "."]]


@pytest.mark.slow
def test_its_command_draws_in_small(tmp_path):
    assert ["jaxnets", "spectrum"] in commands(README)
    assert main(["spectrum", "--n", "60", "--samples", "2", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "spectrum.png").read_bytes()[:4] == b"\x89PNG"
    assert (ROOT / "docs" / "spectrum.png").read_bytes()[:4] == b"\x89PNG"


def test_its_sweep_is_one(tmp_path):
    write_sweeps(README, tmp_path)
    sweep = sweeps.read(tmp_path / "edges.toml")
    assert sweep.grid.total == 16 * 18


@pytest.mark.slow
def test_its_commands_run(tmp_path):
    write_sweeps(README, tmp_path)
    for words in commands(README):
        if words[0] == "jaxnets":
            assert "spectrum.png" in run_command(words, tmp_path)
    run_command(["jaxnets", "sweep", "run", "edges.toml"], tmp_path)
    for job in ("status", "verify", "plot"):
        run_command(["jaxnets", "sweep", job, "edges"], tmp_path)
    assert sweeps.status(tmp_path / "edges").finished


def test_readme_is_short():
    assert len(TEXT.splitlines()) <= 110
