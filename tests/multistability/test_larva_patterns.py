"""Patterns that the Kenyon cells of a larva could hold with the synapses they have.

Of the connectome only which synapses exist is taken; there are no autapses. Signs: Kenyon cells and projection neurons
are cholinergic, and excite; modulatory (I) and output neurons (O) are of several transmitters, and the sign of each of
their synapses is free. The network is that of the Kenyon cells which have at least 20 synapses from one another: 81
cells on the left and 79 on the right, with 42 and 43 inputs on average. Patterns are random, come one at a time, and
each unit counts those that it can hold before the first that it cannot.
"""

import importlib.resources
from math import sqrt

import numpy as np
import pytest

from jaxnets.couplings import larva_connectome
from jaxnets.learning import FREE, explain, storable, store
from jaxnets.multistability import check_topology


def larva(side):
    """Which synapses exist, [to, from], and the kind of each neuron: K, P, I, O."""
    types = importlib.resources.files("jaxnets.data") / f"drosophila_larva_mb_{side}_types.csv"
    return np.asarray(larva_connectome(side)) > 0, np.array(types.read_text().split())


def kenyon_network(side, least=20):
    """The synapses among the Kenyon cells that have at least so many from each other."""
    exists, kind = larva(side)
    cells = np.flatnonzero(kind == "K")
    while np.min(inputs := exists[np.ix_(cells, cells)].sum(1)) < least:
        cells = cells[inputs >= least]
    return exists[np.ix_(cells, cells)]


def half_active(rng, K, n):
    return (rng.random((K, n)) < 0.5).astype(int)


@pytest.mark.parametrize("side", ["left", "right"])
def test_excitation_alone_holds_nothing(side):
    """Kenyon cells among themselves, all excitatory: every silent cell is a proof, as nothing inhibits it."""
    mask = kenyon_network(side)
    n = len(mask)
    (pattern,) = half_active(np.random.default_rng(0), 1, n)
    found = storable(pattern[None], mask=mask, signs=np.ones(n))
    np.testing.assert_array_equal(found.counts, pattern)
    for i in np.flatnonzero(pattern == 0):
        assert found.certificates[i].patterns == (0,) and found.certificates[i].limit == 0
        assert explain(found.certificates[i], pattern[None], i).endswith(
            "the units active in it cannot inhibit it enough"
        )
    silent = {failure.unit for failure in check_topology(mask.astype(float), pattern).failures}
    assert silent == set(np.flatnonzero(pattern == 0).tolist())
    assert store(np.ones((1, n)), mask=mask, signs=np.ones(n)).stored


@pytest.mark.slow
def test_a_cell_counts_twice_its_inputs():
    """Of random dichotomies of d inputs the first impossible one comes after 2 d on average, std sqrt(2 d) (Cover)."""
    mask = kenyon_network("left")
    inputs = mask.sum(1)
    cells = np.argsort(inputs)[:12]  # 21 to 30 inputs
    scores = []
    for seed in range(8):
        patterns = half_active(np.random.default_rng(seed), 110, len(mask))
        found = storable(patterns, mask=mask, units=cells, progress=False)
        assert max(found.counts) < 110
        scores.append(np.mean((found.counts - 2 * inputs[cells]) / np.sqrt(2 * inputs[cells])))
    # Means of 12 numbers of variance 1, so 1 / sqrt(12) apart if cells are independent, and at most 1.
    assert abs(np.mean(scores)) < 4 * np.std(scores, ddof=1) / sqrt(8)
    assert np.std(scores, ddof=1) < 1


def test_thresholds_make_excitation_enough():
    """Excitatory Kenyon cells with a threshold of their own hold patterns, each as many as it has inputs or so."""
    mask = kenyon_network("left")
    n = len(mask)
    patterns = half_active(np.random.default_rng(1), 6, n)
    found = store(patterns, mask=mask, signs=np.ones(n), bias=FREE, progress=False)
    assert found.stored
    W, b = found.weights, found.bias
    assert np.all((2 * patterns - 1) * (patterns @ W.T + b) > 0) and np.all(W >= 0) and not np.any(W[~mask])
    assert np.all(b[patterns.any(0) & ~patterns.all(0)] < 0)
    many = half_active(np.random.default_rng(1), 90, n)
    too_many = store(many, mask=mask, signs=np.ones(n), bias=FREE, progress=False)
    assert not too_many.feasible.any()
    for i, certificate in enumerate(too_many.certificates):
        # On and off have the same weight in the mixture, and no input is more active in what is on.
        mixed = many[list(certificate.patterns)]
        y = np.array(certificate.weights, dtype=object) * (2 * mixed[:, i] - 1)
        assert sum(y) == 0 and max((y @ mixed)[mask[i]]) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_how_many_patterns_the_kenyon_cells_hold(side):
    """Means over draws, printed with their standard errors.

    A free weight makes room for two patterns, and one of known sign for one: a cell of d inputs counts 2 d with free
    signs, and d + 2 with excitation alone and a threshold of its own. The network holds what its poorest cell can.
    "Dale": all neurons are inputs, Kenyon and projection neurons excitatory, modulatory and output neurons free, and no
    thresholds, for the Kenyon cells that have 20 of the first and 5 of the second: one fails where no active neuron can
    inhibit it. (Left: network 35 +- 2, 12 +- 4, 22 +- 3, mean cell 82.2, 44.5, 52.6, in 4 draws.)
    """
    mask = kenyon_network(side)
    n, inputs = len(mask), mask.sum(1)
    exists, kind = larva(side)
    excites = np.isin(kind, ["K", "P"])
    fed = np.flatnonzero((kind == "K") & ((exists & excites).sum(1) >= 20) & ((exists & ~excites).sum(1) >= 5))
    cases = {
        "free": dict(size=n, mask=mask),
        "threshold": dict(size=n, mask=mask, signs=np.ones(n), bias=FREE),
        "Dale": dict(size=len(kind), mask=exists, signs=np.where(excites, 1, FREE), units=fed),
    }
    means, draws = {}, 4
    for name, case in cases.items():
        size, counts = case.pop("size"), []
        for seed in range(draws):
            patterns = half_active(np.random.default_rng(seed), 180, size)
            found = storable(patterns, **case, progress=False)
            counts.append((found.count, found.counts.mean()))
            assert all(certificate.limit == 0 for certificate in found.certificates)
        network, cell = np.mean(counts, 0), np.std(counts, axis=0, ddof=1) / sqrt(draws)
        print(f"{side} {name}: network {network[0]:.1f} +- {cell[0]:.1f}, cell {network[1]:.1f} +- {cell[1]:.1f}")
        means[name] = network
        assert network[0] >= 1
    assert abs(means["free"][1] / (2 * inputs.mean()) - 1) < 0.03
    assert abs(means["threshold"][1] / (inputs.mean() + 2) - 1) < 0.1
    assert means["free"][0] > means["threshold"][0]
