r"""Stochastic low-rank networks: R latent variables that drive N units and are driven by their rates.

$$ z_t = a\, z_{t-1} + n\, \phi(m z_{t-1} + W_u v_{t-1} - h) + \epsilon_t, \qquad \epsilon_t \sim N(0, Q), \qquad
   v_t = a\, v_{t-1} + (1 - a)\, u_t $$

with currents x_t = m z_t + W_u v_t and rates phi(x_t - h). Without noise it is the Euler scheme, at steps of 1 - a time
constants, of a rate network with couplings J = m n / (1 - a), since currents x obey x_t = a x_{t-1} + m n phi + ...
Only J and the readout are determined by data: z -> A z, m -> m A^{-1}, n -> A n is the same network for any A.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import positive, real_array, require, require_instance, require_key, require_whole, scalar
from .._numerics import as_program, is_concrete
from .._results import Result, one_line
from ..couplings.operators import Diagonal, Modes
from ..dynamics import RateNetwork
from ..transfer import Tanh, Transfer
from .gaussians import as_factor
from .observations import Gaussian, Observation
from .recordings import inputs_of


class Trials(Result, axes={"B": "trial", "T": "step", "M": "unit", "R": "mode"}):
    """Trials drawn from a `StochasticLowRank`: `recording` is what is seen of the states `latents`."""

    recording: Float[Array, "B T M"]
    latents: Float[Array, "B T R"]


class StochasticLowRank(eqx.Module):
    r"""A network of N units and rank R, driven by noise, and what is recorded of it.

    $$ z_t = a\, z_{t-1} + n\, \phi(m z_{t-1} + W_u v_{t-1} - h) + L \xi_t, \qquad z_1 \sim N(z_0, L_0 L_0^T) $$

    `m` and `n` are the output and input modes, `leak` is a with 0 <= a < 1, `transfer` is phi, `threshold` is h, a
    number or (N,). `noise` is a standard deviation, one for each latent variable, or the lower triangular L itself;
    `initial_noise` likewise. `initial_mean` is z_0, a number or (R,). `input_weights` are W_u; None takes no input.
    `observation` says what is recorded: the currents with Gaussian noise of standard deviation 1 if None.

    Raises `ValueError` for shapes that do not fit, numbers that are not finite, as many modes as units, a leak outside
    [0, 1), noise that is not positive, and an object that is no transfer function or no observation.

    Source: Pals, Sagtekin, Pei, Gloeckler & Macke 2024 (arXiv 2406.16749).
    """

    m: Float[Array, "N R"]
    n: Float[Array, "R N"]
    leak: Float[Array, ""]
    noise: Float[Array, "R R"]
    threshold: Float[Array, "*N"]
    input_weights: Float[Array, "N I"] | None
    initial_mean: Float[Array, " R"]
    initial_noise: Float[Array, "R R"]
    observation: Observation
    transfer: Transfer

    def __init__(
        self,
        m: Float[ArrayLike, "N R"],
        n: Float[ArrayLike, "R N"],
        leak: Float[ArrayLike, ""],
        noise: Float[ArrayLike, "*R"],
        transfer: Transfer | None = None,
        *,
        threshold: Float[ArrayLike, "*N"] = 0.0,
        input_weights: Float[ArrayLike, "N I"] | None = None,
        initial_mean: Float[ArrayLike, "*R"] = 0.0,
        initial_noise: Float[ArrayLike, "*R"] = 1.0,
        observation: Observation | None = None,
    ):
        self.m = real_array("m", m)
        if self.m.ndim != 2 or 0 in self.m.shape:
            raise ValueError(f"`m` must have shape (N, R) with N > R >= 1, got {self.m.shape}")
        N, R = self.m.shape
        if R >= N:
            raise ValueError(f"`m` must have fewer modes than units, N > R, got shape {self.m.shape}")
        real = lambda name, value, *shapes: _of_shape(name, value, shapes).astype(self.m.dtype)
        self.n = real("n", n, (R, N))
        self.leak = scalar("leak", leak).astype(self.m.dtype)
        self.noise = as_factor(real("noise", noise, (), (R,), (R, R)), R)
        self.threshold = real("threshold", threshold, (), (N,))
        self.input_weights = None if input_weights is None else real("input_weights", input_weights, (N, None))
        self.initial_mean = jnp.broadcast_to(real("initial_mean", initial_mean, (), (R,)), (R,))
        self.initial_noise = as_factor(real("initial_noise", initial_noise, (), (R,), (R, R)), R)
        self.observation = Gaussian() if observation is None else observation
        self.transfer = Tanh() if transfer is None else transfer

    def __repr__(self) -> str:
        return one_line(self)

    def __check_init__(self):
        require("leak", self.leak, lambda a: (a >= 0) & (a < 1), "a number in [0, 1)")
        for name in ("noise", "initial_noise"):
            factor = getattr(self, name)
            if is_concrete(factor):
                require(name, np.diagonal(np.asarray(factor)), positive, "finite standard deviations > 0")
                lower = lambda L: np.isfinite(L) & (np.triu(L, 1) == 0)
                require(name, factor, lower, "standard deviations, or a lower triangular factor of the covariance")
        require_instance("observation", self.observation, Observation, "one of `jaxnets.inference`, as `Poisson()`")
        require_instance("transfer", self.transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
        zeros = jax.ShapeDtypeStruct((self.size,), self.m.dtype), jax.ShapeDtypeStruct((self.rank,), self.m.dtype)
        try:
            jax.eval_shape(lambda x, z: self.observation.log_density(read := self.read(z, x), read), *zeros)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`observation` must fit {self.size} units and {self.rank} modes, got {self.observation}: {error}"
            ) from error

    @property
    def size(self) -> int:
        """The number of units, N."""
        return self.m.shape[0]

    @property
    def rank(self) -> int:
        """The number of latent variables, R."""
        return self.m.shape[1]

    @property
    def num_recorded(self) -> int:
        """The number of recorded units, M."""
        return self.observation.readout.num_recorded(self.size)

    @property
    def num_inputs(self) -> int:
        """The number of inputs, 0 without any."""
        return 0 if self.input_weights is None else self.input_weights.shape[1]

    def rates(self, x: Float[Array, " N"]) -> Float[Array, " N"]:
        """phi(x - h)."""
        return self.transfer(x - self.threshold)

    def currents(self, z: Float[Array, " R"], v: Float[Array, " I"] | None = None) -> Float[Array, " N"]:
        """x = m z + W_u v."""
        return self.m @ z if v is None or self.input_weights is None else self.m @ z + self.input_weights @ v

    def step(self, z: Float[Array, " R"], v: Float[Array, " I"] | None = None) -> Float[Array, " R"]:
        """The state after one step without noise."""
        return self.leak * z + self.n @ self.rates(self.currents(z, v))

    def read(self, z: Float[Array, " R"], x: Float[Array, " N"]) -> Float[Array, " M"]:
        """What the readout gives at a state z with currents x."""
        return self.observation.readout.read(self, z, x)

    def filtered_inputs(self, inputs: Float[Array, "T I"] | None) -> Float[Array, "T I"] | None:
        """v_t = a v_{t-1} + (1 - a) u_t for `inputs` u, from v_0 = 0."""
        if inputs is None:
            return None

        def advance(v, u):
            v = self.leak * v + (1 - self.leak) * u
            return v, v

        return jax.lax.scan(advance, jnp.zeros_like(inputs[0]), inputs)[1]

    def sample(
        self,
        num_trials: int,
        num_steps: int,
        *,
        key: PRNGKeyArray,
        inputs: Float[ArrayLike, "*B T I"] | None = None,
    ) -> Trials:
        """Trials drawn from the law of the model.

        `inputs` are u, (T, I) for all trials or (B, T, I). Raises `ValueError` for numbers below 1, inputs that do not
        fit, and without a key.
        """
        require_whole("num_trials", num_trials)
        require_whole("num_steps", num_steps)
        require_key("key", key)
        u = inputs_of(inputs, self.num_inputs, num_trials, num_steps, self.m.dtype)
        return Trials(*_sampled(self, num_steps, u, jax.random.split(key, num_trials)))

    def in_canonical_gauge(self) -> "StochasticLowRank":
        r"""The same network with modes from the singular value decomposition m n = U S V^T.

        $$ m = \sqrt{N}\, U, \qquad n = S V^T / \sqrt{N} $$

        Columns of m have mean square 1, so that a latent variable of one has root-mean-square currents of one; the
        largest entry of each is positive. Modes come by falling strength. Two strengths that are equal leave a rotation
        open, and a pair of equal ones is common for oscillations.
        """
        return _canonical(self)

    def to_network(
        self,
        dt: Float[ArrayLike, ""] = 1.0,
        input: Float[ArrayLike, " I"] | Callable[[Float[Array, ""]], Float[Array, " I"]] | None = None,
    ) -> RateNetwork:
        r"""The network without noise, as a `RateNetwork` of the states x - h with the time constant dt / (1 - a).

        $$ \tau \dot y = -y + J \phi(y) + W_u u - h, \qquad y = x - h, \qquad J = \frac{m n}{1 - a}, \qquad
           \tau = \frac{dt}{1 - a} $$

        `dt` is the time of one step of the recording. The scheme `dynamics.euler` at this dt gives the steps of the
        model, to rounding. Fixed points are those of the model in any scheme; a finer one changes frequencies and
        Lyapunov exponents by a part of some (1 - a) / 2. `input` is u: constant, or a function of time. Noise acts on
        the R latent variables and has no place in a network whose units have noise of their own.

        Raises `ValueError` if `dt` is not positive, or `input` does not fit `input_weights`.
        """
        dt = scalar("dt", dt).astype(self.m.dtype)
        require("dt", dt, positive, "a finite number > 0")
        strength = self.size / (1 - self.leak)
        J = Modes(self.m, self.n.T, Diagonal(jnp.broadcast_to(strength, (self.rank,))))
        return RateNetwork(J, self.transfer, input=self._input(input), tau=dt / (1 - self.leak))

    def _input(self, u: Any) -> Any:
        h = jnp.broadcast_to(self.threshold, (self.size,))
        if u is None:
            return -h
        weights = self.input_weights
        if weights is None:
            raise ValueError("`input` must be None for a model without `input_weights`")
        if callable(u):
            return lambda t: weights @ jnp.asarray(u(t), h.dtype) - h
        return weights @ _of_shape("input", u, ((weights.shape[1],),)).astype(h.dtype) - h


def _of_shape(name: str, value: ArrayLike, shapes: tuple[tuple[int | None, ...], ...]) -> Float[Array, "..."]:
    """A finite array that has one of the shapes, in which None takes any length."""
    array = real_array(name, value)
    fits = lambda shape: (
        len(shape) == array.ndim and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    )
    if not any(map(fits, shapes)):
        text = " or ".join("a number" if shape == () else str(shape).replace("None", "any") for shape in shapes)
        raise ValueError(f"`{name}` must have shape {text}, got {array.shape}")
    require(name, array, np.isfinite, "finite numbers")
    return array


@as_program
def _sampled(model: StochasticLowRank, num_steps: int, inputs, keys):
    def trial(key, u):
        v = model.filtered_inputs(u)
        first, rest = jax.random.split(key)
        z = model.initial_mean + model.initial_noise @ jax.random.normal(first, (model.rank,), model.m.dtype)

        def advance(z, at):
            key, v = at
            ahead, seen = jax.random.split(key)
            y = model.observation.sample(model.read(z, model.currents(z, v)), key=seen)
            xi = jax.random.normal(ahead, z.shape, z.dtype)
            return model.step(z, v) + model.noise @ xi, (y, z)

        return jax.lax.scan(advance, z, (jax.random.split(rest, num_steps), v))[1]

    if inputs is None:
        return jax.vmap(lambda key: trial(key, None))(keys)
    return jax.vmap(trial)(keys, inputs)


@as_program
def _canonical(model: StochasticLowRank) -> StochasticLowRank:
    # Through R x R matrices alone: m = Q_1 T_1 and n^T = Q_2 T_2, so that the middle T_1 T_2^T has the same values.
    Q1, T1 = jnp.linalg.qr(model.m)
    Q2, T2 = jnp.linalg.qr(model.n.T)
    U, S, Vt = jnp.linalg.svd(T1 @ T2.T)
    root = jnp.sqrt(jnp.asarray(model.size, model.m.dtype))
    m, right = root * Q1 @ U, Q2 @ Vt.T
    largest = jnp.take_along_axis(m, jnp.argmax(jnp.abs(m), axis=0)[None], 0)[0]
    sign = jnp.where(largest < 0, -1, 1).astype(m.dtype)
    m, right = m * sign[None], right * sign[None]
    change = m.T @ model.m / model.size  # z' = A z, since m' A = m

    def factor(L):
        Q, T = jnp.linalg.qr((change @ L).T)
        return T.T * jnp.where(jnp.diagonal(T) < 0, -1, 1).astype(T.dtype)[None]

    changed = lambda one: (one.m, one.n, one.noise, one.initial_mean, one.initial_noise, one.observation)
    observation = eqx.tree_at(lambda o: o.readout, model.observation, model.observation.readout.in_gauge(change))
    values = (m, (S[:, None] * right.T) / root, factor(model.noise), change @ model.initial_mean)
    return eqx.tree_at(changed, model, (*values, factor(model.initial_noise), observation))
