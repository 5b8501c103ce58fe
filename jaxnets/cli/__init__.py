"""The `jaxnets` command: a thin skin over the modules.

It alone configures JAX: it computes in float64, and keeps compiled programs. It does so through variables of the
environment, since JAX is imported only once there is something to compute.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, cast

import tyro

from .._compiled import configure, forget_compiled, keep_compiled
from . import commands, sweep_commands
from .refusals import InputError

DESCRIPTION = """Theory and simulation of structured random neural networks.

Compiled programs are kept in your cache folder, and found again by the next command; --cache FOLDER takes another
folder, --no-cache none. Both go with any command."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0, 1 for a reproduction that misses a tolerance, 2 for input to be mended, 130 when interrupted. `args` are the
    words after `jaxnets`; None takes them from the process. A `ValueError` for input becomes one line and the code 2.
    """
    parser = argparse.ArgumentParser(prog="jaxnets", add_help=False, allow_abbrev=False)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--no-cache", action="store_true")
    everywhere, args = parser.parse_known_args(args)
    try:
        work = _parsed(list(args))
        with _settings(everywhere.cache, not everywhere.no_cache):
            code = work()
    except InputError as error:
        print(f"jaxnets: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # a sweep says how to go on
        print(f"jaxnets: {str(stop) or 'interrupted, nothing written'}", file=sys.stderr)
        return 130
    return code or 0


def _parsed(words: list[str]) -> commands.Work:
    """The work that the words ask for; leaves the process for help and for words that are no options."""
    path, found = ["jaxnets"], commands.COMMANDS
    while isinstance(found, dict) and words and words[0] in found:
        path.append(words[0])
        found = found[words.pop(0)]
    prog = " ".join(path)
    if isinstance(found, types.FunctionType):
        return cast(commands.Work, tyro.cli(_flowing(found), prog=prog, args=words))
    description = DESCRIPTION if found is commands.COMMANDS else sweep_commands.ABOUT_SWEEPS
    # Help over several commands needs their names and first lines; all their options would take long to read.
    arms = [
        _arm(name, sweep_commands.ABOUT_SWEEPS if isinstance(one, dict) else one.__doc__) for name, one in found.items()
    ]
    several: Any = Union[*arms]
    return cast(commands.Work, tyro.cli(several, prog=prog, description=description, args=words))


def _flowing(command: types.FunctionType) -> types.FunctionType:
    """The command with the text of each argument in one line, which the help then breaks by its own width."""
    # A copy without `__wrapped__`, which the help would be read from.
    same = types.FunctionType(command.__code__, command.__globals__, command.__name__, command.__defaults__)
    same.__kwdefaults__, same.__annotations__ = command.__kwdefaults__, command.__annotations__
    same.__module__, same.__qualname__ = command.__module__, command.__qualname__
    same.__doc__ = re.sub(r"\n {12,}(?=\S)", " ", command.__doc__ or "")
    return same


def _arm(name: str, about: str | None) -> Any:
    command = dataclasses.make_dataclass(name, [])
    command.__doc__ = (about or "").partition("\n")[0]
    return Annotated[command, tyro.conf.subcommand(name)]


@contextlib.contextmanager
def _settings(folder: Path | None, kept: bool) -> Iterator[None]:
    """The environment of a command and of all processes that it starts."""
    before = dict(os.environ)
    try:
        configure("jax_enable_x64", True)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's remarks on its own speed
        # Eigenvalue problems are solved beside each other, a core each.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        if not kept:
            configure("jax_enable_compilation_cache", False)
        with _compiled_in(_folder(folder)) if kept else contextlib.nullcontext():
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _folder(asked_for: Path | None) -> Path | None:
    """Where compiled programs are kept. JAX's own variables, where the user has set them, stay as they are."""
    if asked_for is None and {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            folder = keep_compiled(asked_for)
        except ValueError as error:
            raise InputError(str(error).replace("`folder`", "`--cache`")) from error
    for warning in caught:
        print(f"jaxnets: {warning.message}", file=sys.stderr)
    return folder


@contextlib.contextmanager
def _compiled_in(folder: Path | None) -> Iterator[None]:
    """Says once, in place of JAX's warning for each program, that a folder cannot be read or written any more."""
    shown, failed = warnings.showwarning, []

    def show(message, category, filename, lineno, file=None, line=None):
        if "persistent compilation cache" not in str(message):
            shown(message, category, filename, lineno, file, line)
        elif not failed:
            failed.append(str(message))
            what = str(message).partition(": ")[2] or message
            print(
                f"\njaxnets: some compiled programs cannot be kept or read, and are made anew: {what}", file=sys.stderr
            )

    with warnings.catch_warnings():
        warnings.filterwarnings("always", ".*persistent compilation cache")
        warnings.showwarning = show
        yield
    if folder is not None and failed and failed[0].startswith("Error reading"):
        forget_compiled(folder)
