"""What a public function asks of its arguments: arrays of the right kind, or a `ValueError` that names the argument."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._numerics import as_float, is_concrete


def require(name: str, value: Any, holds: Callable[[np.ndarray], Any], expected: str) -> None:
    """Raises `ValueError` unless ``holds`` everywhere; a traced value cannot be looked at and passes."""
    if is_concrete(value) and not np.all(holds(np.asarray(value))):
        raise ValueError(f"`{name}` must be {expected}, got {np.array2string(np.asarray(value), threshold=8)}")


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
    """Floating-point numbers of any shape."""
    try:
        return as_float(value)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from error


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
