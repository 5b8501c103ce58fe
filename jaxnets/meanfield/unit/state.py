"""The stationary state of a unit, whichever way it was found."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from ..._arguments import require, require_instance
from ..._numerics import as_complex
from ..._numerics.filon import one_sided, spectrum
from ..._results import Result
from ...transfer import Transfer
from ..site import Site
from ..units import Units


class Stationary(Result, axes={"T": "lags", "K": "impulse_lag"}, units={"lags": "tau", "decay_rate": "1 / tau"}):
    """The stationary state of a unit, made by `stationary` and `stationary_by_paths`.

    `lags` are in units of tau, and uniform from 0. At these are the autocovariances `c_x` of x, `c_phi` of phi and
    `c_slope` of d phi / d u, u being the field through the leak, with the slope `c_slope_kink` at lag 0+; `beta` is
    <d phi / d u>, `decay_rate` that of c_x at long lags, `noise` is sigma. `site` is the part of the ensemble in the
    energy, None where there is none; `units` tells apart those of each gain, where the rows of J have gains.

    `impulse` is S(tau) on the first lags; None where that is beta e^{-tau}. Of a state from sampled paths `decay_rate`
    is that of an exponential with the same correlation time, and `c_x_error`, `c_phi_error` and `response_error`, of
    S at frequency 0, are standard errors.
    """

    lags: Float[Array, " T"]
    c_x: Float[Array, " T"]  # C(tau) = <x(t) x(t + tau)>
    c_phi: Float[Array, " T"]  # <phi phi>
    c_slope: Float[Array, " T"]  # that of d phi / d u: <phi' phi'> where all units are alike
    c_slope_kink: Float[Array, ""]  # its slope at 0+, -sigma^2 <phi'' phi''>
    beta: Float[Array, ""]  # <d phi / d u>, u the field through the leak: <phi'> where all units are alike
    decay_rate: Float[Array, ""]  # of C(tau) at long lags, per tau
    noise: Float[Array, ""]  # sigma
    site: Site | None  # None without an energy to conserve
    units: Units | None  # of each gain, where the rows of J have gains
    impulse: Float[Array, " K"] | None  # S(tau); None where it is beta e^{-tau}
    c_x_error: Float[Array, " T"]
    c_phi_error: Float[Array, " T"]
    response_error: Float[Array, ""]  # of S(0), at frequency 0
    residual: Float[Array, ""]
    converged: Bool[Array, ""]

    @property
    def variance(self) -> Float[Array, ""]:
        """C_0."""
        return self.c_x[..., 0]

    def response(self, frequency: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """S(w) = <d phi / d eta>, at each angular `frequency` w: beta / (1 + i w) without memory kernel."""
        frequency = jnp.asarray(frequency, self.beta.dtype)
        leak = 1 / jax.lax.complex(jnp.ones_like(frequency), frequency)
        if self.impulse is None:
            return as_complex(self.beta) * leak
        spacing = self.lags[1] - self.lags[0]
        first = self.impulse[0]
        rest = self.impulse - first * jnp.exp(-self.lags[: self.impulse.shape[0]])
        return as_complex(first) * leak + one_sided(rest, spacing, frequency)

    def spectrum_x(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The transform of c_x with e^{-i w tau}, at each angular `frequency` w.

        Fourth order in the spacing of lags, with the exponential that is left beyond the last one.
        """
        return spectrum(self.c_x, self.lags[1] - self.lags[0], self.decay_rate, frequency)

    def spectrum_phi(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The transform of c_phi at each `frequency`, as `spectrum_x`."""
        return spectrum(self.c_phi, self.lags[1] - self.lags[0], self.decay_rate, frequency)


def is_odd(transfer: Transfer, dtype: Any) -> Bool[Array, ""]:
    """Whether phi is odd. Raises `ValueError` if that is known to be false, and for what is no transfer function."""
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    x = jnp.asarray(np.linspace(0, 4, 17), dtype)
    even_part = jnp.max(jnp.abs(transfer(x) + transfer(-x)))
    require("transfer", even_part, lambda e: e <= 1e-5, "odd, with phi(x) + phi(-x) = 0")
    return even_part <= 1e-5
