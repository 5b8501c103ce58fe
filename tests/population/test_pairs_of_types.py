"""Pairs of units with types: the sums against linear networks, and the numbers of theory_cell_types.md."""

import numpy as np

from jaxnets.population.types import _paths, _products

FRACTIONS, G2 = np.array([0.7, 0.3]), np.array([[1.0, 2.5], [0.6, 1.6]])


def sums(S1, S2, c1, c2):
    """(1/N) tr P_a C_1 P_b C_2 of rates whose own spectra are c; tau = 1 and beta = 1, so that S = 1 / (1 + i w)."""
    W = FRACTIONS * G2
    C1, C2 = (np.linalg.solve(np.eye(2) - np.abs(S)[:, None] ** 2 * W, c) for S, c in ((S1, c1), (S2, c2)))
    return FRACTIONS * C1 * C2


def test_linear_networks_of_two_types():
    """beta / (1 + i w tau) is any S_a at one frequency; two need the general D: compare with a direct inverse."""
    beta, tau, (w1, w2) = np.array([0.6, 0.4]), np.array([1.0, 3.0]), (0.4, -0.2)
    V = np.asarray(_paths(*map(np.asarray, (G2, FRACTIONS, tau, beta)), np.float64(w1), np.float64(w2)))
    D1, D2 = 1 / (1 + 1j * w1 * tau), 1 / (1 + 1j * w2 * tau)
    s = beta**2 * D1.conj() * D2
    inverse = np.linalg.inv(np.eye(2) - G2.T * (FRACTIONS * s))
    np.testing.assert_allclose(V * beta**2, inverse - np.eye(2), rtol=1e-12)


def test_checked_sum_of_two_types():
    """3.70580, and by types 2.7242, .2532 and .4753: samples of N = 800 have 3.694(12), 2.7137, .2522, .4753."""
    S1, S2 = np.array([0.5 + 0.3j, 0.35 - 0.2j]), np.array([0.55 - 0.1j, 0.4 + 0.1j])
    common = sums(S1, S2, np.array([1.0, 0.6]), np.array([0.8, 1.5]))
    U = np.linalg.inv(np.eye(2) - G2.T * (FRACTIONS * S1.conj() * S2))
    table = np.einsum("c,cab->ab", common, np.asarray(_products(U)))
    np.testing.assert_allclose(np.sum(table), 3.70580, atol=6e-6)
    np.testing.assert_allclose(table, [[2.7242, 0.2532], [0.2532, 0.4753]], atol=6e-5)
