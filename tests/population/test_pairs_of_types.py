"""Pairs of units with types: the sums against linear networks, and the numbers of theory_cell_types.md."""

import jax
import numpy as np
import pytest

import jaxnets as jn
from jaxnets.meanfield.types.problem import random_part
from jaxnets.population.types import Units, _paths, _products, pairs_of_types

FRACTIONS, G2 = np.array([0.7, 0.3]), np.array([[1.0, 2.5], [0.6, 1.6]])


def sums(S1, S2, c1, c2):
    """(1/N) tr P_a C_1 P_b C_2 of rates whose own spectra are c; tau = 1 and beta = 1, so that S = 1 / (1 + i w)."""
    W = FRACTIONS * G2
    C1, C2 = (np.linalg.solve(np.eye(2) - np.abs(S)[:, None] ** 2 * W, c) for S, c in ((S1, c1), (S2, c2)))
    return FRACTIONS * C1 * C2


def test_linear_networks_of_two_types():
    """beta / (1 + i w tau) is any S_a at one frequency; two need the general D: compare with a direct inverse."""
    beta, tau, (w1, w2) = np.array([0.6, 0.4]), np.array([1.0, 3.0]), (0.4, -0.2)
    turn, V = map(np.asarray, _paths(*map(np.asarray, (G2, FRACTIONS, tau, beta**2)), np.float64(w1), np.float64(w2)))
    D1, D2 = 1 / (1 + 1j * w1 * tau), 1 / (1 + 1j * w2 * tau)
    s = beta**2 * D1.conj() * D2
    np.testing.assert_allclose(turn, D1.conj() * D2, rtol=1e-12)
    inverse = np.linalg.inv(np.eye(2) - G2.T * (FRACTIONS * s))
    np.testing.assert_allclose(V * beta**2, inverse - np.eye(2), rtol=1e-12)


def test_checked_sum_of_two_types():
    """3.70580, and by types 2.7242, .2532 and .4753: samples of N = 800 have 3.694(12), 2.7137, .2522, .4753."""
    S1, S2 = np.array([0.5 + 0.3j, 0.35 - 0.2j]), np.array([0.55 - 0.1j, 0.4 + 0.1j])
    common = sums(S1, S2, np.array([1.0, 0.6]), np.array([0.8, 1.5]))
    U = np.linalg.inv(np.eye(2) - G2.T * (FRACTIONS * S1.conj() * S2))
    table = np.asarray(_products(U, common))
    np.testing.assert_allclose(np.sum(table), 3.70580, atol=6e-6)
    np.testing.assert_allclose(table, [[2.7242, 0.2532], [0.2532, 0.4753]], atol=6e-5)


# --- units that differ, and modes ----------------------------------------------------------------------------------


TYPES = jn.couplings.CellTypes(FRACTIONS, np.sqrt(0.4 * G2))
MODES = jn.couplings.TypeModes(
    FRACTIONS, [3.0, 2.2, 1.5], [[1.0, 0.5], [0.6, 1.2], [1.0, 1.0]], [[0.4, 1.5], [1.0, 0.7], [1.0, 1.0]], load=0.04
)
TAU, FREQUENCIES = np.array([1.0, 3.0]), (0.4, -0.2)


class Linear:
    """N linear units whose slopes, own spectra and output weights differ within each type."""

    def __init__(self, n):
        self.n, self.of = n, TYPES.labels(n)
        rng = np.random.default_rng(1)
        u = rng.uniform(size=n)
        self.beta = np.array([1.0, 0.85])[self.of] * np.sqrt(3 * u)
        self.own = np.array([1.0, 0.6])[self.of] * (0.2 + 2 * u**2), np.array([0.8, 1.5])[self.of] * (1.7 - 1.5 * u)
        self.weights = 0.5 + rng.uniform(size=n)
        self.D = [1 / (1 + 1j * w * TAU[self.of]) for w in FREQUENCIES]

    def mean(self, of):
        return np.array([np.mean(of[self.of == a]) for a in range(2)])

    def units(self, ensemble):
        """What theory needs: exact averages over these units, by a basis that spans all of their functions."""
        f, W = np.bincount(self.of) / self.n, np.asarray(random_part(ensemble)[0])
        slope, spectra, c_x = self.mean(self.beta**2), [], []
        for own, D in zip(self.own, self.D, strict=True):
            power = np.abs(D) ** 2
            mean = np.linalg.solve(np.eye(2) - (slope * self.mean(power))[:, None] * W, self.mean(own))
            spectra.append(own + self.beta**2 * power * (W @ mean)[self.of])
            c_x.append(self.mean(power) * (W @ mean))
        rows = []
        for a in range(2):
            here = self.of == a
            C, w = np.stack([c[here] for c in spectra], 1), self.weights[here, None]
            rows.append(np.linalg.qr(np.hstack([C, w * C, np.ones_like(w)]) / np.sqrt(len(w)))[1])
        rows = np.array(rows)
        return Units(
            f, W / f, TAU, slope, self.mean(self.weights * self.beta**2), np.ones((2, 2)), np.ones(2), np.array(c_x).T,
            rows[..., :2], rows[..., 2:4], rows[..., 4], ensemble.quartic(2), np.zeros(()),
        )  # fmt: skip

    def theory(self, ensemble):
        units = self.units(ensemble)
        # Products of two frequencies, as `single` has at one lag.
        own = units.fractions * np.stack([np.prod(units.d, axis=2).sum(1), np.prod(units.c_x, axis=1)])
        return np.asarray(added(units, *map(np.float64, FREQUENCIES))).reshape(2, 2, 2) + np.eye(2) * own[:, None]

    def sample(self, J):
        C, X = [], []
        for own, D in zip(self.own, self.D, strict=True):
            F = np.linalg.inv(np.eye(self.n) - (self.beta * D)[:, None] * J)
            C.append((F * own) @ F.conj().T)
            X.append(D[:, None] * J @ C[-1] @ J.T * D.conj()[None])
        w = self.weights
        products = [w[:, None] * (C[0] * C[1].T).real * w[None], (X[0] * X[1].T).real]
        of = np.eye(2)[self.of]
        return np.stack([of.T @ P @ of for P in products]) / self.n


@jax.jit
def added(units, w1, w2):
    c = units.functions
    return pairs_of_types(units).added(w1, w2, None, None, c[:, 0], c[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble, n, samples, error",
    [
        (0.6 * TYPES + 0.7 * MODES, 200, 4, 0.1),
        pytest.param(TYPES, 1000, 6, 0.01, marks=pytest.mark.slow),
        pytest.param(0.7 * TYPES + MODES, 1000, 6, 0.03, marks=pytest.mark.slow),
        pytest.param(0.7 * TYPES + jn.couplings.RandomModes.of_rank(0.4, 0.2), 1000, 6, 0.03, marks=pytest.mark.slow),
    ],
)
def test_linear_networks_of_units_that_differ(ensemble, n, samples, error):
    """Slopes and own spectra that differ within types, output weights, and modes: sums over pairs of each two types."""
    linear = Linear(n)
    keys = jax.random.split(jax.random.key(2), samples)
    found = np.mean([linear.sample(np.asarray(ensemble.sample(n, key=key).dense())) for key in keys], axis=0)
    theory = linear.theory(ensemble)
    for one, other in zip(found, theory, strict=True):
        np.testing.assert_allclose(one, other, atol=error * np.max(other))
