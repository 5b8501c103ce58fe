r"""Tasks in time: what a recurrent network is shown in each trial, and what its outputs should be, and when.

A task is a module whose `batch` makes trials from a key, so that no trial is seen twice; the loss of a step of `train`
makes its own. Times are in units of the time constant of units, and step k of a trial covers k dt to (k + 1) dt. A new
task is one more `Task`.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from .._arguments import in_one_precision, nonnegative, positive, require, require_key, require_whole, vector
from .._results import Result, one_line

BOUNDARY = 12.5  # events a second, above which a multisensory stimulus is high (as published)
_LOWEST, _HIGHEST = 9.0, 16.0  # of the published stimuli, which their tuning curves end at
_BASELINE, _CHOSEN = 0.2, 1.0  # of inputs and outputs, and of the output that is right


class Trials(Result):
    """Inputs of trials, the `targets` of outputs, and whether a step is `counted`, 1 or 0."""

    inputs: Float[Array, "num T n_in"]
    targets: Float[Array, "num T n_out"]
    counted: Float[Array, "num T"]


def squared_error(outputs: Float[Array, "num T n_out"], trials: Trials) -> Float[Array, ""]:
    r"""The loss of `outputs` for `trials`: the error at steps that count, averaged over trials.

    $$ \frac{1}{2 T} \sum_{t \in \text{counted}} (y_t - y_t^*)^2 $$
    """
    miss = trials.counted[..., None] * (outputs - trials.targets) ** 2
    return jnp.sum(miss) / (2 * trials.counted.size)


class Task(eqx.Module):
    """Trials of a kind, with steps of `dt`."""

    __repr__ = one_line

    dt: eqx.AbstractVar[float]

    @property
    @abc.abstractmethod
    def num_inputs(self) -> int:
        """The number of inputs."""

    @property
    @abc.abstractmethod
    def num_outputs(self) -> int:
        """The number of outputs."""

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """The number of steps of a trial."""

    @abc.abstractmethod
    def batch(self, *, key: PRNGKeyArray) -> Trials:
        """The trials of one step of training."""

    @abc.abstractmethod
    def correct(self, outputs: Float[Array, "num T n_out"], trials: Trials) -> Bool[Array, " num"]:
        """Which trials were answered well enough by `outputs`."""

    def _within(self, start, stop) -> Float[Array, "..."]:
        """1 for the steps from `start` to `stop`, times that may differ between trials, else 0."""
        first, last = (jnp.round(jnp.asarray(t)[..., None] / self.dt) for t in (start, stop))
        k = jnp.arange(self.num_steps, dtype=first.dtype).reshape(*(1,) * (max(first.ndim, last.ndim) - 1), -1)
        first, last = (t.reshape(*(1,) * (k.ndim - t.ndim), *t.shape) for t in (first, last))
        return ((k >= first) & (k < last)).astype(k.dtype)


def _noise(key, shape, size, dt):
    """White noise of inputs, whose integral does not depend on the step: sqrt(2 / dt) size (as published)."""
    return (2 / dt) ** 0.5 * size * jax.random.normal(key, shape)


class Multisensory(Task):
    r"""Is a rate of events high or low? It is seen, heard, or both; both together should be judged best.

    Inputs are two channels that are seen, two that are heard, and a cue to begin. Of a sense that is on, one channel
    rises and one falls with the rate f from 9 to 16, from .4 to 1.2, above a baseline of .2, for `stimulus`. In the
    `decision` that follows, the first output should be 1 for rates above 12.5, else the second; both should be .2
    before it, during `fixation`. A batch has each of 8 rates by each of the three kinds, and `num_catch` trials without
    a stimulus, whose outputs should stay .2. Inputs have white noise of the size `noise`, and steps of `dt`.

    Raises `ValueError` for times and steps that are not positive, and a `duration` that is too short. Source: Raposo et
    al. 2014; Song, Yang & Wang 2016; Zou, Li & Huang 2021 (arXiv 2102.03740), whose numbers are the defaults, but for
    the `duration`: they train with 25, in which only catch trials count after 14.
    """

    dt: float = eqx.field(static=True, default=0.2)
    fixation: float = eqx.field(static=True, default=1.0)
    stimulus: float = eqx.field(static=True, default=10.0)
    decision: float = eqx.field(static=True, default=3.0)
    duration: float = eqx.field(static=True, default=14.0)
    noise: float = eqx.field(static=True, default=0.01)
    num_catch: int = eqx.field(static=True, default=6)

    def __check_init__(self):
        _require_times(self, "dt", "fixation", "stimulus", "decision", "duration")
        require("noise", self.noise, nonnegative, "a finite number >= 0")
        require_whole("num_catch", self.num_catch, 0)
        end = self.fixation + self.stimulus + self.decision
        if self.duration < end - self.dt / 2:
            raise ValueError(
                f"`duration` must be at least fixation + stimulus + decision, {end:g}, got {self.duration}"
            )

    @property
    def num_inputs(self):
        return 5

    @property
    def num_outputs(self):
        return 2

    @property
    def num_steps(self):
        return round(self.duration / self.dt)

    def batch(self, *, key):
        rates = np.arange(_LOWEST, _HIGHEST + 1)
        seen, heard = (np.repeat(on, len(rates)) for on in ((1, 0, 1), (0, 1, 1)))
        catch = lambda on: np.append(on, np.zeros(self.num_catch, int)).astype(bool)
        rates = np.append(np.tile(rates, 3), np.full(self.num_catch, BOUNDARY))
        return self.trials(rates, seen=catch(seen), heard=catch(heard), key=key)

    def trials(
        self,
        rates: Float[ArrayLike, " num"],
        *,
        seen: Bool[ArrayLike, " num"],
        heard: Bool[ArrayLike, " num"],
        key: PRNGKeyArray,
    ) -> Trials:
        """Trials with these `rates`, each `seen`, `heard` or both; those that are neither are catch trials.

        Raises `ValueError` for arrays of other lengths, rates that are not finite, and without a key.
        """
        require_key("key", key)
        names = ("rates", "seen", "heard")
        f, sees, hears = in_one_precision(*(vector(k, v) for k, v in zip(names, (rates, seen, heard), strict=True)))
        for name, values in zip(names, (f, sees, hears), strict=True):
            require(name, values, np.isfinite, "finite numbers")
            if values.shape != f.shape:
                raise ValueError(f"`{name}` must have the length of `rates`, {f.shape[0]}, got {values.shape[0]}")
        on = jnp.maximum(sees, hears)
        shown, ends = self.fixation + self.stimulus, self.fixation + self.stimulus + self.decision
        fixed, stimulus, decision = (
            self._within(*times) for times in ((0.0, self.fixation), (self.fixation, shown), (shown, ends))
        )
        share = (f - _LOWEST) / (_HIGHEST - _LOWEST)
        up, down = 0.4 + 0.8 * share, 0.4 + 0.8 * (1 - share)
        levels = jnp.stack([sees * up, hears * up, sees * down, hears * down], -1)
        stimuli = levels[:, None] * stimulus[None, :, None]
        begin = (on[:, None] * (stimulus + decision)[None])[..., None]
        inputs = jnp.concatenate([stimuli, begin], -1) + _BASELINE
        high = (f > BOUNDARY).astype(float)
        right = jnp.stack([high, 1 - high], -1) * on[:, None]
        targets = _BASELINE + (_CHOSEN - _BASELINE) * right[:, None] * decision[None, :, None]
        counted = jnp.where(on[:, None] > 0, (fixed + decision)[None], 1.0)
        return Trials(inputs + _noise(key, inputs.shape, self.noise, self.dt), targets, counted)

    def choices(self, outputs: Float[Array, "num T 2"]) -> Bool[Array, " num"]:
        """Whether `outputs` call each rate high, at the end of the decision."""
        last = round((self.fixation + self.stimulus + self.decision) / self.dt) - 1
        return outputs[:, last, 0] > outputs[:, last, 1]

    def correct(self, outputs, trials):
        """Whether the larger output is the right one at the end of the decision; catch trials are never wrong."""
        wanted = self.choices(trials.targets)
        other = self.choices(trials.targets[..., ::-1])
        return (wanted == other) | (self.choices(outputs) == wanted)


class DelayedMatch(Task):
    """Is the second stimulus the first one? The output should be 1 if it is, else -1, after the second; 0 before.

    Each of `num_stimuli` has an input. The first is shown for `stimulus`, then nothing for a time between half of
    `delay` and all of it, which differs between trials, then the second, and in the `decision` that follows the output
    counts. In half of `num_trials` both are the same. Inputs have white noise of the size `noise`, and steps of `dt`.
    Raises `ValueError` for times that are not positive and numbers of stimuli or trials below 2.
    """

    dt: float = eqx.field(static=True, default=0.2)
    stimulus: float = eqx.field(static=True, default=2.0)
    delay: float = eqx.field(static=True, default=4.0)
    decision: float = eqx.field(static=True, default=2.0)
    noise: float = eqx.field(static=True, default=0.01)
    num_stimuli: int = eqx.field(static=True, default=2)
    num_trials: int = eqx.field(static=True, default=32)

    def __check_init__(self):
        _require_times(self, "dt", "stimulus", "delay", "decision")
        require("noise", self.noise, nonnegative, "a finite number >= 0")
        for name in ("num_stimuli", "num_trials"):
            require_whole(name, getattr(self, name), 2)

    @property
    def num_inputs(self):
        return self.num_stimuli

    @property
    def num_outputs(self):
        return 1

    @property
    def num_steps(self):
        return round((2 * self.stimulus + self.delay + self.decision) / self.dt)

    def batch(self, *, key):
        require_key("key", key)
        which, other, wait, noise = jax.random.split(key, 4)
        first = jax.random.randint(which, (self.num_trials,), 0, self.num_stimuli)
        shift = jax.random.randint(other, (self.num_trials,), 1, self.num_stimuli)
        matches = jnp.arange(self.num_trials) % 2 == 0
        second = jnp.where(matches, first, (first + shift) % self.num_stimuli)
        again = self.stimulus + self.delay * jax.random.uniform(wait, (self.num_trials,), minval=0.5)
        shows = self._within(0.0, self.stimulus)[None], self._within(again, again + self.stimulus)
        one, two = (
            show[..., None] * jax.nn.one_hot(stimulus, self.num_stimuli, dtype=show.dtype)[:, None]
            for show, stimulus in zip(shows, (first, second), strict=True)
        )
        decides = again + self.stimulus
        decision = self._within(decides, decides + self.decision)
        targets = decision * jnp.where(matches, 1.0, -1.0)[:, None]
        counted = self._within(0.0, decides + self.decision)
        inputs = one + two
        inputs = inputs + _noise(noise, inputs.shape, self.noise, self.dt)
        return Trials(inputs, targets[..., None], counted)

    def correct(self, outputs, trials):
        """Whether the mean output of the decision has the sign that it should have."""
        return jnp.sum(outputs * trials.targets, (1, 2)) > 0


class Sine(Task):
    r"""A sine of one of several `periods`, chosen by the level of a constant input, after a pulse that starts it.

    The target is sin(2 pi t / period) for `duration`. The inputs are the level, k / K for the k-th of K periods, and
    the pulse, of one time constant. A batch has one trial of each period. Inputs have white noise of the
    size `noise`, and steps of `dt`. Raises `ValueError` for times that are not positive.
    """

    periods: tuple[float, ...] = eqx.field(static=True, default=(4.0, 6.0, 8.0))
    dt: float = eqx.field(static=True, default=0.2)
    duration: float = eqx.field(static=True, default=16.0)
    noise: float = eqx.field(static=True, default=0.01)

    def __check_init__(self):
        _require_times(self, "dt", "duration", "periods")
        require("noise", self.noise, nonnegative, "a finite number >= 0")

    @property
    def num_inputs(self):
        return 2

    @property
    def num_outputs(self):
        return 1

    @property
    def num_steps(self):
        return round(self.duration / self.dt)

    def batch(self, *, key):
        require_key("key", key)
        num = len(self.periods)
        level = jnp.arange(1.0, num + 1)[:, None] / num
        level = jnp.broadcast_to(level, (num, self.num_steps))
        pulse = jnp.broadcast_to(self._within(0.0, 1.0)[None], (num, self.num_steps))
        inputs = jnp.stack([level, pulse], -1)
        t = self.dt * jnp.arange(1.0, self.num_steps + 1)  # outputs are those after each step
        targets = jnp.sin(2 * jnp.pi * t[None] / jnp.asarray(self.periods)[:, None])
        inputs = inputs + _noise(key, inputs.shape, self.noise, self.dt)
        return Trials(inputs, targets[..., None], jnp.ones((num, self.num_steps)))

    def correct(self, outputs, trials):
        """Whether the output has less than a tenth of the target's power as its error."""
        miss = jnp.sum((outputs - trials.targets) ** 2, (1, 2))
        return miss < 0.1 * jnp.sum(trials.targets**2, (1, 2))


def _require_times(task: Task, *names: str) -> None:
    for name in names:
        require(name, getattr(task, name), positive, "finite numbers > 0")
