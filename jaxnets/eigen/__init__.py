"""Eigenvalues of couplings and Jacobians, one or a batch: the one door to `eig`. It knows no theory."""

from .._public import public
from .krylov import Leading, leading
from .values import batched_eigenvalues, eigenvalues, host_eigenvalues

__all__ = ["Leading", "batched_eigenvalues", "eigenvalues", "host_eigenvalues", "leading"]

__dir__ = public(__name__)
