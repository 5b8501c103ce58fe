"""One line of the common table of all benchmarks, which `run.py` writes."""

import os
import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Seconds of one piece of work: ours, the best alternative's, and the least that a limit of the machine allows."""

    what: str
    ours: float
    compiling: float | None = None
    alternative: str = ""
    theirs: float | None = None
    limit: str = ""
    least: float | None = None

    def markdown(self) -> str:
        """The line: work, seconds to compile and to run, alternative, theirs over ours, limit, its share of ours."""

        def number(value, digits):
            return "" if value is None else f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"

        gain = None if self.theirs is None else self.theirs / self.ours
        share = None if self.least is None else self.least / self.ours
        cells = [self.what, number(self.compiling, 2), number(self.ours, 3), self.alternative, number(self.theirs, 3)]
        cells += [number(gain, 2), self.limit, number(share, 2)]
        return f"| {' | '.join(cells)} |"


HEAD = "\n".join(
    (
        "| work | compile s | ours s | best alternative | its s | it / ours | limit | limit / ours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    )
)
SCALING = "| work | size | range | exponent | counted |\n| --- | --- | --- | --- | --- |"


def machine() -> str:
    """The device, cores and versions that the numbers belong to."""
    import jax

    return f"{jax.devices()[0].device_kind}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}"
