"""Stable patterns, and how weights store them."""

import functools
import itertools

import numpy as np

import jaxnets as jn
from jaxnets.transfer import ReLU

from .problems import KEY, PATTERNS, QUIET, SIGNS, STATES, VECTOR, Call, J, Made, N, of

SPINS = np.array([[1, -1, 1], [1, 1, -1], [-1, 1, 1]])
COUPLED = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, -0.3], [0.0, -0.3, 0.0]])
CONFIGURATIONS = np.array(list(itertools.product([-1, 1], repeat=3)))


@functools.cache
def trajectory():
    return jn.multistability.flow(J + np.eye(N), VECTOR, -0.5 * VECTOR, record=8).trajectory


@functools.cache
def committee():
    return jn.learning.Committee.gaussian(2, 2, 5, key=KEY)


@functools.cache
def certificate():
    conditions = np.array([[1.0, 1.0], [-1.0, -1.0]])
    return jn.learning.largest_margin(conditions, -np.ones(2), np.ones(2)).certificate


@functools.cache
def conflict():
    return jn.learning.storable(
        np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]]), signs=np.ones(3), progress=False
    )


CALLS = {
    # --- multistability
    "multistability.stable_patterns": of(jn.multistability.stable_patterns, J=J, bias=VECTOR),
    "multistability.is_stable": of(jn.multistability.is_stable, J=J, patterns=PATTERNS, bias=VECTOR),
    "multistability.margins": of(jn.multistability.margins, J=J, patterns=PATTERNS, bias=VECTOR),
    "multistability.descend": of(jn.multistability.descend, J=J, bias=VECTOR, num_starts=2, key=KEY, max_flips=20),
    "multistability.flow": of(
        jn.multistability.flow, J=J, x0=STATES, bias=VECTOR, max_events=20, nan=("mean_activity", "period")
    ),
    "multistability.basins": of(jn.multistability.basins, J=J, bias=VECTOR, num_starts=4, key=KEY, max_events=20),
    "multistability.state_graph": of(
        jn.multistability.state_graph, J=J, bias=VECTOR, num_starts=4, key=KEY, max_events=20, patterns=np.ones((1, N))
    ),
    "multistability.follow_pattern": of(
        jn.multistability.follow_pattern, J=J + np.eye(N), pattern=np.ones(N), bias=VECTOR
    ),
    "multistability.piecewise_fixed_points": of(
        jn.multistability.piecewise_fixed_points, left=STATES.T, right=STATES.T, transfer=ReLU(), offset=VECTOR
    ),
    "multistability.regions": of(jn.multistability.regions, normals=STATES.T, offsets=VECTOR),
    "multistability.check_topology": of(jn.multistability.check_topology, signs=SIGNS, pattern=PATTERNS[0]),
    "multistability.closure": of(
        jn.multistability.closure, signs=np.ones((N, N)), pattern=np.ones(3, int), cue=np.array([1, 0, 0])
    ),
    "multistability.completes": of(
        jn.multistability.completes, signs=np.ones((N, N)), pattern=np.ones(3, int), cue=np.array([1, 0, 0])
    ),
    "multistability.compatibility": of(
        jn.multistability.compatibility,
        patterns=PATTERNS,
        candidate=np.array([1, 1, 1]),
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        **QUIET,
    ),
    "multistability.count_sign_matrices": of(
        jn.multistability.count_sign_matrices, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.fewest_synapses": of(
        jn.multistability.fewest_synapses, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.sign_constraints": of(
        jn.multistability.sign_constraints, patterns=PATTERNS, mask=~np.eye(N, dtype=bool)
    ),
    "multistability.sign_matrices": Call(
        lambda patterns, mask: list(itertools.islice(jn.multistability.sign_matrices(patterns, mask=mask), 3)),
        lambda: {"patterns": PATTERNS, "mask": ~np.eye(N, dtype=bool)},
    ),
    "multistability.sign_stability": of(jn.multistability.sign_stability, signs=SIGNS, patterns=PATTERNS),
    "multistability.union_and_intersection": of(
        jn.multistability.union_and_intersection, first=PATTERNS[0], second=PATTERNS[1]
    ),
    "multistability.Trajectory.at": Call(lambda t: trajectory().at(t), lambda: {"t": 0.1}, True, (), True),
    # --- learning
    "learning.Committee": of(jn.learning.Committee, left=STATES.T, amplitudes=np.ones(2), right=STATES),
    "learning.ModeLinear": of(jn.learning.ModeLinear, left=J[:2], amplitudes=VECTOR, right=J),
    "learning.ReadoutNetwork.gaussian": of(
        lambda gain, offset: jn.learning.ReadoutNetwork.gaussian((3, 2), 2, key=KEY, gain=gain, offset=offset),
        gain=1.0,
        offset=VECTOR,
    ),
    "learning.ModeNetwork": of(
        lambda left, amplitudes, right: jn.learning.ModeNetwork([left], [amplitudes], [right]),
        left=J[:2],
        amplitudes=VECTOR,
        right=J,
    ),
    "learning.Multisensory.trials": of(
        lambda rates, seen, heard: jn.learning.Multisensory().trials(rates, seen=seen, heard=heard, key=KEY),
        rates=10 * VECTOR,
        seen=np.array([1.0, 0.0, 1.0]),
        heard=np.array([0.0, 1.0, 1.0]),
    ),
    "learning.RecurrentNetwork": of(
        lambda recurrent, inputs, outputs, start: jn.learning.RecurrentNetwork(
            recurrent, inputs, outputs, start=start, dt=0.1
        ),
        recurrent=J,
        inputs=J[:, :2],
        outputs=J[:1],
        start=VECTOR,
    ),
    "learning.RecurrentNetwork.network": of(
        lambda input: jn.learning.RecurrentNetwork(J, J[:, :2], J[:1], dt=0.1).network(input), input=VECTOR[:2]
    ),
    "learning.Signed": of(jn.learning.Signed, matrix=J),
    "learning.best_width": of(lambda widths: jn.learning.best_width(widths, 0.3), widths=0.4),
    "learning.probit": of(
        jn.learning.probit,
        nan=("midpoint", "midpoint_error", "width", "width_error"),
        rates=np.array([11.0, 12.0, 13.0]),
        num_high=np.array([3.0, 5.0, 8.0]),
        num_trials=np.array([10.0, 10.0, 10.0]),
    ),
    "learning.psychometric": of(
        lambda rates: jn.learning.psychometric(
            lambda x, key: x[:, :2], jn.learning.Multisensory(), "both", rates, 2, key=KEY
        ),
        nan=("midpoint", "midpoint_error", "width", "width_error"),
        rates=np.array([11.0, 12.0, 13.0]),
    ),
    "learning.online_theory": of(
        jn.learning.online_theory,
        heavy=True,
        student=Made(committee),
        teacher=Made(committee),
        rates=jn.learning.LearningRates(1.0),
        times=VECTOR.cumsum(),
    ),
    "learning.online_sgd": of(
        jn.learning.online_sgd,
        student=Made(committee),
        teacher=Made(committee),
        rates=jn.learning.LearningRates(1.0),
        times=VECTOR.cumsum(),
        key=KEY,
    ),
    "learning.compose": of(jn.learning.compose, patterns=PATTERNS, Y=STATES.T, Z=J),
    "learning.factorise": of(jn.learning.factorise, J=J, patterns=PATTERNS),
    "learning.largest_margin": of(
        jn.learning.largest_margin, conditions=STATES, lower=-VECTOR, upper=VECTOR, offset=np.zeros(2)
    ),
    "learning.margin_limit": of(
        jn.learning.margin_limit,
        certificate=Made(certificate),
        conditions=np.array([[1.0, 1.0], [-1.0, -1.0]]),
        lower=-np.ones(2),
        upper=np.ones(2),
        offset=np.zeros(2),
    ),
    "learning.explain": Call(
        lambda patterns: jn.learning.explain(
            next(c for c in conflict().certificates if c is not None), patterns, unit=0
        ),
        lambda: {"patterns": np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]])},
    ),
    "learning.storable": of(
        jn.learning.storable,
        patterns=PATTERNS,
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        bias=np.zeros(N),
        **QUIET,
    ),
    **{
        f"learning.{name}": of(
            getattr(jn.learning, name),
            nan=("weights", "bias", "margins"),
            patterns=PATTERNS,
            signs=np.full((N, N), np.nan),
            mask=~np.eye(N, dtype=bool),
            bounds=np.ones((N, N)),
            bias=np.full(N, np.nan),
            margin=0.1,
            **QUIET,
        )
        for name in ("store", "store_sparsest", "store_widest")
    },
    "learning.BinaryPerceptron": of(jn.learning.BinaryPerceptron, alpha=0.5, kappa=0.1),
    "learning.BinaryPerceptron.distance_entropy": of(
        lambda distance: jn.learning.BinaryPerceptron(0.5, 1.0, symmetric=True).distance_entropy(distance),
        nan=("among", "stability"),
        distance=0.1,
    ),
    "learning.SphericalPerceptron": of(jn.learning.SphericalPerceptron, alpha=0.5, kappa=0.1, coding=0.4),
    "learning.amp": of(jn.learning.amp, heavy=True, patterns=SPINS, kappa=0.1, max_sweeps=5),
    "learning.belief_propagation": of(
        jn.learning.belief_propagation, heavy=True, patterns=SPINS, kappa=0.1, max_sweeps=5
    ),
    "learning.solutions": of(jn.learning.solutions, patterns=SPINS, kappa=0.1),
    "learning.clusters": of(jn.learning.clusters, weights=SPINS),
    "learning.anneal": of(
        jn.learning.anneal, heavy=True, patterns=SPINS, kappa=0.1, key=KEY, chains=2, sweeps=3, hottest=1.0
    ),
    "learning.Ising": of(jn.learning.Ising, J=COUPLED, h=np.zeros(3)),
    "learning.Ising.entropy_curve": of(
        lambda reference, fields: jn.learning.Ising(COUPLED).entropy_curve(reference, fields, exact=True),
        reference=np.array([1, -1, 1]),
        fields=np.array([0.0, 1.0]),
    ),
    "learning.binarise": of(jn.learning.binarise, activity=SPINS, threshold=np.zeros(3), window=1),
    "learning.pseudo_likelihood": of(
        jn.learning.pseudo_likelihood, heavy=True, samples=CONFIGURATIONS, penalty=0.1, weights=np.ones(8)
    ),
    "learning.naive_mean_field": of(jn.learning.naive_mean_field, samples=CONFIGURATIONS, weights=np.ones(8)),
    "learning.maximum_entropy": of(jn.learning.maximum_entropy, means=np.full(3, 0.1), pairs=np.eye(3)),
    "learning.weight_limits": of(
        jn.learning.weight_limits,
        n=N,
        signs=np.full((N, N), np.nan),
        mask=~np.eye(N, dtype=bool),
        bounds=np.ones((N, N)),
    ),
}
