"""One evaluation of the right-hand side in `simulate` against the bare matrix product, and against other integrators.

    python benchmarks/integrate.py [--quick]

Networks of N tanh units run B trajectories by Heun's scheme, and keep nothing. Times are microseconds of one evaluation
(a Heun step has two), after compilation. The limit is `product`: J @ X of the same shapes and nothing else, compiled in
a loop of its own. `modes` are P = N / 10 random modes. `one J each` are B networks of one trajectory. Alternatives: the
same Heun loop in NumPy, PyTorch (if installed) and a `fori_loop` of JAX, and diffrax with Euler's scheme and Tsit5
at constant steps, mapped over trajectories. On a GPU the last columns compare with the peak, measured as a product of
large square matrices, and with the memory bandwidth, measured as a sum of large vectors.
"""

import argparse
import os
import time
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from table import Row

import jaxnets as jn

try:
    import torch
except ImportError:
    torch = None

DT = 0.05
ENOUGH = 0.2  # seconds of one timing


def timed(run, least: int = 12) -> tuple[float, float]:
    """Seconds to compile, and microseconds of one evaluation: the fastest of three runs of enough of them.

    `run(count)` makes `count` evaluations, a multiple of 12, and compiles once for all counts.
    """

    def seconds(count):
        begin = time.perf_counter()
        jax.block_until_ready(run(count))
        return time.perf_counter() - begin

    count, first, spent = least, seconds(least), seconds(least)
    few = spent
    while spent < ENOUGH:  # by steps, since the first runs are mostly the cost of a call
        count *= int(np.clip(ENOUGH / spent, 2, 10))
        spent = seconds(count)
    return first - few, 1e6 * min(spent, seconds(count), seconds(count)) / count


def product(J, X):
    """The matrix products alone, each of the last result so that none can be left out."""
    multiply = jax.vmap(jnp.matmul) if J.ndim == 3 else jnp.matmul
    loop = jax.jit(lambda J, X, count: jax.lax.fori_loop(0, count, lambda _, X: multiply(J, X), X))
    return lambda count: loop(J, X, count)


def ours(J, x0):
    net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())

    def run(count):  # two evaluations a step
        steps = count // 2
        return jn.dynamics.simulate(net, x0, duration=steps * DT, dt=DT, save_every=steps, progress=False).final

    return run


def diffrax_loop(J, x0, solver, per_step):
    """Constant steps of diffrax; `per_step` evaluations each."""

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def final(x0, duration):
        term = diffrax.ODETerm(lambda t, x, J: -x + J @ jnp.tanh(x))
        dt = jnp.asarray(DT, x0.dtype)
        return diffrax.diffeqsolve(term, solver, jnp.zeros_like(dt), duration, dt, x0, J, max_steps=None).ys

    return lambda count: final(x0, jnp.asarray(count // per_step * DT, x0.dtype))


def heun_loop(product, tanh, x, count):
    for _ in range(count // 2):
        k1 = -x + product(tanh(x))
        k2 = -(x + DT * k1) + product(tanh(x + DT * k1))
        x = x + DT / 2 * (k1 + k2)
    return x


def numpy_loop(J, x0):
    J, x = np.asarray(J), np.ascontiguousarray(np.asarray(x0).T)
    return lambda count: heun_loop(lambda r: J @ r, np.tanh, x, count)


def jax_loop(J, x0):
    """The loop that one writes in a script."""

    @jax.jit
    def run(J, x, steps):
        drift = lambda x: -x + J @ jnp.tanh(x)

        def heun(_, x):
            k1 = drift(x)
            return x + DT / 2 * (k1 + drift(x + DT * k1))

        return jax.lax.fori_loop(0, steps, heun, x)

    return lambda count: run(J, x0.T, count // 2)


def torch_loop(J, x0):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    J, x = (torch.from_numpy(np.array(a)).to(device) for a in (J, np.asarray(x0).T))

    def run(count):
        result = heun_loop(lambda r: J @ r, torch.tanh, x, count)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def compared(J, x0) -> dict[str, float]:
    """Microseconds of one evaluation in other integrators."""
    loops = {
        "NumPy": numpy_loop(J, x0),
        "JAX loop": jax_loop(J, x0),
        "Euler": diffrax_loop(J, x0, diffrax.Euler(), 1),
        "Tsit5": diffrax_loop(J, x0, diffrax.Tsit5(), 6),
    }
    if torch is not None:
        loops["PyTorch"] = torch_loop(J, x0)
    return {name: timed(loop)[1] for name, loop in loops.items()}


def peak(dtype) -> tuple[float, float]:
    """Operations a second of square products, and bytes a second of a pass over a large vector."""
    cpu = jax.default_backend() == "cpu"
    n, size = (1000, 2**25) if cpu else (8192, 2**29)
    a = jax.random.normal(jax.random.key(0), (n, n), dtype) / n**0.5
    v = jnp.ones(size, dtype)
    passes = jax.jit(lambda v, count: jax.lax.fori_loop(0, count, lambda _, v: v + 1, v))
    with jax.default_matmul_precision("highest"):
        _, gemm = timed(product(a, a))
    _, copy = timed(lambda count: passes(v, count))
    return 2e6 * n**3 / gemm, 2e6 * v.nbytes / copy


def rows(sizes, batches, dtype, memory):
    """The cases: name, N, B, coupling, x0, operands of the bare product, operations and bytes of one evaluation."""
    word = jnp.dtype(dtype).itemsize
    for n in sizes:
        J = jax.random.normal(jax.random.key(0), (n, n), dtype) / n**0.5
        ensemble = jn.couplings.RandomModes(amplitudes=[1.0], load=0.1)
        modes = ensemble.sample(n, key=jax.random.key(1), dtype=dtype)
        for b in batches:
            x0 = jax.random.normal(jax.random.key(2), (b, n), dtype)
            yield "dense", n, b, J, x0, (J, x0.T), 2 * n * n * b, word * n * n
            yield "modes", n, b, modes, x0, (J, x0.T), 4 * n * (n // 10) * b, 2 * word * n * (n // 10)
            if 1 < b and b * n * n * word < memory:
                each = jnp.tile(J[None], (b, 1, 1))
                yield "one J each", n, b, each, x0, (each, x0[..., None]), 2 * n * n * b, word * n * n * b


def gpu() -> list[Row]:
    return main(True, (1000, 4000), (1, 128))


def main(quick: bool, sizes=(500, 1000), batches=(1, 32)) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    on_gpu = jax.default_backend() == "gpu"
    if not quick:
        sizes, batches = (500, 1000, 2000, 4000), (1, 8, 32, 128)
    alternatives = ("NumPy", "PyTorch", "JAX loop", "Euler", "Tsit5")
    table = []
    header = ["compile s", "ours", "product", "product/ours", *alternatives, "best other/ours"]
    header += ["of peak", "of bandwidth"] if on_gpu else []
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}; us of one evaluation")
    for dtype in (jnp.float32, jnp.float64):
        speed, bandwidth = peak(dtype)
        print(f"\n{dtype.__name__}: {speed / 1e9:.0f} Gflop/s of a square product, {bandwidth / 1e9:.0f} GB/s")
        print(f"{'':12}{'N':>6}{'B':>5}" + "".join(f"{name:>16}" for name in header))
        for name, n, b, J, x0, operands, flops, size in rows(sizes, batches, dtype, 2e10 if on_gpu else 1e9):
            with jax.default_matmul_precision("highest"):
                _, bare = timed(product(*operands))
                others = compared(J, x0) if name == "dense" else {"dense product": bare} if name == "modes" else {}
            compiling, run = timed(ours(J, x0))
            columns = [f"{compiling:.1f}", f"{run:.1f}", f"{bare:.1f}", f"{bare / run:.2f}"]
            columns += [f"{others[label]:.1f}" if label in others else "" for label in alternatives]
            columns += [f"{min(others.values()) / run:.2f}" if others else ""]
            if on_gpu:
                columns += [f"{flops / (1e-6 * run) / speed:.2f}", f"{size / (1e-6 * run) / bandwidth:.2f}"]
            print(f"{name:12}{n:6}{b:5}" + "".join(f"{column:>16}" for column in columns), flush=True)
            if quick or (n >= 1000 and b in (1, 32)):  # other sizes say the same
                table.append(common(name, n, b, dtype, compiling, run, others, flops / speed, size / bandwidth))
    return table


def common(name, n, b, dtype, compiling, run, others, by_speed, by_memory) -> Row:
    """The line of the common table: the best other way, and the larger of the times that the two limits allow."""
    other = min(others, key=others.__getitem__, default="")
    least, limit = max((by_speed, "Gflop/s"), (by_memory, "GB/s"))
    what = f"right-hand side, {name}, N = {n}, B = {b}, {dtype.__name__}"
    theirs = 1e-6 * others[other] if others else None
    return Row(what, 1e-6 * run, compiling, other, theirs, limit, least)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="N up to 1000 and few B, under a minute")
    main(parser.parse_args().quick)
