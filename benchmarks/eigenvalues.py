"""Batched eigenvalues against a NumPy loop, and the P x P reduction against the full matrix.

    python benchmarks/eigenvalues.py [--quick]

Times are per matrix, after compilation; `numpy` is the best of `numpy.linalg.eigvals` in a loop with one BLAS thread
and with all of them, in processes of their own. The limit is 10 N^3 flops at the speed of a matrix product measured
here for the same precision and device. On the CPU the batch runs LAPACK with one BLAS thread per matrix, which is
what OPENBLAS_NUM_THREADS=1 asks for: with more, the threads of small problems wait for one another.
"""

import argparse
import os
import subprocess
import sys
import time

NUMPY_LOOP = """
import sys, time
import numpy as np
n, dtype, repeats = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
matrices = np.random.default_rng(0).standard_normal((repeats, n, n)).astype(dtype) / np.sqrt(n)
np.linalg.eigvals(matrices[0, :50, :50])
start = time.perf_counter()
for matrix in matrices:
    np.linalg.eigvals(matrix)
print((time.perf_counter() - start) / repeats)
"""


def numpy_seconds(n: int, dtype: str, repeats: int) -> tuple[float, str]:
    """Seconds per matrix of the better of one BLAS thread and the default number, and which it was."""
    default = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    times = {}
    for label, environment in (("1 thread", default | {"OPENBLAS_NUM_THREADS": "1"}), ("all threads", default)):
        command = [sys.executable, "-c", NUMPY_LOOP, str(n), dtype, str(repeats)]
        times[label] = float(
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        )
    best = min(times, key=times.__getitem__)
    return times[best], best


def seconds(run, argument) -> tuple[float, float]:
    """Seconds of the first call, with compilation, and of the second."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        run(argument).block_until_ready()
        times.append(time.perf_counter() - start)
    return times[0], times[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="N up to 200 only")
    quick = parser.parse_args().quick

    # Before the first import of anything that loads a BLAS.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from jaxnets.couplings.operators import Dense, Diagonal, Modes
    from jaxnets.spectra import eigenvalues

    def gemm_flops(dtype: str) -> float:
        n = 1000 if jax.default_backend() == "cpu" else 8000
        square = jax.jit(lambda a: a @ a)
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        return 2 * n**3 / min(seconds(square, a)[1] for _ in range(5))

    def batch_of(n: int, dtype: str, repeats: int) -> Dense:
        return Dense(jax.random.normal(jax.random.key(0), (repeats, n, n), dtype) / n**0.5)

    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    print(f"device: {device}; jax {jax.__version__}")
    speed = {dtype: gemm_flops(dtype) for dtype in ("float32", "float64")}
    print("matrix product:", ", ".join(f"{flops / 1e9:.1f} Gflop/s in {dtype}" for dtype, flops in speed.items()))

    sizes = (100, 200) if quick else (100, 200, 500, 1000)
    print(
        f"\n{'N':>5} {'dtype':>8} {'batch':>6} {'compile s':>10} {'run s':>9} {'numpy s':>9} {'numpy with':>12}", end=""
    )
    print(f" {'numpy/run':>10} {'run/limit':>10}")
    full = {}
    for n in sizes:
        repeats = max(2, round(2 * (500 / n) ** 2))
        for dtype in ("float32", "float64"):
            batch = batch_of(n, dtype, repeats)
            first, again = seconds(eigenvalues, batch)
            full[n, dtype] = run = again / repeats
            alternative, threads = numpy_seconds(n, dtype, repeats)
            print(
                f"{n:5} {dtype:>8} {repeats:6} {first - again:10.2f} {run:9.5f} {alternative:9.5f} {threads:>12}",
                end="",
            )
            print(f" {alternative / run:10.2f} {run * speed[dtype] / (10 * n**3):10.1f}")

    print("\nP = N / 10 modes, by the P x P matrix, against the N x N matrix above")
    print(f"{'N':>5} {'dtype':>8} {'batch':>6} {'compile s':>10} {'run s':>9} {'full/run':>9}")
    for n in sizes:
        repeats, modes = max(8, 20000 // n), n // 10
        for dtype in ("float32", "float64"):
            left, right = jax.random.normal(jax.random.key(1), (2, repeats, n, modes), dtype)
            first, again = seconds(eigenvalues, Modes(left, right, Diagonal(jnp.ones((repeats, modes), dtype))))
            run = again / repeats
            print(f"{n:5} {dtype:>8} {repeats:6} {first - again:10.2f} {run:9.6f} {full[n, dtype] / run:9.0f}")


if __name__ == "__main__":
    main()
