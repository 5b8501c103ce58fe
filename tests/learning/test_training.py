"""The loop of gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.learning import Trained, minibatches, train

TARGET = jnp.array([1.0, -2.0])


def loss(params, batch, key):
    """A parabola with a little noise that depends on the key of the step alone."""
    return jnp.sum((params["x"] - TARGET) ** 2) + 0.1 * batch * params["x"][0] * jax.random.normal(key)


START = {"x": jnp.zeros(2), "name": "fixed", "count": jnp.arange(2)}
OPTIMISER = optax.adam(0.1)
BATCHES = jnp.linspace(0, 1, 12)


def test_steps_are_those_of_a_plain_loop():
    found = train(loss, START, OPTIMISER, BATCHES, key=jax.random.key(3))
    x, state, losses = START["x"], OPTIMISER.init({"x": START["x"]}), []
    with jax.numpy_dtype_promotion("standard"):
        for i, batch in enumerate(BATCHES):
            key = jax.random.fold_in(jax.random.key(3), i)
            value, slope = jax.value_and_grad(lambda p, b=batch, k=key: loss(p, b, k))({"x": x})
            update, state = OPTIMISER.update(slope, state)
            x = x + update["x"]
            losses.append(value)
    np.testing.assert_allclose(found.params["x"], x, rtol=1e-12)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
    assert found.params["name"] == "fixed" and np.array_equal(found.params["count"], [0, 1])


def test_parts_give_the_numbers_of_one_run():
    key = jax.random.key(3)
    whole = train(loss, START, OPTIMISER, BATCHES, key=key)
    first = train(loss, START, OPTIMISER, BATCHES[:5], key=key)
    rest = train(loss, first.params, OPTIMISER, BATCHES[5:], key=key, start=5, state=first.state)
    assert np.array_equal(rest.params["x"], whole.params["x"])
    assert np.array_equal(jnp.concatenate([first.losses, rest.losses]), whole.losses)


def test_seeds_are_mapped():
    keys = jax.random.split(jax.random.key(0), 3)
    run = lambda key: train(loss, START, OPTIMISER, BATCHES, key=key).losses
    np.testing.assert_allclose(jax.vmap(run)(keys), [run(key) for key in keys], rtol=1e-12)


def test_minibatches():
    found = np.asarray(minibatches(10, 3, 4, key=jax.random.key(1)))
    assert found.shape == (12, 3)
    epochs = found.reshape(4, 9)
    assert all(len(set(epoch)) == 9 and set(epoch) <= set(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_loss_that_breaks_down_stays_visible():
    broken = lambda params, batch, key: jnp.log(params - batch)
    found = train(broken, jnp.ones(()), optax.sgd(1.0), jnp.arange(3.0), key=jax.random.key(0))
    assert isinstance(found, Trained) and not np.all(np.isfinite(found.losses))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"optimiser": "adam"}, "`optimiser`"),
        ({"batches": ()}, "`batches` must be arrays with one row"),
        ({"batches": (np.ones(3), np.ones(2))}, r"got \[2, 3\] rows"),
        ({"batches": 1.0}, "`batches`"),
        ({"key": 0}, "`key`"),
        ({"start": -1}, "`start`"),
        ({"loss": lambda params, batch, key: params["x"]}, "`loss` must give one real number"),
    ],
)
def test_bad_arguments(change, message):
    given = {"loss": loss, "params": START, "optimiser": OPTIMISER, "batches": BATCHES, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        train(**(given | change))
    with pytest.raises(ValueError, match="`size`"):
        minibatches(3, 4, 1, key=jax.random.key(0))
