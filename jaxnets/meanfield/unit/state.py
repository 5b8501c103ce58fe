r"""The stationary state of one unit: the result of an energy, or of sampled paths.

In a large network a unit hears Gaussian noise eta and the echo of its own past through a memory kernel R,

$$ \dot x = -x + \eta + R * \phi(x), \qquad C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2, \qquad
   R(w) = r(S(w)), $$

where S = <d phi / d eta> is the response of its rate. A further solver returns a `Stationary` as well, so that all that
reads one works with it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from ..._arguments import real_array, require
from ..._laws import Discrete
from ..._numerics import as_complex
from ..._numerics.filon import one_sided, spectrum
from ..._results import Result
from ...couplings import Ensemble, Site


class Units(Result, axes={"K": "gain"}):
    """Units of each row gain: `c_x`, `c_phi` and `beta` = <phi'>; made by `stationary`.

    `gains` is the law of the gains, along the first axis of the other fields; lags are those of the state.
    """

    gains: Discrete
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    beta: Float[Array, " K"]


class Stationary(Result, axes={"T": "lags", "K": "impulse_lag"}, units={"lags": "tau", "decay_rate": "1 / tau"}):
    """The stationary state of a unit of `ensemble`, made by `stationary` and `stationary_by_paths`.

    `lags` are uniform from 0, in units of tau. At these `c_x` and `c_phi` are the autocovariances <x(t) x(t + tau)> and
    <phi phi>. `c_slope` is the autocovariance of d phi / d u, where u is the field behind the leak, and
    `c_slope_kink` its slope at lag 0+. `beta` is <d phi / d u>. `decay_rate` is the rate at which c_x decays at long
    lags, per tau. `noise` is sigma.

    With row gains these are averages over units, and `units` holds each gain apart; else it is None.

    `impulse` is S(tau) on the first lags, or None where S(tau) = beta e^{-tau}. In a state from sampled paths
    `decay_rate` is the rate of an exponential with the same correlation time, and `c_x_error`, `c_phi_error` and
    `response_error` are standard errors, the last one of S at frequency 0.

    `alternatives` counts other stable states, which have a larger variance: `stationary_states` returns them. It is -1
    where none were sought, as on sampled paths.
    """

    lags: Float[Array, " T"]
    c_x: Float[Array, " T"]
    c_phi: Float[Array, " T"]
    c_slope: Float[Array, " T"]  # <phi' phi'> where all units are alike
    c_slope_kink: Float[Array, ""]  # -sigma^2 <phi'' phi''>
    beta: Float[Array, ""]  # <phi'> where all units are alike
    decay_rate: Float[Array, ""]
    noise: Float[Array, ""]
    ensemble: Ensemble
    units: Units | None
    impulse: Float[Array, " K"] | None
    c_x_error: Float[Array, " T"]
    c_phi_error: Float[Array, " T"]
    response_error: Float[Array, ""]
    alternatives: Int[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]

    @property
    def site(self) -> Site | None:
        """Strength and echo of an ensemble whose energy gave the state; None for a state from sampled paths."""
        return self.ensemble.site() if self.impulse is None else None

    @property
    def variance(self) -> Float[Array, ""]:
        """C(0) of x."""
        return self.c_x[..., 0]

    def response(self, frequency: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """S(w) = <d phi / d eta> at each angular `frequency` w: beta / (1 + i w) without memory kernel.

        Raises `ValueError` for frequencies that are not finite real numbers, as all methods of a frequency.
        """
        frequency = self._frequency(frequency)
        leak = 1 / jax.lax.complex(jnp.ones_like(frequency), frequency)
        if self.impulse is None:
            return as_complex(self.beta) * leak
        # Filon's rule takes functions that vanish at the last lag and have no jump at 0: e^{-tau} is transformed apart.
        spacing = self.lags[1] - self.lags[0]
        first = self.impulse[0]
        rest = self.impulse - first * jnp.exp(-self.lags[: self.impulse.shape[0]])
        return as_complex(first) * leak + one_sided(rest, spacing, frequency)

    def spectrum_x(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """C^x(w), the transform of c_x with e^{-i w tau}, at each angular `frequency` w.

        Of fourth order in the spacing of lags, with an exponential beyond the last lag.
        """
        return spectrum(self.c_x, self.lags[1] - self.lags[0], self.decay_rate, self._frequency(frequency))

    def spectrum_phi(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """C^phi(w), the transform of c_phi, at each angular `frequency` w, as `spectrum_x`."""
        return spectrum(self.c_phi, self.lags[1] - self.lags[0], self.decay_rate, self._frequency(frequency))

    def noise_spectrum(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        r"""The spectrum of the mean field: of the Gaussian noise eta on a unit, at each angular `frequency` w.

        $$ C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2 $$

        White noise is part of eta. With row gains it is the noise before the gain: the noise on unit i is gamma_i eta.
        As accurate as `spectrum_phi`. Source: Sompolinsky, Crisanti & Sommers 1988.
        """
        return self._r_and_kappa(frequency)[1] * self.spectrum_phi(frequency) + 2 * self.noise**2

    def memory_kernel(self, frequency: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        r"""The memory kernel R(w) = r(S(w)), through which a unit hears its own past, at each angular `frequency` w.

        $$ R(w) = \int_0^\infty R(\tau)\, e^{-i w \tau}\, d\tau, \qquad
           \dot x = -x + \eta + \int_0^\infty R(\tau)\, \phi(x(t - \tau))\, d\tau $$

        0 for ensembles without memory. It tends to r(0) at high frequencies, where R(tau) has a delta function of that
        weight. Source: Sompolinsky & Zippelius 1982 (symmetric couplings); Martí, Brunel & Ostojic 2018.
        """
        return self._r_and_kappa(frequency)[0]

    def _frequency(self, value: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        frequency = real_array("frequency", value)
        require("frequency", frequency, np.isfinite, "finite")
        return frequency.astype(self.beta.dtype)

    def _r_and_kappa(self, frequency: Float[ArrayLike, "..."]) -> tuple[Complex[Array, "..."], Float[Array, "..."]]:
        """r(S(w)) and kappa(S(w))."""
        S = self.response(frequency)
        r, kappa = jax.vmap(self.ensemble.r_and_kappa)(S.ravel())
        return r.reshape(S.shape), kappa.reshape(S.shape)


def either(at_rest: Bool[Array, ""], rest: Stationary, active: Stationary) -> Stationary:
    """One of two states of the same ensemble."""
    return jax.tree.map(lambda a, b: jnp.where(at_rest, a, b) if eqx.is_array(a) else a, rest, active)
