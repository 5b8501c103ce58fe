"""Hermite polynomials of norm 1 under the standard normal density: what covariances of functions of inputs need.

A function f of a standard normal z has coefficients a_k = <f(z) h_k(z)>. For inputs of correlation c, <f g> is the sum
of a_k b_k c^k (Mehler 1866).
"""

import math

import numpy as np
from jaxtyping import Float


def hermite_rule(num: int, nodes: int, width: float) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "num n"]]:
    """Points z of the trapezoid rule, and the matrix that takes f(z) to its first `num` coefficients.

    Polynomials reach out to 2 sqrt(num) and the weight to e^{-width^2 / 2}: f must be smooth on the distance
    2 width / nodes of the points. Row 0 of the matrix has the weights of the rule.
    """
    z = np.linspace(-width, width, nodes)
    weights = np.exp(-(z**2) / 2)
    rows = [np.ones(nodes), z]
    for k in range(1, num - 1):
        rows.append((z * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    return z, np.stack(rows) * (weights / weights.sum())
