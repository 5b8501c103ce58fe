"""What a public function asks of its arguments: arrays of the right kind, or a `ValueError` that names the argument."""

import pathlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from ._numerics import as_complex, as_float, as_host, is_concrete


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


def require_key(name: str, value: Any) -> None:
    """Raises `ValueError` unless ``value`` is one random key of JAX, of the new kind or of the old (uint32)."""
    dtype: Any = getattr(value, "dtype", None)
    shape = getattr(value, "shape", None)
    is_new = isinstance(value, jax.Array) and jax.numpy.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    is_old = isinstance(value, jax.Array | np.ndarray) and dtype == np.uint32 and len(value.shape) == 1
    if is_new or is_old:
        return
    got = f"{type(value).__name__} {value!r}" if shape is None else f"an array of shape {shape} and dtype {dtype}"
    hint = f": `jax.random.key({value})`" if isinstance(value, int) and not isinstance(value, bool) else ""
    raise ValueError(f"`{name}` must be one random key, such as `jax.random.key(0)`, got {got}{hint}")


def traced_output(name: str, function: Callable, *inputs: jax.ShapeDtypeStruct) -> Any:
    """Shape and dtype of what a user's function gives for such inputs; `ValueError` if it cannot be compiled."""
    try:
        return jax.eval_shape(lambda *inputs: function(*inputs), *inputs)  # JAX does not take NumPy's own functions
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"`{name}` must be made of functions of `jax.numpy`, since it is compiled (`jnp.tanh`, not `np.tanh`): "
            f"{_place(function, error)} gives {type(error).__name__}: {reason}"
        ) from error


def _place(function: Callable, error: Exception) -> str:
    """The last line of the user's own code that led to the error, or the name of the function."""
    packages = tuple(str(pathlib.Path(file).parent) for file in (jax.__file__, np.__file__, eqx.__file__, __file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(packages)]
    if not frames:
        return f"`{getattr(function, '__name__', type(function).__name__)}`"
    line = (frames[-1].line or "")[:100]
    return f"line {frames[-1].lineno} of {pathlib.Path(frames[-1].filename).name}, `{line}`,"


def real_array(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "..."]:
    """Floating-point numbers of any shape, in the nearest precision that every function supports (see `as_float`)."""
    return as_float(value, f"`{name}`")


def known_array(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "..."]:
    """As `real_array`, and known within `jit` too if the value is: theory asks whether a symmetry is 1."""
    if not is_concrete(value):
        return real_array(name, value)
    with jax.ensure_compile_time_eval():
        return real_array(name, value)


def complex_array(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Complex[Array, "..."]:
    """As `real_array`, for real or complex numbers: complex ones."""
    array = as_float(value, f"`{name}`", may_be_complex=True)
    if array.dtype.kind == "c":
        return array
    if not is_concrete(array):
        return as_complex(array)
    return jax.device_put(np.asarray(array).astype(np.result_type(array.dtype, np.complex64)))  # compiles nothing


def whole_array(
    name: str, value: ArrayLike | Sequence[ArrayLike], expected: str = "whole numbers"
) -> Int[Array, "..."]:
    """Numbers of an integer type, such as indices."""
    if is_concrete(value):
        as_host(value, f"`{name}`")
        array = np.asarray(value)
        if array.dtype.kind in "iu":
            return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(int)))
    else:
        array = jnp.asarray(value)
        if jnp.issubdtype(array.dtype, jnp.integer):
            return array
    raise ValueError(f"`{name}` must be {expected}, got dtype {array.dtype}")


def host_array(
    name: str, value: ArrayLike | Sequence[ArrayLike], shape: tuple[int | None, ...] | None = None
) -> Float[np.ndarray, "..."]:
    """Numbers of a function that works in NumPy, in double precision; None in ``shape`` takes any length."""
    array = as_host(value, f"`{name}`")
    if shape is not None:
        require_shape(name, array.shape, shape)
    return array


def host_complex(
    name: str, value: ArrayLike | Sequence[ArrayLike], shape: tuple[int | None, ...] | None = None
) -> Complex[np.ndarray, "..."]:
    """As `host_array`, for real or complex numbers: complex ones."""
    array = as_host(value, f"`{name}`", may_be_complex=True).astype(np.complex128)
    if shape is not None:
        require_shape(name, array.shape, shape)
    return array


def plane_points(name: str, z: ArrayLike, precision: Any) -> Any:
    """Finite complex numbers in the precision of a real dtype, on the host if they are concrete."""
    points = host_complex(name, z) if is_concrete(z) else complex_array(name, z)
    require(name, points, np.isfinite, "finite")
    return points.astype(np.result_type(precision, np.complex64))


def require_shape(name: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    """Raises `ValueError` unless the lengths of all axes are as expected, where None takes any."""
    fits = len(shape) == len(expected) and all(e in (None, n) for e, n in zip(expected, shape, strict=True))
    if not fits:
        lengths = ", ".join("any" if n is None else str(n) for n in expected)
        raise ValueError(f"`{name}` must have shape ({lengths}{',' * (len(expected) == 1)}), got {shape}")


def scalar(name: str, value: ArrayLike, array_of: Callable[..., Any] = real_array) -> Float[Array, ""]:
    array = array_of(name, value)
    if array.ndim != 0:
        raise ValueError(f"`{name}` must be a number, got shape {array.shape}: map over more with `jax.vmap`")
    return array


def vector(
    name: str, value: ArrayLike | Sequence[ArrayLike], array_of: Callable[..., Any] = real_array
) -> Float[Array, " k"]:
    array = array_of(name, value)
    if array.ndim != 1 or array.shape[0] == 0:
        raise ValueError(f"`{name}` must be a non-empty 1-d array, got shape {array.shape}")
    return array


def in_one_precision(*arrays: Float[Array, "..."]) -> tuple[Float[Array, "..."], ...]:
    """The arrays in the highest of their precisions: JAX, asked to be strict, mixes none."""
    dtype = np.result_type(*(x.dtype for x in arrays))
    return tuple(x.astype(dtype) for x in arrays)


def require_square(name: str, shape: tuple[int, ...]) -> None:
    """Raises `ValueError` unless the last two axes are equal."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"`{name}` must be a square matrix, or a batch (..., n, n) of them, got shape {shape}")


def square_matrix(name: str, value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "n n"]:
    """One square matrix of finite numbers, at least 1 x 1."""
    array = real_array(name, value)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {array.shape}")
    require(name, array, np.isfinite, "finite")
    return array
