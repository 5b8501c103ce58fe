"""Many concrete rows, in batches of one size: a compiled program that is driven from the host."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .programs import as_program


def in_batches(of_batch: Callable[..., Any]) -> Callable[..., Any]:
    """``of_batch(fixed, rows, *more)``, compiled once for each batch size, for any number of concrete rows.

    What it makes is called as ``program(fixed, rows, size, *more)``: `fixed` is any PyTree, `rows` a PyTree of NumPy
    arrays of as many rows each, perhaps none, and `more` are arrays. The last batch is filled up with rows that come
    again. The result is a PyTree of NumPy arrays with as many rows.
    """

    @functools.partial(as_program, jit=jax.jit, static_argnums=0)
    def compiled(static, dynamic, rows, *more):
        leaves, structure = static
        return of_batch(eqx.combine(dynamic, jax.tree.unflatten(structure, leaves)), rows, *more)

    @functools.wraps(of_batch)
    def program(fixed, rows, size: int, *more):
        num = len(jax.tree.leaves(rows)[0])
        if num == 0:
            rows = jax.tree.map(lambda array: np.ones((1, *array.shape[1:]), array.dtype), rows)
        # Not `equinox.filter_jit`, which would take `fixed` apart at each batch: half a millisecond.
        dynamic, static = eqx.partition(fixed, eqx.is_array)
        leaves, structure = jax.tree.flatten(static)
        batches = np.resize(np.arange(max(num, 1)), (-(-max(num, 1) // size), size))
        take = lambda batch: jax.tree.map(lambda array: array[batch], rows)
        parts = [compiled((tuple(leaves), structure), dynamic, take(batch), *more) for batch in batches]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:num], *parts)

    return program
