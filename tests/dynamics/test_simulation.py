"""The integrator against exact solutions, diffrax, scipy and itself in other pieces, shapes and precisions."""

import warnings
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from compilations import compilations

from jaxnets.couplings import IID, DeepHebbian
from jaxnets.dynamics import simulation
from jaxnets.dynamics.adaptive import Adaptive
from jaxnets.dynamics.network import RateNetwork
from jaxnets.dynamics.schemes import heun, rk4
from jaxnets.dynamics.simulation import States, simulate
from jaxnets.transfer import Linear, ReLU, Tanh

N = 12
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TAU, ROW_GAINS, SIGMA, DRIVE = RNG.uniform(0.5, 1.5, (4, N))
X0 = RNG.standard_normal((3, N))


def _coupling(seed=0, gain=1.5):
    return IID(gain).sample(N, key=jax.random.key(seed))


def _drive(t):
    return jnp.sin(2 * t) * jnp.asarray(DRIVE)


def _network(coupling=None, **kwargs):
    settings = {"input": _drive, "tau": TAU, "row_gains": ROW_GAINS}
    return RateNetwork(_coupling() if coupling is None else coupling, Tanh(), **{**settings, **kwargs})


class Moment(eqx.Module):
    """A recorder with parameters, a carry and outputs: the mean of x phi(x), and `scale` times |x|^2 at each time."""

    scale: jax.Array

    def init(self, x, rates):
        return jnp.zeros_like(x), jnp.zeros((), x.dtype)

    def update(self, carry, x, rates):
        total, count = carry
        return (total + x * rates, count + 1), self.scale * jnp.sum(x**2, -1)

    def finish(self, carry, outputs):
        total, count = carry
        return total / count, outputs


# --- accuracy


@pytest.fixture(scope="module")
def reference():
    """The state at t = 2 from diffrax at 1e-12, on a vector field written here."""
    J = np.asarray(_coupling().dense())

    def slope(t, x, args):
        return (-x + ROW_GAINS * (J @ jnp.tanh(x)) + jnp.sin(2 * t) * DRIVE) / TAU

    controller = diffrax.PIDController(rtol=1e-12, atol=1e-12)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope), diffrax.Dopri8(), 0.0, 2.0, None, jnp.asarray(X0[0]), stepsize_controller=controller
    )
    return solution.ys[-1]


@pytest.mark.parametrize(("scheme", "order", "dt"), [(heun, 2, 0.05), (rk4, 4, 0.1)])
def test_order_of_the_schemes(scheme, order, dt, reference):
    errors = [
        float(jnp.max(jnp.abs(simulate(_network(), X0[0], duration=2.0, dt=h, scheme=scheme).final - reference)))
        for h in (dt, dt / 2, dt / 4)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    # The next order adds a relative correction of order dt.
    assert abs(orders[1] - order) < 0.2 and abs(orders[1] - order) < abs(orders[0] - order) + 0.05
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), pytest.param(diffrax.Kvaerno5(), marks=pytest.mark.slow)])
def test_adaptive_steps_meet_their_tolerance(solver, reference):
    adaptive = Adaptive(solver, rtol=1e-8, atol=1e-10)
    run = simulate(_network(), X0, duration=2.0, discard=0.5, save_every=7, scheme=adaptive)
    fine = simulate(_network(), X0, duration=2.0, discard=0.5, save_every=7 * 5, dt=0.01, scheme=rk4)
    np.testing.assert_allclose(run.final[0], reference, atol=1e-6)
    np.testing.assert_allclose(run.times, fine.times, rtol=1e-14)
    np.testing.assert_allclose(run.states, fine.states, atol=1e-6)
    np.testing.assert_allclose(run.rates, np.tanh(run.states), atol=1e-15)


@pytest.mark.slow
def test_stiff_networks_by_implicit_steps():
    tau = np.where(np.arange(N) == 0, 1e-5, 1.0)
    net = _network(tau=tau)
    stiff = simulate(net, X0[0], duration=2.0, scheme=Adaptive(diffrax.Kvaerno5(), max_steps=2000))
    assert stiff.finite
    # After its first moments the fast unit follows the others.
    x = np.asarray(stiff.states[20])
    slaved = ROW_GAINS[0] * np.asarray(_coupling().dense())[0] @ np.tanh(x) + np.sin(2 * stiff.times[20]) * DRIVE[0]
    assert abs(x[0] - slaved) < 1e-3


def test_linear_networks_against_the_matrix_exponential():
    J = np.asarray(_coupling().dense())
    net = RateNetwork(J, Linear(), tau=TAU, row_gains=ROW_GAINS)
    A = (-np.eye(N) + ROW_GAINS[:, None] * J) / TAU[:, None]
    run = simulate(net, X0, duration=2.0, dt=0.01, save_every=50, scheme=rk4)
    for t, states in zip(np.asarray(run.times), np.asarray(run.states), strict=True):
        np.testing.assert_allclose(states, X0 @ scipy.linalg.expm(A * t).T, atol=1e-6)
    np.testing.assert_allclose(run.final, X0 @ scipy.linalg.expm(A * 2.0).T, atol=1e-6)


def test_quiescence_below_the_onset():
    run = simulate(RateNetwork(_coupling(gain=0.3), Tanh()), X0, duration=60.0)
    assert float(jnp.max(jnp.abs(run.final))) < 1e-8


# --- noise


@pytest.mark.slow
def test_strong_order_with_noise():
    """One Brownian path, refined: the increments of coarse steps are sums of the finest, given as an input."""
    finest, T, sigma = 2**-10, 1.0, 0.3
    increments = np.sqrt(finest) * RNG.standard_normal((round(T / finest), N))

    def final(dt):
        coarse = jnp.asarray(increments.reshape(round(T / dt), -1, N).sum(1)) * np.sqrt(2) * sigma / dt

        # Heun looks at both ends of a step, where a step function jumps: the noise belongs to the step itself.
        def scheme(f, t, x, h):
            push = coarse[jnp.round(t / h).astype(int)]
            return heun(lambda t, x: f(t, x) + push, t, x, h)

        net = RateNetwork(_coupling(), Tanh())
        return np.asarray(simulate(net, X0[0], duration=T, dt=dt, scheme=scheme).final)

    exact = final(finest)
    errors = [np.sqrt(np.mean((final(dt) - exact) ** 2)) for dt in (2**-4, 2**-5, 2**-6, 2**-7)]
    slope = np.polyfit(np.log([2**-4, 2**-5, 2**-6, 2**-7]), np.log(errors), 1)[0]
    assert 0.8 < slope < 1.5  # order 1 on 12 units; 1/2 would show as .5


def test_noise_of_a_step_is_what_it_says():
    """x(dt) of a network without coupling: Heun multiplies the noise by 1 - dt / (2 tau)."""
    n, dt = 4000, 0.1
    net = RateNetwork(np.zeros((n, n), np.float32), Linear(), noise=0.7, tau=2.0)
    kick = np.asarray(simulate(net, np.zeros(n), duration=dt, dt=dt, key=KEY).final)
    expected = np.sqrt(2 * dt) * 0.7 / 2.0 * (1 - dt / 4)
    assert abs(kick.std() / expected - 1) < 4 / np.sqrt(2 * n)
    assert abs(kick.mean() / expected) < 4 / np.sqrt(n)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stationary_covariance_of_linear_networks(seed):
    """A C + C A^T + 2 sigma^2 / tau^2 = 0; trajectories are independent, and steps cost dt^2."""
    J = np.asarray(_coupling(seed, gain=0.6).dense())
    A = (-np.eye(N) + ROW_GAINS[:, None] * J) / TAU[:, None]
    expected = scipy.linalg.solve_continuous_lyapunov(A, -np.diag(2 * SIGMA**2 / TAU**2))
    net = RateNetwork(J, Linear(), noise=SIGMA, tau=TAU, row_gains=ROW_GAINS)
    samples = 4000
    x = np.asarray(simulate(net, np.zeros((samples, N)), duration=12.0, key=jax.random.key(seed)).final)
    found = x.T @ x / samples
    deviation = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / samples)
    # 78 entries: the largest of them is above 4.5 once in 2000.
    assert np.max(np.abs(found - expected) / deviation) < 4.5
    assert np.linalg.norm(expected - np.diag(np.diag(expected))) > 10 * np.linalg.norm(deviation) / N  # J is seen


def test_each_trajectory_and_network_has_its_own_noise():
    net = _network(noise=0.5)
    run = simulate(net, np.zeros((2, 2, N)), duration=0.05, key=KEY)
    assert len({float(x) for x in np.ravel(run.final)}) == 4 * N
    batch = jax.vmap(lambda key: IID(1.0).sample(N, key=key))(jax.random.split(KEY, 2))
    run = simulate(_network(batch, noise=0.5), np.zeros((2, 2, N)), duration=0.05, key=KEY)
    assert len({float(x) for x in np.ravel(run.final)}) == 4 * N


# --- pieces


@pytest.mark.parametrize("scheme", [heun, rk4])
def test_continuing_is_one_run_bit_by_bit(scheme):
    net, common = _network(noise=0.3), {"key": KEY, "scheme": scheme, "save_every": 3}
    whole = simulate(net, X0, duration=3.3, **common)
    first = simulate(net, X0, duration=1.2, **common)
    second = simulate(net, first.final, t0=first.end, duration=2.1, **common)
    np.testing.assert_array_equal(jnp.concatenate([first.states, second.states]), whole.states)
    np.testing.assert_array_equal(jnp.concatenate([first.times, second.times]), whole.times)
    np.testing.assert_array_equal(second.final, whole.final)
    assert second.end == whole.end


@pytest.mark.parametrize("work", [1, 3 * N * N * 2, 3 * N * N * 20])
def test_chunks_do_not_change_results(work, monkeypatch):
    """Chunks of 1, 2 and 20 steps, shorter and longer than the 4 steps between kept times."""
    run = partial(simulate, _network(noise=0.3), X0, duration=3.05, discard=0.45, save_every=4, key=KEY)
    moment = {"moment": Moment(jnp.asarray(2.0)), "states": States()}
    plain, recorded = run(), run(record=moment).records
    monkeypatch.setattr(simulation, "CHUNK_WORK", work)
    np.testing.assert_array_equal(run().states, plain.states)
    np.testing.assert_array_equal(run().final, plain.final)
    jax.tree.map(np.testing.assert_array_equal, run(record=moment).records, recorded)


@pytest.mark.parametrize(
    ("duration", "discard", "save_every"), [(2.0, 0.0, 1), (3.05, 0.45, 4), (1.0, 0.93, 1), (1.0, 0.0, 99)]
)
def test_kept_times(duration, discard, save_every):
    run = simulate(_network(), X0, duration=duration, discard=discard, save_every=save_every, t0=0.5)
    first, stop = 0.5 + 0.05 * np.ceil(discard / 0.05 - 1e-9), 0.5 + duration
    expected = np.arange(first, stop - 1e-9, 0.05 * save_every)
    np.testing.assert_allclose(run.times, expected, rtol=1e-13)
    fine = simulate(_network(), X0, duration=duration, t0=0.5)
    indices = np.round((expected - 0.5) / 0.05).astype(int)
    np.testing.assert_array_equal(run.states, np.asarray(fine.states)[indices])
    np.testing.assert_array_equal(run.final, fine.final)
    np.testing.assert_allclose(run.rates, np.tanh(run.states), rtol=1e-14)
    np.testing.assert_allclose(run.end, stop, rtol=1e-13)


@pytest.mark.slow
def test_recorders_are_post_processing():
    run = partial(simulate, _network(), X0, duration=3.05, discard=0.45, save_every=4)
    plain = run()
    for scheme in (heun, Adaptive(rtol=1e-10, atol=1e-12)):
        mean, squares = run(record=Moment(jnp.asarray(2.0)), scheme=scheme).records
        tolerance = 1e-13 if scheme is heun else 2e-2  # Heun is off by dt^2
        np.testing.assert_allclose(mean, jnp.mean(plain.states * plain.rates, 0), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(squares, 2 * jnp.sum(plain.states**2, -1), rtol=tolerance, atol=tolerance)
    both = run(record={"moment": Moment(jnp.asarray(2.0)), "states": States()})
    assert both.states is None and both.rates is None
    np.testing.assert_array_equal(both.records["states"], plain.states)
    np.testing.assert_array_equal(both.final, plain.final)


def test_a_run_is_a_dataset_and_knows_its_interval():
    run = simulate(_network(), X0, duration=1.0, dt=0.04, save_every=3)
    assert run.interval == pytest.approx(0.12)
    data = run.to_xarray()
    assert dict(data.sizes) == {"times": 9, "trajectory": 3, "unit": N}
    np.testing.assert_array_equal(data.rates.isel(trajectory=1), run.rates[:, 1])
    np.testing.assert_allclose(data.times, 0.12 * np.arange(9))
    assert data.rates.dims == ("times", "trajectory", "unit") and data.final.dims == ("trajectory", "unit")


def test_other_numbers_compile_little():
    """Another network, start, step or key compiles nothing, and another number of kept times the rates alone."""
    run = lambda seed, **options: simulate(_network(_coupling(seed), noise=0.3), X0 + seed, save_every=2, **options)
    run(0, duration=10.0, key=KEY)
    with compilations() as programs:
        run(1, duration=10.0, key=jax.random.key(1), dt=0.05, t0=3.0)
    assert set(programs) <= {"jit(stage)", "jit(_threefry_seed)"}  # of arguments
    with compilations() as programs:
        longer = run(0, duration=10.5, key=KEY)
    assert set(programs) <= {"jit(stage)", "jit(_rates)"}
    assert longer.states.shape == (105, 3, N)


def test_sparse_couplings_are_their_dense_matrix():
    matrix = scipy.sparse.random_array((N, N), density=0.3, rng=RNG, data_sampler=RNG.standard_normal)
    sparse, dense = RateNetwork(matrix, Tanh()), RateNetwork(matrix.toarray(), Tanh())
    runs = [simulate(net, X0, duration=1.0).states for net in (sparse, dense)]
    np.testing.assert_allclose(*runs, atol=1e-13)
    A, B, x = sparse.jacobian(X0[0]), dense.jacobian(X0[0]), jnp.asarray(X0[1])
    np.testing.assert_allclose(A @ x, B @ x, atol=1e-13)
    np.testing.assert_allclose(A.T @ x, B.T @ x, atol=1e-13)


# --- shapes and precisions


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [heun, Adaptive()])
def test_many_states_are_a_loop(scheme):
    net, x0 = _network(), RNG.standard_normal((2, 3, N))
    run = simulate(net, x0, duration=2.0, save_every=8, scheme=scheme)
    assert run.states.shape == (5, 2, 3, N) and run.finite.shape == (2, 3)
    one = simulate(net, x0[1, 2], duration=2.0, save_every=8, scheme=scheme)
    assert one.states.shape == (5, N) and one.finite.shape == ()
    np.testing.assert_allclose(run.states[:, 1, 2], one.states, atol=1e-11)
    np.testing.assert_allclose(run.final[1, 2], one.final, atol=1e-11)


MODES = DeepHebbian(0.4, 0.5, (1.0,))


@pytest.mark.parametrize(
    ("ensemble", "scheme"),
    [(IID(1.5), heun), (MODES, heun), (IID(0.5) + MODES, rk4), pytest.param(MODES, Adaptive(), marks=pytest.mark.slow)],
)
def test_batches_of_networks_are_a_loop(ensemble, scheme):
    keys = jax.random.split(KEY, 2)
    batch = jax.vmap(lambda key: ensemble.sample(N, key=key))(keys)
    x0 = RNG.standard_normal((2, 3, N))
    run = simulate(_network(batch), x0, duration=2.0, save_every=8, scheme=scheme)
    several = simulate(_network(batch), x0[:, 0], duration=2.0, save_every=8, scheme=scheme)
    assert run.states.shape == (5, 2, 3, N) and several.states.shape == (5, 2, N)
    np.testing.assert_allclose(several.states, run.states[:, :, 0], atol=1e-11)
    one = simulate(_network(ensemble.sample(N, key=keys[1])), x0[1], duration=2.0, save_every=8, scheme=scheme)
    np.testing.assert_allclose(run.states[:, 1], one.states, atol=1e-11)
    np.testing.assert_allclose(run.final[1], one.final, atol=1e-11)


def test_modes_are_their_dense_matrix():
    modes = DeepHebbian(0.4, 0.5, (1.0,)).sample(N, key=KEY)
    run, dense = (simulate(_network(J), X0, duration=2.0) for J in (modes, modes.dense()))
    np.testing.assert_allclose(run.states, dense.states, atol=1e-12)


@pytest.mark.parametrize("scheme", [rk4, pytest.param(Adaptive(), marks=pytest.mark.slow)])
def test_single_precision(scheme):
    single = _network(_coupling().dense().astype(jnp.float32), input=0.3)
    run, exact = (simulate(net, X0, duration=2.0, scheme=scheme) for net in (single, _network(input=0.3)))
    assert {run.times.dtype, run.states.dtype, run.rates.dtype, run.final.dtype} == {jnp.dtype("float32")}
    np.testing.assert_allclose(run.states, exact.states, atol=2e-5)  # 40 steps of 1e-7


def test_noise_in_single_precision():
    net = _network(_coupling().dense().astype(jnp.float32), input=None, noise=0.2)
    assert simulate(net, X0, duration=0.5, key=KEY).states.dtype == jnp.float32


@pytest.mark.slow
def test_under_transformations():
    net = _network(noise=0.3)
    run = partial(simulate, duration=3.05, discard=0.45, save_every=4, key=KEY)
    plain, traced = run(net, X0), jax.jit(lambda x0: run(net, x0))(X0)
    np.testing.assert_allclose(traced.states, plain.states, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(traced.final, plain.final, rtol=1e-12, atol=1e-12)
    assert traced.end == plain.end and traced.finite.all()

    one = lambda x0, tau: run(_network(tau=tau), x0).states
    taus = jnp.stack([jnp.asarray(TAU), jnp.asarray(2 * TAU)])
    mapped = jax.jit(jax.vmap(one))(X0[:2], taus)
    for k in range(2):
        np.testing.assert_allclose(mapped[k], one(X0[k], taus[k]), rtol=1e-12, atol=1e-12)
    wide = jax.jit(lambda x0: run(net, x0, save_every=40, record=Moment(jnp.asarray(2.0))).records)(X0)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-12),
        wide,
        run(net, X0, save_every=40, record=Moment(jnp.asarray(2.0))).records,
    )


# --- gradients


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [3, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 40))])
def test_gradients_against_differences(save_every):
    weights = jnp.asarray(RNG.standard_normal((3, N)))

    def loss(parts):
        x0, J, gain, tau, sigma = parts
        net = RateNetwork(J, Tanh(), noise=sigma, input=_drive, tau=tau, row_gains=gain)
        run = simulate(net, x0, duration=2.05, discard=0.3, save_every=save_every, key=KEY)
        return jnp.sum(weights * run.final) + jnp.sum(run.rates**2)

    parts = tuple(jnp.asarray(a) for a in (X0, _coupling().dense(), ROW_GAINS, TAU, SIGMA))
    gradients = jax.grad(loss)(parts)
    loss = jax.jit(loss)
    for k, (part, gradient) in enumerate(zip(parts, gradients, strict=True)):
        direction, step = jnp.asarray(RNG.standard_normal(part.shape)), 1e-5
        sides = [loss(parts[:k] + (part + s * direction,) + parts[k + 1 :]) for s in (step, -step)]
        np.testing.assert_allclose(jnp.sum(gradient * direction), (sides[0] - sides[1]) / (2 * step), rtol=1e-6)


@pytest.mark.slow
def test_gradients_of_adaptive_steps():
    def final(x0, scheme, dt):
        return jnp.sum(simulate(_network(), x0, duration=2.0, dt=dt, scheme=scheme).final[0])

    adaptive = jax.grad(final)(jnp.asarray(X0), Adaptive(rtol=1e-9, atol=1e-10), 0.05)
    np.testing.assert_allclose(adaptive, jax.grad(final)(jnp.asarray(X0), rk4, 0.01), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [1, 10**6])
def test_memory_of_the_gradient_grows_as_the_root_of_time(save_every):
    net = _network()

    def memory(steps):
        def loss(x0):
            run = simulate(net, x0, duration=steps * 0.05, save_every=save_every, record=Final())
            return jnp.sum(run.final)

        x0 = jax.ShapeDtypeStruct((400, N), jnp.float64)
        return jax.jit(jax.grad(loss)).lower(x0).compile().memory_analysis().temp_size_in_bytes

    growth = memory(6400) / memory(400)
    assert growth < 8  # 4 by the square root, 16 without checkpoints


class Final(eqx.Module):
    """A recorder that keeps nothing."""

    def init(self, x, rates):
        return None

    def update(self, carry, x, rates):
        return None, None

    def finish(self, carry, outputs):
        return None


# --- failures


def _runaway():
    return RateNetwork(8 * np.eye(N), ReLU())


def test_overflow_is_reported():
    x0 = np.stack([np.ones(N), -np.ones(N), np.ones(N)])
    with pytest.warns(RuntimeWarning, match="2 of 3 trajectories did not stay finite, first at the kept") as seen:
        run = simulate(_runaway(), x0, duration=200.0, save_every=10)
    np.testing.assert_array_equal(run.finite, [False, True, False])
    lost = np.asarray(run.times)[~np.isfinite(run.states).all((1, 2))][0]
    assert f"kept time {lost:.6g}" in str(seen[0].message)
    traced = jax.jit(lambda x0: simulate(_runaway(), x0, duration=200.0, save_every=10))(x0)
    np.testing.assert_array_equal(traced.finite, [False, True, False])


@pytest.mark.slow
def test_running_out_of_steps_is_reported():
    scheme = Adaptive(max_steps=20)
    with pytest.warns(RuntimeWarning, match="1 of 1 trajectories .* max_steps = 20 steps, first at the kept time"):
        run = simulate(_network(), X0[0], duration=500.0, scheme=scheme, save_every=5)
    assert not run.finite and np.isnan(run.final).all()
    assert np.isfinite(run.states[0]).all() and np.isnan(run.states[-1]).all() and np.isnan(run.rates[-1]).all()


def test_traced_noise_without_a_key_is_nan():
    final = jax.jit(lambda sigma: simulate(_network(noise=sigma), X0, duration=0.5).final)
    assert np.isnan(final(0.1)).all()
    np.testing.assert_allclose(final(0.0), simulate(_network(), X0, duration=0.5).final, rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": np.zeros(N + 1)}, r"`x0` must have shape \(\.\.\., 12\), got \(13,\)"),
        ({"x0": np.zeros((0, N))}, "`x0` must have shape"),
        ({"x0": 1.0}, "`x0` must have shape"),
        ({"x0": np.full(N, np.nan)}, "`x0` must be finite"),
        ({"x0": np.zeros(N) * 1j}, "`x0`"),
        ({"dt": 0.0}, "`dt` must be > 0"),
        ({"dt": 1.0}, rf"`dt` must be at most half of the shortest time constant, tau\[{TAU.argmin()}\]"),
        ({"dt": np.ones(2)}, "`dt` must be a finite number"),
        ({"duration": 0.0}, "`duration` must be > 0"),
        ({"duration": np.inf}, "`duration` must be a finite number"),
        ({"discard": 1.0}, "`discard` must lie in"),
        ({"discard": -0.1}, "`discard` must lie in"),
        ({"discard": 0.99, "dt": 0.1}, "`discard` must leave a kept time"),
        ({"save_every": 0}, "`save_every` must be a whole number"),
        ({"save_every": 1.5}, "`save_every` must be a whole number"),
        ({"t0": "now"}, "`t0` must be a finite number"),
        ({"net": _network(noise=SIGMA)}, "`key` must be a random key"),
        ({"net": _network(noise=SIGMA), "key": 0}, r"`key` must be one random key, .* got int 0"),
        (
            {"net": _network(input=lambda t: np.sin(float(t)))},
            "`input` must be made of functions of `jax.numpy`.*line",
        ),
        ({"net": _network(noise=0.1), "scheme": Adaptive(), "key": KEY}, "`scheme` must be a fixed-step scheme"),
        (
            {"net": _network(input=lambda t: jnp.ones(N + 1))},
            "`input` must give a number or an array",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    settings = {"net": _network(), "x0": X0[0], "duration": 1.0, **arguments}
    with pytest.raises(ValueError, match=message):
        simulate(settings.pop("net"), settings.pop("x0"), **settings)


def test_bad_shapes_of_batches():
    batch = jax.vmap(lambda key: IID(1.0).sample(N, key=key))(jax.random.split(KEY, 2))
    for x0 in (X0[0], X0, np.zeros((3, 2, N))):
        with pytest.raises(ValueError, match=r"`x0` must have shape \(2, \.\.\., 12\)"):
            simulate(_network(batch), x0, duration=1.0)


@pytest.mark.parametrize("settings", [{"rtol": 0.0}, {"atol": -1.0}, {"max_steps": 0}, {"solver": "Tsit5"}])
def test_bad_adaptive(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must"):
        Adaptive(**settings)


def test_lengths_must_be_known():
    with pytest.raises(ValueError, match="`duration` must be known"):
        jax.jit(lambda duration: simulate(_network(), X0, duration=duration).final)(1.0)


def test_progress_is_silent_on_short_runs(capfd):
    simulate(_network(), X0, duration=1.0)
    assert capfd.readouterr() == ("", "")


def test_a_key_without_noise_changes_nothing():
    with warnings.catch_warnings():
        run, keyed = simulate(_network(), X0, duration=1.0), simulate(_network(), X0, duration=1.0, key=KEY)
    np.testing.assert_array_equal(run.states, keyed.states)


# --- a known value


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "expected"), [(2.0, 0.513178), (3.0, 0.680691)])
def test_variance_of_chaotic_rates(gain, expected):
    """C^phi(0) of an i.i.d. tanh network by dynamic mean field theory; 4000 units and 200 tau scatter by under 1%."""
    n, found = 4000, []
    for seed in range(3):
        key, start = jax.random.split(jax.random.key(seed))
        net = RateNetwork(IID(gain).sample(n, key=key, dtype=jnp.float32), Tanh())
        x0 = jax.random.normal(start, (2, n), jnp.float32)
        run = simulate(net, x0, duration=300.0, discard=100.0, save_every=20)
        found.append(float(jnp.mean(run.rates**2)))
    assert abs(np.mean(found) / expected - 1) < 0.02
