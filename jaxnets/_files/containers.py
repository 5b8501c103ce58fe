"""Arrays in binary files (.npy, .npz, .mat, .mtx), each by its name; pickles are never loaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse


class Found(NamedTuple):
    """What a file holds: an array of numbers (or a sparse one), and `labels`, where texts beside it fit one axis."""

    values: Any
    labels: tuple[str, ...] | None
    name: str


def open_container(path: Path, name: str | None, is_wanted: Any, wanted: str, *, labelled: int = 0) -> Found:
    """The one array for which `is_wanted(shape)` holds, or the one called `name`; labels are of the axis `labelled`.

    Raises `ValueError` if there is none, or several without a `name`: it names them.
    """
    entries = entries_of(path)
    numbers = {key: value for key, value in entries.items() if _is_numeric(value)}
    shown = ", ".join(f"{key} ({_shape(value)})" for key, value in numbers.items()) or "no array of numbers"
    if name is not None:
        if name not in numbers:
            raise ValueError(f"it has no array {name!r}; it holds {shown}")
        key = name
    elif len(numbers) == 1:
        (key,) = numbers
    else:
        fitting = [key for key, value in numbers.items() if is_wanted(value.shape) and max(value.shape) > 1]
        if len(fitting) != 1:
            hint = ": say which by its name" if fitting else f", and needs {wanted}"
            raise ValueError(f"it holds {shown}{hint}")
        (key,) = fitting
    value = numbers[key]
    num = value.shape[labelled] if -value.ndim <= labelled < value.ndim else 0
    return Found(value, _labels(entries, key, num), key)


def entries_of(path: Path) -> dict[str, Any]:
    """All that a file holds: arrays by their names, and lists of arrays of different length."""
    return dict(_READERS[kind_of(path)](path))


def kind_of(path: Path) -> str:
    """The ending of a name, without .gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else suffixes[-1] if suffixes else ""


def _is_numeric(value: Any) -> bool:
    return scipy.sparse.issparse(value) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.ndim > 0
    )


def _shape(value: Any) -> str:
    return " x ".join(map(str, value.shape))


def _labels(entries: dict[str, Any], key: str, num: int) -> tuple[str, ...] | None:
    """The `num` texts beside an array, or numbers that are called labels."""
    for other, value in entries.items():
        if other == key or not isinstance(value, np.ndarray) or value.size != num or num == 0:
            continue
        named = other.split(".")[-1].lower().strip("_s") in (
            "label",
            "name",
            "id",
            "unit",
            "neuron",
            "node",
            "index",
            "row",
        )
        if value.dtype.kind in "US" or (named and value.dtype.kind in "iu"):
            return tuple(v.decode() if isinstance(v, bytes) else str(v).strip() for v in value.ravel().tolist())
    return None


# --- one reader for each kind


def _npy(path: Path) -> Iterator[tuple[str, Any]]:
    with open(path, "rb") as file:
        yield path.stem, np.lib.format.read_array(file, allow_pickle=False)


def _npz(path: Path) -> Iterator[tuple[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        if "format" not in archive.files:
            yield from ((name, np.asarray(archive[name])) for name in archive.files)
            return
    sparse = scipy.sparse.load_npz(path)
    if hasattr(sparse, "check_format"):
        sparse.check_format(full_check=True)  # indices beyond the shape would be written beyond the array
    yield path.stem, sparse


def _mtx(path: Path) -> Iterator[tuple[str, Any]]:
    import scipy.io  # here, as it takes long to import

    yield path.stem, scipy.io.mmread(path)


def _mat(path: Path) -> Iterator[tuple[str, Any]]:
    import scipy.io  # here, as it takes long to import

    try:
        content = scipy.io.loadmat(path, simplify_cells=True)
    except NotImplementedError:
        yield from _mat_of_hdf5(path)
        return
    except (scipy.io.matlab.MatReadError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"it is no MATLAB file: {error}") from error
    yield from _flat({key: value for key, value in content.items() if not key.startswith("__")}, "")


def _flat(content: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Fields of structures as "data.W"."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, np.ndarray) and value.dtype == object:
            if all(isinstance(entry, str) for entry in value.ravel()):  # a cell array of names
                yield prefix + key, value.astype(str)
            elif value.size and all(_is_list_of_numbers(entry) for entry in value.ravel()):  # a cell array of them
                yield prefix + key, [np.atleast_1d(np.asarray(entry, float)).ravel() for entry in value.ravel()]
        elif isinstance(value, np.ndarray) or scipy.sparse.issparse(value):
            yield prefix + key, value
        elif isinstance(value, int | float | complex | np.number):
            yield prefix + key, np.atleast_2d(value)


def _is_list_of_numbers(entry: Any) -> bool:
    array = np.asarray(entry)
    return array.dtype.kind in "biuf" and sum(size > 1 for size in array.shape) <= 1


def _mat_of_hdf5(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "it is a MATLAB 7.3 file, which needs h5py: install it, or save the file with save(..., '-v7')"
        ) from None
    with h5py.File(path) as file:
        for key, value in file.items():
            if key.startswith("#"):
                continue
            if isinstance(value, h5py.Dataset):
                yield key, np.asarray(value).T  # MATLAB stores columns first
            elif {"data", "ir", "jc"} <= set(value):
                parts = (np.asarray(value[part]) for part in ("data", "ir", "jc"))
                columns = len(value["jc"]) - 1
                yield key, scipy.sparse.csc_array(tuple(parts), shape=(int(value.attrs["MATLAB_sparse"]), columns))
            elif "ir" not in value:
                yield from ((f"{key}.{k}", np.asarray(v).T) for k, v in value.items() if isinstance(v, h5py.Dataset))


_READERS = {".npy": _npy, ".npz": _npz, ".mat": _mat, ".mtx": _mtx}
BINARY = tuple(_READERS)
TEXT = (".csv", ".txt", ".tsv", ".tab", ".dat", ".asc", ".edges", ".edgelist", ".ssv")
