"""Ensembles and matrices of couplings."""

import numpy as np

import jaxnets as jn
from jaxnets.couplings import IID

from .problems import KEY, LARGE, SHARES, STATES, TABLE, VECTOR, J, N, of

CALLS = {
    "Discrete": of(jn.Discrete, values=VECTOR, weights=VECTOR),
    # --- couplings
    "couplings.IID": of(jn.couplings.IID, g=1.2),
    "couplings.Elliptic": of(jn.couplings.Elliptic, g=1.2, symmetry=0.3),
    "couplings.Product": of(jn.couplings.Product, factors=[IID(1.2), jn.couplings.SingularModes([0.5, 2.0])]),
    "couplings.RandomModes": of(
        jn.couplings.RandomModes, amplitudes=VECTOR, weights=VECTOR, load=0.5, overlap=0.5 * VECTOR
    ),
    "couplings.RandomModes.flat": of(jn.couplings.RandomModes.flat, amplitude=1.0, load=0.5, overlap=0.2),
    "couplings.RandomModes.of_rank": of(jn.couplings.RandomModes.of_rank, g=1.0, effective_rank=0.5, overlap=0.2),
    "couplings.RandomModes.exponential": of(
        jn.couplings.RandomModes.exponential, scale=0.5, power=1.0, amplitude=1.0, load=0.5, overlap=0.2, nodes=4
    ),
    "couplings.RandomModes.two_valued": of(
        jn.couplings.RandomModes.two_valued, high=1.0, low=0.5, fraction=0.3, load=0.5, overlap=0.2
    ),
    "couplings.CellTypes": of(
        jn.couplings.CellTypes, fractions=SHARES, g=TABLE, symmetry=0.1, means=TABLE - 1.0, probability=None
    ),
    "couplings.CellTypes sparse": of(
        jn.couplings.CellTypes, fractions=SHARES, g=1.0, means=TABLE, probability=0.5 * TABLE
    ),
    "couplings.CellTypes.from_weights": of(
        jn.couplings.CellTypes.from_weights, fractions=SHARES, weights=TABLE, size=50, probability=0.5, spread=0.2
    ),
    "couplings.CellTypes.second_order": of(
        jn.couplings.CellTypes.second_order,
        g=1.0,
        mean=2.0,
        reciprocal=0.2,
        convergent=0.3,
        divergent=0.4,
        chain=0.1,
    ),
    "couplings.BlockMeans": of(jn.couplings.BlockMeans, fractions=SHARES, means=TABLE),
    "couplings.TypeGains": of(
        jn.couplings.TypeGains, fractions=SHARES, ensemble=IID(1.2), row_gains=np.ones(2), gains=np.array([0.5, 2.0])
    ),
    "couplings.TypeModes": of(
        jn.couplings.TypeModes,
        fractions=SHARES,
        amplitudes=np.ones(2),
        row_gains=TABLE,
        gains=TABLE,
        overlap=0.1 * TABLE,
        load=0.5,
    ),
    "couplings.TypeRank": of(
        jn.couplings.TypeRank, fractions=SHARES, means=TABLE, covariances=np.stack([np.eye(2), np.eye(2)])
    ),
    "couplings.SpikeSlab": of(jn.couplings.SpikeSlab, mean=TABLE, sparsity=0.5, variance=TABLE),
    "couplings.Profile": of(jn.couplings.Profile, mean=TABLE, variance=TABLE, symmetry=0.2),
    "couplings.DeepHebbian": of(jn.couplings.DeepHebbian, load=0.5, auto=0.2, hetero=VECTOR),
    "couplings.LowRank": of(jn.couplings.LowRank, overlaps=J, noise=0.5),
    "couplings.Scaled": of(jn.couplings.Scaled, factor=0.5, ensemble=IID(1.2)),
    "couplings.SingularModes": of(jn.couplings.SingularModes, values=VECTOR, weights=VECTOR, overlaps=np.zeros(N)),
    "couplings.Ensemble.r_transform": of(IID(1.2).r_transform, T=J[:2, :2]),
    "couplings.Dense": of(jn.couplings.Dense, nan=("matrix",), matrix=J),
    "couplings.Sparse": of(jn.couplings.Sparse, matrix=J),
    "couplings.Convolution": of(jn.couplings.Convolution, nan=("kernel",), kernel=VECTOR),
    "couplings.Convolution.of_dispersion": of(jn.couplings.Convolution.of_dispersion, theta=VECTOR),
    "couplings.Convolution.unitary": of(jn.couplings.Convolution.unitary, generator=VECTOR - np.roll(VECTOR[::-1], 1)),
    "couplings.Diagonal": of(jn.couplings.Diagonal, nan=("amplitudes",), amplitudes=VECTOR),
    "couplings.Shifts": of(jn.couplings.Shifts, nan=("auto", "hetero"), auto=0.5, hetero=VECTOR, size=3),
    "couplings.Modes": of(
        jn.couplings.Modes,
        nan=("left", "_right_rows"),
        left=STATES.T,
        right=STATES.T,
        core=jn.couplings.Diagonal(np.ones(2)),
    ),
    "couplings.finite_size": of(jn.couplings.finite_size, ensemble=IID(1.2), n=100, dimension=0.1),
    "couplings.from_matrix": of(jn.couplings.from_matrix, matrix=LARGE),
    "couplings.random_modes_from_matrix": of(
        jn.couplings.random_modes_from_matrix, heavy=True, matrix=LARGE, key=KEY, num_samples=1, num_iterations=2
    ),
    "couplings.singular_mismatch": of(
        jn.couplings.singular_mismatch, ensemble=IID(1.0), matrix=LARGE, key=KEY, num_samples=1
    ),
}
