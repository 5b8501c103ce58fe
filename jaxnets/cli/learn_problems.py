"""The tasks of `jaxnets learn`: what is trained, by which loss and optimiser, and how well the result does.

The published numbers are the defaults: those of `tests/learning/test_digits.py` for samples, and of
`SpikeSlabRNN.multisensory` for the senses. A new task is one more function in `PROBLEMS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .. import couplings, learning
from .inputs import evaluate, vocabulary
from .refusals import InputError

BATCH = 96  # samples of a step
TESTED = 200  # trials that a trained network is tested with
RATES = np.array([11, 11.5, 12, 12.25, 12.5, 12.75, 13, 13.5, 14])  # events a second of the psychometric curves
SENSED = 60  # trials at each of these rates


@dataclass(frozen=True)
class Options:
    """The arguments of the command."""

    task: str
    steps: int
    n: int
    modes: int
    ensemble: str
    rate: float
    seed: int

    def attributes(self) -> dict[str, Any]:
        """For the outputs, and to know a run again."""
        return dict(vars(self))


@dataclass(frozen=True)
class Curve:
    """One curve of the panel that shows what was learned."""

    x: Float[np.ndarray, " x"]
    values: Float[np.ndarray, " x"]
    label: str
    error: Float[np.ndarray, " x"] | None = None
    wanted: bool = False  # a target, drawn below the outputs


@dataclass(frozen=True)
class Problem:
    """What `train` needs, and what is said of a trained network.

    `scores` are rows of the table, `shown` are the curves of what was learned with names of the axes, and `weights` the
    square couplings, whose eigenvalues are shown before and after.
    """

    start: Any
    loss: Callable[[Any, Any, jax.Array], Array]
    optimiser: optax.GradientTransformation
    batches: Array  # one row for each step
    weights: Callable[[Any], Float[Array, "n n"]]
    scores: Callable[[Any], list[tuple[str, str]]]
    shown: Callable[[Any], tuple[list[Curve], str, str]]


def problem(options: Options) -> Problem:
    """The problem of the task; raises `InputError` for what cannot be made."""
    try:
        return PROBLEMS[options.task](options, *jax.random.split(jax.random.key(options.seed)))
    except (ImportError, ValueError) as error:
        raise InputError(str(error)) from error


# --- samples with labels


def _digits(options: Options, key, order) -> Problem:
    return _of_modes(options, learning.digits(), key, order)


def _mnist_1d(options: Options, key, order) -> Problem:
    return _of_modes(options, learning.mnist_1d(), key, order)


def _halved(options: Options):
    """The rate, halved after each quarter of the steps."""
    quarter = max(1, options.steps // 4)
    return optax.piecewise_constant_schedule(options.rate, {quarter * k: 0.5 for k in (1, 2, 3)})


def _cross_entropy(respond, data: learning.Samples):
    def loss(network, batch, key):
        outputs = respond(network, data.inputs[batch], key)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, data.labels[batch]))

    return loss


def _order(data: learning.Split, options: Options, key):
    num = len(data.train.labels)
    epochs = -(-options.steps // (num // BATCH))
    return learning.minibatches(num, BATCH, epochs, key=key)[: options.steps]


def _shares(network, data: learning.Split) -> list[tuple[str, str]]:
    return [
        (f"accuracy, {len(part.labels)} samples {name}", f"{float(learning.accuracy(network, part)):.4f}")
        for name, part in (("trained on", data.train), ("of the test", data.test))
    ]


def _of_modes(options: Options, data: learning.Split, key, order) -> Problem:
    sizes = (data.train.inputs.shape[1], options.n, options.n, 10)
    start = learning.ModeNetwork.gaussian(sizes, options.modes, key=key)

    def scores(network):
        pruned = learning.prune(network.canonical(), 0, 0.3)
        share = float(learning.accuracy(pruned, data.test))
        return [*_shares(network, data), ("accuracy without the weakest 30 % of modes of layer 1", f"{share:.4f}")]

    def shown(network):
        curves = []
        for k, layer in enumerate(network.layers):
            values = np.sort(np.asarray(learning.strength(layer.canonical())))[::-1]
            curves.append(Curve(np.arange(1.0, len(values) + 1), values, f"layer {k + 1}"))
        return curves, "mode", "singular value"

    return Problem(
        start,
        _cross_entropy(lambda network, x, key: jax.vmap(network)(x), data.train),
        optax.adamw(_halved(options), weight_decay=1e-3),
        _order(data, options, order),
        lambda network: network.layers[1].weight(),
        scores,
        shown,
    )


def _digit_rows(options: Options, key, order) -> Problem:
    data = learning.digit_rows()

    def respond(network, x, key):
        return jax.vmap(lambda x, key: network(x, key=key)[-1])(x, jax.random.split(key, len(x)))

    decayed = optax.adamw(_halved(options), weight_decay=1e-4, mask=learning.except_sparsity)
    last = lambda network: lambda x: network(x)[-1]

    def scores(network):
        drawn = [network.sample(key=jax.random.key(k)) for k in range(10)]
        quenched = [float(learning.accuracy(last(one), data.test)) for one in drawn]
        rows = [*_shares(last(network), data)]
        rows += [("accuracy of ten sampled networks", f"{np.mean(quenched):.4f} ± {np.std(quenched) / 10**0.5:.4f}")]
        return rows + _of_law(network)

    return Problem(
        learning.SpikeSlabRNN.gaussian(8, options.n, 10, key=key, leak=0.5),
        _cross_entropy(respond, data.train),
        learning.projected(optax.chain(learning.clip_spectral(10.0), decayed)),
        _order(data, options, order),
        lambda network: network.recurrent.moments().mean,
        scores,
        _sparsities,
    )


def _of_law(network: learning.SpikeSlabRNN) -> list[tuple[str, str]]:
    law = network.recurrent
    return [
        ("mean probability to be absent, recurrent", f"{float(law.sparsity.mean()):.4f}"),
        ("entropy of absence, in nats", f"{float(law.entropy().spike.mean()):.4f}"),
        ("mean variance of slabs, recurrent", f"{float(law.slab_variance.mean()):.5f}"),
    ]


def _sparsities(network: learning.SpikeSlabRNN):
    curves = []
    for name in ("recurrent", "outputs"):
        sorted_ = np.sort(np.asarray(getattr(network, name).sparsity).ravel())
        at = np.unique(np.linspace(0, len(sorted_) - 1, min(400, len(sorted_))).round().astype(int))
        curves.append(Curve(sorted_[at], (at + 1) / len(sorted_), name))
    return curves, "probability to be absent", "share of weights below"


# --- trials in time


def _squared(task: learning.Task, respond):
    def loss(network, batch, key):
        shown, noise = jax.random.split(key)
        trials = task.batch(key=shown)
        return learning.squared_error(respond(network, trials.inputs, noise), trials)

    return loss


def _annealed(network, x, key):
    return jax.vmap(lambda x, key: network(x, key=key))(x, jax.random.split(key, len(x)))


def _multisensory(options: Options, key, order) -> Problem:
    task, tested = learning.Multisensory(), learning.Multisensory(fixation=5.0, duration=18.0, num_catch=0)

    def curves(network):
        respond = lambda x, key: network(x, key=key)
        return {
            senses: learning.psychometric(respond, tested, senses, RATES, SENSED, key=order)
            for senses in ("seen", "heard", "both")
        }

    def scores(network):
        found = curves(network)
        rows = [
            (f"width of the curve, {name}", f"{one.width:.3f} ± {one.width_error:.3f}") for name, one in found.items()
        ]
        best = learning.best_width(found["seen"].width, found["heard"].width)
        return [*rows, ("best width of both", f"{best:.3f}"), *_of_law(network)]

    def shown(network):
        found = curves(network)
        return (
            [Curve(one.rates, one.share, name, one.share_error) for name, one in found.items()],
            "events",
            "called high",
        )

    return Problem(
        learning.SpikeSlabRNN.multisensory(options.n, key=key),
        _squared(task, _annealed),
        learning.multisensory_optimiser(),
        jnp.zeros(options.steps),
        lambda network: network.recurrent.moments().mean,
        scores,
        shown,
    )


def _house(options: Options, task: learning.Task, key) -> Problem:
    """A rate network whose couplings an ensemble draws."""
    law = evaluate(options.ensemble, vocabulary(couplings, couplings.Ensemble), couplings.Ensemble, "--ensemble")
    k_couplings, k_ends, k_test = jax.random.split(key, 3)
    J = law.sample(options.n, key=k_couplings)
    start = learning.RecurrentNetwork.gaussian(J, task.num_inputs, task.num_outputs, key=k_ends, dt=task.dt)
    respond = lambda network, x, key: jax.vmap(network)(x)
    tested = [
        task.batch(key=k) for k in jax.random.split(k_test, max(1, TESTED // task.batch(key=key).counted.shape[0]))
    ]

    def scores(network):
        one = jax.jit(lambda x: jax.vmap(network)(x))
        right = np.concatenate([np.asarray(task.correct(one(trials.inputs), trials)) for trials in tested])
        return [(f"share of {len(right)} trials answered", f"{right.mean():.4f}")]

    def shown(network):
        trials = tested[0]
        times = task.dt * np.arange(1, task.num_steps + 1)
        outputs = np.asarray(jax.jit(lambda x: jax.vmap(network)(x))(trials.inputs[:2]))[..., 0]
        rows = []
        for k in range(2):
            rows += [Curve(times, np.asarray(trials.targets)[k, :, 0], "target" if k == 0 else "", wanted=True)]
            rows += [Curve(times, outputs[k], f"trial {k + 1}")]
        return rows, "time (τ)", "output"

    loss, optimiser = _squared(task, respond), optax.adam(options.rate)
    weights = lambda network: network.operator().dense()
    return Problem(start, loss, optimiser, jnp.zeros(options.steps), weights, scores, shown)


def _match(options: Options, key, order) -> Problem:
    return _house(options, learning.DelayedMatch(), key)


def _sine(options: Options, key, order) -> Problem:
    return _house(options, learning.Sine(), key)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "digits": _digits,
    "digit-rows": _digit_rows,
    "mnist-1d": _mnist_1d,
    "multisensory": _multisensory,
    "match": _match,
    "sine": _sine,
}
