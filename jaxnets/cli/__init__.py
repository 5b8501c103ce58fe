"""The `jaxnets` command: a thin skin over the modules. One function a subcommand; its signature makes the options.

The command alone configures JAX: it computes in float64, and keeps compiled programs where `--cache` says.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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

DESCRIPTION = """Theory and simulation of structured random neural networks.

Any command takes --cache FOLDER: what it compiles is kept there, and found again by the next one."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0, 1 for a reproduction that misses a tolerance, 2 for input to be mended, 130 when interrupted. `args` are the
    words after `jaxnets`; None takes them from the process.
    """
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(prog="jaxnets", add_help=False, allow_abbrev=False)
    parser.add_argument("--cache", type=Path)
    everywhere, args = parser.parse_known_args(args)
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
        if everywhere.cache is not None:
            _keep_compiled(everywhere.cache)
        code = app.cli(prog="jaxnets", description=DESCRIPTION, args=args)
    except InputError as error:
        print(f"jaxnets: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # a sweep says how to go on
        print(f"jaxnets: {str(stop) or 'interrupted, nothing written'}", file=sys.stderr)
        return 130
    return code or 0


def _keep_compiled(folder: Path) -> None:
    """Compiled programs go to the folder and come from it, in this process and in all processes that it starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`--cache` must be a folder that can be written to, got {folder}: {error.strerror}") from None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder.absolute())
