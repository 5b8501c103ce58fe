"""Output of the command: whole files or none, never in place of files of others, and the tables that it prints."""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from .. import __version__
from .refusals import InputError

# Written into every output, so that a later run knows which files it may replace.
MAKER = "jaxnets"


def check_replaceable(folder: Path, names: Sequence[str]) -> None:
    """Raises `InputError` unless all of `names` can be written into `folder`, at most over outputs of this command."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise InputError(f"`--out` must be a folder, got the file {existing}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"`--out`: no permission to write into {existing}")
    for path in (folder / name for name in names):
        if (path.exists() or path.is_symlink()) and not _is_ours(path):
            raise InputError(f"{path} was not written by {MAKER}: move it, or choose another folder with `--out`")


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder to write `names` into; they move to `folder` together once all are written.

    After an error or an interrupt all is as before: former outputs come back, and a folder made here is removed.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{MAKER}-", dir=folder))
    new, old = stage / "new", stage / "old"
    try:
        new.mkdir()
        old.mkdir()
        yield new
        try:
            for name in names:
                if (folder / name).exists():
                    (folder / name).rename(old / name)
                (new / name).rename(folder / name)
        except BaseException:
            for name in names:
                if not (new / name).exists() and (folder / name).exists():
                    (folder / name).rename(new / name)
                if (old / name).exists():
                    (old / name).rename(folder / name)
            raise
        made = []
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in made:
            parent.rmdir()


def _is_ours(path: Path) -> bool:
    """Whether a zarr store, a PNG file or a report says that this command made it."""
    if path.is_symlink():
        return False
    try:
        if path.suffix == ".zarr":
            return json.loads((path / ".zattrs").read_bytes()).get("maker") == MAKER
        with open(path, "rb") as file:
            begin = file.read(512)
        maker = f"<!-- {MAKER} " if path.suffix == ".md" else f"Software\0{MAKER}"
        return maker.encode() in begin
    except (OSError, ValueError, AttributeError):
        return False


# --- tables, and the origin of outputs


def table(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([title, *lines])


def made_by(command: str) -> dict[str, str]:
    """The attributes of an output that name its maker and the versions."""
    versions = {"python": platform.python_version(), "jax": version("jax"), "jaxnets": __version__}
    return {"maker": MAKER, "command": command} | {f"{name}_version": version for name, version in versions.items()}
