"""Families of ensembles with few parameters: laws of amplitudes and profiles of overlaps over the rank of a mode.

A mode has the rank a = (k - 1/2) / N, k = 1, 2, ... from the strongest, up to the load. To add a law, a profile or a
family, write one final subclass; its float fields are what a fit finds, and `constraints` bounds them. All raise
`ValueError` for a field that is not one real number.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import require, scalar
from .._results import one_line
from ..couplings import IID, Ensemble, RandomModes, SingularModes
from .parameters import Interval, Positive, Transform


def _finite(name: str, value: ArrayLike) -> Float[Array, ""]:
    number = scalar(name, value)
    require(name, number, np.isfinite, "a finite number")
    return number


class AmplitudeLaw(eqx.Module):
    """A positive function of the rank, up to a factor."""

    __repr__ = one_line

    @abc.abstractmethod
    def __call__(self, a: Float[Array, " P"]) -> Float[Array, " P"]:
        """D at the ranks `a` > 0."""

    @abc.abstractmethod
    def constraints(self) -> dict[str, Transform]:
        """What each field must be."""


class Flat(AmplitudeLaw):
    """D(a) = 1."""

    def __call__(self, a):
        return jnp.ones_like(a)

    def constraints(self):
        return {}


class Exponential(AmplitudeLaw):
    """D(a) = exp(-a / decay)."""

    decay: Float[Array, ""]

    def __init__(self, decay: Float[ArrayLike, ""] = 0.3):
        self.decay = _finite("decay", decay)

    def __call__(self, a):
        return jnp.exp(-a / self.decay)

    def constraints(self):
        return {"decay": Positive()}


class StretchedExponential(AmplitudeLaw):
    """D(a) = exp(-(a / decay)^power)."""

    decay: Float[Array, ""]
    power: Float[Array, ""]

    def __init__(self, decay: Float[ArrayLike, ""] = 0.3, power: Float[ArrayLike, ""] = 1.0):
        self.decay = _finite("decay", decay)
        self.power = _finite("power", power)

    def __call__(self, a):
        return jnp.exp(-((a / self.decay) ** self.power))

    def constraints(self):
        return {"decay": Positive(), "power": Positive()}


class PowerLaw(AmplitudeLaw):
    """D(a) = a^(-exponent).

    At exponents of 1/2 and above, the first modes alone make the variance, which then grows with N.
    """

    exponent: Float[Array, ""]

    def __init__(self, exponent: Float[ArrayLike, ""] = 0.4):
        self.exponent = _finite("exponent", exponent)

    def __call__(self, a):
        return a**-self.exponent

    def constraints(self):
        return {"exponent": Positive()}


class OverlapProfile(eqx.Module):
    """E[L_ia R_ia] as a function of the rank, in [-1, 1]."""

    __repr__ = one_line

    @abc.abstractmethod
    def __call__(self, a: Float[Array, " P"]) -> Float[Array, " P"]:
        """rho at the ranks `a`, 0 < a < 1."""

    @abc.abstractmethod
    def constraints(self) -> dict[str, Transform]:
        """What each field must be."""


class NoOverlap(OverlapProfile):
    """rho(a) = 0."""

    def __call__(self, a):
        return jnp.zeros_like(a)

    def constraints(self):
        return {}


class ConstantOverlap(OverlapProfile):
    """rho(a) = `value`."""

    value: Float[Array, ""]

    def __init__(self, value: Float[ArrayLike, ""] = 0.0):
        self.value = _finite("value", value)

    def __call__(self, a):
        return jnp.broadcast_to(self.value, a.shape)

    def constraints(self):
        return {"value": Interval(-1, 1)}


class LinearOverlap(OverlapProfile):
    """rho(a) = first + (last - first) a: `first` at the strongest mode, `last` at a = 1, seen or not."""

    first: Float[Array, ""]
    last: Float[Array, ""]

    def __init__(self, first: Float[ArrayLike, ""] = 0.0, last: Float[ArrayLike, ""] = 0.0):
        self.first = _finite("first", first)
        self.last = _finite("last", last)

    def __call__(self, a):
        return self.first + (self.last - self.first) * a

    def constraints(self):
        return {"first": Interval(-1, 1), "last": Interval(-1, 1)}


# --- ensembles ------------------------------------------------------------------------------------------------


class Family(eqx.Module):
    """Ensembles with few parameters, one of them the strength `g` = sqrt(N Var J_ij)."""

    __repr__ = one_line

    g: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def ensemble(self, ranks: Float[Array, " P"], load: Float[ArrayLike, ""]) -> Ensemble:
        """The ensemble whose modes have these ranks, in networks of P / load units."""

    @abc.abstractmethod
    def constraints(self) -> dict[str, Transform]:
        """What each parameter must be, by its path."""

    @abc.abstractmethod
    def label(self) -> str:
        """A name for tables."""


class Independent(Family):
    """Independent Gaussian weights of the strength `g`, without modes."""

    g: Float[Array, ""]

    def __init__(self, g: Float[ArrayLike, ""] = 1.0):
        self.g = _finite("g", g)

    def ensemble(self, ranks, load):
        return IID(self.g)

    def constraints(self):
        return {"g": Positive()}

    def label(self):
        return "Independent"


class GaussianModes(Family):
    """`RandomModes` with amplitudes g D(a) / sqrt(load <D^2>), D the `law`, and overlaps rho(a).

    `overlap` is rho, none if None, and `g` the strength.
    """

    law: AmplitudeLaw
    overlap: OverlapProfile
    g: Float[Array, ""]

    def __init__(self, law: AmplitudeLaw, overlap: OverlapProfile | None = None, g: Float[ArrayLike, ""] = 1.0):
        self.law = law
        self.overlap = NoOverlap() if overlap is None else overlap
        self.g = _finite("g", g)

    def ensemble(self, ranks, load):
        return RandomModes(_amplitudes(self.law, self.g, ranks, load), load=load, overlap=self.overlap(ranks))

    def constraints(self):
        parts = {"law": self.law, "overlap": self.overlap}
        inner = {f"{name}.{path}": t for name, part in parts.items() for path, t in part.constraints().items()}
        return {"g": Positive(), **inner}

    def label(self):
        return f"GaussianModes {type(self.law).__name__} {type(self.overlap).__name__}"


class OrthogonalModes(Family):
    """`SingularModes` with singular values g D(a) / sqrt(load <D^2>), D the `law`, and no overlaps.

    Beyond the load the singular values are zero. `g` is the strength.
    """

    law: AmplitudeLaw
    g: Float[Array, ""]

    def __init__(self, law: AmplitudeLaw, g: Float[ArrayLike, ""] = 1.0):
        self.law = law
        self.g = _finite("g", g)

    def ensemble(self, ranks, load):
        values = jnp.append(_amplitudes(self.law, self.g, ranks, load), 0)
        weights = jnp.append(jnp.full_like(ranks, 1 / ranks.shape[0]) * load, 1 - jnp.asarray(load, ranks.dtype))
        return SingularModes(values, jnp.maximum(weights, 0))

    def constraints(self):
        return {"g": Positive(), **{f"law.{path}": t for path, t in self.law.constraints().items()}}

    def label(self):
        return f"OrthogonalModes {type(self.law).__name__}"


def _amplitudes(law: AmplitudeLaw, g, ranks, load) -> Float[Array, " P"]:
    D = law(ranks)
    return g * D / jnp.sqrt(load * jnp.mean(D**2))


def default_families() -> tuple[Family, ...]:
    """Independent weights, and Gaussian modes with each law of amplitudes and each profile of overlaps."""
    laws = (Flat(), Exponential(), StretchedExponential(), PowerLaw())
    profiles = (NoOverlap(), ConstantOverlap(), LinearOverlap())
    return (Independent(), *(GaussianModes(law, profile) for law in laws for profile in profiles))
