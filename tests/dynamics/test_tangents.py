"""Lyapunov spectra against eigenvalues, traces, a reference in NumPy and mean-field theory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from compilations import compilations

from jaxnets.couplings import IID
from jaxnets.couplings.operators import Dense, Diagonal, Modes
from jaxnets.dynamics.network import RateNetwork
from jaxnets.dynamics.schemes import heun
from jaxnets.dynamics.tangents import entropy_rate, kaplan_yorke_dimension, lyapunov_spectrum
from jaxnets.transfer import Linear, Tanh

KEY = jax.random.key(0)
spectrum_of = functools.partial(lyapunov_spectrum, key=KEY, progress=False)


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def _dense(n, g, seed=0):
    return Dense(g / np.sqrt(n) * _normal(seed, n, n))


def _modes(n, P, seed=1):
    left, right, amplitudes = (jnp.asarray(_normal(seed + i, *shape)) for i, shape in enumerate([(n, P), (n, P), (P,)]))
    return Modes(left, right, Diagonal(3 * amplitudes))


def _everything(coupling):
    """A network in which no parameter has a value that could hide an error."""
    n = coupling.shape[-1]
    tau, gain = np.linspace(0.7, 1.6, n), np.linspace(0.8, 1.3, n)
    return RateNetwork(coupling, Tanh(), 0.3, lambda t: 0.4 * jnp.sin(t + jnp.arange(float(n))), tau, gain)


# --- exact spectra


def _normal_matrix():
    """Orthogonal similarity to two rotations with growth .3, -.5 and to the numbers -.1, -2."""
    blocks = np.zeros((6, 6))
    blocks[:2, :2] = [[0.3, 1], [-1, 0.3]]
    blocks[2:4, 2:4] = [[-0.5, 2], [-2, -0.5]]
    blocks[4:, 4:] = np.diag([-0.1, -2])
    rotation, _ = np.linalg.qr(_normal(7, 6, 6))  # not the first tangents, which would be invariant and out of order
    return rotation @ blocks @ rotation.T


def _non_normal_matrix():
    basis = np.eye(5) + 0.5 * _normal(2, 5, 5)
    return basis @ np.diag([0.8, 0.2, -0.2, -0.7, -1.5]) @ np.linalg.inv(basis)


@pytest.mark.slow
@pytest.mark.parametrize("matrix", [_normal_matrix(), _non_normal_matrix()], ids=["normal", "non-normal"])
def test_linear_networks_have_the_real_parts_of_the_eigenvalues(matrix):
    net = RateNetwork(matrix, Linear(), tau=2.0)
    found = spectrum_of(net, np.ones(len(matrix)), num_exponents=len(matrix), duration=160, discard=140)
    eigenvalues = (np.linalg.eigvals(matrix) - 1) / 2
    # The tangents are aligned to exp(-.1 * 140); the scheme adds Re lambda^5 dt^4 / 120 < 1e-7.
    np.testing.assert_allclose(found.exponents, np.sort(eigenvalues.real)[::-1], atol=3e-6)
    np.testing.assert_allclose(found.mean_trace, np.sum(eigenvalues.real), rtol=1e-12)
    assert np.all(found.error < 3e-6)


@pytest.mark.slow
def test_fewer_exponents_are_the_first_ones():
    matrix = _non_normal_matrix()
    found = spectrum_of(RateNetwork(matrix, Linear()), np.ones(5), num_exponents=2, duration=80, discard=64)
    np.testing.assert_allclose(found.exponents, [-0.2, -0.8], atol=1e-6)
    np.testing.assert_allclose(found.mean_trace, np.trace(matrix) - 5, rtol=1e-12)


def test_a_limit_cycle_has_one_zero_exponent():
    net = RateNetwork(2.0 * np.array([[1, -1], [1, 1]]), Tanh())
    found = spectrum_of(net, [1.0, 0.3], num_exponents=2, duration=300, discard=50, dt=0.025)
    # The mean of d/dt log |dx/dt|, a periodic function: its error is log(max speed / min speed) / T.
    assert abs(found.exponents[0]) < np.log(10) / 250
    assert found.exponents[1] < -0.5
    np.testing.assert_allclose(jnp.sum(found.exponents), found.mean_trace, atol=1e-6)
    assert abs(found.exponents[0]) < 4 * found.error[0]


def test_noise_leaves_the_exponents_of_a_linear_network():
    matrix = _non_normal_matrix()
    found = spectrum_of(
        RateNetwork(matrix, Linear(), noise=0.7), np.zeros(5), num_exponents=5, duration=160, discard=140
    )
    np.testing.assert_allclose(found.exponents, [-0.2, -0.8, -1.2, -1.7, -2.5], atol=1e-5)


# --- sums, and an independent computation


@pytest.mark.parametrize(
    "coupling", [_dense(60, 3.0), _modes(60, 25), _dense(60, 1.0) + 0.5 * _modes(60, 90)], ids=["dense", "modes", "sum"]
)
def test_the_sum_of_the_spectrum_is_the_mean_trace(coupling):
    misses = []
    for dt in (0.05, 0.025):
        found = spectrum_of(_everything(coupling), _normal(5, 60), num_exponents=60, duration=12, discard=4, dt=dt)
        assert found.exponents[0] > -0.5 and found.exponents[-1] < -1
        misses.append(abs(float(jnp.sum(found.exponents) - found.mean_trace)))
    assert misses[0] < 1e-6 * abs(found.mean_trace)
    assert misses[1] < 1e-6
    assert 8 < misses[0] / misses[1] < 32  # the fourth order of the scheme: 16


def _reference(net, matrix, x, V, key, dt, steps, intervals, scheme):
    """Local exponents by dense Jacobians and explicit formulas, in NumPy."""
    n = len(x)
    tau, gain, sigma = np.asarray(net.tau), np.asarray(net.row_gains), float(net.noise)
    history, k = [], 0
    for _ in range(intervals):
        for _ in range(steps):
            xi = np.asarray(jax.random.normal(jax.random.fold_in(key, k), (n,)))

            def rate(t, x, V, xi=xi):
                drive = 0.4 * np.sin(t + np.arange(n)) + np.sqrt(2 / dt) * sigma * xi
                A = (-np.eye(n) + gain[:, None] * matrix * (1 - np.tanh(x) ** 2)[None, :]) / tau[:, None]
                return (-x + gain * (matrix @ np.tanh(x)) + drive) / tau, A @ V

            t = k * dt
            x1, V1 = rate(t, x, V)
            if scheme is heun:
                x2, V2 = rate(t + dt, x + dt * x1, V + dt * V1)
                x, V = x + dt / 2 * (x1 + x2), V + dt / 2 * (V1 + V2)
            else:
                x2, V2 = rate(t + dt / 2, x + dt / 2 * x1, V + dt / 2 * V1)
                x3, V3 = rate(t + dt / 2, x + dt / 2 * x2, V + dt / 2 * V2)
                x4, V4 = rate(t + dt, x + dt * x3, V + dt * V3)
                x, V = x + dt / 6 * (x1 + 2 * x2 + 2 * x3 + x4), V + dt / 6 * (V1 + 2 * V2 + 2 * V3 + V4)
            k += 1
        V, R = np.linalg.qr(V)
        history.append(np.log(np.abs(np.diag(R))) / (steps * dt))
    return np.array(history)


@pytest.mark.parametrize("scheme", [None, heun], ids=["rk4", "heun"])
def test_against_dense_jacobians_in_numpy(scheme):
    coupling = _dense(12, 3.0) + _modes(12, 4)
    net, x0, num = _everything(coupling), _normal(5, 12), 7
    options = {} if scheme is None else {"scheme": scheme}
    found = spectrum_of(net, x0, num_exponents=num, duration=16, discard=0, interval=0.5, dt=0.1, **options)
    # The tangents of the library, so that finite times can be compared.
    start = np.random.default_rng(np.asarray(jax.random.key_data(KEY))).standard_normal((12, num))
    V, _ = np.linalg.qr(start)
    history = _reference(net, np.asarray(coupling.dense()), x0, V, KEY, 0.1, 5, 32, scheme)
    order = np.argsort(-history.mean(0))
    np.testing.assert_allclose(found.history, history[:, order], atol=1e-8)
    np.testing.assert_allclose(found.exponents, history.mean(0)[order], atol=1e-9)
    blocks = history.reshape(16, 2, num).mean(1)[:, order]
    away = blocks - blocks.mean(0)
    neighbours = np.mean(away[1:] * away[:-1], 0) / np.mean(away**2, 0) + 1 / 16
    grown = np.sqrt((1 + np.clip(neighbours, 0, 0.7)) / (1 - np.clip(neighbours, 0, 0.7)))
    np.testing.assert_allclose(found.error, blocks.std(0, ddof=1) / 4 * grown, atol=1e-9)
    np.testing.assert_allclose(found.times, 0.5 * np.arange(1, 33))


def test_exponents_do_not_depend_on_the_interval():
    # A product of triangular factors does not depend on where it is cut.
    net, x0 = _everything(_dense(20, 3.0)), _normal(5, 20)
    found = [spectrum_of(net, x0, num_exponents=8, duration=16, discard=0, interval=h).exponents for h in (0.25, 1.0)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-10)


# --- statistics


@pytest.mark.slow
def test_errors_fall_as_the_root_of_time():
    # Noise, so that no exponent is that of a shift in time, whose error falls faster.
    net, x0 = RateNetwork(_dense(40, 6.0, seed=4), Tanh(), noise=0.5), _normal(5, 40)
    short, long = (spectrum_of(net, x0, num_exponents=6, duration=T + 50, discard=50, dt=0.1) for T in (64, 1024))
    # 4 is expected; each error is known to 18 %, and six of one orbit are not independent.
    assert 2 < np.mean(short.error) / np.mean(long.error) < 8
    assert np.all(np.abs(short.exponents - long.exponents) < 5 * np.hypot(short.error, long.error))


def test_runs_repeat_and_keys_matter():
    net, x0 = _everything(_dense(8, 3.0)), _normal(5, 8)
    first, again = (spectrum_of(net, x0, num_exponents=2, duration=16, discard=4) for _ in range(2))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), first, again))
    other = lyapunov_spectrum(net, x0, num_exponents=2, duration=16, discard=4, key=jax.random.key(1), progress=False)
    assert np.all(other.exponents != first.exponents)


def test_other_numbers_compile_nothing():
    """Neither another network nor another key, duration, step or interval."""

    def run(seed, **options):
        net, x0 = RateNetwork(_dense(7, 3.0, seed), Tanh()), _normal(seed, 7)
        arguments = {"num_exponents": 2, "duration": 16.0, "discard": 4.0} | options
        return spectrum_of(net, x0, **arguments).exponents

    first, key = run(0), jax.random.key(1)
    with compilations() as programs:
        others = [run(1), run(0, key=key), run(0, duration=90.0, discard=3.0), run(0, dt=0.02), run(0, interval=0.3)]
    assert set(programs) <= {"jit(stage)"}  # of arguments
    assert all(np.all(other != first) for other in others)


def test_sparse_couplings_have_the_trace_of_their_dense_matrix():
    matrix = scipy.sparse.random_array((6, 6), density=0.5, rng=0) + scipy.sparse.diags_array(np.arange(6.0) / 4)
    nets = RateNetwork(matrix, Tanh()), RateNetwork(matrix.toarray(), Tanh())
    sparse, dense = (spectrum_of(net, _normal(5, 6), num_exponents=2, duration=8, discard=0) for net in nets)
    np.testing.assert_allclose(sparse.mean_trace, dense.mean_trace, rtol=1e-12)
    np.testing.assert_allclose(sparse.exponents, dense.exponents, atol=1e-12)


# --- transformations, precision, failures


@pytest.mark.slow
def test_jit_of_vmap_is_the_loop():
    net, x0s = _everything(_dense(8, 3.0)), _normal(5, 3, 8)
    one = lambda x0: spectrum_of(net, x0, num_exponents=3, duration=12, discard=2)
    mapped = jax.jit(jax.vmap(one))(jnp.asarray(x0s))
    for i, x0 in enumerate(x0s):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=1e-9), mapped, one(x0))  # noqa: B023


@pytest.mark.slow
def test_networks_are_mapped():
    couplings = jax.vmap(lambda key: IID(2.0).sample(8, key=key))(jax.random.split(KEY, 2))
    one = lambda J: spectrum_of(RateNetwork(J, Tanh()), np.ones(8), num_exponents=8, duration=10, discard=0).exponents
    mapped = jax.vmap(one)(couplings)
    np.testing.assert_allclose(mapped[1], one(jax.tree.map(lambda leaf: leaf[1], couplings)), atol=1e-9)


@pytest.mark.slow
def test_derivative_of_an_exponent():
    matrix = _non_normal_matrix()

    def largest(gain):
        net = RateNetwork(matrix, Linear(), row_gains=gain)
        return spectrum_of(net, np.ones(5), num_exponents=2, duration=50, discard=40).exponents[0]

    np.testing.assert_allclose(jax.grad(largest)(1.0), 0.8, atol=1e-5)  # of -1 + .8 gain


def test_single_precision():
    matrix = _non_normal_matrix().astype(np.float32)
    found = spectrum_of(RateNetwork(matrix, Linear()), np.ones(5), num_exponents=5, duration=60, discard=40)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found.exponents, [-0.2, -0.8, -1.2, -1.7, -2.5], atol=1e-3)


def test_an_orbit_that_overflows_is_nan():
    with pytest.warns(RuntimeWarning, match="orbit is not finite"):
        found = spectrum_of(
            RateNetwork(20 * np.eye(2), Linear()), np.ones(2), num_exponents=2, duration=60, discard=0, dt=0.05
        )
    assert np.all(np.isnan(found.exponents)) and np.all(np.isnan(found.error)) and np.isnan(found.mean_trace)
    assert np.all(np.isfinite(found.history[0]))
    traced = jax.jit(lambda x0: spectrum_of(RateNetwork(20 * np.eye(2), Linear()), x0, num_exponents=2, duration=60))(
        np.ones(2)
    )
    assert np.all(np.isnan(traced.exponents))


def test_an_interval_that_hides_exponents_is_seen():
    net = RateNetwork(np.zeros((2, 2)), Linear(), tau=[1.0, 0.02])
    with pytest.warns(RuntimeWarning, match="`interval` = 1.0"):
        found = spectrum_of(net, np.ones(2), num_exponents=2, duration=36, discard=20, dt=0.01, interval=1.0)
    np.testing.assert_allclose(found.exponents[0], -1, rtol=1e-9)
    assert np.isnan(found.exponents[1])
    found = spectrum_of(net, np.ones(2), num_exponents=2, duration=36, discard=20, dt=0.005, interval=0.1)
    np.testing.assert_allclose(found.exponents, [-1, -50], rtol=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x0": np.ones(4)}, "`x0` must have the last axis n = 3"),
        ({"x0": np.ones((2, 3))}, r"`x0` must have shape \(3,\)"),
        ({"x0": np.array([1, 2, np.nan])}, "`x0` must be finite"),
        ({"num_exponents": 0}, "`num_exponents` must be a whole number >= 1"),
        ({"num_exponents": 4}, "`num_exponents` must be at most the number of units, 3"),
        ({"duration": 0.0}, "`duration`"),
        ({"duration": np.nan}, "`duration`"),
        ({"dt": -0.1}, "`dt`"),
        ({"interval": 0.0}, "`interval`"),
        ({"discard": -1.0}, "`discard`"),
        ({"discard": 10.0}, r"`discard` must be in \[0, duration\)"),
        ({"net": RateNetwork(np.zeros((2, 3, 3)), Tanh())}, "`net` must be one network"),
        ({"key": 0}, r"`key` must be one random key, .* got int 0: `jax.random.key\(0\)`"),
        ({"key": None}, "`key` must be one random key"),
        ({"key": jax.random.split(KEY)}, r"`key` must be one random key, .* got an array of shape \(2,\)"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"net": RateNetwork(np.zeros((3, 3)), Tanh()), "x0": np.ones(3), "num_exponents": 1, "duration": 10.0}
    arguments |= {"discard": 0.0} | change
    with pytest.raises(ValueError, match=message):
        spectrum_of(**arguments)


# --- what follows from a spectrum


@pytest.mark.parametrize(
    "exponents, dimension, entropy",
    [
        ([0.5, 0.1, -0.2, -0.8], 3.5, 0.6),  # .6 - .2 = .4 of the .8
        ([-0.8, 0.1, 0.5, -0.2], 3.5, 0.6),
        ([0.9, 0.0, -14.5], 2 + 0.9 / 14.5, 0.9),
        ([1.0, 0.0, -1.0], 3.0, 1.0),
        ([0.0, -1.0], 1.0, 0.0),
        ([-0.1, -1.0], 0.0, 0.0),
        ([0.5, -0.2], np.nan, 0.5),
        ([0.5, 0.2], np.nan, np.nan),
        ([0.5, -0.8, np.nan], np.nan, np.nan),
        ([0.5], np.nan, np.nan),
        ([-0.5], 0.0, 0.0),
    ],
)
def test_dimension_and_entropy_by_hand(exponents, dimension, entropy):
    np.testing.assert_allclose(kaplan_yorke_dimension(exponents), dimension, rtol=1e-14)
    np.testing.assert_allclose(entropy_rate(exponents), entropy, rtol=1e-14)


def test_dimension_and_entropy_are_mapped_and_differentiable():
    exponents = jnp.array([[0.5, 0.1, -0.2, -0.8], [0.3, -0.6, -0.7, -0.8]])
    np.testing.assert_allclose(jax.jit(jax.vmap(kaplan_yorke_dimension))(exponents), [3.5, 1.5])
    np.testing.assert_allclose(jax.vmap(entropy_rate)(exponents), [0.6, 0.3])
    slope = jax.grad(kaplan_yorke_dimension)(exponents[0])
    np.testing.assert_allclose(slope, [1 / 0.8, 1 / 0.8, 1 / 0.8, 0.4 / 0.8**2], rtol=1e-12)
    assert kaplan_yorke_dimension(jnp.ones(2, jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("function", [kaplan_yorke_dimension, entropy_rate])
@pytest.mark.parametrize("exponents", [[], np.ones((2, 2)), 1.0])
def test_dimension_and_entropy_of_bad_arguments(function, exponents):
    with pytest.raises(ValueError, match="`exponents`"):
        function(exponents)


# --- large networks


@pytest.mark.slow
@pytest.mark.parametrize("gain, theory, scatter", [(2.0, 0.1125, 0.01), (5.0, 0.4337, 0.025)])
def test_the_largest_exponent_is_that_of_mean_field_theory(gain, theory, scatter):
    # `scatter`: of networks of this size about the limit, which lie rather below it.
    net = RateNetwork(IID(gain).sample(1000, key=KEY), Tanh())
    found = spectrum_of(net, _normal(1, 1000), num_exponents=1, duration=350, discard=100, dt=0.1)
    assert abs(found.exponents[0] - theory) < scatter + 2 * found.error[0]
