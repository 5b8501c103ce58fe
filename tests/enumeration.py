"""Averages over the field of a unit of a memory, by enumeration of all patterns: what `replica.fields` must give."""

import itertools

import numpy as np
from scipy.special import erf


def enumerated(a, variance, T, patterns="binary"):
    """The averages over x = xi a + Delta z by all signs, or Gaussian nodes, of xi and a fine rule for z."""
    z = np.linspace(-9, 9, 4001)
    weights = np.exp(-(z**2) / 2) / np.sum(np.exp(-(z**2) / 2))
    if patterns == "binary":
        xi = np.array(list(itertools.product([1, -1], repeat=len(a))))
        chances = np.full(len(xi), 1 / len(xi))
    else:
        nodes, chance = np.polynomial.hermite_e.hermegauss(60)
        xi = np.array(list(itertools.product(nodes, repeat=len(a))))
        chances = np.prod(list(itertools.product(chance / chance.sum(), repeat=len(a))), 1)
    h = xi @ a
    if T == 0:
        density = 2 * np.exp(-(h**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        spin, response, fourth, entropy = erf(h / np.sqrt(2 * variance)), density, 2 / 3 * density, 0 * h
    else:
        u = np.abs(h[:, None] + np.sqrt(variance) * z) / T
        t = np.tanh(u)
        spin = np.tanh((h[:, None] + np.sqrt(variance) * z) / T) @ weights
        response, fourth = (1 - t**2) @ weights / T, (1 - t**2) ** 2 @ weights / T
        entropy = (u + np.log1p(np.exp(-2 * u)) - u * t) @ weights
    return (chances * spin) @ xi, chances @ response, chances @ fourth, chances @ entropy
