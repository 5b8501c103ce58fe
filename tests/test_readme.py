"""The README runs, each block on its own, prints the numbers it shows, its figure is what its command draws, and it
stays short."""

import re
import tomllib

import pytest
from documents import ROOT, blocks, commands, promised, run_command, run_python

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
    assert len(PYTHON) >= 3
    assert blocks(README, "bash")


def test_it_shows_what_it_prints():
    for source in PYTHON:
        assert len(promised(source)) == source.count("print(")


def test_numbers_that_are_not_printed_are_seen():
    assert promised("print(a)  # 0.667, -2e-3: as known\nprint(b)  # of 3\nx = 1  # 2") == {1: ["0.667", "-2e-3"]}
    run_python("for _ in range(2):\n    print(2 / 3, 'and', -0.0021)  # 0.667, -2e-3", "right")
    for source in ("print(0.668)  # 0.667", "print(1)  # 1, 2", "print('nothing')  # 0"):
        with pytest.raises(AssertionError):
            run_python(source, "wrong")


def test_what_it_installs_exists():
    extras = re.findall(r"'?\.\[(\w+)\]", TEXT)
    assert {"dev", "docs", "cuda13", "distributed"} <= set(extras) <= set(EXTRAS)
    installs = [words for words in commands(README) if words[0] == "pip"]
    assert installs == [["pip", "install", "-e", "."], ["pip", "install", "-e", ".[dev]"]]


def test_both_commands_are_on_the_first_screen():
    top = "\n".join(TEXT.splitlines()[:24])
    assert "pip install -e . && jaxnets spectrum" in top
    assert "pip install -e '.[dev]' && pytest" in top


@pytest.mark.slow
def test_its_command_draws_in_small(tmp_path):
    assert ["jaxnets", "spectrum"] in commands(README)
    assert main(["spectrum", "--n", "60", "--num-samples", "2", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "spectrum.png").read_bytes()[:4] == b"\x89PNG"
    assert (ROOT / "docs" / "spectrum.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_its_commands_run(tmp_path):
    for words in commands(README):
        if words[0] == "jaxnets":
            assert "spectrum.png" in run_command(words, tmp_path)


def test_readme_is_short():
    assert len(TEXT.splitlines()) <= 110
