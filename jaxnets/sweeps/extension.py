"""Extending a sweep: the points that a larger one has beside a smaller one, as boxes of a grid.

A sweep grows along its axes. For each axis that has new values there is one box: these values, times the old values of
all axes before it, times all values of the axes after it. Boxes do not overlap. What was computed stays where it is,
with the numbers that it has: the key of a point does not depend on other points (see `Grid.identities`).
"""

import json
from typing import Any

from .specification import Axis, Grid, Sweep, expanded

Region = dict[str, Any]  # tables `static` and `axes` as in a sweep, and the first and last of `realisations`


def whole(sweep: Sweep) -> Region:
    return {"static": sweep.static, "axes": sweep.axes, "realisations": [0, sweep.realisations]}


def grid_of(region: Region) -> Grid:
    """The points of a region."""
    return Grid(expanded(region["static"]), expanded(region["axes"]), range(*region["realisations"]))


def added(old: Sweep, new: Sweep) -> list[Region]:
    """The boxes of `new` without `old`, in the order of the axes.

    Raises `ValueError` with a line for each difference, when `new` is not `old` with more values or realisations.
    """
    if lines := _obstacles(old, new):
        raise ValueError("\n  ".join(lines))
    before, after = (*old.grid.static, *old.grid.axes), (*new.grid.static, *new.grid.axes)
    kept, fresh = [], []
    for was, axis in zip(before, after, strict=True):
        there = set(was.identities())
        marks = [identity in there for identity in axis.identities()]
        kept.append([k for k, is_there in enumerate(marks) if is_there])
        fresh.append([k for k, is_there in enumerate(marks) if not is_there])
    regions = [
        _region(new, [*kept[:d], fresh[d], *([None] * (len(after) - d - 1))], [0, new.realisations])
        for d in range(len(after))
        if fresh[d]
    ]
    if new.realisations > old.realisations:
        regions.append(_region(new, kept, [old.realisations, new.realisations]))
    return regions


def _region(sweep: Sweep, positions: list[list[int] | None], realisations: list[int]) -> Region:
    """The values at these positions of each axis, all of them for None."""
    region: Region = {"static": {}, "axes": {}, "realisations": realisations}
    places = [("static", axis) for axis in sweep.grid.static] + [("axes", axis) for axis in sweep.grid.axes]
    for (table, axis), chosen in zip(places, positions, strict=True):
        if chosen is None or len(chosen) == len(axis):
            region[table] |= {axis.name: getattr(sweep, table)[axis.name]}
        else:
            region[table] |= axis.part(chosen)
    return region


def _obstacles(old: Sweep, new: Sweep) -> list[str]:
    lines = []
    for name in ("function", "fixed", "seed", "precision"):
        before, after = (json.dumps(getattr(sweep, name)) for sweep in (old, new))
        if before != after:
            lines.append(f"{name}: {clip(before)} there, {clip(after)} now")
    for table in ("static", "axes"):
        before, after = (getattr(sweep.grid, table) for sweep in (old, new))
        if [_names(axis) for axis in before] != [_names(axis) for axis in after]:
            here, there = (json.dumps(getattr(sweep, table)) for sweep in (old, new))
            lines.append(f"{table}: {clip(here)} there, {clip(there)} now")
            continue
        for was, axis in zip(before, after, strict=True):
            now = set(axis.identities())
            if missing := next((identity for identity in was.identities() if identity not in now), None):
                lines.append(f"{table}.{axis.name}: {', '.join(missing)} there, but not now; values may only be added")
    if new.realisations < old.realisations:
        lines.append(f"realisations: {old.realisations} there, {new.realisations} now; they may only become more")
    return lines


def _names(axis: Axis) -> tuple[str, list[str]]:
    return axis.name, sorted(axis.values)


def clip(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
