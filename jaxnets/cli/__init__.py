"""The `jaxnets` command: a thin skin over the modules. One function a subcommand; its signature makes the options.

The command alone configures JAX: it computes in float64.
"""

import sys
from collections.abc import Sequence

import jax
import tyro

from .fit import fit
from .inputs import InputError
from .meanfield import meanfield
from .memory import memory
from .multistable import multistable
from .reproduce import reproduce
from .simulate import simulate
from .spectrum import spectrum
from .sweep import sweep


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0, 1 for a reproduction that misses a tolerance, 2 for input to be mended, 130 when interrupted. `args` are the
    words after `jaxnets`, those of the process if None.
    """
    jax.config.update("jax_enable_x64", True)
    app = tyro.extras.SubcommandApp()
    app.command(spectrum)
    app.command(simulate)
    app.command(meanfield)
    app.command(memory)
    app.command(multistable)
    app.command(fit)
    app.command(sweep)
    app.command(reproduce)
    try:
        code = app.cli(
            prog="jaxnets", description="Theory and simulation of structured random neural networks.", args=args
        )
    except InputError as error:
        print(f"jaxnets: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # a sweep says how to go on
        print(f"jaxnets: {str(stop) or 'interrupted, nothing written'}", file=sys.stderr)
        return 130
    return code or 0
