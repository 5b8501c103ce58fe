"""`jaxnets reproduce`: the main figures of papers, and their numbers beside theory and samples here."""

from dataclasses import dataclass, field
from pathlib import Path

import jax
from tqdm import tqdm

from .. import __version__, papers, plotting
from ..papers import Comparison, Paper
from .outputs import MAKER, check_replaceable, replacing

REPORT = "reproduction.md"
DPI = 160
SEED = 0  # of all that is random: the table of a machine is always the same


def run(numbers: tuple[str, ...], quick: bool, output: Path) -> int:
    chosen = _chosen(numbers)
    figures = [(paper, name) for paper in chosen for name in paper.figures]
    check_replaceable(output, [*(_file(paper, name) for paper, name in figures), REPORT])
    report = _Report(chosen, quick)
    with tqdm(figures, unit="figure") as bar:
        for paper, name in bar:
            bar.set_description(f"{paper.number} {name}")
            try:
                _make(report, paper, name, output)
            except KeyboardInterrupt:
                done = len(report.captions)
                kept = f"{done} of {len(figures)} figures are in {output}" if done else "nothing written"
                raise KeyboardInterrupt(f"interrupted, {kept}") from None
    missed = [row for rows in report.rows.values() for row in rows if not papers.agrees(row)]
    print(papers.markdown([row for rows in report.rows.values() for row in rows]))
    print(f"{len(missed)} numbers miss their tolerance; wrote {output / REPORT} and {len(figures)} figures")
    return 1 if missed else 0


def _chosen(numbers: tuple[str, ...]) -> list[Paper]:
    """In the order of the room, each once; a companion stands for its paper."""
    known = {number: paper for paper in papers.ALL for number in (paper.number, paper.companion) if number}
    return [paper for paper in papers.ALL if not numbers or paper in [known[number] for number in numbers]]


def _file(paper: Paper, name: str) -> str:
    return f"{paper.number}-{name}.png"


@dataclass
class _Report:
    """The report so far, as Markdown: the same text for the same numbers."""

    papers: list[Paper]
    quick: bool
    captions: dict[tuple[str, str], str] = field(default_factory=dict)
    rows: dict[tuple[str, str], list[Comparison]] = field(default_factory=dict)

    def markdown(self) -> str:
        size = "`--quick`" if self.quick else "full size"
        parts = [f"<!-- {MAKER} reproduce -->", f"# Reproduction, {size}"]
        for paper in self.papers:
            done = [name for name in paper.figures if (paper.number, name) in self.captions]
            if not done:
                continue
            companion = f", with {paper.companion}" if paper.companion else ""
            rows = [row for name in done for row in self.rows[paper.number, name]]
            parts += [f"## arXiv {paper.number}{companion}", f"{paper.subject}.", paper.choices, papers.markdown(rows)]
            for name in done:
                caption = self.captions[paper.number, name]
                parts += [f"![{paper.number}, {name}]({_file(paper, name)})", caption]
            if missing := [name for name in paper.figures if name not in done]:
                parts.append(f"Not done: {', '.join(missing)}.")
        return "\n\n".join(parts) + "\n"


def _make(report: _Report, paper: Paper, name: str, output: Path) -> None:
    """Draws one figure and writes it with the report so far, both or none."""
    sizes = paper.quick if report.quick else paper.full
    key = jax.random.fold_in(jax.random.key(SEED), list(paper.figures).index(name))
    with plotting.printed_size():
        figure = paper.figures[name](sizes, key=key)
        file = _file(paper, name)
        report.captions[paper.number, name] = figure.caption
        report.rows[paper.number, name] = figure.comparisons
        with replacing(output, (file, REPORT)) as folder:
            plotting.save(figure.axes, folder / file, metadata={"Software": f"{MAKER} {__version__}"}, dpi=DPI)
            (folder / REPORT).write_text(report.markdown(), encoding="utf-8")
    jax.clear_caches()  # compiled programs of a figure are of no use to the next
