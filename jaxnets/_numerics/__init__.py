"""Numerical methods that know nothing of networks: each has one home here, and every room takes it from here."""

from .arrays import as_complex, as_float, as_host, binary_scale, frozen, is_concrete, square_modulus
from .batches import in_batches
from .blocking import error_of_mean
from .branches import Branch, Fold, fold, follow
from .circle import laurent_product, reciprocal_moments, reciprocal_moments_real
from .damped import least_squares, least_squares_from_host
from .distinct import merge
from .gaussian import (
    gaussian_quadrature,
    graded_quadrature,
    interval_moments,
    normal_density,
    pair_density_rule,
    pair_exponential,
    split_quadrature,
    tail,
)
from .hermite import hermite_rule
from .interpolation import cubic_interpolation
from .programs import as_program
from .roots import (
    Root,
    bisect,
    bisect_knowing,
    find_root,
    follow_line,
    implicit_fixed_point,
    implicit_root,
    implicit_tangent,
    in_parts,
    iterate,
    last_steps,
    newton_in_bracket,
    newton_step,
    polish_root,
    solve_few,
)
from .scans import checkpointed_scan

__all__ = [
    "Branch",
    "Fold",
    "Root",
    "as_complex",
    "as_float",
    "as_host",
    "as_program",
    "binary_scale",
    "bisect",
    "bisect_knowing",
    "checkpointed_scan",
    "cubic_interpolation",
    "error_of_mean",
    "find_root",
    "follow_line",
    "fold",
    "follow",
    "frozen",
    "gaussian_quadrature",
    "graded_quadrature",
    "hermite_rule",
    "implicit_fixed_point",
    "implicit_root",
    "implicit_tangent",
    "in_batches",
    "in_parts",
    "interval_moments",
    "is_concrete",
    "iterate",
    "last_steps",
    "laurent_product",
    "least_squares",
    "least_squares_from_host",
    "merge",
    "newton_in_bracket",
    "newton_step",
    "normal_density",
    "pair_density_rule",
    "pair_exponential",
    "polish_root",
    "reciprocal_moments",
    "reciprocal_moments_real",
    "solve_few",
    "split_quadrature",
    "square_modulus",
    "tail",
]
