r"""Rate networks that learn: couplings, weights from inputs and weights to outputs, trained through `simulate`.

$$ \tau \dot x = -x + J \phi(x) + W^{in} u(t) + \sqrt2\, \sigma \xi, \qquad y = W^{out} \phi(x) $$

J is any operator, such as random modes, of which training moves the leaves; `Signed` weights, which keep the sign of
their source and stay absent where they are; or a law, `couplings.SpikeSlab`, of which each trial has a network of its
own. The trained J is what every other room reads: `operator` gives it to `spectra`, `dynamics` and `population`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from .._arguments import (
    nonnegative,
    positive,
    real_array,
    require,
    require_key,
    require_shape,
    square_matrix,
    vector,
)
from .._results import one_line
from ..couplings.operators import Dense, Operator
from ..couplings.sparse import as_operator
from ..couplings.spike_slab import SpikeSlab
from ..dynamics import RateNetwork, simulate
from ..transfer import Tanh

_TANH = Tanh()


class Signed(eqx.Module):
    """Weights of which training changes the `sizes` alone: J_ij = signs_ij sizes_ij, with signs -1, 0 and 1.

    `Signed(matrix)` takes both from a matrix. The sign of a weight stays, as that of its source under Dale's law, and a
    weight of 0 stays absent. `projected` keeps sizes from falling below 0. Raises `ValueError` for a matrix that is not
    square or not finite.
    """

    __repr__ = one_line

    sizes: Float[Array, "n n"]
    signs: Int[Array, "n n"]

    def __init__(self, matrix: Float[ArrayLike, "n n"]):
        weights = square_matrix("matrix", matrix)
        require("matrix", weights, np.isfinite, "finite numbers")
        self.sizes, self.signs = jnp.abs(weights), jnp.sign(weights).astype(jnp.int8)

    def operator(self) -> Dense:
        """J as an operator."""
        return Dense(self.signs.astype(self.sizes.dtype) * self.sizes)


class RecurrentNetwork(eqx.Module):
    """A rate network between inputs and outputs, a function of one sequence of inputs (T, n_in).

    `recurrent` is an operator or a square matrix, `Signed` weights, or a `SpikeSlab` law; `inputs` are (n, n_in),
    `outputs` (n_out, n), and `start` is x at the beginning, (n,). These are trained. The time constant of all units is
    1, the function of rates `transfer`, `noise` is sigma, and `dt` both the step and the time between inputs. Raises
    `ValueError` for shapes that do not fit each other, entries that are not finite, a negative noise, and a step that
    is not positive.
    """

    __repr__ = one_line

    recurrent: Operator | Signed | SpikeSlab
    inputs: Float[Array, "n n_in"]
    outputs: Float[Array, "n_out n"]
    start: Float[Array, " n"]
    transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]]
    dt: float = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    def __init__(
        self,
        recurrent: Operator | Signed | SpikeSlab | Float[ArrayLike, "n n"],
        inputs: Float[ArrayLike, "n n_in"],
        outputs: Float[ArrayLike, "n_out n"],
        *,
        dt: float,
        start: Float[ArrayLike, " n"] | None = None,
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]] = _TANH,
        noise: float = 0.0,
    ):
        is_law = isinstance(recurrent, Signed | SpikeSlab)
        self.recurrent = recurrent if is_law else as_operator("recurrent", recurrent)
        dtype = _like(self.recurrent).dtype
        self.inputs, self.outputs = (
            real_array(name, value).astype(dtype) for name, value in (("inputs", inputs), ("outputs", outputs))
        )
        n = self.inputs.shape[0] if self.inputs.ndim else 0
        self.start = (jnp.zeros(n) if start is None else real_array("start", start)).astype(dtype)
        self.transfer, self.dt, self.noise = transfer, dt, noise

    def __check_init__(self):
        shapes = [_like(self.recurrent).shape, self.inputs.shape, self.outputs.shape, self.start.shape]
        n = shapes[0][0]
        fits = shapes[0] == (n, n) and shapes[3] == (n,) and [len(shape) for shape in shapes[1:3]] == [2, 2]
        if not fits or shapes[1][0] != n or shapes[2][1] != n:
            raise ValueError(
                "`recurrent`, `inputs`, `outputs` and `start` must have shapes (n, n), (n, n_in), (n_out, n) and (n,), "
                f"got {', '.join(map(str, shapes))}"
            )
        for name in ("inputs", "outputs", "start"):
            require(name, getattr(self, name), np.isfinite, "finite numbers")
        require("dt", self.dt, positive, "a finite number > 0")
        require("noise", self.noise, nonnegative, "a finite number >= 0")

    @classmethod
    def gaussian(
        cls,
        recurrent: Operator | Signed | SpikeSlab | Float[ArrayLike, "n n"],
        num_inputs: int,
        num_outputs: int,
        *,
        key: PRNGKeyArray,
        dt: float,
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]] = _TANH,
        noise: float = 0.0,
    ) -> "RecurrentNetwork":
        """Weights from `num_inputs` inputs with the variance 1 / num_inputs, and to `num_outputs` outputs with 1 / n.

        The start is 0, and `recurrent`, `dt`, `transfer` and `noise` are those of the class. Raises `ValueError` as the
        class, and without a key.
        """
        require_key("key", key)
        into, out = jax.random.split(key)
        law = recurrent if isinstance(recurrent, Signed | SpikeSlab) else as_operator("recurrent", recurrent)
        n = _like(law).shape[0]
        return cls(
            law,
            jax.random.normal(into, (n, num_inputs)) / max(num_inputs, 1) ** 0.5,
            jax.random.normal(out, (num_outputs, n)) / n**0.5,
            dt=dt,
            transfer=transfer,
            noise=noise,
        )

    def operator(self, *, key: PRNGKeyArray | None = None) -> Operator:
        """J: of a law the network that `key` draws, or the mean weights without a key."""
        if isinstance(self.recurrent, SpikeSlab) and key is not None:
            return Dense(self.recurrent.draw(key=key))
        return _mean(self.recurrent)

    def network(
        self, input: Float[ArrayLike, " n_in"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> RateNetwork:
        """The rate network without inputs, or with an `input` that stays, for fixed points, Lyapunov exponents and all.

        Of a law it is the network that `key` draws, or the mean weights without a key. Raises `ValueError` for an input
        of another length, or that is not finite.
        """
        if input is None:
            current = None
        else:
            given = vector("input", input)
            require_shape("input", given.shape, (self.inputs.shape[1],))
            require("input", given, np.isfinite, "finite numbers")
            current = self.inputs @ given.astype(self.inputs.dtype)
        return RateNetwork(self.operator(key=key), self.transfer, noise=self.noise, input=current)

    def __call__(self, x: Float[Array, "T n_in"], *, key: PRNGKeyArray | None = None) -> Float[Array, "T n_out"]:
        """Outputs after each step of `dt`; inputs `x` are those at its begin, and linear between.

        `key` draws the noise. Of a law it also draws the weights, which stay during the trial: Gaussian ones with the
        mean and variance of each weight, which N -> infinity cannot tell from the law, and of which all three
        parameters can be learned. Without a key weights are the means, and there is no noise. Memory for the slopes
        grows as the square root of T. Raises `ValueError` for inputs of another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs.shape[1]:
            raise ValueError(f"`x` must have shape (T, {self.inputs.shape[1]}), got {x.shape}")
        J, noise = _mean(self.recurrent), None
        if key is not None:
            weights, noise = jax.random.split(key)
            J = _gaussian(self.recurrent, weights) if isinstance(self.recurrent, SpikeSlab) else J
        course = _Course(jnp.asarray(x, self.inputs.dtype), self.inputs, self.dt)
        net = RateNetwork(J, self.transfer, noise=self.noise if noise is not None else 0.0, input=course)
        # A step more, so that the state after the last one is kept; it sees no further input.
        run = simulate(
            net,
            self.start,
            duration=(len(x) + 1) * self.dt,
            dt=self.dt,
            discard=self.dt,
            key=noise,
            record=_Readout(self.outputs),
            progress=False,
        )
        return run.records


def _mean(recurrent: Operator | Signed | SpikeSlab) -> Operator:
    if isinstance(recurrent, SpikeSlab):
        return Dense(recurrent.moments().mean)
    return recurrent.operator() if isinstance(recurrent, Signed) else recurrent


def _like(recurrent: Operator | Signed | SpikeSlab) -> Operator | Array:
    """What has the shape and the precision of J."""
    if isinstance(recurrent, SpikeSlab):
        return recurrent.mean
    return recurrent.sizes if isinstance(recurrent, Signed) else recurrent


def _gaussian(law: SpikeSlab, key: PRNGKeyArray) -> Dense:
    """Weights with the moments of the law."""
    mean, variance = law.moments()
    some = variance > 0  # the slope of a root is infinite at 0
    spread = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)
    return Dense(mean + spread * jax.random.normal(key, mean.shape, mean.dtype))


class _Course(eqx.Module):
    """Currents of inputs at the multiples of `dt`, linear between them, and those of the last one from then on."""

    x: Float[Array, "T n_in"]
    inputs: Float[Array, "n n_in"]
    dt: float = eqx.field(static=True)

    def __call__(self, t):
        place = t / self.dt
        last = len(self.x) - 1
        left = jnp.clip(jnp.floor(place).astype(int), 0, max(last - 1, 0))
        share = jnp.clip(place - left.astype(place.dtype), 0, 1)
        here, there = self.x[left], self.x[jnp.minimum(left + 1, last)]
        # Currents of all times would be the largest array of the slopes.
        return self.inputs @ (here + share * (there - here))


class _Readout(eqx.Module):
    """The `Recorder` of outputs, W phi(x): the states themselves need not be kept."""

    outputs: Float[Array, "n_out n"]

    def init(self, x, rates):
        return None

    def update(self, carry, x, rates):
        return None, self.outputs @ rates

    def finish(self, carry, outputs):
        return outputs
