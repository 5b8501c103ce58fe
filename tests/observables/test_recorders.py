"""Recorders that reduce while a simulation runs, against the same measurements on the record kept whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import observables as obs
from jaxnets.observables import online

TIMES, TRAJECTORIES, N = 37, 3, 5


def record(seed=0, batch=(TRAJECTORIES,), mean=2.0, dtype=float):
    """States far from zero, and their rates."""
    steps = np.random.default_rng(seed).standard_normal((TIMES, *batch, N))
    x = jnp.asarray(mean + np.cumsum(steps, axis=0) / 3, dtype)
    return x, jnp.tanh(x)


def run(recorder, x, rates):
    """What a simulation does with a recorder."""
    carry = recorder.init(x[0], rates[0])
    carry, outputs = jax.lax.scan(lambda carry, at: recorder.update(carry, *at), carry, (x, rates))
    return recorder.finish(carry, outputs)


PATTERNS = np.random.default_rng(1).standard_normal((N, 2)).T


def lags(x, num, centre=True):
    return obs.autocovariance(x, 1.0, max_lag=num - 1.0, centre=centre).values


def moments(x):
    axes = tuple(range(x.ndim - 1))
    return online.Moments(jnp.mean(x, axes), jnp.var(x, axes))


# Recorder, and what it should give for the record.
CASES = {
    "means": (online.Means(), lambda x, r: online.Recorded(moments(x), moments(r))),
    "covariance": (online.Covariance(), lambda x, r: obs.covariance(r)),
    "covariance of states": (online.Covariance(states=True), lambda x, r: obs.covariance(x)),
    "one lag": (online.Autocovariance(1), lambda x, r: online.Recorded(lags(x, 1), lags(r, 1))),
    "lags": (online.Autocovariance(9), lambda x, r: online.Recorded(lags(x, 9), lags(r, 9))),
    "all lags": (online.Autocovariance(TIMES), lambda x, r: online.Recorded(lags(x, TIMES), lags(r, TIMES))),
    "about zero": (
        online.Autocovariance(9, centre=False),
        lambda x, r: online.Recorded(lags(x, 9, False), lags(r, 9, False)),
    ),
    "overlaps": (online.Overlaps(PATTERNS), lambda x, r: obs.overlaps(PATTERNS, r)),
    "units": (online.Units([3, 0]), lambda x, r: online.Recorded(x[..., jnp.array([3, 0])], r[..., jnp.array([3, 0])])),
    "projections": (
        online.Projections(PATTERNS.T),
        lambda x, r: online.Recorded(*(N * obs.overlaps(PATTERNS, z) for z in (x, r))),
    ),
}


def assert_same(found, expected, **tolerances):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerances), found, expected)


@pytest.mark.parametrize("batch", [(), (2, 2)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_recorder_gives_what_the_record_gives(name, batch):
    recorder, expected = CASES[name]
    x, rates = record(batch=batch)
    found = jax.jit(lambda x, rates: run(recorder, x, rates))(x, rates)
    assert_same(found, jax.jit(expected)(x, rates), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_batches_of_networks(name):
    recorder, expected = CASES[name]
    x, rates = (jnp.stack(z) for z in zip(record(2), record(3), strict=True))
    mapped = jax.jit(jax.vmap(lambda x, rates: run(recorder, x, rates)))(x, rates)
    alone = jax.jit(expected)
    one_by_one = jax.tree.map(lambda *parts: np.stack(parts), *(alone(*one) for one in zip(x, rates, strict=True)))
    assert_same(mapped, one_by_one, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["means", "covariance of states", "lags"])
def test_a_large_mean_does_not_swamp_the_fluctuations_in_float32(name):
    recorder, expected = CASES[name]
    x, rates = record(mean=1000.0, dtype=jnp.float32)
    found = run(recorder, x, rates)
    jax.tree.map(lambda part: np.testing.assert_(part.dtype == jnp.float32), found)
    # The states themselves have lost 1000 eps of fluctuations of size 1: squares about zero would lose 1e6 eps = .1.
    assert_same(found, expected(x.astype(float), rates.astype(float)), rtol=3e-4, atol=3e-4)


@pytest.mark.parametrize("name", ["means", "covariance", "lags"])
def test_memory_does_not_grow_with_time(name):
    recorder, _ = CASES[name]
    x, rates = record()
    carry = recorder.init(x[0], rates[0])
    after, output = recorder.update(carry, x[0], rates[0])
    assert output is None
    assert jax.tree.map(lambda z: (z.shape, z.dtype), after) == jax.tree.map(lambda z: (z.shape, z.dtype), carry)


def test_too_few_times_show_as_nan():
    x, rates = record()
    found = run(online.Autocovariance(6), x[:4], rates[:4])
    np.testing.assert_allclose(found.states[:4], lags(x[:4], 4), rtol=1e-11)
    assert np.all(np.isnan(found.states[4:])) and np.all(np.isnan(found.rates[4:]))
    never = online.Means().finish(online.Means().init(x[0], rates[0]), None)
    assert np.all(np.isnan(never.states.variance)) and np.all(np.isnan(never.rates.mean))


def test_ten_thousand_units():
    n, recorder = 10_000, online.Autocovariance(20)
    decays = jnp.asarray(np.linspace(0.5, 0.9, n))

    def step(state, _):
        x, carry = state
        carry, _ = recorder.update(carry, x, jnp.tanh(x))
        return (-decays * x, carry), None

    start = jnp.ones(n)
    (_, carry), _ = jax.lax.scan(step, (start, recorder.init(start, start)), None, length=40)
    x = np.asarray(start)[None] * (-np.asarray(decays)) ** np.arange(40)[:, None]
    assert_same(recorder.finish(carry, None).states, lags(x, 20), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: online.Autocovariance(0), "`num_lags` must be a whole number >= 1"),
        (lambda: online.Autocovariance(2.5), "`num_lags`"),
        (lambda: online.Overlaps(np.ones((2, N + 1))).init(*(z[0] for z in record())), "`patterns` must have shape"),
        (lambda: online.Overlaps("none"), "`patterns`"),
        (lambda: online.Units([[0]]), "`indices` must be a non-empty 1-d array"),
        (lambda: online.Units([0.5]), "`indices` must be a non-empty 1-d array"),
        (lambda: online.Units([]), "`indices` must be a non-empty 1-d array"),
        (lambda: online.Units([-1]), "`indices` must be whole numbers >= 0"),
        (lambda: online.Units([N]).init(*(z[0] for z in record())), "`indices` must be below the number of units, 5"),
        (lambda: online.Projections(np.ones(N)), "`directions` must have shape (n, P)"),
        (
            lambda: online.Projections(np.ones((4, 2))).init(*(z[0] for z in record())),
            "must have shape (5",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
