"""Compiled programs, kept in a folder from one process to the next. JAX keeps and finds them; here it is told where.

The library sets nothing by itself: `keep_compiled` is a call, which the command makes. JAX need not be imported for it.
"""

import contextlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

MAX_BYTES = 2**30
# Compiling a program of this length takes about as long as reading it: on two cores, .05 to .1 s for the smallest ones.
_LEAST_SECONDS = 0.1
_PROGRAM, _TIME = "-cache", "-atime"  # the endings of JAX's files: a program, and when it was last used


def keep_compiled(folder: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> Path | None:
    """Keeps what JAX compiles from now on in `folder`, and takes from there what was compiled before.

    Call it once, at the start. The default is the user's folder for such files (`~/.cache/jaxnets` on
    Linux). Programs used least recently go when all take more than `max_bytes`. Processes may share the folder, and
    those started by this one do. Programs of other versions of JAX or for other processors are not mistaken for it.

    Returns the folder, or None, with a warning, where nothing can be written: then all is as without the call. Raises
    `ValueError` when `folder` is a file, or `max_bytes` is not positive.
    """
    if max_bytes <= 0:
        raise ValueError(f"`max_bytes` must be a positive number of bytes, got {max_bytes}")
    import platformdirs  # here, as below: `import jaxnets` and the help of the command go without

    path = (platformdirs.user_cache_path("jaxnets", appauthor=False) if folder is None else Path(folder)).absolute()
    if folder is not None and path.exists() and not path.is_dir():
        raise ValueError(f"`folder` must be a folder, got the file {folder}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(2**20))
        _remove_halves(path)
    except OSError as error:
        reason = error.strerror or str(error)
        warnings.warn(f"compiled programs are not kept: {path}: {reason}", RuntimeWarning, stacklevel=2)
        return None
    configure("jax_compilation_cache_dir", str(path))
    configure("jax_compilation_cache_max_size", max_bytes)
    configure("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    if "jax" in sys.modules:
        from jax.experimental.compilation_cache import compilation_cache

        compilation_cache.reset_cache()  # JAX decides at its first program whether it has a folder
    return path


def forget_compiled(folder: Path) -> None:
    """Removes all programs from a folder, one of which cannot be read: JAX would not write it again."""
    with contextlib.suppress(OSError), _locked(folder):
        for path in folder.iterdir():
            if path.name.endswith((_PROGRAM, _TIME)):
                path.unlink(missing_ok=True)


def configure(name: str, value: str | float) -> None:
    """Sets an option of JAX for this process, whether JAX is imported or not, and for those that it starts."""
    os.environ[name.upper()] = str(value)
    if "jax" in sys.modules:
        import jax

        jax.config.update(name, value)


def _remove_halves(folder: Path) -> None:
    """Removes what a process left that was killed while it wrote: JAX would fail at every later program."""
    with contextlib.suppress(TimeoutError), _locked(folder):
        for program in folder.glob(f"*{_PROGRAM}"):
            last_used = program.with_name(program.name.removesuffix(_PROGRAM) + _TIME)
            if not (last_used.exists() and last_used.stat().st_size and program.stat().st_size):
                program.unlink()


def _locked(folder: Path):
    """JAX's own lock on the folder. Raises `TimeoutError` when another process does not let it go for a second."""
    from filelock import FileLock

    return FileLock(folder / ".lockfile", timeout=1)
