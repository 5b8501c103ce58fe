"""The chunk store: a folder of files, each whole or absent. A sweep knows nothing of its past but these files.

    output/manifest.json         what is computed, how it is cut into chunks, and by which versions
    output/lock                  held by the process that runs the sweep; the system frees it when that process dies
    output/chunks/012/012345     the points of one chunk: a checksum, a header in JSON, arrays in NumPy's format

A file is written under a temporary name, forced to the disk and renamed. Reading executes nothing: headers are JSON,
arrays are read without pickle, and names of files are made of numbers.
"""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, SoftFileLock, Timeout, has_fcntl

from .extension import Region, clip, grid_of
from .specification import RESULT_NAME, Grid, Sweep

MANIFEST, LOCK, CHUNKS, DATA = "manifest.json", "lock", "chunks", "data.zarr"
HELD = "lock.held"  # beside the lock while it is held, on systems without locks
_MAGIC = b"jaxnets chunk 1\n"
_PER_FOLDER = 1000
FULL = {getattr(errno, name) for name in ("ENOSPC", "EFBIG", "EDQUOT") if hasattr(errno, name)}


class Damaged(Exception):
    """A chunk that is not what its checksum says, or not one of this sweep."""


class Stale(Damaged):
    """A whole chunk of another configuration."""


# --- the manifest


Results = dict[str, tuple[tuple[int, ...], str]]  # name -> shape and type of what a point gives


@dataclass(frozen=True)
class Part:
    """A box of the grid, cut into files of `chunk` points: all of a sweep, or what it was extended by.

    `results` and `batches` (the points of one call) are those of each combination of static values. Chunks of one
    combination follow those of another, and are counted on from `first`.
    """

    region: Region
    results: tuple[Results, ...]
    batches: tuple[int, ...]
    chunk: int
    first: int

    def plain(self) -> dict[str, Any]:
        shapes = [{name: [list(shape), dtype] for name, (shape, dtype) in one.items()} for one in self.results]
        return {"region": self.region, "results": shapes, "batches": list(self.batches)}

    @cached_property
    def grid(self) -> Grid:
        return grid_of(self.region)

    @property
    def chunks_each(self) -> int:
        return -(-self.grid.points // self.chunk)

    @property
    def last(self) -> int:
        """The number after that of the last chunk."""
        return self.first + self.grid.combinations * self.chunks_each

    def span(self, number: int) -> tuple[int, int, int]:
        """Combination, first point and the one after the last, of a chunk."""
        combination, k = divmod(number - self.first, self.chunks_each)
        return combination, k * self.chunk, min((k + 1) * self.chunk, self.grid.points)

    def count(self, number: int) -> int:
        _, start, stop = self.span(number)
        return stop - start


@dataclass(frozen=True)
class Manifest:
    """What is computed (`sweep`), in which parts and in files of how many points (`chunk`), by what."""

    sweep: Sweep
    takes_key: bool
    chunk: int
    made_by: dict[str, str]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, sweep: Sweep, takes_key: bool, chunk: int, made_by: dict[str, str], parts: Iterable[Any]) -> "Manifest":
        """With parts from their regions, results and batches."""
        placed: list[Part] = []
        for region, results, batches in parts:
            placed.append(Part(region, tuple(results), tuple(batches), chunk, placed[-1].last if placed else 0))
        return cls(sweep, takes_key, chunk, made_by, tuple(placed))

    def plain(self) -> dict[str, Any]:
        return {
            "configuration": self.sweep.configuration(),
            "takes_key": self.takes_key,
            "chunk": self.chunk,
            "made_by": self.made_by,
            "parts": [part.plain() for part in self.parts],
        }

    @cached_property
    def digest(self) -> str:
        return _digest(self.plain())

    @cached_property
    def _digests(self) -> dict[int, str]:
        """Of each part, by its first chunk: all on which its files depend, which an extension does not change."""
        plain = self.plain()
        extended = ("static", "axes", "realisations")
        fixed = {name: value for name, value in plain["configuration"].items() if name not in extended}
        return {
            part.first: _digest(plain | {"configuration": fixed, "parts": [part.plain()], "first": part.first})
            for part in self.parts
        }

    def digest_of(self, number: int) -> str:
        """What the header of a chunk has to say."""
        return self._digests[self.part(number).first]

    @property
    def grid(self) -> Grid:
        """All points, among which the points of a part are found by their values."""
        return self.sweep.grid

    @property
    def chunks(self) -> int:
        return self.parts[-1].last

    def part(self, number: int) -> Part:
        return next(part for part in self.parts if number < part.last)

    def count(self, number: int) -> int:
        return self.part(number).count(number)


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    plain = manifest.plain()
    text = json.dumps(plain | {"digest": _digest(plain)}, indent=1)
    write_atomically(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> Manifest:
    """Raises `ValueError` when the folder holds no sweep, or its manifest is damaged."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"`output` must be the folder of a sweep, got {folder}, which has no {MANIFEST}") from None
    try:
        plain = json.loads(text)
        digest = plain.pop("digest")
        if _digest(plain) != digest:
            raise ValueError("it is not what its checksum says")
        if "parts" not in plain:
            raise ValueError(f"it was made by jaxnets {plain['made_by']['jaxnets']}, and its {DATA} can be read")
        return Manifest.of(
            Sweep(**plain["configuration"]),
            plain["takes_key"],
            plain["chunk"],
            plain["made_by"],
            ((part["region"], map(_results, part["results"]), part["batches"]) for part in plain["parts"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`output`: the manifest {folder / MANIFEST} is damaged: {error}") from None


def _results(plain: dict[str, Any]) -> Results:
    for name, (_, dtype) in plain.items():
        if not re.fullmatch(RESULT_NAME, name) or np.dtype(dtype).kind not in "biufc":
            raise ValueError(f"no result is called {name!r}, of type {dtype!r}")
    return {name: (tuple(shape), dtype) for name, (shape, dtype) in plain.items()}


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The entries that differ, a line each, of dictionaries and of lists of them."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{name}.{key}".lstrip("."), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(entry, dict) for entry in old):
        pairs = [(f"{name}[{k}]", *entries) for k, entries in enumerate(itertools.zip_longest(old, new))]
    else:
        before, after = json.dumps(old), json.dumps(new)
        return [] if before == after else [f"{name}: {clip(before)} there, {clip(after)} now"]
    return [line for name, before, after in pairs for line in differences(before, after, name)]


# --- chunks


@dataclass(frozen=True)
class Header:
    """The description of a chunk ahead of its arrays; `failed` maps error texts to points within the chunk."""

    digest: str
    number: int
    counts: dict[str, int]  # of each status
    failed: dict[str, list[int]]
    widths: list[int]
    device: str


@dataclass(frozen=True)
class Chunk:
    header: Header
    values: dict[str, np.ndarray]
    status: np.ndarray


def chunk_path(folder: Path, number: int) -> Path:
    return folder / CHUNKS / f"{number // _PER_FOLDER:03d}" / f"{number:06d}"


def write_chunk(folder: Path, chunk: Chunk) -> None:
    write_atomically(chunk_path(folder, chunk.header.number), _encoded(chunk))


def _encoded(chunk: Chunk) -> bytes:
    arrays = {"status": chunk.status, **chunk.values}
    header = json.dumps(vars(chunk.header) | {"names": list(arrays)}).encode()
    body = io.BytesIO()
    body.write(len(header).to_bytes(8, "little") + header)
    for array in arrays.values():
        np.lib.format.write_array(body, np.ascontiguousarray(array), allow_pickle=False)
    payload = body.getvalue()
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def read_chunk(folder: Path, manifest: Manifest, number: int) -> Chunk:
    """Raises `Damaged` for a file that is not as it was written, `FileNotFoundError` when there is none."""
    data = chunk_path(folder, number).read_bytes()
    start = len(_MAGIC) + 32
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : start] != hashlib.sha256(data[start:]).digest():
        raise Damaged("bad checksum")
    body = io.BytesIO(data)
    body.seek(start)
    header, names = _header(body, manifest, number)
    try:
        arrays = {name: np.lib.format.read_array(body, allow_pickle=False) for name in names}
        status = arrays.pop("status")
        part = manifest.part(number)
        combination, first, last = part.span(number)
        expected = {name: ((last - first, *shape), dtype) for name, (shape, dtype) in part.results[combination].items()}
        if status.shape != (last - first,) or {n: (a.shape, a.dtype.str) for n, a in arrays.items()} != expected:
            raise ValueError
    except (ValueError, KeyError, EOFError):
        raise Damaged("not the arrays of this sweep") from None
    return Chunk(header, arrays, status)


def read_header(folder: Path, manifest: Manifest, number: int) -> Header:
    """The header alone, without its checksum or the arrays; raises as `read_chunk`."""
    with open(chunk_path(folder, number), "rb") as file:
        file.seek(len(_MAGIC) + 32)
        return _header(file, manifest, number)[0]


def _header(file, manifest: Manifest, number: int) -> tuple[Header, list[str]]:
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > 2**30:
            raise ValueError
        plain = json.loads(file.read(length))
        names = plain.pop("names")
        header = Header(**plain)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("no header of a chunk") from None
    if (header.digest, header.number) != (manifest.digest_of(number), number):
        raise Stale("of another configuration")
    return header, names


def chunk_numbers(folder: Path) -> Iterator[int | Path]:
    """The numbers of the chunks in the folder, and the path of anything else there."""
    for group in _listed(folder / CHUNKS):
        for entry in _listed(group) if group.is_dir() and not group.is_symlink() else [group]:
            number = int(entry.name) if entry.name.isdecimal() and len(entry.name) <= 9 else -1
            if number >= 0 and entry == chunk_path(folder, number) and not entry.is_symlink():
                yield number
            else:
                yield entry


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


# --- files


def write_atomically(path: Path, data: bytes) -> None:
    """Whole or not at all, also when the process is killed or the power fails.

    Raises `OSError` with a clear text when there is no space.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sync(path.parent.parent)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, f"no space left to write {path.name}: {error.strerror}") from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Forces the names in a folder to the disk, where the system opens folders: Windows does not."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path) -> None:
    """Removes the files that killed writers left. Only the process that holds the lock may call it."""
    leftovers = [path for path in _listed(folder) if is_temporary(path)]
    leftovers += [path for path in chunk_numbers(folder) if isinstance(path, Path) and is_temporary(path)]
    for path in leftovers:
        path.unlink(missing_ok=True)


def require_own_folder(folder: Path) -> None:
    """Raises `ValueError` for a folder that would lead the sweep elsewhere, or that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`output` must be a folder, got the file {folder}")
    for path in (folder / MANIFEST, folder / LOCK, folder / HELD, folder / CHUNKS, *_listed(folder / CHUNKS)):
        if path.is_symlink():
            raise ValueError(f"`output` must keep its files inside, but {path} is a link")
    others = {path.name for path in _listed(folder) if not is_temporary(path)} - {LOCK, HELD}
    if others and MANIFEST not in others:
        raise ValueError(f"`output` must be empty or the folder of a sweep, got {folder} with {sorted(others)[:3]}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of the sweep. The time of change of its file is when this run began.

    The operating system frees the lock of a process that dies. Raises `BlockingIOError` when another process has it.
    """
    # Whoever only looked whether the lock is held (`is_running`) has let it go after half a second.
    lock = _lock(folder, timeout=0.5)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(errno.EAGAIN, f"{folder} is in use by another run ({_owner(folder / LOCK)})") from None
    try:
        if lock.lock_file != str(folder / LOCK):
            (folder / LOCK).write_bytes(_signature())
        yield
    finally:
        lock.release()


def is_running(folder: Path) -> bool:
    """Whether a process holds the lock of the sweep.

    Only who may write in the folder can ask the operating system. Others read in the file which process had the lock
    last: on this machine they see whether it lives, on another whether the folder has changed of late.
    """
    if not (folder / LOCK).exists():
        return False
    try:
        # A look holds the lock itself for an instant, for which another look has to wait.
        with _lock(folder, timeout=0.2, poll_interval=0.02, sign=False):
            return False
    except Timeout:
        return True
    except OSError:
        return _seems_alive(folder)


def _lock(folder: Path, *, sign: bool = True, **options: Any) -> FileLock | SoftFileLock:
    if not (has_fcntl or os.name == "nt"):  # the system has no locks: a file stands for one, as long as it is held
        return SoftFileLock(folder / HELD, **options)
    # The file stays when it is freed, and only the lock of the system counts.
    options |= {"preserve_lock_file": True, "fallback_to_soft": False}
    return FileLock(folder / LOCK, on_acquired=_sign if sign else None, **options)


_QUIET_SECONDS = 600  # without a new chunk: a hundred times what `computation` aims at for one


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, _signature())


def _signature() -> bytes:
    return f"process {os.getpid()} on {socket.gethostname()}\n".encode()


def _owner(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:200].strip()
    except OSError:
        return "of an unknown process"  # where a locked file cannot be read


def _seems_alive(folder: Path) -> bool:
    match = re.fullmatch(r"process (\d+) on (.+)", _owner(folder / LOCK))
    if match is None:
        return False
    if match[2] != socket.gethostname() or os.name == "nt":  # where the question below would end the process
        groups = [folder / LOCK, *_listed(folder / CHUNKS)]
        return time.time() - max(path.stat().st_mtime for path in groups) < _QUIET_SECONDS
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    return True
