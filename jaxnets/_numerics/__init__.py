"""Numerical methods that know nothing of networks: each has one home here, and every room takes it from here."""

from .arrays import as_complex, as_float, frozen, is_concrete, square_modulus
from .branches import Fold, fold
from .circle import laurent_product, reciprocal_moments, reciprocal_moments_real
from .distinct import merge
from .gaussian import gaussian_quadrature
from .interpolation import cubic_interpolation
from .roots import Root, bisect, find_root, iterate, polish_root

__all__ = [
    "Fold",
    "Root",
    "as_complex",
    "as_float",
    "bisect",
    "cubic_interpolation",
    "find_root",
    "fold",
    "frozen",
    "gaussian_quadrature",
    "is_concrete",
    "iterate",
    "laurent_product",
    "merge",
    "polish_root",
    "reciprocal_moments",
    "reciprocal_moments_real",
    "square_modulus",
]
