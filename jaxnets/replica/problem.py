"""What a replica-symmetric problem is: the contract between a model and the solvers of this room.

A model averaged over its disorder becomes, for N -> infinity, a function of few order parameters y whose saddle points
are the states of the model. `saddle` finds them, and the functions of `lines` say where they end. All they know of a
model are the eight methods below, so a new model is one more final `Problem`.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from .._numerics.host import differences, namespace


class Problem(eqx.Module):
    """A replica-symmetric problem with k order parameters y, at given values of its parameters.

    Parameters such as a load or a temperature are fields of the problem. Saddle points are differentiable in all of
    them, so `mismatch`, `free_energy` and `replicon` must be. The other methods need no gradients.

    `in_numpy` says that all methods also take a problem and order parameters in NumPy arrays (`_numerics.host`). One
    concrete saddle point is then found without a compiler.
    """

    in_numpy: ClassVar[bool] = False

    @abc.abstractmethod
    def mismatch(self, y: Float[Array, " k"]) -> Float[Array, " k"]:
        """F(y), which is 0 at a saddle point; of order one for order parameters that are wrong."""

    def jacobian(self, y: Float[Array, " k"]) -> Float[Any, "k k"]:
        """dF / dy by differentiation, or by differences in NumPy, unless a problem knows it in closed form."""
        here: Any = y
        if namespace(here) is np:
            value: Any = self.mismatch(here)
            return differences(self.mismatch, here, value)
        return jax.jacfwd(self.mismatch)(y)

    @abc.abstractmethod
    def relaxed(self, y: Float[Array, " k"], num_steps: int) -> Float[Array, " k"]:
        """Order parameters after `num_steps` of an iteration that leads from a guess y to the state meant by it.

        Newton's method, which comes next, finds any saddle point that is near. The iteration decides which one it is.
        """

    @abc.abstractmethod
    def free_energy(self, y: Float[Array, " k"]) -> Float[Array, ""]:
        """The free energy per unit at a saddle point; the lowest of several states is the one in equilibrium."""

    @abc.abstractmethod
    def replicon(self, y: Float[Array, " k"]) -> Float[Array, ""]:
        """Positive where the saddle point is stable against breaking of the symmetry of replicas."""

    @abc.abstractmethod
    def stability(self, y: Float[Array, " k"]) -> Float[Array, ""]:
        """Positive where the saddle point is a stable state within the symmetry of replicas; 0 at a fold."""

    @abc.abstractmethod
    def quadrature_error(self, y: Float[Array, " k"]) -> Float[Array, ""]:
        """The largest error that quadratures make at y."""

    @abc.abstractmethod
    def is_admissible(self, y: Float[Array, " k"], tolerance: float) -> Bool[Array, ""]:
        """Whether all order parameters lie in the range that has a meaning, up to `tolerance`."""
