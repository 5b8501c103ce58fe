"""Simulation of rate networks: many initial states, many networks, noise, and recorders that reduce as it runs.

States are columns inside, so that J meets all trajectories of a network in one matrix product, and rows (..., n)
outside. A step is known by its absolute index, i = t / dt, which alone decides its time and its noise: it does not
matter in how many pieces a run is computed. Called plainly, a run is a loop of compiled chunks on the host; under
`jit`, `vmap` and `grad` it is one compiled loop that keeps few states for the reverse pass. The step itself is in
`stepping`. A new measurement is a new `Recorder`, and this module stays as it is.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import real_array, require, require_key, require_whole, traced_output
from .._numerics import checkpointed_scan, is_concrete
from .._results import Result
from .adaptive import Adaptive
from .network import RateNetwork
from .schemes import Scheme, heun
from .stepping import advance, over_networks

# Multiplications of a chunk, between two looks at the progress bar and at an interrupt: seconds of dense products on
# one core. It bounds the wait after Ctrl-C; results do not depend on it.
CHUNK_WORK = 10**10

# Largest part of a step by which a time may miss a whole number of steps and still count as one: more than the
# rounding of t / dt up to 10^9 steps, and less than anyone means by a fraction of a step.
PART_OF_STEP = 1e-6


class Recorder(Protocol):
    """A measurement that reduces trajectories as they run: a pytree with three methods.

    At every kept time it sees the states `x` and the rates phi(x), both (..., n).
    """

    def init(self, x: Float[Array, "*many n"], rates: Float[Array, "*many n"]) -> Any:
        """The carry before the first kept time; `x` and `rates` there are given for their shapes."""
        ...

    def update(self, carry: Any, x: Float[Array, "*many n"], rates: Float[Array, "*many n"]) -> tuple[Any, Any]:
        """The new carry, of the same shapes, and an output; outputs are stacked along time."""
        ...

    def finish(self, carry: Any, outputs: Any) -> Any:
        """The result, from the last carry and the stacked outputs (K, ...)."""
        ...


class States(eqx.Module):
    """The `Recorder` that keeps every state: (K, ..., n)."""

    def init(self, x, rates):
        """The carry None, since no state has to be carried along (see `Recorder.init`)."""
        return None

    def update(self, carry, x, rates):
        """The carry None, and the state as output (see `Recorder.update`)."""
        return None, x

    def finish(self, carry, outputs):
        """The stacked states (see `Recorder.finish`)."""
        return outputs


class Run(Result, axes={"K": "times", "n": "unit"}, units={"times": "unit of tau", "interval": "unit of tau"}):
    """Trajectories at the kept times, made by `simulate`.

    - `times` are the kept times, and `interval` is the time between them, which `observables` ask for.
    - `states` and `rates` are x and phi(x) at these times; None if recorders took their place.
    - `records` holds the result of the recorder, or a dict of results; None without recorders.
    - `final` is the state at the end, at time `end`: `simulate(net, run.final, t0=run.end, ...)` goes on.
    - `finite` says of each trajectory whether it stayed finite.
    """

    times: Float[Array, " K"]
    states: Float[Array, "K *trajectory n"] | None
    rates: Float[Array, "K *trajectory n"] | None
    records: Any
    final: Float[Array, "*trajectory n"]
    finite: Bool[Array, "*trajectory"]
    end: float = eqx.field(static=True)
    interval: float = eqx.field(static=True)


def simulate(
    net: RateNetwork,
    x0: Float[ArrayLike, "*many n"],
    *,
    duration: float,
    dt: float = 0.05,
    discard: float = 0.0,
    save_every: int = 1,
    key: PRNGKeyArray | None = None,
    scheme: Scheme | Adaptive = heun,
    record: Recorder | dict[str, Recorder] | None = None,
    t0: float = 0.0,
    progress: bool = True,
) -> Run:
    r"""Trajectories of tau dx/dt = -x + gamma J phi(x) + I(t) + sqrt(2) sigma xi(t) from the states `x0` at `t0`.

    The kept times are t0 + discard + k save_every dt before t0 + duration, k = 0, 1, ...; `discard` and `duration` are
    rounded up to whole steps. `x0` is (n,) or (..., n): many trajectories of one network cost little more than one. A
    batch of M networks takes (M, ..., n). `progress` shows a bar after the first second.

    The `scheme` is `heun`, of error dt^2 without noise and dt with it, `rk4`, or a function of their signature; or
    `Adaptive()`, for networks without noise. Step i = t / dt has the noise of `fold_in(key, i)`, for all trajectories
    at once (see `step`). So a run that goes on from `final` at `end` with the same key and dt is bit by bit one run.

    Recorders in `record`, one or a dict, reduce trajectories while they run, and take the place of states and rates.

    Differentiable in all of `net` and `x0`, in memory that grows as the square root of the number of steps. `vmap` maps
    over networks or inputs, under one key with the same noise; many initial states are faster as one array.

    A trajectory that overflows, or for which `Adaptive` runs out of steps, is NaN from then on and False in `finite`;
    a `RuntimeWarning` says so unless the call is traced. If traced noise is not 0 and there is no key, all is NaN.

    Raises:
        ValueError: if ``x0`` does not fit or is not finite; ``dt`` is not positive, or fixed steps exceed half the
            shortest time constant; ``duration`` is not positive, ``discard`` outside [0, duration) or ``save_every``
            below 1; a network with noise has no key or `Adaptive` steps; or ``net.input`` has another shape.
    """
    grid = _grid(t0, dt, duration, discard, save_every)
    _require_input_shape(net)
    recorders: dict[str, Any] = record if isinstance(record, dict) else {"": States() if record is None else record}
    if key is not None:
        require_key("key", key)
    results, final, lost = _trajectories(net, _initial_state(net, x0), grid, key, scheme, recorders, progress)
    if is_concrete(final):  # by NumPy, which compiles nothing
        finite = np.all(np.isfinite(np.asarray(final)), -1)
        if lost is not None:
            _warn_of_lost(finite, int(lost), grid, scheme)
        finite = jax.device_put(finite)
    else:
        finite = jnp.all(jnp.isfinite(final), -1)
    times = jax.device_put(grid.times().astype(net.dtype))
    states = results[""] if record is None else None
    rates = None if states is None else _rates(net.transfer, states)
    records = results if isinstance(record, dict) else None if record is None else results[""]
    return Run(times, states, rates, records, final, finite, grid.end, grid.dt * grid.stride)


def _trajectories(net, x0, grid, key, scheme, recorders, progress):
    """Results of the recorders, final states, and the first kept time at which a state is lost, None if traced."""
    noisy = not is_concrete(net.noise) or bool(np.any(np.asarray(net.noise)))
    if isinstance(scheme, Adaptive):
        if noisy:
            x0 = _only_without_noise(net, x0, "scheme", "a fixed-step scheme such as `heun` for a network with noise")
        return _adaptive(net, scheme, recorders, x0, grid)
    _require_short_steps(net, grid.dt)
    if noisy and key is None:
        x0 = _only_without_noise(net, x0, "key", "a random key for a network with noise")
    flow = _Flow(net, scheme, key if noisy else None, grid, x0.shape[:-1])
    if is_concrete(flow, recorders, x0):  # anything made inside a trace is traced
        return _in_chunks(flow, recorders, x0, grid, progress)
    return _in_one(flow, recorders, x0, grid)


# --- arguments ------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """Steps by absolute index: step i goes from offset + i dt to offset + (i + 1) dt."""

    dt: float
    offset: float
    first: int  # step at `t0`
    kept: int  # step at the first kept time
    stop: int  # step at the end
    stride: int  # steps between kept times

    @property
    def samples(self) -> int:
        return -(-(self.stop - self.kept) // self.stride)

    @property
    def end(self) -> float:
        return self.offset + self.stop * self.dt

    def times(self) -> np.ndarray:
        return self.offset + self.dt * np.arange(self.kept, self.stop, self.stride)


def _grid(t0, dt, duration, discard, save_every) -> _Grid:
    t0, dt, duration, discard = (
        _known_number(name, value)
        for name, value in (("t0", t0), ("dt", dt), ("duration", duration), ("discard", discard))
    )
    if dt <= 0:
        raise ValueError(f"`dt` must be > 0, got {dt}")
    if duration <= 0:
        raise ValueError(f"`duration` must be > 0, got {duration}")
    if not 0 <= discard < duration:
        raise ValueError(f"`discard` must lie in [0, duration), here [0, {duration}), got {discard}")
    require_whole("save_every", save_every)
    first = round(t0 / dt)
    offset = t0 - first * dt
    if abs(offset) < PART_OF_STEP * dt:
        offset = 0.0  # a multiple of dt but for rounding
    kept, stop = (first + math.ceil(length / dt - PART_OF_STEP) for length in (discard, duration))
    if kept == stop:
        raise ValueError(f"`discard` must leave a kept time before the end at {duration}, got {discard} with dt = {dt}")
    return _Grid(dt, offset, first, kept, stop, int(save_every))


def _known_number(name: str, value: Any) -> float:
    if not is_concrete(value):
        raise ValueError(f"`{name}` must be known when `simulate` is traced, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"`{name}` must be a finite number, got {value!r}")
    return number


def _initial_state(net: RateNetwork, x0: ArrayLike) -> Float[Array, "*many n"]:
    x0 = real_array("x0", x0)
    *networks, n, _ = net.J.shape
    if x0.ndim <= len(networks) or x0.shape[-1] != n or list(x0.shape[: len(networks)]) != networks or x0.size == 0:
        expected = ", ".join([*map(str, networks), "...", str(n)])
        raise ValueError(f"`x0` must have shape ({expected}), got {x0.shape}")
    require("x0", x0, np.isfinite, "finite numbers")
    return x0.astype(net.dtype)


def _require_short_steps(net: RateNetwork, dt: float) -> None:
    if not is_concrete(net.tau):
        return
    tau = np.asarray(net.tau)
    if dt > (1 + PART_OF_STEP) * tau.min() / 2:
        which = "tau" if tau.ndim == 0 else f"the shortest time constant, tau[{tau.argmin()}]"
        raise ValueError(f"`dt` must be at most half of {which} = {tau.min():.6g}, got {dt}")


def _require_input_shape(net: RateNetwork) -> None:
    if not callable(net.input):  # checked when the network was made
        return
    shape = traced_output("input", net.input_at, jax.ShapeDtypeStruct((), net.dtype)).shape
    if shape not in ((), (net.size,)):
        raise ValueError(f"`input` must give a number or an array of shape ({net.size},), got shape {shape}")


def _only_without_noise(net: RateNetwork, x0: Array, name: str, expected: str) -> Array:
    """An error that names the argument, or NaN in place of x0 where traced noise turns out not to be zero."""
    if is_concrete(net.noise):
        raise ValueError(f"`{name}` must be {expected}, got noise up to {np.max(np.asarray(net.noise)):.6g}")
    return jnp.where(jnp.any(net.noise != 0), jnp.nan, x0)


@eqx.filter_jit
def _rates(transfer: Callable, states: Array) -> Array:
    return transfer(states)


def _warn_of_lost(finite: np.ndarray, lost: int, grid: _Grid, scheme: Scheme | Adaptive) -> None:
    many = int(finite.size - np.sum(finite))
    if many == 0:
        return
    first = (
        f"first at the kept time {grid.times()[int(lost)]:.6g}" if lost < grid.samples else "after the last kept time"
    )
    hint = f", or needs more than max_steps = {scheme.max_steps} steps" if isinstance(scheme, Adaptive) else ""
    message = f"{many} of {finite.size} trajectories did not stay finite{hint}, {first}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


# --- columns --------------------------------------------------------------------------------------------------


class _Flow(eqx.Module):
    """The part of a run that compiled functions need. States are columns, (*networks, n, B), or (*networks, n)."""

    net: RateNetwork
    scheme: Scheme
    key: PRNGKeyArray | None  # None: no noise
    dt: Float[Array, ""]
    offset: Float[Array, ""]
    many: tuple[int, ...] = eqx.field(static=True)  # leading axes of x0

    def __init__(self, net, scheme, key, grid, many):
        self.net, self.scheme, self.key, self.many = net, scheme, key, many
        self.dt, self.offset = jnp.asarray(grid.dt, net.dtype), jnp.asarray(grid.offset, net.dtype)

    def step(self, i: Int[Array, ""], x: Float[Array, "*networks n _"]) -> Float[Array, "*networks n _"]:
        """The states at t_{i+1} from the states at t_i."""
        key = None if self.key is None else jax.random.fold_in(self.key, i)
        return advance(self.net, self.scheme, self.offset + i.astype(x.dtype) * self.dt, x, self.dt, key)

    def advance(self, x, first: Int[Array, ""], stop: Int[Array, ""]) -> Float[Array, "*networks n _"]:
        """The states at the beginning of step `stop` from the states at the beginning of step `first`."""
        return jax.lax.fori_loop(first, stop, lambda i, x: self.step(i, x), x)

    def columns(self, x: Float[Array, "*many n"]) -> Float[Array, "*networks n _"]:
        networks = self.net.J.shape[:-2]
        if self.many == networks:
            return x
        return x.reshape(*networks, -1, x.shape[-1]).swapaxes(-1, -2)

    def rows(self, x: Float[Array, "*networks n _"]) -> Float[Array, "*many n"]:
        if self.many == self.net.J.shape[:-2]:
            return x
        return x.swapaxes(-1, -2).reshape(*self.many, x.shape[-2])

    def sight(self, x: Float[Array, "*networks n _"]) -> tuple[Float[Array, "*many n"], Float[Array, "*many n"]]:
        """States and rates, as recorders see them."""
        x = self.rows(x)
        return x, self.net.transfer(x)


def _init(recorders: Any, x: Array, rates: Array) -> Any:
    return {name: recorder.init(x, rates) for name, recorder in recorders.items()}


def _update(recorders: Any, carries: Any, x: Array, rates: Array) -> tuple[Any, Any]:
    pairs = {name: recorder.update(carries[name], x, rates) for name, recorder in recorders.items()}
    return {name: carry for name, (carry, _) in pairs.items()}, {name: output for name, (_, output) in pairs.items()}


@eqx.filter_jit
def _finish(recorders: Any, carries: Any, outputs: Any) -> Any:
    return {name: recorder.finish(carries[name], outputs[name]) for name, recorder in recorders.items()}


# --- in chunks on the host ------------------------------------------------------------------------------------


def _in_chunks(flow, recorders, x0, grid, progress):
    """The run as a loop over chunks; the compiled functions take all lengths as arguments, and serve any duration."""
    steps = max(1, CHUNK_WORK // (x0.size * x0.shape[-1]))  # in a chunk
    with tqdm(total=grid.stop - grid.first, unit="step", delay=1, disable=not progress) as bar:

        def walk(x, begin, end):
            for i in range(begin, end, steps):
                count = min(steps, end - i)
                x = jax.block_until_ready(_advance(flow, x, *_int32(i, count)))
                bar.update(count)
            return x

        # Few states, which NumPy turns without a program.
        x = walk(jax.device_put(flow.columns(np.asarray(x0))), grid.first, grid.kept)
        carries, outputs = _empty(flow, recorders, x, _places(grid.samples))
        lost = np.asarray(grid.samples, np.int32)
        # Where kept times are further apart than a chunk, the steps between them are walked.
        together, stride = max(1, steps // grid.stride), grid.stride if grid.stride <= steps else 0
        for k in range(0, grid.samples, together):
            last = min(k + together, grid.samples)
            begin, end = grid.kept + k * grid.stride, min(grid.kept + last * grid.stride, grid.stop)
            bounds = _int32(k, last, begin, end, stride)
            x, carries, lost, outputs = _advance_and_record((flow, recorders, x, carries, lost, *bounds), outputs)
            jax.block_until_ready(x)
            if stride:
                bar.update(end - begin)
            else:
                x = walk(x, begin, end)
    outputs = jax.tree.map(lambda one: _first(one, grid.samples), outputs)
    return _finished(recorders, carries, outputs), jax.device_put(flow.rows(np.asarray(x))), lost


def _places(samples: int) -> int:
    """Kept times that outputs have room for: one of four numbers in each octave, since each is compiled anew."""
    if jax.default_backend() != "cpu":
        return samples
    unit = 1 << max(0, (samples - 1).bit_length() - 3)
    return -(-samples // unit) * unit


def _first(output: Array, samples: int) -> Array:
    return output if len(output) == samples else jax.device_put(np.asarray(output)[:samples])


def _empty(flow, recorders, x, places: int):
    """Carries, and outputs of all kept times, still empty."""
    if all(type(recorder) is States for recorder in recorders.values()):  # as most; tracing takes milliseconds
        seen = jax.ShapeDtypeStruct((*flow.many, flow.net.size), flow.net.dtype)
        carries, output = dict.fromkeys(recorders), dict.fromkeys(recorders, seen)
    else:
        carries, output = jax.eval_shape(lambda x: _begin(flow, recorders, x), x)
    zeros = np.zeros if jax.default_backend() == "cpu" else jnp.zeros  # NumPy compiles nothing
    outputs = jax.tree.map(lambda one: jax.device_put(zeros((places, *one.shape), one.dtype)), output)
    return (_carries(flow, recorders, x) if jax.tree.leaves(carries) else carries), outputs


def _begin(flow, recorders, x):
    seen = flow.sight(x)
    carries = _init(recorders, *seen)
    return carries, _update(recorders, carries, *seen)[1]


@eqx.filter_jit
def _carries(flow, recorders, x):
    return _begin(flow, recorders, x)[0]


def _finished(recorders, carries, outputs):
    """Results of the recorders; `States` have only to be handed on."""
    if all(type(recorder) is States for recorder in recorders.values()):
        return outputs
    return _finish(recorders, carries, outputs)


def _int32(*values: int) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(value, np.int32) for value in values)


@eqx.filter_jit
def _advance(flow, x, first, count):
    with jax.default_matmul_precision("highest"):
        return flow.advance(x, first, first + count)


# Outputs are donated, so that each chunk writes into the same memory. The first argument is not: its arrays may share
# memory with arguments of the user.
@eqx.filter_jit(donate="all-except-first")
def _advance_and_record(first_argument, outputs):
    flow, recorders, x, carries, lost, first, last, begin, end, stride = first_argument

    def sample(k, state):
        x, carries, lost, outputs = state
        seen = flow.sight(x)
        carries, output = _update(recorders, carries, *seen)
        outputs = jax.tree.map(lambda all, one: jax.lax.dynamic_update_index_in_dim(all, one, k, 0), outputs, output)
        lost = jnp.where(jnp.all(jnp.isfinite(x)), lost, jnp.minimum(lost, k))
        i = begin + (k - first) * stride
        return flow.advance(x, i, jnp.minimum(i + stride, end)), carries, lost, outputs

    with jax.default_matmul_precision("highest"):
        return jax.lax.fori_loop(first, last, sample, (x, carries, lost, outputs))


# --- in one, traced -------------------------------------------------------------------------------------------


@eqx.filter_jit
def _in_one(flow, recorders, x0, grid: _Grid):
    """The run as one loop of static length; about sqrt(steps) states are kept for the reverse pass."""
    steps = max(1, math.isqrt(grid.stop - grid.first))  # between states that are kept

    def walk(x, begin, count):
        if count == 0:
            return x
        indices = begin + jnp.arange(count, dtype=jnp.int32)
        return checkpointed_scan(lambda x, i: (flow.step(i, x), None), x, indices, steps)[0]

    def record(x, carries):
        return _update(recorders, carries, *flow.sight(x))

    def sample(state, begin):
        x, carries = state
        carries, output = record(x, carries)
        return (walk(x, begin, grid.stride), carries), output

    with jax.default_matmul_precision("highest"):
        x = walk(flow.columns(x0), jnp.int32(grid.first), grid.kept - grid.first)
        carries = _init(recorders, *flow.sight(x))
        begins = jnp.arange(grid.kept, grid.stop, grid.stride, dtype=jnp.int32)
        # The steps after the last kept time may be fewer.
        state, outputs = checkpointed_scan(sample, (x, carries), begins[:-1], max(1, steps // grid.stride))
        x, carries = state
        carries, output = record(x, carries)
        outputs = jax.tree.map(lambda all, one: jnp.concatenate([all, one[None]]), outputs, output)
        x = walk(x, begins[-1], grid.stop - grid.kept - (grid.samples - 1) * grid.stride)
    return _finish(recorders, carries, outputs), flow.rows(x), None


# --- adaptive steps -------------------------------------------------------------------------------------------


@eqx.filter_jit
def _adaptive(net, scheme, recorders, x0, grid: _Grid):
    networks = net.J.shape[:-2]
    t0, t1 = (jnp.asarray(t, net.dtype) for t in (grid.offset + grid.first * grid.dt, grid.end))
    times = jnp.asarray(grid.times(), net.dtype)

    def of_many(net, x0):
        # Each trajectory takes its own steps.
        return jax.vmap(lambda x0: scheme.solve(net, x0, t0, times, t1), out_axes=(1, 0))(x0)

    with jax.default_matmul_precision("highest"):
        solve = over_networks(of_many, net, (0,), (1, 0))
        states, final = solve(x0.reshape(*networks, -1, x0.shape[-1]))
    states, final = states.reshape(-1, *x0.shape), final.reshape(x0.shape)

    carries = _init(recorders, states[0], net.transfer(states[0]))
    carries, outputs = jax.lax.scan(lambda carry, x: _update(recorders, carry, x, net.transfer(x)), carries, states)
    whole = jnp.all(jnp.isfinite(states), axis=tuple(range(1, states.ndim)))
    lost = jnp.min(jnp.where(whole, whole.size, jnp.arange(whole.size)))
    return _finish(recorders, carries, outputs), final, lost
