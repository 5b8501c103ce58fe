"""`jaxnets sweep`: a computation over a grid of parameters and realisations, resumable, on many machines if need be.

Its `action` is one of the functions below, which have done their work when `sweep` is called.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, subcommand

from .. import __version__, computations, plotting, sweeps
from .inputs import InputError
from .outputs import MAKER, check_replaceable, replacing, table
from .sweep_figure import default_variables, draw, drawable

SHORT = dir(computations)
LISTED = 5  # failures in a summary


def run(
    file: Positional[Path | None] = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    out: Path | None = None,
) -> None:
    """Computes what is missing of a sweep: a new one, or one that was stopped at any moment.

    FILE is TOML: a function of one point, its axes, static and fixed arguments, and realisations. The function is one
    of `jaxnets.computations` by its name, or yours as "module:function". Without a file, the right edge and the void
    area of deep-Hebbian networks over load and strength are computed, from theory and in 16 samples each. Size and time
    are printed before work begins. The folder gets whole chunks of results as they come, in the end data.zarr with all
    of them, and beside it is a figure of the same name. Points that fail, or do not converge, are recorded and counted,
    and do not stop others; the exit code is then 0. Ctrl-C stops, and the same command goes on.

    Args:
        file: Description of the sweep.
        workers: Local processes of one core each, or a GPU each; in this process if not given.
        scheduler: Address of a dask scheduler, whose workers see the output folder.
        retry: Compute again what failed or did not converge.
        out: Folder for the results; by default the one that FILE names, or FILE without its ending.
    """
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


def status(out: Positional[Path]) -> None:
    """How far a sweep is: points done, failed with their error and parameters, rate and time left.

    Args:
        out: Folder of the sweep, which may be running.
    """
    with _refusals():
        print(_summary(out, sweeps.status(out, listed=LISTED)))


def verify(out: Positional[Path]) -> None:
    """Reads every file of a sweep against its checksum. The exit code is 2 if anything is missing, damaged or stale.

    Args:
        out: Folder of the sweep.
    """
    with _refusals():
        found = sweeps.verify(out)
    kinds = {"damaged": found.damaged, "stale": found.stale, "missing": found.missing}
    rows = [(f"{kind} chunks", str(len(numbers)), _first(numbers)) for kind, numbers in kinds.items()]
    rows.append(("foreign files", str(len(found.foreign)), _first([path.name for path in found.foreign])))
    print(table(str(out), rows))
    if not found.whole:
        raise InputError(f"{out} is not whole: run its sweep again, which computes what is missing or damaged")
    print("whole: every file is what its checksum says")


def plot(out: Positional[Path], *, variable: tuple[str, ...] = ()) -> None:
    """Draws a sweep, which may be running: lines over one axis, maps over two, with theory beside samples.

    Lines have bands of two standard errors over realisations. Of more than two axes, the others are held at their first
    value. Writes a figure beside the folder, of the same name.

    Args:
        out: Folder of the sweep.
        variable: Variables to draw; by default those with a theory, or the first few.
    """
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


Action = (
    Annotated[None, subcommand("run", constructor=run)]
    | Annotated[None, subcommand("status", constructor=status)]
    | Annotated[None, subcommand("plot", constructor=plot)]
    | Annotated[None, subcommand("verify", constructor=verify)]
)


def sweep(action: OmitArgPrefixes[OmitSubcommandPrefixes[Action]]) -> None:
    """A computation over a grid of parameters and realisations: days of work on many machines, and nothing lost."""


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
        there = sweeps.status(folder, listed=0)
        what = "all there" if there.finished else f"{there.points - there.missing} of {there.points} there, going on"
        return f"{grid}: {what}"
    if scheduler is not None:
        return f"{grid}: {described.grid.total} points"
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
            return f"about {seconds / length:.2g} {unit}"
    return f"about {max(seconds, 1):.0f} s"


# --- the figure beside the folder


def _save(folder: Path, axes: plotting.Axes) -> Path:
    name = _figure(folder)
    with replacing(folder.absolute().parent, (name,)) as stage:
        plotting.save(axes, stage / name, metadata={"Software": f"{MAKER} {__version__}"})
    return folder.parent / name


def _figure(folder: Path) -> str:
    return f"{folder.absolute().name}.png"
