"""Mode decomposition learning, Li & Huang 2023 (arXiv 2208.09859): on-line theory, and modes that a task needs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from .. import learning, plotting
from ..plotting import BLACK, BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper


@dataclass(frozen=True)
class Sizes:
    streams: int  # of samples, for each start
    starts: int
    last: float  # time of the on-line run, in units of D samples
    units: tuple[int, ...]  # of the two hidden layers
    seeds: int


QUICK = Sizes(streams=16, starts=1, last=1000.0, units=(50,), seeds=2)
FULL = Sizes(streams=64, starts=3, last=1e4, units=(25, 50, 100), seeds=8)

# --- on line --------------------------------------------------------------------------------------------------

INPUTS, UNITS, MODES, RATE = 30, 8, 3, 5.0  # of the published run; the modes are ln D, rounded down


def committees(key: PRNGKeyArray) -> tuple[learning.Committee, learning.Committee]:
    """The published start: student and teacher share the outer modes and strengths, and only inner modes learn."""
    k_student, k_teacher = jax.random.split(key)
    scale = float(np.log(INPUTS) ** (-1 / 6))
    student = learning.Committee.gaussian(UNITS, MODES, INPUTS, key=k_student, scale=scale)
    right = scale * jax.random.normal(k_teacher, (MODES, INPUTS))
    return student, learning.Committee(student.left, student.amplitudes, right)


def online(key: PRNGKeyArray, times: np.ndarray, streams: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of theory, and of each of the streams, at the times."""
    k_start, k_streams = jax.random.split(key)
    student, teacher = committees(k_start)
    rates = learning.LearningRates(RATE)
    theory = learning.online_theory(student, teacher, rates, times).losses
    descend = jax.jit(jax.vmap(lambda key: learning.online_sgd(student, teacher, rates, times, key=key).losses))
    return np.asarray(theory), np.asarray(descend(jax.random.split(k_streams, streams)))


def draw_online(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    marks = np.array([t for t in (10.0, 100.0, 1e3, 1e4) if t <= sizes.last])
    times = np.unique(np.concatenate([np.geomspace(0.1, sizes.last, 25), marks]))
    ax, rows = plotting.figure(4.2, 3.2), []
    for i, color in zip(range(sizes.starts), (BLUE, VERMILLION, GREEN), strict=False):
        theory, streams = online(jax.random.fold_in(key, i), times, sizes.streams)
        found, error = streams.mean(0), streams.std(0, ddof=1) / sizes.streams**0.5
        plotting.profile(times, theory, ax, color=color, label="theory" if i == 0 else None)
        plotting.samples(times, found, ax, error=error, color=color, label="descent" if i == 0 else None)
        rows += [
            Comparison(
                f"generalisation error at t = {t:g}, start {i + 1}",
                theory=float(theory[k]),
                sample=float(found[k]),
                sample_error=float(error[k]),
                allowance=float(theory[k]) / INPUTS,
                note="the mean over streams differs by 1 / D",
            )
            for t in marks
            for k in [int(np.searchsorted(times, t))]
        ]
    ax.set(xlabel="samples / D", ylabel="generalisation error", xscale="log", yscale="log")
    plotting.legend(ax)
    caption = (
        f"A committee of {UNITS} units and {MODES} modes learns a teacher with the same outer modes, D = {INPUTS}: "
        f"closed equations (lines), and the mean of {sizes.streams} streams of samples."
    )
    return Figure(ax, caption, rows)


# --- digits ---------------------------------------------------------------------------------------------------

# Test accuracies in % with standard errors, by units and modes, of an independent program; and the accuracy that is
# 97 % of a network of full matrices.
GRID = (3, 8, 12, 20)
REFERENCE = {
    25: {3: (70.9, 4.2), 8: (91.9, 0.6), 12: (95.1, 0.6), 20: (96.0, 0.2)},
    50: {3: (72.9, 0.7), 8: (94.4, 0.6), 12: (95.0, 0.4), 20: (95.9, 0.3)},
    100: {3: (74.9, 1.2), 8: (93.6, 1.0), 12: (95.3, 0.6), 20: (96.4, 0.3)},
}
ASKED = {25: 94.41, 50: 95.17, 100: 95.28}
EPOCHS, BATCH = 60, 96


def train_digits(units: int, modes: int, keys: PRNGKeyArray) -> learning.ModeNetwork:
    """Networks 64-N-N-10, one for each key."""
    data = learning.digits()
    steps = 1347 // BATCH
    rate = optax.piecewise_constant_schedule(5e-3, {steps * 15 * k: 0.5 for k in (1, 2, 3)})
    optimiser = optax.adamw(rate, weight_decay=1e-3)

    def loss(network, batch, key):
        outputs = jax.vmap(network)(data.train.inputs[batch])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, data.train.labels[batch]))

    def run(key):
        start, order, noise = jax.random.split(key, 3)
        network = learning.ModeNetwork.gaussian((64, units, units, 10), modes, key=start)
        batches = learning.minibatches(1347, BATCH, EPOCHS, key=order)
        return learning.train(loss, network, optimiser, batches, key=noise).params

    return jax.jit(jax.vmap(run))(keys)


def draw_digits(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    data = learning.digits()
    left, right = plotting.table(1, 2)[0]
    rows = []
    for units, color in zip(sizes.units, (BLUE, VERMILLION, GREEN), strict=False):
        keys = jax.random.split(jax.random.fold_in(key, units), sizes.seeds)
        found = {}
        for modes in GRID:
            networks = train_digits(units, modes, keys)
            accuracies = 100 * np.asarray(jax.vmap(lambda one: learning.accuracy(one, data.test))(networks))
            found[modes] = accuracies
            mean, error = REFERENCE[units][modes]
            rows.append(
                Comparison(
                    f"accuracy in %, {modes} modes, N = {units}",
                    published=mean,
                    sample=float(accuracies.mean()),
                    sample_error=standard_error(accuracies),
                    allowance=3 * error,
                    note="reference value of an independent program",
                )
            )
        means = np.array([found[modes].mean() for modes in GRID])
        errors = np.array([standard_error(found[modes]) for modes in GRID])
        plotting.samples(np.array(GRID, float), means, left, error=errors, color=color, label=f"N = {units}")
        above = int(np.argmax(means >= ASKED[units]))
        enough = float(np.interp(ASKED[units], means[above - 1 : above + 1], GRID[above - 1 : above + 1]))
        rows.append(
            Comparison(
                f"modes that reach 97 % of full matrices, N = {units}",
                published=14.0,
                sample=enough if above else float("nan"),
                allowance=6.0,
                note="reference value; the same from N = 25 to 200, between 8 and 20",
            )
        )
        _draw_pruning(right, networks, data, color, units)
    level = np.full(len(GRID), ASKED[sizes.units[0]])
    plotting.profile(np.array(GRID, float), level, left, color=BLACK, style=":", label="97 % of full matrices")
    left.set(xlabel="modes p", ylabel="accuracy on digits (%)")
    right.set(xlabel="share of modes removed from layer 1", ylabel="accuracy (%)")
    plotting.legend(left)
    plotting.legend(right)
    caption = (
        f"Left: accuracy of networks 64-N-N-10 over the modes of each layer, {sizes.seeds} seeds. Right: of {GRID[-1]} "
        "modes those of smallest singular value go first (line), or of smallest published importance (dashes)."
    )
    return Figure(left, caption, rows)


def _draw_pruning(ax, networks, data, color, units: int) -> None:
    fractions = np.arange(0, 0.81, 0.1)

    def accuracy(network, fraction, canonical):
        network = network.canonical() if canonical else network
        scores = learning.strength if canonical else learning.importance
        return learning.accuracy(learning.prune(network, 0, fraction, scores), data.test)

    for canonical, style in ((True, "-"), (False, "--")):
        values = [
            100 * float(jnp.mean(jax.vmap(lambda one, f=f, c=canonical: accuracy(one, f, c))(networks)))
            for f in fractions.tolist()
        ]
        plotting.profile(fractions, np.array(values), ax, color=color, style=style, label=f"N = {units}" * canonical)


PAPER = Paper(
    number="2208.09859",
    subject="Mode decomposition learning: on-line theory, and how many modes a task needs",
    choices=(
        "The accuracies that the paper prints, its Fig. 2 and the growth of the necessary modes with N are for MNIST "
        "and CIFAR, which are not downloaded here: they stay unknown. The digits are those of scikit-learn. Starts of "
        "the on-line run are drawn here, so that only theory and descent from the same start are compared."
    ),
    figures={"online": draw_online, "digits": draw_digits},
    quick=QUICK,
    full=FULL,
)
