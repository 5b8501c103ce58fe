"""Arrays of the right kind: concrete, floating-point, complex, or without gradient."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact


def is_concrete(*values: Any) -> bool:
    """True when no leaf of ``values`` is traced, so that they can be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def as_float(value: ArrayLike | Sequence[ArrayLike]) -> Float[Array, "..."]:
    """A floating-point array that keeps its dtype if it has one, and takes JAX's default otherwise.

    Raises:
        ValueError: if ``value`` is complex, ragged or not a number.
    """
    try:
        array = jnp.asarray(value)
    except TypeError as error:
        raise ValueError(f"expected real numbers, got {value!r}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"expected real numbers, got dtype {array.dtype}")
    # Python numbers give weak types, which would make results depend on how a value was written.
    dtype = array.dtype if jnp.issubdtype(array.dtype, jnp.floating) and not array.weak_type else jnp.result_type(float)
    return jnp.asarray(array, dtype=dtype)


def as_complex(x: Inexact[Array, "..."]) -> Complex[Array, "..."]:
    """The same numbers in the complex dtype of the same precision."""
    return x if jnp.iscomplexobj(x) else jax.lax.complex(x, jnp.zeros_like(x))


def square_modulus(x: Complex[Array, "..."]) -> Float[Array, "..."]:
    """|x|^2, differentiable at 0."""
    return x.real**2 + x.imag**2


def frozen(tree: Any) -> Any:
    """``tree`` with no gradient through its arrays; other leaves (functions) stay as they are."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)
