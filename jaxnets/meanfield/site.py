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

from .._arguments import require_instance
from .._numerics import is_concrete
from ..couplings import DeepHebbian, Elliptic, Ensemble, LowRank, RandomModes, Scaled, Sum


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


def one_site(ensemble: Ensemble, certain: bool = False) -> Site | None:
    """Strength and echo of an ensemble, or None where there is a memory kernel, or an echo of only a part.

    Fields that must be 0 for there to be none (`overlap`, `symmetry`, `auto`) are taken to be 0 where they are traced.
    They give NaN if they are not, and a NaN for the derivative by them, which the theory without memory kernel does
    not have. If it must be `certain`, a traced one is taken to differ from 0.
    """
    match ensemble:
        case Elliptic() if _may_vanish(ensemble.symmetry, certain):
            return Site(ensemble.variance() * _indicator(ensemble.symmetry), None)
        case RandomModes() if _may_vanish(ensemble.overlap, certain):
            return Site(ensemble.variance() * _indicator(ensemble.overlap), None)
        case DeepHebbian() if _is_shift(ensemble, certain):
            echo = ensemble.hetero[0] ** 2 * _indicator(ensemble.auto)
            return Site(ensemble.load * echo, echo)
        case Scaled():
            site = one_site(ensemble.ensemble, certain)
            if site is None:
                return None
            factor = ensemble.factor**2
            return Site(factor * site.strength, None if site.echo is None else factor * site.echo)
        case Sum() if len(ensemble.terms) == 1:
            return one_site(ensemble.terms[0], certain)
        case Sum():
            found = [one_site(term, certain) for term in ensemble.terms]
            sites = [site for site in found if site is not None and site.echo is None]
            # A shift and another have a kappa that is a sum of different fractions: no energy in C alone is conserved.
            whole = len(sites) == len(ensemble.terms)
            return Site(jnp.sum(jnp.stack([site.strength for site in sites])), None) if whole else None
        case _:
            return Site(ensemble.variance(), None) if ensemble.is_memoryless() else None


def has_memory(ensemble: Ensemble) -> bool:
    """Whether r may differ from 0. Traced fields are taken as `one_site` does."""
    match ensemble:
        case Scaled():
            return has_memory(ensemble.ensemble)
        case Sum():
            return any(has_memory(term) for term in ensemble.terms)
        case _:
            return one_site(ensemble) is None


def require_no_mean(ensemble: Ensemble) -> None:
    """Raises `ValueError` for what is no ensemble, and for a finite-rank part, which gives units a common mean."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    parts = ensemble.terms if isinstance(ensemble, Sum) else (ensemble,)
    for part in parts:
        if isinstance(part, Scaled):
            require_no_mean(part.ensemble)
        if isinstance(part, LowRank):
            raise ValueError(f"`ensemble` must have no finite-rank part, which gives units a common mean, got {part!r}")


def _is_shift(ensemble: DeepHebbian, certain: bool) -> bool:
    return ensemble.hetero.shape == (1,) and not ensemble.symmetric and _may_vanish(ensemble.auto, certain)


def _may_vanish(value: Float[Array, "..."], certain: bool) -> bool:
    """Whether the value is 0, or may be if that need not be `certain`."""
    return not np.any(np.asarray(value)) if is_concrete(value) else not certain


@jax.custom_jvp
def _indicator(value: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.where(jnp.all(value == 0), 1.0, jnp.nan).astype(value.dtype)


@_indicator.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _indicator(*primals), jnp.nan * jnp.sum(tangents[0])
