"""Eigenvalues of couplings and Jacobians, one or a batch: the one door to `eig`. Knows no theory."""

from .values import batched_eigenvalues, eigenvalues

__all__ = ["batched_eigenvalues", "eigenvalues"]
