r"""What one unit sees of an ensemble without memory kernel: a strength, and for a shift an echo.

The field on one unit has the spectrum kappa(S(w)) C^phi(w) and feeds back through r(S(w)), S(w) = beta / (1 + i w).
Where r vanishes and kappa(t) = g^2 / (1 - a |t|^2), the autocovariance obeys

$$ C'' = (1 - a \beta^2)\, C - g^2\, C^\phi(C) $$

Independent weights, random modes without overlap, singular modes and sums of these have a = 0: no echo. The shift of
a sequence, lambda = gamma e^{-i theta}, has a = gamma^2 and g^2 = load gamma^2.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._numerics import is_concrete
from ..couplings import IID, DeepHebbian, Elliptic, Ensemble, RandomModes, Scaled, SingularModes, Sum


class Site(eqx.Module):
    """r = 0 and kappa(t) = strength / (1 - echo |t|^2); echo is None where kappa is constant."""

    strength: Float[Array, ""]
    echo: Float[Array, ""] | None

    @property
    def total(self) -> Float[Array, ""]:
        """g^2 + a: the square of the right edge of J."""
        return self.strength if self.echo is None else self.strength + self.echo

    def decay(self, beta: Float[Array, ""]) -> Float[Array, ""]:
        """k = 1 - a beta^2."""
        return jnp.ones_like(beta) if self.echo is None else 1 - self.echo * beta**2


def one_site(ensemble: Ensemble) -> Site:
    """Strength and echo of an ensemble whose memory kernel is known to vanish.

    Fields that must be 0 for that (`overlap`, `symmetry`, `auto`) give NaN where they are traced and are not, and a
    NaN for the derivative by them, which the theory without memory kernel does not have.

    Raises:
        ValueError: for any other ensemble.
    """
    if not isinstance(ensemble, Ensemble):
        raise ValueError(f"`ensemble` must be an ensemble of `jaxnets.couplings`, got {ensemble!r}")
    return _site(ensemble)


def _site(ensemble: Ensemble) -> Site:
    match ensemble:
        case IID() | SingularModes():
            return Site(ensemble.variance(), None)
        case Elliptic():
            return Site(ensemble.variance() * _one_at_zero(ensemble, "symmetry"), None)
        case RandomModes():
            return Site(ensemble.variance() * _one_at_zero(ensemble, "overlap"), None)
        case DeepHebbian() if ensemble.hetero.shape == (1,) and not ensemble.symmetric:
            echo = ensemble.hetero[0] ** 2 * _one_at_zero(ensemble, "auto")
            return Site(ensemble.load * echo, echo)
        case Scaled():
            site = _site(ensemble.ensemble)
            factor = ensemble.factor**2
            return Site(factor * site.strength, None if site.echo is None else factor * site.echo)
        case Sum() if len(ensemble.terms) == 1:
            return _site(ensemble.terms[0])
        case Sum():
            sites = [_site(term) for term in ensemble.terms]
            if any(site.echo is not None for site in sites):
                # Its kappa is a sum of different fractions: no energy in C alone is conserved.
                raise _unsolved(ensemble, "a shift is solved alone, not in a sum")
            return Site(jnp.sum(jnp.stack([site.strength for site in sites])), None)
        case _:
            raise _unsolved(ensemble, "it is none of these")


def _one_at_zero(ensemble: Ensemble, name: str) -> Float[Array, ""]:
    value = getattr(ensemble, name)
    if is_concrete(value) and np.any(np.asarray(value) != 0):
        raise _unsolved(ensemble, f"its `{name}` is not 0")
    return _indicator(value)


@jax.custom_jvp
def _indicator(value: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.where(jnp.all(value == 0), 1.0, jnp.nan).astype(value.dtype)


@_indicator.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _indicator(*primals), jnp.nan * jnp.sum(tangents[0])


def _unsolved(ensemble: Ensemble, reason: str) -> ValueError:
    return ValueError(
        "`ensemble` must have no memory kernel (independent weights, random modes without overlap, singular modes, "
        "their sums and multiples, or DeepHebbian with auto = 0 and one element of hetero), got "
        f"{type(ensemble).__name__}: {reason}; it needs a solver on sampled paths, which is not there yet"
    )
