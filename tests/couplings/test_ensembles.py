"""Ensembles: R-transforms against brute force and against samples, moments, realised overlaps, transformations."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes
from jaxnets.couplings.operators import Modes, Shifts

KEY = jax.random.key(0)
TWO = RandomModes.two_valued(1.5, 0.4, 0.3, load=0.7, overlap=np.array([0.6, -0.2]))
HEBBIAN = DeepHebbian(load=0.8, auto=0.3, hetero=(0.5, -0.2))
ENSEMBLES = {
    "iid": IID(1.3),
    "elliptic": Elliptic(1.2, 0.4),
    "antisymmetric": Elliptic(1.2, -0.7),
    "two-valued modes": TWO,
    "exponential modes": RandomModes.exponential(0.3, power=1.5, amplitude=1.4, load=1.2, overlap=0.5),
    "deep-Hebbian": HEBBIAN,
    "gaussian patterns": DeepHebbian(load=1.5, auto=-0.4, hetero=(0.6,), patterns="gaussian"),
    "open chain": DeepHebbian(load=0.8, auto=0.3, hetero=(0.5, 0.4), ring=False),
    "symmetric": DeepHebbian(load=0.5, auto=0.6, hetero=(0.3, -0.2), symmetric=True),
    "singular modes": SingularModes(np.array([1.8, 0.4]), np.array([0.3, 0.7])),
    "sum": HEBBIAN + 0.5 * Elliptic(1.0, -0.4) - IID(0.3),
    "multiple": -1.4 * TWO,
    "modes without overlaps": RandomModes.two_valued(1.5, 0.4, 0.3, load=0.7),
    "sum without overlaps": IID(0.7) + RandomModes.flat(),
}

# --- the R-transform


def _mean_over_modes(T, amplitudes, weights, load, overlap):
    """alpha <M o [Lam (1 - (M o T) Lam)^{-1}]>, one 2x2 inverse for each amplitude."""
    total = np.zeros((2, 2), complex)
    for lam, w, rho in zip(amplitudes, weights, overlap, strict=True):
        M, Lam = np.array([[1, rho], [rho, 1]]), np.array([[0, lam], [np.conj(lam), 0]])
        total += load * w * M * (Lam @ np.linalg.inv(np.eye(2) - M * T @ Lam))
    return total


def _hebbian_modes(e, num=2048):
    theta = 2 * np.pi * np.arange(num) / num
    waves = np.exp(-1j * np.outer(theta, 1 + np.arange(e.hetero.size)))
    lam = float(e.auto) + (2 * waves.real if e.symmetric else waves) @ np.asarray(e.hetero)
    return lam, np.full(num, 1 / num), float(e.load), np.ones(num)


def _direct(e, T):
    match e:
        case RandomModes():
            return _mean_over_modes(T, *(np.asarray(x) for x in (e.amplitudes, e.weights, e.load, e.overlap)))
        case DeepHebbian():
            return _mean_over_modes(T, *_hebbian_modes(e))
        case Elliptic():
            s = float(e.symmetry)
        case IID():
            s = 0.0
    return float(e.g) ** 2 * np.array([[T[1, 1], s * T[1, 0]], [s * T[0, 1], T[0, 0]]])


def _physical(z, eta, size=1.0):
    """A Green's function of the right symmetries, T_12 = conj T_21 and diagonal on the negative imaginary axis."""
    return size * np.array([[-1j * eta, np.conj(z)], [z, -0.7j * eta]])


ARGUMENTS = [
    _physical(0.3 + 0.2j, 0.4),
    _physical(-0.2j, 1.3),
    _physical(0.4, 0.02),
    np.array([[0.05 + 0.02j, 0.1j], [0.2 - 0.1j, 0.03j]]),  # no symmetry at all: small, where the series converges
    np.zeros((2, 2), complex),
]


@pytest.mark.parametrize("T", ARGUMENTS, ids=["physical", "large diagonal", "near the edge", "generic", "zero"])
@pytest.mark.parametrize(
    "name",
    ["iid", "elliptic", "two-valued modes", "exponential modes", "deep-Hebbian", "gaussian patterns", "symmetric"],
)
def test_r_transform_against_2x2_inverses(name, T):
    ensemble = ENSEMBLES[name]
    np.testing.assert_allclose(ensemble.r_transform(T), _direct(ensemble, T), atol=1e-13)


def test_r_transform_near_a_pole_of_the_core():
    # The pole is .005 away from the circle of the average: a plain trapezoid rule would need thousands of nodes.
    ensemble = DeepHebbian(load=0.8, auto=0.0, hetero=(1.0,))
    t = 0.995
    kappa, r = 0.8 / (1 - t**2), 0.0
    S = ensemble.r_transform(np.array([[1e-9j, t], [t, 1e-9j]]))
    np.testing.assert_allclose(S, [[1e-9j * kappa, r], [r, 1e-9j * kappa]], atol=1e-12, rtol=1e-9)


def test_sums_add_and_multiples_scale():
    T, q = ARGUMENTS[0], -1.4
    a, b, c = ENSEMBLES["deep-Hebbian"], ENSEMBLES["elliptic"], ENSEMBLES["iid"]
    S = lambda e, T=T: np.asarray(e.r_transform(T))
    np.testing.assert_allclose(S(a + b), S(a) + S(b), atol=1e-14)
    np.testing.assert_allclose(S(q * a), q * S(a, q * T), atol=1e-14)
    np.testing.assert_allclose(S(q * (a + b)), S(q * a) + S(q * b), atol=1e-14)
    np.testing.assert_allclose(S(a - b), S(a) + S(-b), atol=1e-14)
    np.testing.assert_allclose(S(a + (b + c)), S((a + b) + c), atol=1e-14)
    np.testing.assert_allclose(S(2.0 * (q * a)), S(2 * q * a), atol=1e-14)
    np.testing.assert_allclose(S(0.0 * a + b), S(b), atol=1e-14)
    np.testing.assert_allclose(S(a + LowRank(3.0)), S(a), atol=1e-14)


def test_limits_that_coincide():
    T = ARGUMENTS[0]
    S = lambda e: np.asarray(e.r_transform(T))
    # Many weak modes are independent weights; signs that cancel in <D> leave a symmetry rho^2.
    many = RandomModes(np.array([1, -1]) * 1.2 / np.sqrt(1e8), load=1e8, overlap=0.6)
    np.testing.assert_allclose(S(many), S(Elliptic(1.2, 0.36)), rtol=1e-6)
    np.testing.assert_allclose(S(RandomModes(np.array([1.2e-4]), load=1e8)), S(IID(1.2)), rtol=1e-6)
    # Patterns that store themselves are modes of overlap 1.
    np.testing.assert_allclose(S(DeepHebbian(0.4, 0.7, (0.0,))), S(RandomModes.flat(0.7, 0.4, 1.0)), rtol=1e-13)
    # A profile of one shift does not depend on the shift.
    np.testing.assert_allclose(S(DeepHebbian(0.4, 0.0, (0.0, 0.7))), S(DeepHebbian(0.4, 0.0, (0.7,))), rtol=1e-13)


# The Green's function of one network fluctuates by O(1/n); so does the mean over networks differ from its limit.


@functools.cache
def _samples(name, n=200, seeds=4):
    sample = jax.jit(lambda key: ENSEMBLES[name].sample(n, key=key).dense())
    return np.stack([sample(jax.random.key(seed)) for seed in range(seeds)])


@pytest.mark.parametrize("name", ENSEMBLES)
def test_physical_arguments_give_the_same_either_way(name):
    t, p = jnp.asarray(0.2 - 0.1j), jnp.asarray(-0.05)
    general, physical = (ENSEMBLES[name].blocks(jnp.conj(t), t, p, physical=promised) for promised in (False, True))
    np.testing.assert_allclose(physical, general, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(physical[1], np.conj(physical[0]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.imag(physical[2]), 0, atol=1e-14)


def _misfit(name, n, seeds, z=0.4 + 0.5j, eta=0.5):
    """|S(T) - (Z - T^{-1})| with T measured, averaged over ``seeds`` networks of n units."""
    Z = np.array([[1j * eta, z], [np.conj(z), 1j * eta]])
    T = np.zeros((2, 2), complex)
    for J in _samples(name, n, seeds):
        blocks = np.kron(Z, np.eye(n)) - np.block([[np.zeros((n, n)), J], [J.T, np.zeros((n, n))]])
        T += np.trace(np.linalg.inv(blocks).reshape(2, n, 2, n), axis1=1, axis2=3) / n / seeds
    return np.abs(np.asarray(ENSEMBLES[name].r_transform(T)) - (Z - np.linalg.inv(T))).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
def test_r_transform_against_samples(name):
    assert _misfit(name, 200, 4) < 4 / 200


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
def test_error_of_the_r_transform_falls_as_one_over_n(name):
    errors = [_misfit(name, n, 8) for n in (50, 200, 800)]
    assert errors[2] < 1.5 / 800 and errors[2] < errors[0] / 3


# --- moments


@pytest.mark.parametrize("name", ENSEMBLES)
def test_variance_of_samples(name):
    J = _samples(name)
    n = J.shape[-1]
    # The diagonal is left out: with overlaps its mean square is larger, and of order one.
    off_diagonal = ~np.eye(n, dtype=bool)
    # Relative error of order 1/n for each network, larger by kurtosis where few strong modes share the variance.
    np.testing.assert_allclose(n * np.mean(J[:, off_diagonal] ** 2), ENSEMBLES[name].variance(), rtol=0.03)


@pytest.mark.parametrize("name", ["iid", "modes without overlaps", "singular modes", "sum without overlaps"])
def test_fourth_moment_of_samples_without_overlaps(name):
    # <s^4> = g^4 (2 + 1 / PR^D), where the fourth cumulant stands for g^4 / PR^D since it may be negative.
    ensemble = ENSEMBLES[name]
    s = np.linalg.svd(_samples(name), compute_uv=False)
    expected = 2 * ensemble.variance() ** 2 + ensemble.fourth_cumulant()
    np.testing.assert_allclose(np.mean(s**4), expected, rtol=0.05)


def test_effective_rank():
    np.testing.assert_allclose(RandomModes.flat(1.7, load=0.3).effective_rank(), 0.3)
    np.testing.assert_allclose(DeepHebbian(0.3, 0.0, (1.7,)).effective_rank(), 0.3)
    assert np.isinf(IID().effective_rank()) and np.isinf(Elliptic(1.0, 0.5).effective_rank())
    assert np.isinf(SingularModes(np.ones(1)).effective_rank())  # an orthogonal matrix: below that of i.i.d. weights
    c, gamma = 0.4, 0.8  # <|lambda|^4> = c^4 + 4 c^2 gamma^2 + gamma^4
    expected = 0.9 * (c**2 + gamma**2) ** 2 / (c**4 + 4 * c**2 * gamma**2 + gamma**4)
    np.testing.assert_allclose(DeepHebbian(0.9, c, (gamma,)).effective_rank(), expected, rtol=1e-13)
    np.testing.assert_allclose((-3.0 * RandomModes.flat(load=0.3)).effective_rank(), 0.3, rtol=1e-13)
    np.testing.assert_allclose((RandomModes.flat(load=0.3) + IID(np.sqrt(0.7))).effective_rank(), 1 / 0.3, rtol=1e-13)


def test_random_modes_of_a_rank():
    ensemble = RandomModes.of_rank(1.7, 0.3, overlap=-0.4)
    np.testing.assert_allclose([ensemble.variance(), ensemble.effective_rank(), ensemble.load], [1.7**2, 0.3, 0.3])
    np.testing.assert_allclose(ensemble.overlap, [-0.4])
    with pytest.raises(ValueError, match="`effective_rank` must"):
        RandomModes.of_rank(1.0, 0.0)


def test_moments_are_those_of_the_r_transform():
    # At T_11 = T_22 = -i eta -> 0: h = g^2 for every ensemble, and h' = the fourth cumulant without overlaps.
    for name in ("iid", "deep-Hebbian", "singular modes", "sum", "multiple"):
        S = ENSEMBLES[name].r_transform(np.diag([1e-6j, 1e-6j]))
        np.testing.assert_allclose(S[0, 0] / 1e-6j, ENSEMBLES[name].variance(), rtol=1e-9)


# --- what is sampled


@pytest.mark.parametrize("rho", [0.0, 0.6, -0.8, 1.0])
def test_the_overlap_is_realised(rho):
    n = 400
    J = RandomModes.flat(load=0.5, overlap=rho).sample(n, key=KEY)
    left, right = np.asarray(J.left), np.asarray(J.right) * np.sign(np.asarray(J.core.amplitudes))
    overlaps = np.mean(left * right, 0)
    error = np.sqrt(1 + rho**2) / np.sqrt(n)  # of one overlap
    assert abs(overlaps.mean() - rho) < 4 * error / np.sqrt(200)
    np.testing.assert_allclose(overlaps, np.full(200, rho), atol=5 * error)
    for factor in (left, right):
        np.testing.assert_allclose(np.mean(factor**2), 1, atol=5 * np.sqrt(2 / left.size))


def test_overlaps_belong_to_their_amplitudes():
    n = 400
    J = TWO.sample(n, key=KEY)
    amplitudes, overlaps = np.asarray(J.core.amplitudes), np.mean(np.asarray(J.left * J.right), 0)
    assert np.sum(amplitudes == 1.5) == round(0.3 * 0.7 * n) and np.sum(amplitudes == 0.4) == round(0.7 * 0.7 * n)
    for amplitude, rho in ((1.5, 0.6), (0.4, -0.2)):
        assert abs(overlaps[amplitudes == amplitude].mean() - rho) < 4 * 1.2 / np.sqrt(
            n * np.sum(amplitudes == amplitude)
        )


def test_amplitudes_are_quantiles_of_their_law():
    scale, power = 0.3, 1.5
    J = RandomModes.exponential(scale, power, amplitude=1.4, nodes=400).sample(50, key=KEY)
    found, a = np.sort(J.core.amplitudes)[::-1], (np.arange(50) + 0.5) / 50
    np.testing.assert_allclose(found, 1.4 * np.exp(-((a / scale) ** power)), atol=0.03)
    ensemble = RandomModes.exponential(scale, amplitude=1.4, load=0.6)
    g2 = 0.6 * 1.4**2 * scale / 2 * (1 - np.exp(-2 / scale))
    np.testing.assert_allclose(ensemble.variance(), g2, rtol=1e-12)


def test_pattern_kinds():
    binary = DeepHebbian(0.5, 0.3, (1.0,)).sample(100, key=KEY).left
    assert binary.shape == (100, 50) and set(np.unique(binary)) == {-1.0, 1.0}
    gaussian = DeepHebbian(0.5, 0.3, (1.0,), patterns="gaussian").sample(100, key=KEY).left
    np.testing.assert_allclose([np.mean(gaussian), np.mean(gaussian**2), np.mean(gaussian**4)], [0, 1, 3], atol=0.25)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("ring", [True, False])
def test_deep_hebbian_couplings_term_by_term(ring, symmetric):
    gamma = (1.0, 0.3)
    J = DeepHebbian(0.5, 0.4, gamma, ring=ring, symmetric=symmetric).sample(12, key=KEY)
    xi, P = np.asarray(J.left), 6
    expected = 0.4 * xi @ xi.T
    for r, strength in enumerate(gamma, 1):
        for mu in range(P if ring else P - r):
            term = strength * np.outer(xi[:, (mu + r) % P], xi[:, mu])
            expected = expected + term + (term.T if symmetric else 0)
    np.testing.assert_allclose(J.dense(), expected / 12, atol=1e-14)


@pytest.mark.parametrize("symmetry", [1.0, 0.5, 0.0, -1.0])
def test_elliptic_correlations(symmetry):
    n, seeds = 200, 4
    sample = jax.jit(lambda s, key: Elliptic(1.5, s).sample(n, key=key).dense())
    J = np.stack([sample(symmetry, key) for key in jax.random.split(KEY, seeds)])
    pairs = np.triu_indices(n, 1)
    error = 1.5**2 / np.sqrt(seeds * len(pairs[0]))
    upper, lower = J[:, pairs[0], pairs[1]], np.swapaxes(J, 1, 2)[:, pairs[0], pairs[1]]
    assert abs(n * np.mean(upper * lower) - 1.5**2 * symmetry) < 6 * error
    diagonal = n * np.mean(np.diagonal(J, axis1=1, axis2=2) ** 2)
    assert abs(diagonal - 1.5**2 * (1 + symmetry)) < 6 * 1.5**2 * np.sqrt(2 / (n * seeds)) * (1 + symmetry) + 1e-12
    if abs(symmetry) == 1:
        np.testing.assert_array_equal(J, symmetry * np.swapaxes(J, 1, 2))


def test_low_rank_overlaps():
    O = np.array([[1.2, 0.5], [-0.7, 0.3]])
    n = 4000
    J = LowRank(O, noise=0.5).sample(n, key=KEY)
    np.testing.assert_allclose(J.right.T @ J.left / n, O, atol=5 * np.sqrt(2 / n))
    np.testing.assert_allclose(np.linalg.eigvals(J.right.T @ J.left / n), np.linalg.eigvals(O), atol=0.1)
    np.testing.assert_array_equal(LowRank(3.0).r_transform(ARGUMENTS[0]), np.zeros((2, 2)))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_symmetry_is_declared_where_it_holds(name):
    J = _samples(name)[0]
    assert ENSEMBLES[name].is_symmetric() == np.allclose(J, J.T) == (name == "symmetric")


@pytest.mark.parametrize(
    "ensemble",
    [
        Elliptic(1.0, 1.0),
        RandomModes([1.0, -0.4], overlap=[1.0, -1.0]),
        DeepHebbian(0.5, 1.0, (0.0,)),
        2 * Elliptic(1.0, 1.0),
    ],
)
def test_other_symmetric_ensembles(ensemble):
    J = ensemble.sample(20, key=KEY)
    assert ensemble.is_symmetric()
    np.testing.assert_allclose(J.dense(), J.dense().T, atol=1e-15)


# --- transformations


@pytest.mark.parametrize("name", ["two-valued modes", "sum"])
def test_batches_over_keys_are_loops(name):
    sample = jax.jit(lambda key: ENSEMBLES[name].sample(10, key=key))
    keys = jax.random.split(KEY, 3)
    batch = jax.jit(jax.vmap(sample))(keys)
    assert batch.shape == (3, 10, 10)
    for J, key in zip(batch.dense(), keys, strict=True):
        np.testing.assert_allclose(J, sample(key).dense(), atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elliptic", "two-valued modes", "deep-Hebbian", "singular modes", "multiple"])
def test_batches_over_any_field_are_loops(name):
    @jax.jit
    def both(ensemble):
        # 16 columns are more than any load here needs: the others stay silent.
        return ensemble.sample(10, key=KEY, max_modes=16).dense(), ensemble.r_transform(ARGUMENTS[0])

    leaves, structure = jax.tree.flatten(ENSEMBLES[name])
    one_changed = [[leaf * (0.7 if i == j else 1.0) for j, leaf in enumerate(leaves)] for i in range(len(leaves))]
    ensembles = [jax.tree.unflatten(structure, changed) for changed in one_changed]
    batch = jax.vmap(both)(jax.tree.map(lambda *x: jnp.stack(x), *ensembles))
    for i, ensemble in enumerate(ensembles):
        for found, expected in zip(batch, both(ensemble), strict=True):
            np.testing.assert_allclose(found[i], expected, atol=1e-13)


@pytest.mark.slow
def test_a_traced_load_keeps_its_modes():
    # Silent columns do not move the variance, and the ring closes at the traced number of patterns.
    J = jax.vmap(lambda load: DeepHebbian(load, 0.0, (1.0,)).sample(60, key=KEY, max_modes=60))(jnp.array([0.2, 0.9]))
    assert np.sum(np.any(np.asarray(J.left) != 0, axis=1), axis=1).tolist() == [12, 54]
    core = Shifts(0.0, (1.0,), 12)
    left = J.left[0, :, :12]
    np.testing.assert_allclose(J.dense()[0], Modes(left, left, core).dense(), atol=1e-14)


@pytest.mark.parametrize("name", ["elliptic", "two-valued modes", "deep-Hebbian"])
def test_single_precision(name):
    with jax.enable_x64(False):
        ensemble = jax.tree.map(lambda x: x.astype(jnp.float32), ENSEMBLES[name])
        both = jax.jit(lambda T, key: (ensemble.sample(8, key=key), ensemble.r_transform(T)))
        J, S = both(jnp.asarray(ARGUMENTS[0], jnp.complex64), jax.random.key(0))
        assert J.dtype == jnp.float32 and S.dtype == jnp.complex64
    np.testing.assert_allclose(S, _direct(ensemble, ARGUMENTS[0]), atol=1e-5)
    assert ENSEMBLES[name].sample(8, key=KEY, dtype=jnp.float32).dtype == jnp.float32


@pytest.mark.slow
def test_gradients_of_the_r_transform():
    names = ("elliptic", "two-valued modes", "deep-Hebbian")
    flat, unravel = ravel_pytree(sum((ENSEMBLES[name] for name in names[1:]), ENSEMBLES[names[0]]))
    f = lambda x: jnp.sum(jnp.abs(unravel(x).r_transform(ARGUMENTS[0])) ** 2)
    shifts = 1e-5 * jnp.eye(flat.size)
    up, down = (jax.jit(jax.vmap(f))(flat[None] + sign * shifts) for sign in (1.0, -1.0))
    np.testing.assert_allclose(jax.jit(jax.grad(f))(flat), (up - down) / 2e-5, rtol=1e-6, atol=1e-8)


# --- arguments


@pytest.mark.parametrize(
    "build, argument",
    [
        (lambda: IID(-1.0), "g"),
        (lambda: IID(np.nan), "g"),
        (lambda: IID(1j), "g"),
        (lambda: IID([1.0, 2.0]), "g"),
        (lambda: IID("large"), "g"),
        (lambda: Elliptic(-1.0), "g"),
        (lambda: Elliptic(1.0, 1.1), "symmetry"),
        (lambda: Elliptic(1.0, np.nan), "symmetry"),
        (lambda: RandomModes([]), "amplitudes"),
        (lambda: RandomModes([1.0, np.inf]), "amplitudes"),
        (lambda: RandomModes([[1.0]]), "amplitudes"),
        (lambda: RandomModes([1.0, 2.0], weights=[1.0]), "weights"),
        (lambda: RandomModes([1.0], weights=[-1.0]), "weights"),
        (lambda: RandomModes([1.0], weights=[0.0]), "weights"),
        (lambda: RandomModes([1.0], load=0.0), "load"),
        (lambda: RandomModes([1.0], load=np.inf), "load"),
        (lambda: RandomModes([1.0], overlap=-1.5), "overlap"),
        (lambda: RandomModes([1.0, 2.0], overlap=[0.1, 0.2, 0.3]), "overlap"),
        (lambda: RandomModes.flat([1.0]), "amplitude"),
        (lambda: RandomModes.exponential(0.0), "scale"),
        (lambda: RandomModes.exponential(1.0, power=-1.0), "power"),
        (lambda: RandomModes.two_valued(1.0, 0.5, 1.5), "fraction"),
        (lambda: DeepHebbian(load=-1.0), "load"),
        (lambda: DeepHebbian(load=np.nan), "load"),
        (lambda: DeepHebbian(auto=np.inf), "auto"),
        (lambda: DeepHebbian(hetero=()), "hetero"),
        (lambda: DeepHebbian(hetero=1.0), "hetero"),
        (lambda: DeepHebbian(hetero=(np.nan,)), "hetero"),
        (lambda: DeepHebbian(patterns="ternary"), "patterns"),
        (lambda: LowRank(np.ones((2, 3))), "overlaps"),
        (lambda: LowRank(np.nan), "overlaps"),
        (lambda: LowRank(1.0, noise=-1.0), "noise"),
        (lambda: np.nan * IID(), "factor"),
        (lambda: jnp.ones(2) * IID(), "factor"),
        (lambda: IID().r_transform(np.ones(2)), "T"),
        (lambda: IID().sample(0, key=KEY), "n"),
        (lambda: IID().sample(2.5, key=KEY), "n"),
        (lambda: DeepHebbian(load=0.1).sample(4, key=KEY), "load"),
        (lambda: DeepHebbian(load=2.0).sample(4, key=KEY, max_modes=7), "max_modes"),
        (lambda: jax.vmap(lambda a: DeepHebbian(load=a).sample(4, key=KEY))(jnp.ones(2)), "load"),
    ],
)
def test_bad_arguments(build, argument):
    with pytest.raises(ValueError, match=f"`{argument}`") as error:
        build()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("other", [1.0, np.ones((3, 3)), "ensemble"])
def test_ensembles_add_only_to_ensembles(other):
    with pytest.raises(TypeError):
        IID() + other


def test_ensembles_are_pytrees_of_floats():
    for ensemble in ENSEMBLES.values():
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(ensemble))
        assert not eqx.tree_equal(ensemble, jax.tree.map(lambda leaf: leaf + 1, ensemble))
        assert eqx.tree_equal(ensemble, jax.tree.map(lambda leaf: leaf, ensemble))


def test_silent_modes_have_no_rank():
    ensemble = RandomModes([1.5, 0.0], [0.3, 0.7], load=0.5)
    np.testing.assert_allclose(ensemble.rank_fraction(), 0.15, rtol=1e-12)
    np.testing.assert_allclose(ensemble.poles(), 0)
    J = ensemble.sample(40, key=jax.random.key(0)).dense()
    assert np.linalg.matrix_rank(J) == 6
