"""What a public function asks of its arguments: arrays of the right kind, or a `ValueError` that names the argument."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._numerics import as_float, is_concrete


def require(name: str, value: Any, holds: Callable[[np.ndarray], Any], expected: str) -> None:
    """Raises `ValueError` unless ``holds`` everywhere; a traced value cannot be looked at and passes."""
    if not is_concrete(value):
        return
    array = np.asarray(value)
    held = holds(array)
    if np.all(held):
        return
    if array.ndim > 1 and np.shape(held) == array.shape:  # one entry says more than a printed matrix
        index = np.argwhere(~np.asarray(held))[0]
        place = f"row {index[0]}, column {index[1]}" if array.ndim == 2 else f"position {tuple(map(int, index))}"
        raise ValueError(f"`{name}` must be {expected}, got {array[tuple(index)]} in {place}")
    raise ValueError(f"`{name}` must be {expected}, got {np.array2string(array, threshold=8)}")


def require_instance(name: str, value: Any, kind: type, expected: str) -> None:
    """Raises `ValueError` unless ``value`` is of the class ``kind``."""
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` must be {expected}, got {value!r}")


def nonnegative(x):
    return np.isfinite(x) & (x >= 0)


def positive(x):
    return np.isfinite(x) & (x > 0)


def correlation(x):
    return np.abs(x) <= 1


def require_whole(name: str, value: int, least: int = 1) -> None:
    """Raises `ValueError` unless ``value`` is a whole number, not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"`{name}` must be a whole number >= {least}, got {value!r}")


def real_array(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "..."]:
    """Floating-point numbers of any shape, in the nearest precision that every function supports (see `as_float`)."""
    return as_float(value, f"`{name}`")


def scalar(name: str, value: ArrayLike) -> Float[Array, ""]:
    array = real_array(name, value)
    if array.ndim != 0:
        raise ValueError(f"`{name}` must be a number, got shape {array.shape}: map over more with `jax.vmap`")
    return array


def vector(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, " k"]:
    array = real_array(name, value)
    if array.ndim != 1 or array.shape[0] == 0:
        raise ValueError(f"`{name}` must be a non-empty 1-d array, got shape {array.shape}")
    return array


def square_matrix(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "n n"]:
    """One square matrix of finite numbers, at least 1 x 1."""
    array = real_array(name, value)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {array.shape}")
    require(name, array, np.isfinite, "finite")
    return array
