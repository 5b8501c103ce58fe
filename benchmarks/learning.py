"""Training by modes against training full matrices, and seeds in one program against one after the other.

    python benchmarks/learning.py [--quick]

A step is the gradient of the cross-entropy of a batch of 96 and one step of Adam, for layers n-n-n-10 of ReLU units:
with p = n / 10 modes a layer, or with full matrices. The limit is the time of its products alone at the flops of a
large product. Seeds: networks 64-50-50-10 of 12 modes learn the digits for 5 epochs, 16 in one program by `vmap`,
against 16 calls of the compiled program of one.
"""

import argparse

import jax
import jax.numpy as jnp
import optax
from table import Row
from timing import flops, timed

from jaxnets.learning import ModeNetwork, digits, minibatches, train

BATCH, CLASSES, STEPS = 96, 10, 20


def full(n, key):
    """Full matrices of the same sizes."""
    sizes, keys = (n, n, n, CLASSES), jax.random.split(key, 3)
    return [jax.random.normal(k, (b, a)) * (2 / a) ** 0.5 for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]


def outputs_of_full(weights, x):
    for weight in weights[:-1]:
        x = jax.nn.relu(weight @ x)
    return weights[-1] @ x


def steps(network, outputs, x, labels, repeats):
    """Seconds of one step, compiling apart."""
    optimiser = optax.adam(1e-3)

    def loss(network, batch, key):
        logits = jax.vmap(lambda x: outputs(network, x))(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    run = lambda: train(loss, network, optimiser, jnp.zeros(STEPS), key=jax.random.key(0)).losses
    compiling, seconds, _ = timed(run, repeats=repeats)
    return compiling, seconds / STEPS


def seeds(num, repeats):
    """Seconds of training `num` seeds in one program, and of as many calls of a program for one."""
    data = digits().train
    optimiser = optax.adamw(5e-3)

    def loss(network, batch, key):
        logits = jax.vmap(network)(data.inputs[batch])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, data.labels[batch]))

    def run(key):
        network = ModeNetwork.gaussian((64, 50, 50, 10), 12, key=key)
        return train(loss, network, optimiser, minibatches(1347, BATCH, 5, key=key), key=key).losses[-1]

    keys = jax.random.split(jax.random.key(0), num)
    one, many = jax.jit(run), jax.jit(jax.vmap(run))
    compiling, together, _ = timed(many, keys, repeats=repeats)
    return compiling, together, num * timed(one, keys[0], repeats=repeats)[1]


def main(quick: bool) -> list[Row]:
    repeats, rows = (2, []) if quick else (5, [])
    rate = flops(jnp.float32)
    for n in (300,) if quick else (300, 1000, 3000):
        keys = jax.random.split(jax.random.key(1), 4)
        x, labels = jax.random.normal(keys[0], (BATCH, n)), jax.random.randint(keys[1], (BATCH,), 0, CLASSES)
        network = ModeNetwork.gaussian((n, n, n, CLASSES), n // 10, key=keys[2])
        compiling, ours = steps(network, lambda network, x: network(x), x, labels, repeats)
        _, theirs = steps(full(n, keys[3]), outputs_of_full, x, labels, repeats)
        products = sum(2 * BATCH * leaf.size for leaf in (*network.left, *network.right))
        # Forwards once, backwards by inputs and by weights.
        least = 3 * products / rate
        rows.append(
            Row(f"step of {n // 10} modes a layer, n = {n}", ours, compiling, "full matrices", theirs, "flops", least)
        )
    compiling, together, alone = seeds(16, repeats)
    rows.append(Row("16 seeds learn digits for 5 epochs", together, compiling, "one after the other", alone))
    for row in rows:
        print(row.markdown(), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one size, two runs")
    main(parser.parse_args().quick)
