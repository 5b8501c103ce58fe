"""Loops that keep little for the reverse pass."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

_Carry = TypeVar("_Carry")


def checkpointed_scan(body: Callable, carry: _Carry, xs: Array, group: int) -> tuple[_Carry, Any]:
    """A `lax.scan` that keeps one carry of each `group` for the reverse pass, and computes the rest a second time."""
    if group == 1:
        return jax.lax.scan(body, carry, xs)
    groups = xs.shape[0] // group
    whole, rest = xs[: groups * group], xs[groups * group :]
    many = jax.checkpoint(lambda carry, xs: jax.lax.scan(body, carry, xs))
    carry, outputs = jax.lax.scan(many, carry, whole.reshape(groups, group))
    outputs = jax.tree.map(lambda a: a.reshape(groups * group, *a.shape[2:]), outputs)
    if rest.size == 0:  # a loop without steps would be compiled all the same
        return carry, outputs
    carry, last = jax.lax.scan(body, carry, rest)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, last)
