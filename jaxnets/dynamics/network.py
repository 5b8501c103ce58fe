r"""Rate networks: the equation of motion and its Jacobian, for one network and one state.

$$ \tau_i \dot x_i = -x_i + \gamma_i \sum_j J_{ij}\, \phi(x_j) + I_i(t) + \sqrt{2}\, \sigma_i\, \xi_i(t) $$

with independent unit white noise xi. Everything here is written for one network; map over more with `vmap`.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import nonnegative, positive, real_array, require
from .._numerics import as_complex
from ..couplings.operators import Dense, Operator
from ..eigen import eigenvalues

Input = Float[Array, "*n"] | Callable[[Float[Array, ""]], Float[Array, "*n"]]


class RateNetwork(eqx.Module):
    r"""A network tau dx/dt = -x + gamma J phi(x) + I(t) + sqrt(2) sigma xi(t) of n units.

    `coupling` is J, an operator or an n x n array; `transfer` is any elementwise function phi. `noise` (sigma, so
    that an isolated unit has variance sigma^2 / tau), `tau` and `gain` (gamma, which multiplies the rows of J) are
    numbers or arrays (n,). `input` is a number, an array (n,), or a function of time that returns one of them; none
    if None. All are taken in the precision of J. A batch of operators, as from `vmap` over keys, makes a batch of
    networks, which share all else.

    Raises `ValueError` for a coupling that is not square, arrays that do not fit it, negative noise, a time constant
    that is not positive, and numbers that are not finite.
    """

    coupling: Operator
    transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]]
    noise: Float[Array, "*n"]
    input: Input | None
    tau: Float[Array, "*n"]
    gain: Float[Array, "*n"]

    def __init__(
        self,
        coupling: Operator | Float[ArrayLike, "n n"],
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]],
        noise: Float[ArrayLike, "*n"] = 0.0,
        input: Float[ArrayLike, "*n"] | Callable[[Float[Array, ""]], Float[Array, "*n"]] | None = None,
        tau: Float[ArrayLike, "*n"] = 1.0,
        gain: Float[ArrayLike, "*n"] = 1.0,
    ):
        self.coupling = coupling if isinstance(coupling, Operator) else Dense(real_array("coupling", coupling))
        self.transfer = transfer
        self.noise = self._per_unit("noise", noise)
        self.input = input if input is None or callable(input) else self._per_unit("input", input)
        self.tau = self._per_unit("tau", tau)
        self.gain = self._per_unit("gain", gain)

    def _per_unit(self, name: str, value: ArrayLike) -> Float[Array, "*n"]:
        array = real_array(name, value)
        if array.shape not in ((), (self.size,)):
            raise ValueError(f"`{name}` must be a number or have shape ({self.size},), got shape {array.shape}")
        return array.astype(self.coupling.dtype)

    def __check_init__(self):
        if not callable(self.transfer):
            raise ValueError(f"`transfer` must be a function, such as `transfer.Tanh()`, got {self.transfer!r}")
        require("noise", self.noise, nonnegative, "finite numbers >= 0")
        require("tau", self.tau, positive, "finite numbers > 0")
        require("gain", self.gain, np.isfinite, "finite numbers")
        if not (self.input is None or callable(self.input)):
            require("input", self.input, np.isfinite, "finite numbers")

    @property
    def size(self) -> int:
        """n."""
        return self.coupling.shape[-1]

    @property
    def dtype(self) -> jnp.dtype:
        """The precision of the coupling, in which everything is computed."""
        return self.coupling.dtype

    def input_at(self, t: Float[Array, ""]) -> Float[Array, "*n"]:
        """I(t)."""
        if self.input is None:
            return jnp.zeros((), self.dtype)
        return jnp.asarray(self.input(t) if callable(self.input) else self.input, self.dtype)

    def drift(self, t: Float[Array, ""], x: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """(-x + gamma J phi(x) + I(t)) / tau: dx/dt without noise, for a state or for columns of states."""
        gain, current, tau = (along_first(values, x) for values in (self.gain, self.input_at(t), self.tau))
        return (-x + gain * (self.coupling @ self.transfer(x)) + current) / tau

    def kick(self, xi: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """sqrt(2) sigma xi / tau: what unit white noise xi adds to dx/dt."""
        return along_first(math.sqrt(2) * self.noise / self.tau, xi) * xi

    def slopes(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """phi'(x)."""
        return jax.jvp(self.transfer, (x,), (jnp.ones_like(x),))[1]

    def jacobian(self, x: Float[ArrayLike, "*batch n"]) -> "Jacobian":
        r"""The derivative of the drift, A = tau^{-1} (-1 + gamma J diag(phi'(x))), as an operator.

        Raises:
            ValueError: if the last axis of ``x`` is not n, or ``x`` is not finite.
        """
        x = real_array("x", x)
        if x.shape[-1:] != (self.size,):
            raise ValueError(f"`x` must have shape (..., {self.size}), got {x.shape}")
        require("x", x, np.isfinite, "finite numbers")
        return Jacobian(self.coupling, -1 / self.tau, self.gain / self.tau, self.slopes(x.astype(self.dtype)))


def along_first(values: Float[Array, "*n"], x: Float[Array, " n *k"]) -> Float[Array, "..."]:
    """A number, or one value for each row of x, shaped so that it multiplies x."""
    # Mapping over the columns instead would have XLA move them to the front and back again at every evaluation.
    return values.reshape(*values.shape, *(1,) * (x.ndim - 1)) if values.ndim else values


class Jacobian(eqx.Module):
    """A = diag(decay) + diag(left) J diag(right): applied in the cost of J, formed by `dense` alone.

    `coupling` is J, `decay` -1 / tau, `left` gamma / tau and `right` phi'(x), with the leading axes of a batch of
    states; `@` is for one. Made by `RateNetwork.jacobian`.
    """

    coupling: Operator
    decay: Float[Array, "*n"]
    left: Float[Array, "*n"]
    right: Float[Array, "*batch n"]

    @property
    def shape(self) -> tuple[int, ...]:
        """(*batch, n, n)."""
        return (*self.right.shape[:-1], *self.coupling.shape[-2:])

    @property
    def T(self) -> "Jacobian":
        """The transpose."""
        return Jacobian(self.coupling.T, self.decay, self.right, self.left)

    def __matmul__(self, v: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """A v, for a vector or for columns of vectors."""
        if v.ndim == 1:
            return self.decay * v + self.left * (self.coupling @ (self.right * v))
        return jax.vmap(self.__matmul__, in_axes=1, out_axes=1)(v)

    def dense(self) -> Float[Array, "*batch n n"]:
        """The matrix itself."""
        n = self.shape[-1]
        decay, left = (jnp.broadcast_to(x, (n,)) for x in (self.decay, self.left))

        def matrix(J, right):
            return jnp.diag(decay) + left[:, None] * J * right[None]

        J = self.coupling.dense()
        for _ in range(self.right.ndim + 1 - J.ndim):  # many states of each network
            matrix = jax.vmap(matrix, in_axes=(None, 0))
        for _ in J.shape[:-2]:
            matrix = jax.vmap(matrix)
        return matrix(J, self.right)

    def eigenvalues(self) -> Complex[Array, "*batch n"]:
        """Its eigenvalues; for one time constant those of J diag(gamma phi'(x)), at the price of the rank of J."""
        if self.decay.ndim == 1:
            return eigenvalues(self.dense())
        # diag(left) J diag(right) and J diag(right left) have the same eigenvalues.
        gains = self.right * jnp.broadcast_to(self.left, self.right.shape)
        # Axes broadcast from the last, so those of the networks, which lead, go behind those of the states.
        networks = tuple(range(len(self.coupling.shape) - 2))
        behind = tuple(k - len(networks) - 1 for k in networks)
        found = eigenvalues(self.coupling, jnp.moveaxis(gains, networks, behind))
        return as_complex(self.decay) + jnp.moveaxis(found, behind, networks)
