"""What people bring in place of an array: other shapes, types, layouts and containers, extreme scales, gaps.

`values_like(good)` is a `hypothesis` strategy that changes a good array in a few ways at once; the draw names what it
did. Sizes are few, so that programs compiled for one draw serve others.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas
import scipy.sparse
import xarray
from hypothesis import strategies as st

REAL = ("f8", "f4")
OTHER = ("f2", ">f8", ">f4", "i8", "i1", "u2", ">i4", "?", "g", "bfloat16")
STRANGE = ("c16", "c8", "O", "U", "S", "M8[D]", "m8[s]", "V8")
# Of an array and of a container: what keeps the numbers as they are.
LAYOUTS = ("C", "F", "reversed", "strided", "read-only")
CONTAINERS = ("numpy", "jax", "list", "tuple", "pandas", "xarray", "masked", "memoryview")
NO_ARRAYS = (None, "weights", b"1", {}, {"a": 1.0}, set(), object(), [[1.0], [1.0, 2.0]], [None], [[]], lambda x: x)


class Drawn(NamedTuple):
    """A value, and how it was made."""

    value: Any
    made: str


@st.composite
def values_like(draw, good: Any) -> Drawn:
    """A good array, changed."""
    kind = draw(st.sampled_from(["changed"] * 8 + ["another shape"] * 3 + ["no array", "sparse", "gaps"]))
    if kind == "no array":
        return Drawn(value := draw(st.sampled_from(NO_ARRAYS)), f"{value!r}")
    good = np.asarray(good)
    shape = good.shape
    if kind == "another shape":
        shape = draw(st.sampled_from(_shapes(good.shape)) | st.lists(st.integers(0, 12), max_size=5).map(tuple))
    numbers = np.resize(good, shape) if good.size else np.zeros(shape)
    made = [str(shape)]
    if kind == "sparse":
        matrix = scipy.sparse.csr_array(np.atleast_2d(numbers.astype(complex).real)) if numbers.ndim < 3 else numbers
        return Drawn(matrix, f"sparse {shape}")
    dtype = draw(st.sampled_from([None] * 6 + list(REAL * 2 + OTHER + STRANGE)))
    if dtype in (None, *REAL) and good.dtype.kind in "fc" and draw(st.booleans()):
        power = draw(st.sampled_from((-300, -160, -30, -12, -3, 0, 3, 12, 30, 160, 300)) | st.integers(-300, 300))
        with np.errstate(all="ignore"):
            numbers = np.asarray(numbers * 10.0**power)
        made.append(f"1e{power}")
    if kind == "gaps" and numbers.size:
        numbers = numbers.astype(np.result_type(numbers.dtype, np.float64))
        place = draw(st.integers(0, numbers.size - 1))
        gap = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
        numbers.flat[place] = gap
        made.append(f"{gap} at {place}")
    if dtype is not None:
        numbers = _of_type(numbers, dtype)
        made.append(dtype)
    numbers = _laid_out(np.asarray(numbers), layout := draw(st.sampled_from(LAYOUTS)))
    container = draw(st.sampled_from(CONTAINERS[:1] * 4 + CONTAINERS))
    return Drawn(_contained(numbers, container), " ".join([*made, layout, container]))


def _shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes near to a good one: an axis more or less, of length 0 or 1, or the other way round."""
    near = [(), (0,), (1, *shape), (2, *shape), (*shape, 1), shape[::-1], shape[1:], shape[:-1], (1,) * len(shape)]
    for axis in range(len(shape)):
        near += [(*shape[:axis], size, *shape[axis + 1 :]) for size in (0, 1, shape[axis] + 1)]
    return near


def _of_type(numbers: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return np.asarray(numbers.real if numbers.dtype.kind == "c" else numbers).astype(jnp.bfloat16)
        if dtype == "O":
            return numbers.astype(object)
        if dtype in ("M8[D]", "m8[s]"):
            return np.zeros(numbers.shape, dtype)
        if dtype == "V8":
            return np.zeros(numbers.shape, [("a", "f4"), ("b", "f4")])
        if numbers.dtype.kind == "c" and not dtype.startswith("c"):
            numbers = np.asarray(numbers.real)
        if np.dtype(dtype).kind in "iu?":
            numbers = np.nan_to_num(np.asarray(numbers, float), nan=0, posinf=1, neginf=0).clip(-100, 100)
            numbers = np.asarray(numbers)
        return numbers.astype(dtype)


def _laid_out(numbers: np.ndarray, layout: str) -> np.ndarray:
    if layout == "F":
        return np.asfortranarray(numbers)
    if layout == "reversed":
        return np.flip(np.flip(numbers).copy()) if numbers.ndim else numbers
    if layout == "strided" and numbers.ndim:
        spaced = np.zeros((2 * numbers.shape[0], *numbers.shape[1:]), numbers.dtype)
        spaced[::2] = numbers
        return spaced[::2]
    if layout == "read-only":
        numbers = numbers.copy()
        numbers.flags.writeable = False
    return numbers


def _contained(numbers: np.ndarray, container: str) -> Any:
    if container == "jax" and numbers.dtype.kind in "fiubc" and numbers.dtype.isnative and numbers.dtype != "g":
        return jnp.asarray(numbers)
    if container in ("list", "tuple") and numbers.dtype.names is None:
        return numbers.tolist() if container == "list" else tuple(numbers.tolist()) if numbers.ndim else numbers.item()
    plain = numbers.dtype.isnative and numbers.dtype.names is None and numbers.dtype.kind in "fiubcO"
    if container == "pandas" and plain and numbers.ndim in (1, 2):
        return pandas.DataFrame(numbers) if numbers.ndim == 2 else pandas.Series(numbers)
    if container == "xarray" and plain:
        return xarray.DataArray(numbers)
    if container == "masked" and plain:
        return np.ma.masked_array(numbers, np.arange(numbers.size).reshape(numbers.shape) == 0)
    if container == "memoryview" and numbers.dtype.kind in "fiu" and numbers.dtype.isnative and numbers.size:
        return memoryview(np.ascontiguousarray(numbers)) if numbers.dtype.char != "g" else numbers
    return numbers
