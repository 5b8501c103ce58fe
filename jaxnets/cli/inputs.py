"""What the user hands to the command: expressions in the notation of the Python API, and matrices in files."""

import ast
import inspect
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from ..couplings import larva_connectome


class InputError(Exception):
    """Something the user can mend. The command prints it as one line and exits with code 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


# --- expressions


def vocabulary(module: ModuleType, base: type) -> dict[str, Callable]:
    """The final classes below `base` that `module` shows, by name, with their class methods: 'RandomModes.flat'."""
    words = {}
    for name, cls in vars(module).items():
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls):
            words[name] = cls
            methods = [method for method, value in vars(cls).items() if isinstance(value, classmethod)]
            words |= {f"{name}.{method}": getattr(cls, method) for method in methods if not method.startswith("_")}
    return words


def evaluate(text: str, words: Mapping[str, Callable], kind: type, option: str) -> Any:
    """The object of class `kind` that `text` describes, as in "DeepHebbian(load=.8) + 0.5 * IID(gain=1)".

    The text is never executed. Its syntax tree is walked, and may hold calls of `words`, numbers, strings, True,
    False, None, tuples, lists, `+`, unary minus, and `*` by a number. Raises `InputError`, naming `option`, for all
    else and for what the constructors refuse.
    """

    def refuse(node: ast.AST, why: str) -> InputError:
        return InputError(f"`{option}`: `{ast.unparse(node)}` {why}")

    def is_term(value: Any) -> bool:
        return isinstance(value, kind) or is_number(value)

    def is_number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    def value_of(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
                return value
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return tuple(value_of(element) for element in elements)
            case ast.UnaryOp(op=ast.USub(), operand=operand) if is_term(value := value_of(operand)):
                return -value
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult() as op, right=right):
                a, b = value_of(left), value_of(right)
                if isinstance(op, ast.Add) and is_term(a) and is_term(b) and is_number(a) == is_number(b):
                    return a + b
                if isinstance(op, ast.Mult) and is_term(a) and is_term(b) and (is_number(a) or is_number(b)):
                    return a * b
            case ast.Call(func=ast.Name() | ast.Attribute() as func, args=args, keywords=keywords):
                return call(node, func, [value_of(arg) for arg in args], keywords)
        raise refuse(node, "is not part of the notation: calls, numbers, strings, tuples, lists, `+`, `*` by a number")

    def call(node: ast.AST, func: ast.AST, args: list[Any], keywords: list[ast.keyword]) -> Any:
        name = ast.unparse(func)
        if name not in words:
            raise InputError(f"`{option}`: unknown name `{name}`; known are {', '.join(sorted(words))}")
        named = {keyword.arg: value_of(keyword.value) for keyword in keywords if keyword.arg is not None}
        if len(named) < len(keywords):
            raise refuse(node, "must give each argument its own name")
        try:
            inspect.signature(words[name]).bind(*args, **named)
            return words[name](*args, **named)
        except (TypeError, ValueError) as error:
            raise refuse(node, f"is refused: {error}") from error

    try:
        result = value_of(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"`{option}` must be an expression such as `{next(iter(words))}(...)`, got `{text}`"
        ) from error
    if not isinstance(result, kind):
        raise InputError(f"`{option}` must be one of {', '.join(sorted(words))}, or made of them, got `{text}`")
    return result


# --- matrices


def read_weights(name: str, scale: float) -> Float[np.ndarray, "n n"]:
    """`scale` times a shipped connectome, larva-left or larva-right, or the matrix in a file (see `read_matrix`).

    Raises `InputError` for what is not finite, or 0 everywhere.
    """
    shipped = {"larva-left": "left", "larva-right": "right"}
    weights = np.asarray(larva_connectome(shipped[name])) if name in shipped else read_matrix(Path(name))
    with np.errstate(over="ignore", invalid="ignore"):
        weights = scale * weights
    if not (np.isfinite(weights).all() and weights.any()):
        raise InputError(f"`--matrix` times `--scale` must be finite and not 0 everywhere, got {name} times {scale}")
    return weights


def read_matrix(path: Path) -> Float[np.ndarray, "n n"]:
    """The square matrix in a text table (.csv: comma, semicolon or white space), a .npy or a .npz file.

    A .npz file holds one dense array or one matrix as saved by scipy.sparse. Pickles are never loaded. Raises
    `InputError` when the file cannot be read or holds anything but finite real numbers in a square.
    """
    readers = {".csv": _read_table, ".txt": _read_table, ".npy": _read_npy, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"`--matrix` must be a .csv, .npy or .npz file, larva-left or larva-right, got {path}")
    try:
        matrix = readers[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read {path}: {reason or type(error).__name__}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{path} must hold a square matrix, got shape {matrix.shape}")
    if matrix.size == 0:
        raise InputError(f"{path} must hold a matrix, got an empty one")
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold real numbers, got {matrix.dtype}")
    matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{path} must hold finite numbers, got {matrix[row, column]} in row {row}, column {column}")
    return matrix


def _read_table(path: Path) -> np.ndarray:
    text = path.read_text(encoding="utf-8-sig")
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not rows:
        raise ValueError("the table is empty")
    delimiter = next((mark for mark in ";," if mark in rows[0]), None)
    values = []
    for i, row in enumerate(rows, start=1):
        try:
            values.append([float(entry) for entry in row.split(delimiter)])
        except ValueError as error:
            raise ValueError(f"row {i} of the table: {error}; it must hold numbers alone") from error
        if len(values[-1]) != len(values[0]):
            raise ValueError(f"row {i} of the table has {len(values[-1])} entries, the first has {len(values[0])}")
    return np.array(values)


def _read_npy(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if "format" not in archive.files:
            if len(archive.files) != 1:
                raise ValueError(f"it must hold one array, got {len(archive.files)}: {', '.join(archive.files)}")
            return np.asarray(archive[archive.files[0]])
    sparse = scipy.sparse.load_npz(path)
    if len(set(sparse.shape)) != 1:
        raise ValueError(f"it must hold a square matrix, got shape {sparse.shape}")
    if hasattr(sparse, "check_format"):
        sparse.check_format(full_check=True)  # indices beyond the shape would be written beyond the array
    return sparse.toarray()
