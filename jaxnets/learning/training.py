"""One loop for gradient descent on any loss: compiled as a whole, mapped over seeds, continued from any step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._arguments import require_instance, require_key, require_whole
from .._numerics import as_program
from .._results import Result


class Trained(Result):
    """`params` after all steps, `losses`, one before each step, and the `state` of the optimiser, to go on from."""

    params: PyTree
    losses: Float[Array, " steps"]
    state: PyTree


def train(
    loss: Callable[[Any, Any, PRNGKeyArray], Float[Array, ""]],
    params: PyTree,
    optimiser: optax.GradientTransformation,
    batches: PyTree,
    *,
    key: PRNGKeyArray,
    start: int = 0,
    state: PyTree | None = None,
) -> Trained:
    """Minimises ``loss(params, batch, key)``, by one step of the optimiser for each batch.

    `params` is any PyTree, whose floating-point arrays are trained. `batches` is a PyTree of arrays with the steps as
    the first axis, say the indices of `minibatches`; the loss gets one row of it, and a key of its own. All steps are
    one compiled program, and ``vmap`` over keys trains many seeds in it. A loss that is a new function at each call is
    compiled anew.

    To go on after k steps, pass ``start=k`` and the `state` of the first part: keys depend on the number of the step
    alone, so that parts give the numbers of one run. A program shows nothing before its end: train in parts to see how
    long training goes on, or to stop it. A loss that is not finite stays visible in `losses`.

    Raises `ValueError` unless ``loss`` gives one real number, ``optimiser`` is one of optax, all arrays of ``batches``
    have the same number of steps, at least one, and ``start`` is a whole number >= 0; and without a key.
    """
    require_instance("optimiser", optimiser, optax.GradientTransformation, "of optax, such as `optax.adamw(1e-3)`")
    require_key("key", key)
    require_whole("start", start, 0)
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(batches)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"`batches` must be arrays with one row for each step, at least one, got {sorted(lengths)} rows"
        )
    first = jax.tree.map(lambda leaf: leaf[0], batches)
    shape = eqx.filter_eval_shape(loss, params, first, key)
    if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(f"`loss` must give one real number, got {shape}")
    trainable = eqx.filter(params, eqx.is_inexact_array)
    state = optimiser.init(trainable) if state is None else state
    return Trained(*_trained(loss, params, optimiser, batches, key, np.asarray(start), state))


@as_program
def _trained(loss, params, optimiser, batches, key, start, state):
    trainable, fixed = eqx.partition(params, eqx.is_inexact_array)

    def step(carry, row):
        trainable, state = carry
        batch, number = row
        at = lambda trainable: loss(eqx.combine(trainable, fixed), batch, jax.random.fold_in(key, number))
        value, slopes = jax.value_and_grad(at)(trainable)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers of two widths
            updates, state = optimiser.update(slopes, state, trainable)
            return (optax.apply_updates(trainable, updates), state), value

    numbers = start + jnp.arange(len(jax.tree.leaves(batches)[0]))
    (trainable, state), losses = jax.lax.scan(step, (trainable, state), (batches, numbers))
    return eqx.combine(trainable, fixed), losses, state


def minibatches(num_samples: int, size: int, epochs: int, *, key: PRNGKeyArray) -> Int[Array, "steps size"]:
    """Indices of samples for each step: in every epoch all samples in a new random order, without an incomplete batch.

    There are ``epochs * (num_samples // size)`` steps. Raises `ValueError` for numbers below 1, a ``size`` above
    ``num_samples``, and without a key.
    """
    for name, number in (("num_samples", num_samples), ("size", size), ("epochs", epochs)):
        require_whole(name, number)
    require_key("key", key)
    if size > num_samples:
        raise ValueError(f"`size` must be at most the number of samples, {num_samples}, got {size}")
    used = num_samples // size * size
    orders = jax.vmap(lambda key: jax.random.permutation(key, num_samples)[:used])(jax.random.split(key, epochs))
    return orders.reshape(-1, size)
