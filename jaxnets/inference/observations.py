r"""What a recording shows of a latent state: a readout of the state, and a law of the data given the readout.

A readout gives one number eta_i for each recorded unit; a law, `Gaussian` or `Poisson`, gives the data around it. Every
function here is for one state and one time. To add a law, write a final subclass of `Observation`; to add a readout,
one of `Readout`.
"""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import positive, real_array, require, require_instance, require_key
from .._results import one_line

if TYPE_CHECKING:
    from .models import StochasticLowRank

# --- readouts


class Readout(eqx.Module):
    """The numbers eta of the recorded units, as a function of a state z and of the currents x there."""

    __repr__ = one_line

    @abc.abstractmethod
    def read(self, model: "StochasticLowRank", z: Float[Array, " R"], x: Float[Array, " N"]) -> Float[Array, " M"]:
        """The numbers eta."""

    @abc.abstractmethod
    def directions(self, model: "StochasticLowRank") -> Float[Array, "M R"]:
        """The directions d_i of the derivatives d eta_i / dz = s_i d_i."""

    @abc.abstractmethod
    def slopes(self, model: "StochasticLowRank", x: Float[Array, " N"]) -> Float[Array, " M"]:
        """The factors s_i of the derivatives d eta_i / dz = s_i d_i."""

    @property
    @abc.abstractmethod
    def is_linear(self) -> bool:
        """True if eta is linear in z."""

    @abc.abstractmethod
    def num_recorded(self, num_units: int) -> int:
        """The number M of recorded units of a network of `num_units`, N."""

    @abc.abstractmethod
    def in_gauge(self, change: Float[Array, "R R"]) -> "Readout":
        """The same readout of z' = A z, with A the invertible `change`."""


class Currents(Readout):
    """eta_i = gain_i x_i + bias_i: every unit of the network is recorded by its current x = m z + W_u v.

    `gain` and `bias` are numbers or (N,). Raises `ValueError` if they are not finite.
    """

    gain: Float[Array, "*N"]
    bias: Float[Array, "*N"]

    def __init__(self, gain: Float[ArrayLike, "*N"] = 1.0, bias: Float[ArrayLike, "*N"] = 0.0):
        self.gain, self.bias = real_array("gain", gain), real_array("bias", bias)

    def __check_init__(self):
        _require_line(self.gain, self.bias)

    def read(self, model, z, x):
        return self.gain.astype(x.dtype) * x + self.bias.astype(x.dtype)

    def directions(self, model):
        return model.m

    def slopes(self, model, x):
        return jnp.broadcast_to(self.gain.astype(x.dtype), x.shape)

    @property
    def is_linear(self):
        return True

    def num_recorded(self, num_units):
        return num_units

    def in_gauge(self, change):
        return self


class Rates(Readout):
    """eta_i = gain_i phi(x_i - h_i) + bias_i: every unit is recorded by its rate.

    `gain` and `bias` are numbers or (N,). Raises `ValueError` if they are not finite.
    """

    gain: Float[Array, "*N"]
    bias: Float[Array, "*N"]

    def __init__(self, gain: Float[ArrayLike, "*N"] = 1.0, bias: Float[ArrayLike, "*N"] = 0.0):
        self.gain, self.bias = real_array("gain", gain), real_array("bias", bias)

    def __check_init__(self):
        _require_line(self.gain, self.bias)

    def read(self, model, z, x):
        return self.gain.astype(x.dtype) * model.rates(x) + self.bias.astype(x.dtype)

    def directions(self, model):
        return model.m

    def slopes(self, model, x):
        return self.gain.astype(x.dtype) * jax.jvp(model.rates, (x,), (jnp.ones_like(x),))[1]

    @property
    def is_linear(self):
        return False

    def num_recorded(self, num_units):
        return num_units

    def in_gauge(self, change):
        return self


class Affine(Readout):
    """eta = C z + bias: any number M of recorded units, which need not be those of the network.

    `matrix` is C (M, R), `bias` a number or (M,). Raises `ValueError` if they do not fit or are not finite.
    """

    matrix: Float[Array, "M R"]
    bias: Float[Array, "*M"]

    def __init__(self, matrix: Float[ArrayLike, "M R"], bias: Float[ArrayLike, "*M"] = 0.0):
        self.matrix, self.bias = real_array("matrix", matrix), real_array("bias", bias)

    def __check_init__(self):
        if self.matrix.ndim != 2 or 0 in self.matrix.shape:
            raise ValueError(f"`matrix` must have shape (M, R) with M, R >= 1, got {self.matrix.shape}")
        if self.bias.shape not in ((), self.matrix.shape[:1]):
            raise ValueError(f"`bias` must be a number or have shape ({len(self.matrix)},), got {self.bias.shape}")
        require("matrix", self.matrix, np.isfinite, "finite numbers")
        require("bias", self.bias, np.isfinite, "finite numbers")

    def read(self, model, z, x):
        return self.matrix.astype(z.dtype) @ z + self.bias.astype(z.dtype)

    def directions(self, model):
        return self.matrix.astype(model.m.dtype)

    def slopes(self, model, x):
        return jnp.ones(len(self.matrix), x.dtype)

    @property
    def is_linear(self):
        return True

    def num_recorded(self, num_units):
        return len(self.matrix)

    def in_gauge(self, change):
        return Affine(jnp.linalg.solve(change.T, self.matrix.T).T, self.bias)


def _require_line(gain: Array, bias: Array) -> None:
    for name, values in (("gain", gain), ("bias", bias)):
        if values.ndim > 1:
            raise ValueError(f"`{name}` must be a number or have shape (N,), got shape {values.shape}")
        require(name, values, np.isfinite, "finite numbers")


# --- laws


class Observation(eqx.Module):
    """The law of the data y_i of each unit given the eta_i of the `readout`; units are independent."""

    __repr__ = one_line

    readout: eqx.AbstractVar[Readout]

    @abc.abstractmethod
    def log_density(self, y: Float[Array, " M"], eta: Float[Array, " M"]) -> Float[Array, " M"]:
        """log p(y_i | eta_i) of each unit."""

    @abc.abstractmethod
    def score(self, y: Float[Array, " M"], eta: Float[Array, " M"]) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
        """The derivative of log p(y | eta) by eta, and the expected value of minus the second one."""

    @abc.abstractmethod
    def mean(self, eta: Float[Array, " M"]) -> Float[Array, " M"]:
        """The expected data."""

    @abc.abstractmethod
    def sample(self, eta: Float[Array, " M"], *, key: PRNGKeyArray) -> Float[Array, " M"]:
        """Data drawn given eta; raises `ValueError` without a key."""

    @property
    @abc.abstractmethod
    def is_gaussian(self) -> bool:
        """True if log p(y | eta) is a parabola in eta, whose curvature does not depend on y."""

    @property
    @abc.abstractmethod
    def counts(self) -> bool:
        """True if data are counts."""


class Gaussian(Observation):
    """y_i = eta_i + noise_i xi_i with independent standard Gaussian xi.

    `noise` is a standard deviation, a number or (M,), and `readout` is `Currents()` if None. Raises `ValueError` if
    `noise` is not positive, and for a readout that is none.
    """

    noise: Float[Array, "*M"]
    readout: Readout

    def __init__(self, noise: Float[ArrayLike, "*M"] = 1.0, readout: Readout | None = None):
        self.noise = real_array("noise", noise)
        self.readout = Currents() if readout is None else readout

    def __check_init__(self):
        if self.noise.ndim > 1:
            raise ValueError(f"`noise` must be a number or have shape (M,), got shape {self.noise.shape}")
        require("noise", self.noise, positive, "finite numbers > 0")
        _require_readout(self.readout)

    def log_density(self, y, eta):
        noise = self.noise.astype(eta.dtype)
        return -(((y - eta) / noise) ** 2) / 2 - jnp.log(noise) - jnp.log(jnp.asarray(2 * np.pi, eta.dtype)) / 2

    def score(self, y, eta):
        precision = jnp.broadcast_to(self.noise.astype(eta.dtype) ** -2, eta.shape)
        return precision * (y - eta), precision

    def mean(self, eta):
        return eta

    def sample(self, eta, *, key):
        require_key("key", key)
        return eta + self.noise.astype(eta.dtype) * jax.random.normal(key, eta.shape, eta.dtype)

    @property
    def is_gaussian(self):
        return True

    @property
    def counts(self):
        return False


class Poisson(Observation):
    r"""Counts of rate lambda_i = link(eta_i) in each step.

    $$ \log p(y | \eta) = y \log \lambda - \lambda - \log y! $$

    `link` is a smooth increasing function with positive values: `jax.nn.softplus` if None, or `jnp.exp`. `readout` is
    `Currents()` if None. Raises `ValueError` for a link or a readout that is none.
    """

    readout: Readout
    link: Callable[[Float[Array, "..."]], Float[Array, "..."]] = eqx.field(static=True)

    def __init__(
        self,
        link: Callable[[Float[Array, "..."]], Float[Array, "..."]] | None = None,
        readout: Readout | None = None,
    ):
        self.link = jax.nn.softplus if link is None else link
        self.readout = Currents() if readout is None else readout

    def __check_init__(self):
        if not callable(self.link):
            raise ValueError(f"`link` must be a function, such as `jnp.exp`, got {self.link!r}")
        _require_readout(self.readout)

    def log_density(self, y, eta):
        rate = self.mean(eta)
        return y * jnp.log(rate) - rate - gammaln(y + 1)

    def score(self, y, eta):
        rate, slope = jax.jvp(self.mean, (eta,), (jnp.ones_like(eta),))
        return slope * (y / rate - 1), slope**2 / rate

    def mean(self, eta):
        # Rates that underflow would make the logarithm of a count infinite.
        return jnp.maximum(self.link(eta), float(jnp.finfo(eta.dtype).tiny))

    def sample(self, eta, *, key):
        require_key("key", key)
        return jax.random.poisson(key, self.mean(eta)).astype(eta.dtype)

    @property
    def is_gaussian(self):
        return False

    @property
    def counts(self):
        return True


def _require_readout(readout) -> None:
    require_instance("readout", readout, Readout, "one of `jaxnets.inference`, such as `Currents()`")
