"""The engine of fits on problems that are solved in closed form: it knows no physics, and neither do these."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilations import compilations

from jaxnets.couplings import RandomModes
from jaxnets.fitting import (
    Fixed,
    Interval,
    NotIdentifiable,
    Positive,
    Simplex,
    draw_starts,
    fit,
    least_squares,
    profile,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3)) * np.array([1.0, 5.0, 0.2])
Y = X @ np.array([1.0, -2.0, 0.5]) + 0.3 * RNG.standard_normal(40)


def linear(params, x, y):
    return (x @ params["slopes"] - y) / 0.3


def half_squares(residuals):
    def loss(params, *data):
        r = residuals(params, *data)
        return r @ r / 2

    return loss


LINEAR_LOSS = half_squares(linear)


@pytest.mark.parametrize("search", [lambda *a: fit(LINEAR_LOSS, *a), lambda *a: least_squares(linear, *a)])
def test_linear_regression(search):
    found = search({"slopes": np.zeros(3)}, X, Y)
    expected, rss, *_ = np.linalg.lstsq(X, Y, rcond=None)
    covariance = 0.3**2 * np.linalg.inv(X.T @ X)
    assert found.converged and not found.unidentified()
    # A gradient of 1e-6 |loss| leaves this error, at a curvature of 15 or more.
    np.testing.assert_allclose(found.params["slopes"], expected, atol=1e-5)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(found.error["slopes"], np.sqrt(np.diag(covariance)), rtol=1e-8)
    np.testing.assert_allclose(found.loss, rss[0] / 0.3**2 / 2, rtol=1e-8)
    assert found.names == ("slopes[0]", "slopes[1]", "slopes[2]")


def rosenbrock(params):
    x, y = params["x"], params["y"]
    return jnp.stack([1 - x, 10 * (y - x**2)])


def test_rosenbrock():
    start = {"x": -1.2, "y": 1.0}
    found = least_squares(rosenbrock, start)
    assert found.converged and abs(found.params["x"] - 1) + abs(found.params["y"] - 1) < 1e-7
    by_gradient = fit(half_squares(rosenbrock), start)
    assert by_gradient.converged and by_gradient.num_steps < 60
    np.testing.assert_allclose([by_gradient.params["x"], by_gradient.params["y"]], 1, atol=1e-5)
    # H = ((1 + 400, -200), (-200, 100)) at the minimum.
    inverse = np.array([[1, 2], [2, 4.01]])
    for result in (found, by_gradient):
        np.testing.assert_allclose(result.covariance, inverse, rtol=1e-3)
    history = np.asarray(by_gradient.history)
    assert np.isfinite(history[: by_gradient.num_steps]).all() and np.isnan(history[int(by_gradient.num_steps) :]).all()
    assert history[0] == pytest.approx(24.2 / 2) and by_gradient.loss == np.nanmin(history)


def test_other_optimisers():
    found = fit(half_squares(rosenbrock), {"x": 0.5, "y": 0.5}, optimiser=optax.adam(0.05), max_steps=20)
    assert not found.converged and found.num_steps == 20
    long = fit(half_squares(rosenbrock), {"x": 0.5, "y": 0.5}, optimiser=optax.adam(0.05), max_steps=5000)
    assert long.converged and abs(long.params["x"] - 1) < 1e-4


# --- constraints


def poisson(params, counts):
    """Minus the log-likelihood of Poisson counts: the rate is their mean, of variance rate / n."""
    rate = params["rate"]
    return counts.size * rate - jnp.sum(counts) * jnp.log(rate)


def test_positive_parameter():
    counts = RNG.poisson(3.0, 50).astype(float)
    found = fit(poisson, {"rate": 1.0}, counts, transforms={"rate": Positive()})
    assert found.params["rate"] == pytest.approx(counts.mean(), rel=1e-6)
    assert found.error["rate"] == pytest.approx(np.sqrt(counts.mean() / 50), rel=1e-5)


def binomial(params, heads, tosses):
    p = params["p"]
    return -heads * jnp.log(p) - (tosses - heads) * jnp.log1p(-p)


def test_interval_and_profile():
    found = fit(binomial, {"p": 0.5}, 7.0, 50.0, transforms={"p": Interval(0, 1)})
    assert found.params["p"] == pytest.approx(0.14, rel=1e-6)
    assert found.error["p"] == pytest.approx(np.sqrt(0.14 * 0.86 / 50), rel=1e-5)
    values = np.linspace(0.05, 0.3, 401)
    curve = profile(binomial, found, "p", values, 7.0, 50.0)
    for end in (curve.low, curve.high):  # between values a straight line: the error is that of its curvature
        assert binomial({"p": end}, 7.0, 50.0) - found.loss == pytest.approx(0.5, abs=1e-4)
    assert curve.low < 0.14 < curve.high and curve.high - 0.14 > 1.05 * (0.14 - curve.low)
    outside = profile(binomial, found, "p", np.array([0.1, 0.12]), 7.0, 50.0)
    assert np.isnan(outside.high)


@pytest.mark.slow
def test_profile_of_a_linear_model_is_its_standard_error():
    found = least_squares(linear, {"slopes": np.zeros(3)}, X, Y)
    best, error = found.params["slopes"][2], found.error["slopes"][2]
    curve = profile(LINEAR_LOSS, found, "slopes[2]", best + error * jnp.linspace(-2, 2, 9), X, Y)
    assert curve.converged.all()
    np.testing.assert_allclose(curve.losses - found.loss, np.linspace(-2, 2, 9) ** 2 / 2, atol=1e-6)
    np.testing.assert_allclose([curve.low, curve.high], [best - error, best + error], rtol=1e-6)


def multinomial(params, counts):
    return -jnp.sum(counts * jnp.log(params["weights"]))


def test_simplex():
    counts = np.array([10.0, 25.0, 65.0])
    found = fit(multinomial, {"weights": np.full(3, 1 / 3)}, counts, transforms={"weights": Simplex()})
    w = counts / counts.sum()
    np.testing.assert_allclose(found.params["weights"], w, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, (np.diag(w) - np.outer(w, w)) / 100, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("transform", "values"), [(Positive(), [0.1, 3.0]), (Interval(-1, 2), [-0.9, 1.5]), (Simplex(), [0.2, 0.3, 0.5])]
)
def test_transforms_invert(transform, values):
    x = jnp.asarray(values)
    np.testing.assert_allclose(transform.constrain(transform.free(x)), x, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_of_any_free_numbers_can_be_starts(dtype):
    """Searches that run off to a limit, where rounding would put 0, -1, 3 and 1."""
    ends = jnp.array([-2000, 2000], dtype)  # e^2000 is infinite, which no parameter is
    cases = [(Positive(), ends[:1]), (Interval(-1, 3), ends), (Interval(0, 1), ends), (Simplex(), ends)]

    @jax.jit
    def ends_and_back():
        values = [transform.constrain(u) for transform, u in cases]
        return values, [transform.free(x) for (transform, _), x in zip(cases, values, strict=True)]

    for (transform, _), x, u in zip(cases, *ends_and_back(), strict=True):
        assert x.dtype == dtype and np.all(transform.holds(np.asarray(x))) and np.all(np.isfinite(u)), (transform, x)


def test_an_ensemble_is_a_tree_of_parameters():
    """Strength and effective rank of modes of two amplitudes; weights, overlap and load are held."""
    truth = RandomModes([2.0, 0.5], weights=[0.25, 0.75], load=0.5)
    wanted = truth.variance(), truth.effective_rank()

    def misses(ensemble, variance, rank):
        return jnp.stack([ensemble.variance() - variance, ensemble.effective_rank() - rank])

    start = eqx.tree_at(lambda e: e.amplitudes, truth, jnp.array([1.0, 0.2]))
    held = {"weights": Fixed(), "overlap": Fixed(), "load": Fixed(), "amplitudes": Positive()}
    found = least_squares(misses, start, *wanted, transforms=held)
    assert found.converged and isinstance(found.params, RandomModes)
    np.testing.assert_allclose(found.params.amplitudes, [2.0, 0.5], rtol=1e-6)
    assert found.names == ("amplitudes[0]", "amplitudes[1]")
    assert found.error.load == 0 and found.params.load == 0.5


# --- what the data do not determine


def product_only(params):
    return jnp.stack([params["a"] * params["b"] - 6, params["c"] - 1.0])


@pytest.mark.parametrize("search", [least_squares, lambda r, *a, **k: fit(half_squares(r), *a, **k)])
def test_a_flat_direction_is_named(search):
    start = {"a": 2.0, "b": 2.0, "c": 0.0, "unused": 1.0}
    with pytest.warns(NotIdentifiable, match="unused.*a"):
        found = search(product_only, start, transforms={"a": Positive(), "b": Positive()})
    assert found.converged
    assert found.params["a"] * found.params["b"] == pytest.approx(6, rel=1e-6)
    # d(ab) = 0: (da, db) along (a, -b).
    one, other = sorted(found.unidentified(), key=len)
    assert one == "unused"
    assert other in ("0.71 a - 0.71 b", "0.71 b - 0.71 a")
    assert all(np.isinf(found.error[name]) for name in ("a", "b", "unused"))
    assert found.error["c"] == pytest.approx(1.0)


def test_small_units_are_not_flat():
    """Curvatures that differ by 1e10 because of units."""
    units = lambda params: jnp.stack([1e5 * (params["metres"] - 1e-5), params["kilometres"] - 2.0])
    found = least_squares(units, {"metres": 0.0, "kilometres": 0.0})
    assert not found.unidentified()
    np.testing.assert_allclose([found.error["metres"], found.error["kilometres"]], [1e-5, 1])


# --- many starts


def double_well(params):
    """Its lower minimum is near x = -1, and it is not defined beyond 2."""
    x = params["x"]
    return jnp.where(jnp.abs(x) < 2, (x**2 - 1) ** 2 + 0.2 * x, jnp.nan)


@pytest.mark.slow
def test_the_best_of_many_starts():
    starts = {"x": jnp.array([0.9, 3.0, -0.5, 1.5])}
    found = fit(double_well, {"x": 0.9}, starts=starts)
    roots = np.sort(np.roots([4, 0, -4, 0.2]).real)
    assert found.converged and found.params["x"] == pytest.approx(roots[0], abs=1e-6)
    well = lambda x: (x**2 - 1) ** 2 + 0.2 * x
    assert np.isnan(found.losses[1])
    np.testing.assert_allclose(np.delete(found.losses, 1), well(roots[[2, 0, 2]]), rtol=1e-8)
    by_squares = least_squares(lambda p: jnp.log(p["x"])[None], {"x": 1.5}, starts={"x": jnp.array([-1.0, 2.0])})
    assert by_squares.converged and by_squares.params["x"] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("options", [None, {}, {"optimiser": optax.adam(0.1)}])
def test_a_second_fit_is_not_compiled(options):
    traces = []

    def residuals(params, x):
        traces.append(None)
        return params["mean"] - x

    loss = half_squares(residuals)
    search = lambda x: least_squares(residuals, {"mean": 1.0}, x, transforms={"mean": Positive()})
    if options is not None:
        search = lambda x: fit(loss, {"mean": 1.0}, x, transforms={"mean": Positive()}, max_steps=30, **options)
    search(np.array([1.0, 2.0]))
    first = len(traces)
    with compilations() as programs:
        assert float(search(np.array([3.0, 4.0])).params["mean"]) > 1.2 and len(traces) == first
    assert not programs


def test_a_step_to_where_there_are_no_residuals_is_refused():
    """The Gauss-Newton step from 4 leads to -3.96."""
    found = least_squares(lambda p: jnp.sqrt(p["x"])[None] - 0.01, {"x": 4.0})
    assert found.converged and found.params["x"] == pytest.approx(1e-4, rel=1e-4)


def test_no_start_with_a_loss():
    for found in (
        fit(double_well, {"x": 3.0}),
        least_squares(lambda p: jnp.log(p["x"])[None], {"x": -1.0}),
    ):
        assert not found.converged and np.isnan(found.loss) and np.isnan(found.params["x"])
        assert not found.unidentified()


def test_drawn_starts():
    params = {"g": 2.0, "rho": jnp.array([0.5, -0.9])}
    held = {"g": Positive(), "rho": Interval(-1, 1)}
    starts = draw_starts(params, 200, key=jax.random.key(0), spread=0.5, transforms=held)
    assert starts["rho"].shape == (200, 2) and starts["g"][0] == pytest.approx(2.0)
    logs = np.log(starts["g"][1:] / 2)
    # Of 199 draws, four standard errors.
    assert abs(logs.mean()) < 4 * 0.5 / 14 and abs(logs.std() / 0.5 - 1) < 4 / 20
    assert np.all(np.abs(starts["rho"]) < 1)


# --- composition


@pytest.mark.slow
def test_jit_and_vmap_over_data():
    data = jnp.asarray(RNG.standard_normal((4, 40))) + Y[None]
    one = lambda y: least_squares(linear, {"slopes": jnp.zeros(3)}, jnp.asarray(X), y).params["slopes"]
    both = jax.jit(jax.vmap(one))(data)
    np.testing.assert_allclose(both, [one(y) for y in data], rtol=1e-7)  # the search stops at 1e-8
    by_gradient = jax.vmap(lambda y: fit(LINEAR_LOSS, {"slopes": jnp.zeros(3)}, jnp.asarray(X), y).params["slopes"])
    np.testing.assert_allclose(by_gradient(data), both, atol=1e-4)


def test_single_precision():
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    in_single = lambda params, x, y: (x @ params["slopes"] - y) / jnp.float32(0.3)
    found = least_squares(in_single, {"slopes": jnp.zeros(3, jnp.float32)}, x, y, tolerance=1e-4)
    assert found.converged and found.params["slopes"].dtype == jnp.float32
    np.testing.assert_allclose(found.params["slopes"], np.linalg.lstsq(X, Y, rcond=None)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fit(poisson, {"rate": -1.0}, np.ones(3), transforms={"rate": Positive()}), "params: rate.*> 0"),
        (lambda: fit(binomial, {"p": 1.0}, 1.0, 2.0, transforms={"p": Interval(0, 1)}), "params: p.*between 0 and 1"),
        (lambda: fit(multinomial, {"weights": np.ones(3)}, np.ones(3), transforms={"weights": Simplex()}), "sum is 1"),
        (lambda: fit(rosenbrock, {"x": 1.0, "y": 1.0}, transforms={"z": Positive()}), "x, y, got 'z'"),
        (lambda: fit(rosenbrock, {"x": 1.0, "y": 1.0}, transforms={"x": 3.0}), "`Transform`"),
        (lambda: fit(rosenbrock, {"x": 1.0}, transforms={"x": Fixed()}), "not fixed"),
        (lambda: fit(rosenbrock, {"x": 1j}), "real"),
        (lambda: fit(rosenbrock, {"x": np.nan}), "finite"),
        (lambda: fit(rosenbrock, {"x": 1.0}, starts={"x": jnp.ones(())}), "`starts`"),
        (lambda: fit(rosenbrock, {"x": 1.0}, starts={"y": jnp.ones(3)}), "`starts`"),
        (lambda: fit(rosenbrock, {"x": 1.0}, starts={"x": jnp.array([1.0, jnp.inf])}), "starts: x"),
        (lambda: fit(rosenbrock, {"x": 1.0}, max_steps=0), "`max_steps`"),
        (lambda: fit(rosenbrock, {"x": 1.0}, tolerance=0.0), "`tolerance`"),
        (lambda: draw_starts({"x": 1.0}, 0, key=jax.random.key(0)), "`num_starts`"),
        (lambda: draw_starts({"x": 1.0}, 2, key=jax.random.key(0), spread=-1.0), "`spread`"),
        (lambda: Interval(1.0, 0.0), "`high`"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_profiles_refuse_what_they_cannot_hold():
    found = fit(multinomial, {"weights": np.full(2, 0.5)}, np.ones(2), transforms={"weights": Simplex()})
    with pytest.raises(ValueError, match="simplex"):
        profile(multinomial, found, "weights[0]", [0.1, 0.9], np.ones(2))
    with pytest.raises(ValueError, match="`name`"):
        profile(multinomial, found, "load", [0.1, 0.9], np.ones(2))
