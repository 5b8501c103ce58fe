"""Batched eigenvalues against a NumPy loop, and the P x P reduction against the full matrix.

    python benchmarks/eigenvalues.py [--quick]
    python benchmarks/eigenvalues.py --batched

Times are per matrix, after compilation. `numpy` is the best time of `numpy.linalg.eigvals` in a loop, with one BLAS
thread and with all, in processes of their own; `torch` is the time of PyTorch on the whole batch, if installed. The
limit is 10 N^3 flops at the speed of a matrix product measured here for the same precision and device. Beside the
reduction stand 60 steps of matfree's Arnoldi iteration, which give the extreme eigenvalues alone, and the error of the
largest modulus. On the CPU the batch runs LAPACK with one BLAS thread per matrix (OPENBLAS_NUM_THREADS=1), because the
threads of small problems would wait for one another.

The last table is of `eigen.batched_eigenvalues` in its steps, against the library's loop (`jax.numpy.linalg.eigvals`
on the same device, a few matrices) and against LAPACK on up to 16 cores, a process each. --batched prints it alone, for
the sizes that GPUs are for. Seconds are per matrix; `limit` is the share of the speed of a matrix product, for 20 N^3
flops. Backward errors are the largest of 8 eigenvalues of one matrix, in machine precisions times its norm, ours and
LAPACK's.
"""

import argparse
import os
import subprocess
import sys
import time

from table import Row

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


def torch_seconds(matrices, repeats: int = 2) -> float | None:
    """Seconds per matrix of PyTorch, on a GPU if it has one; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch, times = torch.tensor(matrices, device=device), []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.linalg.eigvals(batch).cpu()
        times.append(time.perf_counter() - start)
    return min(times) / len(batch)


def arnoldi(left, right, exact, depth: int = 60) -> tuple[float, float] | None:
    """Seconds per matrix of matfree's Arnoldi iteration, and the error of the largest modulus; None without matfree."""
    try:
        from matfree import decomp
    except ImportError:
        return None
    import jax
    import jax.numpy as jnp

    def hessenberg(left, right, start):
        multiply = lambda x: left @ (right.T @ x) / left.shape[0]
        return decomp.hessenberg(min(depth, left.shape[1]), reortho="full")(multiply, start).J_small

    reduce = jax.jit(jax.vmap(hessenberg))
    starts = jax.random.normal(jax.random.key(2), left.shape[:2], left.dtype)
    extremes = lambda _: jnp.abs(jnp.linalg.eigvals(reduce(left, right, starts))).max(-1)
    again = seconds(extremes, None)[1] / len(left)
    return again, float(jnp.max(jnp.abs(extremes(None) / jnp.abs(exact).max(-1) - 1)))


def lapack_seconds(n: int, dtype: str, repeats: int) -> float:
    """Seconds per matrix on up to 16 cores, each with a process of one BLAS thread."""
    cores = min(16, os.cpu_count() or 1)
    command = [sys.executable, "-c", NUMPY_LOOP, str(n), dtype, str(repeats)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(cores)]
    return max(float(process.communicate()[0]) for process in processes) / cores


def backward_error(matrix, values) -> float:
    """Distance to the nearest matrix with a value as eigenvalue, in machine precisions of the norm: the worst of 8."""
    import numpy as np

    precision = np.finfo(matrix.dtype).eps * np.linalg.norm(matrix, 2)
    shown = values[:: max(1, len(values) // 8)]
    smallest = [np.linalg.svd(matrix - z * np.eye(len(matrix)), compute_uv=False)[-1] for z in shown]
    return float(max(smallest) / precision)


HALVES, LAW, SINGLE = "its halves", "the law", "float32"  # where guesses come from
SMALL = (("i.i.d.", 128, 16, "float64", HALVES), ("deep", 128, 16, "float64", HALVES))
ON_GPU = (
    *(
        ("i.i.d.", n, batch, "float64", HALVES)
        for n, batch in ((128, 64), (128, 1024), (256, 64), (512, 64), (1024, 64))
    ),
    *(("i.i.d.", n, 64, "float32", HALVES) for n in (128, 1024)),
    *(("deep", 1024, 64, "float64", guesses) for guesses in (HALVES, LAW, SINGLE)),
)


TITLES = ("network", "N", "batch", "dtype", "guesses", "compile s", "Hessenberg", "guessing", "iteration", "library")
TITLES += ("LAPACK", "lib/run", "LAPACK/run", "limit", "sweeps", "max", "to LAPACK", "error", "LAPACK's")


def batched(cases, gemm_flops) -> list[Row]:
    """The table of `batched_eigenvalues`, in its steps: Hessenberg form, guesses from elsewhere if any, iteration."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxnets.couplings import IID, DeepHebbian
    from jaxnets.eigen.aberth import hessenberg_eigenvalues
    from jaxnets.eigen.hessenberg import hessenberg
    from jaxnets.spectra import law, quantiles

    reduce = jax.jit(jax.vmap(hessenberg))
    iterate = jax.jit(jax.vmap(hessenberg_eigenvalues))
    library = jax.jit(jnp.linalg.eigvals)
    networks = {"i.i.d.": IID(g=1.0), "deep": DeepHebbian(load=1.5, auto=1.0, hetero=(1.0,))}
    print("\n" + " ".join(f"{title:>10}" for title in TITLES))
    alternatives, rows = {}, []
    for name, n, batch, dtype, source in cases:
        keys = jax.random.split(jax.random.key(0), batch)
        matrices = jax.vmap(lambda key, n=n, name=name: networks[name].sample(n, key=key).dense())(keys).astype(dtype)

        def points(matrices, n=n, name=name, batch=batch, source=source):
            if source == LAW:
                return jnp.broadcast_to(quantiles(law(networks[name]), n), (batch, n))
            single = matrices.astype("float32")
            return iterate(reduce(single)).values.astype(complex)

        first_half, reduced = seconds(reduce, matrices)
        H = reduce(matrices)
        first_guess, guessing = (0.0, 0.0) if source == HALVES else seconds(points, matrices)
        given = () if source == HALVES else (points(matrices),)
        first_iteration, iterated = seconds(lambda H, given=given: iterate(H, *given), H)
        roots = iterate(H, *given)
        if (name, n, dtype) not in alternatives:
            few = matrices[: 2 if n > 256 else 8]
            loop = seconds(library, few)[1] / len(few)
            alternatives[name, n, dtype] = loop, lapack_seconds(n, dtype, max(1, round((512 / n) ** 2)))
        loop, lapack = alternatives[name, n, dtype]
        run = (reduced + guessing + iterated) / batch
        matrix = np.asarray(matrices[0])
        errors = backward_error(matrix, np.asarray(roots.values[0])), backward_error(matrix, np.linalg.eigvals(matrix))
        compiled = first_half + first_guess + first_iteration - reduced - guessing - iterated
        limit = 20 * n**3 / (run * gemm_flops(dtype))
        row = (name, n, batch, dtype, source, f"{compiled:.1f}", f"{reduced / batch:.2e}", f"{guessing / batch:.2e}")
        row += (f"{iterated / batch:.2e}", f"{loop:.2e}", f"{lapack:.2e}", f"{loop / run:.1f}", f"{lapack / run:.2f}")
        row += (f"{limit:.3f}", f"{np.mean(roots.sweeps):.1f}", int(np.max(roots.sweeps)))
        row += (f"{1 - np.mean(roots.converged):.4f}", *(f"{error:.2f}" for error in errors))
        print(" ".join(f"{entry:>10}" for entry in row), flush=True)
        theirs, by = min((loop, "library's loop"), (lapack, "LAPACK, a process a core"))
        what = f"batched eigenvalues, {name}, N = {n}, B = {batch}, {dtype}"
        what += "" if source == HALVES else f", guesses from {source}"
        rows.append(Row(what, run, compiled, by, theirs, "20 N^3 in products", limit * run))
    return rows


def seconds(run, argument) -> tuple[float, float]:
    """Seconds of the first call, with compilation, and of the second."""
    import jax

    times = []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(run(argument))
        times.append(time.perf_counter() - start)
    return times[0], times[1]


def gpu() -> list[Row]:
    return main(False, ON_GPU)


def gemm_flops(dtype: str) -> float:
    """Operations per second of a matrix product."""
    import jax
    import jax.numpy as jnp

    n = 1000 if jax.default_backend() == "cpu" else 8000
    square = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    a = jax.random.normal(jax.random.key(0), (n, n), dtype)
    return 2 * n**3 / min(seconds(square, a)[1] for _ in range(5))


def of_matrices(sizes, speed) -> tuple[list[Row], dict]:
    """The table of full matrices, and seconds per matrix by size and dtype."""
    import jax
    import numpy as np

    from jaxnets.couplings.operators import Dense
    from jaxnets.eigen import eigenvalues

    print(
        f"\n{'N':>5} {'dtype':>8} {'batch':>6} {'compile s':>10} {'run s':>9} {'numpy s':>9} {'numpy with':>12}", end=""
    )
    print(f" {'torch s':>9} {'best/run':>10} {'run/limit':>10}")
    rows, full = [], {}
    for n in sizes:
        repeats = max(2, round(2 * (500 / n) ** 2))
        for dtype in ("float32", "float64"):
            matrices = jax.random.normal(jax.random.key(0), (repeats, n, n), dtype) / n**0.5
            batch = Dense(matrices)
            first, again = seconds(eigenvalues, batch)
            full[n, dtype] = run = again / repeats
            alternative, threads = numpy_seconds(n, dtype, repeats)
            by_torch = torch_seconds(np.asarray(matrices))
            theirs, name = min((t, name) for t, name in ((alternative, "NumPy"), (by_torch, "PyTorch")) if t)
            print(
                f"{n:5} {dtype:>8} {repeats:6} {first - again:10.2f} {run:9.5f} {alternative:9.5f} {threads:>12}",
                end="",
            )
            print(f" {by_torch or np.nan:9.5f} {theirs / run:10.2f} {run * speed[dtype] / (10 * n**3):10.1f}")
            what = f"eigenvalues of a matrix, N = {n}, {dtype}, in a batch of {repeats}"
            rows.append(
                Row(what, run, max(first - again, 0), name, theirs, "10 N^3 in products", 10 * n**3 / speed[dtype])
            )
    return rows, full


def of_modes(sizes, speed, full) -> list[Row]:
    """The table of couplings of N / 10 modes, beside the seconds `full` of full matrices."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxnets.couplings.operators import Diagonal, Modes
    from jaxnets.eigen import eigenvalues

    rows = []
    print("\nP = N / 10 modes, by the P x P matrix, against the N x N matrix above")
    print(f"{'N':>5} {'dtype':>8} {'batch':>6} {'compile s':>10} {'run s':>9} {'full/run':>9}", end="")
    print(f" {'Arnoldi s':>10} {'wrong by':>9}")
    for n in sizes:
        repeats, modes = max(8, 20000 // n), n // 10
        for dtype in ("float32", "float64"):
            left, right = jax.random.normal(jax.random.key(1), (2, repeats, n, modes), dtype)
            couplings = Modes(left, right, Diagonal(jnp.ones((repeats, modes), dtype)))
            first, again = seconds(eigenvalues, couplings)
            run = again / repeats
            partial, wrong = arnoldi(left, right, eigenvalues(couplings)) or (np.inf, np.nan)
            print(f"{n:5} {dtype:>8} {repeats:6} {first - again:10.2f} {run:9.6f} {full[n, dtype] / run:9.0f}", end="")
            print(f" {partial:10.6f} {wrong:9.1e}")
            least = (2 * n * modes**2 + 10 * modes**3) / speed[dtype]
            what = f"the same of {modes} modes, N = {n}, {dtype}"
            theirs, by = min((full[n, dtype], "the full matrix"), (partial, "matfree, extreme ones alone"))
            rows.append(Row(what, run, first - again, by, theirs, "2 N P^2 + 10 P^3", least))
    return rows


def main(quick: bool, only=()) -> list[Row]:
    """All tables, or only the one of the batched solver, for the cases in `only`."""
    # Before the first import of anything that loads a BLAS.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import jax

    jax.config.update("jax_enable_x64", True)
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    print(f"device: {device}; jax {jax.__version__}")
    speed = {dtype: gemm_flops(dtype) for dtype in ("float32", "float64")}
    print("matrix product:", ", ".join(f"{flops / 1e9:.1f} Gflop/s in {dtype}" for dtype, flops in speed.items()))

    if only:
        return batched(only, speed.__getitem__)
    sizes = (100, 200) if quick else (100, 200, 500, 1000)
    rows, full = of_matrices(sizes, speed)
    return rows + of_modes(sizes, speed, full) + batched(SMALL, speed.__getitem__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="N up to 200 only")
    parser.add_argument("--batched", action="store_true", help="the batched solver alone, on a GPU")
    arguments = parser.parse_args()
    main(arguments.quick, ON_GPU if arguments.batched else ())
