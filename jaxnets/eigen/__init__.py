"""Eigenvalues of couplings and Jacobians, one or a batch: the one door to `eig`. It knows no theory."""

from .._public import public
from .values import batched_eigenvalues, eigenvalues, host_eigenvalues

__all__ = ["batched_eigenvalues", "eigenvalues", "host_eigenvalues"]

__dir__ = public(__name__)
