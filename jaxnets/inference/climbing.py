"""The climb of a fit: the loss of a batch of windows, what is fitted and how, and updates in parts with checkpoints."""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import require_whole
from .._progress import moving
from ..fitting.parameters import Fixed, Interval, Positive, Space, Transform, Transforms, space_of
from ..learning import minibatches, train
from .checkpoints import Checkpoint
from .models import StochasticLowRank
from .particles import Trial, before, filter_trial
from .starts import is_smooth

_LONGEST = 20  # updates of one part, between two looks at the bar
_EVERY = 2.0  # seconds between checkpoints, at least


class Parameters(eqx.Module):
    """A model, and the law of states where windows begin."""

    model: StochasticLowRank
    window_mean: Float[Array, " R"] | None
    window_noise: Float[Array, "R R"] | None


class Batch(NamedTuple):
    trials: Int[Array, "S b"]
    starts: Int[Array, "S b"]


class Loss(eqx.Module):
    """Minus the bound of a batch of windows, per recorded number."""

    space: Space
    y: Float[Array, "B T M"]
    inputs: Float[Array, "B T I"] | None
    num_particles: Int[Array, ""]
    size: int = eqx.field(static=True)
    window: int = eqx.field(static=True)

    def __call__(self, params: Float[Array, " p"], batch: Batch, key: PRNGKeyArray) -> Float[Array, ""]:
        parts: Parameters = self.space.params(params)
        model = parts.model

        def cut(a: Any, start) -> Any:
            return None if a is None else jax.lax.dynamic_slice_in_dim(a, start, self.window)

        def of_window(trial, start, key):
            v = model.filtered_inputs(None if self.inputs is None else self.inputs[trial])
            first: Any = model.initial_mean, model.initial_noise
            if parts.window_mean is not None:
                within: Any = parts.window_mean, parts.window_noise
                first = tuple(jnp.where(start == 0, a, b) for a, b in zip(first, within, strict=True))
            y = cut(self.y[trial], start)
            steps = filter_trial(
                model, Trial(y, cut(v, start), cut(before(v), start), *first), key, self.num_particles, self.size
            )
            return jnp.sum(steps.increments), jnp.sum(jnp.isfinite(y))

        keys = jax.random.split(key, len(batch.trials))
        totals, observed = jax.vmap(of_window)(batch.trials, batch.starts, keys)
        return -jnp.sum(totals) / jnp.maximum(jnp.sum(observed), 1).astype(totals.dtype)


class _Decay(NamedTuple):
    """The count of updates, the first learning rate, and the logarithm of the last one over it, per update."""

    count: Array
    rate: Array
    slope: Array


def _decaying() -> optax.GradientTransformation:
    """Steps of an exponentially falling rate, which is data: other rates and numbers of updates compile nothing."""

    def update(updates: Any, state: Any, params: Any = None):
        rate = state.rate * jnp.exp(state.slope * state.count.astype(state.rate.dtype))
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), state._replace(count=state.count + 1)

    zero = lambda params: jnp.zeros((), jax.tree.leaves(params)[0].dtype)
    return optax.GradientTransformation(lambda params: _Decay(jnp.asarray(0), zero(params), zero(params)), update)


# One object, for optimisers are told apart by identity. Gradients per recorded number are below 1; a larger one is an
# accident of particles.
_ADAM = optax.chain(optax.zero_nans(), optax.clip_by_global_norm(10.0), optax.scale_by_adam(), _decaying())


def climb(loss: Loss, batches: Batch, optimiser, rates, key, kept: Checkpoint, progress: bool):
    """The free numbers after all updates, and the bound before each."""
    params, total = loss.space.at_values(), len(batches.trials)
    state: Any = (optimiser or _ADAM).init(params)
    if optimiser is None:
        first, last = (jnp.asarray(rate, params.dtype) for rate in rates)
        state = (*state[:-1], state[-1]._replace(rate=first, slope=jnp.log(last / first) / max(1, total - 1)))
    params, state, bounds, done = kept.latest((params, state, np.full(total, np.nan), np.asarray(0)))
    done = int(done)
    part = next(size for size in range(_LONGEST, 0, -1) if total % size == 0)
    written = time.perf_counter()
    with moving(tqdm(total=total, initial=done, unit="update", delay=0.5, smoothing=0, disable=not progress)) as bar:
        try:
            for begin in range(done, total, part):
                rows = jax.tree.map(lambda leaf, at=begin: leaf[at : at + part], batches)
                found = train(loss, params, optimiser or _ADAM, rows, key=key, start=begin, state=state)
                after = np.concatenate([bounds[:begin], -np.asarray(found.losses), bounds[begin + part :]])
                params, state, bounds, done = found.params, found.state, after, begin + part
                bar.set_postfix_str(f"bound {float(np.mean(after[begin:done])):.4f}", refresh=False)
                bar.update(part)
                if time.perf_counter() - written > _EVERY:
                    kept.write((params, state, bounds, np.asarray(done)))
                    written = time.perf_counter()
        except KeyboardInterrupt:
            kept.write((params, state, bounds, np.asarray(done)))
            where = f"the same call goes on from update {done}" if kept.path else "name a `checkpoint` to keep the work"
            raise KeyboardInterrupt(f"interrupted, {where}") from None
    kept.write((params, state, bounds, np.asarray(done)))
    return params, bounds


def batches_of(y, batch_size: int | None, window: int | None, num_updates: int, key) -> Batch:
    """Trials and first steps of windows, of all updates."""
    num, length = y.shape[:2]
    if batch_size is not None:
        require_whole("batch_size", batch_size)
        if batch_size > num:
            raise ValueError(f"`batch_size` must be at most the number of fitted trials, {num}, got {batch_size}")
    size = batch_size or num
    of_trials, of_starts = jax.random.split(key)
    if size == num:
        trials = np.broadcast_to(np.arange(num), (num_updates, num))
    else:
        trials = np.asarray(minibatches(num, size, -(-num_updates // (num // size)), key=of_trials))[:num_updates]
    starts = np.zeros_like(trials)
    if window is not None:
        require_whole("window", window, 2)
        if window > length:
            raise ValueError(f"`window` must be at most the number of steps, {length}, got {window}")
        # The last step with a number ends the last window.
        ends = length - np.argmax(np.isfinite(y).any(2)[:, ::-1], axis=1)
        room = np.maximum(ends - window, 0)[trials] + window
        # From a window before the trial on: the first states are fitted as often as others.
        drawn = np.asarray(jax.random.uniform(of_starts, trials.shape)) * room - window
        starts = np.clip(np.ceil(drawn), 0, None).astype(trials.dtype)
    return Batch(jnp.asarray(trials), jnp.asarray(starts))


# --- what is fitted


class _Factor(Transform):
    """A lower triangular matrix with a positive diagonal, as the logarithms of the diagonal and what is below."""

    rank: int = eqx.field(static=True)

    def constrain(self, u):
        u = u.reshape(-1)
        lower = jnp.zeros((self.rank, self.rank), u.dtype).at[np.tril_indices(self.rank, -1)].set(u[self.rank :])
        return lower + jnp.diag(jnp.exp(u[: self.rank]))

    def free(self, x):
        return jnp.concatenate([jnp.log(jnp.diagonal(x)), x[np.tril_indices(self.rank, -1)]])

    def holds(self, x):
        return np.all(np.diagonal(x) > 0) & np.all(np.isfinite(x)) & np.all(np.triu(x, 1) == 0)

    def expected(self):
        return "a lower triangular matrix with a positive diagonal"


class _PerUnit(Transform):
    """x = u / N: input modes, whose sums over units are of order one, in steps like those of output modes."""

    num: int = eqx.field(static=True)

    def constrain(self, u):
        return u / self.num

    def free(self, x):
        return x * self.num

    def holds(self, x):
        return np.isfinite(x)

    def expected(self):
        return "finite"


def fitted_space(start: StochasticLowRank, transforms: Transforms | None, with_gain: bool, windows: bool) -> Space:
    """The space of what is fitted; Positive and the like by the paths of a `StochasticLowRank`."""
    factor = _Factor(start.rank)
    chosen: dict[str, Transform] = {
        "n": _PerUnit(start.size),
        "leak": Interval(0.0, 1.0),
        "noise": factor,
        "initial_noise": factor,
        "threshold": Fixed(),
        "observation.noise": Positive(),
        "observation.readout.gain": Positive() if with_gain else Fixed(),
        "transfer": Fixed(),
    }
    if not is_smooth(start.transfer):
        del chosen["threshold"]
    law = (start.initial_mean, start.initial_noise) if windows else (None, None)
    params = Parameters(start, *law)
    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in _leaves(params)]
    there = lambda path: any(leaf == f"model.{path}" or leaf.startswith(f"model.{path}.") for leaf in paths)
    given = dict(transforms or {})
    # What is given comes first: a path stands for everything below.
    named = {f"model.{path}": t for path, t in (given | chosen | given).items() if path in given or there(path)}
    if windows:
        named["window_noise"] = factor
    return space_of(params, named)


def _leaves(params: Parameters):
    return jax.tree_util.tree_leaves_with_path(eqx.filter(params, eqx.is_inexact_array))
