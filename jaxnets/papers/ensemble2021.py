"""Spike-and-slab recurrent networks, Zou, Li & Huang 2021 (arXiv 2102.03740): rows of digits, and two senses."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from .. import learning, plotting, spectra
from ..plotting import BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper


@dataclass(frozen=True)
class Sizes:
    seeds: int  # that learn rows of digits
    networks: int  # sampled from each
    units: int  # that integrate two senses
    steps: int  # of their training, at most
    trials: int  # at each rate of events


QUICK = Sizes(seeds=2, networks=10, units=150, steps=800, trials=60)
FULL = Sizes(seeds=8, networks=40, units=150, steps=800, trials=400)

# --- rows of digits -------------------------------------------------------------------------------------------

UNITS, EPOCHS, BATCH = 50, 40, 96
# In %, or as they are, with standard errors, of an independent program.
REFERENCE = {
    "accuracy, weights redrawn each step": (90.3, 1.4),
    "accuracy of mean weights": (91.6, 1.2),
    "accuracy of sampled networks": (88.8, 0.4),
    "mean probability to be absent": (0.044, 0.007),
}


def train_rows(keys: PRNGKeyArray) -> learning.SpikeSlabRNN:
    """Networks that see digits row by row, one for each key."""
    data = learning.digit_rows()
    steps = 1347 // BATCH
    rate = optax.piecewise_constant_schedule(5e-3, {steps * 10 * k: 0.5 for k in (1, 2, 3)})
    decayed = optax.adamw(rate, weight_decay=1e-4, mask=learning.except_sparsity)
    optimiser = learning.projected(optax.chain(learning.clip_spectral(10.0), decayed))

    def loss(network, batch, key):
        outputs = _ends(network, data.train.inputs[batch], key)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, data.train.labels[batch]))

    def run(key):
        start, order, noise = jax.random.split(key, 3)
        network = learning.SpikeSlabRNN.gaussian(8, UNITS, 10, key=start, leak=0.5)
        batches = learning.minibatches(1347, BATCH, EPOCHS, key=order)
        return learning.train(loss, network, optimiser, batches, key=noise).params

    return jax.jit(jax.vmap(run))(keys)


def _ends(network, x, key):
    return jax.vmap(lambda x, key: network(x, key=key)[-1])(x, jax.random.split(key, len(x)))


def draw_rows(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    test = learning.digit_rows().test
    k_train, k_noise, k_networks = jax.random.split(key, 3)
    trained = train_rows(jax.random.split(k_train, sizes.seeds))
    last = lambda network: lambda x: network(x)[-1]

    def measured(network, key):
        drawn = jax.vmap(lambda key: learning.accuracy(last(network.sample(key=key)), test))
        annealed = jnp.mean(jnp.argmax(_ends(network, test.inputs, key), -1) == test.labels)
        mean, frozen = learning.accuracy(last(network), test), drawn(jax.random.split(key, sizes.networks))
        return 100 * annealed, 100 * mean, 100 * jnp.mean(frozen), jnp.mean(network.recurrent.sparsity)

    values = jax.jit(jax.vmap(measured))(trained, jax.random.split(k_noise, sizes.seeds))
    rows = [
        Comparison(
            name,
            published=mean,
            sample=float(jnp.mean(one)),
            sample_error=standard_error(one),
            allowance=3 * error,
            note="reference value of an independent program",
        )
        for (name, (mean, error)), one in zip(REFERENCE.items(), values, strict=True)
    ]
    ensemble = jax.tree.map(lambda leaf: leaf[0], trained).recurrent
    draws = jax.vmap(lambda key: ensemble.draw(key=key))(jax.random.split(k_networks, sizes.networks))
    eigenvalues = np.asarray(spectra.eigenvalues(draws))
    law = spectra.law(ensemble)
    curves, largest = law.boundary(), np.real(eigenvalues).max(1)
    edge = float(law.right_edge())
    rows += [
        Comparison(
            "share of eigenvalues outside the law of trained weights",
            theory=0.0,
            sample=float(spectra.coverage(eigenvalues.ravel(), curves).outside),
            allowance=0.1,
            note=f"{sizes.networks} networks of {UNITS} units",
        ),
        Comparison(
            "right edge of trained weights",
            theory=edge,
            sample=float(largest.mean()),
            sample_error=standard_error(largest),
            allowance=edge / UNITS**0.5,
            note="a finite network's differs by N^(-1/2)",
        ),
    ]
    left, right = plotting.table(1, 2)[0]
    plotting.eigenvalues(eigenvalues, left, color=BLUE, label="sampled networks")
    plotting.boundary(curves, left, label="law")
    plotting.legend(left)
    _draw_sparsity(right, ensemble)
    caption = (
        f"Left: eigenvalues of {sizes.networks} networks of {UNITS} units, drawn from weights that learned digits row "
        "by row, and the law of these weights. Right: their probabilities to be absent stay small."
    )
    return Figure(left, caption, rows)


def _draw_sparsity(ax, ensemble) -> None:
    sparsity = np.sort(np.asarray(ensemble.sparsity).ravel())
    share = (np.arange(sparsity.size) + 1) / sparsity.size
    keep = np.unique(np.linspace(0, sparsity.size - 1, 300).round().astype(int))
    plotting.profile(sparsity[keep], share[keep], ax, color=BLUE)
    ax.set(xlabel="probability to be absent", ylabel="share of recurrent weights below", xlim=(-0.02, 1.02))


# --- two senses -----------------------------------------------------------------------------------------------

STOP, PART = 2.5e-3, 20  # mean loss of five steps at which training stops, looked at after each part
RATES = np.array([11, 11.5, 12, 12.25, 12.5, 12.75, 13, 13.5, 14])
SENSES = {"seen": BLUE, "heard": GREEN, "both": VERMILLION}
ABSENT, SLOWER = 0.507, 1.98  # of an independent program: mean sparsity, width of sampled networks over annealed


def train_senses(units: int, steps: int, key: PRNGKeyArray) -> tuple[learning.SpikeSlabRNN, float]:
    """The published training, and the mean loss of its last five steps."""
    task, optimiser = learning.Multisensory(), learning.multisensory_optimiser()
    k_start, k_steps = jax.random.split(key)

    def loss(network, batch, key):
        shown, noise = jax.random.split(key)
        trials = task.batch(key=shown)
        respond = jax.vmap(lambda x, key: network(x, key=key))
        outputs = respond(trials.inputs, jax.random.split(noise, len(trials.inputs)))
        return learning.squared_error(outputs, trials)

    network, state, reached = learning.SpikeSlabRNN.multisensory(units, key=k_start), None, float("nan")
    for begin in range(0, steps, PART):
        part = learning.train(loss, network, optimiser, jnp.zeros(PART), key=k_steps, start=begin, state=state)
        network, state, reached = part.params, part.state, float(jnp.mean(part.losses[-5:]))
        if reached <= STOP:
            break
    return network, reached


def draw_senses(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    k_train, k_test = jax.random.split(key)
    network, reached = train_senses(sizes.units, sizes.steps, k_train)
    tested = learning.Multisensory(fixation=5.0, duration=18.0, num_catch=0)
    annealed = lambda x, key: network(x, key=key)
    quenched = lambda x, key: network.sample(key=jax.random.fold_in(key, 1))(x, key=key)
    curves = {
        name: {
            senses: learning.psychometric(respond, tested, senses, RATES, sizes.trials, key=k_test) for senses in SENSES
        }
        for name, respond in (("annealed", annealed), ("sampled", quenched))
    }
    rows = [
        Comparison(
            "loss of the trained network",
            published=0.002,
            sample=reached,
            allowance=0.001,
            note="published stop: one step at .0020 or less, of 500 at most; here a mean of five, of 800",
        ),
        Comparison(
            "mean probability to be absent, recurrent",
            published=ABSENT,
            sample=float(network.recurrent.sparsity.mean()),
            allowance=0.1,
            note="reference value",
        ),
    ]
    rows += [row for name in curves for row in _integration(name, curves[name])]
    one, other = curves["sampled"]["both"], curves["annealed"]["both"]
    ratio = one.width / other.width
    rows.append(
        Comparison(
            "width of sampled networks over annealed, both senses",
            published=SLOWER,
            sample=ratio,
            sample_error=ratio * float(np.hypot(one.width_error / one.width, other.width_error / other.width)),
            allowance=0.5,
            note="reference value of another seed",
        )
    )
    panels = plotting.table(1, 2)[0]
    for ax, (name, found) in zip(panels, curves.items(), strict=True):
        for senses, color in SENSES.items():
            curve = found[senses]
            plotting.estimates(curve.rates, curve.share, ax, error=curve.share_error, color=color, label=senses)
        ax.set(xlabel=f"events a second, {name}", ylabel="share called high")
        plotting.legend(ax, num_columns=3)
    caption = (
        f"How often a network of {sizes.units} units calls a rate high that is seen, heard, or both, {sizes.trials} "
        "trials a point: weights redrawn at each step, as in training (left), and a sampled network in each trial."
    )
    return Figure(panels[0], caption, rows)


def _integration(name: str, found: dict[str, learning.Psychometric]) -> list[Comparison]:
    """The width of both senses beside that of the best observer."""
    seen, heard, both = (found[senses] for senses in SENSES)
    best = learning.best_width(seen.width, heard.width)
    seen_error, heard_error = ((best / one.width) ** 3 * one.width_error for one in (seen, heard))
    return [
        Comparison(
            f"width of both senses, {name}",
            theory=best,
            sample=both.width,
            sample_error=float(np.hypot(both.width_error, np.hypot(seen_error, heard_error))),
            allowance=0.3 * best,
            note="theory is the best observer of the two, which the network need not be",
        )
    ]


PAPER = Paper(
    number="2102.03740",
    subject="Ensembles of recurrent networks: laws of single weights that are trained",
    choices=(
        "MNIST is not downloaded here: digits are those of scikit-learn, in 8 rows, and the printed accuracies stay "
        "unknown, as do the printed psychometric curves. Trials of the senses last 14 time constants, and 25 in the "
        "paper, in which only catch trials count after 14."
    ),
    figures={"rows": draw_rows, "senses": draw_senses},
    quick=QUICK,
    full=FULL,
)
