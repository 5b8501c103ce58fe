r"""Rate networks: the equation of motion and its Jacobian.

$$ \tau_i \dot x_i = -x_i + \gamma_i \sum_j J_{ij}\, \phi(x_j) + I_i(t) + \sqrt{2}\, \sigma_i\, \xi_i(t) $$

with independent unit white noise xi. A `RateNetwork` holds this equation alone: `simulation` integrates it,
`equilibria` finds its fixed points, and `tangents` follows how orbits diverge. Functions here are written for one
network and one state, or for columns of states; `vmap` maps them over more.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._arguments import nonnegative, positive, real_array, require, traced_output
from .._numerics import as_complex, is_concrete
from .._results import one_line
from ..couplings.operators import Dense, Operator
from ..couplings.sparse import as_operator
from ..eigen import eigenvalues

Input = Float[Array, "*n"] | Callable[[Float[Array, ""]], Float[Array, "*n"]]


class RateNetwork(eqx.Module):
    r"""A network of n units, tau dx/dt = -x + gamma J phi(x) + I(t) + sqrt(2) sigma xi(t).

    `J` is an operator or an n x n array, and `transfer` any elementwise function phi. The standard deviation of noise
    is `noise`, sigma: white noise alone gives a unit the variance sigma^2 / tau. The time constants are `tau`, and
    `row_gains`, gamma, multiply the rows of J. Each of these three is a number or an array (n,). The `input` I is a
    number, an array (n,), or a function of time that returns one of them; None stands for no input.

    All parameters are taken in the precision of J. A batch of operators, as from `vmap` over keys, makes a batch of
    networks that share all other parameters.

    Raises `ValueError` if J is not square or not finite, `transfer` is not elementwise or not made of functions of
    `jax.numpy`, a parameter does not fit J or is not finite, `noise` is negative, or `tau` is not positive.
    """

    J: Operator
    transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]]
    noise: Float[Array, "*n"]
    input: Input | None
    tau: Float[Array, "*n"]
    row_gains: Float[Array, "*n"]

    def __init__(
        self,
        J: Operator | Float[ArrayLike, "n n"],
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]],
        noise: Float[ArrayLike, "*n"] = 0.0,
        input: Float[ArrayLike, "*n"] | Callable[[Float[Array, ""]], Float[Array, "*n"]] | None = None,
        tau: Float[ArrayLike, "*n"] = 1.0,
        row_gains: Float[ArrayLike, "*n"] = 1.0,
    ):
        self.J = as_operator("J", J)
        if jnp.issubdtype(self.J.dtype, jnp.complexfloating):
            raise ValueError("`J` must be real, got complex numbers: complex fields are simulated by `simulate_waves`")
        self.transfer = transfer
        self.noise = self._per_unit("noise", noise)
        self.input = input if input is None or callable(input) else self._per_unit("input", input)
        self.tau = self._per_unit("tau", tau)
        self.row_gains = self._per_unit("row_gains", row_gains)

    def __repr__(self) -> str:
        return one_line(self)

    def _per_unit(self, name: str, value: ArrayLike) -> Float[Array, "*n"]:
        array = real_array(name, value)
        if array.shape not in ((), (self.size,)):
            raise ValueError(f"`{name}` must be a number or have shape ({self.size},), got shape {array.shape}")
        return array.astype(self.J.dtype)

    def __check_init__(self):
        if not callable(self.transfer):
            raise ValueError(f"`transfer` must be a function, such as `transfer.Tanh()`, got {self.transfer!r}")
        states = jax.ShapeDtypeStruct((self.size,), self.dtype)
        rates = traced_output("transfer", self.transfer, states)
        if getattr(rates, "shape", None) != states.shape:
            raise ValueError(f"`transfer` must give one rate for each of {self.size} units, got {rates}")
        _require_finite(self.J)
        require("noise", self.noise, nonnegative, "finite numbers >= 0")
        require("tau", self.tau, positive, "finite numbers > 0")
        require("row_gains", self.row_gains, np.isfinite, "finite numbers")
        if not (self.input is None or callable(self.input)):
            require("input", self.input, np.isfinite, "finite numbers")

    @property
    def size(self) -> int:
        """The number of units, n."""
        return self.J.shape[-1]

    @property
    def dtype(self) -> jnp.dtype:
        """The precision of J, in which everything is computed."""
        return self.J.dtype

    def input_at(self, t: Float[Array, ""]) -> Float[Array, "*n"]:
        """The input I(t)."""
        if self.input is None:
            return jnp.zeros((), self.dtype)
        return jnp.asarray(self.input(t) if callable(self.input) else self.input, self.dtype)

    def drift(self, t: Float[Array, ""], x: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """The velocity dx/dt without noise, (-x + gamma J phi(x) + I(t)) / tau, of a state or of columns of states."""
        gains, current, tau = (along_first(values, x) for values in (self.row_gains, self.input_at(t), self.tau))
        return (-x + gains * (self.J @ self.transfer(x)) + current) / tau

    def linearized(
        self, t: Float[Array, ""], x: Float[Array, " n"], V: Float[Array, "n k"]
    ) -> tuple[Float[Array, " n"], Float[Array, "n k"], Float[Array, " n"]]:
        """The drift at x, the products A V of the Jacobian there with tangents, and phi'(x)."""
        slopes = self.slopes(x)
        gains, tau = along_first(self.row_gains, V), along_first(self.tau, V)
        return self.drift(t, x), (-V + gains * (self.J @ (slopes[:, None] * V))) / tau, slopes

    def kick(self, xi: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """The part of dx/dt due to unit white noise xi, sqrt(2) sigma xi / tau."""
        return along_first(math.sqrt(2) * self.noise / self.tau, xi) * xi

    def slopes(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The slopes phi'(x) of the transfer function."""
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
        return Jacobian(self.J, -1 / self.tau, self.row_gains / self.tau, self.slopes(x.astype(self.dtype)))


def _require_finite(J: Operator) -> None:
    """Raises `ValueError` that names the place of a coupling that is NaN or infinite; traced ones pass."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(J):
        if not eqx.is_inexact_array(leaf) or not is_concrete(leaf):
            continue
        # On a CPU NumPy sees the same memory; elsewhere the array stays where it is.
        if np.all(np.isfinite(np.asarray(leaf))) if jax.default_backend() == "cpu" else _all_finite(leaf):
            continue
        if isinstance(J, Dense):
            require("J", leaf, np.isfinite, "finite numbers")
        raise ValueError(
            f"`J` must be finite, got NaN or infinite numbers in {type(J).__name__}{jax.tree_util.keystr(path)}"
        )


@jax.jit
def _all_finite(values: Array) -> Bool[Array, ""]:
    return jnp.all(jnp.isfinite(values))


def along_first(values: Float[Array, "*n"], x: Float[Array, " n *k"]) -> Float[Array, "..."]:
    """A number, or one value for each row of x, shaped so that it multiplies x."""
    # Mapping over the columns instead would have XLA move them to the front and back again at every evaluation.
    return values.reshape(*values.shape, *(1,) * (x.ndim - 1)) if values.ndim else values


def require_one(net: RateNetwork) -> None:
    if len(net.J.shape) != 2:
        raise ValueError(f"`net` must be one network, got a batch {net.J.shape[:-2]}: map with `jax.vmap`")


def states_of(net: RateNetwork, name: str, value: ArrayLike) -> Float[Array, "*batch n"]:
    """States (..., n) of one network in the precision of J, or a `ValueError` that names them."""
    require_one(net)
    states = real_array(name, value)
    if states.shape[-1:] != (net.size,):
        raise ValueError(f"`{name}` must have the last axis n = {net.size}, got shape {states.shape}")
    require(name, states, np.isfinite, "finite numbers")
    return states.astype(net.dtype)


class Jacobian(eqx.Module):
    """The matrix A = diag(decay) + diag(left) J diag(right), applied in the cost of J and formed by `dense` alone.

    For a `RateNetwork`, `decay` is -1 / tau, `left` is gamma / tau and `right` is phi'(x), which has the leading axes
    of a batch of states. The product `@` is for one state. Made by `RateNetwork.jacobian`.
    """

    J: Operator
    decay: Float[Array, "*n"]
    left: Float[Array, "*n"]
    right: Float[Array, "*batch n"]

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (*batch, n, n)."""
        return (*self.right.shape[:-1], *self.J.shape[-2:])

    @property
    def T(self) -> "Jacobian":
        """The transpose."""
        return Jacobian(self.J.T, self.decay, self.right, self.left)

    def __matmul__(self, v: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """The product A v with a vector, or with columns of vectors."""
        if v.ndim == 1:
            return self.decay * v + self.left * (self.J @ (self.right * v))
        return jax.vmap(self.__matmul__, in_axes=1, out_axes=1)(v)

    def dense(self) -> Float[Array, "*batch n n"]:
        """The matrix A itself."""
        n = self.shape[-1]
        decay, left = (jnp.broadcast_to(x, (n,)) for x in (self.decay, self.left))

        def matrix(J, right):
            return jnp.diag(decay) + left[:, None] * J * right[None]

        J = self.J.dense()
        for _ in range(self.right.ndim + 1 - J.ndim):  # many states of each network
            matrix = jax.vmap(matrix, in_axes=(None, 0))
        for _ in J.shape[:-2]:
            matrix = jax.vmap(matrix)
        return matrix(J, self.right)

    def eigenvalues(self) -> Complex[Array, "*batch n"]:
        """The eigenvalues of A; with one time constant, J diag(gamma phi'(x)) gives them at the cost of its rank."""
        J, gains, shift = self.as_product()
        # Axes broadcast from the last one, so the leading axes of a batch of networks go behind the axes of states.
        networks = tuple(range(len(self.J.shape) - 2)) if gains is not None else ()
        behind = tuple(k - len(networks) - 1 for k in networks)
        found = eigenvalues(J, gains if gains is None else jnp.moveaxis(gains, networks, behind))
        return as_complex(shift) + jnp.moveaxis(found, behind, networks)

    def as_product(self) -> tuple[Operator, Float[Array, "*batch n"] | None, Float[Array, ""]]:
        """A matrix M, gains and a number, such that A has the eigenvalues of M diag(gains), plus the number."""
        if self.decay.ndim == 1:
            return Dense(self.dense()), None, jnp.zeros((), self.decay.dtype)
        # diag(left) J diag(right) and J diag(right left) have the same eigenvalues.
        return self.J, self.right * jnp.broadcast_to(self.left, self.right.shape), self.decay
