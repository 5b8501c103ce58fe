"""What can be typed after `jaxnets sweep`, as in `commands`: one function a command, without JAX."""

from pathlib import Path

from tyro.conf import Positional

from .refusals import require_file, require_sweep
from .words import MaybeInteger, MaybePath, MaybeText, Texts, Work


def sweep_run(
    file: Positional[MaybePath] = None,
    *,
    workers: MaybeInteger = None,
    scheduler: MaybeText = None,
    retry: bool = False,
    out: MaybePath = None,
) -> Work:
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
    if file is not None:
        require_file(file)

    def work() -> int | None:
        from . import sweep

        return sweep.run(file, workers, scheduler, retry, out)

    return work


def sweep_status(out: Positional[Path]) -> Work:
    """How far a sweep is: points done, failed with their error and parameters, rate and time left.

    Args:
        out: Folder of the sweep, which may be running.
    """
    require_sweep(out)

    def work() -> int | None:
        from . import sweep

        return sweep.status(out)

    return work


def sweep_verify(out: Positional[Path]) -> Work:
    """Reads every file of a sweep against its checksum. The exit code is 2 if anything is missing, damaged or stale.

    Args:
        out: Folder of the sweep.
    """
    require_sweep(out)

    def work() -> int | None:
        from . import sweep

        return sweep.verify(out)

    return work


def sweep_plot(out: Positional[Path], *, variable: Texts = ()) -> Work:
    """Draws a sweep, which may be running: lines over one axis, maps over two, with theory beside samples.

    Lines have bands of two standard errors over realisations. Of more than two axes, the others are held at their first
    value. Writes a figure beside the folder, of the same name.

    Args:
        out: Folder of the sweep.
        variable: Variables to draw; by default those with a theory, or the first few.
    """
    require_sweep(out)

    def work() -> int | None:
        from . import sweep

        return sweep.plot(out, variable)

    return work


SWEEP = {"run": sweep_run, "status": sweep_status, "plot": sweep_plot, "verify": sweep_verify}
ABOUT_SWEEPS = "A computation over a grid of parameters and realisations: days of work on many machines, nothing lost."
