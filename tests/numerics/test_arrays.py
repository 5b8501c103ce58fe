"""Arrays in any clothes: the nearest supported precision, or an error with the name of the argument."""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pandas
import pytest
import scipy.sparse
import xarray
from jax.experimental.sparse import BCOO

from jaxnets._arguments import real_array, square_matrix

NUMBERS = np.array([[1.5, -2.0, 0.25], [0.0, 3.0, 8.0]])


def _memory_map(tmp_path):
    np.save(tmp_path / "x.npy", NUMBERS)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


CLOTHES = {
    "float16": (NUMBERS.astype(np.float16), np.float32),
    "bfloat16": (NUMBERS.astype(ml_dtypes.bfloat16), np.float32),
    "bfloat16 of JAX": (jnp.asarray(NUMBERS, jnp.bfloat16), np.float32),
    "float8": (NUMBERS.astype(ml_dtypes.float8_e4m3fn), np.float32),
    "float32": (NUMBERS.astype(np.float32), np.float32),
    "big-endian": (NUMBERS.astype(">f8"), np.float64),
    "big-endian float32": (NUMBERS.astype(">f4"), np.float32),
    "big-endian float16": (NUMBERS.astype(">f2"), np.float32),
    "long double": (NUMBERS.astype(np.longdouble), np.float64),
    "objects": (NUMBERS.astype(object), np.float64),
    "objects of every kind": (
        np.array([[Fraction(3, 2), Decimal(-2), 0.25], [False, 3, np.float32(8)]], object),
        np.float64,
    ),
    "lists": (NUMBERS.tolist(), np.float64),
    "lists of JAX": ([jnp.asarray(row) for row in NUMBERS], np.float64),
    "data frame": (pandas.DataFrame(NUMBERS, columns=["a", "b", "c"]), np.float64),
    "data frame with its own numbers": (pandas.DataFrame(NUMBERS).astype("Float64"), np.float64),
    "data array": (xarray.DataArray(NUMBERS, dims=("post", "pre")), np.float64),
    "Fortran order": (np.asfortranarray(NUMBERS), np.float64),
    "strides": (np.repeat(NUMBERS, 2, 1)[:, ::2], np.float64),
    "nothing masked": (np.ma.masked_invalid(NUMBERS), np.float64),
}


@pytest.mark.parametrize("name", CLOTHES)
def test_the_nearest_supported_precision(name):
    value, dtype = CLOTHES[name]
    found = real_array("x", value)
    assert isinstance(found, jax.Array) and found.dtype == dtype
    np.testing.assert_array_equal(found, NUMBERS)
    traced = jax.jit(lambda: real_array("x", value))()
    assert traced.dtype == dtype
    np.testing.assert_array_equal(traced, NUMBERS)


@pytest.mark.parametrize("dtype", ["i1", "u2", ">i4", "i8", "?", ml_dtypes.int4])
def test_whole_numbers_take_the_default(dtype):
    found = real_array("x", np.array([[1, 0], [0, 1]]).astype(dtype))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.eye(2))


def test_memory_maps(tmp_path):
    np.testing.assert_array_equal(real_array("x", _memory_map(tmp_path)), NUMBERS)


def test_traced_half_precision():
    assert jax.jit(lambda x: real_array("x", x))(jnp.ones(3, jnp.float16)).dtype == np.float32


@pytest.mark.parametrize(
    "value, message",
    [
        (NUMBERS + 1j, "complex128"),
        (np.array(["a"]), "<U1"),
        (np.array(["1.5", 2], object), r"object with '1.5' at \[0\]"),
        (np.array([[1, None]], object), r"object with None at \[0, 1\]"),
        (pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), r"object with 'x' at \[0, 1\]"),
        (np.array([1, 1j], object), "object with 1j"),
        ([[1.0], [1.0, 2.0]], "list"),
        (None, "None"),
        (np.zeros(2, [("a", float)]), "a"),
        (np.array(["2026-01-01"], "M8[D]"), r"datetime64\[D\]"),
        (np.ma.masked_equal(NUMBERS, 3), "1 masked"),
        (scipy.sparse.eye_array(3), "sparse dia_array"),
        (BCOO((jnp.ones(2), jnp.array([[0, 0], [1, 1]])), shape=(2, 2)), "BCOO"),
        (10**400, "object with 1000"),
        (np.longdouble("1e400") if np.finfo(np.longdouble).max > 1e308 else 10**400, "float64|object"),
        (jax.random.key(0), "key<"),
    ],
)
def test_what_is_no_number_is_named(value, message):
    with pytest.raises(ValueError, match=f"`x` must .*({message})"):
        real_array("x", value)


def test_numbers_that_single_precision_cannot_hold():
    with jax.enable_x64(False):
        assert real_array("x", [1.0, 1e-60]).dtype == np.float32  # one small number beside others is 0 for all purposes
        with pytest.raises(ValueError, match="`x` must .* float32, got 1e.60: .*jax_enable_x64"):
            real_array("x", [1.0, 1e60])
        with pytest.raises(ValueError, match="`x` must .* float32, got none above 1e-60: .*jax_enable_x64"):
            real_array("x", [0.0, 1e-60])
        assert real_array("x", [0.0, np.inf])[1] == np.inf


def test_the_place_of_what_is_not_finite():
    with pytest.raises(ValueError, match="`w` must be finite, got nan in row 1, column 2"):
        square_matrix("w", np.where(np.arange(9).reshape(3, 3) == 5, np.nan, 1))
    for shape in ((2, 3), (0, 0), (4,)):
        with pytest.raises(ValueError, match=r"`w` must be a square matrix, got shape"):
            square_matrix("w", np.zeros(shape))
