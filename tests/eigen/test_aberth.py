"""Hessenberg reduction and Ehrlich-Aberth iteration, against LAPACK and by residuals; quantiles of a law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.optimize import linear_sum_assignment

from jaxnets import couplings
from jaxnets.eigen import aberth, batched_eigenvalues, block_solver, recurrence, values
from jaxnets.eigen import guesses as starts
from jaxnets.eigen.aberth import hessenberg_eigenvalues
from jaxnets.eigen.hessenberg import hessenberg
from jaxnets.spectra import law, quantiles

EPS = np.finfo(float).eps


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def _distance(found, expected):
    """The largest distance in the best one-to-one matching: a repeated value does not stand for a missing one."""
    gaps = np.abs(np.asarray(found)[:, None] - np.asarray(expected)[None])
    return gaps[linear_sum_assignment(gaps)].max()


def _backward_error(matrix, values):
    """The largest distance, in machine precisions of the norm, to a matrix that has one of the values."""
    shifted = matrix[None] - np.asarray(values)[:, None, None] * np.eye(len(matrix))[None]
    return np.linalg.svd(shifted, compute_uv=False)[:, -1].max() / (EPS * np.linalg.norm(matrix, 2))


_solve = jax.jit(jax.vmap(lambda matrix: hessenberg_eigenvalues(hessenberg(matrix))))


def _cases(n):
    """Real matrices of all kinds that the iteration must solve itself."""
    square, half = _normal(0, n, n), _normal(1, n // 2, n // 2)
    low = _normal(2, n, 5) @ _normal(3, 5, n)
    span, _ = np.linalg.qr(square)
    down = np.diag(np.ones(n - 1), -1)
    companion = down.copy()
    companion[:, -1] = _normal(4, n)
    slopes = 1 / np.cosh(_normal(5, n)) ** 2
    return {
        "i.i.d.": square,
        "tiny": 1e-200 * square,
        "huge": 1e150 * square,
        "gains": square * slopes,
        "symmetric": square + square.T,
        "antisymmetric": square - square.T,
        "orthogonal": span,
        "companion": companion,
        "cyclic": np.roll(np.eye(n), 1, 0),
        "rank 5": low,
        "ones": np.ones((n, n)),
        "zero": np.zeros((n, n)),
        "identity": np.eye(n),
        "diagonal": np.diag(_normal(8, n)),
        "upper triangular": np.triu(square),
        "defective, triangular": np.eye(n) + down.T,
        "Toeplitz": scipy.linalg.toeplitz(_normal(9, n), _normal(10, n)),
        "Grcar": sum(np.diag(np.ones(n - k), k) for k in range(4)) - down,
        "two equal blocks": scipy.linalg.block_diag(half, half),
        "shifted far": square + 1e3 * np.eye(n),
        "cluster far from 0": np.eye(n) + 1e-9 * square,
        "rank 5 and noise": low + 1e-9 * square,
        "graded": square * np.logspace(0, -15, n)[:, None],
        "graded both ways": square * np.logspace(0, -6, n)[:, None] * np.logspace(0, -6, n)[None],
        "steep gains": square / np.cosh(5 * _normal(5, n)) ** 2,
    }


@pytest.mark.parametrize("n", [1, 3, 35, 70])
def test_hessenberg_form(n):
    """The form, and a similarity by an orthogonal matrix: norms and eigenvalues stay."""
    A = np.stack([_normal(n, n, n), np.triu(_normal(n + 1, n, n), -1), np.zeros((n, n))])
    H = np.asarray(jax.jit(jax.vmap(hessenberg))(A))
    assert np.all(np.tril(H, -2) == 0)
    tolerance = 10 * n * EPS
    for a, h in zip(A, H, strict=True):
        np.testing.assert_allclose(np.linalg.norm(h), np.linalg.norm(a), rtol=tolerance)
        # Up to signs the form is unique, once its first vector is.
        reference = scipy.linalg.hessenberg(a)
        scale = np.linalg.norm(a)
        np.testing.assert_allclose(np.trace(h @ h @ h), np.trace(a @ a @ a), atol=tolerance * scale**3)
        np.testing.assert_allclose(np.abs(np.diagonal(h)[:5]), np.abs(np.diagonal(reference)[:5]), atol=1e-10)


def test_hessenberg_form_by_panels_of_trailing_columns(monkeypatch):
    """The matrix is cut to the columns that are left, as it is from 258 rows on."""
    monkeypatch.setattr("jaxnets.eigen.hessenberg._PANEL", 3)
    monkeypatch.setattr("jaxnets.eigen.hessenberg._CUT", 2)
    n = 11
    A = _normal(14, n, n)
    H = np.asarray(jax.jit(lambda A: hessenberg(A))(A))
    assert np.all(np.tril(H, -2) == 0)
    np.testing.assert_allclose(np.abs(H), np.abs(scipy.linalg.hessenberg(A)), atol=1e-12)


def _half_real(n):
    """Half of the eigenvalues real, k + 1/2, and half of them k +- i."""
    V = np.eye(n) + 0.3 * _normal(0, n, n) / np.sqrt(n)
    blocks = [np.array([[k, 1.0], [-1.0, k]]) for k in range(n // 4)]
    return V @ scipy.linalg.block_diag(np.diag(np.arange(n // 2) + 0.5), *blocks) @ np.linalg.inv(V)


# The small size has small blocks, and its last pairs are not taken on in arrays of their own: a third of the compiling.
@pytest.fixture(scope="module", params=[8, pytest.param(24, marks=pytest.mark.slow)])
def solved(request):
    """All cases, and some that are not to converge, as one batch: matrix and roots of each."""
    n = request.param
    with pytest.MonkeyPatch.context() as patch:
        if n == 8:
            patch.setattr("jaxnets.eigen.recurrence._BLOCK", 8)
            patch.setattr("jaxnets.eigen.block_solver._STEP", 2)
        return _solved(n)


def _solved(n):
    span, _ = np.linalg.qr(_normal(0, n, n))
    jordan = span @ (np.eye(n) + np.diag(np.ones(n - 1), 1)) @ span.T
    others = {"half real": _half_real(n), "defective": jordan, "not finite": np.full((n, n), np.nan)}
    cases = _cases(n) | others
    roots = jax.device_get(_solve(np.stack(list(cases.values()))))
    return {name: (J, jax.tree.map(lambda x, i=i: x[i], roots)) for i, (name, J) in enumerate(cases.items())}


@pytest.mark.parametrize("name", _cases(4))
def test_cases_against_lapack(solved, name):
    matrix, roots = solved[name]
    assert roots.converged
    expected, scale = np.linalg.eigvals(matrix), np.linalg.norm(matrix, 2)
    assert np.all(np.sort_complex(roots.values) == np.sort_complex(roots.values.conj()))
    # Double eigenvalues are known to the root of the precision.
    tolerance = 1e-7 if name == "two equal blocks" else 1e-12
    assert _distance(roots.values, expected) <= tolerance * scale
    if scale > 0:
        unit = matrix / scale
        allowed = 10 * max(1, _backward_error(unit, expected / scale))
        assert _backward_error(unit, roots.values / scale) < allowed


@pytest.mark.parametrize("name", ["zero", "identity", "diagonal", "upper triangular", "defective, triangular"])
def test_isolated_eigenvalues_are_exact(solved, name):
    matrix, roots = solved[name]
    assert np.array_equal(np.sort(roots.values.real), np.sort(np.diagonal(matrix))) and roots.sweeps == 0


def test_real_roots_are_real(solved):
    found = solved["half real"][1].values
    real = found.real[found.imag == 0]
    np.testing.assert_allclose(np.sort(real), np.arange(len(found) // 2) + 0.5, atol=1e-11)
    np.testing.assert_allclose(np.abs(found.imag[found.imag != 0]), 1, atol=1e-11)


@pytest.mark.parametrize("name", ["defective", "not finite"])
def test_failure_is_seen(solved, name):
    assert not solved[name][1].converged


@pytest.mark.slow
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-9), (np.float32, 1e-2)])
def test_recurrence_against_eigenvalues(dtype, tolerance):
    """p'/p is the sum of 1/(z - lambda); the backward error is |p| / |x|, and no less than the least singular value."""
    n = 70
    H = np.asarray(hessenberg(_normal(12, n, n) / np.sqrt(n))).astype(dtype)
    eigenvalues = np.linalg.eigvals(H.astype(float))
    x, y = _normal(13, 2, 12)
    z = np.stack([x + 1j * y, x - 1j * y], 1)
    z[6:] = x[6:, None] + np.array([0.0, 0.5])[None]  # pairs of real points
    matrix = recurrence.separated(jnp.asarray(H), aberth._rms_row(H))
    points = jnp.asarray(z, np.result_type(dtype, np.complex64))
    found = jax.device_get(jax.jit(lambda z: recurrence.evaluated(recurrence.prepared(matrix), z))(points))
    exact = np.sum(1 / (z[..., None] - eigenvalues), -1)
    np.testing.assert_allclose(found.rate, exact, rtol=tolerance)

    def backward_error(w):
        shifted = H.astype(float) - w * np.eye(n)
        x = np.append(np.linalg.solve(shifted[1:, :-1], -shifted[1:, -1]), 1)
        return abs(shifted[0] @ x) / np.linalg.norm(x), np.linalg.svd(shifted)[1][-1]

    exact, least = np.moveaxis([[backward_error(w) for w in pair] for pair in z], -1, 0)
    # sqrt(|x|_1 |x|_inf) is |x|_2, or up to twice as much for delocalised x; |re| + |im| up to sqrt(2) |z|.
    assert np.all(exact >= least) and np.all(found.miss > exact / 2.5) and np.all(found.miss < 1.5 * exact)


def _rows_by_numpy(own, factors, below, state, points):
    """`block_solver.solve_block`, one row after the other, and all divided by two at the end."""
    own, factors, below, state, points = jax.tree.map(np.asarray, (own, factors, below, state, points))
    (a, b, turn), x, entries = (points.first, points.second, points.imaginary), [*state.x, *state.slope], {}
    for i in reversed(range(len(own))):
        entries[i] = x
        zx = [a * x[0] - turn * x[1], turn * x[0] + b * x[1]]
        zx += [a * x[2] - turn * x[3] + x[0], turn * x[2] + b * x[3] + x[1]]
        x = factors.shift[i] * np.array(zx) - sum(own[i, j] * np.array(entries[j]) for j in entries) - below[i]
    half = 0.5 * np.ones_like(state.scale)
    return state._replace(x=x[:2] / 2, slope=x[2:] / 2, scale=half), np.array([entries[i] for i in range(len(own))]) / 2


def test_recurrence_in_groups_of_blocks(monkeypatch):
    """Four groups in two segments, as from 385 rows on, with x scaled after each block."""
    for name, value in (("_BLOCK", 4), ("_GROUP", 1), ("_SEGMENTS", 2)):
        monkeypatch.setattr(recurrence, name, value)

    def solve_block(*arguments):
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (arguments[3], arguments[2]))
        return jax.pure_callback(_rows_by_numpy, shapes, *arguments)

    monkeypatch.setattr(block_solver, "solve_block", solve_block)
    n = 14
    H = np.triu(_normal(15, n, n)) + np.diag(1 + np.abs(_normal(16, n - 1)), -1)
    z = np.array([[0.3 + 1j, 0.3 - 1j], [-0.2, 0.9]])
    solve = lambda H, z: recurrence.evaluated(recurrence.prepared(recurrence.separated(H, jnp.asarray(1.0))), z)
    found = jax.jit(solve)(jnp.asarray(H), jnp.asarray(z))
    np.testing.assert_allclose(found.rate, np.sum(1 / (z[..., None] - np.linalg.eigvals(H)), -1), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernel_against_loop(dtype):
    """The kernel for GPUs, interpreted, does what the loop does, alone and mapped."""
    block, k = 32, 2 * block_solver.LANES
    own = np.triu(_normal(0, block, block) / 4).astype(dtype)
    shift, weight = np.abs(_normal(1, 2, block)).astype(dtype)
    cut = np.where(np.arange(block) % 10 == 0, 0.3, 0).astype(dtype)
    below, rows = _normal(2, block, 4, k).astype(dtype), np.abs(_normal(3, 8, k)).astype(dtype)
    ones = np.ones((2, k), dtype)
    state = block_solver.State(rows[:2], rows[2:4], rows[4:6], rows[6:], np.inf * ones, ones)
    real, (first, second, turn) = (np.arange(k) % 2).astype(dtype), _normal(4, 3, k).astype(dtype)
    points = block_solver.Points(real, first, second, turn * (1 - real))

    def kernel(*arguments):
        return block_solver._in_kernel(*arguments, interpret=True)

    arguments = own, block_solver.Factors(shift, weight, cut), below, state, points
    expected = jax.tree.leaves(jax.jit(block_solver._in_loop)(*arguments))
    tolerance = 100 * np.finfo(dtype).eps
    for found, wanted in zip(jax.tree.leaves(jax.jit(kernel)(*arguments)), expected, strict=True):
        assert np.all(np.isfinite(wanted))
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())
    twice = [jax.tree.map(lambda a: np.stack([a, a]), a) if i % 2 == 0 else a for i, a in enumerate(arguments)]
    mapped = jax.vmap(kernel, in_axes=(0, None, 0, None, 0))(*twice)
    for found, wanted in zip(jax.tree.leaves(mapped), expected, strict=True):
        np.testing.assert_allclose(found[1], wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_small_matrices(n):
    A = np.stack([_normal(10 * n + s, n, n) for s in range(10)])
    roots = _solve(A)
    assert np.all(roots.converged)
    for i in range(10):
        assert _distance(roots.values[i], np.linalg.eigvals(A[i])) < 1e-11


@pytest.mark.slow
def test_fall_back(monkeypatch):
    """Only what has not converged goes to LAPACK; without any, the host is not asked, under `vmap` neither."""
    calls = []
    original = values._mended

    def counted(matrix, values, converged):
        calls.append(np.array(converged))
        return original(matrix, values, converged)

    monkeypatch.setattr(values, "_mended", counted)
    jax.clear_caches()
    n = 8
    span, _ = np.linalg.qr(_normal(0, n, n))
    good = _normal(1, 3, n, n)
    jordan = span @ (np.eye(n) + np.diag(np.ones(n - 1), 1)) @ span.T
    mixed = np.stack([good[0], jordan, np.full((n, n), np.nan)])
    solve = jax.jit(jax.vmap(batched_eigenvalues))

    found = solve(good)
    assert not calls
    for i in range(3):
        assert _distance(found[i], np.linalg.eigvals(good[i])) < 1e-11
    found = solve(mixed)
    assert np.array_equal(calls[0].ravel(), [True, False, False])
    assert np.array_equal(np.sort_complex(found[1]), np.sort_complex(np.linalg.eigvals(jordan)))
    assert np.all(np.isnan(found[2]))
    assert _distance(found[0], np.linalg.eigvals(good[0])) < 1e-11


def test_what_has_not_converged_is_mended():
    matrices = np.concatenate([_normal(7, 3, 4, 4), np.full((1, 4, 4), np.inf)])
    found = values._mended(matrices, np.zeros((4, 4), complex), np.array([False, True, False, False]))
    for i in (0, 2):
        assert np.array_equal(np.sort_complex(found[i]), np.sort_complex(np.linalg.eigvals(matrices[i])))
    assert np.all(found[1] == 0) and np.all(np.isnan(found[3]))


def test_guesses_are_pairs_of_conjugates_and_real_numbers(monkeypatch):
    """Of any points: those above the real axis with their conjugates, and the real parts of the others."""
    monkeypatch.setattr(starts, "with_moduli", lambda guesses, matrix: guesses)
    monkeypatch.setattr(starts, "apart", lambda guesses: guesses)
    n = 7
    find = jax.jit(lambda points: starts.given(points, recurrence.separated(_normal(17, n, n), jnp.asarray(1.0))))
    for points, expected in (
        ([-2, 1 + 1j, 3 - 5j, 0.5, 4 + 2j, 1 - 1j, 4 - 2j], [1 + 1j, 1 - 1j, 4 + 2j, 4 - 2j, -2, 0.5, 3]),
        ([k + 1j for k in range(7)], [0 + 1j, -1j, 1 + 1j, 1 - 1j, 2 + 1j, 2 - 1j, 3]),
        (range(7), range(7)),
    ):
        found = find(np.array(list(points), complex))
        np.testing.assert_array_equal(found.z, np.array(list(expected), complex))
        assert not np.any(found.exact)


def test_guesses_are_in_the_unit_of_the_matrix(monkeypatch):
    monkeypatch.setattr(values, "_batched", lambda matrix, guesses: guesses)
    guesses = _normal(8, 2, 3) + 1j
    for unit in (1.0, 1e3, 1e-200):
        np.testing.assert_allclose(batched_eigenvalues(unit * _normal(9, 3, 3), unit * guesses), unit * guesses)


@pytest.mark.slow
def test_vmap_jit_and_loop_agree():
    A = _normal(3, 2, 3, 8, 8)
    batch = batched_eigenvalues(A)
    mapped = jax.jit(jax.vmap(jax.vmap(batched_eigenvalues)))(A)
    assert batch.shape == mapped.shape == (2, 3, 8)
    for i in np.ndindex(2, 3):
        assert _distance(batch[i], mapped[i]) < 1e-11
        assert _distance(batch[i], batched_eigenvalues(A[i])) < 1e-11


@pytest.mark.slow
def test_guesses_speed_up_and_do_not_matter():
    A = _normal(4, 40, 40) / np.sqrt(40)
    expected = np.linalg.eigvals(A)
    H = jax.jit(hessenberg)(A)
    iterate = jax.jit(hessenberg_eigenvalues)
    near = iterate(H, jnp.asarray(expected * (1 + 1e-6)))
    assert near.converged and near.sweeps <= 3
    assert _distance(near.values, expected) < 1e-12
    for guesses in (np.exp(1j * np.arange(40)), expected[::-1], expected.conj()):
        found = iterate(H, jnp.asarray(guesses))
        assert found.converged
        assert _distance(found.values, expected) < 1e-12


@pytest.mark.slow
def test_single_precision_and_its_refinement():
    A = _normal(5, 8, 8).astype(np.float32)
    expected = np.linalg.eigvals(A.astype(float))
    single = batched_eigenvalues(A)
    assert single.dtype == jnp.complex64
    assert _distance(single, expected) < 1e-3
    refined = batched_eigenvalues(A.astype(float), guesses=single)
    assert refined.dtype == jnp.complex128
    assert _distance(refined, expected) < 1e-11


def test_gradients_are_those_of_eigvals():
    A = _normal(6, 2, 8, 8)

    def energy(solve, scale):
        return jnp.sum(jnp.abs(solve(jnp.sin(scale * A))) ** 3)

    scales = jnp.asarray([1.3, 0.4])
    slopes = jax.jit(jax.vmap(jax.grad(lambda scale: energy(batched_eigenvalues, scale))))(scales)
    step = 1e-5
    for scale, slope in zip(scales, slopes, strict=True):
        difference = energy(np.linalg.eigvals, scale + step) - energy(np.linalg.eigvals, scale - step)
        np.testing.assert_allclose(slope, difference / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones((2, 3)),), "`J` must be a square matrix"),
        ((np.full((2, 2), np.nan),), "`J` must be finite"),
        ((1j * np.ones((2, 2)),), "`J` must be real"),
        ((np.zeros((0, 0)),), "`J` must have at least one row"),
        ((np.eye(3), np.ones(2)), "`guesses` must have the last axis 3"),
        ((np.ones((2, 3, 3)), np.ones((4, 3))), "`guesses` of shape .* must broadcast"),
        ((np.eye(2), np.array([1, np.inf])), "`guesses` must be finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        batched_eigenvalues(*arguments)


# --- points distributed as a law


@pytest.mark.slow
def test_quantiles_of_a_disc():
    """|z|^2 / g^2 and the angle of i.i.d. couplings are uniform."""
    n = 401
    z = np.asarray(quantiles(law(couplings.IID(g=1.5)), n))
    assert z.shape == (n,)
    assert np.array_equal(np.sort_complex(z), np.sort_complex(z.conj())) and np.sum(z.imag == 0) == 1
    place = (np.arange(n) + 0.5) / n
    # A cell of the grid is 1/32 of the radius wide.
    assert np.abs(np.sort(np.abs(z / 1.5)) ** 2 - place).max() < 0.03
    upper = np.sort(np.angle(z[z.imag > 0])) / np.pi
    assert np.abs(upper - (np.arange(len(upper)) + 0.5) / len(upper)).max() < 0.03


def test_quantiles_of_a_symmetric_law():
    """Wigner's semicircle: exact quantiles, to the width of the cells."""
    n = 50
    z = np.asarray(quantiles(law(couplings.Elliptic(g=1.0, symmetry=1.0)), n))
    assert np.all(z.imag == 0)
    x = np.sort(z.real) / 2
    cumulated = 0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi
    np.testing.assert_allclose(cumulated, (np.arange(n) + 0.5) / n, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 800])
def test_quantiles_leave_voids_and_count_zeros(n):
    """load .5, no autoassociation: half of the eigenvalues are 0, none lies within gamma (1 - alpha)^(3/2)."""
    z = np.asarray(jax.jit(quantiles, static_argnums=1)(law(couplings.DeepHebbian(0.5, 0.0, (1.0,))), n))
    assert np.sum(z == 0) == n // 2
    radius = np.abs(z[z != 0])
    cell = 2 * 1.5**0.5 / 64
    assert radius.min() > 0.5**1.5 - cell and radius.max() < 1.5**0.5 + cell
    # The fraction F of eigenvalues inside r, zeros counted: r = (2 F - 1 + load) sqrt(F / (F + load)).
    fraction = 0.5 + (np.arange(n // 2) + 0.5) / n
    exact = (2 * fraction - 1 + 0.5) * np.sqrt(fraction / (fraction + 0.5))
    np.testing.assert_allclose(np.sort(radius), exact, atol=13 / n)


# --- larger networks


def _networks(n):
    modes = couplings.RandomModes
    deep = couplings.DeepHebbian
    return {
        "i.i.d.": couplings.IID(g=1.0),
        "elliptic": couplings.Elliptic(g=1.0, symmetry=-0.7),
        "nearly symmetric": couplings.Elliptic(g=1.0, symmetry=0.99),
        "deep-Hebbian": deep(load=1.5, auto=1.0, hetero=(1.0,)),
        "void": deep(load=0.5, auto=0.0, hetero=(1.0,)),
        "ring": deep(load=1.5, auto=0.0, hetero=(1.0,)),
        "d = 2": deep(load=1.2, auto=0.5, hetero=(0.5, 0.5)),
        "four lobes": deep(load=2.0, auto=0.0, hetero=(0.0, 1.0)),
        "exponential modes": modes(amplitudes=np.exp(-np.arange(n) / (0.1 * n)), load=1.0, overlap=0.5),
        "steeper modes": modes(amplitudes=np.exp(-np.arange(n) / (0.03 * n)), load=1.0),
    }


@pytest.mark.slow
@pytest.mark.parametrize("n", [128, 200])
def test_networks_against_lapack(n):
    """Dense matrices, with and without gains, and with n (1 - load) zeros: all converge, in few sweeps."""
    samples = {
        name: np.asarray(ensemble.sample(n, key=jax.random.key(1)).dense()) for name, ensemble in _networks(n).items()
    }
    slopes = {f"{name}, gains": J / np.cosh(_normal(11, n)) ** 2 for name, J in samples.items()}
    samples |= slopes
    roots = _solve(np.stack(list(samples.values())))
    for i, (name, J) in enumerate(samples.items()):
        expected = np.linalg.eigvals(J)
        assert roots.converged[i] and roots.sweeps[i] <= 30, name
        assert _distance(roots.values[i], expected) < 1e-11 * np.linalg.norm(J, 2), name
        shown = np.random.default_rng(0).permutation(n)[:20]
        allowed = 10 * max(1, _backward_error(J, expected[shown]))
        assert _backward_error(J, np.asarray(roots.values[i])[shown]) < allowed, name


@pytest.mark.slow
def test_law_as_guess():
    """Quantiles of the law serve as guesses for any sample of its ensemble."""
    n = 100
    ensemble = couplings.DeepHebbian(load=1.5, auto=1.0, hetero=(1.0,))
    guesses = quantiles(law(ensemble), n)
    J = jax.vmap(lambda key: ensemble.sample(n, key=key).dense())(jax.random.split(jax.random.key(0), 8))
    roots = jax.vmap(lambda J: hessenberg_eigenvalues(hessenberg(J), guesses))(J)
    assert np.all(roots.converged)
    for i in range(8):
        assert _distance(roots.values[i], np.linalg.eigvals(J[i])) < 1e-11 * np.linalg.norm(J[i], 2)


@pytest.mark.slow
def test_no_loop_over_the_batch():
    """The compiled program has as many loops for 16 matrices as for 2."""

    def loops(batch):
        text = jax.jit(jax.vmap(lambda J: hessenberg_eigenvalues(hessenberg(J)).values)).lower(
            jax.ShapeDtypeStruct((batch, 50, 50), jnp.float64)
        )
        return text.as_text().count("stablehlo.while")

    assert loops(2) == loops(16)
