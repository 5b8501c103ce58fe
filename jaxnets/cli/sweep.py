"""`jaxnets sweep`: a computation over a grid of parameters and realisations, resumable, on many machines if need be."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .. import __version__, computations, plotting, sweeps
from .._progress import stage
from ..sweeps.running import require_same_sweep
from .outputs import MAKER, check_replaceable, replacing, table
from .refusals import InputError
from .sweep_figure import default_variables, draw, drawable

SHORT = dir(computations)
LISTED = 5  # failures in a summary


def run(file: Path | None, workers: int | None, scheduler: str | None, retry: bool, out: Path | None) -> None:
    described = _read(file)
    folder = out or Path(described.output or (file.with_suffix("").name if file is not None else "sweep"))
    check_replaceable(folder.absolute().parent, (_figure(folder),))
    with _refusals():
        print(_prospect(described, folder, workers, scheduler))
        found = sweeps.run(described, folder, workers=workers, scheduler=scheduler, retry=retry)
        store = sweeps.assemble(folder)
    print(_summary(folder, found))
    data = xr.open_zarr(store, chunks=None)  # of which only what is drawn is read
    written = [store]
    if names := default_variables(data):
        written.insert(0, _save(folder, draw(data, names)))
    print(f"wrote {' and '.join(map(str, written))}")


def status(out: Path) -> None:
    with _refusals():
        print(_summary(out, sweeps.status(out, listed=LISTED)))


def verify(out: Path) -> None:
    with _refusals():
        found = sweeps.verify(out)
    kinds = {"damaged": found.damaged, "stale": found.stale, "missing": found.missing}
    rows = [(f"{kind} chunks", str(len(numbers)), _first(numbers)) for kind, numbers in kinds.items()]
    rows.append(("foreign files", str(len(found.foreign)), _first([path.name for path in found.foreign])))
    print(table(str(out), rows))
    if not found.whole:
        raise InputError(f"{out} is not whole: run its sweep again, which computes what is missing or damaged")
    print("whole: every file is what its checksum says")


def plot(out: Path, variable: tuple[str, ...]) -> None:
    with _refusals():
        data = sweeps.open(out)
    names = drawable(data)
    for name in variable:
        if name not in names:
            raise InputError(f"`--variable` must be one of {', '.join(names)}, got {name}")
    chosen = variable or default_variables(data)
    if not chosen:
        raise InputError(f"{out} has no real number a point; `--variable` may be {', '.join(names) or 'none'}")
    check_replaceable(out.absolute().parent, (_figure(out),))
    print(f"wrote {_save(out, draw(data, chosen))}")


# --- what is read


def _read(file: Path | None) -> sweeps.Sweep:
    try:
        text = (files("jaxnets.data") / "default_sweep.toml" if file is None else file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    with _refusals():
        return sweeps.parse(_spelled_out(text))


def _spelled_out(text: str) -> str:
    """With the module of a function of this package that is named without one."""
    try:
        name = tomllib.loads(text).get("function")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    if not isinstance(name, str) or ":" in name:
        return text
    if name not in SHORT:
        raise InputError(f'`function` must be one of {", ".join(SHORT)}, or "module:function", got {name!r}')
    return re.sub(rf"""^(\s*function\s*=\s*)(["']){name}\2""", rf'\1"{computations.__name__}:{name}"', text, flags=re.M)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the room of sweeps refuses, as what the user can mend."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error


# --- what is printed


def _prospect(described: sweeps.Sweep, folder: Path, workers: int | None, scheduler: str | None) -> str:
    """Size and time of what is to be done, before it is."""
    sizes = [f"{axis.name} {len(axis)}" for axis in (*described.grid.static, *described.grid.axes)]
    grid = " x ".join([*sizes, f"{described.realisations} realisations"])
    if (folder / "manifest.json").exists():
        require_same_sweep(described, folder)
        there = sweeps.status(folder, listed=0)
        known, total = there.points - there.missing, described.grid.total
        return f"{grid}: {'all there' if known == total else f'{known} of {total} there, going on'}"
    if scheduler is not None:
        return f"{grid}: {described.grid.total} points"
    with stage("compiling, and timing a call"):
        expected = sweeps.estimate(described)
    where = "in this process" if workers is None else f"in one process on all cores; here on {workers} of one core each"
    size = f"{expected.points} points, {_bytes(expected.bytes)} in {expected.chunks} files"
    return f"{grid}: {size}, {_duration(expected.seconds)} {where}"


def _summary(folder: Path, found: sweeps.Status) -> str:
    left = "" if found.finished else f", {_duration(found.seconds_left)} left" if found.running else ", not running"
    rows = [
        ("points", str(found.points), ""),
        ("done", str(found.done), f"{found.rate:.3g} a second{left}" if np.isfinite(found.rate) else left[2:]),
        ("not converged", str(found.not_converged), "kept, and marked in `status`"),
        ("not finite", str(found.not_finite), "kept, and marked in `status`"),
        ("failed", str(found.failed), "`--retry` computes them again"),
        ("missing", str(found.missing), "the same `run` goes on"),
    ]
    rows = [row for row in rows if row[1] != "0" or row[0] in ("points", "done")]
    lines = [table(str(folder), rows)]
    for failure in found.failures[:LISTED]:
        where = ", ".join(f"{name} = {_short(value)}" for name, value in failure.parameters.items())
        lines.append(f"failed at {where}: {failure.reason}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _first(items: Sequence[Any], shown: int = 6) -> str:
    return ", ".join([*map(str, items[:shown]), *(["..."] * (len(items) > shown))])


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    for length, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            many = seconds / length
            return f"about {many:.0f} {unit}" if many >= 99.5 else f"about {many:.2g} {unit}"  # not 1.2e+02
    return f"about {max(seconds, 1):.0f} s"


# --- the figure beside the folder


def _save(folder: Path, axes: plotting.Axes) -> Path:
    name = _figure(folder)
    with replacing(folder.absolute().parent, (name,)) as stage:
        plotting.save(axes, stage / name, metadata={"Software": f"{MAKER} {__version__}"})
    return folder.parent / name


def _figure(folder: Path) -> str:
    return f"{folder.absolute().name}.png"
