"""The same numbers with NumPy and SciPy: short scripts as one would write them for a single point, without JAX.

Each function states its equation once and solves it by a general method. Benchmarks time them beside the package, and
compare the numbers.
"""

import itertools

import contourpy
import numpy as np
from numpy.polynomial import Chebyshev
from scipy.fft import dct, next_fast_len
from scipy.integrate import solve_ivp
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import brentq, fsolve, least_squares, minimize_scalar, root

# --- spectra of deep-Hebbian couplings


def core(auto, hetero, nodes=256):
    """The eigenvalues lambda(theta) of the core."""
    theta = 2 * np.pi * np.arange(nodes) / nodes
    return auto + sum(h * np.exp(-1j * (r + 1) * theta) for r, h in enumerate(hetero))


def image(load, lam, gains, zeta):
    """z and m at points zeta = 1/t outside the support: zeta <G / (z - G r)> = 1; an edge is where m = 1."""
    zeta = np.atleast_1d(zeta)
    r = load * np.mean(lam / (1 - lam / zeta[:, None]), 1)
    z = zeta * np.mean(gains) + r
    for _ in range(60 if gains.size > 1 else 1):
        inverse = 1 / (z[:, None] - gains * r[:, None])
        a, slope = zeta * np.mean(gains * inverse, 1), -zeta * np.mean(gains * inverse**2, 1)
        z = z - (a - 1) / slope if gains.size > 1 else gains[0] * (zeta + r)
    inverse = 1 / (z[:, None] - gains * r[:, None])
    kappa = load * np.mean(np.abs(lam / (1 - lam / zeta[:, None])) ** 2, 1)
    return z, kappa * np.mean(np.abs(gains * inverse) ** 2, 1)


def right_edge(load, auto, hetero, gains=None, lines=24):
    """The largest real part of the support: the rightmost crossing of m = 1 on each horizontal line, then the best."""
    lam, gains = core(auto, hetero), np.ones(1) if gains is None else gains
    far = 2 * (1 + np.sqrt(load)) * np.abs(lam).max() * np.sqrt(np.mean(gains**2)) / np.mean(gains)

    def rightmost(y):
        x = np.linspace(far, -far / 2, 100)
        with np.errstate(all="ignore"):
            inside = image(load, lam, gains, x + 1j * y)[1] > 1
        if not inside.any():
            return -np.inf
        k = np.argmax(inside)
        at = brentq(lambda x: image(load, lam, gains, x + 1j * y)[1][0] - 1, x[k], x[k - 1], xtol=1e-13)
        return image(load, lam, gains, at + 1j * y)[0][0].real

    ys = np.linspace(0, far / 2, lines)
    values = [rightmost(y) for y in ys]
    best = int(np.argmax(values))
    if best == 0 and rightmost(ys[1] / 50) < values[0]:
        return values[0]
    bounds = ys[max(best - 1, 0)], ys[best + 1]
    return -minimize_scalar(lambda y: -rightmost(y), bounds=bounds, method="bounded", options={"xatol": 1e-9}).fun


def real_edge(load, auto, hetero):
    """The right edge where it is known to be real, as for windows that are positive: one equation."""
    lam = core(auto, hetero, 2048)  # at a load of .1, 128 nodes would be off by 2%
    m = lambda x: load * np.mean(np.abs(lam / (x - lam)) ** 2) - 1
    high = 8 * (2 + np.sqrt(load)) * np.abs(lam).mean()
    low = lam.real.max() * (1 + 1e-9)
    x = brentq(m, low, max(high, 2 * (1 + np.sqrt(load)) * low), xtol=1e-13)
    return x + load * np.mean(lam / (1 - lam / x)).real


def tanh_gains(variance, nodes=101):
    """Slopes of tanh at Gaussian inputs, equally likely."""
    from scipy.special import ndtri

    return np.cosh(np.sqrt(variance) * ndtri((np.arange(nodes) + 0.5) / nodes)) ** -2.0


def boundary_areas(load, auto, hetero, cells=300):
    """The areas that the curves of the boundary enclose, the largest first: contours of m = 1, mapped to z."""
    lam = core(auto, hetero, 128)
    far = 1.1 * (1 + np.sqrt(load)) * np.abs(lam).max()
    x = np.linspace(-far, far, cells)
    zeta = x[None] + 1j * x[:, None] + 1e-9
    m = sum(np.abs(one / (zeta - one)) ** 2 for one in lam) * load / lam.size
    areas = []
    for line in contourpy.contour_generator(x, x, np.log(m)).lines(0.0):
        z = image(load, lam, np.ones(1), line[:, 0] + 1j * line[:, 1])[0]
        areas.append(abs(np.sum(np.conj(z) * np.roll(z, -1)).imag) / 2)
    return np.sort(areas)[::-1]


def density(load, auto, hetero, x, y, step=1e-5):
    """The density of eigenvalues at the points of a grid: 2 x 2 equations at each, and their slopes by differences."""
    lam = core(auto, hetero, 64)

    def equations(v, z):
        t, u = v[0] + 1j * v[1], np.exp(v[2])
        Delta = np.abs(1 - lam * t) ** 2 + u * np.abs(lam) ** 2
        s = load * np.mean(lam * (1 - np.conj(lam * t)) / Delta)
        h = load * np.mean(np.abs(lam) ** 2 / Delta)
        D = np.abs(z - s) ** 2 + u * h**2
        error = t - np.conj(z - s) / D
        return [error.real, error.imag, h / D - 1]

    def solved(z, guess):
        v, _, good, _ = fsolve(equations, guess, z, xtol=1e-12, full_output=True)
        return v, good == 1 and v[2] > -12 and np.abs(equations(v, z)).max() < 1e-9

    found = np.zeros((y.size, x.size))
    for j, row in enumerate(y):
        guess = np.zeros(3)
        for k, column in enumerate(x):
            z = column + 1j * row
            v, inside = solved(z, guess)
            if not inside:
                v, inside = solved(z, np.array([z.real, -z.imag, 0.0]) / (load * np.mean(np.abs(lam) ** 2)))
            if inside:
                guess = v
                right, above = solved(z + step, v)[0], solved(z + 1j * step, v)[0]
                found[j, k] = ((right - v)[0] - (above - v)[1]) / step / (2 * np.pi)
    return found


def critical_value(load, auto, low, high):
    """The strength of one shift at which the right edge is 1."""
    return brentq(lambda gamma: right_edge(load, auto, (gamma,)) - 1, low, high, xtol=1e-9)


# --- mean field of tanh networks with independent weights


def stationary(g, nodes=201, degree=50, spacing=0.08):
    """C(0), C^phi(0), beta, tau, C(tau), C^phi(tau): energy condition, and the orbit in l = -ln C/C(0)."""
    z = np.linspace(-9, 9, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def energy(c):
        Phi = np.log(np.cosh(np.sqrt(c) * z))
        return g**2 * (weights @ Phi**2 - (weights @ Phi) ** 2) - c**2 / 2

    c0 = brentq(energy, 1e-3, 2 * g**2, xtol=1e-14)
    beta = weights @ np.cosh(np.sqrt(c0) * z) ** -2
    rate = np.sqrt(1 - (g * beta) ** 2)

    def G(t):  # C^phi = n G(n^2) at correlation n
        n = np.sqrt(t)
        shared = [np.tanh(np.sqrt(c0) * (np.sqrt(m) * z[:, None] + np.sqrt(1 - m) * z)) @ weights for m in n]
        return np.array([weights @ f**2 for f in shared]) / n

    share = Chebyshev.interpolate(G, degree, domain=[0, 1])
    u, gauss = np.polynomial.legendre.leggauss(degree)  # an integral over a small t would lose digits
    mean = Chebyshev.interpolate(lambda t: share(np.outer(t, (u + 1) / 2)) @ gauss / 2, degree, domain=[0, 1])
    last = max(16 / rate, 8 / rate**2)
    tau = np.linspace(0, last, int(last / spacing))

    def force(_, y):
        t = np.exp(-2 * y[0])
        return [y[1], g**2 / c0 * (share(t) - mean(t))]

    orbit = solve_ivp(force, (0, tau[-1]), [0, 0], method="DOP853", t_eval=tau, rtol=1e-9, atol=1e-9)
    n = np.exp(-orbit.y[0])
    return c0, float(share(1.0)), beta, tau, c0 * n, n * share(n**2)


def dimension(g, rank, state=None):
    """PR^phi/N and PR^x/N: cosine transforms, and sums over two frequencies."""
    c0, _, beta, tau, C_x, C_phi = stationary(g) if state is None else state
    rate, last = np.sqrt(1 - (g * beta) ** 2), tau[-1]
    # Sums at the spacing pi / T are exact up to e^{-2 T width}, and the ridge has the width rate^2. Spectra of smooth
    # activity fall exponentially.
    w = np.pi * np.arange(tau.size) / last
    w = w[w < 40 * rate]
    phi, x = (np.concatenate([s[:0:-1], s]) for s in (tau[1] * dct(c, 1)[: w.size] for c in (C_phi, C_x)))
    S = beta / (1 + 1j * np.concatenate([-w[:0:-1], w]))
    ladder = g**2 * np.conj(S)[:, None] * S
    both, pairs = np.abs(ladder) ** 2, 1 / np.abs(1 - ladder) ** 2
    area = (w[1] / (2 * np.pi)) ** 2
    return np.array(
        [
            C_phi[0] ** 2 / (area * phi @ ((1 + both / rank) * pairs) @ phi),
            C_x[0] ** 2 / (area * x @ ((2 + 1 / rank - both) * pairs) @ x),
        ]
    )


def largest_lyapunov(g, spacing=0.02, nodes=151):
    """-1 + sqrt(1 - E0), E0 the lowest eigenvalue of a particle in the well 1 - g^2 <phi' phi'>, by differences."""
    c0, _, beta, tau, C, _ = stationary(g)
    z = np.linspace(-8, 8, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    lags = np.arange(0, tau[-1] / 2, spacing) + spacing / 2  # the ground state is even
    n = np.interp(lags, tau, C / c0)
    grid = np.linspace(0, 1, 100)
    fields = np.sqrt(c0) * (np.sqrt(grid)[:, None, None] * z[:, None] + np.sqrt(1 - grid)[:, None, None] * z)
    slopes = ((np.cosh(fields) ** -2 @ weights) ** 2) @ weights
    diagonal = 2 / spacing**2 + 1 - g**2 * np.interp(n, grid, slopes)
    diagonal[0] -= 1 / spacing**2
    off = np.full(lags.size - 1, -1 / spacing**2)
    E0 = eigh_tridiagonal(diagonal, off, eigvals_only=True, select="i", select_range=(0, 0))[0]
    return -1 + np.sqrt(1 - E0)


def static_state(g, overlap, nodes=201):
    """kappa and the variance of the field, of independent weights with one mode of that overlap."""
    z = np.linspace(-9, 9, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def equations(y):
        x = np.sqrt(y[1]) * z
        slope, power = weights @ np.cosh(x) ** -2, weights @ np.tanh(x) ** 2
        return [overlap * y[0] * slope - y[0], y[0] ** 2 + g**2 * power - y[1]]

    return root(equations, [1.0, 1.0 + g**2], tol=1e-12).x


def static_stability(g, overlap, nodes=201):
    """The edge of the bulk and the outliers at that state: responses of kappa and of the independent field."""
    kappa, variance = static_state(g, overlap)
    z = np.linspace(-9, 9, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    phi = np.tanh(np.sqrt(variance) * z)
    slope = 1 - phi**2
    third = weights @ (-2 * slope * (1 - 3 * phi**2))
    both = weights @ (slope**2 - 2 * phi**2 * slope)  # <(phi phi')'>
    s = np.sqrt(variance - kappa**2)
    M = [
        [overlap * (weights @ slope + kappa**2 * third), overlap * kappa * s * third],
        [g**2 * kappa * both / s, g**2 * both],
    ]
    edge = g * np.sqrt(weights @ slope**2)
    outliers = np.sort(np.linalg.eigvals(M).real)[::-1]
    return np.array([edge, *outliers[outliers > edge]])


# --- memory


def hopfield_averages(load, T, K, lam, signs, nodes=201):
    """The equations of m, q, r with all patterns of a unit and the nodes of the noise."""
    z = np.linspace(-8, 8, nodes)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def equations(y):
        m, q, r = y[:-2], y[-2], y[-1]
        s = np.tanh(((signs @ (K @ m))[:, None] + np.sqrt(load * abs(r)) * z) / T)
        noise = np.mean(lam**2 / (1 - (1 - q) / T * lam) ** 2)
        return [*((s @ weights) @ signs / len(signs) - m), np.mean(s**2 @ weights) - q, q - r / noise]

    return equations


def replica_state(patterns, gamma, load, T):
    """The overlaps with so many condensed patterns, coupled to their neighbours, by SciPy's root from retrieval."""
    theta = 2 * np.pi * np.arange(512) / 512
    signs = np.array(list(itertools.product([1.0], *[[1.0, -1.0]] * (patterns - 1))))  # the other half is its image
    K = np.eye(patterns) + gamma * (np.eye(patterns, k=1) + np.eye(patterns, k=-1))
    equations = hopfield_averages(load, T, K, 1 + 2 * gamma * np.cos(theta), signs)
    return root(equations, [*np.eye(patterns)[patterns // 2], 0.95, 1.0], tol=1e-10).x[:-2]


def capacity(T, halvings=24):
    """The load at which retrieval of the Hopfield model ends: the last one that a root follows, by halving."""
    y, low, high = np.array([0.99, 0.98, 1.1]), 0.01, 0.2
    for _ in range(halvings):
        load = (low + high) / 2
        found = root(hopfield_averages(load, T, np.eye(1), np.ones(1), np.ones((1, 1))), y, tol=1e-11)
        if found.success and found.x[0] > 0.5:
            low, y = load, found.x
        else:
            high = load
    return low


# --- networks


def stable_patterns(J, chunk=2**14):
    """All stable patterns of 0 and 1 by matrix products."""
    n = len(J)
    found = []
    for first in range(0, 2**n, chunk):
        s = ((np.arange(first, first + chunk)[:, None] >> np.arange(n)) & 1).astype(J.dtype)
        stable = np.all((2 * s - 1) * (s @ J.T) > 0, 1)
        found.append(s[stable])
    return np.concatenate(found) == 1


def piecewise_fixed_points(M, N, offset):
    """kappa of all fixed points of a network of rank 2 with max(x, 0): the regions around all crossings of lines."""
    i, j = np.triu_indices(len(M), 1)
    at = np.linalg.solve(M[np.stack([i, j], 1)], -offset[np.stack([i, j], 1)][..., None])[..., 0]
    sides = []
    for a, b in itertools.product([True, False], repeat=2):
        side = at @ M.T + offset > 0
        side[np.arange(i.size), i], side[np.arange(i.size), j] = a, b
        sides.append(side)
    found = []
    for on in np.unique(np.concatenate(sides), axis=0):
        kappa = np.linalg.solve(np.eye(2) - (N * on[:, None]).T @ M, (N * on[:, None]).T @ offset)
        if np.array_equal(M @ kappa + offset > 0, on):
            found.append(kappa)
    return np.array(found)


def fixed_points(J, starts):
    """The fixed points of dx/dt = -x + J tanh(x) that SciPy's root finds from each start."""
    velocity = lambda x: -x + J @ np.tanh(x)
    slopes = lambda x: -np.eye(len(J)) + J / np.cosh(x) ** 2
    return np.array([root(velocity, x, jac=slopes, tol=1e-12).x for x in starts])


def simulate(J, x, duration, dt):
    """The last state of dx/dt = -x + J tanh(x) from states (trials, n), by Heun's scheme."""
    drift = lambda x: -x + np.tanh(x) @ J.T
    for _ in range(round(duration / dt)):
        k = drift(x)
        x = x + dt / 2 * (k + drift(x + dt * k))
    return x


def lyapunov_spectrum(J, x, num, duration, dt, discard, interval):
    """The largest exponents of dx/dt = -x + J tanh(x): tangents in the same Runge-Kutta steps, and QR."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((len(J), num)))[0]
    state, growth = np.concatenate([x[:, None], Q], 1), []

    def drift(state):
        x, V = state[:, :1], state[:, 1:]
        return np.concatenate([-x + J @ np.tanh(x), -V + J @ (V / np.cosh(x) ** 2)], 1)

    for k in range(round(duration / interval)):
        for _ in range(round(interval / dt)):
            k1 = drift(state)
            k2 = drift(state + dt / 2 * k1)
            k3 = drift(state + dt / 2 * k2)
            state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + drift(state + dt * k3))
        state[:, 1:], R = np.linalg.qr(state[:, 1:])
        if k * interval >= discard:
            growth.append(np.log(np.abs(np.diag(R))))
    return np.mean(growth, 0) / interval


# --- fits


def fit_recording(rates, interval):
    """g, tau and PR^D of a whole recorded network: its mean autocovariance, and two halves for pairs of units."""
    x = rates - rates.mean(0)
    times, n = x.shape
    size = next_fast_len(2 * times)
    power = np.mean(np.abs(np.fft.rfft(x, size, axis=0)) ** 2, 1)
    c = np.fft.irfft(power, size)[:times] / np.arange(times, 0, -1)
    last = int(np.argmax(c < 0.6 * c[0]))
    lags = np.arange(1, last + 1)

    def misses(p):
        _, _, _, tau, _, C_phi = stationary(p[0])
        return np.interp(lags * interval / p[1], tau, C_phi) - c[lags]

    g, tau = least_squares(misses, [2.5, last * interval / 4], bounds=([1.1, 0], [10, np.inf]), x_scale=[1, 0.1]).x
    half = times // 2
    first, second = (part.T @ part / half for part in (x[:half], x[half:]))
    F = n * np.sum(first * second) / (np.trace(first) * np.trace(second))
    state = stationary(g)
    independent, modes = (1 / dimension(g, rank, state)[0] for rank in (1e9, 1.0))
    return np.array([g, tau, (modes - independent) / (F - independent)])


def fit_window(loads, auto, edges, start):
    """The window of shifts that gives these right edges, which are real, by differences."""
    misses = lambda u: [real_edge(load, auto, np.exp(u)) - edge for load, edge in zip(loads, edges, strict=True)]
    return np.exp(least_squares(misses, np.log(start), xtol=1e-10, ftol=1e-10).x)


# --- courses from a random start


def step_weights(step):
    """E, w_0 and w_1 of a step with an exact leak and a field that is linear between times."""
    decay = np.exp(-step)
    late = 1 - (1 - decay) / step
    return decay, 1 - decay - late, late


def gaussian_course(g, times, step, variance, terms=70, points=400):
    """C(t, t) of i.i.d. couplings and tanh, row by row, C^phi by Hermite coefficients at each time."""
    decay, w0, w1 = step_weights(step)
    z = np.linspace(-9, 9, points)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    hermite = [np.ones_like(z), z]
    for k in range(1, terms):
        hermite.append((z * hermite[k] - np.sqrt(k) * hermite[k - 1]) / np.sqrt(k + 1))
    rule = np.array(hermite) * weights
    c, field, mixed = np.zeros((3, times, times))
    a, deviation = np.zeros((times, terms + 1)), np.zeros(times)
    for n in range(times):
        size = variance if n == 0 else c[n - 1, n - 1] + variance * np.exp(-2 * step * n)
        field[n, : n + 1] = field[n - 1, : n + 1] if n else 0
        for iteration in range(4):
            deviation[n] = np.sqrt(size)
            a[n] = rule @ np.tanh(deviation[n] * z)
            start = variance * np.exp(-step * (n + np.arange(n + 1)))
            guess = c[n, : n + 1] if iteration else np.append(c[n - 1, :n], size - start[-1]) if n else np.zeros(1)
            u = guess + start
            ratio = np.clip(u / (deviation[n] * deviation[: n + 1]), -1, 1)
            total = np.zeros_like(ratio)
            for k in range(terms, -1, -1):
                total = total * ratio + a[n, k] * a[: n + 1, k]
            field[n, : n + 1] = g**2 * total
            field[: n + 1, n] = field[n, : n + 1]
            for m in range(1, n + 1):
                mixed[n, m] = decay * mixed[n, m - 1] + w0 * field[n, m - 1] + w1 * field[n, m]
            if n:
                c[n, :n] = decay * c[n - 1, :n] + w0 * mixed[n - 1, :n] + w1 * mixed[n, :n]
                crossed = np.zeros(n + 1)
                for m in range(1, n + 1):
                    crossed[m] = decay * crossed[m - 1] + w0 * field[m - 1, n] + w1 * field[m, n]
                c[:n, n] = c[n, :n]
                c[n, n] = decay * c[n - 1, n] + w0 * (decay * mixed[n - 1, n - 1] + w0 * field[n - 1, n - 1])
                c[n, n] += w0 * w1 * field[n - 1, n] + w1 * mixed[n, n]
            size = c[n, n] + start[-1]
    return np.diagonal(c) + variance * np.exp(-2 * step * np.arange(times))


def path_course(g, symmetry, times, step, variance, paths, seed=0):
    """C(t, t) of elliptic couplings and tanh by sampled units that hear their own past."""
    decay, w0, w1 = step_weights(step)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((times, paths))
    x = np.zeros((times, paths))
    x[0] = np.sqrt(variance) * rng.standard_normal(paths)
    rates, answers = np.zeros((times, paths)), np.zeros((times, paths, times), np.float32)
    change, pull, field = np.zeros((paths, times), np.float32), np.zeros((paths, times), np.float32), np.zeros(paths)
    root, response, now = np.zeros((times, times)), np.zeros((times, times)), np.zeros(paths)
    for n in range(times):
        if n:
            x[n], response[n, 1 : n + 1] = x[n - 1], response[n - 1, :n]
            base = decay * change + w0 * pull
        for iteration in range(4):
            if n and iteration:
                x[n] = decay * x[n - 1] + w0 * field + w1 * now
            rates[n] = np.tanh(x[n])
            slope = 1 - rates[n] ** 2
            kernel = symmetry * g**2 * response[n]
            pull = np.zeros((paths, times), np.float32)
            for past in range(n):
                pull[:, : past + 1] += np.float32(kernel[past]) * answers[past, :, : past + 1]
            pull[:, n] += 1
            if n:
                change = (base + w1 * pull) / (1 - w1 * kernel[n] * slope[:, None])
            response[n] = slope @ change / paths
            pull += (kernel[n] * slope)[:, None] * change
            covariance = g**2 * rates[: n + 1] @ rates[n] / paths
            root[n, :n] = np.linalg.solve(root[:n, :n], covariance[:n]) if n else 0
            root[n, n] = np.sqrt(max(covariance[n] - root[n, :n] @ root[n, :n], 1e-6 * covariance[n]))
            now = root[n, : n + 1] @ z[: n + 1] + kernel[: n + 1] @ rates[: n + 1]
        answers[n] = slope[:, None] * change
        field = now
    return np.mean(x**2, 1)
