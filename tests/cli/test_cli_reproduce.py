"""`jaxnets reproduce`: what agrees and what does not, what is written when, and the papers themselves."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxnets import papers, plotting
from jaxnets.cli import commands, main
from jaxnets.papers import Comparison, Figure, Paper, agrees, markdown
from jaxnets.papers import multistability2023 as multistability
from jaxnets.papers.comparison import error_of_one, standard_error

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["reproduce", *map(str, args)])


# --- the judge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known, expected",
    [
        ({"published": 1.0, "theory": 1.04, "tolerance": 0.05}, True),
        ({"published": 1.0, "theory": 1.06, "tolerance": 0.05}, False),
        # Equal but for rounding.
        ({"published": 0.3, "theory": 0.1 + 0.2}, True),
        # Three standard errors, and what a finite network may differ.
        ({"theory": 1.0, "sample": 1.29, "sample_error": 0.1}, True),
        ({"theory": 1.0, "sample": 1.31, "sample_error": 0.1}, False),
        ({"theory": 1.0, "sample": 1.31, "sample_error": 0.1, "allowance": 0.02}, True),
        # Without theory a sample is judged against what is published, with it against theory alone.
        ({"published": 1.0, "sample": 1.31, "sample_error": 0.1}, False),
        ({"published": 1.0, "theory": 1.1, "sample": 1.31, "sample_error": 0.1, "tolerance": 0.2}, True),
        # One of two that misses is enough.
        ({"published": 1.0, "theory": 1.3, "sample": 1.3, "sample_error": 0.1, "tolerance": 0.2}, False),
        ({"published": 1.0, "theory": 1.1, "sample": 1.5, "sample_error": 0.1, "tolerance": 0.2}, False),
        # What was not found agrees with nothing.
        ({"published": 1.0, "theory": np.nan, "tolerance": 1.0}, False),
        ({"theory": 1.0, "sample": 1.0, "sample_error": np.nan}, False),
    ],
)
def test_judge(known, expected):
    assert agrees(Comparison("x", **known)) is expected


@pytest.mark.parametrize(
    "known, named",
    [
        ({"published": 1.0}, "two numbers"),
        ({"theory": 1.0, "sample": 1.0, "allowance": -1.0}, "allowance"),
        ({"theory": 1.0, "published": 1.0, "tolerance": np.nan}, "tolerance"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused(known, named):
    with pytest.raises(ValueError, match=named):
        Comparison("x", **known)


def test_standard_errors():
    values = np.array([1.0, 2.0, 4.0, 5.0, np.nan])
    deviation = np.sqrt(10 / 3)  # squares 4, 1, 1, 4 over 3
    np.testing.assert_allclose(standard_error(values), deviation / 2)
    np.testing.assert_allclose(error_of_one(values), deviation * np.sqrt(1.25))
    assert standard_error([3.0]) == error_of_one([3.0]) == 0


def test_table():
    rows = [
        Comparison("edge", published=1.5811, theory=1.58114, sample=1.554, sample_error=0.034, tolerance=6e-5),
        Comparison("|m|", theory=1.0, sample=2.0, allowance=0.1, note="a note"),
    ]
    head, line, first, second = markdown(rows).splitlines()
    assert head.startswith("| quantity | published | theory here | sample here |") and set(line) <= set("| -")
    # Digits down to a tenth of the tolerance and of the error, and the limit of three errors.
    assert first == "| edge | 1.5811 | 1.581140 | 1.554 ± 0.034 | 6e-05 | 0.1 | agrees |  |"
    assert second == r"| \|m\| | not known | 1.00 | 2.00 | - | 0.1 | **misses** | a note |"


# --- the command ----------------------------------------------------------------------------------------------


def _paper(number: str, *, misses: bool = False, stops: bool = False) -> Paper:
    """Two figures: one that draws as many points as its size, and one that misses or is interrupted if asked to."""

    def points(size, *, key):
        x = np.arange(size)
        row = Comparison(f"size of {number}", published=float(size), theory=float(len(x)))
        return Figure(plotting.profile(x, x, plotting.figure(2, 2), style="o"), f"{size} points.", [row])

    def last(size, *, key):
        if stops:
            raise KeyboardInterrupt
        row = Comparison("missed", published=1.0, theory=2.0) if misses else Comparison("met", 1.0, 1.0)
        return Figure(plotting.figure(2, 2), "Nothing.", [row])

    return Paper(number, f"Subject of {number}", "Choices.", {"points": points, "last": last}, 3, 7)


def use(monkeypatch, *those):
    """Other papers, whose numbers the command knows before it imports them."""
    numbers = [number for paper in those for number in (paper.number, paper.companion) if number]
    monkeypatch.setattr(papers, "ALL", those)
    monkeypatch.setattr(commands, "PAPERS", numbers)


def test_outputs(here, capsys, monkeypatch):
    use(monkeypatch, _paper("1.1"), dataclasses.replace(_paper("1.2"), companion="1.3"))
    assert command("--quick") == 0
    assert sorted(os.listdir(here / "reproduction")) == [
        "1.1-last.png",
        "1.1-points.png",
        "1.2-last.png",
        "1.2-points.png",
        "reproduction.md",
    ]
    report = (here / "reproduction" / "reproduction.md").read_text()
    assert "size of 1.1 | 3 |" in report and "arXiv 1.2, with 1.3" in report and "](1.2-last.png)" in report
    assert "Choices." in report and "3 points." in report and "--quick" in report and "Not done" not in report
    assert "0 numbers miss" in capsys.readouterr().out
    # Full size, of the paper with this companion, and again over outputs of before.
    for _ in range(2):
        assert command("1.3", "--output", "full") == 0
        assert sorted(os.listdir(here / "full")) == ["1.2-last.png", "1.2-points.png", "reproduction.md"]
        assert "size of 1.2 | 7 |" in (here / "full" / "reproduction.md").read_text()


def test_a_number_that_misses_is_told_by_the_exit_code(here, capsys, monkeypatch):
    use(monkeypatch, _paper("1.1", misses=True))
    assert command() == 1
    assert "| missed | 1 | 2" in capsys.readouterr().out
    assert "**misses**" in (here / "reproduction" / "reproduction.md").read_text()


def test_an_interruption_keeps_what_is_done(here, capsys, monkeypatch):
    use(monkeypatch, _paper("1.1", stops=True), _paper("1.2"))
    assert command() == 130
    assert "1 of 4 figures are in reproduction" in capsys.readouterr().err
    assert sorted(os.listdir(here / "reproduction")) == ["1.1-points.png", "reproduction.md"]
    report = (here / "reproduction" / "reproduction.md").read_text()
    assert "size of 1.1" in report and "Not done: last." in report and "1.2" not in report


def test_refusals(here, capsys, monkeypatch):
    use(monkeypatch, _paper("1.1"))
    assert command("1.2") == 2
    assert "`PAPER` must be one of 1.1, got 1.2" in capsys.readouterr().err
    (here / "reproduction").mkdir()
    (here / "reproduction" / "reproduction.md").write_text("# My own notes\n")
    assert command() == 2
    assert "was not written by jaxnets" in capsys.readouterr().err
    assert os.listdir(here / "reproduction") == ["reproduction.md"]


# --- the papers -----------------------------------------------------------------------------------------------


def test_sizes_alone_tell_quick_from_full():
    for paper in papers.ALL:
        assert type(paper.quick) is type(paper.full) and paper.quick != paper.full
    numbers = [paper.number for paper in papers.ALL]
    first = ["2208.11411", "2103.14324", "2103.14317", "2409.01969", "2210.03241"]
    learning = ["2208.09859", "2102.03740", "2111.13302", "2007.08093", "2006.11569", "2007.02047"]
    assert numbers == [*first, *learning, "2405.13854", "2006.02427"]


SMALL = dataclasses.replace(
    multistability.QUICK, counted_units=(2, 3), counted=300, inputs=(8,), trials=20, loads=5, step=5e-3
)


@pytest.mark.parametrize("name", ["counts", "capacity", pytest.param("flow", marks=pytest.mark.slow)])
def test_a_small_paper(name):
    figure = multistability.PAPER.figures[name](SMALL, key=jax.random.key(3))
    assert figure.comparisons and all(agrees(row) for row in figure.comparisons), markdown(figure.comparisons)
    assert figure.axes.get_xlabel() and figure.axes.get_ylabel()


def test_the_page_shows_every_figure():
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    for paper in papers.ALL:
        for name in paper.figures:
            image = f"figures/reproduction/{paper.number}-{name}.png"
            assert f"]({image})" in page
            assert (DOCS / image).stat().st_size < 150_000


def _rows(text: str) -> list[list[str]]:
    """Quantities and what is published of them, which are the same on every machine."""
    return [cells for line in text.splitlines() if len(cells := re.split(r" (?<!\\)\| ", line)[:2]) == 2]


@pytest.mark.slow
def test_all_papers(here):
    assert command("--quick") == 0
    report = (here / "reproduction" / "reproduction.md").read_text()
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    assert [row for row in _rows(report) if row not in _rows(page)] == []
    for paper in papers.ALL:
        for name in paper.figures:
            assert (here / "reproduction" / f"{paper.number}-{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("number", [paper.number for paper in papers.ALL])
def test_full_size_starts(number, here):
    """For a minute, after which an interruption leaves it."""
    program = "import sys; from jaxnets.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", program, "reproduce", number], stderr=subprocess.PIPE, text=True)
    time.sleep(60)
    assert process.poll() is None or process.returncode == 0, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=540)
    assert process.returncode in (0, 130), errors
    assert "interrupted" in errors or process.returncode == 0
