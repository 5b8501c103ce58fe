"""Arrays of the right kind: concrete, floating-point, complex, or without gradient."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact


def is_concrete(*values: Any) -> bool:
    """True when no leaf of ``values`` is traced, so that they can be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def as_float(
    value: ArrayLike | Sequence[ArrayLike], name: str = "the value", *, may_be_complex: bool = False
) -> Inexact[Array, "..."]:
    """A floating-point array in the nearest precision that every function supports.

    float32 and float64 stay as they are; half precision (float16, bfloat16, float8) becomes float32, long double
    float64, and Python numbers, integers and booleans JAX's default. Any byte order, memory maps, data frames, data
    arrays, and arrays of objects that are numbers are read. Without 64 bits in JAX, float64 becomes float32. Complex
    numbers stay complex if they are allowed. Errors call the value ``name``.

    Raises:
        ValueError: if ``value`` is complex, text, dates, ragged, masked, sparse or has no number at some place, or if
            the precision cannot hold it.
    """
    if _is_of_jax(value):
        return _of_jax(value, name, may_be_complex)
    array = _of_host(value, name, may_be_complex)
    dtype = _nearest(array.dtype, name, may_be_complex)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        converted = array.astype(dtype)  # a copy: on a CPU, JAX's array may share the memory of NumPy's
    if array.dtype.kind in "fc" and dtype.itemsize < array.dtype.itemsize:
        _require_held(array, converted, name)
    return jax.device_put(converted)  # `jnp.asarray` compiles a program for each shape


def as_host(
    value: ArrayLike | Sequence[ArrayLike], name: str = "the value", *, may_be_complex: bool = False
) -> Inexact[np.ndarray, "..."]:
    """As `as_float`, but in NumPy and in double precision, whatever the precision of JAX.

    Raises:
        ValueError: as `as_float`, and for a traced value.
    """
    if not is_concrete(value):
        raise ValueError(f"{name} must be known, not traced: it is used on the host")
    if _is_of_jax(value):
        array = np.asarray(_of_jax(value, name, may_be_complex))
    else:
        array = _of_host(value, name, may_be_complex)
    kind = _nearest(array.dtype, name, may_be_complex).kind
    with np.errstate(over="ignore"):
        converted = array.astype(np.complex128 if kind == "c" else np.float64)
    if array.dtype.itemsize > converted.dtype.itemsize:
        _require_held(array, converted, name)
    return converted


def _is_of_jax(value: Any) -> bool:
    return any(isinstance(leaf, jax.Array) or hasattr(leaf, "__jax_array__") for leaf in jax.tree.leaves(value))


def _of_jax(value: Any, name: str, may_be_complex: bool) -> Inexact[Array, "..."]:
    try:
        if hasattr(value, "todense"):  # a sparse array of JAX, which would lose its structure
            raise TypeError
        array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers, got {value!r}") from error
    # Python numbers give weak types, which would make results depend on how a value was written.
    dtype = _nearest(array.dtype, name, may_be_complex)
    if array.weak_type:
        dtype = jnp.result_type(complex if dtype.kind == "c" else float)
    return jnp.asarray(array, dtype=dtype)


def _nearest(dtype: Any, name: str, may_be_complex: bool) -> np.dtype:
    """The supported precision for numbers of ``dtype``."""
    if may_be_complex and jnp.issubdtype(dtype, jnp.complexfloating):
        return jax.dtypes.canonicalize_dtype(np.complex64 if np.dtype(dtype).itemsize <= 8 else np.complex128)
    if jnp.issubdtype(dtype, jnp.floating):
        return jax.dtypes.canonicalize_dtype(np.float32 if np.dtype(dtype).itemsize <= 4 else np.float64)
    if jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_):
        return np.dtype(jnp.result_type(float))
    raise ValueError(f"{name} must be {_kind(may_be_complex)} numbers, got dtype {dtype}")


def _kind(may_be_complex: bool) -> str:
    return "real or complex" if may_be_complex else "real"


def _of_host(value: Any, name: str, may_be_complex: bool) -> np.ndarray:
    """``value`` as NumPy sees it, objects as numbers of double precision."""
    if hasattr(value, "toarray") or hasattr(value, "todense"):
        raise ValueError(f"{name} must be an array, got the sparse {type(value).__name__}: give its dense form")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} must have a number at every place, got {np.ma.count_masked(value)} masked ones: fill them"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # ragged lists, tensors with a gradient
        kind = _kind(may_be_complex)
        raise ValueError(f"{name} must be an array of {kind} numbers, got {type(value).__name__}: {error}") from error
    if array.dtype != object:
        return array
    number = complex if may_be_complex and any(isinstance(entry, complex) for entry in array.flat) else float
    for index, entry in np.ndenumerate(array):
        try:
            if isinstance(entry, str | bytes):
                raise TypeError
            number(entry)
        except (TypeError, ValueError, OverflowError):
            place = f" at {list(index)}" if index else ""
            kind = _kind(may_be_complex)
            raise ValueError(f"{name} must be {kind} numbers, got dtype object with {entry!r}{place}") from None
    return array.astype(number)


def _require_held(array: np.ndarray, converted: np.ndarray, name: str) -> None:
    """Raises `ValueError` if numbers overflow, or all vanish, in the precision of ``converted``."""
    hint = "" if jnp.result_type(float) == np.float64 else ': `jax.config.update("jax_enable_x64", True)` gives more'
    lost = np.isfinite(array) & ~np.isfinite(converted)
    if lost.any():
        raise ValueError(f"{name} must fit into {converted.dtype}, got {array[lost][0]}{hint}")
    if array.any() and np.max(np.abs(converted), initial=0) < np.finfo(converted.dtype).tiny:
        largest = np.max(np.abs(array[np.isfinite(array)]), initial=0)
        raise ValueError(f"{name} must fit into {converted.dtype}, got none above {largest}{hint}")


def as_complex(x: Inexact[Array, "..."]) -> Complex[Array, "..."]:
    """The same numbers in the complex dtype of the same precision."""
    return x if jnp.iscomplexobj(x) else jax.lax.complex(x, jnp.zeros_like(x))


def binary_scale(x: Float[Array, "..."], axis: int | tuple[int, ...] | None = None) -> Float[Array, "..."]:
    """The power of two next to the largest |x| along ``axis``, kept as axes of length 1; 1 for zeros, NaN, infinity.

    Dividing by it loses no digit, and brings numbers in any unit to where no square and no algorithm over- or
    underflows. A constant for derivatives: what is computed must be equivariant.
    """
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=axis, keepdims=True, initial=0)
    usable = jnp.isfinite(largest) & (largest > 0)
    largest = jnp.maximum(jnp.where(usable, largest, 1), jnp.finfo(x.dtype).tiny)
    exponent, digits = (jnp.uint32, 0x7F800000) if x.dtype == jnp.float32 else (jnp.uint64, 0x7FF0000000000000)
    bits = jax.lax.bitcast_convert_type(largest, exponent)
    return jax.lax.bitcast_convert_type(bits & jnp.asarray(digits, exponent), x.dtype)


def square_modulus(x: Complex[Array, "..."]) -> Float[Array, "..."]:
    """|x|^2, differentiable at 0."""
    return x.real**2 + x.imag**2


def frozen(tree: Any) -> Any:
    """``tree`` with no gradient through its arrays; other leaves (functions) stay as they are."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)
